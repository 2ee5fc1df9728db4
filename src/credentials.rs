//! What we show to servers, and by what we believe them: authorities, a client certificate, a user and a password.
//!
//! They lie in Secrets of the namespace that switchover runs in, and in files where there is no Kubernetes.
//! [`Credentials::new`] makes them of what stands there, or says what is wrong with it; [`Access`] reads it again and again
//! and hands out the newest good ones; [`Credentials::explain`] says what to do when a connection fails all the same.
//! Nothing here knows whom they are for.

mod access;
mod explain;
mod files;
mod parts;
mod secrets;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::CertifiedKey,
};

pub use self::{
    access::{Access, Held, Pace, SecretState},
    files::Files,
    parts::{BasicParts, Part, TlsParts},
    secrets::{Data, Sources},
};
use crate::tls;

/// Why what people gave can't be used. Never holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("{secret} doesn't exist: create it with {content}")]
    NoSecret { secret: String, content: &'static str },
    #[error("{secret} may not be read ({said}): add its name to the Role switchover-credentials, as deploy/base/controller-rbac.yaml says")]
    Forbidden { secret: String, said: String },
    #[error("{secret} can't be read: {said}")]
    Unread { secret: String, said: String },
    #[error("{secret} holds nothing that is looked for: write {content} into it")]
    Nothing { secret: String, content: &'static str },
    #[error("{missing} is missing, and {there} is there: a client certificate needs both, or neither")]
    OnlyOne { there: String, missing: String },
    #[error("{part}: {problem}: write PEM certificates of the authorities to trust")]
    Authorities { part: String, problem: String },
    #[error("{part}: {problem}: write a PEM certificate chain, the client's own first")]
    Certificate { part: String, problem: String },
    #[error("{part}: {problem}: write the PEM private key that belongs to the certificate")]
    Key { part: String, problem: String },
    #[error("{part}: {problem}: write the {what} as it is, without anything around it")]
    BasicAuth { part: String, problem: &'static str, what: &'static str },
    #[error("{file}: {said}: write the path of a PEM file that you may read")]
    File { file: String, said: String },
    #[error("{0} is no DNS name and no address: write a name that stands in the servers' certificates")]
    ServerName(String),
    #[error("this machine has no root certificates{why}: put the authorities to trust into {place}")]
    NoRoots { why: String, place: String },
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}

/// Where people write what, in the words of sentences that tell them to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub authorities: String,
    pub identity: String,
    pub server_name: String,
    pub basic_auth: String,
}

/// A user and a password (RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    pub user: String,
    password: String,
}

impl BasicAuth {
    /// For a header or a login. Never to be shown.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The value of the header `Authorization`. Never to be shown.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A client certificate with its chain, and its private key.
#[derive(Clone)]
pub struct IdentityPem {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl fmt::Debug for IdentityPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityPem").finish_non_exhaustive()
    }
}

