//! Admission without a webhook: the policy injects what the webhook does, on the same API server and of the same pods; where it can't know
//! what the webhook knows it injects the weaker of the two; no pod is ever refused because of it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use switchover::{
    admission::policy,
    api::keys,
    core::affinity::{Node, pod, rules},
};

use super::{
    bundle::names_in_a_report,
    support::{
        Patroni, Scene, eventually,
        objects::NEAR_PG1,
        sides::{By, Sides},
        until, upheaval,
    },
};

/// Two data centres, a database that is followed, and a namespace for each side.
async fn stage(scene: &Scene) -> Result<(Patroni, Sides<'_>)> {
    scene.nodes(&[1, 3], 2).await?;
    let patroni = Patroni::start(scene.name).await?;
    scene.database(&patroni, json!({})).await?;
    scene.labelled(NEAR_PG1).await?;
    until("hard modes to be possible", async || Ok((scene.status().await?.hard_modes.len() == 2).then_some(())))
        .await?;
    let sides = Sides::set(scene.world, &scene.client, scene.name, json!(scene.mark())).await?;
    Ok((patroni, sides))
}

/// What is read of a pod here.
#[derive(Debug, Clone, PartialEq)]
struct Born {
    required: Value,
    preferred: Value,
    /// The first entry of what was recorded.
    record: Value,
}

