//! The serving certificate: read from files, read again when they change, never replaced by a broken one.

pub mod certificate;
pub mod clients;
pub mod der;
pub mod install;
pub mod outgoing;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

pub use self::clients::Clients;

/// Makes ring the provider of all cryptography in this process (for kube's and reqwest's clients too). The first thing
/// that `main` does; doing it again changes nothing.
pub fn install_provider() {
    // Err means that a provider is installed already.
    let _ = ring::default_provider().install_default();
}

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {source}: write the path of a PEM file that this process may read", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {problem}: write a PEM certificate chain, the server's own first", path = path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error("{path}: {problem}: write the PEM private key that belongs to the certificate", path = path.display())]
    Key { path: PathBuf, problem: String },
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What came of one look at the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    Same,
    Swapped,
    /// The files are broken or half-written; the certificate from before stays.
    Refused,
}

struct Loaded {
    key: Arc<CertifiedKey>,
    /// Both files as they were read, to see whether they changed.
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
    expires: Timestamp,
}

/// Serves the newest good certificate of two files. Handshakes read it without waiting; [`Self::watch`] writes it.
pub struct CertificateFiles {
    certificate_file: PathBuf,
    key_file: PathBuf,
    /// Nothing until there was a good pair.
    loaded: ArcSwapOption<Loaded>,
    /// Broken files are reported once, not on every look.
    refused: AtomicBool,
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("certificate_file", &self.certificate_file).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// Reads both files. If they are missing or not good, handshakes fail until [`Self::reload`] finds a good pair.
    #[must_use]
    pub fn new(certificate_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        let files = Self {
            certificate_file: certificate_file.into(),
            key_file: key_file.into(),
            loaded: ArcSwapOption::empty(),
            refused: AtomicBool::new(false),
        };
        files.reload();
        files
    }

    /// When the served certificate expires. `None` while there is nothing to serve.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.loaded.load().as_ref().map(|loaded| loaded.expires)
    }

    /// Looks at the files once and takes them if they changed and are good. Open connections are not touched.
    pub fn reload(&self) -> Reload {
        let before = self.loaded.load();
        match load(&self.certificate_file, &self.key_file) {
            Ok(now) => {
                self.refused.store(false, Ordering::Relaxed);
                if before.as_ref().is_some_and(|before| {
                    before.certificate_pem == now.certificate_pem && before.key_pem == now.key_pem
                }) {
                    return Reload::Same;
                }
                let (file, expires) = (self.certificate_file.display(), now.expires);
                tracing::info!(%file, %expires, "serving a new certificate");
                self.loaded.store(Some(Arc::new(now)));
                Reload::Swapped
            }
            Err(error) => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    let error = &error as &dyn std::error::Error;
                    match before.as_ref() {
                        Some(_) => tracing::warn!(error, "the new certificate is refused; serving the old one"),
                        None => tracing::warn!(error, "there is no certificate to serve yet; looking again"),
                    }
                }
                Reload::Refused
            }
        }
    }

    /// Looks at the files every `interval` until `shutdown`, and passes on what came of it. The contents are compared,
    /// not the times: kubelets swap a mounted Secret by a symbolic link.
    pub async fn watch(self: Arc<Self>, interval: Duration, shutdown: CancellationToken, seen: impl Fn(Reload)) {
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            seen(self.reload());
        }
    }
}

impl ResolvesServerCert for CertificateFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.loaded.load().as_ref().map(|loaded| Arc::clone(&loaded.key))
    }
}

fn load(certificate_file: &Path, key_file: &Path) -> Result<Loaded, TlsError> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
    let (certificate_pem, key_pem) = (read(certificate_file)?, read(key_file)?);

    let bad_certificate = |problem: String| TlsError::Certificate { path: certificate_file.to_owned(), problem };
    let bad_key = |problem: String| TlsError::Key { path: key_file.to_owned(), problem };
    let chain = CertificateDer::pem_slice_iter(&certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad_certificate(error.to_string()))?;
    let Some(leaf) = chain.first() else { return Err(bad_certificate("it holds no certificate".to_owned())) };
    let Some(validity) = der::validity(leaf) else {
        return Err(bad_certificate("it doesn't say how long it is valid".to_owned()));
    };
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| bad_key(error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| bad_key(error.to_string()))?;
    Ok(Loaded { key: Arc::new(key), certificate_pem, key_pem, expires: validity.until })
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN (RFC 7301). With `clients`, only those that they let in.
///
/// # Errors
/// When the process's cryptography lacks what TLS needs.
pub fn server_config(
    certificate: Arc<CertificateFiles>,
    clients: Option<Arc<Clients>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let verifies = clients.is_some();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    if verifies {
        // A resumed session is not verified again, and would outlive the authority that let it in.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_taken_when_it_is_there_and_a_broken_one_never_replaces_it() {
        let directory = std::env::temp_dir().join(format!("switchover-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate_file, key_file) = (directory.join("tls.crt"), directory.join("tls.key"));
        let write = |made: &certificate::Made| {
            std::fs::write(&certificate_file, &made.certificate_pem).unwrap();
            std::fs::write(&key_file, &made.key_pem).unwrap();
        };
        let files = CertificateFiles::new(&certificate_file, &key_file);
        assert_eq!((files.reload(), files.expires()), (Reload::Refused, None));

        let make = |days: u64| {
            let lifetime = Duration::from_secs(days * 86_400);
            certificate::generate("switchover-webhook", "switchover-system", lifetime).unwrap()
        };
        let (first, second) = (make(10), make(20));
        write(&first);
        assert_eq!(files.reload(), Reload::Swapped);
        let expires = files.expires();
        assert_eq!(files.reload(), Reload::Same);

        // Half of a new pair.
        std::fs::write(&certificate_file, &second.certificate_pem).unwrap();
        assert_eq!(files.reload(), Reload::Refused);
        std::fs::write(&certificate_file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(files.reload(), Reload::Refused);
        std::fs::write(&certificate_file, "").unwrap();
        assert_eq!((files.reload(), files.expires()), (Reload::Refused, expires));

        write(&second);
        assert_eq!((files.reload(), files.reload()), (Reload::Swapped, Reload::Same));
        assert!(files.expires() > expires);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
