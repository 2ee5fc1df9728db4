//! Clients that hold connections and requests of ours without an end stop nobody: neither probes nor admission.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::EnvVar;
use kube::api::PostParams;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    certificates::{following, injected},
    support::{
        Scene, scene, until,
        world::{CONTROLLERS, WEBHOOK},
    },
};

#[test]
fn health_is_told_beside_connections_that_say_nothing() {
    scene("silent", async |scene| {
        for role in CONTROLLERS.into_iter().chain([WEBHOOK]) {
            let address = scene.world.health_address(role)?;
            let mut held = Vec::new();
            for _ in 0..64 {
                held.push(TcpStream::connect(&address).await?);
            }
            for path in ["/livez", "/readyz", "/metrics"] {
                let answer =
                    tokio::time::timeout(Duration::from_secs(2), reqwest::get(format!("http://{address}{path}")));
                let answer = answer.await.with_context(|| format!("{role} doesn't answer {path}"))??;
                assert!(answer.status().is_success() || path == "/readyz", "{role} {path}: {}", answer.status());
            }
            drop(held);
        }
        Ok(())
    });
}

/// A connection to the webhook of somebody whom it lets in.
async fn connect(scene: &Scene) -> Result<TlsStream<TcpStream>> {
    let directory = scene.world.bed.directory();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("tls/ca.crt"))?)?;
    let kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(directory.join("pki/webhooks.kubeconfig"))?)?;
    let pem = |key: &str| STANDARD.decode(kubeconfig["users"][0]["user"][key].as_str().unwrap_or_default());
    let certificate = CertificateDer::from_pem_slice(&pem("client-certificate-data")?)?;
    let key = PrivateKeyDer::from_pem_slice(&pem("client-key-data")?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(vec![certificate], key)?;
    let stream = TcpStream::connect(scene.world.webhook_address()).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1")?, stream).await?)
}

#[test]
fn pods_are_injected_beside_bodies_that_are_announced_and_never_come() {
    scene("announced", async |scene| {
        let (_patroni, shop) = following(scene).await?;
        until("the webhook to know the namespace", async || Ok(injected(scene, &shop).await?.then_some(()))).await?;
        let announced = async || -> Result<Vec<TlsStream<TcpStream>>> {
            let mut held = Vec::new();
            for _ in 0..6 {
                let mut stream = connect(scene).await?;
                let head = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4194304\r\n\r\n";
                stream.write_all(head).await?;
                held.push(stream);
            }
            Ok(held)
        };
        let held = announced().await?;
        assert!(injected(scene, &shop).await?, "a pod beside six bodies that never come");
        drop(held);

        // Nearly as large as the API server takes.
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let mut pod = scene.workload(&shop, "large").pod()?;
        let containers = &mut pod.spec.as_mut().context("a pod has a spec")?.containers;
        let large = EnvVar { name: "TEXT".to_owned(), value: Some("x".repeat(2_800_000)), ..EnvVar::default() };
        containers[0].env.get_or_insert_default().push(large);
        let held = announced().await?;
        scene.pods(&shop).create(&dry_run, &pod).await.context("a pod of 2.8 MB")?;
        assert!(injected(scene, &shop).await?, "a pod after a large one");
        drop(held);
        Ok(())
    });
}
