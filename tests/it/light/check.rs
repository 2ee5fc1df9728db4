//! `switchover check` on a real API server: nothing is found where all is well, and everything that somebody did wrong.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use switchover::{api::DatabaseCluster, certificates::authority};
use tokio::task::block_in_place;

use super::{
    certificates::following,
    support::{Scene, eventually, upheaval, world::CONTROLLERS},
};

/// The exit status, and of each check how it ended.
fn results(scene: &Scene, arguments: &[&str]) -> Result<(i32, BTreeMap<String, String>, Value)> {
    let (status, printed) =
        block_in_place(|| scene.world.switchover_with_status(&[arguments, &["-o", "json"]].concat()))?;
    read(status, &printed)
}

fn read(status: i32, printed: &str) -> Result<(i32, BTreeMap<String, String>, Value)> {
    let told: Value = serde_json::from_str(printed).context("not JSON")?;
    let checks = told["checks"].as_array().context("no checks")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let results = checks.iter().map(|check| (text(&check["id"]), text(&check["result"]))).collect();
    Ok((status, results, told))
}

/// Checks that ended so.
fn ended<'r>(results: &'r BTreeMap<String, String>, how: &str) -> Vec<&'r str> {
    results.iter().filter(|(_, result)| *result == how).map(|(id, _)| &**id).collect()
}

#[test]
fn nothing_is_found_where_all_is_well_and_what_runs_in_another_way_is_skipped() {
    upheaval("check-well", async |scene| {
        let (_patroni, shop) = following(scene).await?;
        // The condition comes once a minute at most, and says what data centres there are in this scene.
        let unsure = |mut results: BTreeMap<String, String>| {
            results.remove("failover");
            // Below.
            results.remove("zero-downtime");
            results
        };
        let skipped = [
            "admission-policy",
            "agents",
            "announced",
            "controllers",
            "credentials",
            "hosts",
            "taint",
            "webhooks",
            "witness",
        ];
        // A policy counts, and a status is written, a moment after.
        eventually("nothing to be wrong", (0, skipped.map(str::to_owned).to_vec(), Vec::new()), async || {
            let (status, results, _) = results(scene, &["check"])?;
            let results = unsure(results);
            let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let rest = ["warning", "unclear", "wrong"].map(|how| owned(ended(&results, how))).concat();
            Ok((status, owned(ended(&results, "skipped")), rest))
        })
        .await?;
        let (_, text) = block_in_place(|| scene.world.switchover_with_status(&["check"]))?;
        assert!(text.contains("it runs in another way: somebody renews their Lease"), "{text}");
        assert!(text.contains("√ the API server believes what each replica serves: https://127.0.0.1:"), "{text}");

        // What a workload lacks is a hint, and nothing is wrong for it.
        scene.workload(&shop, "web").deployment(1).await?;
        let (status, results_then, told) = results(scene, &["check"])?;
        assert_eq!((status, results_then.get("zero-downtime").map(String::as_str)), (0, Some("hint")), "{told:#}");
        let lacking = format!("deployment {shop}/web: no container has a readiness probe");
        assert!(told.to_string().contains(&lacking), "{told:#}");

        let (status, before, told) = results(scene, &["check", "--pre"])?;
        assert_eq!((status, ended(&before, "wrong")), (0, vec![]), "{told:#}");

        // Whoever may only look is told of what nobody lets him see.
        let viewer = scene.world.viewer("check-viewer").await?;
        let (status, printed, _) = block_in_place(|| scene.world.switchover_as(&viewer, &["check", "-o", "json"]))?;
        let (status, seen, told) = read(status, &printed)?;
        assert_eq!((status, ended(&seen, "wrong")), (1, vec![]), "{told:#}");
        for (id, how) in [
            ("accepted", "right"),
            ("primary", "right"),
            ("leader", "right"),
            ("policies", "unclear"),
            ("account-rights", "unclear"),
        ] {
            assert_eq!(seen.get(id).map(String::as_str), Some(how), "{id}: {told:#}");
        }
        Ok(())
    });
}

