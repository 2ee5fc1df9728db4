//! What a server shows whoever connects, and whether the API server would believe it.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::{
    ClientConfig,
    client::danger::{ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{authority, install};
use crate::{
    core::rotation::{AuthorityId, Validity},
    tls::{self, der, signatures_as_always},
};

/// The certificates that a server shows, its own first (DER).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(Vec<CertificateDer<'static>>);

/// Why nothing is known of what a server shows.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    #[error("it can't be reached: {0}")]
    Connect(#[from] io::Error),
    #[error("it gave no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it shows no certificate")]
    Nothing,
    #[error("TLS can't be spoken: {0}")]
    Tls(#[from] rustls::Error),
}

impl Chain {
    /// Of a text in PEM; `None` if it holds no certificate.
    #[must_use]
    pub fn read(pem: &[u8]) -> Option<Self> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
        (!chain.is_empty()).then_some(Self(chain))
    }

    /// How long the server's own certificate holds; `None` if it doesn't say so.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        der::validity(self.0.first()?)
    }

    /// Whether one of these authorities vouches for it, for the name by which the API server calls the Service (or for the address
    /// in its place). Whether it has expired is another question.
    #[must_use]
    pub fn is_believed(&self, authorities: &BTreeSet<AuthorityId>, service: &str, namespace: &str) -> bool {
        authorities.iter().any(|it| authority::signed_by(&self.0, it, service, namespace))
    }
}

/// The authorities of a `caBundle`.
#[must_use]
pub fn authorities(bundle: &[u8]) -> BTreeSet<AuthorityId> {
    install::authorities(bundle)
}

/// Connects, and says what the server shows. It may end the connection then, such as for want of a client's certificate.
///
/// # Errors
/// Nobody answers there, or nobody who speaks TLS.
pub async fn look(host: &str, port: u16, patience: Duration) -> Result<Chain, ServedError> {
    let seen = Arc::new(Witness::default());
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| rustls::Error::General(error.to_string()))?;
    let connecting = async {
        let stream = TcpStream::connect((host, port)).await?;
        // How the handshake ends says nothing of what was shown in it.
        let _ = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok::<_, io::Error>(())
    };
    tokio::time::timeout(patience, connecting).await.map_err(|_| ServedError::Silent(patience))??;
    let chain = std::mem::take(&mut *seen.0.lock());
    if chain.is_empty() { Err(ServedError::Nothing) } else { Ok(Chain(chain)) }
}

/// Keeps what is shown, and believes none of it: the connection isn't used for anything.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<CertificateDer<'static>>>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock() = std::iter::once(server).chain(intermediates).map(|it| it.clone().into_owned()).collect();
        Err(rustls::Error::General("only looked at".to_owned()))
    }

    signatures_as_always!();
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::certificates::authority::Authority;

    #[test]
    fn a_chain_is_believed_by_whom_its_authority_is_believed_and_for_its_own_service() {
        let day = Duration::from_secs(86_400);
        let (ours, another) = (Authority::generate(day, Timestamp::now()), Authority::generate(day, Timestamp::now()));
        let (ours, another) = (ours.unwrap(), another.unwrap());
        let made = ours.issue("switchover-webhook", "switchover-system", day, Timestamp::now()).unwrap();
        let chain = Chain::read(made.certificate_pem.as_bytes()).unwrap();
        let bundle = |authorities: &[&Authority]| -> BTreeSet<AuthorityId> {
            let pem: String = authorities.iter().map(|it| it.certificate_pem.as_str()).collect();
            super::authorities(pem.as_bytes())
        };
        let believed = |authorities: &[&Authority], namespace| {
            chain.is_believed(&bundle(authorities), "switchover-webhook", namespace)
        };
        assert!(believed(&[&another, &ours], "switchover-system"));
        assert!(!believed(&[&another], "switchover-system"), "another authority");
        assert!(!believed(&[], "switchover-system"), "nobody");
        assert!(!believed(&[&ours], "elsewhere"), "another Service");
        assert!(Chain::read(b"no certificate").is_none());
    }
}
