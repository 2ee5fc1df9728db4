//! Workloads of every kind follow the primary as their controllers let them, or say why they stay.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::Namespace,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use lab::light::READY_DELAY;
use serde_json::{Value, json};
use switchover::api::keys;
use tokio::task::block_in_place;

use super::policies::the_controller_may_change_nothing_of_a_rollout_but_when_it_restarts;
use super::support::{SEVERAL_TICKS, Scene, Witness, eventually, scene, stays, until};

#[test]
fn pods_of_a_stateful_set_follow_one_at_a_time_under_the_names_that_they_had() {
    scene("stateful", async |scene| {
        let (patroni, shop) = scene.two_centres(json!({})).await?;
        let bank = scene.namespace("bank", Some(scene.name), json!({})).await?;
        let web = scene.workload(&shop, "web").says(READY_DELAY, "500ms");
        web.stateful_set(3).await?;
        web.budget().await?;
        let ledger = scene.workload(&bank, "ledger").says(READY_DELAY, "500ms").updated_on_delete();
        ledger.stateful_set(2).await?;
        assert_eq!([scene.zones(&shop).await?, scene.zones(&bank).await?], ["3 in dc1", "2 in dc1"]);
        let (in_shop, in_bank) = (Witness::of(scene, &shop).await?, Witness::of(scene, &bank).await?);

        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (5, 0));
        assert_eq!([scene.zones(&shop).await?, scene.zones(&bank).await?], ["3 in dc3", "2 in dc3"]);
        assert_eq!(web.pod_names().await?, ["web-0", "web-1", "web-2"]);
        assert_eq!(ledger.pod_names().await?, ["ledger-0", "ledger-1"]);
        let counts = |witness: &Witness| {
            let seen = witness.seen();
            (seen.fewest_serving, seen.evicted.len(), seen.ever.len())
        };
        assert_eq!(counts(&in_shop), (Some(2), 3, 6), "serving at least, evicted, there ever");
        assert_eq!(counts(&in_bank), (Some(1), 2, 4), "serving at least, evicted, there ever");
        Ok(())
    });
}

#[test]
fn a_cron_job_is_explained_with_the_pods_of_its_jobs() {
    scene("cron", async |scene| {
        let (_patroni, namespace) = scene.two_centres(json!({})).await?;
        let mut template = scene.workload(&namespace, "report").template();
        template["spec"]["restartPolicy"] = "Never".into();
        let cron = json!({"metadata": {"name": "report"}, "spec": {
            "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": template.clone()}},
        }});
        let crons: Api<CronJob> = Api::namespaced(scene.client.clone(), &namespace);
        let cron = crons.create(&PostParams::default(), &serde_json::from_value(cron)?).await?;
        let explained = || -> Result<Value> {
            let typed = ["explain", "cj/report", "-n", &namespace, "-o", "json"];
            let told: Value = serde_json::from_str(&block_in_place(|| scene.world.switchover(&typed))?)?;
            Ok(told["workload"].clone())
        };
        let told = explained()?;
        assert_eq!((&told["admission"]["injects"], &told["pods"]), (&json!(true), &json!([])), "{told:#}");

        // As `kubectl create job --from=cronjob/report` makes it.
        let job = json!({
            "metadata": {"name": "report-1", "ownerReferences": [cron.controller_owner_ref(&())]},
            "spec": {"template": template},
        });
        let jobs: Api<Job> = Api::namespaced(scene.client.clone(), &namespace);
        jobs.create(&PostParams::default(), &serde_json::from_value(job)?).await?;
        let told = until("a pod of its Job", async || {
            let told = explained()?;
            Ok((told["pods"] != json!([])).then_some(told))
        })
        .await?;
        let pod = told["pods"][0]["pod"].as_str().unwrap_or_default();
        assert!(pod.starts_with("report-1-") && told["weaknesses"] == json!([]), "{told:#}");
        let unknown = block_in_place(|| scene.world.switchover(&["explain", "cronjob/none", "-n", &namespace]));
        let unknown = unknown.unwrap_err().to_string();
        assert!(unknown.contains(&format!("there is no cronjob/none in {namespace}")), "{unknown}");
        Ok(())
    });
}

#[test]
fn what_a_partition_holds_back_is_not_rolled_out_by_a_move() {
    scene("partition", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").rolled_out_from(2);
        web.stateful_set(2).await?;
        let sets: Api<StatefulSet> = Api::namespaced(scene.client.clone(), &namespace);
        let next = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
        sets.patch("web", &PatchParams::default(), &Patch::Merge(next)).await?;
        let (now, next) = until("the next revision", async || {
            let status = sets.get("web").await?.status.unwrap_or_default();
            Ok(status.current_revision.zip(status.update_revision).filter(|(now, next)| now != next))
        })
        .await?;

        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (2, 0));
        assert_eq!(scene.zones(&namespace).await?, "2 in dc3");
        let pods = scene.pods(&namespace).list(&ListParams::default()).await?;
        let revisions: BTreeSet<_> = pods.iter().map(|pod| pod.labels()["controller-revision-hash"].clone()).collect();
        assert_eq!(revisions, [now].into(), "{next} waits for people");
        Ok(())
    });
}

