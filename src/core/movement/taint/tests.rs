use super::*;
use crate::core::{
    follow::MoveMode,
    movement::{
        breaker::Breaker,
        control::Control,
        journal::Underway,
        ledger::Others,
        plan::{self, plan},
        restart::MissedRestarts,
        ways::UnknownWay,
    },
    testing::{self, LABEL as KEY, World, moment, node, pod},
    workload::Toleration,
};
use lab::table::check_rows;
use proptest::prelude::*;

const RULES: Rules = Rules {
    settle: std::time::Duration::from_secs(30),
    max_concurrent: 10,
    per_workload: None,
    include_intermediate: false,
    replacement_timeout: std::time::Duration::from_secs(300),
    halt_after_failures: 1,
    max_useless_moves: 2,
    most_underway: usize::MAX,
    all_together: false,
};

/// Everything around a world that the emptying depends on.
struct Case {
    world: World,
    /// Of every pod of `app=web`; the others follow nothing.
    mode: MoveMode,
    gate: Option<Gate>,
    journal: Journal,
    others: Others,
    refused: BTreeMap<String, String>,
}

impl From<World> for Case {
    fn from(world: World) -> Self {
        Self {
            world,
            mode: MoveMode::Evict,
            gate: None,
            journal: Journal::default(),
            others: Others::default(),
            refused: BTreeMap::new(),
        }
    }
}

impl Case {
    fn gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    fn emptying(&self) -> Emptying {
        let (snapshot, tiers) = (self.world.snapshot(), &self.world.tiers);
        let (journal, now) = (&self.journal, moment(1000));
        let failures = journal.failures(RULES.replacement_timeout, now);
        let breaker = Breaker::of(failures, &journal.fine, &["shop"].into(), RULES.halt_after_failures);
        let gate = self.gate.clone().or_else(|| breaker.gate.clone());
        let gate = gate.as_ref();
        let followers: Vec<plan::Follower<'_>> = self
            .world
            .pods
            .values()
            .filter(|pod| pod.labels.get("app").is_some_and(|app| app == "web"))
            .map(|pod| plan::Follower::of(pod, self.mode, tiers))
            .collect();
        let plan = plan(&plan::Input {
            snapshot,
            workloads: None,
            tiers,
            node_label: KEY,
            followers: &followers,
            rules: RULES,
            gate,
            control: Control::default(),
            breaker: &breaker,
            journal,
            others: &Others::default(),
            window: u32::MAX,
            backoff: &BTreeMap::new(),
            restart_series: "default/2",
            missed: &MissedRestarts::default(),
            now,
        });
        let (key, rules, plan, refused) = (KEY, RULES, &plan, &self.refused);
        let (others, other_keys) = (&self.others, &["other".to_owned()][..]);
        emptying(&Input { snapshot, tiers, key, rules, gate, plan, journal, others, other_keys, refused, now })
    }

    /// `b1 next`, `b1 withdrawn; Paused`, `b2 next; Never`, …
    fn told(&self) -> String {
        let Emptying { far: _, bearing, withdraw, next, waits } = self.emptying();
        let mut told: Vec<String> = Vec::new();
        if withdraw {
            told.extend(bearing.into_iter().map(|node| format!("{node} withdrawn")));
        }
        told.extend(next.map(|node| format!("{node} next")));
        told.extend(waits.map(|waits| waits.name().to_owned()));
        if told.is_empty() { "all bear it".into() } else { told.join("; ") }
    }
}

/// One node near the primary, two far ones.
fn three() -> World {
    World::with_nodes("a1=closely b1=far b2=far")
}

fn bearing(world: World, name: &str) -> World {
    let mut bearing = node(name);
    bearing.taints.push(evicting(KEY));
    world.node(bearing)
}

/// A pod of somebody who follows nothing.
fn other(name: &str) -> Pod {
    let mut pod = pod(name);
    pod.labels.insert("app".into(), "other".into());
    pod
}

fn tolerating(mut pod: Pod, limit_s: Option<i64>) -> Pod {
    pod.tolerations.push(Toleration { key: Some(KEY.into()), exists: true, limit_s, ..Toleration::default() });
    pod
}

fn underway(from: &str, started: i64) -> Journal {
    let underway = Underway { from: from.into(), ..testing::underway("ReplicaSet/gone", started) };
    Journal { underway: vec![underway], ..Journal::default() }
}

