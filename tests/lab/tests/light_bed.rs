//! The light bed does what the integration tests build on. Needs `lab prepare` to have run.

use std::{path::Path, time::Instant};

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Node, Pod, ServiceAccount},
};
use kube::api::{Api, ListParams, PostParams};
use lab::{
    control_plane::Component,
    light::{LightBed, add_node},
    wait::until,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_on_fake_nodes_becomes_available_and_survives_an_api_server_restart() -> Result<()> {
    let start = Instant::now();
    let bed = tokio::task::spawn_blocking(LightBed::start).await??;
    println!("started in {:.1} s", start.elapsed().as_secs_f64());
    let client = bed.admin().await?;
    for number in 1..=3 {
        let zone = format!("dc{number}");
        add_node(
            &client,
            &format!("n{number}"),
            &[("topology.kubernetes.io/zone", &zone)],
            &[("cpu", "4"), ("memory", "8Gi"), ("pods", "110")],
        )
        .await?;
    }
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    until("the default service account", async || {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        Ok(accounts.get_opt("default").await?)
    })
    .await?;
    deployments.create(&PostParams::default(), &deployment("web", 6)).await?;
    until("six available replicas", async || {
        let status = deployments.get("web").await?.status.unwrap_or_default();
        Ok((status.available_replicas == Some(6)).then_some(()))
    })
    .await?;
    println!("available at {:.1} s", start.elapsed().as_secs_f64());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    assert_eq!(pods.list(&ListParams::default()).await?.items.len(), 6);
    let nodes: Api<Node> = Api::all(client.clone());
    assert_eq!(nodes.get("n2").await?.status.unwrap().allocatable.unwrap()["cpu"].0, "4");

    let account = bed.client_for_service_account("default", "default").await?;
    let refused = Api::<Namespace>::all(account).list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("system:serviceaccount:default:default"), "{refused}");

    tokio::task::block_in_place(|| {
        bed.kill(Component::KubeApiserver)?;
        bed.start_component(Component::KubeApiserver)
    })?;
    println!("API server back at {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(pods.list(&ListParams::default()).await?.items.len(), 6);

    let directory = bed.directory().to_owned();
    let down = Instant::now();
    tokio::task::spawn_blocking(move || drop(bed)).await?;
    println!("down in {:.1} s", down.elapsed().as_secs_f64());
    assert!(!Path::new(&directory).exists(), "the bed left its directory behind");
    Ok(())
}

fn deployment(name: &str, replicas: u32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example.org/none:1"}]},
            },
        },
    }))
    .expect("a valid Deployment")
}
