//! Tells people whose namespace names a database that doesn't exist, or gets nothing of having opted in.

mod left_out;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::Shared;
use crate::{
    cluster::{EventReason, Notice, Notices, reference},
    core::follow::{Annotations, Follow},
};

/// Pause between two looks at every pod and workload.
const PAUSE: Duration = Duration::from_secs(10);

/// What was told already, by namespace.
#[derive(Debug, Default)]
pub(super) struct OptIns {
    told: HashMap<String, Vec<Said>>,
    /// What the last look at pods and workloads saw.
    left_out: BTreeMap<String, Vec<Said>>,
    looked: Option<Instant>,
}

/// One thing to tell of a namespace.
#[derive(Debug, Clone)]
struct Said {
    reason: EventReason,
    /// What it is about: while that stays, nothing is told again.
    about: String,
    note: String,
}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        (self.reason, &self.about) == (other.reason, &other.about)
    }
}

impl OptIns {
    /// Looks at every namespace that opts in; each new mistake is told once, by an event on the namespace and a log line.
    pub(super) fn check(&mut self, shared: &Shared, now: Instant) {
        if self.looked.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE) {
            self.looked = Some(now);
            self.left_out = left_out::left_out(&shared.index.picture());
        }
        let tables = shared.index.read();
        // Whoever may read events of a namespace needn't know which databases others have.
        let there_are = match tables.databases.values().any(|database| database.defaults.is_some()) {
            true => "see kubectl get databaseclusters",
            false => "no DatabaseCluster exists yet",
        };
        let mut to_tell = HashMap::new();
        for namespace in tables.namespaces.values().filter(|namespace| namespace.opt_in.is_some()) {
            let says = namespace.wishes.says();
            let follow = Follow::resolve(namespace.opt_in.as_deref(), &says, &Annotations::default(), |name| {
                tables.defaults(name)
            });
            let mistakes: Vec<Said> =
                follow.mistakes.iter().map(|mistake| Said::mistake(&mistake.to_string(), there_are)).collect();
            if !mistakes.is_empty() {
                to_tell.insert(namespace.name.clone(), mistakes);
            }
        }
        drop(tables);
        shared.metrics.namespaces_with_mistakes(to_tell.len());
        for (namespace, said) in &self.left_out {
            to_tell.entry(namespace.clone()).or_default().extend(said.iter().cloned());
        }
        self.tell(to_tell, &shared.notices);
    }

    /// Tells what is new. What the queue of events has no room for is told at a later look.
    fn tell(&mut self, mut to_tell: HashMap<String, Vec<Said>>, notices: &Notices) {
        to_tell.retain(|namespace, said| {
            let before = self.told.get(namespace).map(Vec::as_slice).unwrap_or_default();
            said.iter().filter(|said| !before.contains(said)).all(|said| {
                tracing::warn!(namespace, reason = said.reason.name(), "{}", said.note);
                notices.send(Notice {
                    about: reference("v1", "Namespace", None, namespace, ""),
                    warning: true,
                    reason: said.reason,
                    action: "Follow",
                    note: said.note.clone(),
                })
            })
        });
        self.told = to_tell;
    }
}

impl Said {
    fn mistake(mistake: &str, there_are: &str) -> Self {
        let note = format!("{mistake} ({there_are})");
        Self { reason: EventReason::WrongValue, about: mistake.to_owned(), note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::QUEUE;

    #[test]
    fn what_was_dropped_is_told_again_and_what_was_queued_is_not() {
        let (notices, mut waiting) = Notices::channel();
        let mut opt_ins = OptIns::default();
        let said = || vec![Said::mistake("no such database", "see kubectl get databaseclusters")];
        let mistaken = || (0..=QUEUE).map(|it| (format!("ns-{it}"), said())).collect();
        opt_ins.tell(mistaken(), &notices);
        assert_eq!((opt_ins.told.len(), waiting.len(), notices.dropped().get()), (QUEUE, QUEUE, 1));
        // Others' databases stay unsaid.
        while let Ok(notice) = waiting.try_recv() {
            assert_eq!(notice.note, "no such database (see kubectl get databaseclusters)");
        }
        opt_ins.tell(mistaken(), &notices);
        opt_ins.tell(mistaken(), &notices);
        assert_eq!((opt_ins.told.len(), waiting.len(), notices.dropped().get()), (QUEUE + 1, 1, 1));
    }
}
