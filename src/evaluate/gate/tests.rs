use std::collections::BTreeSet;

use lab::table::check_rows;

use super::*;
use crate::{
    api::{Span, database_cluster::FailoverStatus, keys},
    core::{
        movement::{journal::Underway, ledger::Others},
        primary::Primary,
        testing::{World, at, moment, underway},
    },
    evaluate::testing::{Stage, view},
};

/// Second 100: pg1 has been primary since second 0, every reading is fresh and every label right.
fn stage() -> Stage {
    let mut stage = Stage::new(&World::with_nodes("a1=closely b1=far")).primary("pg1", 0);
    stage.at(0);
    stage.at(1);
    stage
}

fn gate(facts: &Facts<'_>, memory: &Memory, labelling: &Labelling, now: Moment) -> Option<Gate> {
    let breaker = crate::evaluate::movement::breaker(facts, &[], memory, now);
    gates(facts, memory, labelling, &breaker, now).into_iter().next()
}

/// The gate at second 100, with what is given to it of the labels.
fn gate_of(stage: &Stage, labelling: &Labelling) -> Option<Gate> {
    let facts = Facts {
        object: &stage.object,
        tables: &stage.tables,
        stale: stage.stale,
        own_namespace: "switchover-system",
        view: &stage.view,
        members: &stage.members,
        status: &stage.status,
        others: &Others::default(),
        confirm_every: Duration::from_secs(1),
    };
    gate(&facts, &stage.memory, labelling, moment(100))
}

