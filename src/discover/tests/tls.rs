//! Patroni over TLS: what is believed, what is shown, what is said when it goes wrong, and what changes while it runs.

use std::sync::Arc;

use jiff::Timestamp;
use lab::pki;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::super::{
    testing::{Reply, Server, error_of, follow_with, known, names, places, until},
    *,
};
use crate::{
    certificates::testing::Objects,
    credentials::{
        Credentials, Pace, Sources, TlsParts,
        tests::{secret, sources},
    },
};

const HERE: &str = "127.0.0.1:0";
/// A handshake takes more of a busy machine than a question does.
const TIMEOUT: Duration = Duration::from_secs(5);
const PACE: Pace = Pace { regular: Duration::from_millis(100), soon: Duration::from_millis(20) };

fn server(identity: &pki::Identity, clients: Option<&pki::Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).unwrap()
}

fn authority() -> pki::Authority {
    pki::Authority::new().unwrap()
}

/// What a Secret `pg` with this content makes.
fn held(data: &[(&str, &str)], server_name: Option<&str>) -> Access {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), k8s_openapi::ByteString(text.as_bytes().to_vec())));
    let parts = TlsParts::of_secret("the Secret switchover-system/pg", &data.collect()).unwrap();
    let places = sources(Some("pg"), None).places();
    Access::fixed(Arc::new(Credentials::new(&parts, server_name, None, places).unwrap()))
}

fn nothing() -> Access {
    Access::fixed(Arc::new(Credentials::none(places())))
}

fn ask(server: &Server, access: Access) -> Discovery {
    follow_with(&[server], Restored::default(), access, TIMEOUT)
}

/// Follows a server until its error begins and ends like this.
async fn refused(server: &Server, access: Access, begin: &str, end: &str) {
    let handle = ask(server, access);
    let says = |state: &DiscoveryState| error_of(state, &server.url).is_some_and(|error| error != "no answer yet");
    let state = until(&handle, begin, says).await;
    let error = error_of(&state, &server.url).unwrap();
    assert!(error.starts_with(begin) && error.ends_with(end), "expected {begin} … {end}\n     saw {error}");
    assert_eq!(state.view.why, format!("no member answers: {} ({error})", server.url));
}

#[tokio::test]
async fn a_member_is_believed_by_its_authority_and_by_the_name_that_is_written() {
    let ours = authority();
    let ca = ours.certificate();
    for (names, server_name) in [
        (&["127.0.0.1"][..], None),
        (&["patroni.example.com"], Some("patroni.example.com")),
        (&["*.example.com", "127.0.0.1"], Some("pg1.example.com")),
    ] {
        let pg1 = Server::start_at(HERE, Some(server(&ours.issue("pg1", None, names).unwrap(), None))).await;
        pg1.is("pg1", "200 running primary 1");
        pg1.lists("pg1", &[("pg1", &pg1)]);
        let handle = ask(&pg1, held(&[("ca.crt", &ca)], server_name));
        until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 1)) && !state.members.is_empty()).await;
    }
}

