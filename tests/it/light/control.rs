//! What people say of when pods move: a dry run, pauses, the wish that a workload be moved now, and what nobody understands.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{SEVERAL_TICKS, Scene, Witness, eventually, scene, stays};

/// Runs the product as the administrator.
fn run(scene: &Scene, arguments: &[&str]) -> Result<String> {
    block_in_place(|| scene.world.switchover(arguments))
}

async fn annotate(scene: &Scene, namespace: &str, deployment: &str, annotations: Value) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    deployments.patch(deployment, &PatchParams::default(), &patch).await?;
    Ok(())
}

#[test]
fn a_dry_run_says_where_each_pod_would_go_and_touches_nothing() {
    scene("dry", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"mode": "DryRun"}})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        assert_eq!(scene.zones(&namespace).await?, "2 in dc1");
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        let look = async || {
            let moving =
                scene.condition(scene.name, "Moving").await?.map(|(status, reason, _)| format!("{status} {reason}"));
            let rows = scene.status().await?.held_workloads;
            let rows: Vec<_> =
                rows.iter().map(|it| format!("{} {} {} {}", it.kind, it.name, it.reason, it.pods)).collect();
            Ok((scene.zones(&namespace).await?, moving.unwrap_or_default(), rows))
        };
        let dry = ("2 in dc1".to_owned(), "False DryRun".to_owned(), vec!["Deployment web DryRun 2".to_owned()]);
        eventually("what would be moved", dry.clone(), look).await?;
        stays("the dry run", SEVERAL_TICKS, dry, look).await?;
        assert_eq!(witness.seen().evicted.len(), 0);
        scene.patch_database(json!({"movement": {"mode": "Auto"}})).await?;
        eventually("the movement", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await
    });
}

#[test]
fn a_pause_of_a_workload_or_a_namespace_says_who_and_why_and_holds_nobody_else() {
    scene("pauses", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        scene.workload(&namespace, "api").deployment(2).await?;
        let workload = format!("{namespace}/web");
        let said = run(scene, &["pause", "--workload", &workload, "--reason", "a load test"])?;
        assert_eq!(
            said,
            format!("the Deployment web of {namespace} is paused: labels and admission go on, and no pod is moved\n")
        );
        patroni.switchover("pg3", 2);
        let look = async || anyhow::Ok((scene.zones(&namespace).await?, scene.held(&namespace).await?));
        let held = |what: &str, by: &str| format!("{what} (switchover.dev/paused) by {by}: a load test");
        eventually("the other workload", "2 in dc1, 2 in dc3".to_owned(), async || scene.zones(&namespace).await)
            .await?;
        let (_, told) = look().await?;
        let by = told.first().and_then(|told| told.split_once(" by ")?.1.strip_suffix(": a load test"));
        let by = by.context("nobody is named")?;
        let expected = vec![format!("web: PausedByAnnotation: {}", held("its Deployment web is paused", by)); 2];
        let paused = ("2 in dc1, 2 in dc3".to_owned(), expected);
        stays("the pause", SEVERAL_TICKS, paused, look).await?;
        // The namespace's pause comes first, and goes first.
        run(scene, &["pause", "--namespace", &namespace, "--reason", "a load test", "--for", "1h"])?;
        run(scene, &["resume", "--workload", &workload])?;
        eventually("the namespace's pause", true, async || {
            let told = scene.held(&namespace).await?;
            Ok(told.len() == 2
                && told.iter().all(|told| told.contains(&format!("its namespace {namespace} is paused"))))
        })
        .await?;
        assert_eq!(
            run(scene, &["resume", "--namespace", &namespace])?,
            format!("the namespace {namespace} is not paused any more\n")
        );
        eventually("the movement", ("4 in dc3".to_owned(), vec![]), look).await
    });
}

#[test]
fn a_workload_that_somebody_asks_for_moves_before_the_primary_has_settled() {
    scene("asked", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "1h"}})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        scene.workload(&namespace, "api").deployment(2).await?;
        patroni.switchover("pg3", 2);
        eventually("everybody to wait", 4, async || Ok(scene.held(&namespace).await?.len())).await?;
        let workload = format!("{namespace}/deployment/web");
        let dry = run(scene, &["move", &workload, "--dry-run"])?;
        assert!(
            dry.contains(" moves: evicted: there is room on ") && dry.ends_with("Nothing was changed (--dry-run).\n"),
            "{dry}"
        );
        assert_eq!(scene.zones(&namespace).await?, "4 in dc1");
        let asked = run(scene, &["move", &workload])?;
        assert!(asked.contains("Asked for 10 minutes"), "{asked}");
        let expected = "2 in dc1, 2 in dc3".to_owned();
        eventually("the workload", expected.clone(), async || scene.zones(&namespace).await).await?;
        stays("the others", SEVERAL_TICKS, expected, async || scene.zones(&namespace).await).await
    });
}

#[test]
fn an_annotation_on_the_deployment_in_place_of_its_template_holds_and_says_so() {
    scene("misread", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        annotate(scene, &namespace, "web", json!({"switchover.dev/move": "never"})).await?;
        patroni.switchover("pg3", 2);
        let held = "web: Misread: the annotation switchover.dev/move stands on the Deployment itself, where nobody reads it: write it \
                    into the pod template (spec.template.metadata.annotations)";
        let misread = vec![held.to_owned(); 2];
        eventually("the mistake", misread.clone(), async || scene.held(&namespace).await).await?;
        stays("the mistake", SEVERAL_TICKS, misread, async || scene.held(&namespace).await).await?;
        annotate(scene, &namespace, "web", json!({"switchover.dev/move": null})).await?;
        eventually("the movement", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await
    });
}