#[test]
fn pods_of_a_stateful_set_stay_with_their_volumes() {
    scene("volumes", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        for claim in ["data-web-0", "data-web-1"] {
            scene.volume(&namespace, claim, json!({})).await?;
        }
        scene.workload(&namespace, "web").claiming("data").stateful_set(2).await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        let held: Vec<String> = [0, 1]
            .map(|pod| format!("web: PinnedByVolume: the volume claim data-web-{pod} may tie it to its node"))
            .to_vec();
        eventually("what is held", held, async || scene.held(&namespace).await).await?;
        assert_eq!(scene.its_database().movement_over(2).await?, (0, 2));
        assert_eq!(witness.seen().evicted, BTreeSet::new());
        Ok(())
    });
}

#[test]
fn pods_of_a_replica_set_that_a_custom_resource_owns_follow_like_any_others() {
    scene("fleet", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s");
        web.fleet_of_a_replica_set(3).await?;
        web.budget().await?;
        let witness = Witness::of(scene, &namespace).await?;

        patroni.switchover("pg3", 2);
        let moving = until("a pod to be on the move", async || Ok(scene.status().await?.moving.into_iter().next()));
        let workload = moving.await?.workload;
        assert_eq!((&*workload.kind, &*workload.name), ("Fleet", "web"));
        assert_eq!(scene.its_database().movement_over(2).await?, (3, 0));
        assert_eq!(scene.zones(&namespace).await?, "3 in dc3");
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(2), 3, 6));
        Ok(())
    });
}

/// The replicas that a Fleet is asked for and has, by its `scale` subresource.
fn scale_of(scene: &Scene, namespace: &str, fleet: &str) -> Result<String> {
    let path = format!("/apis/scenes.example.com/v1/namespaces/{namespace}/fleets/{fleet}/scale");
    let scale = tokio::task::block_in_place(|| scene.world.kubectl(&["get", "--raw", &path], ""))?;
    let scale: serde_json::Value = serde_json::from_str(&scale).context("not JSON")?;
    Ok(format!("{} {}", scale["spec"]["replicas"], scale["status"]["replicas"]))
}

#[test]
fn pods_that_a_custom_resource_makes_itself_follow_as_its_scale_says() {
    scene("scaled", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s");
        let _operator = web.fleet_of_pods(3).await?;
        assert_eq!(scale_of(scene, &namespace, "web")?, "3 3");
        assert_eq!(scene.zones(&namespace).await?, "3 in dc1");
        until("all to serve", async || Ok((web.pod_names().await?.len() == 3).then_some(()))).await?;
        let witness = Witness::of(scene, &namespace).await?;
        eventually("all to serve", 3, async || Ok(witness.seen().serving().len())).await?;
        let witness = Witness::of(scene, &namespace).await?;

        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (3, 0));
        assert_eq!(scene.zones(&namespace).await?, "3 in dc3");
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(2), 3, 6), "without a budget one");
        Ok(())
    });
}

#[test]
fn a_rollout_of_argos_is_restarted_in_the_version_that_it_is_of() {
    scene("rollout", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(keys::MOVE, "restart").says(READY_DELAY, "500ms");
        let _controller = web.rollout(3).await?;
        web.budget().await?;
        let rollouts = scene.rollouts(&namespace)?;
        let before = rollouts.get("web").await?;
        assert_eq!(scene.zones(&namespace).await?, "3 in dc1");
        let witness = Witness::of(scene, &namespace).await?;

        // Without the component's rights its pods are counted, and it can't be restarted.
        patroni.switchover("pg3", 2);
        let why = "web: CannotRestart: its Rollout isn't known: the component deploy/components/argo-rollouts lets it be read and \
                   restarted: write switchover.dev/move: evict";
        eventually("what is held", vec![why.to_owned(); 3], async || scene.held(&namespace).await).await?;
        tokio::task::block_in_place(|| scene.argo_rollouts())?;

        eventually("every pod near pg3", "3 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        until("the restart to be over", async || Ok(scene.status().await?.moving.is_empty().then_some(()))).await?;
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(2), 3, 6), "each pod once");
        let after = rollouts.get("web").await?;
        assert_eq!(after.annotations()[keys::RESTARTED_FOR], "rollout/2");
        assert!(after.data["spec"]["restartAt"].is_string());
        assert_eq!(after.data["spec"]["template"], before.data["spec"]["template"], "it is no new version");
        assert_eq!(after.data["status"]["restartedAt"], after.data["spec"]["restartAt"]);
        the_controller_may_change_nothing_of_a_rollout_but_when_it_restarts(scene).await
    });
}

