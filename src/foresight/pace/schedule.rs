//! Moves in time: as many at once as groups, namespaces and the limits of the movement let there be.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use crate::{
    core::{
        hash::HashMap,
        movement::{
            limits::MINUTE,
            window::{Evidence, Window},
        },
    },
    foresight::Question,
};

/// From when a replacement is Ready until the next pod of its workload goes: what the disruption controller and a look take. So long a
/// replacement has no node, too.
pub(super) const HANDOVER_MS: u64 = 1_000;

/// One move as it takes time and place from others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Which of the groups of pods that wait for each other.
    pub group: usize,
    pub namespace: usize,
    pub takes_ms: u64,
}

/// What all moves together keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// `movement.maxConcurrent`, and few at first; `None`: everybody at once.
    pub most: Option<u32>,
    pub per_namespace: Option<u32>,
    pub per_minute: Option<u32>,
}

pub(super) const NO_BOUNDS: Bounds = Bounds { most: None, per_namespace: None, per_minute: None };

impl Bounds {
    pub(super) fn of(question: &Question<'_>) -> Self {
        let movement = &question.object.spec.movement;
        let (per_namespace, per_minute) = (movement.per_namespace, movement.per_minute);
        Self { most: Some(movement.max_concurrent), per_namespace, per_minute }
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
pub(super) fn schedule(jobs: &[Job], at_once: &[u32], bounds: Bounds) -> Vec<(u64, u64)> {
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
