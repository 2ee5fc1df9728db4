//! Tells people whose namespace names a database that doesn't exist.

use std::collections::{BTreeSet, HashMap};

use super::Shared;
use crate::{
    cluster::{EventReason, Notice, Notices, reference},
    core::follow::{Annotations, Follow},
};

/// What was told already, by namespace.
#[derive(Debug, Default)]
pub(super) struct OptIns {
    told: HashMap<String, Vec<String>>,
}

impl OptIns {
    /// Looks at every namespace that opts in; each new mistake is told once, by an event on the namespace and a log line.
    pub(super) fn check(&mut self, shared: &Shared) {
        let tables = shared.index.read();
        let mut mistaken = HashMap::new();
        for namespace in tables.namespaces.values().filter(|namespace| namespace.opt_in.is_some()) {
            let says = namespace.wishes.says();
            let follow = Follow::resolve(namespace.opt_in.as_deref(), &says, &Annotations::default(), |name| {
                tables.defaults(name)
            });
            let mistakes: Vec<String> = follow.mistakes.iter().map(ToString::to_string).collect();
            if !mistakes.is_empty() {
                mistaken.insert(namespace.name.clone(), mistakes);
            }
        }
        let databases = tables.databases.values().filter(|database| database.defaults.is_some());
        let existing: BTreeSet<&str> = databases.map(|database| database.name.as_str()).collect();
        let existing = existing.into_iter().collect::<Vec<_>>().join(", ");
        shared.metrics.namespaces_with_mistakes(mistaken.len());
        self.tell(mistaken, &existing, &shared.notices);
    }

    /// Tells what is new. What the queue of events has no room for is told at a later look.
    fn tell(&mut self, mut mistaken: HashMap<String, Vec<String>>, existing: &str, notices: &Notices) {
        // Whoever may read events of a namespace needn't know which databases others have.
        let there_are =
            if existing.is_empty() { "no DatabaseCluster exists yet" } else { "see kubectl get databaseclusters" };
        mistaken.retain(|namespace, mistakes| {
            if self.told.get(namespace) == Some(mistakes) {
                return true;
            }
            mistakes.iter().all(|mistake| {
                tracing::warn!(namespace, mistake, databases = existing, "a namespace's opt-in has a wrong value");
                notices.send(Notice {
                    about: reference("v1", "Namespace", None, namespace, ""),
                    warning: true,
                    reason: EventReason::WrongValue,
                    action: "Follow",
                    note: format!("{mistake} ({there_are})"),
                })
            })
        });
        self.told = mistaken;
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
        let mistaken = || (0..=QUEUE).map(|it| (format!("ns-{it}"), vec!["no such database".to_owned()])).collect();
        opt_ins.tell(mistaken(), "orders", &notices);
        assert_eq!((opt_ins.told.len(), waiting.len(), notices.dropped().get()), (QUEUE, QUEUE, 1));
        while let Ok(notice) = waiting.try_recv() {
            assert_eq!(
                notice.note, "no such database (see kubectl get databaseclusters)",
                "others' databases stay unsaid"
            );
        }
        opt_ins.tell(mistaken(), "orders", &notices);
        opt_ins.tell(mistaken(), "orders", &notices);
        assert_eq!((opt_ins.told.len(), waiting.len(), notices.dropped().get()), (QUEUE + 1, 1, 1));
    }
}
