use std::time::Instant;

use super::*;
use crate::core::{
    distance::tier::NodeTier,
    movement::{journal::Underway, ways::UnknownWay},
    testing::{LABEL, World, at, instant, moment, node, pod, underway},
};
use lab::table::check_rows;

mod allowed;
mod pace;
mod promises;
mod safety;

const RULES: Rules = Rules {
    settle: std::time::Duration::from_secs(30),
    max_concurrent: 10,
    per_workload: None,
    include_intermediate: false,
    replacement_timeout: std::time::Duration::from_secs(300),
    halt_after_failures: 2,
    max_useless_moves: 2,
    most_underway: super::super::journal::MOST_UNDERWAY,
    all_together: false,
};

/// Everything around a world that a plan depends on.
#[derive(Debug)]
struct Case {
    world: World,
    mode: MoveMode,
    rules: Rules,
    gate: Option<Gate>,
    journal: Journal,
    others: Others,
    window: u32,
    backoff: BTreeMap<String, HeldReason>,
    missed: MissedRestarts,
    now: Instant,
}

impl From<World> for Case {
    fn from(world: World) -> Self {
        Self {
            world,
            mode: MoveMode::Evict,
            rules: RULES,
            gate: None,
            journal: Journal::default(),
            others: Others::default(),
            window: u32::MAX,
            backoff: BTreeMap::new(),
            missed: MissedRestarts::default(),
            now: instant(100),
        }
    }
}

impl Case {
    fn followers(&self) -> Vec<Follower<'_>> {
        self.world.pods.values().map(|pod| Follower::of(pod, self.mode, &self.world.tiers)).collect()
    }

    fn plan(&self) -> Plan {
        self.plan_for(&self.world, &self.followers())
    }

    fn plan_for(&self, world: &World, followers: &[Follower<'_>]) -> Plan {
        let (timeout, failures) = (self.rules.replacement_timeout, self.rules.halt_after_failures);
        let now = Moment { instant: self.now, wall: at(100) };
        let following = followers.iter().map(|follower| &*follower.pod.namespace).collect();
        let breaker = Breaker::of(self.journal.failures(timeout, now), &self.journal.fine, &following, failures);
        let gate = self.gate.clone().or_else(|| breaker.gate.clone());
        plan(&Input {
            snapshot: world.snapshot(),
            workloads: None,
            tiers: &world.tiers,
            node_label: LABEL,
            followers,
            rules: self.rules,
            gate: gate.as_ref(),
            control: Control::default(),
            breaker: &breaker,
            journal: &self.journal,
            others: &self.others,
            window: self.window,
            backoff: &self.backoff,
            restart_series: "default/2",
            missed: &self.missed,
            now,
        })
    }

    /// `moves: web-1 b1→a1; held: web-2 OneAtATime`
    fn told(&self) -> String {
        let plan = self.plan();
        let moves: Vec<_> = plan.moves.iter().map(|m| format!("{} {}→{}", m.pod, m.from, m.to)).collect();
        let held: Vec<_> = plan.held.iter().map(|h| format!("{} {}", h.pod, h.reason.name())).collect();
        format!("moves: {}; held: {}", moves.join(", "), held.join(", "))
    }
}

/// Two replicas of one ReplicaSet, both far, with a node for them nearby.
fn two_far() -> World {
    World::with_nodes("a1=closely b1=far b2=intermediate")
        .workload("ReplicaSet/web", 2)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"))
        .pod(pod("web-2").on("b1").owned_by("ReplicaSet/web"))
}

#[test]
fn far_pods_move_one_at_a_time_per_workload() {
    assert_eq!(Case::from(two_far()).told(), "moves: web-1 b1→a1; held: web-2 OneAtATime");
}

#[test]
fn a_workload_that_a_newer_version_moves_by_an_unknown_way_is_left_alone() {
    let surging = |workload| Underway { way: Err(UnknownWay("Surge".into())), ..underway(workload, 0) };
    let mut case = Case::from(two_far());
    case.journal.underway.extend([surging("ReplicaSet/web"), surging("ReplicaSet/other")]);
    case.now = instant(1_000_000);
    // However long that takes, the breaker isn't for it to trip: two failures are as many as halt.
    assert_eq!(case.told(), "moves: ; held: web-1 UnknownWay, web-2 UnknownWay");
    let plan = case.plan();
    assert!(plan.held.iter().all(|held| held.reason.waits()));
    assert_eq!(
        plan.held[0].reason.to_string(),
        "a newer version of switchover began to move its workload by a way that this one doesn't know (Surge): it is left \
         alone until the pod gone has gone and the workload is whole"
    );
    case.journal.underway.remove(0);
    assert_eq!(case.told(), "moves: web-1 b1→a1; held: web-2 OneAtATime", "others go on");
    case.rules.max_concurrent = 1;
    assert_eq!(
        case.told(),
        "moves: ; held: web-1 Concurrency, web-2 Concurrency",
        "its pod is on the move all the same"
    );
}

