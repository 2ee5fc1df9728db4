use super::*;
use crate::{
    core::{
        distance::overwrite::TaintEffect,
        testing::{World, instant},
    },
    evaluate::testing::{Stage, told},
};

fn seen<'a>(node: &'a str, label: Option<&'a str>, tier: Tier) -> Seen<'a> {
    Seen { node, wanted: Wanted { tier, taint: None }, label, taints: Vec::new() }
}

fn refusal(answered: bool) -> Refusal {
    Refusal { why: "a policy".to_owned(), answered }
}

const fn change(tier: Tier) -> NodeChange {
    NodeChange { tier, taint: None, retaint: false }
}

#[test]
fn a_node_that_refuses_is_tried_later_and_named_until_it_is_labelled() {
    let nodes = [
        seen("n1", Some("far"), Tier::Far),
        seen("n2", Some("far"), Tier::Closely),
        seen("n3", None, Tier::Far),
        seen("n4", None, Tier::Unknown),
    ];
    let began = Instant::now();
    let mut refused = Refusals::default();
    let mut look = |nodes: &[Seen<'_>], refusing: &[&str], now| {
        refusing.iter().for_each(|node| refused.add(node, refusal(true), REFUSED, now));
        let waiting = refused.current(now);
        Labelling::of(nodes, &Overwrites::default(), &refused, &waiting, now)
    };
    let both = [("n2".to_owned(), change(Tier::Closely)), ("n3".to_owned(), change(Tier::Far))];
    let [_, third] = both.clone();
    let first = Labelling { changes: both.clone().into(), pending: 2, ..Labelling::default() };
    assert_eq!(look(&nodes, &[], began), first);
    let named = vec!["n2 (far, should be closely): a policy".to_owned()];
    let then = Labelling { changes: [third].into(), pending: 1, lost: named.clone(), ..Labelling::default() };
    assert_eq!(look(&nodes, &["n1", "n2"], began), then);
    let again = Labelling { changes: both.into(), pending: 1, lost: named, ..Labelling::default() };
    assert_eq!(look(&nodes, &[], began + REFUSED.first), again, "it is named until it is labelled");
    let right = Labelling { right: true, ..Labelling::default() };
    assert_eq!(look(&[nodes[0].clone(), nodes[3].clone()], &[], began), right);
}

#[test]
fn a_refused_node_holds_the_movement_if_it_looks_nearer_than_it_is() {
    let (now, far) = (Instant::now(), Some("far"));
    for (what, label, tier, answered, holds) in [
        ("draws pods although it is far", Some("closely"), Tier::Far, true, true),
        ("draws them a little", Some("intermediate"), Tier::Far, true, true),
        ("is said to be nearer than it is", Some("closely"), Tier::Intermediate, true, true),
        ("room that is lost", far, Tier::Closely, true, false),
        ("too modest", far, Tier::Intermediate, true, false),
        ("a new node near by", None, Tier::Closely, true, false),
        ("a new node far away: it draws nobody", None, Tier::Far, true, false),
        ("somebody else's word draws nobody", Some("near"), Tier::Far, true, false),
        ("no answer: it may come a moment later", far, Tier::Closely, false, true),
        ("no answer", None, Tier::Far, false, true),
    ] {
        let mut refused = Refusals::default();
        refused.add("n1", refusal(answered), REFUSED, now);
        let waiting = refused.current(now);
        let look = Labelling::of(&[seen("n1", label, tier)], &Overwrites::default(), &refused, &waiting, now);
        assert_eq!(look.pending == 1, holds, "{what}: {look:?}");
        assert_eq!(
            (look.refused.len(), look.lost.len()),
            (usize::from(holds && answered), usize::from(!holds)),
            "{what}"
        );
    }
}