#[test]
fn no_node_bears_it_while_movement_may_not_run() {
    let world = || bearing(three(), "b1");
    let until = "2026-01-01T00:10:00Z".parse().unwrap();
    let why = || "pg1 doesn't answer".to_owned();
    let rows = [
        (Gate::Paused, "b1 withdrawn; Paused"),
        (Gate::PrimaryNotConfirmed(why()), "b1 withdrawn; PrimaryNotConfirmed"),
        (Gate::SplitBrain(why()), "b1 withdrawn; SplitBrain"),
        (Gate::Frozen(why()), "b1 withdrawn; Frozen"),
        (Gate::Settling { until, grown: None }, "b1 withdrawn; Settling"),
        (Gate::TooFewReadings, "b1 withdrawn; TooFewReadings"),
        (Gate::Halted { failed: 1 }, "b1 withdrawn; Halted"),
        // Neither says anything about b1: it stays as it is, and no other one follows.
        (Gate::LabelsPending { nodes: 1, refused: None }, "LabelsPending"),
        (Gate::Stale("Node"), "Stale"),
    ];
    check_rows(rows, |(gate, expected)| {
        assert_eq!(Case::from(world()).gate(gate.clone()).told(), expected, "{gate:?}");
    });
    let halted = Case { journal: underway("b2", 0), ..Case::from(world()) };
    assert_eq!(halted.told(), "b1 withdrawn; Halted", "the movement's breaker");
}

#[test]
fn nothing_is_emptied_without_a_node_to_go_to() {
    let not_ready = |mut node: Node| {
        node.ready = false;
        node
    };
    let cordoned = |mut node: Node| {
        node.unschedulable = true;
        node
    };
    let a1 = || node("a1").bearing(Some("closely"));
    let far_only = || bearing(World::with_nodes("b1=far b2=far c1=intermediate d1=unknown"), "b1");
    for (what, world, expected) in [
        ("no closely node", far_only(), "b1 withdrawn; NoCloselyNode"),
        ("not Ready", bearing(three(), "b1").node(not_ready(a1())), "b1 withdrawn; NoCloselyNode"),
        ("cordoned", bearing(three(), "b1").node(cordoned(a1())), "b1 withdrawn; NoCloselyNode"),
        ("labelled far", bearing(three(), "b1").node(node("a1").bearing(Some("far"))), "b1 withdrawn; NoCloselyNode"),
        ("Ready", bearing(three(), "b1"), "b2 next"),
        ("all far nodes bear it", bearing(bearing(three(), "b1"), "b2"), "all bear it"),
        ("nothing is far", World::with_nodes("a1=closely"), "all bear it"),
    ] {
        assert_eq!(Case::from(world).told(), expected, "{what}");
    }
}

#[test]
fn a_node_that_refuses_the_taint_holds_up_no_other() {
    let refusing = |nodes: &[&str]| {
        let refused = nodes.iter().map(|node| ((*node).to_owned(), "hands off".to_owned())).collect();
        Case { refused, ..Case::from(three()) }
    };
    assert_eq!(refusing(&["b1"]).told(), "b2 next; Refused");
    let waits = refusing(&["b1", "b2"]).emptying().waits.map(|waits| waits.to_string());
    assert_eq!(waits.as_deref(), Some("b1 waits: it could not be changed a moment ago: hands off"));
}

#[test]
fn far_nodes_are_emptied_one_after_the_other() {
    let unmanaged = |mut node: Node| {
        node.managed = false;
        node
    };
    let set = || bearing(three(), "b1").workload("ReplicaSet/set", 2);
    let member = |name: &str, node: &str| other(name).on(node).owned_by("ReplicaSet/set");
    let near = || set().pod(member("o-1", "a1")).pod(member("o-2", "a1"));
    let rows = [
        ("the first", three(), "b1 next"),
        ("one is left alone", three().node(unmanaged(node("b1"))), "b2 next"),
        ("the second", near(), "b2 next"),
        ("pods are on the first", near().pod(member("o-3", "b1")), "OneNodeAtATime"),
        ("pods are leaving the first", near().pod(member("o-3", "b1").terminating()), "OneNodeAtATime"),
        ("a pod on the first tolerates it", near().pod(tolerating(member("o-3", "b1"), None)), "b2 next"),
        (
            "a pod on the first tolerates it for a while",
            near().pod(tolerating(member("o-3", "b1"), Some(60))),
            "OneNodeAtATime",
        ),
        ("its replacement is missing", set().pod(member("o-1", "b2")), "WorkloadNotWhole"),
        (
            "its replacement isn't Ready",
            set().pod(member("o-1", "b2")).pod(member("o-2", "a1").unready()),
            "WorkloadNotWhole",
        ),
        ("its replacement is Ready", set().pod(member("o-1", "b2")).pod(member("o-2", "a1")), "b2 next"),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(Case::from(world).told(), expected, "{what}");
    });
}

