//! A database in a little cluster, evaluated second by second: `Stage::new("a1=closely b1=far").primary("pg1", 0)`.

use std::{collections::BTreeMap, time::Duration};

use super::{Decided, Facts, Memory, evaluate};
use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus, NodeLatencySpec,
        database_cluster::{FailoverStatus, MemberStatus},
        node_latency::Reading,
    },
    core::{
        distance::tier::Tier,
        movement::ledger::Others,
        primary::{Answer, Belief, Claim, Claimed, Observation, PrimaryTracker, PrimaryView},
        testing::{World, at, instant, moment},
    },
    index::{Latency, Tables},
};

/// Everything that evaluations of one database look at, and what they remember.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub object: DatabaseCluster,
    pub tables: Tables,
    pub stale: Option<&'static str>,
    pub view: PrimaryView,
    pub members: Vec<MemberStatus>,
    pub status: DatabaseClusterStatus,
    pub others: Others,
    pub memory: Memory,
}

impl Stage {
    /// The database `default`, which the namespace `shop` follows, with the members pg1 (near the nodes of zone a) and pg2 (near
    /// those of zone b). Nobody is primary yet.
    pub(super) fn new(world: &World) -> Self {
        let (object, tables) = followed(world);
        let status = DatabaseClusterStatus::default();
        let mut stage = Self {
            memory: Memory::restored(&status, moment(0)),
            members: members(),
            view: view(&[], false, 0, 0),
            stale: None,
            others: Others::default(),
            status,
            object,
            tables,
        };
        stage.read(0);
        stage
    }

    /// Every node has a reading of this second: 0.3 ms within its zone, 20 ms to the other.
    pub(super) fn read(&mut self, second: i64) {
        let nodes: Vec<String> = self.tables.nodes.values().map(|node| node.name.clone()).collect();
        for node in nodes {
            let us = if node.starts_with('a') { [300, 20_000] } else { [20_000, 300] };
            self.read_node(&node, us, second);
        }
    }

    /// A node has a reading of this second, in microseconds to pg1 and to pg2.
    pub(super) fn read_node(&mut self, node: &str, us: [u32; 2], second: i64) {
        self.tables.put_latency(node, latency(us, second));
    }

    /// From this second on this member is the primary, which is written down as a change if it is one.
    pub(super) fn primary(mut self, name: &str, second: i64) -> Self {
        self.fail_over(name, second);
        self
    }

    /// pg2 was the primary, at second 100 pg1 became it, and every node has its new label: pods may move from second 130 on.
    pub(super) fn after_a_failover(world: &World) -> Self {
        let mut stage = Self::new(world).primary("pg2", 0);
        let _ = stage.at(0);
        stage.fail_over("pg1", 100);
        let relabelled = stage.at(100);
        stage.label(&relabelled);
        let _ = stage.at(101);
        stage
    }

    pub(super) fn fail_over(&mut self, name: &str, second: i64) {
        let change = self.status.primary.as_deref() != Some(name);
        let epoch = self.status.epoch + u64::from(change);
        self.view = view(&[name], false, epoch, second);
        if change {
            let failover = FailoverStatus {
                epoch,
                from: self.status.primary.replace(name.into()),
                to: name.into(),
                confirmed_at: Some(at(second)),
                ..FailoverStatus::default()
            };
            self.status.failovers.insert(0, failover);
            self.status.epoch = epoch;
        }
    }

    /// Evaluates once. The history is kept as the controller does.
    pub(super) fn at(&mut self, second: i64) -> Decided {
        let facts = Facts {
            object: &self.object,
            tables: &self.tables,
            stale: self.stale,
            own_namespace: "switchover-system",
            view: &self.view,
            members: &self.members,
            status: &self.status,
            others: &self.others,
            confirm_every: Duration::from_secs(1),
        };
        let decided = evaluate(&facts, &mut self.memory, moment(second));
        let failover = self.status.failovers.first_mut();
        if let Some(failover) = failover.filter(|failover| failover.epoch == self.view.epoch) {
            failover.labelled_at = failover.labelled_at.or_else(|| decided.labelled.then(|| at(second)));
            failover.moved_at = decided.over.then(|| at(second)).or(failover.moved_at);
        }
        decided
    }

