//! Each role can do what it is for, and nothing else: the product's own accounts against the manifests that are shipped.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::{Node, Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use switchover::api::{DatabaseCluster, NodeLatency};

use super::support::{Scene, scene, world::NAMESPACE};

const AGENT: &str = "switchover-agent";

/// A client with a token of the agent's account: bound to a pod of it on this node, as a kubelet asks for it, or to
/// nothing.
async fn agent(scene: &Scene, node: Option<&str>) -> Result<Client> {
    let mut bound = None;
    if let Some(short) = node {
        let node = Api::<Node>::all(scene.client.clone()).get(&scene.node(short)).await?;
        let name = format!("agent-{}", scene.node(short));
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                // It goes with its node.
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": node.name_any(), "uid": node.metadata.uid},
                ],
            },
            "spec": {
                "serviceAccountName": AGENT,
                "nodeName": node.name_any(),
                "containers": [{"name": "agent", "image": "example.org/none:1"}],
            },
        }))?;
        let pod = Api::namespaced(scene.client.clone(), NAMESPACE).create(&PostParams::default(), &pod).await?;
        bound = Some(BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            uid: pod.uid(),
            name: Some(name),
        });
    }
    let request = TokenRequest {
        spec: TokenRequestSpec { bound_object_ref: bound, ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let answer = accounts.create_token_request(AGENT, &PostParams::default(), &request).await?;
    let token = answer.status.context("a token request is answered with a token")?.token;
    let bed = &scene.world.bed;
    let text = lab::pki::token_kubeconfig(bed.url(), bed.authority(), &token);
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&text)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Writes a NodeLatency as an agent does. `Err`: why it was refused.
async fn write_latency(scene: &Scene, client: &Client, short: &str) -> Result<(), String> {
    let latency = json!({
        "apiVersion": "switchover.dev/v1alpha1",
        "kind": "NodeLatency",
        "metadata": {"name": scene.node(short)},
        "spec": {"heartbeat": jiff::Timestamp::now(), "memberCount": 0, "readings": []},
    });
    let api: Api<NodeLatency> = Api::all(client.clone());
    let params = PatchParams::apply(AGENT).force();
    refusal(api.patch(&scene.node(short), &params, &Patch::Apply(latency)).await)
}

/// What the API server said if it refused for lack of rights.
pub(super) fn refusal<T>(answer: kube::Result<T>) -> Result<(), String> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(status.message),
        Err(error) => panic!("neither done nor refused: {error}"),
    }
}

/// Everything that an account may do in a namespace but read, as `VERB RESOURCE [of NAME]`; without what everybody may.
async fn may_write(account: &str, scene: &Scene, namespace: &str) -> Result<BTreeSet<String>> {
    let client = scene.world.bed.client_for_service_account(NAMESPACE, account).await?;
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..SelfSubjectRulesReview::default()
    };
    let review = Api::<SelfSubjectRulesReview>::all(client).create(&PostParams::default(), &review).await?;
    let mut may = BTreeSet::new();
    for rule in review.status.context("a review is answered with a status")?.resource_rules {
        let groups = rule.api_groups.unwrap_or_default();
        if groups.iter().all(|group| group == "authorization.k8s.io" || group == "authentication.k8s.io") {
            continue;
        }
        for verb in rule.verbs.iter().filter(|verb| !["get", "list", "watch"].contains(&&***verb)) {
            for resource in rule.resources.iter().flatten() {
                let names = rule.resource_names.clone().unwrap_or_default();
                let of = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
                may.insert(format!("{verb} {resource}{of}"));
            }
        }
    }
    Ok(may)
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

#[test]
fn an_agent_writes_the_latency_of_its_own_node_and_no_other() {
    scene("agents", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        let near = agent(scene, Some("dc1-1")).await?;
        let unbound = agent(scene, None).await?;
        let refused = |by: &str, of: &str| {
            let (rule, of) = ("may write only the NodeLatency of that name, not", scene.node(of));
            Err(format!(
                "nodelatencies.switchover.dev \"{of}\" is forbidden: ValidatingAdmissionPolicy '{AGENT}' with binding \
                 '{AGENT}' denied request: the agent on node {by} {rule} {of}"
            ))
        };
        let own = scene.node("dc1-1");
        // Those that are there, and those that are not yet.
        for _ in 0..2 {
            assert_eq!(write_latency(scene, &near, "dc1-1").await, Ok(()));
            assert_eq!(write_latency(scene, &near, "dc3-1").await, refused(&own, "dc3-1"));
            assert_eq!(write_latency(scene, &unbound, "dc1-1").await, refused("(unknown)", "dc1-1"));
            Api::<NodeLatency>::all(scene.client.clone())
                .delete_collection(&DeleteParams::default(), &scene.own())
                .await?;
        }
        Ok(())
    });
}