#[tokio::test]
async fn wrong_tls_ends_in_a_sentence_that_says_what_to_do() {
    let (ours, theirs) = (authority(), authority());
    let ca = ours.certificate();
    let ca = [("ca.crt", &*ca)];
    let pg1 = |identity: &pki::Identity| Server::start_at(HERE, Some(server(identity, None)));
    let good = ours.issue("pg1", None, &["127.0.0.1"]).unwrap();

    let stranger = pg1(&theirs.issue("pg1", None, &["127.0.0.1"]).unwrap()).await;
    let signed = "its certificate is signed by no authority of ca.crt of the Secret switchover-system/pg: add the one";
    refused(&stranger, held(&ca, None), signed, "that signed it there").await;
    let signed =
        "its certificate is signed by no authority that this machine trusts: write the one that signed it into ca.crt";
    let client = ours.issue("switchover", None, &[]).unwrap();
    let shown = [("tls.crt", &*client.certificate), ("tls.key", &*client.key)];
    refused(&stranger, held(&shown, None), signed, " of the Secret switchover-system/pg").await;

    let named = pg1(&ours.issue("pg1", None, &["pg1.example.com", "10.0.0.1"]).unwrap()).await;
    let carries = "its certificate carries pg1.example.com, 10.0.0.1, not ";
    let write = "write a name that it carries as spec.discovery.patroni.tls.serverName, or issue it anew";
    refused(&named, held(&ca, None), &format!("{carries}127.0.0.1: "), write).await;
    let written =
        "not pg2.example.com, which is written as spec.discovery.patroni.tls.serverName: write one that it carries";
    refused(&named, held(&ca, Some("pg2.example.com")), "its certificate carries", ", or issue it anew").await;
    refused(&named, held(&ca, Some("pg2.example.com")), &format!("{}{written}", &carries[..carries.len() - 4]), "anew")
        .await;
    let nameless = pg1(&ours.issue("pg1", None, &[]).unwrap()).await;
    refused(
        &nameless,
        held(&ca, None),
        "its certificate carries no name at all (subjectAltName), not 127.0.0.1",
        write,
    )
    .await;

    let now = Timestamp::now();
    let past = now - Duration::from_secs(20 * 86_400);
    let issuer = crate::certificates::authority::Authority::generate(Duration::from_secs(40 * 86_400), past).unwrap();
    let made = issuer.issue("127.0.0.1", "x", Duration::from_secs(86_400), past).unwrap();
    let old = pg1(&pki::Identity { certificate: made.certificate_pem, key: made.key_pem }).await;
    let expired = format!("its certificate expired at {}", (past + Duration::from_secs(86_400)).strftime("%Y-%m-%d"));
    refused(&old, held(&[("ca.crt", &issuer.certificate_pem)], None), &expired, ": renew it there").await;

    let asks = Server::start_at(HERE, Some(server(&good, Some(&theirs)))).await;
    let write = "write tls.crt and tls.key into the Secret switchover-system/pg";
    refused(&asks, held(&ca, None), "", write).await;
    let shown = [ca[0], shown[0], shown[1]];
    let handle = ask(&asks, held(&shown, None));
    until(&handle, "a certificate that the server doesn't know", |state| {
        error_of(state, &asks.url)
            .is_some_and(|error| error.contains("doesn't accept") && error.contains("client certificate"))
    })
    .await;

    let mut plain = Server::start().await;
    plain.url = plain.url.replace("http:", "https:");
    refused(&plain, held(&ca, None), "doesn't speak TLS: write http://", "").await;
    let mut tls = pg1(&good).await;
    tls.url = tls.url.replace("https:", "http:");
    refused(&tls, nothing(), "doesn't answer in HTTP (", "if it speaks TLS, write https://").await;
}

