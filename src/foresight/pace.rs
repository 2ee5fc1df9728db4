//! When each move begins and ends: as many at once as budgets, workloads and limits let there be, each for as long as replacements of its
//! workload take.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use super::{
    Question,
    forecast::{Seconds, Step, WaveForecast},
    waves::{Carried, Course},
};
use crate::core::{
    hash::HashMap,
    movement::{
        limits::MINUTE,
        ways::Way,
        window::{Evidence, Window},
        workloads::{WorkloadKey, Workloads},
    },
    workload::Strategy,
};

/// How long a replacement takes of a workload whose pods don't say: assumed.
const ASSUMED_S: u32 = 30;
/// From when a replacement is Ready until the next pod of its workload goes: what the disruption controller and a look take. So long a
/// replacement has no node, too.
const HANDOVER_MS: u64 = 1_000;
/// Moves that begin within this are one wave.
const TOGETHER_MS: u64 = 500;

/// The moves of a course, in time.
#[derive(Debug)]
pub(super) struct Paced {
    /// Of each move of the course, in its order.
    pub times: Vec<Timed>,
    pub steps: Vec<Step>,
    pub seconds: Seconds,
}

/// One move, in time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub way: Way,
    pub begins_ms: u64,
    pub ends_ms: u64,
    pub wave: u32,
    pub at_once: u32,
    pub ready_s: u32,
    pub ready_known: bool,
}

impl Timed {
    pub(super) fn ends_s(&self) -> f64 {
        seconds(self.ends_ms)
    }
}

impl Paced {
    pub(super) fn waves(&self) -> Vec<WaveForecast> {
        let mut waves: BTreeMap<u32, WaveForecast> = BTreeMap::new();
        for step in &self.steps {
            let wave =
                waves.entry(step.wave).or_insert(WaveForecast { wave: step.wave, begins_s: step.begins_s, pods: 0 });
            wave.pods += 1;
        }
        waves.into_values().collect()
    }
}

fn seconds(ms: u64) -> f64 {
    // Tenths are more than anybody knows.
    let tenths = u32::try_from(ms / 100).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}

/// One move as it takes time and place from others.
#[derive(Debug, Clone, Copy)]
struct Job {
    /// Which of the groups of pods that wait for each other.
    group: usize,
    namespace: usize,
    takes_ms: u64,
}

/// What all moves together keep to.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// `movement.maxConcurrent`, and few at first; `None`: everybody at once.
    most: Option<u32>,
    per_namespace: Option<u32>,
    per_minute: Option<u32>,
}

const NO_BOUNDS: Bounds = Bounds { most: None, per_namespace: None, per_minute: None };

pub(super) fn pace(question: &Question<'_>, course: &Course) -> Paced {
    let moving: BTreeSet<&str> = course.carried.iter().map(|it| &*it.move_.workload.uid).collect();
    let workloads = Workloads::named(question.tables.snapshot(), moving);
    let habits = Habits::of(&workloads, course);
    let (jobs, at_once) = jobs(question, course, &workloads, &habits);
    let movement = &question.object.spec.movement;
    let bounds = Bounds {
        most: Some(movement.max_concurrent),
        per_namespace: movement.per_namespace,
        per_minute: movement.per_minute,
    };
    let times = schedule(&jobs, &at_once, bounds);
    let end = |times: &[(u64, u64)]| times.iter().map(|(_, end)| *end).max().unwrap_or(0);
    let total = end(&times);
    let in_budgets = end(&schedule(&jobs, &at_once, NO_BOUNDS)).min(total);
    let readiness = jobs.iter().map(|job| job.takes_ms).max().unwrap_or(0).min(in_budgets);
    let waves = numbered(&times);
    let timed = |at: usize| {
        let carried: &Carried = &course.carried[at];
        let (ready_s, ready_known) = habits.ready_s(&carried.move_.workload.uid);
        Timed {
            way: carried.move_.way,
            begins_ms: times[at].0,
            ends_ms: times[at].1,
            wave: waves[at],
            at_once: at_once[jobs[at].group],
            ready_s,
            ready_known,
        }
    };
    let timed: Vec<Timed> = (0..jobs.len()).map(timed).collect();
    Paced {
        steps: steps(course, &timed),
        times: timed,
        seconds: Seconds {
            settle: movement.settle.0.as_secs_f64(),
            total: seconds(total),
            readiness: seconds(readiness),
            budget: seconds(in_budgets - readiness),
            limits: seconds(total - in_budgets),
        },
    }
}