#[test]
fn a_node_is_emptied_only_of_what_can_go_elsewhere() {
    let with = |world: World, pod: Pod| world.pod(pod).workload("ReplicaSet/set", 1);
    let alone = |pod: Pod| with(World::with_nodes("a1=closely b1=far"), pod.on("b1"));
    let owned = |pod: Pod| alone(pod.owned_by("ReplicaSet/set"));
    let pinned = |mut pod: Pod| {
        pod.pinned_by = Some("the volume claim data".into());
        pod
    };
    let mirror = |mut pod: Pod| {
        pod.mirror = true;
        pod
    };
    let rows = [
        ("a replica of somebody else's", owned(other("o")), "b1 next"),
        ("a bare pod", alone(other("o")), "BarePod"),
        ("a bare pod that tolerates it", alone(tolerating(other("o"), None)), "b1 next"),
        ("of a Job", alone(other("o").owned_by("Job/j")), "Job"),
        ("of a kind that we don't know", alone(other("o").owned_by("Cluster/pg")), "UnknownWorkload"),
        ("of a DaemonSet", alone(other("o").owned_by("DaemonSet/d")), "b1 next"),
        ("a mirror pod", alone(mirror(other("o"))), "b1 next"),
        ("pinned by a volume", owned(pinned(other("o"))), "PinnedByVolume"),
        ("with room nowhere", owned(other("o").asking_for_cpu(2000)), "NoRoom"),
        ("a follower that a budget keeps", owned(pod("w")).budget("b", "web", 0), "b1 next"),
        ("a follower that the movement moves", owned(pod("w")), "MovementFirst"),
        ("a follower without room near the primary", owned(pod("w").asking_for_cpu(2000)), "NoRoom"),
        ("a follower that isn't Ready and may be starting", owned(pod("w").unready().created(900)), "NotReady"),
        ("a follower that hasn't been Ready for long", owned(pod("w").unready()), "MovementFirst"),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(Case::from(world).told(), expected, "{what}");
    });
    let never = |pod| Case { mode: MoveMode::Never, ..Case::from(owned(pod)) }.told();
    assert_eq!(never(pod("w")), "Never");
    assert_eq!(never(tolerating(pod("w"), None)), "b1 next", "it stays");
    let moving = Case { journal: underway("b1", 900), ..Case::from(three()) };
    assert_eq!(moving.told(), "b2 next; MovementFirst", "a node that waits doesn't keep others");
    let mut unknown = underway("b1", 0);
    unknown.underway[0].way = Err(UnknownWay("Surge".into()));
    let moving = Case { journal: unknown, ..Case::from(three()) };
    assert_eq!(moving.told(), "b2 next; MovementFirst", "nor does one whose pod a newer version moves");
}

#[test]
fn while_another_database_empties_a_node_or_moves_pods_off_it_none_is_emptied() {
    let theirs = |key: &str| {
        let mut node = node("b2");
        node.taints.push(evicting(key));
        three().node(node)
    };
    let there = || other("o").on("b2").owned_by("DaemonSet/d");
    assert_eq!(Case::from(theirs("other").pod(there())).told(), "OneNodeAtATime", "its pods are leaving");
    assert_eq!(Case::from(theirs("other")).told(), "b1 next", "it is empty");
    assert_eq!(Case::from(theirs("nobody")).told(), "b1 next", "no database has that key");
    let about_to = Others { emptying: Some("b2".into()), ..Others::default() };
    assert_eq!(Case { others: about_to, ..Case::from(three()) }.told(), "OneNodeAtATime", "it is about to");
    let moving = Others { underway: underway("b1", 900).underway, ..Others::default() };
    assert_eq!(Case { others: moving, ..Case::from(three()) }.told(), "b2 next; MovementFirst", "its move");
}