impl Born {
    fn of(pod: &Pod) -> Self {
        let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
        let own = &spec["affinity"]["nodeAffinity"];
        let recorded = pod.annotations().get(keys::INJECTED).and_then(|text| serde_json::from_str::<Value>(text).ok());
        Self {
            required: own["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone(),
            preferred: own["preferredDuringSchedulingIgnoredDuringExecution"].clone(),
            record: recorded.map_or(Value::Null, |all| all[0].clone()),
        }
    }

    fn prefers(&self, term: &Value) -> bool {
        let key = |term: &Value| term["preference"].clone();
        self.preferred.as_array().into_iter().flatten().any(|own| key(own) == key(term))
    }

    fn prefers_all_of(&self, other: &Self) -> bool {
        other.preferred.as_array().into_iter().flatten().all(|term| self.prefers(term))
    }

    fn is_hard(&self) -> bool {
        ["required", "avoid-far"].iter().any(|mode| self.record["mode"] == *mode)
    }
}

/// Nodes of every kind that matters to the rules of the pods below.
fn nodes(key: &str) -> Vec<Node> {
    let tiers = ["closely", "intermediate", "far", ""];
    let both = tiers.iter().flat_map(|tier| ["a", "b", "3"].map(|zone| (*tier, zone)));
    both.enumerate()
        .map(|(number, (tier, zone))| {
            let labels = [(key, tier), ("zone", zone)].into_iter().filter(|(_, value)| !value.is_empty());
            Node::new(&format!("n{number}"), true, labels)
        })
        .collect()
}

/// Which of them the pod's own rules leave.
fn leaves(pod: &Pod, nodes: &[Node]) -> Result<Vec<bool>> {
    let text = serde_json::to_string(pod)?;
    let pod: pod::Pod<'_> = serde_json::from_str(&text)?;
    let spec = pod.spec.context("a pod has a spec")?;
    let mut free = |_| Ok::<(), std::convert::Infallible>(());
    Ok(nodes.iter().map(|node| rules::allow(&spec, node, &mut free) == Ok(true)).collect())
}

/// What came of all pods together.
#[derive(Debug, Default)]
struct Tally {
    same: usize,
    weaker: usize,
    refused_anyway: usize,
}

/// Checks every law for one pod.
async fn holds(sides: &Sides<'_>, pod: &Value, nodes: &[Node], tally: &mut Tally) -> Result<()> {
    let Ok(plain) = sides.create(By::Nobody, pod).await? else {
        tally.refused_anyway += 1;
        return Ok(());
    };
    let mut born = BTreeMap::new();
    let before = Born::of(&plain);
    for by in [By::Webhook, By::Policy, By::Both] {
        let made = sides.create(by, pod).await?;
        let made = made.unwrap_or_else(|said| panic!("{by:?} has the pod refused: {said}\n{pod}"));
        let grown = serde_json::to_string(&made)?.len().saturating_sub(serde_json::to_string(&plain)?.len());
        assert!(grown <= 64 * 1024, "{by:?}: {grown} bytes: {pod}");
        let (own, left) = (leaves(&plain, nodes)?, leaves(&made, nodes)?);
        assert!(own.iter().zip(&left).all(|(own, left)| *own || !left), "{by:?} loosened: {pod}");
        let now = Born::of(&made);
        assert!(now.is_hard() || own == left, "{by:?}: preferences must not exclude nodes: {pod}");
        // Injected once more by either, nothing is loosened; by the same one, nothing changes.
        let again = clean(&serde_json::to_value(&made)?);
        let twice = sides.create(by, &again).await?.map(|pod| Born::of(&pod));
        assert_eq!(twice.as_ref(), Ok(&now), "{by:?} twice: {pod}");
        born.insert(format!("{by:?}"), now);
    }
    let [webhook, policy, both] = [By::Webhook, By::Policy, By::Both].map(|by| &born[&format!("{by:?}")]);
    assert_eq!(both.required, webhook.required, "both at once require what the webhook does: {pod}");
    assert!(both.prefers_all_of(webhook), "both at once prefer what the webhook does: {pod}");
    if policy == webhook {
        tally.same += 1;
        assert_eq!(both, webhook, "both at once change nothing more: {pod}");
        return Ok(());
    }
    tally.weaker += 1;
    let has_rules = before.required != Value::Null || plain.spec.iter().any(|spec| spec.node_selector.is_some());
    let several = plain.annotations().get(keys::FOLLOW).is_some_and(|names| names.contains(','));
    assert!(has_rules || several, "the policy differs only where it can't know: {webhook:?} {policy:?} {pod}");
    assert_eq!(policy.required, before.required, "and is then the weaker one: {pod}");
    Ok(())
}

/// Without what only the API server writes.
fn clean(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    let kept = ["name", "generateName", "labels", "annotations", "ownerReferences"]
        .into_iter()
        .filter(|field| !metadata[field].is_null())
        .map(|field| (field.to_owned(), metadata[field].clone()));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": Value::Object(kept.collect()), "spec": pod["spec"]})
}

/// The recorded pods, as if they followed this database.
fn recorded(scene: &Scene) -> Result<Vec<(String, Value)>> {
    fn renamed(value: &Value, key: &str) -> Value {
        match value {
            Value::String(text) if text == "switchover" => key.into(),
            Value::Array(items) => items.iter().map(|item| renamed(item, key)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| {
                    (if name == "switchover" { key.to_owned() } else { name.clone() }, renamed(value, key))
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
    let (key, mut pods) = (keys::default_node_label(scene.name), Vec::new());
    let reviews = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reviews");
    for file in std::fs::read_dir(reviews)? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let review: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        let request = &review["request"];
        if request["operation"] != "CREATE"
            || request["resource"]["resource"] != "pods"
            || request["subResource"].is_string()
        {
            continue;
        }
        let mut pod = clean(&renamed(&request["object"], &key));
        if let Some(follow) = pod["metadata"]["annotations"][keys::FOLLOW].as_str() {
            pod["metadata"]["annotations"][keys::FOLLOW] = follow.replace("default", scene.name).into();
        }
        pods.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), pod));
    }
    pods.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(pods)
}

/// Chance that is the same each time (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn of<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        &choices[(self.0 >> 33) as usize % choices.len()]
    }

    fn requirement(&mut self, key: &str) -> Value {
        let key = *self.of(&[key, key, "zone"]);
        let values = *self.of(&["closely", "far", "closely intermediate", "a", "a b"]);
        let values: Vec<&str> = values.split(' ').collect();
        match *self.of(&["In", "NotIn", "Exists", "DoesNotExist"]) {
            operator @ ("In" | "NotIn") => json!({"key": key, "operator": operator, "values": values}),
            operator => json!({"key": key, "operator": operator}),
        }
    }

    fn term(&mut self, key: &str) -> Value {
        let some = *self.of(&[0, 1, 1, 2]);
        let expressions: Vec<Value> = (0..some).map(|_| self.requirement(key)).collect();
        match *self.of(&[0, 0, 0, 1]) {
            0 => json!({"matchExpressions": expressions}),
            _ => json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
        }
    }

    fn pod(&mut self, database: &str) -> Value {
        let key = keys::default_node_label(database);
        let (several, spaced) = (format!("{database},gone"), format!(" gone , {database}"));
        let follow = *self.of(&["", "", "", database, &several, &spaced, "none", "none,a", ",", "A b"]);
        let mode = *self.of(&["", "preferred", " avoid-far", "avoid-far", "required", "required ", "soft"]);
        let weight = *self.of(&["", "", "1", " 60", "+07", "100", "0100", "101", "0", "-1", "much"]);
        let says = [(keys::FOLLOW, follow), (keys::AFFINITY, mode), (keys::WEIGHT, weight), ("a", "b")];
        let says: serde_json::Map<_, _> = says
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false});
        let affinity = *self.of(&[0, 0, 1, 2, 3, 4]);
        if affinity & 1 == 1 {
            let some = *self.of(&[1, 1, 2, 3]);
            let terms: Vec<Value> = (0..some).map(|_| self.term(&key)).collect();
            spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
                terms.into();
        }
        if affinity & 2 == 2 {
            let some = *self.of(&[1, 2]);
            let terms: Vec<Value> = (0..some).map(|_| json!({"weight": 5, "preference": self.term(&key)})).collect();
            spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = terms.into();
        }
        if affinity & 4 == 4 {
            spec["affinity"]["podAntiAffinity"] = json!({});
        }
        if *self.of(&[false, false, false, true]) {
            let selected = *self.of(&[key.as_str(), "zone"]);
            spec["nodeSelector"][selected] = (*self.of(&["closely", "far", "a"])).into();
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "random", "annotations": says}, "spec": spec})
    }
}