fn steps(course: &Course, timed: &[Timed]) -> Vec<Step> {
    let of_move = |(carried, timed): (&Carried, &Timed)| {
        let step = |pod: &super::waves::Moved| Step {
            wave: timed.wave,
            begins_s: seconds(timed.begins_ms),
            ends_s: timed.ends_s(),
            pod: pod.pod.full_name(),
            from: pod.from.clone(),
            to: pod.to.clone(),
            way: timed.way.name(),
        };
        carried.pods.iter().map(step).collect::<Vec<_>>()
    };
    let mut steps: Vec<Step> = course.carried.iter().zip(timed).flat_map(of_move).collect();
    steps.sort_by(|a, b| a.begins_s.total_cmp(&b.begins_s).then_with(|| a.pod.cmp(&b.pod)));
    steps
}

/// The number of the wave of each, from 1 on.
fn numbered(times: &[(u64, u64)]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|at| times[*at].0);
    let (mut wave, mut began, mut waves) = (0, None::<u64>, vec![0; times.len()]);
    for at in order {
        let begins = times[at].0;
        if began.is_none_or(|began| begins > began + TOGETHER_MS) {
            (wave, began) = (wave + 1, Some(begins));
        }
        waves[at] = wave;
    }
    waves
}

/// How long replacements of workloads took, by the UID of the workload.
struct Habits(HashMap<String, u32>);

impl Habits {
    /// The median over all pods of a workload that say it, moved or not.
    fn of(workloads: &Workloads<'_>, course: &Course) -> Self {
        let keys: BTreeSet<&WorkloadKey> = course.carried.iter().map(|it| &it.move_.workload).collect();
        let median = |key: &WorkloadKey| {
            let pods = workloads.get(key)?;
            let mut took: Vec<u32> = pods.pods.iter().filter_map(|pod| pod.ready_after_s).collect();
            took.sort_unstable();
            Some((key.uid.clone(), *took.get(took.len() / 2)?))
        };
        Self(keys.into_iter().filter_map(median).collect())
    }

    /// In seconds, and whether it is known rather than assumed.
    fn ready_s(&self, workload: &str) -> (u32, bool) {
        self.0.get(workload).map_or((ASSUMED_S, false), |took| (*took, true))
    }
}

/// Every move, and how many of each group go at once.
fn jobs(question: &Question<'_>, course: &Course, workloads: &Workloads<'_>, habits: &Habits) -> (Vec<Job>, Vec<u32>) {
    let snapshot = question.tables.snapshot();
    let most = question.object.spec.movement.per_workload;
    let (mut groups, mut namespaces): (HashMap<&str, usize>, HashMap<&str, usize>) = Default::default();
    let (mut jobs, mut at_once) = (Vec::new(), Vec::new());
    for Carried { move_, pods } in &course.carried {
        let spends = move_.spends.as_ref().map(|spends| &spends.budget);
        let next = groups.len();
        let group = *groups.entry(spends.unwrap_or(&move_.workload.uid)).or_insert(next);
        if group == next {
            let by_budget = spends.and_then(|uid| snapshot.budgets.get(uid)).map(|budget| budget.allowed);
            let go = by_budget.map_or(most.unwrap_or(1), |allowed| allowed.min(most.unwrap_or(u32::MAX)));
            let serving = workloads.get(&move_.workload).map_or(1, |it| it.serving + it.warming);
            // Somebody goes on serving, where there is a second one.
            at_once.push(go.min(serving.saturating_sub(1)).max(1));
        }
        let next = namespaces.len();
        let namespace = *namespaces.entry(&move_.namespace).or_insert(next);
        let (ready_s, _) = habits.ready_s(&move_.workload.uid);
        let rounds = match move_.way {
            Way::Evict => 1,
            Way::Restart => {
                let strategy = snapshot.workloads.get(&move_.workload.uid).map(|it| it.strategy);
                u64::try_from(pods.len()).unwrap_or(1).div_ceil(u64::from(together(strategy))).max(1)
            }
        };
        jobs.push(Job { group, namespace, takes_ms: rounds * (u64::from(ready_s) * 1_000 + HANDOVER_MS) });
    }
    (jobs, at_once)
}

/// How many pods of a workload its own controller replaces together.
fn together(strategy: Option<Strategy>) -> u32 {
    match strategy {
        Some(Strategy::Rolling { surge, unavailable }) => (surge + unavailable).max(1),
        Some(Strategy::Ordered { unavailable, .. }) => unavailable.max(1),
        _ => 1,
    }
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Ends(usize),
    /// A replacement has its node, which lets more begin.
    Placed,
    /// A minute has passed since one began.
    Minute,
}

