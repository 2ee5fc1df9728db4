//! People are told once that nothing is moved any more, or nothing in some namespaces, because replacements failed there.

use std::collections::BTreeSet;

use super::Task;
use crate::{
    cluster::EventReason,
    controller::status_update,
    core::{
        movement::{breaker::Breaker, held::Gate},
        words::listed,
    },
    evaluate::Decided,
};

/// What was told.
#[derive(Debug, Default)]
pub(super) struct ToldHalted {
    /// Everything is halted.
    all: bool,
    namespaces: BTreeSet<String>,
}

impl ToldHalted {
    /// What is to be told now: that everything is halted, or namespaces that weren't before. What is over, and comes again, is news again.
    fn news(&mut self, gate: Option<&Gate>, breaker: &Breaker) -> Option<String> {
        let gate = gate.filter(|gate| matches!(gate, Gate::Halted { .. }));
        let namespaces: BTreeSet<String> = breaker.namespaces.keys().cloned().collect();
        let before = std::mem::replace(self, Self { all: gate.is_some(), namespaces });
        match gate {
            Some(gate) => (!before.all).then(|| gate.to_string()),
            None => (!self.namespaces.is_subset(&before.namespaces)).then(|| status_update::halted_in(breaker)),
        }
    }
}

impl Task {
    pub(super) fn tell_halted(&mut self, decided: &Decided) {
        let before = self.told_halted.all;
        if let Some(what) = self.told_halted.news(decided.gate.as_ref(), &decided.breaker) {
            let all = self.told_halted.all;
            let failed = self.memory.journal.underway.iter().filter(|it| it.trace.failed || all);
            let workloads: Vec<String> = failed.map(|it| it.workload.to_string()).collect();
            let note = format!("{what}; on the move: {}", listed(&workloads));
            tracing::warn!(database = self.name, why = note, "nothing is moved any more where replacements fail");
            self.notice(true, EventReason::Halted, note);
        }
        if before && !self.told_halted.all {
            tracing::info!(database = self.name, "no longer halted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_told_once_and_again_when_it_comes_again() {
        let breaker = |namespaces: &str| Breaker {
            namespaces: namespaces.split_terminator(' ').map(|name| (name.to_owned(), 3)).collect(),
            gate: None,
        };
        let halted = Gate::Halted { failed: 3 };
        let mut told = ToldHalted::default();
        for (what, gate, namespaces, expected) in [
            ("nothing", None, "", None),
            ("another gate", Some(&Gate::Paused), "", None),
            ("a namespace", None, "shop", Some("shop")),
            ("the same one", None, "shop", None),
            ("one more", None, "bank shop", Some("bank")),
            ("one of them is over", None, "bank", None),
            ("it comes again", None, "bank shop", Some("shop")),
            ("behind another gate, which is told itself", Some(&Gate::Paused), "bank shop", None),
            ("everything", Some(&halted), "bank shop", Some("halted: 3")),
            ("still", Some(&halted), "bank shop mail", None),
            ("the namespaces alone, which were told", None, "bank shop", None),
            ("everything again", Some(&halted), "bank shop", Some("halted: 3")),
            ("over", None, "", None),
        ] {
            let news = told.news(gate, &breaker(namespaces));
            assert_eq!(news.is_some(), expected.is_some(), "{what}: {news:?}");
            assert!(news.unwrap_or_default().contains(expected.unwrap_or_default()), "{what}");
        }
    }
}
