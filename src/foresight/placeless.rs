//! Who finds no place, and which budgets never let anybody go.

use std::collections::{BTreeMap, HashMap};

use super::{near, owner, picture::Picture, waves::Course};
use crate::core::{
    movement::{held::HeldReason, workloads::WorkloadKey},
    workload::{DisruptionBudget, Pod},
};

/// Those for whom there is no room, by workload, and the budgets that never let anybody go.
#[derive(Default)]
pub(super) struct Placeless<'p> {
    pub by_workload: BTreeMap<WorkloadKey, Vec<&'p Pod>>,
    pub never: Vec<&'p DisruptionBudget>,
}

impl<'p> Placeless<'p> {
    pub(super) fn of(picture: &'p Picture, course: &Course) -> Self {
        let mut found = Self::default();
        let named = |budget: &'p DisruptionBudget| ((&*budget.namespace, &*budget.name), budget);
        let all: HashMap<_, _> = picture.tables.budgets.values().map(named).collect();
        let mut budgets: BTreeMap<(&str, &str), &DisruptionBudget> = BTreeMap::new();
        for held in &course.left.held {
            let Some(following) = picture.follower(&held.uid) else { continue };
            match &held.reason {
                HeldReason::NoRoom(_) => {
                    let key = owner(&picture.tables, &following.pod);
                    found.by_workload.entry(key).or_default().push(&following.replacement);
                }
                HeldReason::NoBudget(name) => {
                    budgets
                        .extend(all.get_key_value(&(&*held.namespace, &**name)).map(|(name, budget)| (*name, *budget)));
                }
                _ => {}
            }
        }
        // One that lacks a pod now allows others to go when it has it again.
        let never = |budget: &&DisruptionBudget| {
            budget.healthy > 0 && budget.healthy <= budget.desired_healthy && {
                let of_it = |pod: &&Pod| pod.namespace == budget.namespace && budget.selector.matches(&pod.labels);
                near::count(picture.tables.pods.values().filter(of_it).count()) <= budget.desired_healthy
            }
        };
        found.never = budgets.into_values().filter(never).collect();
        found
    }
}
