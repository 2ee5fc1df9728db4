//! What happens around the movement while it is under way: others evict, budgets and namespaces change, parts of Kubernetes are
//! away or refuse. Nobody goes below a budget, and what can go on goes on.

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use anyhow::Result;
use k8s_openapi::api::{
    admissionregistration::v1::{
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
    },
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
    policy::v1::{Eviction, PodDisruptionBudget},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use lab::{control_plane::Component, light::READY_DELAY, wait::until_within};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{Descheduler, SEVERAL_TICKS, Scene, Stage, Witness, eventually, scene, stays, until, upheaval};

/// How many pods of a namespace nobody has placed yet.
async fn pending(scene: &Scene, namespace: &str) -> Result<usize> {
    let pods: Vec<Pod> = scene.pods(namespace).list(&ListParams::default()).await?.items;
    Ok(pods.iter().filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none())).count())
}

/// Changes how many pods the workload's budget lets be away.
async fn budget_allows(scene: &Scene, stage: &Stage, unavailable: i32) -> Result<()> {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(scene.client.clone(), &stage.namespace);
    let patch = Patch::Merge(json!({"spec": {"maxUnavailable": unavailable}}));
    budgets.patch("web", &PatchParams::default(), &patch).await?;
    Ok(())
}

#[test]
fn without_a_scheduler_nobody_follows_the_pod_whose_replacement_waits() {
    upheaval("no-scheduler", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        stage.begin_to_move().await?;
        block_in_place(|| scene.world.bed.kill(Component::KubeScheduler))?;
        until("a replacement that nobody places", async || {
            Ok((pending(scene, &stage.namespace).await? > 0).then_some(()))
        })
        .await?;
        let evicted = stage.witness.seen().evicted;
        stays("who was evicted", SEVERAL_TICKS, evicted, async || Ok(stage.witness.seen().evicted)).await?;

        block_in_place(|| scene.world.bed.start_component(Component::KubeScheduler))?;
        stage.ends_well(scene).await
    });
}

#[test]
fn an_api_server_that_is_away_for_half_a_minute_in_the_middle_of_a_movement_ends_nobody() {
    upheaval("api-server-away", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        stage.begin_to_move().await?;
        let before = stage.witness.seen().ever.len();
        block_in_place(|| scene.world.bed.kill(Component::KubeApiserver))?;
        // Longer than the Lease lasts, and than a watch may be silent before its facts count as old.
        tokio::time::sleep(Duration::from_secs(30)).await;
        block_in_place(|| scene.world.bed.restart(Component::KubeApiserver))?;
        // Whoever counts the budget looks ever more rarely while there is nobody to ask, and so does the witness: it may see no pod end.
        let goes_on = async || Ok((stage.witness.seen().ever.len() > before).then_some(()));
        until_within(Duration::from_secs(120), "the movement to go on", goes_on).await?;
        stage.ends_well(scene).await
    });
}

#[test]
fn a_budget_that_is_tightened_in_the_middle_of_a_movement_is_kept() {
    scene("tightened", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        stage.begin_to_move().await?;
        budget_allows(scene, &stage, 0).await?;
        until("what is under way to end", async || {
            let held = scene.held(&stage.namespace).await?;
            let all = !held.is_empty() && held.iter().all(|held| held.starts_with("web: NoDisruptionBudget: "));
            Ok((all && scene.status().await?.moving.is_empty()).then_some(()))
        })
        .await?;
        let evicted = stage.witness.seen().evicted;
        stays("who was evicted", SEVERAL_TICKS, evicted, async || Ok(stage.witness.seen().evicted)).await?;

        budget_allows(scene, &stage, 1).await?;
        stage.ends_well(scene).await
    });
}

#[test]
fn a_namespace_that_goes_in_the_middle_of_a_movement_stops_nobody_else() {
    scene("namespace-goes", async |scene| {
        let stage = Stage::set(scene, json!({"movement": {"haltAfterFailures": 1}})).await?;
        let other = scene.namespace("other", Some(scene.name), json!({})).await?;
        scene.workload(&other, "api").says(READY_DELAY, "3s").deployment(3).await?;
        let others = Witness::of(scene, &other).await?;
        stage.begin_to_move().await?;
        Api::<Namespace>::all(scene.client.clone()).delete(&stage.namespace, &DeleteParams::background()).await?;

        eventually("the others near pg3", "3 in dc3".to_owned(), async || scene.zones(&other).await).await?;
        let seen = others.seen();
        assert_eq!((seen.evicted.len(), seen.ever.len(), seen.fewest_serving), (3, 6, Some(2)));
        until("nothing to be under way", async || {
            let status = scene.status().await?;
            Ok((status.moving.is_empty() && status.held_total == 0).then_some(()))
        })
        .await
    });
}

