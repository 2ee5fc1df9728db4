//! Only clients with a certificate of the right authority and name are answered.

use axum::body::Body;
use hyper::{Request, StatusCode, client::conn};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::*;
use super::{Server, review};
use crate::tls::{Clients, Reload};

/// Signs clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Certificate and key.
type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn client(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap())
    }
}

/// Asks over a new connection; `None` if we are not let in.
async fn ask(
    server: &Server,
    identity: Option<&Identity>,
    version: &'static SupportedProtocolVersion,
) -> Option<StatusCode> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots);
    let config = match identity {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("switchover-webhook.switchover-system.svc").unwrap();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::post("/mutate").header("host", "x").body(Body::from(review())).unwrap();
    // In TLS 1.3 a client hears of a refusal only after it has sent something.
    sender.send_request(request).await.ok().map(|response| response.status())
}

#[tokio::test]
async fn only_clients_of_the_right_authority_and_name_are_answered_and_a_new_authority_counts_at_once() {
    tls::install_provider();
    let file = std::env::temp_dir().join(format!("switchover-clients-{}.crt", std::process::id()));
    let (old, new) = (Authority::new(), Authority::new());
    let clients = Arc::new(Clients::new(&file, vec!["kube-apiserver".to_owned()]));
    let server = Server::start_for("clients", WebhookConfig::default(), Some(Arc::clone(&clients))).await;
    let answered = Some(StatusCode::OK);
    let (by_old, by_new) = (old.client("kube-apiserver"), new.client("kube-apiserver"));

    assert!(!clients.ready());
    assert_eq!(ask(&server, Some(&by_old), &TLS13).await, None, "no authorities, no clients");

    std::fs::write(&file, old.0.pem()).unwrap();
    assert_eq!((clients.reload(), clients.reload(), clients.ready()), (Reload::Swapped, Reload::Same, true));
    for version in [&TLS12, &TLS13] {
        assert_eq!(ask(&server, Some(&by_old), version).await, answered);
        assert_eq!(ask(&server, Some(&by_new), version).await, None, "another authority");
        assert_eq!(ask(&server, Some(&old.client("somebody")), version).await, None, "another name");
        assert_eq!(ask(&server, None, version).await, None, "no certificate");
    }

    std::fs::write(&file, "rubbish").unwrap();
    assert_eq!(clients.reload(), Reload::Refused);
    assert_eq!(ask(&server, Some(&by_old), &TLS13).await, answered, "the old authorities stay");

    std::fs::write(&file, old.0.pem() + &new.0.pem()).unwrap();
    assert_eq!(clients.reload(), Reload::Swapped);
    assert_eq!([ask(&server, Some(&by_old), &TLS13).await, ask(&server, Some(&by_new), &TLS13).await], [answered; 2]);
    std::fs::write(&file, new.0.pem()).unwrap();
    assert_eq!(clients.reload(), Reload::Swapped);
    for version in [&TLS12, &TLS13] {
        assert_eq!(ask(&server, Some(&by_old), version).await, None);
        assert_eq!(ask(&server, Some(&by_new), version).await, answered);
    }
    server.end().await;
    std::fs::remove_file(&file).unwrap();
}
