//! What people write wrong is refused or told with a sentence that says what to write, and stops nothing else.

use std::net::TcpListener;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject},
};
use lab::table::play_rows;
use serde_json::{Value, json};
use switchover::{
    api::{DatabaseCluster, keys},
    core::label_key::LabelKey,
};

use super::support::{Patroni, Scene, eventually, scene, until};

const NEAR_PG1: &str = "dc1-1=closely dc3-1=far";
const NEAR_PG3: &str = "dc1-1=far dc3-1=closely";

/// What the API server says to a database with this name and spec, without making one. `Ok`: nothing is wrong with it.
async fn tried(scene: &Scene, name: &str, spec: &Value) -> Result<(), String> {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "switchover.dev/v1alpha1",
        "kind": "DatabaseCluster",
        "metadata": {"name": name},
        "spec": spec,
    }))
    .expect("an object");
    let api: Api<DynamicObject> = Api::all_with(scene.client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
    match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 422 => Err(status.message),
        Err(error) => panic!("neither taken nor refused as invalid: {error}"),
    }
}

#[test]
fn wrong_databases_are_refused_with_a_sentence_that_says_what_to_write() {
    scene("invalid", async |scene| {
        let urls = |urls: &[&str]| json!({"discovery": {"patroni": {"urls": urls}}});
        let patroni = |field: &str, value: Value| json!({"discovery": {"patroni": {field: value}}});
        let operator = |kind: &str| json!({"kind": kind, "namespace": "shop", "cluster": "orders"});
        let sql = |changes: Value| {
            let mut sql = json!({
                "engine": "PostgreSQL", "members": [{"name": "pg1", "host": "a"}], "basicAuth": {"secretName": "login"},
            });
            json_patch::merge(&mut sql, &changes);
            json!({"discovery": {"patroni": null, "sql": sql}})
        };
        let tiers = |rules: Value| json!({"tiers": rules});
        let movement = |rules: Value| json!({"movement": rules});
        let (name, base) = ("orders", "spec.discovery.patroni.urls: write base URLs without a path, such as");
        let too_long = "a".repeat(64);
        let label_key = "spec.nodeLabel: write a label key: a name of at most 63 letters";
        let rows = [
            ("none", json!({}), "metadata.name: 'none' opts pods out of following"),
            ("orders.eu", json!({}), "write a name without dots, such as orders-eu"),
            (&*too_long, json!({}), "write a name of at most 63 characters"),
            (name, json!({"discovery": null}), "spec.discovery: Required value"),
            (name, json!({"discovery": {"patroni": null}}), "spec.discovery: name exactly one source: write"),
            (
                name,
                json!({"discovery": {"operator": operator("Patroni")}}),
                "spec.discovery: name exactly one source: write",
            ),
            (
                name,
                json!({"discovery": {"patroni": null, "operator": operator("Oracle")}}),
                "spec.discovery.operator.kind: Unsupported value: \"Oracle\"",
            ),
            (
                name,
                json!({"discovery": {"patroni": null, "operator": {
                    "kind": "CloudNativePG", "namespace": "shop", "cluster": "orders", "scope": "batman",
                }}}),
                "spec.discovery.operator.scope: CloudNativePG has no Patroni: leave it out",
            ),
            (name, sql(json!({"members": []})), "spec.discovery.sql.members in body should have at least 1 items"),
            (
                name,
                sql(json!({"members": [{"name": "pg1", "host": "a"}, {"name": "pg1", "host": "b"}]})),
                "spec.discovery.sql.members: two have the same name: write another one",
            ),
            (name, sql(json!({"engine": "Oracle"})), "spec.discovery.sql.engine: Unsupported value: \"Oracle\""),
            (
                name,
                sql(json!({"engine": "MariaDB", "database": "orders"})),
                "spec.discovery.sql.database: MySQL and MariaDB are asked without one: leave it out",
            ),
            (
                name,
                sql(json!({"unencrypted": true, "tls": {"secretName": "ca"}})),
                "spec.discovery.sql: tls and unencrypted exclude each other: leave one out",
            ),
            (name, json!({"discovery": {"patroni": {"urls": null}}}), "spec.discovery.patroni.urls: Required value"),
            (name, urls(&[]), "spec.discovery.patroni.urls in body should have at least 1 items"),
            (name, urls(&["ftp://pg1:8008"]), base),
            (name, urls(&["pg1:8008"]), base),
            (name, urls(&["http://pg1:8008/primary"]), base),
            (name, urls(&["http://pg1:8008", "http://"]), base),
            (
                name,
                patroni("timeout", "11s".into()),
                "spec.discovery.patroni.timeout: write a time between 100ms and 10s",
            ),
            (
                name,
                patroni("interval", "10ms".into()),
                "spec.discovery.patroni.interval: write a time between 200ms and 1m",
            ),
            (name, patroni("interval", "1 second".into()), "spec.discovery.patroni.interval in body should match"),
            (
                name,
                patroni("tls", json!({"secretName": "orders-pg"})),
                "spec.discovery.patroni.tls needs URLs with TLS: write https:// in each of urls",
            ),
            (
                name,
                patroni("basicAuth", json!({"secretName": "orders-pg"})),
                "spec.discovery.patroni.basicAuth would send the password in the clear: write https:// in each of urls",
            ),
            (
                name,
                patroni("tls", json!({})),
                "spec.discovery.patroni.tls: write a secretName, a serverName or both, or leave tls out",
            ),
            (
                name,
                patroni("tls", json!({"serverName": "https://pg1"})),
                "tls.serverName: write a DNS name, such as patroni.example.com",
            ),
            (name, patroni("tls", json!({"secretName": "a/b"})), "secretName: write the name of a Secret"),
            (
                name,
                patroni("allowedHosts", json!(["https://pg1"])),
                "spec.discovery.patroni.allowedHosts: write names, suffixes, addresses or networks",
            ),
            (name, patroni("basicAuth", json!({})), "spec.discovery.patroni.basicAuth.secretName: Required value"),
            (name, json!({"nodeLabel": "node.kubernetes.io/near"}), "write a key of your own, such as switchover"),
            (name, json!({"nodeLabel": "far away"}), label_key),
            (name, json!({"nodeLabel": "x".repeat(64)}), label_key),
            (name, json!({"nodeLabel": format!("example.com/{}", "x".repeat(64))}), label_key),
            (name, json!({"nodeLabel": "a..b/near"}), label_key),
            (name, json!({"nodeLabel": "a.-b/x"}), label_key),
            (name, json!({"nodeLabel": "a-.b/x"}), label_key),
            (name, json!({"nodeLabel": format!("{}/x", ["a"; 128].join("."))}), label_key),
            (
                name,
                tiers(json!({"window": "0s"})),
                "spec.tiers.window: write a time above 0s and up to 10s, such as 2ms",
            ),
            (
                name,
                tiers(json!({"window": "1m"})),
                "spec.tiers.window: write a time above 0s and up to 10s, such as 2ms",
            ),
            (
                name,
                tiers(json!({"closelyBelow": "10ms", "farAbove": "2ms"})),
                "spec.tiers: closelyBelow must not be greater than farAbove: write for example closelyBelow: 2ms",
            ),
            (name, tiers(json!({"window": "1ms", "margin": "1ms"})), "spec.tiers: margin must be smaller than window"),
            (name, tiers(json!({"confirmations": 0})), "should be greater than or equal to 1"),
            (name, tiers(json!({"staleAfter": "1s"})), "spec.tiers.staleAfter: write a time between 10s and 24h"),
            (
                name,
                json!({"taint": {"effect": "NoExecute"}}),
                "spec.taint.effect: NoExecute deletes pods past their PodDisruptionBudgets: write effect: NoSchedule",
            ),
            (
                name,
                json!({"taint": {"effect": "NoExecute", "evictWithoutBudgets": false}}),
                "if it is meant, write evictWithoutBudgets: true beside it",
            ),
            (
                name,
                json!({"taint": {"effect": "NoSchedule", "evictWithoutBudgets": true}}),
                "spec.taint.evictWithoutBudgets: only effect: NoExecute evicts: leave it out",
            ),
            (
                name,
                json!({"taint": {"effect": "Never"}}),
                "supported values: \"PreferNoSchedule\", \"NoSchedule\", \"NoExecute\"",
            ),
            (
                name,
                json!({"affinity": {"weight": 0}}),
                "spec.affinity.weight in body should be greater than or equal to 1",
            ),
            (
                name,
                json!({"affinity": {"weight": 101}}),
                "spec.affinity.weight in body should be less than or equal to 100",
            ),
            (
                name,
                json!({"affinity": {"mode": "soft"}}),
                "supported values: \"preferred\", \"avoid-far\", \"required\"",
            ),
            (name, movement(json!({"mode": "delete"})), "supported values: \"Off\", \"DryRun\", \"Auto\""),
            (name, movement(json!({"way": "delete"})), "supported values: \"auto\", \"evict\", \"restart\", \"never\""),
            (
                name,
                movement(json!({"fartherThan": "5ms"})),
                "spec.movement.fartherThan: it says who may be moved outside of windows: write windows beside it",
            ),
            (
                name,
                movement(json!({"windows": [{"schedule": "0 22 * * *", "duration": "10s"}]})),
                "spec.movement.windows.duration: write a time between 1m and 168h, such as 4h",
            ),
            (
                name,
                movement(json!({"settle": "48h"})),
                "spec.movement.settle: write a time of at most 24h, such as 30s",
            ),
            (
                name,
                movement(json!({"settle": "2m", "settleMax": "1m"})),
                "spec.movement: settle must not be greater than settleMax: write for example settle: 30s, settleMax: 5m",
            ),
            (
                name,
                movement(json!({"replacementTimeout": "1s"})),
                "spec.movement.replacementTimeout: write a time between 5s and 24h",
            ),
            (name, movement(json!({"maxConcurrent": 0})), "should be greater than or equal to 1"),
        ];
        play_rows(rows, async |(name, wrong, sentence)| {
            let mut spec = json!({"discovery": {"patroni": {"urls": ["http://pg1:8008"]}}});
            json_patch::merge(&mut spec, &wrong);
            let said = tried(scene, name, &spec).await.expect_err(&format!("{name} {wrong} was taken"));
            assert!(said.contains(sentence), "{name} {wrong}:\n expected {sentence}\n      saw {said}");
            Ok(())
        })
        .await;
        // What is at the edge of being wrong is right.
        let edge = json!({
            "discovery": {"patroni": {"urls": ["http://[fd00::1]:8008", "https://pg1.example.com/"]}},
            "nodeLabel": "node-restriction.kubernetes.io/near",
            "tiers": {"closelyBelow": "2ms", "farAbove": "2ms"},
            "affinity": {"mode": "avoid-far", "weight": 1},
            "taint": {"effect": "NoExecute", "evictWithoutBudgets": true},
        });
        assert_eq!(tried(scene, &"a".repeat(63), &edge).await, Ok(()));
        let all = json!({"discovery": {"patroni": {
            "urls": ["https://[fd00::1]:8008", "https://pg1.example.com/"],
            "tls": {"secretName": "orders-pg", "serverName": "patroni.example.com"},
            "basicAuth": {"secretName": "orders-login"},
        }}});
        assert_eq!(tried(scene, name, &all).await, Ok(()));
        Ok(())
    });
}

