//! Watches of Kubernetes objects that heal by themselves, and the tables that they keep current.

mod singly;
mod table;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, TryStreamExt};
use kube::{
    Api,
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

pub use self::{
    singly::Objects,
    table::{Changed, Table},
};
use crate::core::backoff::Pause;

/// How one watch is doing. Written by [`run`], read by readiness, metrics and whoever must not act on an old picture.
#[derive(Debug, Clone)]
pub struct Health {
    pub kind: &'static str,
    state: Arc<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    synced: AtomicBool,
    /// Why it fails right now.
    failing: Mutex<Option<String>>,
    unreadable: AtomicUsize,
    /// For [`Health::doubt`].
    doubted: Notify,
}

impl Health {
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self { kind, state: Arc::default() }
    }

    /// Whether the table was filled once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.state.synced.load(Ordering::Acquire)
    }

    /// Whether the table was filled and the watch is not failing right now.
    #[must_use]
    pub fn current(&self) -> bool {
        self.synced() && self.failure().is_none()
    }

    /// Why the watch fails right now, if it does.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.state.failing.lock().clone()
    }

    /// How many objects of the kind can't be read, so that they are not in the table as they are.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.state.unreadable.load(Ordering::Relaxed)
    }

    /// What is known may be of a past that never was: a store that lost its newest writes tells no watch of it. The watch lists everything
    /// anew; until then it isn't current.
    pub fn doubt(&self, why: &str) {
        if self.synced() {
            self.set_failure(Some(why.to_owned()));
            self.state.doubted.notify_one();
        }
    }

    fn set_unreadable(&self, count: usize) {
        self.state.unreadable.store(count, Ordering::Relaxed);
    }

    /// Says what was there before.
    fn set_failure(&self, failure: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.state.failing.lock(), failure)
    }
}

/// A watch is asked for anew this often, in seconds, where an old picture does harm. One that hangs (its API server lost its
/// power, say) shows no error: it is noticed 5 s after this, when the server should have ended it, and what asks for the next
/// one fails or is answered.
const LASTS_S: u32 = 15;
/// For at most this long a watch may hang with nobody noticing.
pub const UNNOTICED: Duration = Duration::from_secs(LASTS_S as u64 + 5);
/// Nothing is read for at most this long from a server that keeps to [`LASTS_S`].
pub const SILENCE: Duration = Duration::from_secs(2 * LASTS_S as u64);
/// A watch that failed and then is silent is begun anew after this, and if that didn't help, after twice as long.
const PATIENCE: Pause = Pause { first: Duration::from_secs(5), longest: Duration::from_secs(40) };

/// Of a watch that must not hang for long.
#[must_use]
pub fn attentive() -> watcher::Config {
    watcher::Config::default().timeout(LASTS_S)
}

/// Follows `objects` until the task is dropped, passing each event to `apply`. Errors are logged once when they begin and
/// once when they end, and retried with kube's default backoff; they never end the watch, and neither does an object that
/// can't be read. For metadata alone use `Objects<PartialObjectMeta<K>>`.
pub async fn run<K>(objects: Objects<K>, config: watcher::Config, health: Health, mut apply: impl FnMut(Event<K>))
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = health.kind;
    let together = || {
        let events = watcher::watcher(objects.together.clone(), config.clone()).default_backoff();
        singly::until_unreadable(events, kind)
    };
    follow(together, health.clone(), &mut apply).await;
    loop {
        let one_by_one = || {
            let events = watcher::watcher(objects.singly.clone(), config.clone()).default_backoff();
            singly::readable(events, health.clone())
        };
        follow(one_by_one, health.clone(), &mut apply).await;
    }
}

/// Like [`run`], for objects that are parsed one by one afterwards, so that one that can't be read stops no other.
pub async fn follow_dynamic(
    api: Api<DynamicObject>,
    config: watcher::Config,
    health: Health,
    apply: impl FnMut(Event<DynamicObject>),
) {
    follow(|| watcher::watcher(api.clone(), config.clone()).default_backoff(), health, apply).await;
}

/// Like [`run`], for any stream of watch events, which can be begun anew; until one of them ends.
pub async fn follow<K, S>(begin: impl FnMut() -> S, health: Health, apply: impl FnMut(Event<K>))
where
    S: Stream<Item = Result<Event<K>, watcher::Error>>,
{
    follow_with(PATIENCE, begin, health, apply).await;
}

