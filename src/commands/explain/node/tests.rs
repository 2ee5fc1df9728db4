use lab::table::check_rows;

use super::*;
use crate::core::distance::tier::{Bounds, NodeTier};

const KEY: &str = "switchover";

fn node(label: &str) -> Node {
    let labels = [(KEY.to_owned(), label.to_owned())].into_iter().filter(|(_, label)| !label.is_empty()).collect();
    Node { name: "n1".into(), managed: true, ready: true, labels, ..Node::default() }
}

fn tiers(rtt_us: Option<u64>) -> TierMap {
    TierMap {
        nodes: BTreeMap::from([("n1".to_owned(), NodeTier::labelled(Tier::Unknown, rtt_us))]),
        bounds: Some(Bounds { closely_below_us: 2_300, far_from_us: 18_000 }),
        doubts: BTreeMap::new(),
    }
}

#[test]
fn a_tier_is_told_with_its_reason() {
    let measured = |us: u64| Some(tiers(Some(us)));
    let doubted =
        TierMap { doubts: BTreeMap::from([("n1".to_owned(), Doubt::Impossible { rtt_us: 2 })]), ..tiers(None) };
    let too_few = TierMap { bounds: None, ..tiers(Some(300)) };
    let kept_off = Node { managed: false, ..node("") };
    let follows = "the label follows when the readings are beyond the boundary by spec.tiers.margin, spec.tiers.confirmations times in a \
                   row; at once when the primary changes";
    let rows = [
        (node("closely"), measured(300), "0.30 ms to pg1: less than 2.30 ms is closely".to_owned()),
        (
            node("intermediate"),
            measured(9_000),
            "9.00 ms to pg1: from 2.30 ms up to 18.00 ms is intermediate".to_owned(),
        ),
        (node("far"), measured(20_000), "20.00 ms to pg1: 18.00 ms or more is far".to_owned()),
        (node("far"), measured(300), format!("0.30 ms to pg1: less than 2.30 ms is closely; {follows}")),
        (node("far"), Some(tiers(None)), "it has no fresh reading of pg1: it keeps its label".to_owned()),
        (
            node(""),
            Some(tiers(None)),
            "it has no fresh reading of pg1 and never had one: nobody knows how far it is".to_owned(),
        ),
        (
            node("far"),
            Some(doubted),
            "its reading is ignored: it says 2 µs, and no round trip is outside of 1 µs to 10 s".to_owned(),
        ),
        (
            node("far"),
            Some(too_few),
            "fewer than half of the nodes have a fresh reading of pg1: labels stay as they are".to_owned(),
        ),
        (node("far"), None, "the primary isn't known: the label stays as it is".to_owned()),
        (node("mine"), measured(300), "somebody else uses the label switchover here, and it is left alone".to_owned()),
        (
            kept_off,
            measured(300),
            "the annotation switchover.dev/manage: \"false\" keeps switchover off this node".to_owned(),
        ),
    ];
    check_rows(rows, |(node, tiers, expected)| {
        assert_eq!(why(&node, KEY, tiers.as_ref().map(|tiers| ("pg1", tiers))), expected);
    });
}

#[test]
fn a_node_is_told_as_people_read_it() {
    let member = |name: &str, primary: bool, us: u64, tier: Tier| OfMember {
        member: name.into(),
        primary,
        rtt_us: Some(us),
        stale: name == "pg2",
        tier: Some(tier),
    };
    let of = OfDatabase {
        database: "default".into(),
        label: Some("switchover=far".into()),
        taint: Some("switchover=far:NoSchedule".into()),
        tier: Tier::Far,
        why: "20.00 ms to pg1: 18.00 ms or more is far".into(),
        members: vec![member("pg1", true, 20_000, Tier::Far), member("pg2", false, 300, Tier::Closely)],
        followers: BTreeMap::from([("deployment shop/web".to_owned(), 2)]),
    };
    let explanation = NodeExplanation {
        node: "n1".into(),
        zone: Some("dc1".into()),
        ready: true,
        cordoned: true,
        managed: true,
        agent_silent_s: Some(12),
        databases: vec![of],
    };
    let expected = "\
node n1 in dc1, cordoned
  its agent wrote 12s ago

default: switchover=far, taint switchover=far:NoSchedule
  20.00 ms to pg1: 18.00 ms or more is far
  MEMBER      RTT                 IF IT IS THE PRIMARY
  pg1 (now)   20.00 ms            far
  pg2         0.30 ms (too old)   closely
  hosts followers: 2 of deployment shop/web
";
    assert_eq!(text(&explanation), expected);
}
