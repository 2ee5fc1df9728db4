//! Connections that we begin: which servers are believed, and what we show them.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::signatures::signatures_as_always;

/// TLS 1.2 and 1.3 for HTTP/1.1. Believes servers that one of `roots` vouches for, for `server_name` if there is one, else
/// for the host that is called; shows `identity` to servers that ask for a certificate.
///
/// Every connection verifies anew: a resumed session would outlive a certificate that has expired or was replaced.
///
/// # Errors
/// Without any root, or when the process's cryptography lacks what TLS needs.
pub fn client_config(
    roots: RootCertStore,
    identity: Option<&CertifiedKey>,
    server_name: Option<ServerName<'static>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = super::provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match server_name {
        None => builder.with_webpki_verifier(verifier),
        // "Dangerous" is what an own verifier could be. This one hands everything on but the name.
        Some(name) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Named { verifier, name })),
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Verifies as always, but for one name, whichever host is called.
#[derive(Debug)]
struct Named {
    verifier: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _called: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(server, intermediates, &self.name, ocsp_response, now)
    }

    signatures_as_always!();
}
