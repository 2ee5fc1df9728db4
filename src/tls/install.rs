//! Puts the serving certificate where the webhook and the API server find it: a Secret, and the `caBundle` of the
//! webhook's configuration.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;

use super::certificate::{self, Made};
use crate::api::keys::FIELD_MANAGER;

/// The Secret that the webhook's pods mount.
pub const SECRET: &str = "switchover-webhook-tls";
/// The MutatingWebhookConfiguration.
pub const CONFIGURATION: &str = "switchover";

/// Why the certificate could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("no certificate can be made for the Service {namespace}/{service}: {source}: write names of a Service")]
    Make { service: String, namespace: String, source: rcgen::Error },
    #[error("Secret {namespace}/{SECRET}: {}", plainly(source))]
    Secret { namespace: String, source: Box<kube::Error> },
    #[error(
        "MutatingWebhookConfiguration {CONFIGURATION}: {}: if it is missing, apply webhook-config first and repeat this command",
        plainly(source)
    )]
    Configuration { source: Box<kube::Error> },
}

/// What the API server says, without the rest of its answer.
fn plainly(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// What [`install`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The Secret's certificate was good for long enough and was kept.
    Kept,
    Made,
}

/// Makes a certificate unless the Secret holds one that is valid for another tenth of `days`, and has the API server
/// trust it. Doing it again is harmless. Needs get and patch on the Secret and patch on the configuration.
///
/// # Errors
/// When Kubernetes refuses either write.
pub async fn install(client: &Client, service: &str, namespace: &str, days: u32) -> Result<Installed, InstallError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret_error = |source| InstallError::Secret { namespace: namespace.to_owned(), source: Box::new(source) };

    let (ca, installed) = match secrets.get_opt(SECRET).await.map_err(secret_error)?.and_then(|it| kept(&it, days)) {
        Some(ca) => (ca, Installed::Kept),
        None => {
            let made = certificate::generate(service, namespace, days).map_err(|source| InstallError::Make {
                service: service.to_owned(),
                namespace: namespace.to_owned(),
                source,
            })?;
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            secrets.patch(SECRET, &parameters, &Patch::Apply(secret(&made, namespace))).await.map_err(secret_error)?;
            (made.ca_pem.into_bytes(), Installed::Made)
        }
    };
    trust(client, &ca).await?;
    Ok(installed)
}

/// Has the API server trust this authority (PEM) when it calls the webhook.
async fn trust(client: &Client, ca_pem: &[u8]) -> Result<(), InstallError> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let error = |source| InstallError::Configuration { source: Box::new(source) };
    // A strategic merge finds the webhook by its name; one that is not there must not be made up.
    configurations.get(CONFIGURATION).await.map_err(error)?;
    let bundle = json!({"webhooks": [{"name": WEBHOOK, "clientConfig": {"caBundle": STANDARD.encode(ca_pem)}}]});
    configurations.patch(CONFIGURATION, &PatchParams::default(), &Patch::Strategic(bundle)).await.map_err(error)?;
    Ok(())
}

/// The one webhook in the configuration.
const WEBHOOK: &str = "pods.switchover.dev";

/// The Secret that `switchover certs` prints or applies.
#[must_use]
pub fn secret(made: &Made, namespace: &str) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([("app.kubernetes.io/part-of".to_owned(), "switchover".to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            ("ca.crt".to_owned(), bytes(&made.ca_pem)),
            ("tls.crt".to_owned(), bytes(&made.certificate_pem)),
            ("tls.key".to_owned(), bytes(&made.key_pem)),
        ])),
        ..Secret::default()
    }
}

/// The authority of a Secret whose certificate is still good for long enough.
fn kept(secret: &Secret, days: u32) -> Option<Vec<u8>> {
    let data = secret.data.as_ref()?;
    let leaf = CertificateDer::from_pem_slice(&data.get("tls.crt")?.0).ok()?;
    let needed = SignedDuration::from_hours(24 * i64::from(days) / 10);
    let lasts = certificate::expires(&leaf)?.duration_since(Timestamp::now()) > needed;
    (lasts && data.contains_key("tls.key")).then(|| data.get("ca.crt").map(|ca| ca.0.clone()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_while_it_lasts() {
        let made = certificate::generate("switchover-webhook", "switchover-system", 20).unwrap();
        let mut secret = secret(&made, "switchover-system");
        assert_eq!(kept(&secret, 100), Some(made.ca_pem.into_bytes()));
        assert_eq!(kept(&secret, 300), None);
        secret.data.as_mut().unwrap().remove("ca.crt");
        assert_eq!(kept(&secret, 100), None);
        assert_eq!(kept(&Secret::default(), 100), None);
    }
}
