//! What is foreseen of a move, against the real scheduler: random little clusters, side by side.
//!
//! Each case has a few nodes, pods on them by all the rules that are foreseen, and one pod on a far node. The product says whether a
//! closely node takes its replacement; then the pod goes, the replacement is created as admission would have it, and the scheduler
//! decides. A planned move that stays Pending, or lands no nearer, is a fault. One that was held although the scheduler would have
//! brought it near is told, and counted.

mod cases;

use std::{collections::BTreeMap, sync::LazyLock};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use lab::{light::add_node, measured::write_report};
use serde_json::{Value, json};
use switchover::{
    core::{
        distance::tier::Tier,
        moment::Moment,
        movement::fit::{Ranked, Room},
        schedulers::Schedulers,
        workload::{Owner, Pod as PodFacts},
    },
    index::{Index, Tables},
};

use self::cases::{CASE, Case, Dice, NODES, TIER};
use super::support::{Scene, scene, until};

/// Cases, unless more are asked for.
const A_FEW: u64 = 20;
/// Cases that are played at the same time.
const SIDE_BY_SIDE: usize = 60;
/// Requests at the same time.
const AT_ONCE: usize = 24;
/// Of held pods that the scheduler would have brought near, of all cases.
const MOST_HELD: f64 = 0.02;

static SEED: LazyLock<u64> = LazyLock::new(|| from_environment("CROSSCHECK_SEED", 1));
static CASES: LazyLock<u64> = LazyLock::new(|| from_environment("CROSSCHECK_CASES", A_FEW));

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What came of the cases.
#[derive(Default)]
struct Tally {
    planned: u64,
    wrong: Vec<String>,
    held: Vec<String>,
}

#[test]
fn every_planned_move_gets_a_place_that_is_nearer_and_few_others_would() {
    scene("crosscheck", async |scene| {
        println!("CROSSCHECK_SEED={} CROSSCHECK_CASES={}", *SEED, *CASES);
        let bed = Bed::of(scene).await?;
        let mut dice = Dice::new(*SEED);
        let mut tally = Tally::default();
        let mut left = usize::try_from(*CASES)?;
        let mut number = 0;
        while left > 0 {
            let cases: Vec<Case> = (0..left.min(SIDE_BY_SIDE))
                .map(|slot| Case::thrown(&mut dice, number + slot, slot, &bed.namespaces))
                .collect();
            number += cases.len();
            left -= cases.len();
            bed.play(&cases, &mut tally).await?;
            println!(
                "{number} cases: {} planned, {} wrong, {} held too much",
                tally.planned,
                tally.wrong.len(),
                tally.held.len()
            );
        }
        let held_share = tally.held.len() as f64 / *CASES as f64;
        println!(
            "{} cases, {} planned, {} wrong, {} held too much ({held_share:.3})",
            *CASES,
            tally.planned,
            tally.wrong.len(),
            tally.held.len()
        );
        if *CASES > A_FEW {
            let figures = json!({
                "crosscheck.cases": *CASES,
                "crosscheck.planned": tally.planned,
                "crosscheck.wrong": tally.wrong.len(),
                "crosscheck.held_share": held_share,
            });
            write_report(figures.as_object().cloned().context("figures")?)?;
        }
        for case in tally.held.iter().take(20) {
            println!("held, although it would have come near: {case}");
        }
        assert!(
            tally.wrong.is_empty(),
            "{} planned moves went wrong:\n{}",
            tally.wrong.len(),
            tally.wrong[..tally.wrong.len().min(12)].join("\n")
        );
        assert!(tally.planned * 5 > *CASES, "only {} of {} cases were moves", tally.planned, *CASES);
        assert!(held_share <= MOST_HELD || *CASES == A_FEW, "{held_share:.3} were held that would have come near");
        Ok(())
    });
}

/// The nodes and namespaces that all rounds use.
struct Bed<'s> {
    scene: &'s Scene,
    nodes: Api<Node>,
    namespaces: Vec<String>,
}

