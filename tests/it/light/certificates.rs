//! The leader keeps the webhook's certificates, and mends what others damage.

use std::path::Path;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchover::api::keys;

use super::support::{Patroni, Scene, scene, stays, until, upheaval, world::NAMESPACE};

const SERVING: &str = "switchover-webhook-tls";
const AUTHORITY: &str = "switchover-webhook-ca";

fn secrets(scene: &Scene) -> Api<Secret> {
    Api::namespaced(scene.client.clone(), NAMESPACE)
}

fn configurations(scene: &Scene) -> Api<MutatingWebhookConfiguration> {
    Api::all(scene.client.clone())
}

async fn file(scene: &Scene, secret: &str, file: &str) -> Result<String> {
    let secret = secrets(scene).get(secret).await?;
    let content = secret.data.and_then(|mut data| data.remove(file)).context("the file is in the Secret")?;
    Ok(String::from_utf8(content.0)?)
}

/// The certificates of the `caBundle`, PEM, each without its line breaks.
async fn trusted(scene: &Scene) -> Result<Vec<String>> {
    let webhooks = configurations(scene).get("switchover").await?.webhooks.unwrap_or_default();
    let bundle = webhooks.into_iter().next().and_then(|webhook| webhook.client_config.ca_bundle);
    Ok(certificates(&String::from_utf8(bundle.map(|bundle| bundle.0).unwrap_or_default())?))
}

fn certificates(pem: &str) -> Vec<String> {
    let end = "-----END CERTIFICATE-----";
    let text: String = pem.lines().map(str::trim).collect();
    text.split_inclusive(end).map(str::to_owned).collect()
}

/// Of everything that the controller writes.
async fn versions(scene: &Scene) -> Result<[Option<String>; 3]> {
    let (serving, authority) = (secrets(scene).get(SERVING).await?, secrets(scene).get(AUTHORITY).await?);
    let configuration = configurations(scene).get("switchover").await?;
    Ok([serving.resource_version(), authority.resource_version(), configuration.resource_version()])
}

/// A pod that is created for show: whether the webhook saw it.
pub(super) async fn injected(scene: &Scene, namespace: &str) -> Result<bool> {
    let dry_run = kube::api::PostParams { dry_run: true, ..Default::default() };
    let pod = scene.workload(namespace, "probe").pod()?;
    let pod = scene.pods(namespace).create(&dry_run, &pod).await?;
    Ok(pod.annotations().contains_key(keys::INJECTED))
}

pub(super) async fn following(scene: &Scene) -> Result<(Patroni, String)> {
    scene.nodes(&[1, 3], 1).await?;
    let patroni = Patroni::start(scene.name).await?;
    scene.database(&patroni, json!({})).await?;
    scene.labelled("dc1-1=closely dc3-1=far").await?;
    let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
    Ok((patroni, namespace))
}