#[test]
fn pods_of_a_custom_resource_stay_where_its_replicas_or_its_template_are_not_known() {
    scene("custom", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let _operator = scene.workload(&namespace, "own").crate_of_pods(2).await?;
        scene.workload(&namespace, "restarted").says(keys::MOVE, "restart").fleet_of_a_replica_set(1).await?;
        assert_eq!(scene.zones(&namespace).await?, "3 in dc1");
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        let held = [
            "own: UnknownWorkload: the number of replicas of a Crate is not known",
            "own: UnknownWorkload: the number of replicas of a Crate is not known",
            "restarted: CannotRestart: a Fleet can't be restarted by its template: write switchover.dev/move: evict",
        ];
        let held = held.map(str::to_owned).to_vec();
        eventually("what is held", held.clone(), async || scene.held(&namespace).await).await?;
        stays("what is held", SEVERAL_TICKS, held, async || scene.held(&namespace).await).await?;
        assert_eq!(witness.seen().evicted, BTreeSet::new());
        Ok(())
    });
}

#[test]
fn a_single_replica_whose_rollout_surges_is_restarted_without_an_outage() {
    scene("single", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        scene.workload(&namespace, "web").says(READY_DELAY, "1s").deployment(1).await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (1, 0));
        assert_eq!(scene.zones(&namespace).await?, "1 in dc3");
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(1), 0, 2));
        Ok(())
    });
}

#[test]
fn a_single_replica_that_would_be_away_stays_unless_it_is_allowed_to() {
    scene("alone", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        scene.workload(&namespace, "db").stateful_set(1).await?;
        scene.workload(&namespace, "web").rolled_out(0, 1).deployment(1).await?;
        scene.workload(&namespace, "brave").says(keys::MOVE, "evict").recreated().deployment(1).await?;
        assert_eq!(scene.zones(&namespace).await?, "3 in dc1");
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (1, 2));
        let held = |app: &str, why: &str| {
            format!(
                "{app}: SingleReplica: it is the only replica of its workload, and {why}: to allow the outage, annotate pod or \
                 namespace with switchover.dev/move: evict"
            )
        };
        let all = vec![
            held("db", "its StatefulSet ends every pod before it starts a new one"),
            held("web", "its Deployment has maxSurge: 0, which ends pods before new ones start"),
        ];
        assert_eq!(scene.held(&namespace).await?, all);
        assert_eq!(scene.zones(&namespace).await?, "2 in dc1, 1 in dc3");
        assert_eq!(witness.seen().evicted.len(), 1);
        Ok(())
    });
}

#[test]
fn a_restart_that_would_end_pods_too_early_ends_nobody() {
    scene("early", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let restarted = |name| scene.workload(&namespace, name).says(keys::MOVE, "restart");
        restarted("recreated").recreated().deployment(3).await?;
        let set = restarted("set");
        set.stateful_set(2).await?;
        set.budget_of("all", 0).await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (0, 5));
        let recreated = "recreated: CannotRestart: its Deployment has the strategy Recreate, which ends every pod before it \
                         starts a new one: write switchover.dev/move: evict";
        let set = "set: NoDisruptionBudget: the disruption budget all allows no eviction now";
        assert_eq!(scene.held(&namespace).await?, [recreated, recreated, recreated, set, set]);
        assert_eq!((witness.seen().fewest_serving, witness.seen().ever.len()), (Some(5), 5));
        Ok(())
    });
}

#[test]
fn pods_of_the_systems_namespace_stay_whoever_labelled_it() {
    scene("system", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let namespaces: Api<Namespace> = Api::all(scene.client.clone());
        let label = |value: Option<&str>| Patch::Merge(json!({"metadata": {"labels": {keys::FOLLOW: value}}}));
        let cordon = async |cordoned: bool| -> Result<()> {
            for node in ["dc3-1", "dc3-2"] {
                scene.patch_node(node, json!({"spec": {"unschedulable": cordoned}})).await?;
            }
            Ok(())
        };
        // Nothing draws them anywhere: only here is room.
        cordon(true).await?;
        let system = scene.workload("kube-system", "system-dns");
        system.deployment(2).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        cordon(false).await?;
        namespaces.patch("kube-system", &PatchParams::default(), &label(Some(scene.name))).await?;

        patroni.switchover("pg3", 2);
        let over = scene.its_database().movement_over(2).await?;
        let held = scene.held("kube-system").await?;
        namespaces.patch("kube-system", &PatchParams::default(), &label(None)).await?;
        let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), "kube-system");
        deployments.delete("system-dns", &DeleteParams::default()).await?;
        let why = "system-dns: NotInjected: pods of kube-system and of switchover's own namespace are left alone, so nothing \
                   would draw its replacement nearer";
        assert_eq!((over, held), ((2, 2), vec![why.to_owned(); 2]));
        Ok(())
    });
}

#[test]
fn pods_of_a_deployment_that_recreates_its_pods_are_evicted_one_at_a_time() {
    scene("recreated", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "500ms").recreated();
        web.deployment(3).await?;
        web.budget().await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (3, 0));
        assert_eq!(scene.zones(&namespace).await?, "3 in dc3");
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(2), 3, 6));
        Ok(())
    });
}
