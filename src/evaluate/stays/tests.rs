use super::*;
use crate::{
    core::testing::{World, pod},
    evaluate::testing::{Stage, told},
};

fn held(pod: &str, reason: HeldReason) -> Held {
    Held { namespace: "shop".into(), pod: pod.into(), uid: format!("uid-{pod}"), node: "b1".into(), reason }
}

#[test]
fn each_workload_has_a_row_for_each_reason_and_what_wants_a_person_comes_first() {
    let world = World::with_nodes("a1=closely b1=far")
        .workload("ReplicaSet/web-1", 2)
        .under("ReplicaSet/web-1", "web")
        .workload("ReplicaSet/web-2", 1)
        .under("ReplicaSet/web-2", "web")
        .pod(pod("a").on("b1").owned_by("ReplicaSet/web-1"))
        .pod(pod("b").on("b1").owned_by("ReplicaSet/web-2"))
        .pod(pod("c").on("b1").owned_by("StatefulSet/db"))
        .pod(pod("d").on("b1"));
    let budget = || HeldReason::NoBudget("web".into());
    let plan = Plan {
        held: vec![
            held("b", HeldReason::OneAtATime),
            held("a", HeldReason::OneAtATime),
            held("c", budget()),
            held("d", HeldReason::BarePod),
        ],
        ..Plan::default()
    };
    let told: Vec<String> = by_workload(&plan, world.snapshot())
        .iter()
        .map(|it| format!("{} {} {}: {}", it.workload.kind, it.workload.name, it.reason.name(), it.pods))
        .collect();
    assert_eq!(told, ["Pod d BarePod: 1", "StatefulSet db NoDisruptionBudget: 1", "Deployment web OneAtATime: 2"]);
}

#[test]
fn a_budget_that_lags_behind_a_move_changes_no_reason() {
    let world = World::with_nodes("a1=closely a2=closely b1=far")
        .workload("ReplicaSet/web", 2)
        .budget("web", "web", 1)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"))
        .pod(pod("web-2").on("b1").owned_by("ReplicaSet/web"));
    let mut stage = Stage::after_a_failover(&world);
    let began = stage.at(131);
    assert_eq!(told(&began), "moves: web-1 b1→a1; held: web-2 DisruptionBudgetSpent");
    // The replacement is Ready; the budget's status doesn't say yet that another one may go.
    use kube::runtime::watcher::Event;
    stage.tables.pods.apply(Event::Delete("uid-web-1".to_owned()), |uid| (uid, None));
    let new = pod("web-3").on("a1").owned_by("ReplicaSet/web").created(132);
    stage.tables.pods.apply(Event::Apply(new), |pod| (pod.uid.clone(), Some(pod)));
    let mut spent = (**world.budgets.get("web").unwrap()).clone();
    spent.allowed = 0;
    stage.tables.budgets.apply(Event::Apply(spent), |budget| ("web".to_owned(), Some(budget)));
    let ended = stage.at(140);
    assert_eq!(told(&ended), "ends: web-1 moved; held: web-2 DisruptionBudgetSpent");
    assert!(ended.between_moves);
    let steady: Vec<_> = [141, 149].map(|second| (told(&stage.at(second)), stage.at(second).between_moves)).into();
    assert_eq!(steady, vec![("held: web-2 DisruptionBudgetSpent".to_owned(), true); 2]);
    let later = stage.at(150);
    assert_eq!((told(&later).as_str(), later.between_moves), ("held: web-2 NoDisruptionBudget", false));
    assert!(stage.memory.lately.is_empty());
}
