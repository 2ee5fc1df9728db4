//! What tools that know nothing of databases learn of one: `kubectl wait`, columns, kstatus; and who may read and write them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use lab::{
    prepare::prepare_program,
    tools::{Cache, KSTATUS},
};
use serde_json::{Value, json};
use switchover::api::keys;

use super::support::{Patroni, Says, Scene, eventually, objects::NEAR_PG1, scene, until};

/// The conditions of the three kinds, each as `Type=Status Reason`.
async fn standing(scene: &Scene) -> Result<Vec<String>> {
    let conditions = scene.status().await?.conditions;
    let own = conditions.iter().filter(|it| ["Ready", "Reconciling", "Stalled"].contains(&&*it.type_));
    let mut own: Vec<String> = own.map(|it| format!("{}={} {}", it.type_, it.status, it.reason)).collect();
    own.sort();
    Ok(own)
}

#[test]
fn tools_wait_for_a_database_and_see_why_it_is_not_ready() {
    scene("standing", async |scene| {
        let _namespace = scene.namespace("shop", None, json!({})).await?;
        scene.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        let target = format!("dbc/{}", scene.name);
        tokio::task::block_in_place(|| {
            scene.world.kubectl(&["wait", "--for=condition=Ready", &target, "--timeout=40s"], "")
        })?;
        scene.labelled(NEAR_PG1).await?;
        eventually("nothing to be under way", vec!["Ready=True Following".to_owned()], async || standing(scene).await)
            .await?;
        let columns = tokio::task::block_in_place(|| scene.world.kubectl(&["get", &target], ""))?;
        let mut lines = columns.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            lines.next().context("a head")?,
            ["NAME", "READY", "REASON", "PRIMARY", "SINCE", "CLOSELY", "FAR", "MOVING", "AGE"]
        );
        let row = lines.next().context("a row")?;
        assert_eq!(row[..4], [scene.name, "True", "Following", "pg1"]);

        patroni.let_all_say(Says::Down);
        let unknown = ["Ready=False PrimaryUnknown", "Reconciling=True PrimaryUnknown"].map(str::to_owned).to_vec();
        eventually("the primary to be unknown", unknown, async || standing(scene).await).await?;

        // Another manager's condition stays beside ours, and goes with its manager.
        let theirs = json!({
            "type": "Audited", "status": "True", "reason": "ByHand", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let apply = |conditions: Value| {
            Patch::Apply(json!({
                "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "status": {"conditions": conditions},
            }))
        };
        let databases = scene.databases();
        databases.patch_status(scene.name, &PatchParams::apply("auditor"), &apply(json!([theirs]))).await?;
        patroni.switchover("pg1", 1);
        eventually("the primary to be known again", vec!["Ready=True Following".to_owned()], async || {
            standing(scene).await
        })
        .await?;
        assert!(scene.condition(scene.name, "Audited").await?.is_some(), "what others say is left to them");
        databases.patch_status(scene.name, &PatchParams::apply("auditor"), &apply(json!([]))).await?;
        assert_eq!(scene.condition(scene.name, "Audited").await?, None);
        assert_eq!(standing(scene).await?, ["Ready=True Following"]);
        Ok(())
    });
}

/// What kstatus says of a DatabaseCluster as it is now.
fn kstatus(program: &std::path::Path, scene: &Scene, database: &str) -> Result<String> {
    let object = scene.world.kubectl(&["get", "dbc", database, "-o", "json"], "")?;
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("kstatus has no input")?.write_all(object.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "kstatus can't read {object}");
    let said = String::from_utf8(output.stdout)?;
    Ok(said.split(':').next().unwrap_or_default().to_owned())
}

#[test]
#[ignore = "builds a program that nothing else needs: make test-kstatus"]
fn kstatus_waits_for_a_database_gives_up_on_one_that_is_refused_and_takes_one_that_follows() {
    scene("kstatus", async |scene| {
        let program = tokio::task::block_in_place(|| {
            prepare_program(&Cache::from_environment()?, &KSTATUS, &|line| println!("{line}"))
        })?
        .join("kstatus");
        let says = async |database: &str| tokio::task::block_in_place(|| kstatus(&program, scene, database));
        scene.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(scene.name).await?;
        patroni.let_all_say(Says::Down);
        scene.database(&patroni, json!({})).await?;
        // At once, before any controller has looked at it.
        assert_eq!(says(scene.name).await?, "InProgress");
        scene.condition_becomes(scene.name, "PrimaryKnown", "False").await?;
        assert_eq!(says(scene.name).await?, "InProgress");
        patroni.switchover("pg1", 1);
        eventually("kstatus to take it for done", "Current".to_owned(), async || says(scene.name).await).await?;
        // Who came first keeps its key.
        let second = format!("{}-2", scene.name);
        let taken = json!({"nodeLabel": keys::default_node_label(scene.name)});
        scene.database_at(&second, &patroni.urls(), taken).await?;
        eventually("kstatus to give up", "Failed".to_owned(), async || says(&second).await).await
    });
}

#[test]
fn whoever_views_a_cluster_sees_databases_and_only_an_editor_of_them_writes_them() {
    scene("viewers", async |scene| {
        let may = |role: &str, verb: &str| -> Result<bool> {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role, "namespace": "default"}});
            let name = format!("{}-{role}", scene.name);
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name, "labels": scene.mark()},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": "default"}],
            });
            let list = json!({"apiVersion": "v1", "kind": "List", "items": [account, binding]}).to_string();
            scene.world.kubectl(&["apply", "--server-side", "-f", "-"], &list)?;
            let user = format!("--as=system:serviceaccount:default:{role}");
            let output = scene.world.bed.try_kubectl(&["auth", "can-i", verb, "databaseclusters", &user], "")?;
            Ok(String::from_utf8_lossy(&output.stdout).trim() == "yes")
        };
        for (role, verb, expected) in [
            ("view", "list", true),
            ("view", "patch", false),
            ("edit", "patch", false),
            ("admin", "create", false),
            ("switchover-editor", "create", true),
            ("switchover-editor", "delete", true),
        ] {
            // Aggregated roles, and the authorizer, hear of it a moment later.
            let what = format!("{role} to have the right to {verb}: {expected}");
            until(&what, async || Ok((tokio::task::block_in_place(|| may(role, verb))? == expected).then_some(())))
                .await?;
        }
        Ok(())
    });
}

#[test]
fn what_is_logged_changes_while_a_role_runs() {
    scene("logged", async |scene| {
        let file = scene.world.bed.directory().join("filter");
        let (from, kubeconfig) = (format!("--log-from={}", file.display()), scene.world.bed.kubeconfig());
        let arguments = ["ui", "--port=0", "--log=warn", &from];
        let (_ui, log) = tokio::task::block_in_place(|| scene.world.start_tool("logged-ui", &kubeconfig, &arguments))?;
        let logged = |word: &'static str| {
            let log = log.clone();
            async move { until(word, async || Ok(std::fs::read_to_string(&log)?.contains(word).then_some(()))).await }
        };
        std::fs::write(&file, "info,switchover=debug\n")?;
        logged("what is logged has changed").await?;
        std::fs::write(&file, "no level==\n")?;
        logged("what is logged stays as it is").await
    });
}
