//! What is found out quickly is what a forecast, wave after wave, comes to.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;
use crate::core::workload::Phase;

const NODES: &str = "a1=far a2=far a3=far a4=far b1=closely b2=closely b3=closely b4=closely";

/// A workload as it comes out of the hat.
#[derive(Debug, Clone)]
struct Drawn {
    kind: &'static str,
    /// Nodes by number, of the eight.
    places: Vec<usize>,
    cpu_m: u64,
    budget: Option<u32>,
    trait_: &'static str,
    /// Of each pod, now and then.
    odd: Vec<&'static str>,
}

fn drawn(calm: bool) -> impl Strategy<Value = Drawn> {
    const KINDS: [&str; 4] = ["ReplicaSet", "Deployment", "StatefulSet", "Job"];
    const TRAITS: [&str; 14] = [
        "",
        "",
        "",
        "",
        "apart",
        "apart over zones",
        "spread",
        "only b",
        "never",
        "restart",
        "tolerant",
        "beside",
        "drawn",
        "rolling",
    ];
    const ODD: [&str; 8] =
        ["unready", "long unready", "waiting", "terminating", "missing", "bare", "pinned", "finished"];
    let odd = if calm {
        prop::collection::vec(Just(""), 6).boxed()
    } else {
        prop::collection::vec(prop_oneof![30 => Just(""), 1 => prop::sample::select(ODD.to_vec())], 6).boxed()
    };
    let traits = if calm { Just("").boxed() } else { prop::sample::select(TRAITS.to_vec()).boxed() };
    let cpu_m = if calm { 0u64..60 } else { 0u64..200 };
    let budget = prop::option::weighted(0.5, 0u32..3);
    (prop::sample::select(KINDS.to_vec()), prop::collection::vec(0usize..8, 1..6), cpu_m, budget, traits, odd)
        .prop_map(|(kind, places, cpu_m, budget, trait_, odd)| Drawn { kind, places, cpu_m, budget, trait_, odd })
}

fn clusters() -> impl Strategy<Value = World> {
    let some = |calm| prop::collection::vec(drawn(calm), 1..7);
    let quota = prop::option::weighted(0.05, 0u64..3);
    (prop_oneof![1 => some(true), 3 => some(false)], quota, prop::bool::weighted(0.1)).prop_map(
        |(all, quota, tainted)| {
            let mut world = World::with_nodes(NODES);
            for (number, of) in all.into_iter().enumerate() {
                world = with(world, number, &of);
            }
            if tainted {
                world = world.node(crate::core::testing::node("a2").bearing(Some("far")).tainted("ours", "NoSchedule"));
            }
            quota.map_or(world.clone(), |left| world.quota("small", &[("pods", left)]))
        },
    )
}

/// Puts a workload into the cluster.
fn with(mut world: World, number: usize, of: &Drawn) -> World {
    let app = format!("app{number}");
    let (top, set) = (format!("Deployment/w{number}"), format!("ReplicaSet/w{number}"));
    let owner = if of.kind == "Deployment" { set.clone() } else { format!("{}/w{number}", of.kind) };
    let desired = u32::try_from(of.places.len()).unwrap() + u32::from(of.odd[0] == "missing");
    if of.kind == "Deployment" {
        world = world.workload(&top, desired).workload(&set, desired).under(&set, &format!("w{number}"));
    } else if of.kind != "Job" {
        world = world.workload(&owner, desired);
    }
    if of.trait_ == "rolling" && of.kind != "Job" {
        world = world.changed(&owner, |it| it.rolling = true);
    }
    if let Some(allowed) = of.budget {
        world = world.budget(&format!("pdb{number}"), &app, allowed).budget_changed(&format!("pdb{number}"), |it| {
            (it.healthy, it.desired_healthy) = (desired, desired.saturating_sub(allowed));
        });
    }
    let names: Vec<&str> = NODES.split(' ').map(|node| &node[..2]).collect();
    for (place, odd) in of.places.iter().zip(&of.odd) {
        let name = format!("w{number}-{}", world.pods.len());
        let pod = of_it(pod(&name).on(names[*place]).asking_for_cpu(of.cpu_m).labelled("app", &app), of, &app);
        let pod = Pod { ready_after_s: Some(u32::try_from(number).unwrap() * 3), ..pod };
        let pod = if *odd == "bare" { pod } else { pod.owned_by(&owner) };
        world = world.pod(match *odd {
            "unready" => pod.unready().created(9),
            "long unready" => pod.unready().created(-10_000),
            "waiting" => Pod { node: None, ..pod }.pending(0),
            "terminating" => pod.terminating(),
            "pinned" => Pod { pinned_by: Some("claim data".into()), ..pod },
            "finished" => Pod { phase: Phase::Finished, ready: false, ..pod },
            _ => pod,
        });
    }
    world
}