#[test]
fn a_refused_taint_holds_nothing() {
    let (now, mut refused) = (Instant::now(), Refusals::default());
    refused.add("n1", refusal(true), REFUSED, now);
    let wanted = Wanted { tier: Tier::Far, taint: Some(TaintEffect::NoSchedule) };
    let bare = Seen { wanted, ..seen("n1", Some("far"), Tier::Far) };
    let look = Labelling::of(&[bare], &Overwrites::default(), &refused, &refused.clone().current(now), now);
    assert_eq!((look.pending, look.refusing("switchover")), (0, "n1 (its taint): a policy".to_owned()));
}

#[test]
fn a_node_that_is_put_back_later_is_not_pending_and_not_right() {
    let (now, mut overwrites) = (Instant::now(), Overwrites::default());
    for _ in 0..4 {
        overwrites.look("switchover", &[seen("n1", Some("far"), Tier::Far)], now);
        overwrites.look("switchover", &[seen("n1", None, Tier::Far)], now);
    }
    let look = Labelling::of(&[seen("n1", None, Tier::Far)], &overwrites, &Refusals::default(), &BTreeMap::new(), now);
    assert_eq!(look, Labelling::default());
}

#[test]
fn readings_count_once_in_a_while_and_at_once_when_the_primary_has_changed() {
    let world = World::with_nodes("a1=closely b1=far");
    let mut stage = Stage::new(&world).primary("pg1", 0);
    stage.at(0);
    stage.at(1);
    let measured = |stage: &Stage| stage.memory.measured;
    assert_eq!(measured(&stage), Some(instant(1)));
    stage.at(1);
    assert_eq!(measured(&stage), Some(instant(1)), "a burst of events is one confirmation");
    stage.at(2);
    assert_eq!(measured(&stage), Some(instant(2)));
    stage.fail_over("pg2", 2);
    assert_eq!(
        told(&stage.at(2)),
        "labels: a1 far, b1 closely; gate: LabelsPending",
        "a change of primary waits for nothing"
    );
}

