//! What a server shows and whom it lets in: read from files, read again when they change, never replaced by broken ones.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::task::JoinSet;

use super::{
    Clients, TlsError, der, provider,
    reloaded::{FromFiles, Reload, Reloaded},
};
use crate::{core::rotation::Validity, serve::Probes};

/// The versions of HTTP that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersions {
    /// HTTP/1.1 alone: all that API servers speak to Services, and controllers to a witness.
    One,
    /// HTTP/2, too, which API servers speak to a URL of their own machine.
    OneAndTwo,
}

/// The files that a role serves TLS by. All of them are read again when they change.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// PEM certificate chain.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// PEM certificates of the authorities that sign clients. Without it anybody who reaches the port is answered.
    pub client_authorities: Option<PathBuf>,
    /// Names of which a client bears one; any name if empty.
    pub client_names: Vec<String>,
    pub versions: HttpVersions,
    /// Pause between two looks at the files.
    pub poll: Duration,
}

impl ServerFiles {
    /// Reads the files, and sees to it by a task of its own that they are read again. Readiness waits until all of them
    /// were good once: a process that ended instead would be started again later and later. `seen` hears what came of each
    /// look at the certificate and when the one that is served expires; first of all of the one that is there now, as
    /// [`Reload::Same`].
    ///
    /// # Errors
    /// When the process's cryptography lacks what TLS needs.
    pub fn keep(
        self,
        probes: &Probes,
        tasks: &mut JoinSet<()>,
        seen: impl Fn(Reload, Option<Timestamp>) + Send + 'static,
    ) -> Result<Kept, TlsError> {
        let certificate = Arc::new(CertificateFiles::new(self.certificate, self.key));
        let shown = Arc::clone(&certificate);
        let certified = probes.check("certificate", "there is no good certificate in the files yet; see the log");
        certified.set(certificate.expires().is_some());
        seen(Reload::Same, certificate.expires());
        let clients = self.client_authorities.map(|file| {
            let clients = Arc::new(Clients::new(file, self.client_names));
            let known =
                probes.check("clients", "there are no good authorities of clients in the file yet; see the log");
            known.set(clients.ready());
            (clients, known)
        });
        let verifier = clients.as_ref().map(|(clients, _)| Arc::clone(clients));
        let config = server_config(Arc::clone(&certificate), verifier, self.versions)?;
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(self.poll).await;
                let reload = certificate.reload();
                seen(reload, certificate.expires());
                certified.set(certificate.expires().is_some());
                if let Some((clients, known)) = &clients {
                    clients.reload();
                    known.set(clients.ready());
                }
            }
        });
        Ok(Kept { config, certificate: shown })
    }
}

/// What files are kept for.
#[derive(Debug, Clone)]
pub struct Kept {
    pub config: Arc<ServerConfig>,
    /// What is served now.
    pub certificate: Arc<CertificateFiles>,
}

/// A certificate with its key.
struct Pair {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

/// Serves the newest good certificate of two files.
pub struct CertificateFiles {
    pair: Reloaded<Pair, 2>,
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("files", &self.pair.files()).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// Reads both files. If they are missing or not good, handshakes fail until [`Self::reload`] finds a good pair.
    #[must_use]
    pub fn new(certificate_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        let files = Self { pair: Reloaded::of([certificate_file.into(), key_file.into()]) };
        files.reload();
        files
    }

    /// When the served certificate expires. `None` while there is nothing to serve.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.pair.get(|pair| pair.validity.until)
    }

    /// The served certificate and what leads to its authority (RFC 7468), as everybody is shown it who connects. `None` while there
    /// is nothing to serve.
    #[must_use]
    pub fn chain(&self) -> Option<String> {
        self.pair.get(|pair| pair.key.cert.iter().map(|certificate| der::pem(certificate)).collect())
    }

    /// Looks at the files once and takes them if they changed and are good. Open connections are not touched.
    pub fn reload(&self) -> Reload {
        self.reload_at(Timestamp::now())
    }

    fn reload_at(&self, now: Timestamp) -> Reload {
        let reload = self.pair.reload(now);
        if let (Reload::Swapped, Some(expires)) = (reload, self.expires()) {
            tracing::info!(files = ?self.pair.files(), %expires, "serving a new certificate");
        }
        reload
    }
}

impl ResolvesServerCert for CertificateFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pair.get(|pair| Arc::clone(&pair.key))
    }
}

