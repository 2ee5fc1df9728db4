//! TLS: what is served and to whom, whom we believe.

pub mod clients;
pub mod der;
pub mod outgoing;
mod reloaded;
mod serving;
mod signatures;

use std::{io, path::PathBuf, sync::Arc};

use rustls::crypto::{CryptoProvider, ring};

pub(crate) use self::signatures::signatures_as_always;
pub use self::{
    clients::Clients,
    reloaded::Reload,
    serving::{CertificateFiles, HttpVersions, Kept, ServerFiles, server_config},
};

/// Makes ring the provider of all cryptography in this process (for kube's and reqwest's clients too). The first thing
/// that `main` does; doing it again changes nothing.
pub fn install_provider() {
    // Err means that a provider is installed already.
    let _ = ring::default_provider().install_default();
}

/// Why TLS can't be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {source}: write the path of a PEM file that this process may read", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {problem}: write a PEM certificate chain, the server's own first", path = path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error("{path}: {problem}", path = path.display())]
    Invalid { path: PathBuf, problem: String },
    #[error("{path}: {problem}: write the PEM private key that belongs to the certificate", path = path.display())]
    Key { path: PathBuf, problem: String },
    #[error("{path}: {problem}: write PEM certificates of the authorities that sign clients", path = path.display())]
    Authorities { path: PathBuf, problem: String },
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}
