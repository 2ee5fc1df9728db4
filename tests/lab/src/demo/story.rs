//! One move of the primary as it happens, measured by an onlooker.

mod drains;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

pub use self::drains::Drains;
use super::{Clock, Move, Scene};
use crate::{Lab, control::PatroniAction, install::Product, load::Load};

const REPLICAS: usize = 6;
/// How long the response time is measured before and after a move.
const WINDOW: Duration = Duration::from_secs(4);

pub(super) struct Story<'a> {
    pub lab: &'a Lab,
    pub product: &'a Product,
    pub scene: &'a Scene,
    pub load: &'a Load,
    pub clock: Clock,
}

impl Story<'_> {
    /// A planned switchover.
    pub(super) fn switchover(&self, to: &str) -> Result<Move> {
        let from = self.primary()?;
        self.play("switchover", &from, &["default", "--to", to], || self.lab.switchover(Some(to)).map(drop))
    }

    /// `kill -9` of PostgreSQL and Patroni of the primary; the member is started again afterwards.
    pub(super) fn kill(&self) -> Result<Move> {
        let from = self.primary()?;
        let member = from.clone();
        let played = self.play("kill9", &from, &["default", "--all"], || {
            self.lab.patroni(PatroniAction::Kill { member }).map(drop)
        })?;
        self.clock.say(&format!("starting {from} again; it rejoins as a replica"));
        self.lab.patroni(PatroniAction::Start { member: from })?;
        Ok(played)
    }

    fn primary(&self) -> Result<String> {
        let seen = self.scene.seen();
        Ok(seen.database["primary"].as_str().context("switchover knows no primary")?.to_owned())
    }

    /// `plan`: what is asked of `switchover plan` before.
    fn play(&self, event: &str, from: &str, plan: &[&str], act: impl FnOnce() -> Result<()>) -> Result<Move> {
        let mut move_ = Move { event: event.into(), from: from.into(), replicas: REPLICAS, ..Move::default() };
        std::thread::sleep(WINDOW);
        let start = Instant::now();
        move_.p50_ms.before = self.p50(start.checked_sub(WINDOW).unwrap_or(start), start);
        println!();
        self.clock.say(&format!("{event}: the primary is {from}; before:"));
        self.table();
        let foreseen = self.foresee(plan)?;
        let epoch = self.scene.seen().epoch();
        self.scene.seen().begin_counting();
        let event_at = Timestamp::now();
        act()?;
        self.scene.wait(Duration::from_secs(90), "switchover confirms a new primary", |seen| {
            seen.failover(epoch).is_some()
        })?;
        let failover = self.scene.seen().failover(epoch).cloned().unwrap_or_default();
        let confirmed = time(&failover, "confirmedAt").context("no time of confirmation")?;
        let confirmed_instant = Instant::now().checked_sub(since(confirmed)).unwrap_or(start);
        move_.to = failover["to"].as_str().unwrap_or_default().to_owned();
        move_.confirmed_s = seconds(event_at, confirmed);
        self.clock
            .say(&format!("the primary is {} now, confirmed {:.1} s after the event", move_.to, move_.confirmed_s));
        let to = move_.to.clone();
        self.scene.wait(Duration::from_secs(30), "every node has its new label", |seen| seen.labels_right(&to))?;
        move_.labels_s = self.scene.seen().labels_changed.map_or(0.0, |at| seconds(confirmed, at));
        self.clock.say(&format!("every node has its new label, {:.2} s after that", move_.labels_s));
        let first_move = self.first_move(epoch)?;
        move_.p50_ms.far = self.p50(confirmed_instant + Duration::from_millis(300), first_move);
        self.clock.say(&format!("p50 of the service: {:.1} ms; the pods begin to move", move_.p50_ms.far));
        self.scene.wait(Duration::from_secs(120), "all replicas are near the primary", |seen| {
            seen.settled_at(&to, REPLICAS)
        })?;
        let done = self.scene.seen().pods_changed.unwrap_or(confirmed);
        move_.done_s = seconds(confirmed, done);
        self.clock.say(&format!("all replicas are near {to}, {:.1} s after it was confirmed", move_.done_s));
        self.scene.wait(Duration::from_secs(30), "switchover says that the movement is over", |seen| {
            seen.failover(epoch).is_some_and(|failover| failover["movedAt"].is_string())
        })?;
        // The old pods drain for a few seconds; their last requests count too.
        std::thread::sleep(WINDOW + Duration::from_secs(2));
        let end = Instant::now();
        move_.p50_ms.after = self.p50(end.checked_sub(WINDOW).unwrap_or(end), end);
        let summary = self.load.window(start, end);
        move_.count(&summary);
        let failover = self.scene.seen().failover(epoch).cloned().unwrap_or_default();
        move_.moved = failover["moved"].as_u64().unwrap_or(0);
        move_.held = failover["held"].as_u64().unwrap_or(0);
        let seen = self.scene.seen();
        move_.min_ready = seen.min_ready;
        move_.moving_s = time(&failover, "firstMoveAt").map_or(0.0, |first| seconds(first, done));
        move_.near =
            seen.pods.values().filter(|pod| seen.labels.get(&pod.node).is_some_and(|l| l == "closely")).count();
        drop(seen);
        self.clock.say("after:");
        self.table();
        self.tell_worth(&mut move_, &foreseen)?;
        self.clock.say(&format!("requests since the event: {summary}"));
        for failure in self.load.failures().iter().filter(|f| f.at >= start).take(5) {
            println!("           {:?} {}", failure.outcome, failure.sentence);
        }
        Ok(move_)
    }

    /// Shows what the product foresees of the event; every forecast, to compare afterwards.
    fn foresee(&self, plan: &[&str]) -> Result<Value> {
        self.clock.say(&format!("what will come of it? switchover plan {}:", plan.join(" ")));
        print_indented(&self.product.plan(self.lab, plan.iter().copied())?);
        let forecasts = self.product.plan(self.lab, ["default", "--all", "-o", "json"])?;
        Ok(serde_json::from_str::<Value>(&forecasts)?["databases"][0]["forecasts"].take())
    }

    /// Shows what it came to, beside what was foreseen.
    fn tell_worth(&self, move_: &mut Move, foreseen: &Value) -> Result<()> {
        let of_it = foreseen.as_array().into_iter().flatten().find(|forecast| forecast["to"] == move_.to.as_str());
        let of_it = of_it.context("nothing was foreseen of this member")?;
        move_.foreseen_moves = of_it["moves"].as_u64().unwrap_or(0);
        move_.foreseen_s = of_it["seconds"]["total"].as_f64().unwrap_or(0.0);
        self.clock.say(&format!(
            "foreseen: {} pods in {:.0} s; it was: {} pods in {:.0} s. switchover history default:",
            move_.foreseen_moves, move_.foreseen_s, move_.moved, move_.moving_s
        ));
        let history = self.product.run(self.lab, ["history", "default"])?;
        // Its name, the head, and the change that was just seen.
        let newest: Vec<&str> = history.lines().take(3).collect();
        print_indented(&newest.join("\n"));
        Ok(())
    }

    /// Waits for the first pod that goes.
    fn first_move(&self, epoch: u64) -> Result<Instant> {
        let moving = |seen: &super::scene::Seen| {
            seen.pods.values().any(|pod| pod.terminating)
                || seen.failover(epoch).is_some_and(|failover| failover["moved"].as_u64() > Some(0))
        };
        self.scene.wait(Duration::from_secs(60), "the first pod moves", moving)?;
        Ok(Instant::now())
    }

    fn p50(&self, from: Instant, to: Instant) -> f64 {
        self.load.window(from, to).p50_ms.unwrap_or(0.0)
    }

    /// Nodes, their labels and the pods on them.
    fn table(&self) {
        let seen = self.scene.seen();
        println!("           {:<6} {:<5} {:<13} PODS", "NODE", "SITE", "switchover=");
        for (node, label) in &seen.labels {
            let pods: Vec<_> = seen.pods.iter().filter(|(_, pod)| pod.node == *node && !pod.terminating).collect();
            let names: Vec<_> = pods.iter().map(|(name, _)| name.rsplit('-').next().unwrap_or_default()).collect();
            let site = crate::site::of_node(node).map(|site| site.to_string());
            println!(
                "           {node:<6} {:<5} {label:<13} {:>2}  {}",
                site.unwrap_or_default(),
                pods.len(),
                names.join(" ")
            );
        }
        println!("           p50 {:.1} ms", self.load.now().p50_ms.unwrap_or(0.0));
    }
}

fn print_indented(text: &str) {
    text.lines().filter(|line| !line.is_empty()).for_each(|line| println!("           {line}"));
}

fn time(value: &Value, key: &str) -> Option<Timestamp> {
    value[key].as_str()?.parse().ok()
}

fn since(at: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default()
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.duration_since(from).as_secs_f64() * 1000.0).round() / 1000.0
}
