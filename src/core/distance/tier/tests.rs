use super::*;
use lab::table::check_rows;
use proptest::prelude::*;

const THRESHOLDS: Thresholds =
    Thresholds { window_us: 2_000, closely_below_us: None, far_above_us: None, margin_us: 200, confirmations: 3 };

/// `"n1=300 n2=- n3=20000/closely"`: readings in microseconds, and labels that the nodes have.
fn nodes(text: &str) -> BTreeMap<String, Measured> {
    let node = |word: &str| {
        let (word, label) = word.split_once('/').map_or((word, None), |(word, label)| (word, Some(label)));
        let (name, rtt) = word.split_once('=').unwrap();
        (
            name.to_owned(),
            Measured { label: Tier::from_label(label), rtt_us: rtt.parse().ok(), ready: true, abandoned: false },
        )
    };
    text.split(' ').map(node).collect()
}

fn shown(map: &TierMap) -> String {
    let word = |(name, node): (&String, &NodeTier)| format!("{name}={}", node.tier.label().unwrap_or("?"));
    map.nodes.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn tiers_follow_the_window() {
    let rows = [
        ("three data centres", "a=300 b=8000 c=20000", "a=closely b=intermediate c=far"),
        ("one node", "a=20000", "a=closely"),
        ("all equal", "a=8000 b=8000", "a=closely b=closely"),
        ("closer together than the window", "a=300 b=1500", "a=closely b=closely"),
        ("the window exactly", "a=300 b=2300", "a=closely b=far"),
        ("two data centres", "a=300 b=310 c=20000 d=20100", "a=closely b=closely c=far d=far"),
        ("nothing measured", "a=- b=-", "a=? b=?"),
        ("nothing measured, labels stay", "a=-/far b=-/closely", "a=far b=closely"),
        ("one agent dead: its label stays", "a=300 b=-/intermediate c=20000", "a=closely b=intermediate c=far"),
        ("never measured is not far", "a=300 b=- c=20000", "a=closely b=? c=far"),
        ("most agents dead: nothing changes", "a=20000/far b=-/closely c=-/closely", "a=far b=closely c=closely"),
        ("one node at 20 ms", "a=300 b=310 c=8000 d=20000", "a=closely b=closely c=intermediate d=far"),
        ("next to nothing: its label stays", "a=1/far b=8000 c=8100 d=20000", "a=far b=closely c=closely d=far"),
        ("never labelled, and next to nothing", "a=1 b=8000 c=8100 d=20000", "a=? b=closely c=closely d=far"),
        ("zero: its label stays", "a=0/closely b=300 c=20000", "a=closely b=closely c=far"),
        ("an hour: its label stays", "a=300 b=20000 c=3600000000/far", "a=closely b=far c=far"),
        ("seconds: it is far, and so is who was", "a=300 b=310 c=20000 d=5000000", "a=closely b=closely c=far d=far"),
        ("most lie: nothing changes", "a=300/far b=0/closely c=0/closely", "a=far b=closely c=closely"),
    ];
    check_rows(rows, |(what, measured, expected)| {
        let map = tiers(&nodes(measured), &TierMap::default(), &THRESHOLDS, true, Instant::now());
        assert_eq!(shown(&map), expected, "{what}");
    });
}

#[test]
fn absolute_bounds_override_the_window() {
    let thresholds = Thresholds { closely_below_us: Some(1_000), far_above_us: Some(10_000), ..THRESHOLDS };
    let map = tiers(&nodes("a=5000 b=9999 c=10000"), &TierMap::default(), &thresholds, true, Instant::now());
    assert_eq!(shown(&map), "a=intermediate b=intermediate c=far");
}

#[test]
fn without_a_change_of_primary_a_tier_needs_margin_and_confirmations() {
    let far = nodes("a=300/closely b=8000/far c=20000/far");
    let mut map = TierMap::default();
    for expected in ["a=closely b=far c=far", "a=closely b=far c=far", "a=closely b=intermediate c=far"] {
        map = tiers(&far, &map, &THRESHOLDS, false, Instant::now());
        assert_eq!(shown(&map), expected);
    }
    // 2,300 is the boundary; 2,400 is not beyond it by the margin.
    let near = nodes("a=300/closely b=2400/closely c=20000/far");
    map = TierMap::default();
    for _ in 0..5 {
        map = tiers(&near, &map, &THRESHOLDS, false, Instant::now());
        assert_eq!(shown(&map), "a=closely b=closely c=far");
    }
}

#[test]
fn a_label_that_somebody_wrote_over_is_no_tier_unless_nothing_else_is_known() {
    let map =
        tiers(&nodes("a=300/closely b=-/far c=20000/far"), &TierMap::default(), &THRESHOLDS, false, Instant::now());
    let overwritten = nodes("a=300/far b=-/closely c=20000");
    for _ in 0..2 {
        assert_eq!(shown(&tiers(&overwritten, &map, &THRESHOLDS, false, Instant::now())), "a=closely b=far c=far");
    }
    assert_eq!(
        shown(&tiers(&overwritten, &TierMap::default(), &THRESHOLDS, false, Instant::now())),
        "a=far b=closely c=?"
    );
}

#[test]
fn the_first_tier_of_a_node_is_confirmed_too_and_a_tier_that_readings_changed_has_to_settle() {
    let (start, settle) = (Instant::now(), Duration::from_secs(30));
    let mut now = start;
    let mut map = TierMap::default();
    let mut look = |text: &str, at_once: bool| {
        now += Duration::from_secs(1);
        map = tiers(&nodes(text), &map, &THRESHOLDS, at_once, now);
        let unsettled = map.nodes.iter().filter(|(_, node)| !node.settled(settle, now));
        (shown(&map), unsettled.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" "))
    };
    // An agent that is the first one to be up is not the only one for long.
    let told = |tiers: &str, unsettled: &str| (tiers.to_owned(), unsettled.to_owned());
    assert_eq!(look("a=20000 b=- c=-", false), told("a=? b=? c=?", "a"));
    assert_eq!(look("a=20000 b=8000 c=-", false), told("a=? b=? c=?", "a b"));
    assert_eq!(look("a=20000 b=8000 c=300", false), told("a=? b=? c=?", "a b c"));
    assert_eq!(look("a=20000 b=8000 c=300", false), told("a=far b=? c=?", "a b c"));
    assert_eq!(look("a=20000 b=8000 c=300", false), told("a=far b=intermediate c=closely", "a b c"));
    // A change of primary settles by its own rule.
    assert_eq!(look("a=300 b=8000 c=20000", true), told("a=closely b=intermediate c=far", ""));
    // A spike.
    for _ in 0..2 {
        assert_eq!(look("a=60000 b=8000 c=20000", false), told("a=closely b=intermediate c=far", "a b c"));
    }
    assert_eq!(look("a=60000 b=8000 c=20000", false), told("a=far b=closely c=intermediate", "a b c"));
}

