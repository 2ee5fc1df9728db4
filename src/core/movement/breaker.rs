//! When so many replacements fail that something else is wrong: in a namespace, which concerns nobody else, or everywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{held::Gate, journal::Underway};

/// What is halted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Namespaces in which nothing is moved any more, and how many replacements failed in each.
    pub namespaces: BTreeMap<String, usize>,
    /// Why nothing is moved anywhere, if so.
    pub gate: Option<Gate>,
}

impl Breaker {
    /// A namespace is halted by as many failures as `limit` says. Everything is by failures in as many namespaces, unless more than these
    /// have fared well (`fine`): whoever lets his own pods fail halts nobody else. So it is when every namespace that follows is halted.
    pub fn of<'m>(
        failures: impl IntoIterator<Item = &'m Underway>,
        fine: &BTreeSet<String>,
        following: &BTreeSet<&str>,
        limit: u32,
    ) -> Self {
        let limit = limit.max(1) as usize;
        let mut failing: BTreeMap<&str, usize> = BTreeMap::new();
        for move_ in failures {
            *failing.entry(&move_.workload.namespace).or_default() += 1;
        }
        let failed = failing.values().sum();
        let well = fine.iter().filter(|namespace| !failing.contains_key(namespace.as_str())).count();
        let widely = failing.len() >= limit && failing.len() >= well;
        let namespaces: BTreeMap<String, usize> = failing
            .iter()
            .filter(|(_, failed)| **failed >= limit)
            .map(|(name, failed)| ((*name).to_owned(), *failed))
            .collect();
        let all = !following.is_empty() && following.iter().all(|name| namespaces.contains_key(*name));
        Self { gate: (widely || all).then_some(Gate::Halted { failed }), namespaces }
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;
    use crate::core::testing::underway;

    #[test]
    fn a_namespace_is_halted_by_its_own_failures_and_all_by_those_of_many() {
        let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let rows = [
            ("nothing failed", "", "", "shop bank", "halted: "),
            ("too few", "shop shop", "", "shop bank", "halted: "),
            ("enough in one namespace", "shop shop shop", "", "shop bank", "halted: shop"),
            ("far more in it", "shop shop shop shop shop shop shop", "", "shop bank", "halted: shop"),
            ("in the only one", "shop shop shop", "", "shop", "halted: shop and everything, 3 failed"),
            (
                "in all there are",
                "shop shop shop bank bank bank",
                "",
                "shop bank",
                "halted: bank, shop and everything, 6 failed",
            ),
            ("one in each of many", "a b c", "", "a b c d e", "halted:  and everything, 3 failed"),
            ("while as many fare well", "a b c", "d e f", "a b c d e f", "halted:  and everything, 3 failed"),
            ("while more fare well", "a b c", "d e f g", "a b c d e f g", "halted: "),
            (
                "whoever failed does not fare well",
                "a b c",
                "a b c d e",
                "a b c d e",
                "halted:  and everything, 3 failed",
            ),
        ];
        check_rows(rows, |(what, failures, fine, following, expected)| {
            let failures: Vec<_> =
                words(failures).iter().map(|namespace| underway("ReplicaSet/web", 0).in_namespace(namespace)).collect();
            let following = words(following);
            let breaker = Breaker::of(
                &failures,
                &words(fine).into_iter().collect(),
                &following.iter().map(String::as_str).collect(),
                3,
            );
            let mut told = format!("halted: {}", breaker.namespaces.keys().cloned().collect::<Vec<_>>().join(", "));
            if let Some(Gate::Halted { failed }) = breaker.gate {
                told += &format!(" and everything, {failed} failed");
            }
            assert_eq!(told, expected, "{what}");
        });
    }
}
