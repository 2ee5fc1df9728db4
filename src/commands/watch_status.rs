//! `switchover status --watch`: a view that keeps its place in the terminal, drawn anew when something changes.
//!
//! It takes the lines that it needs and draws over them. The rest of the terminal stays as it is, so that people scroll and copy as
//! they do elsewhere. Where nobody draws (a pipe, a file) each change is written below the last one.

mod screen;
mod view;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    pin::pin,
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    core::DynamicObject,
    discovery::ApiResource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::time::MissedTickBehavior;

use self::{screen::Screen, view::view};
use crate::{
    api::DatabaseCluster,
    cluster::{self, DatabaseError, watch},
};

/// Why nothing can be watched, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("can't write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// A watch of which nothing came for so long hangs, and is begun anew: the API server ends those that live sooner.
const SILENT: Duration = watch::UNNOTICED;

/// What is known of the databases, and since when the API server can't be asked.
#[derive(Debug, Default)]
struct Seen {
    databases: BTreeMap<String, DynamicObject>,
    /// A list that isn't complete yet.
    coming: BTreeMap<String, DynamicObject>,
    listed: bool,
    away: Option<(String, Timestamp)>,
}

impl Seen {
    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => return self.coming.clear(),
            Event::InitApply(object) => drop(self.coming.insert(object.name_any(), object)),
            Event::InitDone => (self.databases, self.listed) = (std::mem::take(&mut self.coming), true),
            Event::Apply(object) => drop(self.databases.insert(object.name_any(), object)),
            Event::Delete(object) => drop(self.databases.remove(&object.name_any())),
        }
        self.away = None;
    }

    fn fail(&mut self, why: String, now: Timestamp) {
        let since = self.away.take().map_or(now, |(_, since)| since);
        self.away = Some((why, since));
    }
}

/// Shows the databases, or one of them, until `shutdown`.
///
/// # Errors
/// No answer at the beginning, no such database, or nobody reads any more.
pub(super) async fn run(
    client: &Client,
    only: Option<&str>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WatchError> {
    // What is wrong from the beginning is said once, and ends it.
    if let Some(name) = only {
        cluster::database(client, name).await?;
    } else {
        cluster::databases(client).await.map_err(DatabaseError::from)?;
    }
    match draw(client, only, shutdown).await {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => Ok(ended?),
    }
}

async fn draw(client: &Client, only: Option<&str>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
    let begin = || Box::pin(watcher::watcher(api.clone(), watch::attentive()).default_backoff());
    let (mut events, mut heard) = (begin(), tokio::time::Instant::now());
    let mut seen = Seen::default();
    let mut screen = Screen::of(io::stdout().is_terminal());
    let mut shutdown = pin!(shutdown);
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed = tokio::select! {
            () = shutdown.as_mut() => break,
            event = events.next() => {
                heard = tokio::time::Instant::now();
                match event {
                    Some(Ok(event)) => {
                        let whole = !matches!(event, Event::Init | Event::InitApply(_));
                        seen.take(event);
                        whole
                    }
                    Some(Err(error)) => {
                        seen.fail(watch::cause(&error), Timestamp::now());
                        true
                    }
                    None => {
                        events = begin();
                        false
                    }
                }
            }
            _ = clock.tick() => {
                // After a failure kube doesn't tell that the watch goes on, and a hanging one tells nothing: a new list does.
                let patience = if seen.away.is_some() { Duration::from_secs(2) } else { SILENT };
                if heard.elapsed() > patience {
                    if seen.away.is_none() {
                        seen.fail("the API server says nothing".to_owned(), Timestamp::now());
                    }
                    (events, heard) = (begin(), tokio::time::Instant::now());
                }
                false
            }
        };
        // Ages grow all the time, which is drawn and isn't worth a line of a file.
        if seen.listed && (changed || screen.draws()) {
            let now = Timestamp::now();
            let away = seen.away.as_ref().map(|(why, since)| (why.as_str(), *since));
            let lines = view(seen.databases.values(), only, away, screen.height(), now);
            screen.show(&mut io::stdout().lock(), lines, changed)?;
        }
    }
    screen.end(&mut io::stdout().lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_replaces_what_was_known_when_it_is_complete() {
        let object = |name: &str| DynamicObject::new(name, &ApiResource::erase::<DatabaseCluster>(&()));
        let names = |seen: &Seen| seen.databases.keys().cloned().collect::<Vec<_>>();
        let mut seen = Seen::default();
        for event in [Event::Init, Event::InitApply(object("a")), Event::InitApply(object("b")), Event::InitDone] {
            seen.take(event);
        }
        assert_eq!(names(&seen), ["a", "b"]);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        seen.fail("refused".into(), at("2026-01-01T00:00:00Z"));
        seen.fail("reset".into(), at("2026-01-01T00:00:09Z"));
        assert_eq!(seen.away, Some(("reset".into(), at("2026-01-01T00:00:00Z"))), "since it began");
        seen.take(Event::Init);
        assert!(seen.away.is_some(), "asking is no answer");
        seen.take(Event::InitApply(object("c")));
        assert_eq!(names(&seen), ["a", "b"], "not yet");
        seen.take(Event::InitDone);
        assert_eq!((names(&seen), &seen.away), (vec!["c".to_owned()], &None));
    }
}
