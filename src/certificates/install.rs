//! Keeps the webhook's certificates where everybody finds them: the authority in a Secret of its own, the serving
//! certificate in the Secret that the webhook's pods mount, and the authorities that the API server trusts in the
//! `caBundle` of the webhook's configuration.
//!
//! [`pass`] is what the leading controller does again and again, and what `switchover certs --apply` does once. What to
//! do is decided by [`rotation::next`]; here is the reading before and the writing after. Each write goes through only
//! if nobody changed the object in between, so that two who do this at once can't undo each other's work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration},
        core::v1::Secret,
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde_json::json;

use super::authority::{self, Authority, Made};
use crate::{
    api::keys::{FIELD_MANAGER, SINCE},
    cluster::{self, EffectError},
    core::{
        moment::Moment,
        rotation::{self, AuthorityId, Bundle, Facts, Seen, Serving, Step, Why},
    },
    tls::{self, der},
};

/// The Secret that the webhook's pods mount.
pub const SECRET: &str = "switchover-webhook-tls";
/// The Secret of the authority and its key, which nobody but the controller reads.
pub const AUTHORITY_SECRET: &str = "switchover-webhook-ca";
/// What the MutatingWebhookConfiguration is called where nobody says otherwise.
pub const CONFIGURATION: &str = "switchover";
/// The one webhook in the configuration.
pub const WEBHOOK: &str = "pods.switchover.dev";

/// How long an authority holds where nothing else is said.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(730 * 86_400);

/// More steps than anything takes that makes sense; also bounds how often somebody else may get in between.
const MOST_STEPS: usize = 12;

/// Whose certificates, and how long they hold.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The webhook's Service.
    pub service: String,
    /// The MutatingWebhookConfiguration by which it is called.
    pub configuration: String,
    /// Of the Service and both Secrets.
    pub namespace: String,
    /// Of serving certificates.
    pub lifetime: Duration,
    /// Of authorities. Longer, so that the API server's side changes seldom.
    pub authority_lifetime: Duration,
}

impl Rotation {
    /// How long everybody is given to hear of a change. A kubelet brings a changed Secret into a pod within about two
    /// minutes. With certificates of less than two hours there is less time: a third of it is left when one is renewed,
    /// and two graces must fit in.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(600).min(self.lifetime / 12)
    }
}

/// Why the certificates could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("no certificate can be made for the Service {namespace}/{service}: {source}: write names of a Service")]
    Make { service: String, namespace: String, source: rcgen::Error },
    #[error("{object}: {source}")]
    Call { object: String, source: Box<EffectError> },
    #[error(
        "{object} is kept by cert-manager: let it, and tell the controller so with --certificates=external, or remove \
         its Certificate and annotations"
    )]
    CertManager { object: String },
    #[error(
        "{object} calls the webhook of the Service {called}, and these certificates are for {own}: another switchover is \
         installed there; remove one of the two, or write the Service whose webhook is called"
    )]
    OtherService { object: String, called: String, own: String },
    #[error("somebody else keeps changing the webhook's Secrets or configuration at the same time")]
    Contended,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// An authority was made that signs until then.
    MadeAuthority { until: Timestamp },
    /// The API server trusts so many authorities now.
    Trusted { authorities: usize },
    /// A certificate was signed that is good until then.
    Issued { until: Timestamp },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MadeAuthority { until } => write!(f, "made an authority that signs until {until}"),
            Self::Trusted { authorities: 1 } => f.write_str("the API server trusts one authority"),
            Self::Trusted { authorities } => write!(f, "the API server trusts {authorities} authorities"),
            Self::Issued { until } => write!(f, "signed a serving certificate that is good until {until}"),
        }
    }
}

/// How things stand at the end of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// Nothing is to be done before this time, unless somebody changes something.
    pub until: Timestamp,
    pub why: Why,
    /// When the authority and the serving certificate expire.
    pub authority_until: Option<Timestamp>,
    pub serving_until: Option<Timestamp>,
    /// Authorities that the API server trusts; `None` when there is no webhook configuration.
    pub trusted: Option<usize>,
}

/// Does whatever is to be done now, and says how things stand then; `None` if `may_write` forbade to go on. Each thing
/// that was done is told at once. Doing it again is harmless. `seen` is what one pass leaves to the next; without it the
/// times that were written are believed.
///
/// Needs get and patch on both Secrets (and create, as long as they are not there), and get and patch on the
/// configuration.
///
/// # Errors
/// When Kubernetes refuses a read or a write, or does not answer.
pub async fn pass(
    client: &Client,
    rotation: &Rotation,
    clock: impl Fn() -> Moment,
    mut seen: Option<&mut Seen>,
    may_write: impl Fn() -> bool,
    mut tell: impl FnMut(Done),
) -> Result<Option<CertificateState>, InstallError> {
    let cluster = Cluster::new(client, rotation);
    for _ in 0..MOST_STEPS {
        let mut found = cluster.read().await?;
        let now = clock();
        if let Some(seen) = &mut seen {
            seen.look(&mut found.facts, now);
        }
        let now = now.wall;
        let step = rotation::next(&found.facts, rotation.grace(), now);
        if let Step::Wait { until, why } = step {
            return Ok(Some(found.state(until, why)));
        }
        if !may_write() {
            return Ok(None);
        }
        match cluster.carry_out(&step, &found, now).await {
            Ok(Some(done)) => tell(done),
            // Somebody was faster: what is to be done may be something else now.
            Ok(None) => {}
            Err(InstallError::Call { source, .. }) if source.conflicts() => {}
            Err(error) => return Err(error),
        }
    }
    Err(InstallError::Contended)
}