#[test]
fn the_first_reason_is_the_one_that_is_told() {
    let change = |second| FailoverStatus {
        from: Some("pg2".into()),
        confirmed_at: Some(at(second)),
        ..FailoverStatus::default()
    };
    fn failed(namespace: &str) -> Underway {
        underway("ReplicaSet/web", -300).in_namespace(namespace)
    }
    type Spoil = fn(&mut Stage, &mut Labelling);
    let paused: Spoil = |stage, _| stage.object.spec.paused = true;
    let off: Spoil = |stage, _| stage.object.spec.movement.mode = MovementMode::Off;
    let annotated: Spoil = |stage, _| annotate(stage, &[(keys::PAUSED, "true")]);
    let outside: Spoil = |stage, _| {
        // Second 100 is 13:48:20 on a Monday.
        let windows = serde_json::json!([{"schedule": "0 22 * * *", "duration": "4h"}]);
        stage.object.spec.movement.windows = serde_json::from_value(windows).unwrap();
    };
    let unknown: Spoil = |stage, _| stage.view = view(&[], false, 1, 0);
    let split: Spoil = |stage, _| stage.view = view(&["pg1", "pg2"], false, 1, 0);
    let frozen: Spoil = |stage, _| stage.view = view(&["pg1"], true, 1, 0);
    let stale: Spoil = |stage, _| stage.stale = Some("Pod");
    let unmeasured: Spoil = |stage, _| std::sync::Arc::make_mut(&mut stage.memory.tiers).bounds = None;
    let young: Spoil = |stage, _| stage.view = view(&["pg1"], false, 1, 90);
    let pending: Spoil = |_, labelling| labelling.pending = 1;
    let halted: Spoil = |stage, _| stage.memory.journal.underway = ["shop", "bank", "post"].map(failed).into();
    // Each row spoils one thing more; what comes first in the list is told whatever follows.
    let (mut stage, mut labelling) = (stage(), Labelling::default());
    assert_eq!(gate_of(&stage, &labelling), None);
    let mut wrong = Vec::new();
    for (what, spoil) in [
        ("OutsideWindow", outside),
        ("Halted", halted),
        ("Settling", young),
        ("LabelsPending", pending),
        ("TooFewReadings", unmeasured),
        ("Stale", stale),
        ("Frozen", frozen),
        ("SplitBrain", split),
        ("PrimaryNotConfirmed", unknown),
        ("Off", off),
        ("Paused", paused),
        ("PausedByAnnotation", annotated),
    ] {
        spoil(&mut stage, &mut labelling);
        let told = gate_of(&stage, &labelling).map(|gate| gate.name());
        if told != Some(what) {
            wrong.push(format!("{what}: {told:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // The first primary ever seen is no change, however young.
    let mut first = self::stage();
    first.status.failovers = vec![FailoverStatus { from: None, ..change(95) }];
    assert_eq!(gate_of(&first, &Labelling::default()), None);
}

#[test]
fn settling_lasts_as_long_as_is_asked_and_longer_after_each_change() {
    let change = |second| FailoverStatus {
        from: Some("pg2".into()),
        confirmed_at: Some(at(second)),
        ..FailoverStatus::default()
    };
    let mut wrong = Vec::new();
    for (what, since, changes, credit_s, until) in [
        ("held for long", 0, &[0][..], None, None),
        ("just long enough", 70, &[70], None, None),
        ("a second too short", 71, &[71], None, Some(101)),
        ("one change before within the window", 60, &[60, 10], None, Some(120)),
        ("and long before", 60, &[60, -600], None, None),
        ("held before this process began", 95, &[], Some(25), None),
        ("not for long enough", 95, &[], Some(24), Some(101)),
    ] {
        let mut stage = stage();
        stage.view = view(&["pg1"], false, 1, since);
        stage.status.failovers = changes.iter().map(|second| change(*second)).collect();
        stage.memory.credit = credit_s.map(Duration::from_secs);
        stage.object.spec.movement.settle = Span::from_secs(30);
        let told = match gate_of(&stage, &Labelling::default()) {
            Some(Gate::Settling { until, .. }) => Some(until),
            None => None,
            other => panic!("{what}: {other:?}"),
        };
        if told != until.map(at) {
            wrong.push(format!("{what}: {told:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_primary_that_came_as_announced_moves_pods_at_once_unless_it_was_lost_since() {
    let row = |epoch, announced: bool| FailoverStatus {
        epoch,
        from: Some("pg2".into()),
        confirmed_at: Some(at(60)),
        announced_for: announced.then(|| at(59)),
        ..FailoverStatus::default()
    };
    // What this process saw of the primary begins in that second; what the last leader wrote of it, in that one.
    let rows = [
        ("not announced", row(1, false), 60, None, true),
        ("announced", row(1, true), 60, None, false),
        ("announced, and the members heard of it one after the other", row(1, true), 90, None, false),
        ("announced, and lost since", row(1, true), 91, None, true),
        ("the one before was announced", row(0, true), 60, None, true),
        ("announced, says the last leader, and held since", row(1, true), 95, Some(61), false),
        ("announced, says the last leader, and lost since", row(1, true), 95, Some(91), true),
    ];
    check_rows(rows, |(what, failover, since, written, waits)| {
        let mut stage = stage();
        stage.view = view(&["pg1"], false, 1, since);
        stage.status.failovers = vec![failover];
        stage.memory.credited_since = written.map(at);
        stage.memory.credit = written.map(|_| Duration::ZERO);
        stage.object.spec.movement.settle = Span::from_secs(3_600);
        let told = gate_of(&stage, &Labelling::default()).map(|gate| gate.name());
        assert_eq!(told, waits.then_some("Settling"), "{what}");
    });
    // Everything else holds as ever.
    let mut unknown = stage();
    unknown.status.failovers = vec![row(1, true)];
    unknown.view = view(&[], false, 1, 60);
    assert_eq!(gate_of(&unknown, &Labelling::default()).map(|gate| gate.name()), Some("PrimaryNotConfirmed"));
}

#[test]
fn pending_labels_hold_also_while_not_every_node_was_looked_at_and_refusals_are_named() {
    let mut stage = stage();
    stage.memory.relabelling = true;
    let nothing = Labelling::default();
    assert_eq!(gate_of(&stage, &nothing), Some(Gate::LabelsPending { nodes: 0, refused: None }));
    let refused = Labelling { pending: 2, refused: vec!["n1 (closely, should be far): no".into()], ..nothing };
    let told = Gate::LabelsPending { nodes: 2, refused: Some("n1 (closely, should be far): no".into()) };
    assert_eq!(gate_of(&stage, &refused), Some(told));
}

#[test]
fn a_split_brain_is_told_with_its_sentence() {
    let mut stage = stage();
    stage.view = view(&["pg1", "pg2"], false, 1, 0);
    let claimants: BTreeSet<Primary> = stage.view.contested.clone();
    assert_eq!(claimants.len(), 2);
    assert_eq!(gate_of(&stage, &Labelling::default()), Some(Gate::SplitBrain(stage.view.why.clone())));
}

/// Writes annotations on the database.
fn annotate(stage: &mut Stage, annotations: &[(&str, &str)]) {
    let pairs = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    stage.object.metadata.annotations = Some(pairs.collect());
}

#[test]
fn a_pause_says_who_and_why_and_ends_by_itself() {
    let mut stage = stage();
    let who = [(keys::PAUSED, "a load test"), (keys::PAUSED_BY, "alice")];
    annotate(&mut stage, &[who[0], who[1], (keys::PAUSED_UNTIL, "1970-01-12T13:48:21Z")]);
    let told = |stage: &Stage| gate_of(stage, &Labelling::default()).map(|gate| gate.to_string());
    assert_eq!(
        told(&stage).as_deref(),
        Some(
            "movement is paused on the DatabaseCluster default (switchover.dev/paused) by alice until 1970-01-12T13:48:21Z: a \
             load test"
        )
    );
    annotate(&mut stage, &[who[0], (keys::PAUSED_UNTIL, "1970-01-12T13:48:20Z")]);
    assert_eq!(told(&stage), None, "second 100 is that time");
    let pause = crate::core::orders::Pause { by: Some("bob".into()), ..Default::default() };
    let orders = Some(Box::new(Orders { pause: Some(pause), ..Orders::default() }));
    let own = crate::core::workload::Namespace { name: "switchover-system".into(), orders, ..Default::default() };
    stage.tables.namespaces.apply(kube::runtime::watcher::Event::Apply(own), |it| (it.name.clone(), Some(it)));
    assert_eq!(
        told(&stage).as_deref(),
        Some("all movement is paused on switchover's own namespace switchover-system (switchover.dev/paused) by bob")
    );
}
