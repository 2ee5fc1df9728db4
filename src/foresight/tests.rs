//! Little clusters, and what is foreseen of them.

mod quickly;

use super::*;
use crate::{
    core::{
        testing::{World, moment, pod},
        workload::{Node, Pod},
    },
    evaluate::testing::{followed, latency, members},
};

/// A cluster whose database `default` has pg1 near the nodes of zone a, and pg2, the primary, near those of zone b.
struct Stage {
    object: DatabaseCluster,
    tables: Tables,
    status: DatabaseClusterStatus,
    lost: Lost,
}

impl Stage {
    fn new(world: &World) -> Self {
        let (object, tables) = followed(world);
        let status = DatabaseClusterStatus {
            primary: Some("pg2".into()),
            members: members(),
            epoch: 1,
            ..DatabaseClusterStatus::default()
        };
        let mut stage = Self { object, tables, status, lost: Lost::default() };
        let nodes: Vec<Node> = stage.tables.nodes.values().cloned().collect();
        for mut node in nodes {
            let us = if node.name.starts_with('a') { [300, 20_000] } else { [20_000, 300] };
            stage.read(&node.name, us);
            node.labels.insert("topology.kubernetes.io/zone".into(), format!("dc-{}", &node.name[..1]));
            stage.tables.put_node(&node.name.clone(), Some(node));
        }
        stage
    }

    fn read(&mut self, node: &str, us: [u32; 2]) {
        self.tables.put_latency(node, latency(us, 0));
    }