#[test]
fn everything_that_stays_has_its_reason() {
    let alone = |pod: Pod| World::with_nodes("a1=closely b1=far b2=intermediate c1=unknown").pod(pod);
    let owned = |pod: Pod| alone(pod.owned_by("ReplicaSet/web")).workload("ReplicaSet/web", 1);
    let mirror = |mut pod: Pod| {
        pod.mirror = true;
        pod
    };
    let pinned = |mut pod: Pod| {
        pod.pinned_by = Some("the volume claim data".into());
        pod
    };
    let rows = [
        ("near already", owned(pod("p").on("a1")), "moves: ; held: "),
        ("intermediate", owned(pod("p").on("b2")), "moves: ; held: "),
        ("on a node that was never measured", owned(pod("p").on("c1")), "moves: ; held: "),
        ("terminating", owned(pod("p").on("b1").terminating()), "moves: ; held: "),
        ("of a DaemonSet", alone(pod("p").on("b1").owned_by("DaemonSet/d")), "moves: ; held: "),
        ("a mirror pod", alone(mirror(pod("p").on("b1"))), "moves: ; held: "),
        ("far", owned(pod("p").on("b1")), "moves: p b1→a1; held: "),
        ("bare", alone(pod("p").on("b1")), "moves: ; held: p BarePod"),
        ("of a Job", alone(pod("p").on("b1").owned_by("Job/j")), "moves: ; held: p Job"),
        ("of an unknown kind", alone(pod("p").on("b1").owned_by("Weird/w")), "moves: ; held: p UnknownWorkload"),
        ("with a claim", owned(pinned(pod("p").on("b1"))), "moves: ; held: p PinnedByVolume"),
        ("not Ready", owned(pod("p").on("b1").unready()), "moves: ; held: p NotReady"),
        ("too big", owned(pod("p").on("b1").asking_for_cpu(2000)), "moves: ; held: p NoRoom"),
        (
            "of a workload that lacks pods",
            owned(pod("p").on("b1")).workload("ReplicaSet/web", 2),
            "moves: ; held: p WorkloadNotWhole",
        ),
        (
            "with an exhausted budget",
            owned(pod("p").on("b1")).budget("pdb", "web", 0),
            "moves: ; held: p NoDisruptionBudget",
        ),
        ("with a budget", owned(pod("p").on("b1")).budget("pdb", "web", 1), "moves: p b1→a1; held: "),
        ("with another's budget", owned(pod("p").on("b1")).budget("pdb", "db", 0), "moves: p b1→a1; held: "),
        (
            "with two budgets",
            owned(pod("p").on("b1")).budget("x", "web", 1).budget("y", "web", 1),
            "moves: ; held: p SeveralDisruptionBudgets",
        ),
        (
            "no closely node",
            World::with_nodes("b1=far b2=far")
                .workload("ReplicaSet/web", 1)
                .pod(pod("p").on("b1").owned_by("ReplicaSet/web")),
            "moves: ; held: p NoRoom",
        ),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(Case::from(world).told(), expected, "{what}");
    });
}

#[test]
fn a_closed_gate_holds_everything_that_could_move() {
    let case = Case { gate: Some(Gate::Paused), ..two_far().into() };
    assert_eq!(case.told(), "moves: ; held: web-1 Paused, web-2 Paused");
}

#[test]
fn never_means_never() {
    let case = Case { mode: MoveMode::Never, ..two_far().into() };
    assert_eq!(case.told(), "moves: ; held: web-1 Never, web-2 Never");
}

#[test]
fn pods_of_a_namespace_that_is_being_deleted_stay_for_that_reason() {
    let mut world = two_far().namespace("shop", "web");
    std::sync::Arc::make_mut(world.namespaces.get_mut("shop").unwrap()).terminating = true;
    let case = Case { mode: MoveMode::Never, ..world.into() };
    assert_eq!(case.told(), "moves: ; held: web-1 NamespaceTerminating, web-2 NamespaceTerminating");
}