/// The three objects.
struct Cluster<'a> {
    rotation: &'a Rotation,
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
}

/// What is in them.
#[derive(Default)]
struct Found {
    facts: Facts,
    authority: Option<Authority>,
    /// To change the objects only as they were read.
    authority_version: Version,
    serving_version: Version,
    configuration_version: Version,
}

/// `resourceVersion` and type of a Secret; nothing of one that isn't there.
#[derive(Default)]
struct Version {
    resource: Option<String>,
    /// A Secret's type can't be changed.
    type_: Option<String>,
}

impl Found {
    fn state(&self, until: Timestamp, why: Why) -> CertificateState {
        let Facts { authority, serving, bundle } = &self.facts;
        CertificateState {
            until,
            why,
            authority_until: authority.as_ref().map(|(_, validity)| validity.until),
            serving_until: serving.as_ref().map(|serving| serving.validity.until),
            trusted: bundle.as_ref().map(|bundle| bundle.authorities.len()),
        }
    }
}

impl<'a> Cluster<'a> {
    fn new(client: &Client, rotation: &'a Rotation) -> Self {
        let secrets = Api::namespaced(client.clone(), &rotation.namespace);
        Self { rotation, secrets, configurations: Api::all(client.clone()) }
    }

    async fn read(&self) -> Result<Found, InstallError> {
        let mut found = Found::default();
        if let Some(secret) = bounded(self.secret(AUTHORITY_SECRET), self.secrets.get_opt(AUTHORITY_SECRET)).await? {
            found.authority_version = version(&secret);
            found.authority = data(&secret, "tls.crt")
                .zip(data(&secret, "tls.key"))
                .and_then(|(certificate, key)| Authority::load(certificate, key));
            found.facts.authority = found.authority.as_ref().map(|it| (it.id.clone(), it.validity));
        }
        let configuration = self.configuration();
        let found_one = self.configurations.get_opt(&self.rotation.configuration);
        if let Some(object) = bounded(configuration.clone(), found_one).await? {
            by_cert_manager(object.annotations(), "cert-manager.io/inject-ca-from", configuration)?;
            found.configuration_version.resource = object.resource_version();
            let since = since(object.annotations());
            // A webhook that is not there must not be made up: a strategic merge finds it by its name, or adds it.
            let webhook = object.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK);
            self.is_called(webhook)?;
            found.facts.bundle = webhook.map(|webhook| Bundle {
                authorities: authorities(webhook.client_config.ca_bundle.as_ref().map_or(&[], |bundle| &bundle.0)),
                since,
            });
        }
        if let Some(secret) = bounded(self.secret(SECRET), self.secrets.get_opt(SECRET)).await? {
            by_cert_manager(secret.annotations(), "cert-manager.io/certificate-name", self.secret(SECRET))?;
            found.serving_version = version(&secret);
            found.facts.serving = self.serving(&secret, &found.facts);
        }
        Ok(found)
    }

    /// Two who both keep the `caBundle`, each for a Service of its own, would replace each other's forever. In a test bed the
    /// webhook may be called by a URL in place of a Service.
    fn is_called(&self, webhook: Option<&MutatingWebhook>) -> Result<(), InstallError> {
        let Rotation { service, namespace, .. } = self.rotation;
        match webhook.and_then(|webhook| webhook.client_config.service.as_ref()) {
            Some(called) if (&called.namespace, &called.name) != (namespace, service) => {
                Err(InstallError::OtherService {
                    object: self.configuration(),
                    called: format!("{}/{}", called.namespace, called.name),
                    own: format!("{namespace}/{service}"),
                })
            }
            _ => Ok(()),
        }
    }

    /// The pair in the Secret, if it is one.
    fn serving(&self, secret: &Secret, facts: &Facts) -> Option<Serving> {
        let Rotation { service, namespace, .. } = self.rotation;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(data(secret, "tls.crt")?).collect::<Result<_, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(data(secret, "tls.key")?).ok()?;
        let validity = der::validity(chain.first()?)?;
        CertifiedKey::from_der(chain.clone(), key, &tls::provider()).ok()?;
        let beside = authorities(data(secret, "ca.crt").unwrap_or_default());
        let present = facts.authority.iter().map(|(id, _)| id);
        let trusted = facts.bundle.iter().flat_map(|bundle| &bundle.authorities);
        let mut known = present.chain(&beside).chain(trusted);
        let signed_by = known.find(|id| authority::signed_by(&chain, id, service, namespace)).cloned();
        Some(Serving { validity, signed_by, since: since(secret.annotations()) })
    }

    /// Does one step. `None` if there was nothing to do it with any more.
    async fn carry_out(&self, step: &Step, found: &Found, now: Timestamp) -> Result<Option<Done>, InstallError> {
        let Rotation { service, namespace, lifetime, authority_lifetime, configuration } = self.rotation;
        let make = |source| InstallError::Make { service: service.clone(), namespace: namespace.clone(), source };
        match step {
            Step::MakeAuthority => {
                let authority = Authority::generate(*authority_lifetime, now).map_err(make)?;
                let pair = [("tls.crt", &authority.certificate_pem), ("tls.key", &authority.key_pem)];
                self.write_secret(AUTHORITY_SECRET, &pair, BTreeMap::new(), &found.authority_version).await?;
                Ok(Some(Done::MadeAuthority { until: authority.validity.until }))
            }
            Step::Issue => {
                let Some(authority) = &found.authority else { return Ok(None) };
                let Made { ca_pem, certificate_pem, key_pem } =
                    authority.issue(service, namespace, *lifetime, now).map_err(make)?;
                let until = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok();
                let until = until.and_then(|der| der::validity(&der)).map_or(now, |validity| validity.until);
                let files = [("ca.crt", &ca_pem), ("tls.crt", &certificate_pem), ("tls.key", &key_pem)];
                let annotations = BTreeMap::from([(SINCE.to_owned(), now.to_string())]);
                self.write_secret(SECRET, &files, annotations, &found.serving_version).await?;
                Ok(Some(Done::Issued { until }))
            }
            Step::Trust(authorities) => {
                let patch = json!({
                    "metadata": {
                        "annotations": {SINCE: now.to_string()},
                        "resourceVersion": found.configuration_version.resource,
                    },
                    "webhooks": [{"name": WEBHOOK, "clientConfig": {"caBundle": STANDARD.encode(bundle(authorities))}}],
                });
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
                let patch = Patch::Strategic(patch);
                bounded(self.configuration(), self.configurations.patch(configuration, &params, &patch)).await?;
                Ok(Some(Done::Trusted { authorities: authorities.len() }))
            }
            Step::Wait { .. } => Ok(None),
        }
    }

    async fn write_secret(
        &self,
        name: &str,
        files: &[(&str, &String)],
        annotations: BTreeMap<String, String>,
        version: &Version,
    ) -> Result<(), InstallError> {
        let data = files.iter().map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())));
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.rotation.namespace.clone()),
                labels: Some(BTreeMap::from([("app.kubernetes.io/part-of".to_owned(), "switchover".to_owned())])),
                annotations: Some(annotations),
                resource_version: version.resource.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(version.type_.clone().unwrap_or_else(|| "kubernetes.io/tls".to_owned())),
            data: Some(data.collect()),
            ..Secret::default()
        };
        // Server-side apply, because it is the one way to create an object that rights can name.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        bounded(self.secret(name), self.secrets.patch(name, &params, &Patch::Apply(secret))).await.map(|_| ())
    }

    fn secret(&self, name: &str) -> String {
        format!("Secret {}/{name}", self.rotation.namespace)
    }

    fn configuration(&self) -> String {
        format!("MutatingWebhookConfiguration {}", self.rotation.configuration)
    }
}