    fn without(mut self, names: &[&str]) -> Self {
        self.lost.names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    fn foresee(&self, member: &str) -> Result<Forecast, Unclear> {
        let followers = self.tables.followers("default");
        let member = self.status.members.iter().find(|it| it.name == member).unwrap();
        foresee(&self.question(&followers), member)
    }

    fn question<'s>(&'s self, followers: &'s Arc<Followers>) -> Question<'s> {
        Question {
            object: &self.object,
            tables: &self.tables,
            followers,
            own_namespace: "switchover-system",
            status: &self.status,
            lost: &self.lost,
            now: moment(10),
        }
    }

    /// `web-1 b1→a1 1; held: web NoRoom 2`: each move with its wave, and who stays.
    fn told(&self, member: &str) -> String {
        let forecast = self.foresee(member).unwrap();
        let step = |it: &Step| format!("{} {}→{} {}", it.pod.trim_start_matches("shop/"), it.from, it.to, it.wave);
        let held = |it: &HeldForecast| format!("{} {} {} {}", it.name, it.reason, it.pods, it.standing.words());
        let steps: Vec<_> = forecast.steps.iter().map(step).collect();
        let held: Vec<_> = forecast.held.iter().map(held).collect();
        if held.is_empty() { steps.join(", ") } else { format!("{}; held: {}", steps.join(", "), held.join(", ")) }
    }
}

fn web(name: &str, node: &str) -> Pod {
    Pod { ready_after_s: Some(5), ..pod(name).on(node).owned_by("ReplicaSet/web") }
}

/// Two nodes in each of two zones, labelled for pg2 in zone b, and two replicas there.
fn world() -> World {
    World::with_nodes("a1=far a2=far b1=closely b2=closely")
        .workload("ReplicaSet/web", 2)
        .pod(web("web-1", "b1"))
        .pod(web("web-2", "b2"))
}

#[test]
fn whoever_would_be_far_moves_one_at_a_time_and_the_time_has_its_causes() {
    let stage = Stage::new(&world());
    assert_eq!(stage.told("pg1"), "web-1 b1→a1 1, web-2 b2→a2 2");
    assert_eq!(stage.told("pg2"), "", "the present primary has everybody near");
    let forecast = stage.foresee("pg1").unwrap();
    assert_eq!(forecast.seconds, Seconds { settle: 30.0, total: 12.0, readiness: 6.0, budget: 6.0, limits: 0.0 });
    let row = &forecast.workloads[0];
    assert_eq!(
        (&*row.name, row.pods, row.at_once, row.ready_s, row.ready_known, row.waves),
        ("web", 2, 1, 5, true, (1, 2))
    );
    assert_eq!((&row.from, &row.to), (&[("dc-b".to_owned(), 2)].into(), &[("dc-a".to_owned(), 2)].into()));
    assert!(forecast.fits());
    assert_eq!((forecast.followers, forecast.near, forecast.moves), (2, 0, 2));
    assert_eq!(forecast.nodes, TierCounts { closely: 2, far: 2, ..TierCounts::default() });
}

#[test]
fn a_budget_lets_as_many_go_at_once_as_it_allows() {
    let mut world = world().workload("ReplicaSet/web", 4).pod(web("web-3", "b1")).pod(web("web-4", "b2"));
    assert_eq!(Stage::new(&world).foresee("pg1").unwrap().seconds.total, 24.0);
    world = world.budget("pdb", "web", 2);
    let forecast = Stage::new(&world).foresee("pg1").unwrap();
    assert_eq!((forecast.seconds.total, forecast.workloads[0].at_once, forecast.waves.len()), (12.0, 2, 2));
}

#[test]
fn what_is_missing_is_told_in_words_that_buy_hardware() {
    let big = |name: &str, node: &str| web(name, node).asking_for_cpu(700);
    let world = World::with_nodes("a1=far a2=far b1=closely b2=closely b3=closely b4=closely")
        .workload("ReplicaSet/web", 4)
        .pod(big("web-1", "b1"))
        .pod(big("web-2", "b2"))
        .pod(big("web-3", "b3"))
        .pod(big("web-4", "b4"));
    let stage = Stage::new(&world);
    let forecast = stage.foresee("pg1").unwrap();
    assert_eq!((forecast.moves, forecast.staying(Standing::NoPlace), forecast.fits()), (2, 2, false));
    let sentences: Vec<_> = forecast.missing.iter().map(|missing| missing.sentence.as_str()).collect();
    assert_eq!(sentences, ["dc-a lacks 1.4 cpu for 2 pods of shop/web"]);
    let readiness = Readiness::of("pg1", &Ok(forecast));
    assert_eq!((readiness.grade, readiness.would_move, readiness.would_not_fit), (Grade::NoPlace, 2, 2));
    assert_eq!(readiness.missing, [("cpu".to_owned(), 1_400)].into());
}

#[test]
fn what_stands_against_it_is_named() {
    let only_b = World::with_nodes("a1=far b1=closely b2=closely")
        .workload("ReplicaSet/web", 2)
        .pod(web("web-1", "b1").only_on("zone", "b"))
        .pod(web("web-2", "b2").only_on("zone", "b"));
    let forecast = Stage::new(&only_b).foresee("pg1").unwrap();
    assert_eq!(
        forecast.obstacles,
        ["shop/web: no hardware helps: required node affinity doesn't match on one node near it"]
    );
    assert_eq!((forecast.missing.len(), forecast.fits()), (0, false));

    let never = world().budget("pdb", "web", 0).budget_changed("pdb", |budget| {
        (budget.healthy, budget.desired_healthy) = (2, 2);
    });
    let stage = Stage::new(&never);
    assert_eq!(stage.told("pg1"), "; held: web NoDisruptionBudget 2 blocked");
    assert_eq!(
        stage.foresee("pg1").unwrap().obstacles,
        ["shop/pdb: this disruption budget wants all of its 2 pods healthy, and never allows an eviction: let one go"]
    );

    let single = World::with_nodes("a1=far b1=closely").workload("ReplicaSet/web", 1).pod(web("web-1", "b1"));
    assert_eq!(Stage::new(&single).told("pg1"), "; held: web SingleReplica 1 blocked");
    let meant =
        World::with_nodes("a1=far b1=closely").workload("ReplicaSet/web", 1).pod(web("web-1", "b1").moved_by("never"));
    let stage = Stage::new(&meant);
    assert_eq!(stage.told("pg1"), "; held: web Never 1 meant to stay");
    assert!(stage.foresee("pg1").unwrap().fits(), "whom people want to stay is no obstacle");
}

#[test]
fn budgets_of_one_name_in_two_namespaces_are_told_apart() {
    let never = |budget: &mut crate::core::workload::DisruptionBudget, namespace: &str| {
        (budget.namespace, budget.name) = (namespace.into(), "pdb".into());
        (budget.healthy, budget.desired_healthy) = (2, 2);
    };
    let of_bank = |name: &str, node: &str| web(name, node).owned_by("ReplicaSet/bank").within("bank");
    let world = world()
        .workload("ReplicaSet/bank", 2)
        .changed("ReplicaSet/bank", |it| it.namespace = "bank".into())
        .pod(of_bank("bank-1", "b1"))
        .pod(of_bank("bank-2", "b2"))
        .budget("of-shop", "web", 0)
        .budget_changed("of-shop", |it| never(it, "shop"))
        .budget("of-bank", "web", 0)
        .budget_changed("of-bank", |it| never(it, "bank"));
    let mut stage = Stage::new(&world);
    stage.tables.follow("bank", "default");
    let obstacles = stage.foresee("pg1").unwrap().obstacles;
    let named: Vec<_> = obstacles.iter().filter_map(|it| it.split(':').next()).collect();
    assert_eq!(named, ["bank/pdb", "shop/pdb"], "{obstacles:?}");
}

#[test]
fn a_replacement_holds_what_its_template_asks_for_however_the_pod_was_resized() {
    let resized = World::with_nodes("a1=far b1=closely b2=closely")
        .workload("ReplicaSet/web", 2)
        .changed("ReplicaSet/web", |it| it.requests.cpu_m = 700)
        .pod(web("web-1", "b1"))
        .pod(web("web-2", "b2"));
    assert_eq!(Stage::new(&resized).told("pg1"), "web-1 b1→a1 1; held: web NoRoom 1 no place");
}

#[test]
fn images_that_no_node_near_has_are_told_and_whom_the_scheduler_could_drive_out() {
    let mut stage = Stage::new(&world());
    let mut images = crate::core::images::Images::default();
    let list = |name: &str| vec![name.to_owned()];
    for (node, image) in
        [("a1", "registry.corp/other:1"), ("a2", "registry.corp/other:1"), ("b1", "registry.corp/web:1")]
    {
        images.note_node(node, [&*list(image)]);
    }
    images.note_pod("ReplicaSet/web", ["registry.corp/web:1"]);
    stage.tables.images = Arc::new(images.clone());
    assert_eq!(
        stage.foresee("pg1").unwrap().notes,
        ["shop/web: no node near has registry.corp/web:1 yet, and the first replacement on each fetches it"]
    );
    images.note_node("a2", [&*list("registry.corp/web:1")]);
    stage.tables.images = Arc::new(images);
    assert_eq!(stage.foresee("pg1").unwrap().notes, <[&str; 0]>::default());

    let batch = |name: &str, node: &str| pod(name).on(node).owned_by("ReplicaSet/batch").asking_for_cpu(900);
    let important = |name: &str, node: &str| Pod { priority: 1_000, ..web(name, node).asking_for_cpu(200) };
    let crowded = |priority: i32, template_cpu_m: u64| {
        let world = World::with_nodes("a1=far b1=closely b2=closely")
            .workload("ReplicaSet/web", 2)
            .workload("ReplicaSet/batch", 1)
            .changed("ReplicaSet/web", |it| it.requests.cpu_m = template_cpu_m)
            .pod(important("web-1", "b1"))
            .pod(important("web-2", "b2"))
            .pod(Pod { priority, wishes: pod("").moved_by("never").wishes, ..batch("batch-1", "a1") });
        let forecast = Stage::new(&world).foresee("pg1").unwrap();
        assert_eq!((forecast.moves, forecast.staying(Standing::NoPlace)), (0, 2), "what they hold counts as taken");
        forecast.notes
    };
    assert_eq!(
        crowded(0, 200),
        [
            "shop/web: by its priority (1000) the scheduler would drive out pods of shop/batch for it, such as on a1; nobody is moved for that"
        ]
    );
    assert_eq!(crowded(1_000, 200), <[&str; 0]>::default(), "nobody is of lower priority");
    assert_eq!(crowded(0, 20_000), <[&str; 0]>::default(), "the node is too small for what the template asks for now");
}

#[test]
fn a_workload_that_lacks_a_replica_now_waits_however_many_may_go() {
    let lacking = world().workload("ReplicaSet/web", 3);
    assert_eq!(Stage::new(&lacking).told("pg1"), "; held: web WorkloadNotWhole 2 passes by itself");
}

#[test]
fn a_single_replica_that_surges_is_restarted() {
    let deployment = World::with_nodes("a1=far b1=closely")
        .workload("Deployment/web", 1)
        .workload("ReplicaSet/web", 1)
        .under("ReplicaSet/web", "web")
        .pod(web("web-1", "b1"));
    let stage = Stage::new(&deployment);
    assert_eq!(stage.told("pg1"), "web-1 b1→a1 1");
    assert_eq!(stage.foresee("pg1").unwrap().workloads[0].way, "restart");
}

#[test]
fn what_is_lost_is_replaced_on_top_of_the_others() {
    let of = |name: &str, node: &str, owner: &str| Pod { ready_after_s: Some(5), ..pod(name).on(node).owned_by(owner) };
    let world = World::with_nodes("a1=far a2=far b1=closely b2=closely")
        .workload("ReplicaSet/web", 2)
        .workload("ReplicaSet/api", 2)
        .pod(web("web-1", "b1"))
        .pod(web("web-2", "b2"))
        .pod(of("api-1", "a1", "ReplicaSet/api").asking_for_cpu(950))
        .pod(of("daemon", "b1", "DaemonSet/logs"));
    let stage = Stage::new(&world).without(&["dc-b"]);
    let forecast = stage.foresee("pg1").unwrap();
    assert_eq!(forecast.loss, Some(Loss { nodes: 2, pods: 2, pending: 0, tied: 0 }));
    assert_eq!((forecast.moves, forecast.near, forecast.fits()), (0, 3, true), "they come up near it at once");
    let followers = stage.tables.followers("default");
    let question = stage.question(&followers);
    let lost: Vec<_> = stage.status.members.iter().filter(|it| question.is_lost(it)).map(|it| &*it.name).collect();
    assert_eq!(lost, ["pg2"]);

    let full = world.pod(of("api-2", "a2", "ReplicaSet/api").asking_for_cpu(950));
    let forecast = Stage::new(&full).without(&["dc-b"]).foresee("pg1").unwrap();
    assert_eq!(forecast.loss, Some(Loss { nodes: 2, pods: 2, pending: 2, tied: 0 }));
    assert!(!forecast.fits());
    assert_eq!(Stage::new(&full).without(&["dc-x", "b1"]).lost.unknown(&stage.tables), ["dc-x"]);
}

#[test]
fn nothing_is_told_where_nobody_can_tell() {
    let mut stage = Stage::new(&world());
    stage.status.members[0].host = String::new();
    assert_eq!(stage.foresee("pg1").unwrap_err(), Unclear::NoHost("pg1".into()));
    stage.status.members[0].host = "10.0.0.9".into();
    let unclear = stage.foresee("pg1");
    assert_eq!(
        unclear.as_ref().unwrap_err().to_string(),
        "fewer than half of the nodes have a fresh reading of pg1 (10.0.0.9): see to the agents"
    );
    assert_eq!(Readiness::of("pg1", &unclear).grade, Grade::Unclear);
    let nothing = Stage::new(&world()).without(&["dc-a", "dc-b"]).foresee("pg1");
    assert_eq!(nothing.unwrap_err(), Unclear::NothingLeft);
}

#[test]
fn the_picture_itself_stays_as_it_is() {
    let stage = Stage::new(&world());
    let before = stage.tables.clone();
    let _ = stage.foresee("pg1");
    assert!(
        before.pods.live().is_same(stage.tables.pods.live()) && before.nodes.live().is_same(stage.tables.nodes.live())
    );
    assert_eq!(stage.told("pg1"), stage.told("pg1"), "the same comes of the same");
}