    /// The API server does what was decided of the labels.
    pub(super) fn label(&mut self, decided: &Decided) {
        for (name, change) in &decided.labelling.changes {
            let mut node = self.tables.nodes.get(name).unwrap().clone();
            node = node.bearing(change.tier.label());
            self.tables.nodes.apply(kube::runtime::watcher::Event::Apply(node), |it| (it.name.clone(), Some(it)));
        }
        self.memory.note_all_tried();
    }
}

/// What was decided in a line: `labels: a1 closely; gate: Settling; moves: web-1 b1→a1; held: web-2 OneAtATime; over`.
pub(super) fn told(decided: &Decided) -> String {
    let mut told = Vec::new();
    let labels = decided.labelling.changes.iter();
    let labels: Vec<_> = labels.map(|(node, change)| format!("{node} {}", tier(change.tier))).collect();
    let moves: Vec<_> = decided.plan.moves.iter().map(|m| format!("{} {}→{}", m.pod, m.from, m.to)).collect();
    let held: Vec<_> = decided.plan.held.iter().map(|h| format!("{} {}", h.pod, h.reason.name())).collect();
    let ends: Vec<_> = decided.outcomes.iter().map(|o| format!("{} {}", o.underway.pod, o.end.name())).collect();
    let gate = decided.gate.iter().map(|gate| gate.name().to_owned()).collect();
    for (what, all) in [("labels", labels), ("ends", ends), ("gate", gate), ("moves", moves), ("held", held)] {
        if !all.is_empty() {
            told.push(format!("{what}: {}", all.join(", ")));
        }
    }
    told.extend(decided.labelled.then(|| "labelled".to_owned()));
    told.extend(decided.over.then(|| "over".to_owned()));
    told.join("; ")
}

fn tier(tier: Tier) -> &'static str {
    tier.label().unwrap_or("unknown")
}

/// The database `default`, which the namespace `shop` follows.
pub(crate) fn followed(world: &World) -> (DatabaseCluster, Tables) {
    let object: DatabaseCluster = serde_json::from_value(serde_json::json!({
        "apiVersion": "switchover.dev/v1alpha1",
        "kind": "DatabaseCluster",
        "metadata": { "name": "default", "uid": "uid-default" },
        "spec": {
            "discovery": { "patroni": { "urls": ["http://10.0.0.1:8008"] } },
            "movement": { "settle": "30s" },
        },
    }))
    .unwrap();
    let mut tables = Tables::from(world);
    tables.follow("shop", "default");
    tables.put_database(&object);
    (object, tables)
}

/// pg1 and pg2.
pub(crate) fn members() -> Vec<MemberStatus> {
    let member =
        |(name, host): (&str, &str)| MemberStatus { name: name.into(), host: host.into(), port: 5432, api_url: None };
    [("pg1", "10.0.0.1"), ("pg2", "10.0.0.2")].map(member).into()
}

/// What a node's agent wrote at this second: so many microseconds to pg1 and to pg2.
pub(crate) fn latency(us: [u32; 2], second: i64) -> Latency {
    let reading = |(host, us): (&str, u32)| Reading { host: host.into(), rtt_us: Some(us), ..Reading::default() };
    let readings = ["10.0.0.1", "10.0.0.2"].into_iter().zip(us).map(reading).collect();
    let spec = NodeLatencySpec { heartbeat: at(second), member_count: 2, readings };
    Latency { spec, received: instant(second) }
}

/// What is believed when these members claim to be primary, from this second on.
pub(super) fn view(primaries: &[&str], pause: bool, epoch: u64, second: i64) -> PrimaryView {
    let now = instant(second);
    let sight = |name: &&str| Claimed {
        claim: if primaries.contains(name) { Claim::Primary { timeline: 5 } } else { Claim::Follower },
        because: "it says so".into(),
        system_identifier: None,
        pause,
    };
    let answers: BTreeMap<String, Observation> = ["pg1", "pg2"]
        .iter()
        .map(|name| ((*name).to_owned(), Observation { answer: Answer::Seen(sight(name)), at: now }))
        .collect();
    let believed = primaries.first().map(|name| (*name).to_owned());
    let belief = Belief { timeline: believed.as_ref().map(|_| 5), primary: believed, epoch, ..Belief::default() };
    PrimaryTracker::new(belief, Duration::from_secs(5)).observe(&answers, now)
}