async fn bounded<T>(object: String, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, InstallError> {
    cluster::bounded(call).await.map_err(|source| InstallError::Call { object, source: Box::new(source) })
}

fn version(secret: &Secret) -> Version {
    Version { resource: secret.resource_version(), type_: secret.type_.clone() }
}

fn data<'s>(secret: &'s Secret, key: &str) -> Option<&'s [u8]> {
    secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}

fn since(annotations: &BTreeMap<String, String>) -> Option<Timestamp> {
    annotations.get(SINCE)?.parse().ok()
}

/// Two who both keep a certificate would replace each other's forever.
fn by_cert_manager(annotations: &BTreeMap<String, String>, key: &str, object: String) -> Result<(), InstallError> {
    if annotations.contains_key(key) { Err(InstallError::CertManager { object }) } else { Ok(()) }
}

/// The readable certificates of a PEM bundle.
pub(crate) fn authorities(pem: &[u8]) -> BTreeSet<AuthorityId> {
    CertificateDer::pem_slice_iter(pem).flatten().map(|der| AuthorityId(der.to_vec())).collect()
}

/// A PEM bundle of these certificates.
fn bundle(authorities: &BTreeSet<AuthorityId>) -> String {
    authorities.iter().map(|AuthorityId(der)| der::pem(der)).collect()
}

#[cfg(test)]
mod tests;