async fn follow_with<K, S>(
    patience: Pause,
    mut begin: impl FnMut() -> S,
    health: Health,
    mut apply: impl FnMut(Event<K>),
) where
    S: Stream<Item = Result<Event<K>, watcher::Error>>,
{
    let mut time = 1;
    let mut stream = Box::pin(begin());
    loop {
        let failing = health.failure().is_some();
        if !failing {
            time = 1;
        }
        let next = tokio::select! {
            biased;
            () = health.state.doubted.notified() => {
                stream = Box::pin(begin());
                continue;
            }
            next = stream.try_next() => next,
            // kube tells that a watch failed, but not that it goes on: that shows only with the next event, and of objects
            // that nobody changes there may be none for hours. A new list says it at once.
            () = tokio::time::sleep(patience.nth(time)), if failing => {
                time += 1;
                stream = Box::pin(begin());
                continue;
            }
        };
        match next {
            // It goes on from the version that it had, which a store that failed over may never have known: what came after that
            // is told, and what was lost isn't. Only a list knows better.
            Ok(Some(Event::Apply(_) | Event::Delete(_))) if failing && health.synced() => stream = Box::pin(begin()),
            Ok(Some(event)) => {
                // `Init` is only the client's intent to list, and until the list is complete what is known is what it was.
                let listed = matches!(event, Event::InitDone);
                apply(event);
                if listed {
                    health.state.synced.store(true, Ordering::Release);
                    if health.set_failure(None).is_some() {
                        tracing::info!(kind = health.kind, "the watch works again");
                    }
                }
            }
            Ok(None) => return,
            Err(error) => {
                if health.set_failure(Some(cause(&error))).is_none() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(kind = health.kind, error, "the watch fails; keeping the last picture and retrying");
                }
            }
        }
    }
}

/// The innermost cause, which is what people can act on: "Connection refused (os error 111)".
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        // rustls' own words are a link to its manual.
        Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use futures::{Stream, StreamExt};

    use super::*;

    type Told = Result<Event<u8>, watcher::Error>;

    /// The next of these watches, which is silent at its end unless it is the last one.
    fn next_of(script: &mut std::vec::IntoIter<Vec<Told>>) -> impl Stream<Item = Told> + use<> {
        let last = script.len() == 1;
        let told = futures::stream::iter(script.next().expect("a watch that works was begun anew"));
        let silence = futures::stream::pending().take_until(async move {
            if !last {
                futures::future::pending::<()>().await;
            }
        });
        told.chain(silence)
    }

    #[tokio::test]
    async fn a_watch_that_failed_and_is_silent_is_begun_anew_until_a_list_says_that_it_works() {
        let failed = || Err(watcher::Error::NoResourceVersion);
        let script = vec![
            vec![Ok(Event::Init), Ok(Event::InitDone), failed()],
            vec![Ok(Event::Init)],
            vec![failed()],
            vec![Ok(Event::Init), Ok(Event::InitApply(1)), Ok(Event::InitDone)],
        ];
        let (health, mut script) = (Health::new("Node"), script.into_iter());
        let mut states = Vec::new();
        let begin = || {
            states.push(health.current());
            next_of(&mut script)
        };
        let mut seen = 0;
        follow_with(Pause { first: Duration::from_millis(1), ..PATIENCE }, begin, health.clone(), |_| seen += 1).await;
        assert!(health.current());
        assert_eq!((states.len(), seen), (4, 6));
        assert!(states.iter().all(|current| !current), "{states:?}");
    }

    /// What a watch saw that is begun anew each time with the next of these, and how often it was begun.
    async fn followed(script: Vec<Vec<Told>>, health: &Health) -> (Vec<u8>, usize) {
        let (mut begun, mut seen, mut script) = (0, Vec::new(), script.into_iter());
        let begin = || {
            begun += 1;
            next_of(&mut script)
        };
        // Nothing but an event, or doubt, begins it anew.
        let patience = Pause { first: Duration::from_secs(3600), longest: Duration::from_secs(3600) };
        let apply = |event| match event {
            Event::Apply(number) | Event::InitApply(number) => seen.push(number),
            // It is doubted when the list is complete.
            Event::InitDone if health.unreadable() > 0 => {
                health.set_unreadable(0);
                health.state.synced.store(true, Ordering::Release);
                health.doubt("the API server was away");
            }
            _ => {}
        };
        follow_with(patience, begin, health.clone(), apply).await;
        (seen, begun)
    }

    #[tokio::test]
    async fn what_a_watch_tells_after_a_failure_is_not_believed_before_a_new_list() {
        let list = |number| [Ok(Event::Init), Ok(Event::InitApply(number)), Ok(Event::InitDone)];
        let failed = [Err(watcher::Error::NoResourceVersion), Ok(Event::Apply(2))];
        let health = Health::new("Node");
        let script = vec![list(1).into_iter().chain(failed).collect(), list(3).into_iter().collect()];
        assert_eq!(followed(script, &health).await, (vec![1, 3], 2));
        assert!(health.current());
    }

    #[tokio::test]
    async fn a_watch_that_is_doubted_lists_anew_and_is_not_current_until_then() {
        let list = |number| vec![Ok(Event::Init), Ok(Event::InitApply(number)), Ok(Event::InitDone)];
        let health = Health::new("Node");
        health.doubt("nothing was listed yet");
        assert_eq!(health.failure(), None);
        health.set_unreadable(1);
        assert_eq!(followed(vec![list(1), list(2)], &health).await, (vec![1, 2], 2));
        assert!(health.current());
    }
}