#[test]
fn a_workload_on_the_move_waits() {
    let journal = Journal { underway: vec![underway("ReplicaSet/web", 99)], ..Journal::default() };
    let case = Case { journal, ..two_far().into() };
    assert_eq!(case.told(), "moves: ; held: web-1 OneAtATime, web-2 OneAtATime");
}

#[test]
fn failed_replacements_halt_everything() {
    let underway = vec![underway("ReplicaSet/x", -300), underway("ReplicaSet/y", -300)];
    let case = Case { journal: Journal { underway, ..Journal::default() }, ..two_far().into() };
    assert_eq!(case.told(), "moves: ; held: web-1 Halted, web-2 Halted");
}

#[test]
fn a_workload_that_does_not_get_nearer_is_left_alone() {
    let useless = [(underway("ReplicaSet/web", 0).workload, 2)].into();
    let case = Case { journal: Journal { useless, ..Journal::default() }, ..two_far().into() };
    assert_eq!(case.told(), "moves: ; held: web-1 UselessMoves, web-2 UselessMoves");
}

#[test]
fn intermediate_pods_move_only_if_asked() {
    let world = World::with_nodes("a1=closely b2=intermediate")
        .workload("ReplicaSet/web", 1)
        .pod(pod("web-1").on("b2").owned_by("ReplicaSet/web"));
    let case = Case { rules: Rules { include_intermediate: true, ..RULES }, ..world.into() };
    assert_eq!(case.told(), "moves: web-1 b2→a1; held: ");
}

#[test]
fn two_replica_sets_of_one_deployment_are_a_rollout() {
    let world =
        two_far().workload("ReplicaSet/web-new", 1).under("ReplicaSet/web", "web").under("ReplicaSet/web-new", "web");
    assert_eq!(Case::from(world).told(), "moves: ; held: web-1 Rollout, web-2 Rollout");
}

#[test]
fn a_restart_moves_the_whole_workload_once() {
    let mut world = two_far().workload("Deployment/web", 2).under("ReplicaSet/web", "web").budget("pdb", "web", 0);
    let case = Case { mode: MoveMode::Restart, ..world.clone().into() };
    let plan = case.plan();
    assert_eq!((plan.moves.len(), plan.moves[0].way, plan.moves[0].pods), (1, Way::Restart, 2));
    let web = world.workloads.get_mut("Deployment/web").unwrap();
    std::sync::Arc::make_mut(web).restarted_for = Some("default/2".into());
    let case = Case { mode: MoveMode::Restart, ..world.into() };
    assert_eq!(case.told(), "moves: ; held: web-1 RestartedBefore, web-2 RestartedBefore");
}

#[test]
fn a_restart_that_admission_missed_is_done_again_after_a_pause_and_not_for_ever() {
    let began = instant(100);
    let restarted = |mark: &str, drawn: bool| {
        let mut world = two_far().workload("Deployment/web", 2).under("ReplicaSet/web", "web");
        let web = world.workloads.get_mut("Deployment/web").unwrap();
        std::sync::Arc::make_mut(web).restarted_for = Some(mark.into());
        for pod in world.pods.values_mut().map(std::sync::Arc::make_mut) {
            pod.restarted_for = Some(mark.into());
            pod.preferred_keys.extend(drawn.then(|| LABEL.to_owned()));
        }
        Case { mode: MoveMode::Restart, now: began, ..world.into() }
    };
    let later = |mut case: Case, seconds: u64| {
        let followers = case.followers();
        let mut missed = MissedRestarts::default();
        missed.look(case.world.snapshot(), followers.iter().map(|follower| follower.pod), "default/2", LABEL, began);
        drop(followers);
        (case.missed, case.now) = (missed, began + std::time::Duration::from_secs(seconds));
        let time = case.plan().moves.first().map(|move_| (move_.way, move_.time, move_.pods));
        (time, case.told())
    };
    let held = |reason: &str| (None, format!("moves: ; held: web-1 {reason}, web-2 {reason}"));
    let again = (Some((Way::Restart, 2, 2)), "moves: web-1 b1→a1; held: web-2 OneAtATime".to_owned());
    assert_eq!(later(restarted("default/2", false), 14), held("AdmissionMissed"));
    assert_eq!(later(restarted("default/2", false), 15), again);
    assert_eq!(later(restarted("default/2", true), 900), held("RestartedBefore"), "drawn, and still far");
    assert_eq!(later(restarted("default/2/2", false), 900), held("RestartedBefore"), "maxUselessMoves");
    let mut patient = restarted("default/2/2", false);
    patient.rules.max_useless_moves = 3;
    assert_eq!(later(patient, 29), held("AdmissionMissed"));
    let mut rolling = restarted("default/2", false);
    rolling.world = rolling.world.workload("ReplicaSet/web-new", 1).under("ReplicaSet/web-new", "web");
    assert_eq!(later(rolling, 900), held("Rollout"));
    let case = Case { missed: MissedRestarts::default(), ..restarted("default/2", false) };
    assert_eq!(case.told(), held("AdmissionMissed").1, "a new leader");
}

