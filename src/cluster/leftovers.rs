//! What switchover puts onto other people's objects, found and taken off again: labels and taints of nodes, and the
//! finalizer that makes sure of it.

use futures::{TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde::Serialize;
use serde_json::json;

use super::{EffectError, bounded, list};
use crate::{
    api::{DatabaseCluster, keys},
    core::distance::tier::Tier,
};

/// Nodes that are changed at the same time.
const CONCURRENT: usize = 16;
/// A write that somebody else's came before is tried again so often.
const CONFLICTS: usize = 5;

/// One node that bears something of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    pub node: String,
    /// Keys of labels that say a tier.
    pub labels: Vec<String>,
    /// Keys of taints that say far.
    pub taints: Vec<String>,
    /// The annotation `switchover.dev/manage: "false"` keeps us off.
    #[serde(skip)]
    pub left_alone: bool,
}

/// What a node bears under the keys that are ours. A label or taint with a value that switchover never writes is
/// somebody else's, whatever its key.
#[must_use]
pub fn of(node: &Node, ours: &impl Fn(&str) -> bool) -> Option<Leftover> {
    let says_tier = |value: &str| Tier::from_label(Some(value)) != Tier::Unknown;
    let labels = node.labels().iter().filter(|(key, value)| ours(key) && says_tier(value));
    let labels: Vec<String> = labels.map(|(key, _)| key.clone()).collect();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let taints: Vec<String> =
        taints.iter().filter(|taint| ours(&taint.key) && says_far(taint)).map(|taint| taint.key.clone()).collect();
    let left_alone = node.annotations().get(keys::MANAGE).is_some_and(|value| value == "false");
    (!labels.is_empty() || !taints.is_empty()).then(|| Leftover { node: node.name_any(), labels, taints, left_alone })
}

fn says_far(taint: &Taint) -> bool {
    taint.value.as_deref() == Tier::Far.label()
}

/// Every node that bears something of ours, as the API server has it now.
///
/// # Errors
/// No answer, or a refusal.
pub async fn find(client: &Client, ours: impl Fn(&str) -> bool) -> Result<Vec<Leftover>, EffectError> {
    let api: Api<Node> = Api::all(client.clone());
    let mut found = Vec::new();
    list(&api, |node| found.extend(of(&node, &ours))).await?;
    Ok(found)
}

/// Takes off what [`find`] found, but for nodes that are to be left alone. A node that is gone has nothing left.
///
/// # Errors
/// The first node that could not be changed; others may not have been tried.
pub async fn strip(client: &Client, leftovers: Vec<Leftover>) -> Result<(), EffectError> {
    let ours = leftovers.into_iter().filter(|leftover| !leftover.left_alone).map(Ok);
    let strip = |leftover| async move { strip_node(client, leftover).await };
    stream::iter(ours).try_for_each_concurrent(CONCURRENT, strip).await
}

async fn strip_node(client: &Client, leftover: Leftover) -> Result<(), EffectError> {
    for _ in 0..CONFLICTS {
        match try_to_strip(client, &leftover).await {
            Err(EffectError::Api(kube::Error::Api(status))) if status.code == 409 => {}
            Err(EffectError::Api(kube::Error::Api(status))) if status.code == 404 => return Ok(()),
            done => return done,
        }
    }
    try_to_strip(client, &leftover).await
}

