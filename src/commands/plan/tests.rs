use clap::Parser;
use lab::table::check_rows;

use super::*;
use crate::cli::{Args, Command};

/// Two nodes and a database of three members; `web` of the namespace shop is near pg1, and so is an `api` that fits nowhere else.
fn snapshot() -> serde_json::Value {
    use serde_json::json;
    let node = |name: &str, zone: &str, cpu: &str| {
        json!({
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
            "status": {
                "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "images": [{"names": ["registry.corp/web:1", "registry.corp/web@sha256:00"]}],
            },
        })
    };
    let latency = |name: &str, us: [u32; 3]| {
        let reading = |(member, us): (usize, u32)| json!({"host": format!("10.0.0.{}", member + 1), "rttUs": us});
        let readings: Vec<_> = us.into_iter().enumerate().map(reading).collect();
        json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "NodeLatency", "metadata": {"name": name},
            "spec": {"heartbeat": "2026-01-01T00:00:30Z", "memberCount": 3, "readings": readings},
        })
    };
    let set = |name: &str, replicas: u32| {
        json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("rs-{name}")},
            "spec": {"replicas": replicas, "selector": {}},
        })
    };
    let pod = |name: &str, set: &str, cpu: &str| {
        json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "labels": {"app": set},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": format!("rs-{set}"), "controller": true}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": format!("registry.corp/{set}:1"), "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]},
            "status": {"phase": "Running", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
            ]},
        })
    };
    let member =
        |number: usize| json!({"name": format!("pg{number}"), "host": format!("10.0.0.{number}"), "port": 5432});
    json!({
        "kind": "SwitchoverSnapshot", "version": 1, "takenAt": "2026-01-01T00:01:00Z",
        "databases": [{
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
            "metadata": {"name": "default", "uid": "uid-default"},
            "spec": {"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}},
            "status": {"primary": "pg1", "epoch": 1, "members": [member(1), member(2), member(3)]},
        }],
        "latencies": [latency("n1", [300, 20_000, 20_000]), latency("n2", [20_000, 300, 20_000]), latency("n3", [20_000, 20_000, 300])],
        "nodes": [node("n1", "dc1", "8"), node("n2", "dc2", "2"), node("n3", "dc3", "8")],
        "namespaces": [{"metadata": {"name": "shop", "labels": {"switchover.dev/follow": "default"}}}],
        "pods": [pod("web-1", "web", "500m"), pod("web-2", "web", "500m"), pod("api-1", "api", "1500m"), pod("api-2", "api", "1500m")],
        "replicaSets": [set("web", 2), set("api", 2)],
        "statefulSets": [], "deployments": [], "budgets": [], "quotas": [],
    })
}

fn answers(typed: &str) -> Result<(PlanArgs, Vec<OfDatabase>), PlanError> {
    let Command::Plan(args) = Args::parse_from(format!("switchover plan {typed}").split_whitespace()).command else {
        panic!("no plan")
    };
    let snapshot = ClusterSnapshot::read(snapshot().to_string().as_bytes()).unwrap();
    let now =
        Moment { instant: std::time::Instant::now() + std::time::Duration::from_secs(1_000), wall: snapshot.taken_at };
    let tables = snapshot.tables(&args.schedulers.clone().schedulers(), now);
    let lost = Lost { names: args.without.clone() };
    let objects = databases(&tables, args.database.as_deref())?;
    let answers =
        objects.into_iter().map(|object| answer(&args, object, &tables, &lost, now)).collect::<Result<_, _>>()?;
    Ok((args, answers))
}

#[test]
fn a_plan_is_told_as_people_read_it() {
    let (_, answers) = answers("default --to pg2").unwrap();
    let expected = "\
default: pg1 → pg2: NOT ALL FITS
  nodes: 1 closely, 0 intermediate, 2 far, 0 unknown; followers: 4, 0 of them near already
  2 pods move in about 6 s (readiness 6 s, budgets 0 s, limits 0 s), after settle (10 s)
  waves: 2 at 0 s
  WORKLOAD             PODS  FROM  TO   WAVES  AT ONCE  READY  DONE
  replicaset shop/api  1     dc1   dc2  1      1        5 s    6 s
  replicaset shop/web  1     dc1   dc2  1      1        5 s    6 s
  1 pod stays, no place: replicaset shop/api: NoRoom: no closely node takes it: 1: insufficient cpu
  1 pod stays, no place: replicaset shop/web: NoRoom: no closely node takes it: 1: insufficient cpu
  missing: dc2 lacks 2 cpu for 1 pod of shop/api and 1 of shop/web
  note: shop/api: no node near has registry.corp/api:1 yet, and the first replacement on each fetches it
";
    assert_eq!(words::text(&answers), expected);
    assert_eq!(verdict(&answers), Err(Verdict(3)));
}

#[test]
fn what_is_announced_needs_not_settle() {
    let told = |typed: &str, announced: &str| {
        let (_, mut answers) = answers(typed).unwrap();
        answers[0].announced = Some(AnnouncedStatus {
            at: "2026-01-01T22:00:00Z".parse().unwrap(),
            from: Some("pg1".into()),
            to: Some(announced.into()),
            by: "Patroni".into(),
        });
        words::text(&answers).lines().find_map(|line| Some(line.split_once("limits 0 s), ")?.1.to_owned())).unwrap()
    };
    let announced = "at once if it comes as announced for 2026-01-01T22:00:00Z, else after settle (10 s)";
    assert_eq!(told("default --to pg3", "pg3"), announced);
    assert_eq!(told("default --to pg3", "pg2"), "after settle (10 s)", "another one");
}

#[test]
fn members_are_compared_and_the_best_one_is_named() {
    let (_, answers) = answers("--all").unwrap();
    let expected = "  DATABASE  PRIMARY    NEAR  MOVE  NO PLACE  BLOCKED  TIME  MISSING
  default   pg1 (now)  4     0     0         0        0 s   -
  default   pg2        0     2     2         0        6 s   2 cpu
  default   pg3        0     4     0         0        12 s  -
  default: a primary is best at pg1 for those who follow
";
    assert_eq!(words::comparison(&answers), expected);
}

#[test]
fn the_exit_status_says_whether_all_fits() {
    let rows = [
        ("default --to pg3", Ok(()), "pg3"),
        ("default --to pg2", Err(Verdict(3)), "pg2"),
        ("", Err(Verdict(3)), "pg2 pg3"),
        ("--without dc1", Err(Verdict(3)), "pg2 pg3"),
        ("--without dc2", Ok(()), "pg1"),
        ("default --without dc1 --to pg3", Ok(()), "pg3"),
    ];
    check_rows(rows, |(typed, expected, members)| {
        let (_, answers) = answers(typed).unwrap();
        assert_eq!(verdict(&answers), expected, "{typed}");
        let told: Vec<_> = answers[0].forecasts.iter().map(|it| &*it.to).collect();
        assert_eq!(told.join(" "), members, "{typed}");
    });
}

#[test]
fn whoever_is_named_wrongly_is_told_who_there_is() {
    let told = |typed: &str| answers(typed).unwrap_err().to_string();
    assert_eq!(told("nobody"), "there is no DatabaseCluster nobody; there are: default");
    assert_eq!(told("default --to pg9"), "default has no member pg9; there are: pg1, pg2, pg3");
}