#[test]
#[ignore = "builds a program that nothing else needs: make test-descheduler"]
fn a_descheduler_that_looks_every_second_and_the_controller_share_one_budget() {
    scene("descheduler", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        let _descheduler = block_in_place(|| Descheduler::start(scene.world, &stage.namespace, 1))?;
        stage.begin_to_move().await?;
        stage.ends_well_whoever_moved(scene).await?;
        let evicted = stage.witness.seen().evicted;
        stays("who was evicted", SEVERAL_TICKS, evicted, async || Ok(stage.witness.seen().evicted)).await
    });
}

#[test]
fn two_drains_and_the_controller_share_one_budget() {
    scene("drains", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        stage.begin_to_move().await?;
        let drain = |short: &str| {
            let node = scene.node(short);
            std::thread::spawn(move || {
                let arguments = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s"];
                super::support::world().kubectl(&arguments, "")
            })
        };
        for drain in [drain("dc1-1"), drain("dc1-2")] {
            block_in_place(|| drain.join()).expect("kubectl drain ends")?;
        }
        stage.ends_well_whoever_moved(scene).await
    });
}

/// Two that lead know nothing of each other's ledger: what they share is what the API server counts.
#[test]
fn a_second_controller_that_leads_too_shares_the_budget() {
    upheaval("beside", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        let second = scene.namespace("second", None, json!({})).await?;
        let _beside = scene.world.controller_beside(&second).await?;
        let leases: Api<Lease> = Api::namespaced(scene.client.clone(), &second);
        until("the second one to lead", async || {
            let lease = leases.get_opt("switchover-controller").await?.and_then(|lease| lease.spec);
            Ok(lease.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty()))
        })
        .await?;
        stage.begin_to_move().await?;
        stage.ends_well_whoever_moved(scene).await?;
        until("nothing to be under way", async || Ok(scene.status().await?.moving.is_empty().then_some(()))).await
    });
}

#[test]
fn a_node_that_goes_off_under_a_replacement_halts_nothing_and_another_one_takes_it() {
    scene("target-off", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"haltAfterFailures": 1}})).await?;
        let gone = json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2});
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "5s").with(json!({"tolerations": [gone]}));
        web.deployment(3).await?;
        web.budget().await?;
        assert_eq!(scene.zones(&namespace).await?, "3 in dc1");
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        let node = until("a replacement on its node", async || {
            let places = scene.places(&namespace).await?;
            Ok(places.into_iter().find_map(|place| place.strip_prefix("web on dc3").map(|rest| format!("dc3{rest}"))))
        })
        .await?;
        scene.power_off(&node).await?;
        let evicted = witness.seen().evicted;
        assert_eq!(evicted.len(), 1);
        // Its replacement isn't Ready, and so nobody else goes.
        until("its end on the dead node", async || {
            let there = scene.places(&namespace).await?.contains(&format!("web on {node}"));
            Ok((!there).then_some(()))
        })
        .await?;
        assert_eq!(witness.seen().evicted, evicted);

        let over = async || Ok(scene.status().await?.failovers.first().filter(|it| it.moved_at.is_some()).cloned());
        let row = until_within(Duration::from_secs(90), "the movement to be over", over).await?;
        assert_eq!((row.epoch, row.moved, row.held), (2, 3, 0));
        let other = if node == "dc3-1" { "dc3-2" } else { "dc3-1" };
        assert_eq!(scene.places(&namespace).await?, vec![format!("web on {other}"); 3]);
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len()), (Some(2), 3), "the budget, each pod once");
        assert_eq!(seen.ever.len(), 7, "one replacement for each, and one for the one that was lost");
        Ok(())
    });
}

#[test]
fn pods_that_crash_after_they_were_ready_stop_their_workload_and_no_other() {
    scene("crash", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        let other = scene.namespace("other", Some(scene.name), json!({})).await?;
        scene.workload(&other, "api").says(READY_DELAY, "1s").deployment(3).await?;
        stage.patroni.switchover("pg3", 2);
        // Two replacements are Ready, one after the other, and then crash again and again.
        until("a second replacement", async || {
            let near = scene.places(&stage.namespace).await?.iter().filter(|place| place.contains("dc3")).count();
            Ok((near >= 2).then_some(()))
        })
        .await?;
        let crashed = scene.crash_one(&stage.namespace, "dc3").await?;
        until("the movement to stop there", async || {
            let held = scene.held(&stage.namespace).await?;
            let stopped = held.iter().all(|held| held.starts_with("web: NoDisruptionBudget: "));
            Ok((!held.is_empty() && stopped && scene.status().await?.moving.is_empty()).then_some(()))
        })
        .await?;
        let evicted = stage.witness.seen().evicted;
        assert!(evicted.len() < 4, "too late to disturb anything");
        eventually("the others near pg3", "3 in dc3".to_owned(), async || scene.zones(&other).await).await?;
        stays("who was evicted", SEVERAL_TICKS, evicted, async || Ok(stage.witness.seen().evicted)).await?;

        scene.recover(&stage.namespace, &crashed).await?;
        eventually("every pod near pg3", "4 in dc3".to_owned(), async || scene.zones(&stage.namespace).await).await?;
        assert_eq!(scene.its_database().movement_over(2).await?, (7, 0));
        assert_eq!(stage.witness.seen().ever.len(), 8, "one replacement for each");
        Ok(())
    });
}