#[tokio::test]
async fn with_credentials_nobody_is_asked_in_the_clear() {
    let ours = authority();
    let pg1 = Server::start_at(HERE, Some(server(&ours.issue("pg1", None, &["127.0.0.1"]).unwrap(), None))).await;
    let pg2 = Server::start().await;
    pg1.is("pg1", "200 running primary 1");
    pg2.is("pg2", "503 running replica 1");
    pg1.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
    let handle = ask(&pg1, held(&[("ca.crt", &ours.certificate())], None));
    let state = until(&handle, "pg2 is not asked", |state| {
        error_of(state, "pg2").is_some_and(|error| error.starts_with("its address begins with http://"))
    })
    .await;
    assert_eq!((known(&state), names(&state)), (Some(("pg1", 1)), vec!["pg1", "pg2"]));
    assert_eq!(pg2.counts.primary.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_401_says_where_to_write_a_password() {
    let ours = authority();
    let pg1 = Server::start_at(HERE, Some(server(&ours.issue("pg1", None, &["127.0.0.1"]).unwrap(), None))).await;
    pg1.says("/primary", Reply::Json(401, String::new()));
    let write = "write username and password into a Secret in switchover-system, and its name into \
                 spec.discovery.patroni.basicAuth.secretName";
    let ca = ours.certificate();
    refused(&pg1, held(&[("ca.crt", &ca)], None), "answered 401, so it asks for a user and a password: ", write).await;

    let objects = Objects::default();
    objects.put("pg", secret("pg", &[("ca.crt", &ca)]));
    objects.put("login", secret("login", &[("username", "bank"), ("password", "wrong")]));
    let access = Access::keep("orders", objects.client(), sources(Some("pg"), Some("login")), PACE);
    pg1.lists("pg1", &[("pg1", &pg1)]);
    pg1.says(
        "/primary",
        Reply::JsonFor(crate::credentials::tests::header("bank", "right"), Server::body("pg1", "running primary 1")),
    );
    let handle = ask(&pg1, access);
    let wrong = "answered 401, so it doesn't accept the password of bank: write the right ones into username and password of \
                 the Secret switchover-system/login";
    until(&handle, wrong, |state| error_of(state, &pg1.url).as_deref() == Some(wrong)).await;
    objects.put("login", secret("login", &[("username", "bank"), ("password", "right")]));
    until(&handle, "the right password", |state| known(state) == Some(("pg1", 1))).await;
}

#[tokio::test]
async fn certificates_are_rotated_in_the_secret_while_it_runs() {
    let (old, new) = (authority(), authority());
    let speaks = |authority: &pki::Authority, clients: &pki::Authority| {
        server(&authority.issue("pg1", None, &["patroni.example.com"]).unwrap(), Some(clients))
    };
    let client = |authority: &pki::Authority| authority.issue("switchover", None, &[]).unwrap();
    let (first, second) = (client(&old), client(&new));
    let write = |ca: &str, shown: &pki::Identity| {
        secret("pg", &[("ca.crt", ca), ("tls.crt", &shown.certificate), ("tls.key", &shown.key)])
    };
    let objects = Objects::default();
    let pg1 = Server::start_at(HERE, Some(speaks(&old, &old))).await;
    pg1.is("pg1", "200 running primary 1");
    pg1.lists("pg1", &[("pg1", &pg1)]);
    let from = Sources { server_name: Some("patroni.example.com".to_owned()), ..sources(Some("pg"), None) };
    let handle = ask(&pg1, Access::keep("orders", objects.client(), from, PACE));

    let missing = "the Secret switchover-system/pg doesn't exist: create it with ca.crt";
    let state = until(&handle, missing, |state| state.view.why.contains(missing)).await;
    assert_eq!(state.credentials.as_ref().map(SecretState::name), Some("Missing"));
    assert!(state.looked, "and people are told");
    objects.put("pg", write(&old.certificate(), &first));
    until(&handle, "followed", |state| known(state) == Some(("pg1", 1))).await;

    // Both authorities are trusted for a while, then the server has a new certificate, then it knows the new client only.
    let both = format!("{}{}", old.certificate(), new.certificate());
    objects.put("pg", write(&both, &first));
    pg1.speaks(speaks(&new, &old));
    pg1.is("pg1", "200 running primary 2");
    until(&handle, "a new server's certificate", |state| known(state) == Some(("pg1", 2))).await;
    pg1.speaks(speaks(&new, &new));
    until(&handle, "the old client is refused", |state| {
        error_of(state, "pg1").is_some_and(|error| error.contains("client certificate"))
    })
    .await;
    objects.put("pg", write(&new.certificate(), &second));
    pg1.is("pg1", "200 running primary 3");
    let state = until(&handle, "the new client", |state| known(state) == Some(("pg1", 3))).await;
    assert_eq!(state.view.epoch, 1);

    // Half of the next pair is refused, and changes nothing.
    objects.put("pg", secret("pg", &[("ca.crt", &new.certificate()), ("tls.crt", &second.certificate)]));
    until(&handle, "half a pair", |state| state.credentials.as_ref().map(SecretState::name) == Some("Outdated")).await;
    pg1.is("pg1", "200 running primary 4");
    until(&handle, "still followed", |state| known(state) == Some(("pg1", 4))).await;
}

#[tokio::test]
async fn a_member_is_followed_by_a_host_name_and_by_an_ipv6_address() {
    let ours = authority();
    let identity = ours.issue("pg1", None, &["localhost", "::1"]).unwrap();
    for address in ["localhost:0", "[::1]:0"] {
        let mut pg1 = Server::start_at(address, Some(server(&identity, None))).await;
        let port = pg1.url.rsplit(':').next().unwrap();
        pg1.url = format!("https://{}{port}", address.trim_end_matches('0'));
        pg1.is("pg1", "200 running primary 1");
        pg1.lists("pg1", &[("pg1", &pg1)]);
        let handle = ask(&pg1, held(&[("ca.crt", &ours.certificate())], None));
        let state = until(&handle, address, |state| known(state).is_some() && !state.members.is_empty()).await;
        assert_eq!(state.members[0].api_url.as_ref(), Some(&pg1.url));
    }
}