async fn try_to_strip(client: &Client, leftover: &Leftover) -> Result<(), EffectError> {
    let api: Api<Node> = Api::all(client.clone());
    let labels: serde_json::Map<_, _> = leftover.labels.iter().map(|key| (key.clone(), json!(null))).collect();
    let mut patch = json!({ "metadata": { "labels": labels } });
    if !leftover.taints.is_empty() {
        // One list that several controllers write: replaced as a whole, and only as it was read.
        let current = bounded(api.get(&leftover.node)).await?;
        let mut taints = current.spec.and_then(|spec| spec.taints).unwrap_or_default();
        taints.retain(|taint| !(leftover.taints.contains(&taint.key) && says_far(taint)));
        patch["metadata"]["resourceVersion"] = json!(current.metadata.resource_version);
        patch["spec"] = json!({ "taints": taints });
    }
    bounded(api.patch(&leftover.node, &params(), &Patch::Merge(patch))).await.map(|_| ())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(keys::FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Makes sure that a DatabaseCluster goes only when its labels have gone.
///
/// # Errors
/// No answer, or a refusal: also when it is being deleted already.
pub async fn add_finalizer(client: &Client, name: &str, uid: &str) -> Result<(), EffectError> {
    set_finalizer(client, name, uid, true).await
}

/// Lets a DatabaseCluster go. One that is gone needs nothing more.
///
/// # Errors
/// No answer, or a refusal.
pub async fn remove_finalizer(client: &Client, name: &str, uid: &str) -> Result<(), EffectError> {
    set_finalizer(client, name, uid, false).await
}

async fn set_finalizer(client: &Client, name: &str, uid: &str, wanted: bool) -> Result<(), EffectError> {
    for _ in 0..CONFLICTS {
        match try_to_set_finalizer(client, name, uid, wanted).await {
            Err(EffectError::Api(kube::Error::Api(status))) if status.code == 409 => {}
            Err(EffectError::Api(kube::Error::Api(status))) if status.code == 404 && !wanted => return Ok(()),
            done => return done,
        }
    }
    try_to_set_finalizer(client, name, uid, wanted).await
}

/// Works on objects whose spec can't be read, too.
async fn try_to_set_finalizer(client: &Client, name: &str, uid: &str, wanted: bool) -> Result<(), EffectError> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
    let current = bounded(api.get_metadata(name)).await?.metadata;
    let mut finalizers = current.finalizers.unwrap_or_default();
    // Another object that bears its name now is none of ours.
    if current.uid.as_deref() != Some(uid) || finalizers.iter().any(|it| it == keys::FINALIZER) == wanted {
        return Ok(());
    }
    if wanted {
        finalizers.push(keys::FINALIZER.into());
    } else {
        finalizers.retain(|it| it != keys::FINALIZER);
    }
    let metadata = json!({ "resourceVersion": current.resource_version, "finalizers": finalizers });
    bounded(api.patch(name, &params(), &Patch::Merge(json!({ "metadata": metadata })))).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    fn node(labels: &[(&str, &str)], taints: &[(&str, &str)]) -> Node {
        let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let taint = |(key, value): &(&str, &str)| json!({"key": key, "value": value, "effect": "NoSchedule"});
        let taints: Vec<_> = taints.iter().map(taint).collect();
        serde_json::from_value(json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}}))
            .unwrap()
    }

    #[test]
    fn what_is_ours_is_told_by_key_and_value() {
        let ours = |key: &str| key == "switchover";
        let rows = [
            ("nothing", &[][..], &[][..], None),
            ("a label", &[("switchover", "far")], &[], Some((&["switchover"][..], &[][..]))),
            (
                "a label and a taint",
                &[("switchover", "far")],
                &[("switchover", "far")],
                Some((&["switchover"], &["switchover"])),
            ),
            ("a taint alone", &[], &[("switchover", "far")], Some((&[], &["switchover"]))),
            ("another key", &[("zone", "far")], &[("zone", "far")], None),
            ("another value", &[("switchover", "yes")], &[("switchover", "no")], None),
        ];
        check_rows(rows, |(what, labels, taints, expected)| {
            let found = of(&node(labels, taints), &ours);
            let expected = expected.map(|(labels, taints): (&[&str], &[&str])| Leftover {
                node: "n1".into(),
                labels: labels.iter().map(|key| (*key).to_owned()).collect(),
                taints: taints.iter().map(|key| (*key).to_owned()).collect(),
                left_alone: false,
            });
            assert_eq!(found, expected, "{what}");
        });
    }
}