#[test]
fn a_lost_certificate_is_made_again_and_the_command_agrees_with_the_controller() {
    // Nobody else may change the certificates in the middle of it.
    upheaval("certificates", async |scene| {
        until("the certificate", async || Ok(secrets(scene).get_opt(SERVING).await?)).await?;
        let authority = file(scene, AUTHORITY, "tls.crt").await?;
        assert!(trusted(scene).await?.contains(&certificates(&authority)[0]));

        // By hand there is nothing left to do.
        let before = versions(scene).await?;
        let said = scene.world.switchover(&["certs", "--apply", "--service", "127.0.0.1", "--days", "90"])?;
        assert!(
            said.contains("the certificate in the Secret switchover-system/switchover-webhook-tls is good until"),
            "{said}"
        );
        assert_eq!(versions(scene).await?, before, "{said}");

        let lost = file(scene, SERVING, "tls.crt").await?;
        secrets(scene).delete(SERVING, &DeleteParams::default()).await?;
        until("another certificate", async || Ok(secrets(scene).get_opt(SERVING).await?)).await?;
        assert_ne!(file(scene, SERVING, "tls.crt").await?, lost);
        assert_eq!([file(scene, SERVING, "ca.crt").await?, file(scene, AUTHORITY, "tls.crt").await?], [&*authority; 2]);
        until("an event that says so", async || {
            let told = scene.events(SERVING, "CertificateIssued").await?;
            Ok((told.iter().filter(|note| note.contains("signed a serving certificate")).count() > 1).then_some(()))
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_lost_authority_is_replaced_without_a_moment_of_distrust() {
    upheaval("authority", async |scene| {
        let (_patroni, shop) = following(scene).await?;
        let before = file(scene, AUTHORITY, "tls.crt").await?;
        secrets(scene).delete(AUTHORITY, &DeleteParams::default()).await?;
        until("another authority, trusted beside the one that signed what is served", async || {
            let Some(_) = secrets(scene).get_opt(AUTHORITY).await? else { return Ok(None) };
            assert!(injected(scene, &shop).await?);
            let (after, trusted) = (file(scene, AUTHORITY, "tls.crt").await?, trusted(scene).await?);
            Ok([&before, &after].iter().all(|it| trusted.contains(&certificates(it)[0])).then_some(()))
        })
        .await?;
        assert_ne!(file(scene, AUTHORITY, "tls.crt").await?, before);
        assert_eq!(file(scene, SERVING, "ca.crt").await?, before, "not replaced before everybody trusts the new one");
        stays("the injection", std::time::Duration::from_secs(1), true, async || injected(scene, &shop).await).await
    });
}

#[test]
fn an_emptied_bundle_is_filled_again() {
    upheaval("bundle", async |scene| {
        let (_patroni, shop) = following(scene).await?;
        let empty = json!({"webhooks": [{"name": "pods.switchover.dev", "clientConfig": {"caBundle": "Cg=="}}]});
        configurations(scene).patch("switchover", &PatchParams::default(), &Patch::Strategic(empty)).await?;
        let signer = certificates(&file(scene, SERVING, "ca.crt").await?).remove(0);
        until("the authority to be trusted again", async || Ok(trusted(scene).await?.contains(&signer).then_some(())))
            .await?;
        until("the webhook to be called again", async || Ok(injected(scene, &shop).await?.then_some(()))).await
    });
}

#[test]
fn the_api_server_is_let_in_and_nobody_else() {
    scene("clients", async |scene| {
        let (_patroni, shop) = following(scene).await?;
        assert!(injected(scene, &shop).await?, "the API server shows its certificate");

        let url = format!("https://{}/mutate", scene.world.webhook_address());
        // What a kubeconfig's user shows; `Ok` if that is let in.
        let ask = async |user: Option<&str>| -> Result<()> {
            let mut builder = reqwest::Client::builder().danger_accept_invalid_certs(true);
            if let Some(user) = user {
                let file = scene.world.bed.directory().join(format!("pki/{user}.kubeconfig"));
                let kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
                let user = &kubeconfig["users"][0]["user"];
                let mut pem = Vec::new();
                for key in ["client-certificate-data", "client-key-data"] {
                    pem.extend(STANDARD.decode(user[key].as_str().unwrap_or_default())?);
                }
                builder = builder.identity(reqwest::Identity::from_pem(&pem)?);
            }
            let answer = builder.build()?.post(&url).body("{}").send().await?;
            assert_eq!(answer.status(), 400, "no AdmissionReview");
            Ok(())
        };
        ask(Some("webhooks")).await?;
        assert!(ask(None).await.is_err(), "nobody");
        assert!(ask(Some("admin")).await.is_err(), "of the same authority, with another name");
        until("a log line that names it", async || {
            Ok(scene.world.logged("a client is not let in").contains("admin").then_some(()))
        })
        .await
    });
}

#[test]
fn cert_manager_takes_the_controllers_place() {
    scene("cert-manager", async |scene| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = |folder: &str| -> Result<Vec<Value>> {
            let text = scene.world.kubectl(&["kustomize", &root.join(folder).display().to_string()], "")?;
            text.split("\n---\n").map(|object| Ok(serde_saphyr::from_str(object)?)).collect()
        };
        let (without, with) = (built("deploy/base")?, built("deploy/overlays/cert-manager")?);
        let named = |objects: &[Value], kind: &str, name: &str| {
            objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).cloned()
        };
        for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
            assert!(named(&without, kind, "switchover-certificates").is_some(), "{kind}");
            assert_eq!(named(&with, kind, "switchover-certificates"), None);
        }
        let controller = named(&with, "Deployment", "switchover-controller").context("a controller")?;
        let env =
            controller["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        assert!(env.contains(&json!({"name": "SWITCHOVER_CERTIFICATES", "value": "external"})), "{env:?}");
        let configuration = named(&with, "MutatingWebhookConfiguration", "switchover").context("a configuration")?;
        let from = "switchover-system/switchover-webhook";
        assert_eq!(configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"], from);
        let certificate = named(&with, "Certificate", "switchover-webhook").context("a certificate")?;
        assert_eq!(certificate["spec"]["secretName"], SERVING);
        assert_eq!(certificate["spec"]["dnsNames"], json!(["switchover-webhook.switchover-system.svc"]));
        assert!(
            named(&with, "Issuer", certificate["spec"]["issuerRef"]["name"].as_str().unwrap_or_default()).is_some()
        );
        Ok(())
    });
}