impl FromFiles<2> for Pair {
    const REFUSED: &str = "the new certificate is refused; serving the old one";
    const NONE_YET: &str = "there is no certificate to serve yet; looking again";

    fn make([certificate_file, key_file]: &[PathBuf; 2], [certificate, key]: &[Vec<u8>; 2]) -> Result<Self, TlsError> {
        let bad_certificate = |problem: String| TlsError::Certificate { path: certificate_file.clone(), problem };
        let bad_key = |problem: String| TlsError::Key { path: key_file.clone(), problem };
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad_certificate(error.to_string()))?;
        let Some(leaf) = chain.first() else { return Err(bad_certificate("it holds no certificate".to_owned())) };
        let Some(validity) = der::validity(leaf) else {
            return Err(bad_certificate("it doesn't say how long it is valid".to_owned()));
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad_key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| bad_key(error.to_string()))?;
        Ok(Self { key: Arc::new(key), validity })
    }

    /// Whoever made the new pair may have another clock than those who are shown it, and a Secret may come back from a backup.
    fn replace(self, [certificate_file, _]: &[PathBuf; 2], before: &Self, now: Timestamp) -> Result<Self, TlsError> {
        if self.validity.holds(now) || !before.validity.holds(now) {
            return Ok(self);
        }
        let Validity { from, until } = self.validity;
        let problem = format!("it is valid from {from} until {until}, and here it is {now}: set the clocks right");
        Err(TlsError::Invalid { path: certificate_file.clone(), problem })
    }
}

/// TLS 1.2 and 1.3, and these versions of HTTP by ALPN (RFC 7301). With `clients`, only those that they let in.
///
/// # Errors
/// When the process's cryptography lacks what TLS needs.
pub fn server_config(
    certificate: Arc<CertificateFiles>,
    clients: Option<Arc<Clients>>,
    versions: HttpVersions,
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
    let two = (versions == HttpVersions::OneAndTwo).then(|| b"h2".to_vec());
    config.alpn_protocols = two.into_iter().chain([b"http/1.1".to_vec()]).collect();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::authority;

    #[test]
    fn a_certificate_is_taken_when_it_is_there_and_a_broken_one_never_replaces_it() {
        let directory = std::env::temp_dir().join(format!("switchover-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate_file, key_file) = (directory.join("tls.crt"), directory.join("tls.key"));
        let write = |made: &authority::Made| {
            std::fs::write(&certificate_file, &made.certificate_pem).unwrap();
            std::fs::write(&key_file, &made.key_pem).unwrap();
        };
        let files = CertificateFiles::new(&certificate_file, &key_file);
        assert_eq!((files.reload(), files.expires()), (Reload::Refused, None));

        let make = |days: u64| {
            let lifetime = Duration::from_secs(days * 86_400);
            authority::generate("switchover-webhook", "switchover-system", lifetime).unwrap()
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

    #[test]
    fn a_certificate_that_is_not_valid_now_replaces_none_that_is() {
        let directory = std::env::temp_dir().join(format!("switchover-tls-clocks-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate_file, key_file) = (directory.join("tls.crt"), directory.join("tls.key"));
        let write = |from: Timestamp, days: u64| {
            let lifetime = Duration::from_secs(days * 86_400);
            let authority = authority::Authority::generate(lifetime, from).unwrap();
            let made = authority.issue("switchover-webhook", "switchover-system", lifetime, from).unwrap();
            std::fs::write(&certificate_file, &made.certificate_pem).unwrap();
            std::fs::write(&key_file, &made.key_pem).unwrap();
        };
        let now = Timestamp::now();
        let days = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
        write(now, 90);
        let files = CertificateFiles::new(&certificate_file, &key_file);
        let first = files.expires();
        for (what, made, lifetime) in [("of tomorrow", days(5), 90), ("expired", days(-50), 40)] {
            write(made, lifetime);
            assert_eq!((files.reload_at(now), files.expires()), (Reload::Refused, first), "{what}");
        }
        // As soon as it is valid it is taken, and whatever there is when the old one has expired.
        write(days(5), 90);
        assert_eq!((files.reload_at(days(3)), files.expires()), (Reload::Refused, first));
        assert_eq!(files.reload_at(days(5)), Reload::Swapped);
        let second = files.expires();
        write(days(200), 90);
        assert_eq!((files.reload_at(days(94)), files.expires()), (Reload::Refused, second));
        assert_eq!(files.reload_at(days(96)), Reload::Swapped);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