impl<'s> Bed<'s> {
    async fn of(scene: &'s Scene) -> Result<Self> {
        let mut namespaces = Vec::new();
        for team in ["a", "b", "c"] {
            let name = scene.namespace(team, None, json!({})).await?;
            let labels = Patch::Merge(json!({"metadata": {"labels": {"team": team}}}));
            Api::<k8s_openapi::api::core::v1::Namespace>::all(scene.client.clone())
                .patch(&name, &PatchParams::default(), &labels)
                .await?;
            namespaces.push(name);
        }
        let mut dice = Dice::new(7);
        let mut capacities = Vec::new();
        for slot in 0..SIDE_BY_SIDE.min(usize::try_from(*CASES)?) {
            for node in 0..NODES {
                capacities.push((name_of(scene, slot, node), dice.capacity()));
            }
        }
        let added = stream::iter(&capacities).map(|(name, capacity)| async move {
            let capacity: Vec<(&str, &str)> = capacity.iter().map(|(name, amount)| (&**name, &**amount)).collect();
            add_node(&scene.client, name, &[(super::support::scene::POOL, scene.name)], &capacity).await.map(drop)
        });
        added.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        scene.nodes_take_pods().await?;
        Ok(Self { scene, nodes: Api::all(scene.client.clone()), namespaces })
    }

    async fn play(&self, cases: &[Case], tally: &mut Tally) -> Result<()> {
        self.set_nodes(cases).await?;
        let others = cases.iter().flat_map(|case| case.others.iter().chain([&case.old]));
        self.create(others.collect()).await?;
        let leaving = cases.iter().flat_map(|case| case.leaving()).collect::<Vec<_>>();
        self.delete(&leaving, &DeleteParams::default()).await?;

        // A busy machine may need longer for a list than the product waits for one.
        let tables = until("a picture of the cluster", async || {
            Ok(Index::look_once(&self.scene.client, &Schedulers::default(), now()).await.ok())
        })
        .await?;
        let room = Room::of(tables.snapshot());
        let foreseen: Vec<Result<String, String>> = cases.iter().map(|case| foresee(&tables, &room, case)).collect();

        // The pod is on its way out when its replacement comes, or gone if its controller waits.
        let (waited_for, others): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.waits);
        let old = |cases: &[&Case]| cases.iter().map(|case| case.old_name()).collect::<Vec<_>>();
        self.delete(&old(&waited_for), &DeleteParams::default().grace_period(0)).await?;
        self.delete(&old(&others), &DeleteParams::default()).await?;
        let replacements: Vec<Value> = cases.iter().map(Case::replacement).collect();
        self.create(replacements.iter().collect()).await?;
        let decided = self.decided(cases.len()).await?;

