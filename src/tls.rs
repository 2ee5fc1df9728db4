//! The serving certificate: read from files, read again when they change, never replaced by a broken one.

pub mod certificate;
pub mod install;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

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
    expires: Option<Timestamp>,
}

/// Serves the newest good certificate of two files. Handshakes read it without waiting; [`Self::watch`] writes it.
pub struct CertificateFiles {
    certificate_file: PathBuf,
    key_file: PathBuf,
    loaded: ArcSwap<Loaded>,
    /// Broken files are reported once, not on every look.
    refused: std::sync::atomic::AtomicBool,
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("certificate_file", &self.certificate_file).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// When a file can't be read, or certificate and key are not good or don't belong together.
    pub fn load(certificate_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (certificate_file, key_file) = (certificate_file.into(), key_file.into());
        let loaded = load(&certificate_file, &key_file)?;
        Ok(Self {
            certificate_file,
            key_file,
            loaded: ArcSwap::from_pointee(loaded),
            refused: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// When the served certificate expires, if it says so readably.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.loaded.load().expires
    }

    /// Looks at the files once and takes them if they changed and are good. Open connections are not touched.
    pub fn reload(&self) -> Reload {
        let before = self.loaded.load();
        let refused = |error: &TlsError| {
            if !self.refused.swap(true, std::sync::atomic::Ordering::Relaxed) {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the new certificate is refused; serving the old one"
                );
            }
            Reload::Refused
        };
        match load(&self.certificate_file, &self.key_file) {
            Ok(now) if now.certificate_pem == before.certificate_pem && now.key_pem == before.key_pem => {
                self.refused.store(false, std::sync::atomic::Ordering::Relaxed);
                Reload::Same
            }
            Ok(now) => {
                let expires = now.expires.map(|at| at.to_string()).unwrap_or_default();
                tracing::info!(file = %self.certificate_file.display(), expires, "serving a new certificate");
                self.loaded.store(Arc::new(now));
                self.refused.store(false, std::sync::atomic::Ordering::Relaxed);
                Reload::Swapped
            }
            Err(error) => refused(&error),
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
        Some(Arc::clone(&self.loaded.load().key))
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
    let expires = certificate::expires(leaf);
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| bad_key(error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| bad_key(error.to_string()))?;
    Ok(Loaded { key: Arc::new(key), certificate_pem, key_pem, expires })
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN (RFC 7301).
///
/// # Errors
/// When the process's cryptography lacks what TLS needs.
pub fn server_config(certificate: Arc<CertificateFiles>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_certificate_never_replaces_a_good_one() {
        let directory = std::env::temp_dir().join(format!("switchover-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate_file, key_file) = (directory.join("tls.crt"), directory.join("tls.key"));
        let write = |made: &certificate::Made| {
            std::fs::write(&certificate_file, &made.certificate_pem).unwrap();
            std::fs::write(&key_file, &made.key_pem).unwrap();
        };
        let missing = CertificateFiles::load(&certificate_file, &key_file).unwrap_err();
        assert!(matches!(missing, TlsError::File { .. }), "{missing}");

        let make = |days| certificate::generate("switchover-webhook", "switchover-system", days).unwrap();
        let (first, second) = (make(10), make(20));
        write(&first);
        let files = CertificateFiles::load(&certificate_file, &key_file).unwrap();
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