/// Texts that look like keys of labels, the same ones in each run.
fn perhaps_keys() -> Vec<String> {
    const ALPHABET: &[u8] = b"aZ0-._/ab.c";
    let mut state = 12_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let mut text = |most: usize| {
        let length = 1 + random(most);
        (0..length).map(|_| char::from(ALPHABET[random(ALPHABET.len())])).collect::<String>()
    };
    let mut keys: Vec<String> = (0..60).map(|_| text(8)).collect();
    keys.extend((0..20).map(|_| format!("{}/{}", text(6), text(4))));
    for (prefix, name) in [(0, 63), (0, 64), (1, 63), (253, 1), (253, 63), (254, 1)] {
        let prefix = if prefix == 0 { String::new() } else { format!("{}/", "p".repeat(prefix)) };
        keys.push(format!("{prefix}{}", "n".repeat(name)));
    }
    keys
}

#[test]
fn every_node_label_that_a_database_may_have_may_stand_in_pods_and_on_nodes() {
    scene("keys", async |scene| {
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), "default");
        let nodes: Api<Node> = Api::all(scene.client.clone());
        let try_out = PostParams { dry_run: true, ..PostParams::default() };
        let (mut taken, mut refused) = (0, 0);
        for key in perhaps_keys() {
            let spec = json!({"discovery": {"patroni": {"urls": ["http://pg1:8008"]}}, "nodeLabel": key});
            let says = tried(scene, "keys", &spec).await;
            assert_eq!(says.is_ok(), LabelKey::read(&key).is_ok(), "{key:?}: {says:?}");
            if says.is_err() {
                refused += 1;
                continue;
            }
            taken += 1;
            let near = json!({"key": key, "operator": "In", "values": ["closely"]});
            let pod = serde_json::from_value(json!({
                "metadata": {"name": "keys"},
                "spec": {
                    "containers": [{"name": "web", "image": "web"}],
                    "affinity": {"nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution":
                            {"nodeSelectorTerms": [{"matchExpressions": [near]}]},
                        "preferredDuringSchedulingIgnoredDuringExecution":
                            [{"weight": 100, "preference": {"matchExpressions": [near]}}],
                    }},
                },
            }))?;
            pods.create(&try_out, &pod).await.map_err(|error| anyhow::anyhow!("a pod with {key:?}: {error}"))?;
            let node = serde_json::from_value(json!({
                "metadata": {"name": "keys", "labels": {key.as_str(): "far"}},
                "spec": {"taints": [{"key": key, "value": "far", "effect": "NoSchedule"}]},
            }))?;
            nodes.create(&try_out, &node).await.map_err(|error| anyhow::anyhow!("a node with {key:?}: {error}"))?;
        }
        assert!(taken >= 10 && refused >= 10, "{taken} taken, {refused} refused");
        Ok(())
    });
}

