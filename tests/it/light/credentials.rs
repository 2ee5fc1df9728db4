//! A Patroni over TLS that wants to see a certificate, and credentials that change while it is followed.

use std::sync::Arc;

use anyhow::{Context, Result};
use lab::pki::{Authority, Identity};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{Patroni, scene, until, world::NAMESPACE};

const NEAR_PG1: &str = "dc1-1=closely dc3-1=far";
const NEAR_PG3: &str = "dc1-1=far dc3-1=closely";
/// The name in the members' certificates: they are reached by address.
pub(super) const SERVER_NAME: &str = "patroni.example.com";

/// What members speak whose certificate and whose clients' is `authority`'s.
pub(super) fn speaks(authority: &Authority) -> Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes())?)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let own = authority.issue("patroni", None, &[SERVER_NAME])?;
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes())?];
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients);
    Ok(config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(own.key.as_bytes())?)?)
}

pub(super) fn content(authority: &Authority, client: &Identity) -> Value {
    json!({"ca.crt": authority.certificate(), "tls.crt": client.certificate, "tls.key": client.key})
}

#[test]
fn a_patroni_over_tls_is_followed_with_credentials_from_a_secret_and_through_a_change_of_all_of_them() {
    scene("mtls", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        scene.may_be_read("mtls-patroni").await?;
        let (first, second) = (Authority::new()?, Authority::new()?);
        let patroni = Patroni::start_tls(scene.name, speaks(&first)?).await?;
        let tls = json!({"secretName": "mtls-patroni", "serverName": SERVER_NAME});
        scene.database(&patroni, json!({"discovery": {"patroni": {"tls": tls, "timeout": "5s"}}})).await?;

        let missing =
            format!("the Secret {NAMESPACE}/mtls-patroni doesn't exist: create it with ca.crt (the authorities");
        scene.condition_says(scene.name, "CredentialsCurrent", "False", &format!("Missing: {missing}")).await?;
        scene.condition_says(scene.name, "PrimaryKnown", "False", &missing).await?;
        until("the event", async || {
            let told = scene.events(scene.name, "CredentialsRefused").await?;
            Ok(told.iter().any(|note| note.starts_with(&missing)).then_some(()))
        })
        .await?;

        let client = first.issue("switchover", None, &[])?;
        scene.secret("mtls-patroni", content(&first, &client)).await?;
        scene.labelled(NEAR_PG1).await?;
        scene.condition_becomes(scene.name, "CredentialsCurrent", "True").await?;

        // Whoever may read the Secret can record with it, and with files of the same content.
        let record = |arguments: &[&str]| {
            let arguments = [&["record"], arguments, &["--for", "1500ms", "--timeout", "5s"]].concat();
            block_in_place(|| scene.world.switchover(&arguments))
        };
        let is_primary = |line: &str| line.contains(r#""member":"pg1""#) && line.contains(r#""role":"primary""#);
        let recorded = record(&[scene.name])?;
        assert!(recorded.lines().any(is_primary), "{recorded}");
        let elsewhere = record(&[scene.name, "--own-namespace", "default"]).expect_err("there is none").to_string();
        assert!(elsewhere.contains("the Secret default/mtls-patroni doesn't exist: create it"), "{elsewhere}");
        let directory = scene.world.bed.directory();
        let file = |name: &str, text: &str| -> Result<String> {
            let path = directory.join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let urls = patroni.urls();
        let url = urls.first().context("a member")?;
        let ca = file("mtls-ca.pem", &first.certificate())?;
        let (certificate, key) = (file("mtls.pem", &client.certificate)?, file("mtls-key.pem", &client.key)?);
        let named = ["--url", url, "--ca-file", &ca, "--server-name", SERVER_NAME];
        let recorded = record(&[&named[..], &["--cert-file", &certificate, "--key-file", &key]].concat())?;
        assert!(recorded.lines().any(is_primary), "{recorded}");

        // The members have certificates of another authority, and believe no other clients.
        patroni.speak(speaks(&second)?);
        let signed = format!(
            "its certificate is signed by no authority of ca.crt of the Secret {NAMESPACE}/mtls-patroni: add the one that \
             signed it there"
        );
        scene.condition_says(scene.name, "PrimaryKnown", "False", &signed).await?;
        scene.secret("mtls-patroni", content(&second, &second.issue("switchover", None, &[])?)).await?;
        scene.condition_becomes(scene.name, "PrimaryKnown", "True").await?;
        patroni.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await
    });
}
