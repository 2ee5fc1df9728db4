use super::*;
use crate::core::distance::tier::NodeTier;

fn shown(registry: &Registry) -> Vec<String> {
    let text = crate::metrics::render(registry);
    text.lines().filter(|line| line.contains("orders")).map(str::to_owned).collect()
}

#[test]
fn labelled_nodes_without_a_reading_are_told_and_nodes_that_were_never_measured_are_not() {
    let mut registry = crate::metrics::registry();
    let metrics = ControllerMetrics::new(&mut registry);
    let nodes = [("n1", Tier::Closely, Some(300)), ("n2", Tier::Far, None), ("n3", Tier::Unknown, None)];
    let mut memory = Memory::default();
    std::sync::Arc::make_mut(&mut memory.tiers).nodes =
        nodes.map(|(name, tier, rtt_us)| (name.to_owned(), NodeTier::labelled(tier, rtt_us))).into();
    metrics.observe("orders", &memory, &Decided::default(), &mut Shown::default());
    let told = |name: &str| shown(&registry).into_iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(told("switchover_nodes_silent"), ["switchover_nodes_silent{database=\"orders\"} 1"]);
}

#[test]
fn the_gate_that_is_closed_is_the_only_one_that_is_shown_as_closed() {
    let mut registry = crate::metrics::registry();
    let metrics = ControllerMetrics::new(&mut registry);
    let closed = || {
        let lines = shown(&registry).into_iter().filter(|line| line.starts_with("switchover_movement_gate"));
        let (closed, open): (Vec<_>, Vec<_>) = lines.partition(|line| line.ends_with(" 1"));
        assert!(open.iter().all(|line| line.ends_with(" 0")), "{open:?}");
        assert_eq!(closed.len() + open.len(), Gate::NAMES.len());
        closed
    };
    let gate = Some(Gate::Halted { failed: 3 });
    let mut before = Shown::default();
    metrics.observe("orders", &Memory::default(), &Decided { gate, ..Decided::default() }, &mut before);
    assert_eq!(closed(), ["switchover_movement_gate{database=\"orders\",reason=\"Halted\"} 1"]);
    metrics.observe("orders", &Memory::default(), &Decided::default(), &mut before);
    assert_eq!(closed(), Vec::<String>::new());
}

#[test]
fn the_death_of_a_discovery_is_counted_from_none_on() {
    let mut registry = crate::metrics::registry();
    let metrics = ControllerMetrics::new(&mut registry);
    metrics.observe("orders", &Memory::default(), &Decided::default(), &mut Shown::default());
    let told = |name: &str| shown(&registry).into_iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let deaths = |count: u8| [format!("switchover_discovery_deaths_total{{database=\"orders\"}} {count}")];
    assert_eq!(told("switchover_discovery_deaths"), deaths(0), "before the first, so that it is an increase");
    metrics.discovery_died("orders");
    assert_eq!(told("switchover_discovery_deaths"), deaths(1));
}

#[test]
fn only_the_leader_says_whom_it_follows() {
    let mut registry = crate::metrics::registry();
    let metrics = ControllerMetrics::new(&mut registry);
    metrics.accepted("orders", Some(false));
    assert_eq!(shown(&registry), ["switchover_database_accepted{database=\"orders\"} 0"]);
    metrics.accepted("orders", None);
    assert_eq!(shown(&registry), Vec::<String>::new(), "it is being deleted");
    metrics.accepted("orders", Some(true));
    metrics.leads_no_more();
    assert_eq!(shown(&registry), Vec::<String>::new());
}

#[test]
fn nothing_is_left_of_a_database_that_is_gone() {
    let mut registry = crate::metrics::registry();
    let metrics = ControllerMetrics::new(&mut registry);
    metrics.observe("orders", &Memory::default(), &Decided::default(), &mut Shown::default());
    for ok in [true, false] {
        metrics.labelled("orders", ok);
        metrics.status_written("orders", ok);
    }
    metrics.overwritten("orders", 1);
    metrics.accepted("orders", Some(false));
    metrics.discovery_died("orders");
    for to in [Some("pg2"), None, Some("pg3")] {
        let (from, to) = (None, to.map(str::to_owned));
        let announced = AnnouncedStatus { at: crate::core::testing::at(0), from, to, by: "Patroni".into() };
        metrics.observe_announced("orders", Some(&announced));
    }
    for &way in Way::ALL {
        let outcomes = Evicted::NAMES.iter().copied().chain([UNANSWERED]);
        outcomes.for_each(|outcome| metrics.moved("orders", way, outcome));
    }
    End::NAMES.iter().for_each(|end| metrics.ended("orders", end, 1.0));
    assert!(shown(&registry).len() > 50, "{:?}", shown(&registry));
    let announced = shown(&registry).into_iter().filter(|line| line.contains("announced")).collect::<Vec<_>>();
    let second = crate::core::testing::at(0).as_second();
    let name = "switchover_announced_switchover_timestamp_seconds";
    let expected = format!("{name}{{database=\"orders\",member=\"pg3\"}} {second}");
    assert_eq!(announced, [expected], "of the last target alone");
    metrics.deleted("orders");
    assert_eq!(shown(&registry), Vec::<String>::new());
}
