use crate::{
    api::database_cluster::MovementMode,
    core::{
        distance::{
            overwrite::{NodeChange, TaintEffect},
            tier::Tier,
        },
        testing::{World, instant, node, pod},
        workload::Taint,
    },
    evaluate::{Refusal, testing::Stage},
};

/// Nodes of two zones, pg1 in zone a has been primary for long, and a pod on b1 that nobody moves.
fn stage(effect: &str) -> Stage {
    let world = World::with_nodes("a1=closely b1=far b2=far")
        .workload("ReplicaSet/web", 1)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"));
    let mut stage = Stage::new(&world).primary("pg1", 0);
    let rule = serde_json::json!({ "effect": effect, "evictWithoutBudgets": effect == "NoExecute" });
    stage.object.spec.taint = Some(serde_json::from_value(rule).unwrap());
    // It follows nothing, so that the movement has nothing to do.
    stage.tables.follow("shop", "none");
    stage.at(0);
    stage.read(100);
    stage
}

fn bear(stage: &mut Stage, name: &str, effect: TaintEffect) {
    let mut bearing = node(name).bearing(Some("far"));
    bearing.taints.push(Taint { key: "switchover".into(), value: "far".into(), effect: effect.as_str().into() });
    stage.tables.nodes.apply(kube::runtime::watcher::Event::Apply(bearing), |it| (it.name.clone(), Some(it)));
}

/// `b1 next`, `b1 withdrawn; Paused`.
fn told(stage: &mut Stage) -> String {
    let decided = stage.at(100);
    let Some(emptying) = decided.emptying else { return "no such taint".into() };
    let withdrawn = |(node, change): (&String, &NodeChange)| {
        let taken_off =
            change.retaint && change.taint == Some(TaintEffect::NoSchedule) && emptying.bearing.contains(node);
        taken_off.then(|| format!("{node} withdrawn"))
    };
    let mut told: Vec<String> = decided.labelling.changes.iter().filter_map(withdrawn).collect();
    told.extend(emptying.next.map(|node| format!("{node} next")));
    told.extend(emptying.waits.map(|waits| waits.name().to_owned()));
    told.join("; ")
}

#[test]
fn only_a_taint_that_evicts_empties_nodes_and_only_when_nothing_is_in_the_way() {
    type Spoil = fn(&mut Stage);
    let rows: [(&str, &str, Spoil, &str); 10] = [
        ("no eviction asked for", "NoSchedule", |_| (), "no such taint"),
        ("all is calm", "NoExecute", |_| (), "b1 next"),
        ("one after the other", "NoExecute", |stage| bear(stage, "b1", TaintEffect::NoExecute), "OneNodeAtATime"),
        ("paused", "NoExecute", |stage| stage.object.spec.paused = true, "Paused"),
        ("a dry run", "NoExecute", |stage| stage.object.spec.movement.mode = MovementMode::DryRun, "DryRun"),
        (
            "a dry run while a node bears it",
            "NoExecute",
            |stage| {
                bear(stage, "b1", TaintEffect::NoExecute);
                stage.object.spec.movement.mode = MovementMode::DryRun;
            },
            "b1 withdrawn; DryRun",
        ),
        (
            "paused while a node bears it",
            "NoExecute",
            |stage| {
                bear(stage, "b1", TaintEffect::NoExecute);
                stage.object.spec.paused = true;
            },
            "b1 withdrawn; Paused",
        ),
        (
            "paused, but that node refused a write a moment ago",
            "NoExecute",
            |stage| {
                bear(stage, "b1", TaintEffect::NoExecute);
                stage.object.spec.paused = true;
                let refusal = Refusal { why: "a policy".into(), answered: true };
                stage.memory.note_written("b1", Some(refusal), instant(100));
            },
            "Paused",
        ),
        (
            "the next one refused a moment ago",
            "NoExecute",
            |stage| {
                bear(stage, "b2", TaintEffect::NoExecute);
                let refusal = Refusal { why: "a policy".into(), answered: true };
                stage.memory.note_written("b1", Some(refusal), instant(100));
            },
            "Refused",
        ),
        (
            "the picture may be old: what is borne stays",
            "NoExecute",
            |stage| {
                bear(stage, "b1", TaintEffect::NoExecute);
                stage.stale = Some("Pod");
            },
            "Stale",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, effect, spoil, expected) in rows {
        let mut stage = stage(effect);
        for far in ["b1", "b2"] {
            bear(&mut stage, far, TaintEffect::NoSchedule);
        }
        spoil(&mut stage);
        let told = told(&mut stage);
        if told != expected {
            wrong.push(format!("{what}: {told}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_change_that_waits_anyway_takes_the_withdrawal_along() {
    let emptying = super::Emptying { bearing: ["b1".to_owned(), "b2".to_owned()].into(), ..super::Emptying::default() };
    let label = NodeChange { tier: Tier::Intermediate, taint: None, retaint: false };
    let mut changes = [("b1".to_owned(), label)].into();
    super::withdraw(&emptying, &mut changes);
    let expected = [
        ("b1".to_owned(), NodeChange { retaint: true, ..label }),
        ("b2".to_owned(), NodeChange::taint_far(TaintEffect::NoSchedule)),
    ];
    assert_eq!(changes, expected.into());
}
