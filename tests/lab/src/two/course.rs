//! How one event goes: what has to come true, when it did, and the figures of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use jiff::Timestamp;

use super::{
    PATIENCE,
    bed::{Bed, REPLICAS},
    report::Figures,
};
use crate::{
    measured::tenths,
    site::{self, Site},
};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What has to come true, and how it is told.
pub(super) type Goal<'a> = (&'static str, Box<dyn Fn() -> bool + 'a>);

/// An event, from the moment on in which it happened.
pub(super) struct Course<'a> {
    bed: &'a Bed,
    pub(super) at: Instant,
    time: Timestamp,
    /// Data centres with power.
    live: BTreeSet<Site>,
    /// Where the product's controllers were, by pod.
    controllers: BTreeMap<String, Site>,
    epoch: u64,
    label_changes: usize,
    evictions: usize,
}

impl<'a> Course<'a> {
    /// Remembers how it was, and lets it happen.
    pub(super) fn of(bed: &'a Bed, live: &[Site], event: impl FnOnce() -> Result<()>) -> Result<Course<'a>> {
        let controllers = bed.controllers();
        let seen = bed.scene.seen();
        let (epoch, label_changes, evictions) = (seen.epoch(), seen.label_changes.len(), seen.evictions.len());
        drop(seen);
        let live = live.iter().copied().collect();
        let (at, time) = (Instant::now(), Timestamp::now());
        let course = Course { bed, at, time, live, controllers, epoch, label_changes, evictions };
        event()?;
        Ok(course)
    }

    /// A write through the API server comes back.
    pub(super) fn writes(&self) -> Goal<'_> {
        ("the API server writes", Box::new(|| self.bed.clients.writes_again(self.at)))
    }