fn of_it(pod: Pod, of: &Drawn, app: &str) -> Pod {
    match of.trait_ {
        "apart" => pod.not_beside("host", app),
        "apart over zones" => pod.not_beside("zone", app),
        "spread" => pod.spread_over("zone"),
        "only b" => pod.only_on("zone", "b"),
        "never" | "restart" => pod.moved_by(of.trait_),
        "tolerant" => pod.tolerating("ours"),
        "beside" => pod.beside("zone", "app", app),
        "drawn" => pod.leaning(-100, "host", app),
        _ => pod,
    }
}

/// What is found out quickly, if it is, and what a forecast comes to.
fn both(stage: &Stage, member: &str) -> (Option<Readiness>, Readiness) {
    let followers = stage.tables.followers("default");
    let question = stage.question(&followers);
    let member = stage.status.members.iter().find(|it| it.name == member).unwrap();
    (quick::readiness(&question, member), Readiness::of(&member.name, &foresee(&question, member)))
}

proptest! {
    #[test]
    fn what_is_found_out_quickly_is_what_a_forecast_comes_to(world in clusters()) {
        let stage = Stage::new(&world);
        for member in ["pg1", "pg2"] {
            let (quickly, foreseen) = both(&stage, member);
            if let Some(quickly) = quickly {
                prop_assert_eq!(quickly, foreseen, "{}: {:?}", member, stage.told(member));
            }
        }
    }
}

#[test]
fn of_many_clusters_it_is_found_out_quickly_and_of_many_not() {
    let mut hat = TestRunner::deterministic();
    let (mut quickly, mut moved, mut held) = (0, 0, 0);
    for _ in 0..200 {
        let world = clusters().new_tree(&mut hat).unwrap().current();
        if let (Some(readiness), _) = both(&Stage::new(&world), "pg1") {
            quickly += 1;
            moved += u32::from(readiness.would_move > 2);
            held += u32::from(readiness.blocked + readiness.would_not_fit > 0);
        }
    }
    assert!((40..160).contains(&quickly) && moved > 20 && held > 20, "{quickly}: {moved}, {held}");
}

#[test]
fn room_for_a_few_more_than_all_is_enough_and_for_a_few_less_is_not() {
    let of = |cpu_m: u64| {
        let mut world = World::with_nodes(NODES).workload("ReplicaSet/web", 8);
        for number in 0..8 {
            let name = format!("web-{number}");
            world = world.pod(web(&name, &format!("b{}", number % 4 + 1)).asking_for_cpu(cpu_m));
        }
        both(&Stage::new(&world), "pg1")
    };
    let (quickly, foreseen) = of(100);
    assert_eq!(quickly, Some(foreseen.clone()));
    assert_eq!((foreseen.grade, foreseen.would_move, foreseen.seconds), (Grade::Ready, 8, 48));
    let (quickly, foreseen) = of(450);
    assert_eq!(
        (quickly, foreseen.grade, foreseen.would_move),
        (None, Grade::Ready, 8),
        "two of a node: it depends on where"
    );
    let (quickly, foreseen) = of(600);
    assert_eq!((quickly, foreseen.grade, foreseen.would_not_fit), (None, Grade::NoPlace, 4));
}
