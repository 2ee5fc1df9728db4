use serde_json::json;

use super::*;
use crate::{
    core::testing::{World, moment, pod},
    evaluate::testing::{followed, latency, members},
};

/// Two pods of `web` near pg2, which is the primary, and room for one of them near pg1.
fn look() -> Look {
    let mut world = World::with_nodes("a1=far b1=closely")
        .workload("ReplicaSet/web-1", 2)
        .workload("Deployment/web", 2)
        .under("ReplicaSet/web-1", "web")
        .budget("web", "web", 0)
        .budget_changed("web", |budget| (budget.healthy, budget.desired_healthy) = (2, 2));
    for name in ["web-1-a", "web-1-b"] {
        world = world.pod(pod(name).on("b1").owned_by("ReplicaSet/web-1"));
    }
    look_at(&world.workload("Deployment/idle", 0))
}

fn look_at(world: &World) -> Look {
    let (mut object, mut tables) = followed(world);
    let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    object.status = serde_json::from_value(json!({
        "primary": "pg2", "primaryHost": "10.0.0.2", "epoch": 1, "heldTotal": 0, "ignoredTotal": 0, "heldWorkloadsTotal": 0, "tiers": {},
        "conditions": [condition("PrimaryKnown", "True", "Known"), condition("Moving", "False", "Done")],
    }))
    .unwrap();
    object.status.get_or_insert_default().members = members();
    object.metadata.resource_version = Some("2".into());
    tables.put_database(&object);
    for (node, us) in [("a1", [300, 20_000]), ("b1", [20_000, 300])] {
        tables.put_latency(node, latency(us, 0));
        let mut labelled = tables.nodes.get(node).unwrap().clone();
        labelled.labels.insert("topology.kubernetes.io/zone".into(), format!("dc-{}", &node[..1]));
        tables.put_node(node, Some(labelled));
    }
    Look { tables, own_namespace: "switchover-system".into(), now: moment(1) }
}

fn template() -> Template {
    let deployment = json!({
        "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "readinessProbe": {}}]}}},
    });
    manifest::template(&deployment, "shop").unwrap()
}

#[test]
fn a_workload_is_told_where_its_pods_are_and_what_each_member_would_do_to_them() {
    let look = look();
    let found = find(&look, "shop", "deployment", "web").unwrap();
    let explanation = explain(&look, &View::default(), &found, Some(template()), Timestamp::UNIX_EPOCH).unwrap();
    let expected = "\
deployment shop/web: 2 wanted, 2 there
  a new pod is left as it is: the namespace has no label switchover.dev/follow

  POD       NODE   ZONE   READY   TO default
  web-1-a   b1     dc-b   yes     closely 0.30 ms
  web-1-b   b1     dc-b   yes     closely 0.30 ms

default, now that pg2 is the primary:
  web-1-a, web-1-b: it is closely; nothing moves it
default, if pg1 were the primary:
  0 near already, none moved
  2 stay, blocked: NoDisruptionBudget: the disruption budget web allows no eviction now
  obstacle: shop/web: this disruption budget wants all of its 2 pods healthy, and never allows an eviction: let one go

not ready for moves, drains and rollouts without an outage:
  NoPreStop: no container has a preStop hook: a pod that is ended still gets requests for a moment, from whoever hasn't heard of it
    write lifecycle.preStop.sleep of a few seconds (Kubernetes 1.30), shorter than terminationGracePeriodSeconds, unless the program itself goes on serving for a while after SIGTERM (docs/zero-downtime.md#prestop)
  BudgetNeverAllows: its disruption budget web wants 2 of 2 pods healthy, and never allows an eviction: nothing moves them, and no drain ends
    write maxUnavailable: 1 in web, or more replicas than it wants healthy (docs/zero-downtime.md#budgets)
";
    assert_eq!(words::text(&explanation), expected);
}

#[test]
fn what_would_move_a_workload_is_foreseen() {
    let mut look = look();
    let budget = look.tables.budgets.iter().next().map(|(uid, it)| (uid.clone(), it.clone())).unwrap();
    look.tables.put_budget(&budget.0, None);
    let found = find(&look, "shop", "deployments", "web").unwrap();
    let explanation = explain(&look, &View::default(), &found, None, Timestamp::UNIX_EPOCH).unwrap();
    let foreseen = &explanation.databases[0].if_primary;
    let told: Vec<_> = foreseen.iter().map(|it| (&*it.member, it.near, it.moves, it.way, it.at_once)).collect();
    assert_eq!(told, [("pg1", 0, 2, Some("evict"), 1)]);
    assert_eq!(explanation.weaknesses, [Weakness::NoBudget], "what can't be read is no weakness");
    assert!(explanation.admission.is_none());
}

#[test]
fn a_workload_is_found_by_what_owns_its_pods_and_an_unknown_one_is_told_who_there_is() {
    let look = look();
    let found = |kind: &str, name: &str| {
        find(&look, "shop", kind, name).map(|it| (it.key.kind, it.key.name, it.through)).map_err(|it| it.to_string())
    };
    let through = |through: Option<&str>| Ok(("Deployment".into(), "web".into(), through.map(str::to_owned)));
    assert_eq!(found("deployment", "web"), through(None));
    assert_eq!(found("replicaset", "web-1"), through(Some("replicaset/web-1")));
    assert_eq!(found("deployment", "idle"), Ok(("Deployment".into(), "idle".into(), None)), "without a pod");
    let refused = "there is no statefulset/web in shop that makes pods; there are: deployment/idle; deployment/web";
    assert_eq!(found("statefulset", "web"), Err(refused.to_owned()));
    let elsewhere = find(&look, "plain", "deployment", "web").unwrap_err().to_string();
    assert_eq!(elsewhere, "there is no deployment/web in plain that makes pods; there are: none");
}

#[test]
fn a_cron_job_s_pods_are_those_of_its_jobs_and_stay() {
    let mut world = World::with_nodes("a1=closely b1=far");
    for (name, job) in [("report-1-x", "Job/report-1"), ("report-2-y", "Job/report-2"), ("other-z", "Job/other")] {
        world = world.pod(pod(name).on("b1").owned_by(job));
    }
    let look = look_at(&world);
    let key = |kind: &str, name: &str| WorkloadKey {
        namespace: "shop".into(),
        kind: kind.into(),
        name: name.into(),
        uid: format!("{kind}/{name}"),
    };
    let found = Found {
        key: key("CronJob", "report"),
        api: "batch/v1".into(),
        itself: None,
        through: None,
        parts: vec![key("Job", "report-2"), key("Job", "report-1")],
    };
    let explanation = explain(&look, &View::default(), &found, None, Timestamp::UNIX_EPOCH).unwrap();
    let pods: Vec<&str> = explanation.pods.iter().map(|it| &*it.pod).collect();
    assert_eq!(pods, ["report-1-x", "report-2-y"]);
    let said: Vec<(&str, usize)> =
        explanation.databases[0].if_primary[0].stays.iter().map(|it| (&*it.reason, it.pods as usize)).collect();
    assert_eq!(said, [("Job", 1), ("Job", 1)]);
    assert_eq!(explanation.weaknesses, [], "Jobs serve nobody");
    assert_eq!(words::text(&explanation).lines().nth(2), Some(&*format!("  {}", jobs::NOTE)));
}