/// Good credentials. Without any of it, the machine's root certificates are believed and nothing is shown.
pub struct Credentials {
    /// Instead of the machine's root certificates.
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<CertifiedKey>,
    /// The same as people wrote it, for drivers that set TLS up by themselves.
    identity_pem: Option<IdentityPem>,
    /// When the client certificate expires.
    expires: Option<Timestamp>,
    server_name: Option<ServerName<'static>>,
    basic_auth: Option<BasicAuth>,
    places: Places,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("authorities", &self.authorities.as_ref().map(Vec::len))
            .field("expires", &self.expires)
            .field("server_name", &self.server_name)
            .field("basic_auth", &self.basic_auth)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads what people gave.
    ///
    /// # Errors
    /// With the first thing that is wrong with it.
    pub fn new(
        tls: &TlsParts,
        server_name: Option<&str>,
        basic_auth: Option<&BasicParts>,
        places: Places,
    ) -> Result<Self, CredentialsError> {
        let authorities = tls.authorities.as_ref().map(authorities).transpose()?;
        let identity = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => {
                let pem = IdentityPem { certificate: certificate.bytes.clone(), key: key.bytes.clone() };
                Some((identity(certificate, key)?, pem))
            }
            (None, None) => None,
            (Some(there), None) | (None, Some(there)) => {
                let (there, missing) = (there.name.clone(), there.other.clone());
                return Err(CredentialsError::OnlyOne { there, missing });
            }
        };
        let server_name = server_name
            .map(|name| {
                ServerName::try_from(name.to_owned()).map_err(|_| CredentialsError::ServerName(name.to_owned()))
            })
            .transpose()?;
        let (identity, identity_pem) = identity.unzip();
        let (identity, expires) = identity.unzip();
        let basic_auth = basic_auth.map(login).transpose()?;
        Ok(Self { authorities, identity, identity_pem, expires, server_name, basic_auth, places })
    }

    /// Nothing to show, and the machine's root certificates.
    #[must_use]
    pub fn none(places: Places) -> Self {
        Self {
            authorities: None,
            identity: None,
            identity_pem: None,
            expires: None,
            server_name: None,
            basic_auth: None,
            places,
        }
    }

    /// What a connection that we begin is set up with. Reads the machine's root certificates if no others are given.
    ///
    /// # Errors
    /// The machine has none, or the process's cryptography lacks what TLS needs.
    pub fn client_config(&self) -> Result<ClientConfig, CredentialsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots()?);
        tls::outgoing::client_config(roots, self.identity.as_ref(), self.server_name.clone())
            .map_err(|error| CredentialsError::Setup(error.to_string()))
    }

    /// By whom servers are believed: the authorities that were given, else the machine's.
    ///
    /// # Errors
    /// The machine has none that can be read.
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        if let Some(authorities) = &self.authorities {
            return Ok(authorities.clone());
        }
        let mut found = rustls_native_certs::load_native_certs();
        found.certs.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
        if found.certs.is_empty() {
            let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(CredentialsError::NoRoots { why, place: self.places.authorities.clone() });
        }
        Ok(found.certs)
    }

    /// What is shown to servers that ask for a certificate.
    #[must_use]
    pub const fn identity_pem(&self) -> Option<&IdentityPem> {
        self.identity_pem.as_ref()
    }

    /// The name that servers' certificates must carry, if it is another than the host's.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.server_name.as_ref().map(|name| name.to_str().into_owned())
    }

    /// The user and password to show, over TLS only.
    #[must_use]
    pub const fn basic_auth(&self) -> Option<&BasicAuth> {
        self.basic_auth.as_ref()
    }

    /// When the client certificate expires, if there is one.
    #[must_use]
    pub const fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether they tell by themselves whose servers may be shown a login: by authorities of their own, or by one name that
    /// every certificate must carry.
    #[must_use]
    pub const fn vouch(&self) -> bool {
        self.authorities.is_some() || self.server_name.is_some()
    }

    /// Whether there is anything that only TLS protects or that only TLS makes use of.
    #[must_use]
    pub const fn want_tls(&self) -> bool {
        self.authorities.is_some() || self.identity.is_some() || self.server_name.is_some() || self.basic_auth.is_some()
    }
}

fn authorities(part: &Part) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let bad = |problem: String| CredentialsError::Authorities { part: part.name.clone(), problem };
    let certificates = certificates(&part.bytes).map_err(bad)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
    }
    Ok(certificates)
}

fn identity(certificate: &Part, key: &Part) -> Result<(CertifiedKey, Timestamp), CredentialsError> {
    let bad_certificate = |problem: String| CredentialsError::Certificate { part: certificate.name.clone(), problem };
    let bad_key = |problem: String| CredentialsError::Key { part: key.name.clone(), problem };
    let chain = certificates(&certificate.bytes).map_err(bad_certificate)?;
    let validity = chain.first().and_then(|own| tls::der::validity(own));
    let Some(validity) = validity else {
        return Err(bad_certificate("it doesn't say how long it is valid".to_owned()));
    };
    let key = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|error| bad_key(error.to_string()))?;
    let identity = CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| bad_key(error.to_string()))?;
    Ok((identity, validity.until))
}

/// Every certificate of a PEM file, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("it holds no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

fn login(parts: &BasicParts) -> Result<BasicAuth, CredentialsError> {
    let read = |part: &Part, what: &'static str| {
        let bad = |problem| CredentialsError::BasicAuth { part: part.name.clone(), problem, what };
        let text = String::from_utf8(part.bytes.clone()).map_err(|_| bad("it isn't text"))?;
        // RFC 7617, 2.
        match text {
            text if text.is_empty() => Err(bad("it is empty")),
            text if text.contains(char::is_control) => Err(bad("it holds a control character, such as a line break")),
            text => Ok(text),
        }
    };
    let (user, password) = (read(&parts.user, "user's name")?, read(&parts.password, "password")?);
    if user.contains(':') {
        let (part, problem) = (parts.user.name.clone(), "it holds a colon, which ends a user's name");
        return Err(CredentialsError::BasicAuth { part, problem, what: "user's name" });
    }
    Ok(BasicAuth { user, password })
}