#[test]
fn nodes_that_are_dead_are_not_missed() {
    // The bigger one of two data centres has lost its power.
    let mut all = nodes("a=300/far b=310/far c=-/closely d=-/closely e=-/closely");
    let look = |all: &BTreeMap<String, Measured>| {
        let map = tiers(all, &TierMap::default(), &THRESHOLDS, true, Instant::now());
        (map.bounds.is_some(), shown(&map))
    };
    assert_eq!(look(&all), (false, "a=far b=far c=closely d=closely e=closely".to_owned()));
    for name in ["c", "d", "e"] {
        all.get_mut(name).unwrap().ready = false;
    }
    assert_eq!(look(&all), (true, "a=closely b=closely c=closely d=closely e=closely".to_owned()));
}

#[test]
fn a_label_that_people_take_off_where_no_agent_runs_any_more_stays_off() {
    let mut all = nodes("a=300/closely b=-/closely c=-/closely d=-/closely");
    let mut map = tiers(&all, &TierMap::default(), &THRESHOLDS, true, Instant::now());
    assert_eq!(map.bounds, None, "three are missed");
    for (name, gone) in [("b", true), ("c", true), ("d", false)] {
        let node = all.get_mut(name).unwrap();
        (node.label, node.abandoned) = (Tier::Unknown, gone);
    }
    map = tiers(&all, &map, &THRESHOLDS, false, Instant::now());
    assert_eq!(shown(&map), "a=closely b=? c=? d=closely");
    assert!(map.bounds.is_some(), "nobody misses them any more");
}

#[test]
fn a_reading_that_wavers_starts_the_count_again() {
    let mut map = TierMap::default();
    for b_us in [8_000, 8_000, 20_000, 8_000, 8_000, 20_000] {
        let measured = format!("a=300/closely b={b_us}/far c=20000/far");
        map = tiers(&nodes(&measured), &map, &THRESHOLDS, false, Instant::now());
        assert_eq!(map.tier("b"), Tier::Far);
    }
}

#[test]
fn a_change_of_primary_counts_at_once() {
    let map = tiers(
        &nodes("a=20000/closely b=8000/intermediate c=300/far"),
        &TierMap::default(),
        &THRESHOLDS,
        true,
        Instant::now(),
    );
    assert_eq!(shown(&map), "a=far b=intermediate c=closely");
}

proptest! {
    #[test]
    fn a_node_without_a_reading_keeps_its_tier(rtts in prop::collection::vec(prop::option::of(10u64..100_000), 1..20)) {
        let nodes: BTreeMap<_, _> = rtts.iter().enumerate()
            .map(|(i, rtt)| (format!("n{i}"), Measured { label: [Tier::Closely, Tier::Far, Tier::Unknown][i % 3], rtt_us: *rtt, ready: true, abandoned: false }))
            .collect();
        let map = tiers(&nodes, &TierMap::default(), &THRESHOLDS, true, Instant::now());
        for (name, measured) in &nodes {
            if measured.rtt_us.is_none() {
                prop_assert_eq!(map.tier(name), measured.label);
            }
        }
        // Whenever tiers are computed at all, the nearest measured node is closely: never everything far.
        if map.bounds.is_some() {
            let nearest = nodes.iter().filter_map(|(name, m)| m.rtt_us.map(|rtt| (rtt, name))).min().unwrap().1;
            prop_assert_eq!(map.tier(nearest), Tier::Closely);
        }
    }
}