/// What refuses evictions in one namespace, and what takes it away.
enum Obstacle {
    /// 403.
    Policy,
    /// 500: what should be asked isn't there.
    NobodyAnswers,
    /// 500 or 504, after a second: what should be asked is silent.
    Silence(TcpListener),
}

impl Obstacle {
    fn name(&self, scene: &Scene) -> String {
        let short = match self {
            Self::Policy => "policy",
            Self::NobodyAnswers => "nobody",
            Self::Silence(_) => "silence",
        };
        format!("{}-{short}", scene.name)
    }

    async fn put(&self, scene: &Scene, namespace: &str) -> Result<()> {
        let name = self.name(scene);
        let rules: Value = json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"],
        }]);
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        let url = match self {
            Self::Policy => {
                let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
                    "metadata": {"name": name, "labels": scene.mark()},
                    "spec": {
                        "matchConstraints": {"resourceRules": rules, "namespaceSelector": here},
                        "validations": [{"expression": "false", "reason": "Forbidden", "message": "not today"}],
                    },
                }))?;
                Api::all(scene.client.clone()).create(&PostParams::default(), &policy).await?;
                let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
                    "metadata": {"name": name, "labels": scene.mark()},
                    "spec": {"policyName": name, "validationActions": ["Deny"]},
                }))?;
                Api::all(scene.client.clone()).create(&PostParams::default(), &binding).await?;
                return Ok(());
            }
            Self::NobodyAnswers => "https://127.0.0.1:1/".to_owned(),
            Self::Silence(listener) => format!("https://{}/", listener.local_addr()?),
        };
        let hook: ValidatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": scene.mark()},
            "webhooks": [{
                "name": "evictions.example.com",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": url},
                "failurePolicy": "Fail",
                "namespaceSelector": here,
                "rules": rules,
                "sideEffects": "None",
                "timeoutSeconds": 1,
            }],
        }))?;
        Api::all(scene.client.clone()).create(&PostParams::default(), &hook).await?;
        Ok(())
    }

    async fn take_away(&self, scene: &Scene) -> Result<()> {
        let (name, delete) = (self.name(scene), DeleteParams::default());
        let client = || scene.client.clone();
        if matches!(self, Self::Policy) {
            Api::<ValidatingAdmissionPolicyBinding>::all(client()).delete(&name, &delete).await?;
            Api::<ValidatingAdmissionPolicy>::all(client()).delete(&name, &delete).await?;
        } else {
            Api::<ValidatingWebhookConfiguration>::all(client()).delete(&name, &delete).await?;
        }
        Ok(())
    }

    /// Whether evictions are refused already: a policy needs a moment until it holds.
    async fn holds(&self, scene: &Scene, namespace: &str) -> Result<bool> {
        let pods = scene.pods(namespace).list(&ListParams::default()).await?.items;
        let Some(pod) = pods.first().and_then(|pod| pod.metadata.name.clone()) else { return Ok(false) };
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let metadata =
            ObjectMeta { name: Some(pod.clone()), namespace: Some(namespace.to_owned()), ..Default::default() };
        let eviction = Eviction { metadata, delete_options: None };
        let answer = scene.pods(namespace).create_subresource::<_, Value>("eviction", &pod, &dry, &eviction).await;
        Ok(match answer {
            Ok(_) => false,
            Err(kube::Error::Api(status)) => status.code == 403 || status.code >= 500,
            Err(error) => return Err(error.into()),
        })
    }
}

#[test]
fn evictions_that_the_api_server_refuses_end_nobody_and_are_tried_again() {
    scene("refused-evictions", async |scene| {
        let stage = Stage::set(scene, json!({"movement": {"settle": "1s"}})).await?;
        let silence = TcpListener::bind(("127.0.0.1", 0))?;
        let obstacles = [Obstacle::Policy, Obstacle::NobodyAnswers, Obstacle::Silence(silence)];
        let mut before: Option<&Obstacle> = None;
        for obstacle in &obstacles {
            obstacle.put(scene, &stage.namespace).await?;
            let (name, namespace) = (obstacle.name(scene), &stage.namespace);
            if let Some(before) = before.replace(obstacle) {
                before.take_away(scene).await?;
            } else {
                until("evictions to be refused", async || Ok(obstacle.holds(scene, namespace).await?.then_some(())))
                    .await?;
                stage.patroni.switchover("pg3", 2);
            }
            let word = match obstacle {
                Obstacle::Policy => "not today",
                _ => "evictions.example.com",
            };
            until(&format!("{name} to be told"), async || {
                let held = scene.held(namespace).await?;
                Ok(held.iter().any(|held| held.starts_with("web: Backoff: ") && held.contains(word)).then_some(()))
            })
            .await?;
        }
        assert_eq!(stage.witness.seen().evicted, BTreeSet::new());
        if let Some(last) = before {
            last.take_away(scene).await?;
        }
        stage.ends_well(scene).await
    });
}