        for (case, foreseen) in cases.iter().zip(foreseen) {
            let landed = decided.get(&case.new_name()).context("a replacement is gone")?;
            let tier = landed.as_ref().ok().map(|node| case.tier(node));
            tally.planned += u64::from(foreseen.is_ok());
            let told = || format!("case {}: foreseen {foreseen:?}, decided {landed:?}\n{}", case.number, case.told());
            match (&foreseen, tier) {
                (Ok(_), Some(Tier::Closely | Tier::Intermediate)) | (Err(_), None) => {}
                (Ok(_), _) => tally.wrong.push(told()),
                (Err(_), Some(Tier::Closely)) => tally.held.push(told()),
                (Err(_), Some(_)) => {}
            }
        }
        self.clear().await
    }

    /// Makes the nodes those of these cases, and waits until the scheduler knows.
    async fn set_nodes(&self, cases: &[Case]) -> Result<()> {
        let patches = cases.iter().flat_map(|case| (0..NODES).map(move |node| (case, node)));
        let patched = stream::iter(patches).map(|(case, node)| async move {
            let name = name_of(self.scene, case.slot, node);
            let patch = Patch::Merge(&case.nodes[node]);
            attempt(async || self.nodes.patch(&name, &PatchParams::default(), &patch).await).await.map(drop)
        });
        patched.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let round = cases[0].number.to_string();
        let last = Patch::Merge(json!({"metadata": {"labels": {"crosscheck.example/round": round}}}));
        let name = name_of(self.scene, cases[0].slot, 0);
        self.nodes.patch(&name, &PatchParams::default(), &last).await?;
        // The scheduler sees nodes change in order: whoever may go to that one waits for all.
        let messenger = json!({
            "metadata": {"name": format!("messenger-{round}"), "namespace": self.namespaces[0], "labels": {"crosscheck": "messenger"}},
            "spec": {
                "nodeSelector": {"crosscheck.example/round": round},
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "main", "image": "example.org/none:1"}],
            },
        });
        self.create(vec![&messenger]).await?;
        let pods: Api<Pod> = Api::namespaced(self.scene.client.clone(), &self.namespaces[0]);
        let name = format!("messenger-{round}");
        until("the scheduler to know the nodes", async || {
            Ok(pods.get(&name).await?.spec.and_then(|spec| spec.node_name).map(drop))
        })
        .await?;
        self.delete(&[(self.namespaces[0].clone(), name)], &DeleteParams::default().grace_period(0)).await?;
        // On a busy machine a node falls silent for a while. The scheduler goes by its taint, which was just taken off, and the
        // product by what it says of itself.
        until("the nodes to be Ready", async || Ok(self.scene.own_nodes().await?.iter().all(is_ready).then_some(())))
            .await
    }

    async fn create(&self, pods: Vec<&Value>) -> Result<()> {
        let created = stream::iter(pods).map(|pod| async move {
            let namespace = pod["metadata"]["namespace"].as_str().context("a pod without a namespace")?;
            let api: Api<Pod> = Api::namespaced(self.scene.client.clone(), namespace);
            let pod_object: Pod = serde_json::from_value(pod.clone())?;
            match attempt(async || api.create(&PostParams::default(), &pod_object).await).await {
                // It was, and the answer was lost.
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                created => created.map(drop).with_context(|| format!("cannot create {pod}")),
            }
        });
        created.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn delete(&self, pods: &[(String, String)], how: &DeleteParams) -> Result<()> {
        let deleted = stream::iter(pods).map(|(namespace, name)| async move {
            let api: Api<Pod> = Api::namespaced(self.scene.client.clone(), namespace);
            match attempt(async || api.delete(name, how).await).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        });
        Ok(deleted.buffer_unordered(AT_ONCE).try_collect().await?)
    }

    /// Where each replacement has gone, or why it waits.
    async fn decided(&self, count: usize) -> Result<BTreeMap<String, Result<String, String>>> {
        let api: Api<Pod> = Api::namespaced(self.scene.client.clone(), &self.namespaces[0]);
        let replacements = ListParams::default().labels("crosscheck=replacement");
        until("the scheduler to decide", async || {
            let pods = attempt(async || api.list(&replacements).await).await?.items;
            let decided: BTreeMap<_, _> = pods.iter().filter_map(|pod| Some((pod.name_any(), verdict(pod)?))).collect();
            Ok((decided.len() == count).then_some(decided))
        })
        .await
    }

    /// Ends every pod of the round.
    async fn clear(&self) -> Result<()> {
        for namespace in &self.namespaces {
            let api: Api<Pod> = Api::namespaced(self.scene.client.clone(), namespace);
            let all = ListParams::default().labels("crosscheck");
            api.delete_collection(&DeleteParams::default().grace_period(0), &all).await?;
            until("the pods to be gone", async || Ok(api.list(&all).await?.items.is_empty().then_some(()))).await?;
        }
        Ok(())
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Thousands of requests over minutes: the API server closes a connection just when one is sent over it, now and then.
async fn attempt<T>(request: impl AsyncFn() -> kube::Result<T>) -> kube::Result<T> {
    match request().await {
        Err(kube::Error::Service(_) | kube::Error::HyperError(_)) => request().await,
        answer => answer,
    }
}

fn name_of(scene: &Scene, slot: usize, node: usize) -> String {
    scene.node(&format!("{slot}-{node}"))
}

fn now() -> Moment {
    Moment { instant: std::time::Instant::now(), wall: jiff::Timestamp::now() }
}

/// The closely node that the product would plan the move to, or why there is none.
fn foresee<'a>(tables: &'a Tables, room: &Room<'a>, case: &Case) -> Result<String, String> {
    let (namespace, name) = case.old_name();
    let of_case = |pod: &&PodFacts| pod.namespace == namespace && pod.name == name;
    let pod = tables.snapshot().pods().find(of_case).ok_or("its pod is gone")?;
    let owner = case.waits.then(|| Owner { kind: "StatefulSet".into(), ..Owner::default() }.into());
    let pod = PodFacts { owner, ..pod.clone() };
    let number = case.number.to_string();
    let closely = tables
        .snapshot()
        .nodes()
        .filter(|node| node.labels.get(CASE) == Some(&number) && node.labelled(TIER) == Tier::Closely);
    room.emptiest(&pod, &Ranked::of(closely), |_| Ok(())).map(|node| node.name.clone()).map_err(|nowhere| nowhere.why)
}

/// What the scheduler has decided of a pod: its node, or why it waits.
fn verdict(pod: &Pod) -> Option<Result<String, String>> {
    if let Some(node) = pod.spec.as_ref()?.node_name.clone() {
        return Some(Ok(node));
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let unschedulable = |it: &&k8s_openapi::api::core::v1::PodCondition| {
        it.type_ == "PodScheduled" && it.reason.as_deref() == Some("Unschedulable")
    };
    conditions.iter().find(unschedulable).map(|it| Err(it.message.clone().unwrap_or_default()))
}
