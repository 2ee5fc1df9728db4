//! How many pods of a workload may be away at once: what its disruption budget allows, or one without any. The budget's status is the
//! authority, and lags behind what was done; what it can't show yet is counted here.

use std::{cell::RefCell, rc::Rc};

use super::Move;
use crate::core::{
    hash::{HashMap, HashSet},
    movement::{
        held::HeldReason,
        journal::{Spends, Underway},
        ways::Way,
        workloads::{WorkloadKey, WorkloadPods},
    },
    selector::Labels,
    workload::{DisruptionBudget, Pod, Snapshot},
};

/// The pods of one workload that are on the move.
#[derive(Debug, Default)]
struct Moving {
    moves: u32,
    /// Those of them that still seem to serve in the picture.
    seem_to_serve: u32,
    /// Why nobody else of the workload moves meanwhile, if so.
    alone: Option<HeldReason>,
}

/// What was taken of one disruption budget.
#[derive(Debug, Default)]
struct Spent {
    /// Pods that it covers and that are on the move.
    moves: u32,
    /// What its status doesn't show yet.
    unseen: u32,
}

/// A disruption budget, and its UID.
type Budget<'a> = (&'a str, &'a DisruptionBudget);

/// The budgets and the labels of pods of one template, by where they are in memory.
type OneTemplate<'a> = (*const Budget<'a>, *const Labels);

/// Who is away, or about to be.
#[derive(Debug)]
pub(super) struct Away<'a> {
    snapshot: Snapshot<'a>,
    /// Nobody needs to go on serving.
    all_together: bool,
    /// By namespace, each with its UID, in the order of their names.
    budgets: HashMap<&'a str, Vec<Budget<'a>>>,
    /// Those of them that cover the pods of a template.
    covering: RefCell<HashMap<OneTemplate<'a>, Rc<Vec<Budget<'a>>>>>,
    /// By UID.
    workloads: HashMap<String, Moving>,
    /// By UID.
    spent: HashMap<String, Spent>,
    /// UIDs of pods that are on the move.
    pods: HashSet<String>,
}

/// What a move takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Takes {
    /// Of disruption budgets, by UID.
    budgets: Vec<(String, u32)>,
    /// What the Eviction API takes of one.
    pub spends: Option<Spends>,
}

