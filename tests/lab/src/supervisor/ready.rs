//! Waits until Kubernetes says that its nodes are Ready.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use crate::net;

/// Six nodes on two processors take about 8 s.
const WITHIN: Duration = Duration::from_secs(90);

/// Returns when `count` nodes are Ready, as the API server says to the host of a control plane.
pub(super) fn wait_for_nodes(host: &str, kubeconfig: &Path, count: usize) -> Result<()> {
    let kubeconfig = kubeconfig.to_owned();
    net::in_netns(&net::namespace(host), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(wait(&kubeconfig, count))
    })?
}

async fn wait(kubeconfig: &Path, count: usize) -> Result<()> {
    let nodes: Api<Node> = Api::all(crate::client(kubeconfig).await?);
    let deadline = Instant::now() + WITHIN;
    loop {
        let list = nodes.list(&ListParams::default()).await.context("cannot list the nodes")?;
        let ready = list.items.iter().filter(|node| is_ready(node)).count();
        if ready >= count {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "only {ready} of {count} nodes are Ready after {} s; see nodes/NAME/log in the state directory",
            WITHIN.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