#[test]
fn a_field_that_does_not_exist_is_refused_by_name() {
    scene("misspelt", async |scene| {
        let database = json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": {"name": scene.name},
            "spec": {"discovery": {"patroni": {"urls": ["http://pg1:8008"]}}, "movment": {"settle": "1m"}},
        });
        let refused = scene.world.kubectl(&["create", "-f", "-"], &database.to_string()).expect_err("it was taken");
        assert!(refused.to_string().contains("unknown field \"spec.movment\""), "{refused}");
        Ok(())
    });
}

#[test]
fn a_database_that_cannot_be_reached_says_so_and_no_other_notices() {
    scene("deaf", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (dead, url) = ("deaf-dead", format!("http://{nobody}"));
        scene.database_at(dead, std::slice::from_ref(&url), json!({})).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled(NEAR_PG1).await?;

        scene.condition_says(dead, "PrimaryKnown", "False", &format!("Unknown: no member answers: {url} (")).await?;
        let (_, message) = scene.condition_becomes(dead, "PrimaryKnown", "False").await?;
        assert!(message.contains("refused"), "{message}");
        eventually("the event", vec![message], async || scene.events(dead, "PrimaryUnknown").await).await?;
        assert_eq!(scene.tiers_of(dead).await?, "dc1-1=- dc3-1=-", "nothing is labelled for it");
        let moving = scene.condition(dead, "Moving").await?.map(|(status, reason, _)| (status, reason));
        assert_eq!(moving, Some(("False".to_owned(), "PrimaryNotConfirmed".to_owned())));

        patroni.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await?;
        // Corrected, it is followed like any other.
        let patch = Patch::Merge(json!({"spec": {"discovery": {"patroni": {"urls": patroni.urls()}}}}));
        scene.databases().patch(dead, &PatchParams::default(), &patch).await?;
        eventually("its labels", NEAR_PG3.to_owned(), async || scene.tiers_of(dead).await).await
    });
}