impl<'a> Away<'a> {
    /// As the moves under way leave it.
    pub(super) fn of<'u>(
        snapshot: Snapshot<'a>,
        underway: impl IntoIterator<Item = &'u Underway>,
        all_together: bool,
    ) -> Self {
        let mut budgets: HashMap<&str, Vec<Budget<'_>>> = HashMap::default();
        for (uid, budget) in snapshot.budgets {
            budgets.entry(&budget.namespace).or_default().push((uid, budget));
        }
        budgets.values_mut().for_each(|all| all.sort_by_key(|(uid, budget)| (&*budget.name, *uid)));
        let (covering, workloads, spent, pods) = Default::default();
        let mut away = Self { snapshot, all_together, budgets, covering, workloads, spent, pods };
        underway.into_iter().for_each(|move_| away.add(move_));
        away
    }

    fn add(&mut self, move_: &Underway) {
        let trace = &move_.trace;
        self.pods.insert(move_.uid.clone());
        let moving = self.workloads.entry(move_.workload.uid.clone()).or_default();
        moving.moves += 1;
        moving.seem_to_serve += u32::from(!trace.unready && move_.untouched(self.snapshot));
        match &move_.way {
            Err(way) => moving.alone = Some(HeldReason::UnknownWay { way: way.clone(), pod: move_.pod.clone() }),
            Ok(Way::Evict) if !trace.failed => {}
            Ok(_) => {
                moving.alone.get_or_insert(HeldReason::OneAtATime);
            }
        }
        if let Some(spends) = &trace.spends {
            let unseen = !self.shows(spends, move_);
            let spent = self.spent.entry(spends.budget.clone()).or_default();
            spent.moves += 1;
            spent.unseen += u32::from(unseen);
        }
    }

    /// Whether the status of the budget counts an eviction: it names the pod, or has changed since and the pod is ending or gone. (The API
    /// server writes it before it answers.)
    fn shows(&self, spends: &Spends, move_: &Underway) -> bool {
        self.snapshot.budgets.get(&spends.budget).is_none_or(|budget| {
            budget.disrupted.contains(&move_.pod)
                || (budget.version != spends.version && !move_.untouched(self.snapshot))
        })
    }

    /// Why nobody else of the workload moves, or not this pod.
    pub(super) fn free(&self, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        if let Some(why) = self.moving(key).and_then(|moving| moving.alone.as_ref()) {
            return Err(why.clone());
        }
        if self.pods.contains(&pod.uid) { Err(HeldReason::OneAtATime) } else { Ok(()) }
    }

    /// What moving a pod takes of disruption budgets, if they and its workload let it go. `most` is `spec.movement.perWorkload`.
    pub(super) fn takes(
        &self,
        way: Way,
        (key, workload_pods): (&WorkloadKey, &WorkloadPods<'_>),
        pod: &'a Pod,
        pods: u32,
        most: Option<u32>,
    ) -> Result<Takes, HeldReason> {
        let covering = self.covering(pod);
        if way == Way::Restart {
            if self.moving(key).is_some() {
                return Err(HeldReason::OneAtATime);
            }
            self.whole_or_nobody_serves(workload_pods)?;
            return self.restart(&covering, workload_pods, pods);
        }
        if covering.len() > 1 {
            let names: Vec<_> = covering.iter().map(|(_, budget)| budget.name.as_str()).collect();
            return Err(HeldReason::SeveralBudgets(names.join(", ")));
        }
        let moves = self.moving(key).map_or(0, |moving| moving.moves);
        if !pod.serves() && moves > 0 {
            // Whether that helps, one of them shows.
            return Err(HeldReason::OneAtATime);
        }
        if most.is_some_and(|most| moves >= most) {
            return Err(as_many_as(most.unwrap_or(1)));
        }
        let Some(&(uid, budget)) = covering.first() else {
            return match pod.serves() {
                true => self.lacks_at_most(key, workload_pods, most.unwrap_or(1), 1).map(|()| Takes::default()),
                false => Ok(Takes::default()),
            };
        };
        if !pod.serves() && budget.ignores_unready() {
            return Ok(Takes::default());
        }
        let spent = self.spent.get(uid);
        // Pods that are Ready, but not for long enough, count as serving for the budget alone.
        let unseen = spent.map_or(0, |spent| spent.unseen).saturating_add(workload_pods.warming);
        if budget.allowed <= unseen {
            return Err(match spent {
                Some(spent) if spent.moves > 0 => HeldReason::BudgetSpent(budget.name.clone()),
                _ if budget.allowed > 0 => lacking(workload_pods),
                _ => self.allows_none(budget, workload_pods),
            });
        }
        if pod.serves() {
            self.leaves_somebody(key, workload_pods, 1)?;
        }
        let spends = Spends { budget: uid.to_owned(), version: budget.version.clone() };
        Ok(Takes { budgets: vec![(uid.to_owned(), 1)], spends: Some(spends) })
    }

    /// Why a budget that allows nothing does so. While its status names pods whose eviction was granted, or counts fewer Ready pods than
    /// serve, somebody has yet to count them again: after an API server was away, that may take half a minute.
    fn allows_none(&self, budget: &DisruptionBudget, workload_pods: &WorkloadPods<'_>) -> HeldReason {
        // Most often fewer serve than it counts, and nobody needs to ask whom it covers.
        let uncounted = || {
            let covered = |pod: &&&Pod| self.snapshot.serves(pod) && budget.selector.matches(&pod.labels);
            workload_pods.pods.iter().filter(covered).count() > budget.healthy as usize
        };
        let serve = workload_pods.serving + workload_pods.warming;
        if !budget.disrupted.is_empty() || (budget.healthy < serve && uncounted()) {
            HeldReason::BudgetSpent(budget.name.clone())
        } else {
            HeldReason::NoBudget(budget.name.clone())
        }
    }

    /// A restart asks no budget where it starts new pods before it ends old ones; the API server doesn't ask for it, so that several may
    /// cover it.
    fn restart(
        &self,
        covering: &[(&str, &DisruptionBudget)],
        workload_pods: &WorkloadPods<'_>,
        pods: u32,
    ) -> Result<Takes, HeldReason> {
        if pods == 0 {
            return Ok(Takes::default());
        }
        let spent = |uid: &str| self.spent.get(uid).map_or(0, |spent| spent.unseen);
        match covering.iter().find(|(uid, budget)| budget.allowed < spent(uid).saturating_add(pods)) {
            Some((_, budget)) => Err(self.allows_none(budget, workload_pods)),
            None => {
                let budgets = covering.iter().map(|(uid, _)| ((*uid).to_owned(), pods)).collect();
                Ok(Takes { budgets, spends: None })
            }
        }
    }

    /// A restart begins with a whole workload, or with one of which nobody serves whom it could take away.
    pub(super) fn whole_or_nobody_serves(&self, workload_pods: &WorkloadPods<'_>) -> Result<(), HeldReason> {
        let serve = workload_pods.serving + workload_pods.warming;
        if workload_pods.whole() || (serve == 0 && workload_pods.desired == Some(1)) {
            Ok(())
        } else {
            Err(lacking(workload_pods))
        }
    }

    /// Without a budget: with `more` that go now, no more than `most` pods are away.
    pub(super) fn lacks_at_most(
        &self,
        key: &WorkloadKey,
        workload_pods: &WorkloadPods<'_>,
        most: u32,
        more: u32,
    ) -> Result<(), HeldReason> {
        let moves = self.moving(key).map_or(0, |moving| moving.moves);
        if moves.saturating_add(more) > most {
            return Err(as_many_as(most));
        }
        let seem = self.moving(key).map_or(0, |moving| moving.seem_to_serve);
        let missing = workload_pods.desired.unwrap_or_default().saturating_sub(workload_pods.serving);
        if missing.saturating_add(seem).saturating_add(more) > most {
            return Err(lacking(workload_pods));
        }
        self.leaves_somebody(key, workload_pods, more)
    }

    /// Somebody goes on serving when `more` go now, unless the workload wants no second one.
    pub(super) fn leaves_somebody(
        &self,
        key: &WorkloadKey,
        workload_pods: &WorkloadPods<'_>,
        more: u32,
    ) -> Result<(), HeldReason> {
        let seem = self.moving(key).map_or(0, |moving| moving.seem_to_serve);
        if self.all_together
            || workload_pods.desired.is_some_and(|desired| desired <= 1)
            || workload_pods.serving > seem.saturating_add(more)
        {
            return Ok(());
        }
        Err(if seem > 0 { HeldReason::OneAtATime } else { lacking(workload_pods) })
    }

    /// The budget still allows all that its status doesn't show yet, and `more`.
    pub(super) fn within(&self, budget: &str, more: u32) -> Result<(), HeldReason> {
        let unseen = self.spent.get(budget).map_or(0, |spent| spent.unseen).saturating_add(more);
        match self.snapshot.budgets.get(budget) {
            Some(budget) if budget.allowed < unseen => Err(HeldReason::NoBudget(budget.name.clone())),
            _ => Ok(()),
        }
    }

    /// The disruption budgets that cover a pod, in the order of their names.
    pub(super) fn covering(&self, pod: &'a Pod) -> Rc<Vec<Budget<'a>>> {
        let Some(of_namespace) = self.budgets.get(pod.namespace.as_str()) else { return Rc::default() };
        // Pods of one template have their labels in the same place.
        let key = (of_namespace.as_ptr(), &raw const *pod.labels);
        let covering = || of_namespace.iter().filter(|(_, budget)| budget.selector.matches(&pod.labels)).copied();
        Rc::clone(self.covering.borrow_mut().entry(key).or_insert_with(|| Rc::new(covering().collect())))
    }

    fn moving(&self, key: &WorkloadKey) -> Option<&Moving> {
        self.workloads.get(&key.uid)
    }

    /// A move was planned that takes this.
    pub(super) fn plan(&mut self, move_: &Move, takes: &Takes) {
        self.pods.insert(move_.uid.clone());
        let moving = self.workloads.entry(move_.workload.uid.clone()).or_default();
        moving.moves += 1;
        moving.seem_to_serve += u32::from(!move_.unready);
        if move_.way == Way::Restart {
            moving.alone = Some(HeldReason::OneAtATime);
        }
        for (uid, pods) in &takes.budgets {
            let spent = self.spent.entry(uid.clone()).or_default();
            spent.moves += 1;
            spent.unseen += pods;
        }
    }
}

pub(super) fn lacking(workload_pods: &WorkloadPods<'_>) -> HeldReason {
    HeldReason::NotWhole { serving: workload_pods.serving, desired: workload_pods.desired.unwrap_or_default() }
}

fn as_many_as(most: u32) -> HeldReason {
    if most <= 1 { HeldReason::OneAtATime } else { HeldReason::PerWorkload { limit: most } }
}