#[test]
fn nothing_moves_on_a_tier_that_is_in_doubt() {
    let mut case = Case::from(two_far());
    let (now, settle) = (case.now, RULES.settle);
    let moves = case.told();
    assert!(moves.starts_with("moves: web"), "{moves}");
    let node = |case: &mut Case, name: &str, change: &dyn Fn(&mut NodeTier)| {
        change(case.world.tiers.nodes.get_mut(name).unwrap());
    };
    let held = |case: &Case| case.plan().held.iter().map(|held| held.reason.name()).collect::<Vec<_>>();

    // Its readings say something else already, or said so a moment ago.
    node(&mut case, "b1", &|b1| b1.candidate = Some((Tier::Closely, 1)));
    assert_eq!(held(&case), ["TierSettling"; 2]);
    node(&mut case, "b1", &|b1| (b1.candidate, b1.changed_at) = (None, Some(now)));
    assert_eq!(held(&case), ["TierSettling"; 2]);
    case.now = now + settle;
    assert_eq!(case.told(), moves);
    // Its agent is gone: the label may be that for an earlier primary.
    node(&mut case, "b1", &|b1| b1.rtt_us = None);
    assert_eq!(held(&case), ["NodeNotMeasured"; 2]);
    node(&mut case, "b1", &|b1| b1.rtt_us = Some(20_000));

    // So it is with the node that they would go to, which must also be nearer.
    for (what, change) in [
        ("it has no fresh reading", &(|a1: &mut NodeTier| a1.rtt_us = None) as &dyn Fn(&mut NodeTier)),
        ("it has not been closely for long enough", &|a1| a1.candidate = Some((Tier::Far, 2))),
        ("it has not been closely for long enough", &|a1| a1.changed_at = Some(now + settle)),
        ("it is not nearer", &|a1| a1.rtt_us = Some(20_000)),
    ] {
        let before = case.world.tiers.clone();
        node(&mut case, "a1", change);
        assert!(case.plan().held[0].reason.to_string().contains(what), "{what}: {:?}", case.plan().held);
        case.world.tiers = before;
    }
}

#[test]
fn room_counts_only_where_the_label_says_closely() {
    let other = |label| two_far().node(node("a1").bearing(label));
    for (label, expected) in [
        (Some("closely"), "moves: web-1 b1→a1; held: web-2 OneAtATime"),
        (Some("far"), "moves: ; held: web-1 NoRoom, web-2 NoRoom"),
        (Some("near"), "moves: ; held: web-1 NoRoom, web-2 NoRoom"),
        (None, "moves: ; held: web-1 NoRoom, web-2 NoRoom"),
    ] {
        assert_eq!(Case::from(other(label)).told(), expected, "{label:?}");
    }
    let held = Case::from(other(None)).plan().held.remove(0).reason.to_string();
    assert_eq!(held, "no closely node takes it: 1: its label doesn't say closely");
}

#[test]
fn another_database_is_not_left_farther_behind() {
    let world = two_far();
    let mut other = TierMap::default();
    let tier = |tier| NodeTier::labelled(tier, None);
    other.nodes.insert("b1".into(), tier(Tier::Closely));
    other.nodes.insert("a1".into(), tier(Tier::Far));
    let case = Case::from(world);
    let follower = Follower::of(&case.world.pods["uid-web-1"], MoveMode::Evict, &case.world.tiers);
    let followers = [Follower { others: vec![&other], ..follower }];
    let plan = plan(&Input {
        snapshot: case.world.snapshot(),
        workloads: None,
        tiers: &case.world.tiers,
        node_label: LABEL,
        followers: &followers,
        rules: RULES,
        gate: None,
        control: Control::default(),
        breaker: &Breaker::default(),
        journal: &Journal::default(),
        others: &Others::default(),
        window: u32::MAX,
        backoff: &BTreeMap::new(),
        restart_series: "default/2",
        missed: &MissedRestarts::default(),
        now: moment(0),
    });
    assert_eq!(plan.held[0].reason.name(), "NoRoom");
}