    /// A controller with power leads.
    pub(super) fn led(&self) -> Goal<'_> {
        let lives = |pod: &String| self.controllers.get(pod).is_some_and(|site| self.live.contains(site));
        ("a controller leads", Box::new(move || self.bed.clients.leaders(self.time).iter().any(lives)))
    }

    /// Every node with power has the label that its distance to the primary asks for.
    pub(super) fn labels(&self) -> Goal<'_> {
        let right = || {
            let Some(primary) = self.bed.clients.shop_primary() else { return false };
            self.wrong_labels_of(&primary) == 0
        };
        ("labels are right", Box::new(right))
    }

    /// The product knows the primary that there is.
    pub(super) fn known(&self) -> Goal<'_> {
        let known = || {
            let primary = self.bed.clients.shop_primary();
            let seen = self.bed.scene.seen();
            let conditions = seen.database["conditions"].as_array().cloned().unwrap_or_default();
            let sure = conditions.iter().any(|it| it["type"] == "PrimaryKnown" && it["status"] == "True");
            primary.is_some() && sure && seen.database["primary"].as_str() == primary.as_deref()
        };
        ("switchover knows the primary", Box::new(known))
    }

    /// Every replica serves beside the primary.
    pub(super) fn near(&self) -> Goal<'_> {
        let near = || {
            let Some(primary) = self.bed.clients.shop_primary() else { return false };
            self.bed.scene.seen().settled_at(&primary, REPLICAS)
        };
        ("every replica is near", Box::new(near))
    }

    /// Kubernetes says of the nodes of these data centres, and of no others, that they are Ready.
    pub(super) fn ready_nodes(&self, sites: &[Site]) -> Goal<'_> {
        let sites: BTreeSet<Site> = sites.iter().copied().collect();
        let ready = move || {
            let seen = self.bed.scene.seen();
            seen.labels.keys().all(|node| {
                seen.nodes_ready.contains(node) == site::of_node(node).is_some_and(|it| sites.contains(&it))
            })
        };
        ("nodes are Ready, or not", Box::new(ready))
    }

    /// Kubernetes works, switchover knows the primary, and everything has followed it.
    pub(super) fn all_follow(&self) -> [Goal<'_>; 5] {
        [self.writes(), self.led(), self.known(), self.labels(), self.near()]
    }

    /// A pod is evicted.
    pub(super) fn first_eviction(&self) -> Goal<'_> {
        ("the first pod moves", Box::new(|| self.bed.scene.seen().evictions.len() > self.evictions))
    }

    /// Waits until each has been true, and tells after how many seconds that was.
    pub(super) fn until(&self, goals: &[Goal<'_>]) -> Result<BTreeMap<&'static str, f64>> {
        let mut reached = BTreeMap::new();
        let deadline = self.at + PATIENCE;
        loop {
            for (what, holds) in goals {
                if !reached.contains_key(what) && holds() {
                    let after = self.seconds();
                    self.bed.clock.say(&format!("  +{after:.1} s: {what}"));
                    reached.insert(*what, after);
                }
            }
            let missing: Vec<&str> = goals.iter().map(|it| it.0).filter(|it| !reached.contains_key(it)).collect();
            if missing.is_empty() {
                return Ok(reached);
            }
            if Instant::now() >= deadline {
                bail!("not within {} s: {}", PATIENCE.as_secs(), missing.join(", "));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Labels that changed until now are not looked at.
    pub(super) fn forget_labels(&mut self) {
        self.label_changes = self.bed.scene.seen().label_changes.len();
    }

    /// Since the event.
    pub(super) fn seconds(&self) -> f64 {
        tenths(self.at.elapsed())
    }

    /// The figures up to now. `moves`: whether pods may move in this scene.
    pub(super) fn figures(
        &self,
        (scene, event): (u8, &str),
        times: &BTreeMap<&'static str, f64>,
        moves: bool,
    ) -> Figures {
        let load = self.bed.load.window(self.at, Instant::now());
        let pods = self.bed.clients.pods(self.at);
        let time = |goal: Goal<'_>| times.get(goal.0).copied();
        let seen = self.bed.scene.seen();
        let evictions = &seen.evictions[self.evictions..];
        let doubtful = evictions.iter().filter(|eviction| {
            let (primaries, there_is_one) = self.bed.clients.shop_primaries(eviction.at);
            let is_near = |primary: &String| seen.expected(&eviction.node, primary) == Some("closely");
            !moves || !there_is_one || primaries.last().is_none_or(is_near)
        });
        let wrong = seen.label_changes[self.label_changes..].iter().filter(|change| {
            let (primaries, _) = self.bed.clients.shop_primaries(change.at);
            !primaries.iter().any(|primary| seen.expected(&change.node, primary) == Some(change.label.as_str()))
        });
        let newest = &seen.database["failovers"][0];
        let held = if newest["epoch"].as_u64() > Some(self.epoch) { newest["held"].as_u64().unwrap_or(0) } else { 0 };
        let (moved, doubtful, wrong) = (evictions.len() as u64, doubtful.count() as u64, wrong.count() as u64);
        drop(seen);
        let primary = self.bed.clients.shop_primary();
        let wrong_now = primary.map_or(0, |primary| self.wrong_labels_of(&primary) as u64);
        let mut figures = Figures {
            scene,
            event: event.to_owned(),
            api_away_s: tenths(self.bed.clients.away(self.at)),
            promoted_s: None,
            led_s: time(self.led()),
            labels_s: time(self.labels()),
            near_s: time(self.near()),
            requests: load.requests,
            transport_failures: load.transport_failures,
            wrong_labels: wrong + wrong_now,
            evictions_on_doubt: doubtful,
            moved,
            held,
            pods_asked: pods.asked,
            pods_refused: pods.refused,
            pods_without_rule: pods.without_rule,
            slowest_pod_ms: pods.slowest.as_millis() as u64,
            problems: Vec::new(),
        };
        figures.check(figures.wrong_labels == 0, format!("{} labels were wrong", figures.wrong_labels));
        figures.check(doubtful == 0, format!("{doubtful} pods were evicted on doubt"));
        let epoch = self.bed.scene.seen().epoch();
        let changes = epoch - self.epoch.min(epoch);
        figures.check(changes <= u64::from(moves), format!("the primary changed {changes} times by switchover's word"));
        figures
    }

    fn wrong_labels_of(&self, primary: &str) -> usize {
        let live = |node: &str| site::of_node(node).is_some_and(|site| self.live.contains(&site));
        self.bed.scene.seen().wrong_labels(primary, live)
    }
}