/// When each begins and ends, in milliseconds.
fn schedule(jobs: &[Job], at_once: &[u32], bounds: Bounds) -> Vec<(u64, u64)> {
    Schedule::of(jobs, at_once, bounds).run()
}

struct Schedule<'j> {
    jobs: &'j [Job],
    bounds: Bounds,
    window: Window,
    /// Of each group, who waits, in order, and how many more may go.
    waiting: Vec<VecDeque<usize>>,
    free: Vec<u32>,
    /// Groups of which somebody may go, by the one that is next.
    heads: BTreeSet<usize>,
    /// Those whose namespace has as many on the move as it may.
    crowded: BTreeMap<usize, Vec<usize>>,
    in_namespace: HashMap<usize, u32>,
    moving: u32,
    begun: VecDeque<u64>,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    times: Vec<(u64, u64)>,
}

impl<'j> Schedule<'j> {
    fn of(jobs: &'j [Job], at_once: &[u32], bounds: Bounds) -> Self {
        let mut waiting = vec![VecDeque::new(); at_once.len()];
        for (at, job) in jobs.iter().enumerate() {
            waiting[job.group].push_back(at);
        }
        Self {
            heads: waiting.iter().filter_map(|group| group.front().copied()).collect(),
            jobs,
            bounds,
            window: if bounds.most.is_some() { Window::default() } else { Window::unlimited() },
            waiting,
            free: at_once.to_vec(),
            crowded: BTreeMap::new(),
            in_namespace: HashMap::default(),
            moving: 0,
            begun: VecDeque::new(),
            due: BinaryHeap::new(),
            times: vec![(0, 0); jobs.len()],
        }
    }

    fn run(mut self) -> Vec<(u64, u64)> {
        let mut now = 0;
        loop {
            self.begin_all(now);
            let Some(Reverse((at, due))) = self.due.pop() else { return self.times };
            now = at;
            self.happen(due);
            while let Some(Reverse((at, due))) = self.due.peek().copied().filter(|Reverse((at, _))| *at == now) {
                debug_assert_eq!(at, now);
                self.due.pop();
                self.happen(due);
            }
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Ends(job) => self.end(job),
            Due::Placed => {
                let most = self.bounds.most.unwrap_or(u32::MAX);
                self.window.learn(Evidence { placed: 1, ..Evidence::default() }, most);
            }
            Due::Minute => {}
        }
    }

    fn begin_all(&mut self, now: u64) {
        while let Some(job) = self.heads.first().copied() {
            let most = self.bounds.most.unwrap_or(u32::MAX).min(self.window.size());
            if self.moving >= most || !self.minute_allows(now) {
                return;
            }
            self.heads.pop_first();
            let namespace = self.jobs[job].namespace;
            let there = self.in_namespace.get(&namespace).copied().unwrap_or(0);
            if self.bounds.per_namespace.is_some_and(|most| there >= most) {
                self.crowded.entry(namespace).or_default().push(job);
                continue;
            }
            self.begin(job, now);
        }
    }

    fn minute_allows(&mut self, now: u64) -> bool {
        let Some(most) = self.bounds.per_minute else { return true };
        let minute = millis(MINUTE);
        while self.begun.front().is_some_and(|at| now >= at + minute) {
            self.begun.pop_front();
        }
        self.begun.len() < most as usize
    }

    fn begin(&mut self, job: usize, now: u64) {
        let Job { group, namespace, takes_ms } = self.jobs[job];
        self.times[job] = (now, now + takes_ms);
        self.moving += 1;
        *self.in_namespace.entry(namespace).or_default() += 1;
        self.begun.push_back(now);
        self.due.push(Reverse((now + takes_ms, Due::Ends(job))));
        self.due.push(Reverse((now + HANDOVER_MS, Due::Placed)));
        if self.bounds.per_minute.is_some() {
            self.due.push(Reverse((now + millis(MINUTE), Due::Minute)));
        }
        self.free[group] -= 1;
        self.waiting[group].pop_front();
        self.offer(group);
    }

    fn end(&mut self, job: usize) {
        let Job { group, namespace, .. } = self.jobs[job];
        self.moving -= 1;
        if let Some(there) = self.in_namespace.get_mut(&namespace) {
            *there -= 1;
        }
        self.free[group] += 1;
        self.offer(group);
        self.heads.extend(self.crowded.remove(&namespace).unwrap_or_default());
    }

    /// The next one of a group may go, if one may.
    fn offer(&mut self, group: usize) {
        if self.free[group] > 0
            && let Some(next) = self.waiting[group].front()
            && !self.crowded.values().flatten().any(|job| job == next)
        {
            self.heads.insert(*next);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