#[test]
fn there_must_be_room_for_all_pods_of_the_node_together() {
    let world = |nodes: &str| {
        let replica = |name: &str| other(name).on("b1").owned_by("ReplicaSet/set").asking_for_cpu(600);
        World::with_nodes(nodes).workload("ReplicaSet/set", 2).pod(replica("o-1")).pod(replica("o-2"))
    };
    assert_eq!(Case::from(world("a1=closely b1=far")).told(), "NoRoom");
    assert_eq!(Case::from(world("a1=closely b1=far c1=intermediate")).told(), "b1 next");
    assert_eq!(
        Case::from(world("a1=closely b1=far")).emptying().to_string(),
        "NoExecute deletes pods past their PodDisruptionBudgets; on 0 of 1 far nodes; b1 waits for shop/o-2: no node that \
         isn't far takes it: 1: insufficient cpu"
    );
}

/// Of nodes that are as empty the first by name is filled first: what fits doesn't depend on the order in which a map has them.
#[test]
fn what_is_emptied_does_not_depend_on_the_order_of_its_input() {
    let told = |small: &str, large: &str| {
        let of_size = |name: &str, cpu_m| {
            let mut node = node(name).bearing(Some("closely"));
            node.allocatable.cpu_m = cpu_m;
            node
        };
        let replica = |name: &str, cpu_m| other(name).on("b1").owned_by("ReplicaSet/set").asking_for_cpu(cpu_m);
        let world = World::with_nodes(&format!("{small}=closely {large}=closely b1=far"))
            .node(of_size(small, 400))
            .node(of_size(large, 800))
            .workload("ReplicaSet/set", 2);
        Case::from(world.pod(replica("o-1", 300)).pod(replica("o-2", 600))).told()
    };
    for n in 0..16 {
        assert_eq!(
            told(&format!("a{n}"), &format!("c{n}")),
            "b1 next",
            "{n}: the small one is filled by the small pod"
        );
        assert_eq!(
            told(&format!("c{n}"), &format!("a{n}")),
            "NoRoom",
            "{n}: the small pod takes what the large one needs"
        );
    }
}

#[test]
fn what_the_movement_has_planned_takes_room_first() {
    let world = |cpu_m| {
        let web = pod("w").on("b1").owned_by("ReplicaSet/web").asking_for_cpu(cpu_m);
        let api = other("o").on("b2").owned_by("ReplicaSet/api").asking_for_cpu(600);
        three().workload("ReplicaSet/web", 1).workload("ReplicaSet/api", 1).pod(web).pod(api)
    };
    assert_eq!(Case::from(world(300)).told(), "b2 next; MovementFirst");
    assert_eq!(Case::from(world(600)).told(), "MovementFirst", "no room for b2's pod beside it");
}

proptest! {
    /// One node at most, a far one of ours, and none at all while a gate is closed.
    #[test]
    fn at_most_one_far_node_is_chosen(
        tiers in prop::collection::vec(0usize..4, 1..8),
        bearing_it in prop::collection::vec(any::<bool>(), 8),
        pods in prop::collection::vec((0usize..8, any::<bool>()), 0..12),
        paused: bool,
    ) {
        const TIERS: [&str; 4] = ["closely", "intermediate", "far", "unknown"];
        let words: Vec<String> = tiers.iter().enumerate().map(|(i, tier)| format!("n{i}={}", TIERS[*tier])).collect();
        let mut world = World::with_nodes(&words.join(" ")).workload("ReplicaSet/set", 2);
        for (i, _) in bearing_it.iter().enumerate().filter(|(i, bears)| **bears && *i < tiers.len()) {
            world = bearing(world, &format!("n{i}"));
        }
        for (i, (at, follows)) in pods.iter().enumerate() {
            let pod = if *follows { pod(&format!("p{i}")) } else { other(&format!("p{i}")) };
            world = world.pod(pod.on(&format!("n{}", at % tiers.len())).owned_by("ReplicaSet/set"));
        }
        let gate = paused.then_some(Gate::Paused);
        let case = Case { gate, ..Case::from(world) };
        let found = case.emptying();
        if let Some(next) = &found.next {
            prop_assert!(!paused && !found.withdraw);
            prop_assert_eq!(case.world.tiers.tier(next), Tier::Far);
            prop_assert!(!found.bearing.contains(next));
            prop_assert!(case.world.tiers.count(Tier::Closely) > 0);
            for node in &found.bearing {
                prop_assert!(!case.world.pods.values().any(|pod| pod.node.as_ref() == Some(node)), "not empty: {}", node);
            }
        }
        if paused {
            prop_assert!(found.withdraw);
        }
    }
}