#[test]
fn the_policy_injects_what_the_webhook_does_or_less_and_refuses_nobody() {
    upheaval("policy-laws", async |scene| {
        let (_patroni, sides) = stage(scene).await?;
        let nodes = nodes(&keys::default_node_label(scene.name));
        let (mut tally, mut chance) = (Tally::default(), Chance(7));
        for (name, pod) in recorded(scene)? {
            holds(&sides, &pod, &nodes, &mut tally).await.context(name)?;
        }
        let recorded = tally.same + tally.weaker;
        assert!(recorded >= 25, "{tally:?}");
        for number in 0..120 {
            let pod = chance.pod(scene.name);
            holds(&sides, &pod, &nodes, &mut tally).await.with_context(|| format!("random pod {number}: {pod}"))?;
        }
        println!("{recorded} recorded pods and 120 random ones: {tally:?}");
        assert!(tally.same > tally.weaker, "mostly both inject the same: {tally:?}");

        // What the namespace says counts where the pod says nothing.
        let says = json!({keys::AFFINITY: "avoid-far", keys::WEIGHT: "60"});
        for by in [By::Webhook, By::Policy, By::Both] {
            let namespaces: Api<Namespace> = Api::all(scene.client.clone());
            let patch = Patch::Merge(json!({"metadata": {"annotations": says}}));
            namespaces.patch(&sides.namespace(by), &PatchParams::default(), &patch).await?;
        }
        let pod = |says: Value| json!({"metadata": {"name": "p", "annotations": says}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        for (says, mode, weight) in [
            (json!({}), "avoid-far", json!(60)),
            (json!({keys::WEIGHT: "7"}), "avoid-far", json!(7)),
            (json!({keys::AFFINITY: "preferred"}), "preferred", json!(60)),
            (json!({keys::AFFINITY: "required"}), "required", Value::Null),
        ] {
            for by in [By::Webhook, By::Policy, By::Both] {
                eventually(&format!("{by:?} of {says}"), (json!(mode), weight.clone()), async || {
                    let born = Born::of(&sides.create(by, &pod(says.clone())).await?.map_err(anyhow::Error::msg)?);
                    Ok((born.record["mode"].clone(), born.preferred[0]["weight"].clone()))
                })
                .await?;
            }
        }
        // Whoever is asked for help sees by whom pods are injected.
        assert_eq!(names_in_a_report(scene, "mutatingadmissionpolicies")?, [policy::NAME]);
        assert_eq!(
            names_in_a_report(scene, "mutatingadmissionpolicybindings")?,
            [format!("switchover-{}", scene.name)]
        );
        sides.unbind()?;
        sides.ask_webhook(&[]).await
    });
}

/// Creates pods for show all the time; how many were not injected, and of how many.
async fn left_out(sides: &Sides<'_>, meanwhile: impl Future<Output = Result<()>>) -> Result<(usize, usize)> {
    let (mut missed, mut all) = (0, 0);
    tokio::pin!(meanwhile);
    let mut over = false;
    while !over || all < 20 {
        tokio::select! {
            done = &mut meanwhile, if !over => { done?; over = true; }
            injected = sides.injects(By::Both) => { missed += usize::from(!injected?); all += 1; }
        }
    }
    Ok((missed, all))
}

/// Which of the API server's counters tells that it asked somebody about a pod.
#[derive(Debug, Clone, Copy)]
enum Counts {
    Policy,
    Webhook,
}

/// Whether the API server asks it about a pod where both may inject.
async fn is_asked(scene: &Scene, sides: &Sides<'_>, whom: Counts) -> Result<bool> {
    let (counter, which) = match whom {
        Counts::Policy => ("apiserver_mutating_admission_policy_check_total{", scene.name),
        Counts::Webhook => ("apiserver_admission_webhook_request_total{", "pods.switchover.dev"),
    };
    let count = async || -> Result<u64> {
        let request = axum::http::Request::get("/metrics").body(Vec::new())?;
        let metrics = scene.client.request_text(request).await?;
        let lines = metrics.lines().filter(|line| line.starts_with(counter) && line.contains(which));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    };
    let before = count().await?;
    sides.injects(By::Both).await?;
    Ok(count().await? > before)
}

#[test]
fn nobody_is_left_out_while_one_takes_over_from_the_other() {
    upheaval("policy-switch", async |scene| {
        let (_patroni, sides) = stage(scene).await?;
        let becomes = async |whom: Counts, asked: bool| {
            let what = format!("{whom:?} to be asked: {asked}");
            until(&what, async || Ok((is_asked(scene, &sides, whom).await? == asked).then_some(()))).await
        };
        let (missed, all) = left_out(&sides, async {
            sides.bind(&[By::Policy])?;
            becomes(Counts::Policy, false).await
        })
        .await?;
        assert_eq!(missed, 0, "of {all} pods, when the policy went");
        // The policy beside the webhook first, then alone.
        let (missed, all) = left_out(&sides, async {
            sides.bind(&[By::Policy, By::Both])?;
            becomes(Counts::Policy, true).await?;
            sides.ask_webhook(&[By::Policy, By::Both]).await?;
            becomes(Counts::Webhook, false).await
        })
        .await?;
        assert_eq!(missed, 0, "of {all} pods, while the policy took over");
        let (missed, all) = left_out(&sides, async {
            sides.ask_webhook(&[]).await?;
            becomes(Counts::Webhook, true).await?;
            sides.unbind()?;
            becomes(Counts::Policy, false).await
        })
        .await?;
        assert_eq!(missed, 0, "of {all} pods, while the webhook took over");
        Ok(())
    });
}
