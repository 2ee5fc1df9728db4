//! The product is installed in a namespace of another name, and with a prefix to its names, each said in one place.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Node, Pod},
    flowcontrol::v1::FlowSchema,
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use lab::{
    light::{LightBed, add_node},
    wait::{eventually, until},
};
use serde_json::json;
use switchover::api::NodeLatency;

use super::rights::refusal;

/// Of its people, who never heard of ours.
const ELSEWHERE: &str = "db-follow";

/// To the names of its objects.
const PREFIX: &str = "acme-";

const ROOM: [(&str, &str); 3] = [("cpu", "16"), ("memory", "32Gi"), ("pods", "110")];

/// deploy/base in this namespace and with this prefix, by the lines that people write.
fn built(bed: &LightBed, namespace: &str, prefix: &str) -> Result<String> {
    let overlay = bed.directory().join(format!("overlay-{namespace}"));
    fs::create_dir_all(&overlay)?;
    // kustomize takes no absolute paths.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize()?;
    let overlay = overlay.canonicalize()?;
    let up = "../".repeat(overlay.components().count() - 1);
    let base = format!("{up}{}/deploy/base", root.display().to_string().trim_start_matches('/'));
    fs::write(
        overlay.join("kustomization.yaml"),
        format!("namespace: {namespace}\nnamePrefix: {prefix:?}\nresources: [\"{base}\"]\n"),
    )?;
    Ok(bed.kubectl(&["kustomize", &overlay.display().to_string()], "")?.0)
}

#[test]
fn installed_in_another_namespace_its_policies_refuse_there_and_a_second_installation_is_refused() {
    let _alone = super::support::scene::the_machine();
    let bed = LightBed::start().expect("a bed");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(play(&bed)).expect("the scene");
}

async fn play(bed: &LightBed) -> Result<()> {
    let manifests = built(bed, ELSEWHERE, PREFIX)?;
    ensure!(!manifests.contains("switchover-system"), "the namespace is written down somewhere else");
    // The one word that the program knows its webhook's configuration by.
    let told = "name: SWITCHOVER_WEBHOOK_CONFIGURATION\n          value: acme-switchover\n";
    ensure!(manifests.contains(told), "the controller would look for another configuration");
    bed.kubectl(&["apply", "--server-side", "-f", "-"], &manifests)?;
    bed.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], "")?;
    let admin = bed.admin().await?;
    // Windows runs none of our containers, and a node that stands for another cluster measures nothing.
    add_node(&admin, "n1", &[], &ROOM).await?;
    add_node(&admin, "windows", &[("kubernetes.io/os", "windows")], &ROOM).await?;
    add_node(&admin, "virtual", &[("type", "virtual-kubelet")], &ROOM).await?;

    the_accounts_may_do_their_work_and_no_more(bed).await?;
    every_pod_is_admitted_and_agents_run_where_they_can(&admin).await?;
    a_second_installation_changes_nothing(bed, &admin).await
}

async fn the_accounts_may_do_their_work_and_no_more(bed: &LightBed) -> Result<()> {
    let controller = bed.client_for_service_account(ELSEWHERE, &format!("{PREFIX}switchover-controller")).await?;
    let nodes: Api<Node> = Api::all(controller);
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    let label = |value: &str| Patch::Strategic(json!({"metadata": {"labels": {"switchover": value}}}));
    // A policy counts from a moment after it was written on.
    let refused =
        until("the policies to count", async || Ok(refusal(nodes.patch("n1", &dry_run, &label("yes")).await).err()))
            .await?;
    ensure!(refused.contains("may write and remove only labels of databases"), "{refused}");
    ensure!(refusal(nodes.patch("n1", &dry_run, &label("far")).await) == Ok(()), "it labels nodes");

    let agent = bed.client_for_service_account(ELSEWHERE, &format!("{PREFIX}switchover-agent")).await?;
    let latency = json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "NodeLatency", "metadata": {"name": "n1"},
        "spec": {"heartbeat": jiff::Timestamp::now(), "memberCount": 0, "readings": []},
    });
    let params = PatchParams::apply("switchover-agent").force();
    let written = Api::<NodeLatency>::all(agent).patch("n1", &params, &Patch::Apply(latency)).await;
    let refused = refusal(written).err().context("an agent wrote a latency that is none of its own")?;
    ensure!(refused.contains("may write only the NodeLatency of that name, not n1"), "{refused}");
    Ok(())
}

/// By the quota and by the policy for pods of the namespace; and of the agents there is one, on n1.
async fn every_pod_is_admitted_and_agents_run_where_they_can(admin: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(admin.clone(), ELSEWHERE);
    let sets: Api<DaemonSet> = Api::namespaced(admin.clone(), ELSEWHERE);
    eventually("a pod for each replica", (2, 6, 1), async || {
        let replicas = async |name: &str| {
            let status = deployments.get(name).await?.status.unwrap_or_default();
            anyhow::Ok(status.replicas.unwrap_or_default())
        };
        let agents = sets.get("acme-switchover-agent").await?.status.unwrap_or_default();
        Ok((
            replicas("acme-switchover-controller").await?,
            replicas("acme-switchover-webhook").await?,
            agents.desired_number_scheduled,
        ))
    })
    .await?;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), ELSEWHERE);
    let of_agents = ListParams::default().labels("app.kubernetes.io/component=agent");
    eventually("the agents' nodes", vec![Some("n1".to_owned())], async || {
        Ok(pods.list(&of_agents).await?.items.into_iter().map(|pod| pod.spec.and_then(|spec| spec.node_name)).collect())
    })
    .await
}

async fn a_second_installation_changes_nothing(bed: &LightBed, admin: &Client) -> Result<()> {
    for (prefix, refused) in [
        (
            PREFIX,
            &[
                ("clusterrolebindings.rbac.authorization.k8s.io", "acme-switchover-controller"),
                ("mutatingwebhookconfigurations.admissionregistration.k8s.io", "acme-switchover"),
                ("flowschemas.flowcontrol.apiserver.k8s.io", "acme-switchover-leases"),
            ][..],
        ),
        (
            "",
            &[
                ("clusterrolebindings.rbac.authorization.k8s.io", "switchover-controller"),
                ("mutatingwebhookconfigurations.admissionregistration.k8s.io", "switchover"),
            ],
        ),
    ] {
        let second = built(bed, "switchover-system", prefix)?;
        let output = bed.try_kubectl(&["apply", "--server-side", "-f", "-"], &second)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "a second installation was taken");
        for (kind, name) in refused {
            let told = said.lines().find(|line| line.contains(&format!("{kind} \"{name}\" is forbidden")));
            let told = told.with_context(|| format!("{kind} {name} was taken: {said}"))?;
            let sentence =
                format!("switchover is installed already, in the namespace {ELSEWHERE}, and a second installation");
            ensure!(told.contains(&sentence), "{told}");
        }
    }
    // The first one's is what it was, and applying it again is no second one.
    let favoured = Api::<FlowSchema>::all(admin.clone()).get("acme-switchover").await?;
    let favoured = serde_json::to_value(favoured.spec)?;
    ensure!(favoured["rules"][0]["subjects"][0]["serviceAccount"]["namespace"] == ELSEWHERE, "{favoured}");
    bed.kubectl(&["apply", "--server-side", "-f", "-"], &built(bed, ELSEWHERE, PREFIX)?)?;
    Ok(())
}
