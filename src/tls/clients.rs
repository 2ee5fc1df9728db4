//! Who may call the webhook, where that is restricted: whoever shows a certificate of one of these authorities, and
//! bears one of these names if any are given.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio_util::sync::CancellationToken;

use super::{Reload, der};

/// Why the authorities of clients can't be used.
#[derive(Debug, thiserror::Error)]
enum ClientsError {
    #[error("{path}: {source}: write the path of a PEM file that this process may read", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {problem}: write PEM certificates of the authorities that sign clients", path = path.display())]
    Authorities { path: PathBuf, problem: String },
}

struct Loaded {
    /// As it was read, to see whether it changed.
    pem: Vec<u8>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Verifies clients by the newest good authorities of a file. Handshakes read it without waiting; [`Self::watch`] writes
/// it.
pub struct Clients {
    file: PathBuf,
    /// Any of these; anybody if empty.
    names: Vec<String>,
    /// Nothing until there was a good file: then nobody is let in.
    loaded: ArcSwapOption<Loaded>,
    /// A broken file is reported once, not on every look.
    refused: AtomicBool,
    /// Who was turned away last, so that a client that tries again and again is one log line.
    stranger: Mutex<Vec<String>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("file", &self.file).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Clients {
    /// Reads the file. If it is missing or not good, nobody is let in until [`Self::reload`] finds a good one.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, names: Vec<String>) -> Self {
        let clients = Self {
            file: file.into(),
            names,
            loaded: ArcSwapOption::empty(),
            refused: AtomicBool::new(false),
            stranger: Mutex::default(),
        };
        clients.reload();
        clients
    }

    /// Whether anybody can be let in.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.loaded.load().is_some()
    }

    /// Looks at the file once and takes it if it changed and is good. Open connections are not touched.
    pub fn reload(&self) -> Reload {
        let before = self.loaded.load();
        match self.load() {
            Ok(now) => {
                self.refused.store(false, Ordering::Relaxed);
                if before.as_ref().is_some_and(|before| before.pem == now.pem) {
                    return Reload::Same;
                }
                tracing::info!(file = %self.file.display(), names = ?self.names, "verifying clients by these authorities");
                self.loaded.store(Some(Arc::new(now)));
                Reload::Swapped
            }
            Err(error) => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    let error = &error as &dyn std::error::Error;
                    match before.as_ref() {
                        Some(_) => {
                            tracing::warn!(error, "the new authorities of clients are refused; the old ones stay")
                        }
                        None => {
                            tracing::warn!(error, "there are no authorities of clients yet, so that none is let in")
                        }
                    }
                }
                Reload::Refused
            }
        }
    }

    /// Looks at the file every `interval` until `shutdown`, and tells whether anybody can be let in.
    pub async fn watch(self: Arc<Self>, interval: Duration, shutdown: CancellationToken, seen: impl Fn(bool)) {
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            self.reload();
            seen(self.ready());
        }
    }

    fn load(&self) -> Result<Loaded, ClientsError> {
        let pem = std::fs::read(&self.file).map_err(|source| ClientsError::File { path: self.file.clone(), source })?;
        let bad = |problem: String| ClientsError::Authorities { path: self.file.clone(), problem };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&pem) {
            roots.add(authority.map_err(|error| bad(error.to_string()))?).map_err(|error| bad(error.to_string()))?;
        }
        // Without any authority this is an error, too.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider())
            .build()
            .map_err(|error| bad(error.to_string()))?;
        Ok(Loaded { pem, verifier })
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        Ok(Arc::clone(&loaded.verifier))
    }

    fn turned_away(&self, names: Vec<String>, why: &dyn fmt::Display) {
        let mut stranger = self.stranger.lock().unwrap_or_else(PoisonError::into_inner);
        if *stranger != names {
            tracing::warn!(client = ?names, %why, "a client is not let in");
            *stranger = names;
        }
    }
}

impl ClientCertVerifier for Clients {
    /// No hints: they would be those of the file as it was when the connection began, and API servers have one
    /// certificate for us or none.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        client: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = match self.verifier()?.verify_client_cert(client, intermediates, now) {
            Ok(verified) => verified,
            Err(error) => {
                self.turned_away(der::names(client), &error);
                return Err(error);
            }
        };
        let names = der::names(client);
        if self.names.is_empty() || names.iter().any(|name| self.names.contains(name)) {
            return Ok(verified);
        }
        self.turned_away(names, &format_args!("it bears none of the names {}", self.names.join(", ")));
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        super::provider().signature_verification_algorithms.supported_schemes()
    }
}
