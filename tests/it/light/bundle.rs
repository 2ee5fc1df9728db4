//! `switchover report`: what is in it, what never is, and that another machine can read it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    certificates::following,
    support::{Scene, upheaval, world::NAMESPACE},
};

/// A word of a secret: whoever finds it in a report has found a leak.
const PLANTED: &str = "planted-hunter2";

#[test]
fn a_report_can_be_read_elsewhere_and_holds_no_secret() {
    upheaval("support", async |scene| {
        let (_patroni, _shop) = following(scene).await?;
        plant(scene)?;
        let directory = scene.world.bed.directory().join("report");
        fs::create_dir_all(&directory)?;
        let file = directory.join("report.tar.gz");
        let path = file.display().to_string();
        let said = made(scene, &scene.world.bed.kubeconfig(), &path)?;
        ensure!(said.contains("Read it on another machine"), "{said}");

        let unpacked = unpack(&file)?;
        let text = |name: &str| fs::read_to_string(unpacked.join(name)).with_context(|| format!("no {name}: {said}"));
        let readme = text("README.md")?;
        for name in
            ["check.json", "status.json", "version.json", "objects/databaseclusters.json", "objects/leases.json"]
        {
            ensure!(readme.contains(&format!("| {name} |")), "{name}: {readme}");
            serde_json::from_str::<Value>(&text(name)?).with_context(|| format!("{name} is no JSON"))?;
        }
        ensure!(readme.ends_with("## What is missing\n\nNothing.\n"), "{readme}");
        ensure!(text("objects/databaseclusters.json")?.contains(scene.name), "the database is there");
        ensure!(
            text("objects/deployments.json")?.contains("PGPASSWORD"),
            "and the Deployment that has something to hide"
        );
        ensure!(text("objects/events-of-the-namespace.json")?.contains("postgres://***@db"), "and the event");
        nothing_planted_in(&unpacked)?;

        // Elsewhere, where there is no cluster.
        let nowhere = Path::new("/nowhere");
        let (_, plan, told) =
            block_in_place(|| scene.world.switchover_as(nowhere, &["plan", "-f", &path, "-o", "json"]))?;
        let plan: Value = serde_json::from_str(&plan).with_context(|| told)?;
        ensure!(plan["databases"][0]["database"] == scene.name, "{plan}");
        ensure!(plan["databases"][0]["primary"] == "pg1", "{plan}");
        let (status, replayed, told) = block_in_place(|| scene.world.switchover_as(nowhere, &["replay", &path]))?;
        ensure!(status == 0 && replayed.contains("Known       pg1 (timeline"), "{replayed} {told}");

        // Whoever may only view makes one, too, and both he and whoever gets it learn what it lacks.
        let viewer = scene.world.viewer("bundle-viewer").await?;
        let file = directory.join("viewer.tar.gz");
        let said = made(scene, &viewer, &file.display().to_string())?;
        ensure!(said.contains("missing: a snapshot, for switchover plan: "), "{said}");
        let unpacked = unpack(&file)?;
        block_in_place(|| scene.world.kubectl(&["delete", "deployment,event", "planted", "-n", NAMESPACE], ""))?;
        let readme = fs::read_to_string(unpacked.join("README.md"))?;
        ensure!(readme.contains("- a snapshot, for switchover plan: "), "{readme}");
        ensure!(readme.contains("| objects/databaseclusters.json |"), "{readme}");
        let (status, _, told) =
            block_in_place(|| scene.world.switchover_as(nowhere, &["plan", "-f", &file.display().to_string()]))?;
        ensure!(status == 1 && told.contains("the report has no snapshot.json: its README.md says why"), "{told}");
        nothing_planted_in(&unpacked)
    });
}

fn made(scene: &Scene, kubeconfig: &Path, file: &str) -> Result<String> {
    let arguments = ["report", "-o", file, "--record", "2s"];
    let (status, _, said) = block_in_place(|| scene.world.switchover_as(kubeconfig, &arguments))?;
    ensure!(status == 0, "{said}");
    Ok(said)
}

/// Names of what a report, made now, has of a kind.
pub(super) fn names_in_a_report(scene: &Scene, kind: &str) -> Result<Vec<String>> {
    let directory = scene.world.bed.directory().join(format!("report-{}", scene.name));
    fs::create_dir_all(&directory)?;
    let file = directory.join("report.tar.gz");
    made(scene, &scene.world.bed.kubeconfig(), &file.display().to_string())?;
    let text = fs::read_to_string(unpack(&file)?.join(format!("objects/{kind}.json")))?;
    let objects: Vec<Value> = serde_json::from_str(&text)?;
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(objects.iter().map(name).collect())
}

/// Where people put what nobody else should read.
fn plant(scene: &Scene) -> Result<()> {
    let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE, "labels": scene.mark()});
    let mut deployment = metadata("planted");
    deployment["labels"]["app.kubernetes.io/name"] = "switchover".into();
    let labels = json!({"app": "planted"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("planted"), "stringData": {"password": PLANTED}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": deployment,
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{
                "name": "c", "image": "i", "env": [{"name": "PGPASSWORD", "value": PLANTED}],
                "args": [format!("--url=http://ann:{PLANTED}@db:8008")],
            }]}},
        },
    });
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": metadata("planted"), "type": "Warning", "reason": "Planted",
        "message": format!("can't connect to postgres://ann:{PLANTED}@db"),
        "involvedObject": {"kind": "Deployment", "namespace": NAMESPACE, "name": "planted"},
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [secret, deployment, event]});
    block_in_place(|| scene.world.kubectl(&["apply", "--server-side", "-f", "-"], &list.to_string()))?;
    let annotation = format!("kubectl.kubernetes.io/last-applied-configuration={PLANTED}");
    block_in_place(|| scene.world.kubectl(&["annotate", "databasecluster", scene.name, &annotation], ""))?;
    Ok(())
}

/// The folder in it.
fn unpack(file: &Path) -> Result<std::path::PathBuf> {
    let to = file.with_extension("unpacked");
    fs::create_dir_all(&to)?;
    let output = Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(&to).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = fs::read_dir(&to)?.next().context("an empty report")??;
    Ok(folder.path())
}

fn nothing_planted_in(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            nothing_planted_in(&path)?;
        } else {
            let bytes = fs::read(&path)?;
            let text = String::from_utf8_lossy(&bytes);
            // As it is, and as Secrets hold it.
            let leaks = [PLANTED, "cGxhbnRlZC1odW50ZXIy"].into_iter().any(|word| text.contains(word));
            ensure!(!leaks, "{} holds a secret", path.display());
        }
    }
    Ok(())
}