#[test]
fn everything_that_somebody_did_wrong_is_found() {
    upheaval("check-wrong", async |scene| {
        let (_patroni, _shop) = following(scene).await?;
        // Nobody mends anything.
        for controller in CONTROLLERS {
            scene.world.kill_role(controller)?;
        }
        let kept = Kept::take(scene)?;
        let found = damage(scene).await.and_then(|()| results(scene, &["check"]));
        kept.put_back(scene)?;
        let (status, results, told) = found?;
        assert_eq!(status, 3, "{told:#}");
        for id in ["accepted", "certificates", "policies", "readings", "webhook-configuration"] {
            assert_eq!(results.get(id).map(String::as_str), Some("wrong"), "{id}: {told:#}");
        }
        // And nothing that is as it was.
        for id in ["definitions", "account-rights", "no-more-rights", "policy-accounts", "opt-in", "databases"] {
            assert_eq!(results.get(id).map(String::as_str), Some("right"), "{id}: {told:#}");
        }
        let said = told.to_string();
        for sentence in [
            "the policy switchover-agent is bound by nothing, so that it forbids nothing",
            "the API server doesn't believe what https://127.0.0.1:",
            "pods are left out by an objectSelector",
            "the readings of 1 of 2 nodes are old: check-wrong-dc3-1",
            "somebody else has its nodeLabel",
        ] {
            assert!(said.contains(sentence), "{sentence}: {told:#}");
        }
        Ok(())
    });
}

/// What a scene leaves as it found it, whatever becomes of it.
struct Kept(Value);

const BINDING: &str = "validatingadmissionpolicybinding/switchover-agent";
const CONFIGURATION: &str = "mutatingwebhookconfiguration/switchover";

impl Kept {
    fn take(scene: &Scene) -> Result<Self> {
        let read = |what: &str| -> Result<Value> {
            let printed = block_in_place(|| scene.world.kubectl(&["get", what, "-o", "json"], ""))?;
            let mut object: Value = serde_json::from_str(&printed)?;
            for field in ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"] {
                object["metadata"].as_object_mut().context("no metadata")?.remove(field);
            }
            Ok(object)
        };
        Ok(Self(json!({"apiVersion": "v1", "kind": "List", "items": [read(BINDING)?, read(CONFIGURATION)?]})))
    }

    fn put_back(&self, scene: &Scene) -> Result<()> {
        block_in_place(|| scene.world.kubectl(&["replace", "--force", "-f", "-"], &self.0.to_string()))?;
        Ok(())
    }
}

async fn damage(scene: &Scene) -> Result<()> {
    let kubectl = |arguments: &[&str]| block_in_place(|| scene.world.kubectl(arguments, ""));
    kubectl(&["delete", BINDING])?;
    let another = authority::generate("127.0.0.1", "switchover-system", std::time::Duration::from_secs(86_400))?;
    let bundle = k8s_openapi::ByteString(another.ca_pem.into_bytes());
    let patch = json!({"webhooks": [{
        "name": "pods.switchover.dev",
        "clientConfig": {"caBundle": bundle},
        "objectSelector": {"matchLabels": {"inject": "yes"}},
    }]});
    kubectl(&["patch", CONFIGURATION, "--type=strategic", "-p", &patch.to_string()])?;
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(600);
    scene.measured_at("dc3-1", [20_000, 22_000, 300], old).await?;

    let databases: Api<DatabaseCluster> = Api::all(scene.client.clone());
    let mut status = databases.get(scene.name).await?.status.context("no status")?;
    let accepted = status.conditions.iter_mut().find(|it| it.type_ == "Accepted").context("not yet accepted")?;
    (accepted.status, accepted.reason) = ("False".into(), "NotAccepted".into());
    accepted.message = "somebody else has its nodeLabel".into();
    let conditions = json!({"status": {"conditions": status.conditions}});
    databases.patch_status(scene.name, &PatchParams::default(), &Patch::Merge(conditions)).await?;
    Ok(())
}
