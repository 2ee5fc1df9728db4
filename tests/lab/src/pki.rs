//! Certificates and kubeconfigs of a test bed: one authority, short-lived, kept nowhere but in the bed's directory.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

/// Signs every certificate of one bed.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Result<Authority> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("switchover-lab", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for both ends of a connection; `alternatives` are DNS names and addresses of a server.
    pub fn issue(&self, user: &str, group: Option<&str>, alternatives: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(alternatives.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = name(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A kubeconfig that holds everything in itself, so that it works from any directory and namespace.
    pub fn kubeconfig(&self, server: &str, identity: &Identity) -> String {
        kubeconfig(server, &self.certificate(), certificate_user(identity))
    }
}

/// A kubeconfig by which an API server shows this certificate to every webhook that it calls.
pub fn webhook_kubeconfig(identity: &Identity) -> String {
    // The user's name is what is called; the star stands for everything.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": "*", "user": certificate_user(identity)}],
    });
    format!("{config:#}\n")
}

fn certificate_user(identity: &Identity) -> serde_json::Value {
    json!({
        "client-certificate-data": base64(identity.certificate.as_bytes()),
        "client-key-data": base64(identity.key.as_bytes()),
    })
}

/// A kubeconfig with a bearer token.
pub fn token_kubeconfig(server: &str, authority: &str, token: &str) -> String {
    kubeconfig(server, authority, json!({ "token": token }))
}

// JSON is YAML, and the workspace needs no YAML writer for it.
fn kubeconfig(server: &str, authority: &str, user: serde_json::Value) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": base64(authority.as_bytes())}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    });
    format!("{config:#}\n")
}

/// The key pair that signs service account tokens: (private, public), both PEM.
pub fn token_key() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    // A file that is there keeps its mode, and somebody may be about to read it: another one takes its place.
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let _ = fs::remove_file(&next);
    fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&next)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&next, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