#[test]
fn an_agent_may_do_nothing_else() {
    scene("agent-only", async |scene| {
        scene.nodes(&[1], 1).await?;
        let namespace = scene.namespace("shop", None, json!({})).await?;
        scene.workload(&namespace, "web").bare_pod().await?;
        let client = agent(scene, Some("dc1-1")).await?;
        let (node, label) = (scene.node("dc1-1"), Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}})));
        let params = PatchParams::default();
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let latencies: Api<NodeLatency> = Api::all(client.clone());
        let databases: Api<DatabaseCluster> = Api::all(client.clone());
        let answers = [
            ("patch nodes", refusal(Api::<Node>::all(client.clone()).patch(&node, &params, &label).await)),
            ("list nodes", refusal(Api::<Node>::all(client.clone()).list(&ListParams::default()).await)),
            ("patch pods", refusal(pods.patch("web", &params, &label).await)),
            ("read pods", refusal(pods.get("web").await)),
            ("delete pods", refusal(pods.delete("web", &DeleteParams::default()).await)),
            ("delete latencies", refusal(latencies.delete(&node, &DeleteParams::default()).await)),
            ("patch databases", refusal(databases.patch("any", &params, &label).await)),
            ("read secrets", refusal(Api::<Secret>::namespaced(client.clone(), NAMESPACE).get("any").await)),
        ];
        let allowed: Vec<&str> = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(what, _)| *what).collect();
        assert_eq!(allowed, Vec::<&str>::new());
        assert_eq!(may_write(AGENT, scene, NAMESPACE).await?, set(&["create nodelatencies", "patch nodelatencies"]));
        Ok(())
    });
}

#[test]
fn the_webhook_writes_events_and_nothing_else() {
    scene("webhook-only", async |scene| {
        for namespace in ["default", NAMESPACE] {
            assert_eq!(may_write("switchover-webhook", scene, namespace).await?, set(&["create events"]));
        }
        Ok(())
    });
}

#[test]
fn the_controller_may_change_nothing_of_a_database_but_its_finalizer() {
    scene("finalizer-only", async |scene| {
        scene.database_at(scene.name, &["http://127.0.0.1:1".to_owned()], json!({})).await?;
        let client = scene.world.bed.client_for_service_account(NAMESPACE, "switchover-controller").await?;
        let databases: Api<DatabaseCluster> = Api::all(client);
        let change = async |patch: Value| {
            let patch = Patch::Merge(patch);
            refusal(databases.patch(scene.name, &PatchParams::default(), &patch).await)
        };
        for wrong in [
            json!({"spec": {"paused": true}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
            json!({"metadata": {"finalizers": ["example.com/theirs"]}}),
            // Garbage collection would delete the database after an owner that isn't there.
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "5f1c8a3e-0000-4000-8000-000000000000"},
            ]}}),
        ] {
            let refused = change(wrong.clone()).await.expect_err(&format!("{wrong} was taken"));
            assert!(refused.contains("may change nothing of a DatabaseCluster but"), "{wrong}: {refused}");
        }
        for finalizers in [json!([switchover::api::keys::FINALIZER]), json!([])] {
            assert_eq!(change(json!({"metadata": {"finalizers": finalizers}})).await, Ok(()));
        }
        Ok(())
    });
}

#[test]
fn the_controller_evicts_and_never_deletes() {
    scene("controller", async |scene| {
        scene.nodes(&[1], 1).await?;
        let namespace = scene.namespace("shop", Some("somebody"), json!({})).await?;
        scene.workload(&namespace, "web").bare_pod().await?;
        let pod = scene.pods(&namespace).get("web").await?;
        let everywhere = set(&[
            "create events",
            "create pods/eviction",
            "patch databaseclusters",
            "patch databaseclusters/status",
            "patch deployments",
            "patch events",
            "patch mutatingwebhookconfigurations of switchover",
            "patch nodes",
            "patch statefulsets",
        ]);
        let own = set(&[
            "create leases",
            "create secrets of switchover-webhook-ca, switchover-webhook-tls",
            "patch secrets of switchover-webhook-ca, switchover-webhook-tls",
            "update leases of switchover-controller",
        ]);
        // Another scene of this bed installs the component that allows it.
        let component = set(&["patch rollouts"]);
        let may = async |namespace: &str| {
            anyhow::Ok(&may_write("switchover-controller", scene, namespace).await? - &component)
        };
        assert_eq!(may(&namespace).await?, everywhere);
        assert_eq!(may(NAMESPACE).await?, &everywhere | &own);

        let client = scene.world.bed.client_for_service_account(NAMESPACE, "switchover-controller").await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let forbidden = |verb: &str, what: &str, name: &str, group: &str| {
            let who = format!("system:serviceaccount:{NAMESPACE}:switchover-controller");
            Err(format!(
                "{what} {name}is forbidden: User \"{who}\" cannot {verb} resource \"{what}\" in API group \"{group}\" \
                 in the namespace \"{namespace}\""
            ))
        };
        assert_eq!(
            refusal(pods.delete("web", &DeleteParams::default()).await),
            forbidden("delete", "pods", "\"web\" ", "")
        );
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        assert_eq!(refusal(secrets.list(&ListParams::default()).await), forbidden("list", "secrets", "", ""));
        // In its own namespace it reads those that stand in its Role, and writes the two that it keeps, whatever else lies
        // there.
        let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
        let dry = PatchParams { dry_run: true, ..PatchParams::apply("switchover").force() };
        let other = Patch::Apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}}));
        assert_eq!(refusal(secrets.get("switchover-webhook-ca").await), Ok(()));
        assert!(refusal(secrets.list(&ListParams::default()).await).is_err());
        assert_eq!(refusal(secrets.get_opt("switchover-database").await), Ok(()));
        assert!(refusal(secrets.get_opt("other").await).is_err());
        assert!(refusal(secrets.patch("other", &dry, &other).await).is_err());
        let eviction: Value = json!({
            "metadata": {"name": "web", "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid()}},
        });
        let evicted: kube::Result<Value> =
            pods.create_subresource("eviction", "web", &PostParams::default(), &eviction).await;
        assert_eq!(refusal(evicted), Ok(()));
        Ok(())
    });
}