#[test]
fn a_namespace_that_follows_nobody_is_told_and_stops_nothing() {
    scene("lost", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        let lost = scene.namespace("lost", Some("nowhere"), json!({keys::WEIGHT: "much"})).await?;
        let told = until("an event for each mistake", async || {
            let told = scene.events(&lost, "WrongValue").await?;
            Ok((told.len() == 2).then_some(told))
        })
        .await?;
        for mistake in [
            "namespace annotation switchover.dev/weight \"much\": write a weight of 1 to 100",
            "namespace label switchover.dev/follow \"nowhere\": no such DatabaseCluster",
        ] {
            let one = told.iter().find(|note| note.starts_with(mistake)).expect(mistake);
            assert!(one.ends_with(" (see kubectl get databaseclusters)"), "others' databases stay unsaid: {one}");
        }
        let web = scene.workload(&lost, "web");
        web.deployment(2).await?;
        scene.labelled(NEAR_PG1).await?;
        patroni.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await?;

        // With the name of one that exists, its pods follow like any others.
        let patch = json!({"metadata": {"labels": {keys::FOLLOW: scene.name}, "annotations": {keys::WEIGHT: null}}});
        let namespaces: Api<Namespace> = Api::all(scene.client.clone());
        namespaces.patch(&lost, &PatchParams::default(), &Patch::Merge(patch)).await?;
        eventually("its pods", "2 in dc3".to_owned(), async || scene.zones(&lost).await).await
    });
}