#[test]
fn a_reading_counts_for_as_long_as_it_is_fresh_and_the_node_is_ours() {
    let world = World::with_nodes("a1=unknown a2=unknown b1=unknown b2=unknown");
    let mut wrong = Vec::new();
    type Spoil = fn(&mut Stage);
    let spoilt: [(&str, Spoil, &str); 5] = [
        ("all measured", |_| (), "a1 closely, a2 closely, b1 far, b2 far"),
        (
            "one silent for too long",
            |stage| stage.read_node("b2", [20_000, 300], -900),
            "a1 closely, a2 closely, b1 far",
        ),
        (
            "one that is left alone",
            |stage| {
                let mut node = stage.tables.nodes.get("a2").unwrap().clone();
                node.managed = false;
                stage.tables.nodes.apply(kube::runtime::watcher::Event::Apply(node), |it| (it.name.clone(), Some(it)));
            },
            "a1 closely, b1 far, b2 far",
        ),
        ("one whose label somebody else uses", |stage| label(stage, "a2", "payments"), "a1 closely, b1 far, b2 far"),
        (
            "most are silent, and were never labelled",
            |stage| ["a1", "b1", "b2"].iter().for_each(|node| stage.read_node(node, [1, 1], -900)),
            "a2 closely",
        ),
    ];
    for (what, spoil, expected) in spoilt {
        let mut stage = Stage::new(&world).primary("pg1", 0);
        spoil(&mut stage);
        // The first label of a node waits for three evaluations that agree.
        let decided = [0, 1, 2].map(|second| stage.at(second));
        let labels = decided[2].labelling.changes.iter();
        let told = labels.map(|(node, change)| format!("{node} {}", change.tier.label().unwrap())).collect::<Vec<_>>();
        if told.join(", ") != expected || !decided[0].labelling.changes.is_empty() {
            wrong.push(format!("{what}: {told:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_reading_that_is_not_believed_is_told_once_also_by_the_next_leader() {
    let mut stage = Stage::new(&World::with_nodes("a1=closely a2=closely a3=closely b1=far")).primary("pg1", 0);
    stage.read_node("a3", [1, 20_000], 0);
    let first = stage.at(0);
    assert_eq!(first.doubts.len(), 1, "{first:?}");
    assert!(first.doubts[0].starts_with("a3: "), "{first:?}");
    assert_eq!(stage.at(1).doubts, Vec::<String>::new());
    let (node, doubt) = stage.memory.tiers.doubts.first_key_value().unwrap();
    let ignored = crate::api::database_cluster::IgnoredStatus {
        node: node.clone(),
        reason: doubt.name().into(),
        ..Default::default()
    };
    stage.status.ignored = vec![ignored];
    stage.memory = Memory::restored(&stage.status, crate::core::testing::moment(10));
    assert_eq!(stage.at(10).doubts, Vec::<String>::new());
}

#[test]
fn far_nodes_bear_the_taint_that_is_asked_for_but_never_at_once_the_one_that_evicts() {
    let mut wrong = Vec::new();
    for (effect, expected) in [
        (serde_json::json!({ "effect": "NoSchedule" }), TaintEffect::NoSchedule),
        (serde_json::json!({ "effect": "PreferNoSchedule" }), TaintEffect::PreferNoSchedule),
        (serde_json::json!({ "effect": "NoExecute", "evictWithoutBudgets": true }), TaintEffect::NoSchedule),
    ] {
        let mut stage = Stage::new(&World::with_nodes("a1=closely b1=far")).primary("pg1", 0);
        stage.object.spec.taint = Some(serde_json::from_value(effect.clone()).unwrap());
        let changes = stage.at(0).labelling.changes;
        let change = NodeChange { tier: Tier::Far, taint: Some(expected), retaint: true };
        if changes != [("b1".to_owned(), change)].into() {
            wrong.push(format!("{effect}: {changes:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn label(stage: &mut Stage, node: &str, value: &str) {
    let node = stage.tables.nodes.get(node).unwrap().clone().bearing(Some(value));
    stage.tables.nodes.apply(kube::runtime::watcher::Event::Apply(node), |it| (it.name.clone(), Some(it)));
}

#[test]
fn a_label_that_somebody_else_uses_is_never_overwritten_and_says_so() {
    let rows = [
        ("nobody", &[][..], "a1 far, a2 far, b1 closely, b2 closely", ""),
        (
            "one",
            &["b2"],
            "a1 far, a2 far, b1 closely",
            "the key switchover is in use by somebody else on one node, which are left alone: b2: write another spec.nodeLabel",
        ),
        (
            "all",
            &["a1", "a2", "b1", "b2"],
            "",
            "the key switchover is in use by somebody else on 4 nodes, which are left alone: a1; a2; b1; b2: write another \
             spec.nodeLabel",
        ),
    ];
    for (what, theirs, expected, said) in rows {
        let mut stage = Stage::new(&World::with_nodes("a1=closely a2=closely b1=far b2=far")).primary("pg1", 0);
        let _ = stage.at(0);
        // Also where the label was ours before: whoever writes another value takes it.
        theirs.iter().for_each(|node| label(&mut stage, node, "payments"));
        stage.fail_over("pg2", 10);
        let decided = stage.at(10);
        let changes = decided.labelling.changes.iter();
        let told: Vec<String> = changes.map(|(node, it)| format!("{node} {}", it.tier.label().unwrap())).collect();
        assert_eq!(
            (told.join(", ").as_str(), decided.labelling.refusing("switchover").as_str()),
            (expected, said),
            "{what}"
        );
        assert_eq!(decided.overwritten, [], "{what}: nobody is told to have done us wrong");
        let tiers = |node: &&str| decided_tier(&stage, node) == Tier::Unknown;
        assert!(theirs.iter().all(tiers), "{what}: nothing is known of them, and nothing moves from there");
    }
}

fn decided_tier(stage: &Stage, node: &str) -> Tier {
    stage.memory.tiers.tier(node)
}
