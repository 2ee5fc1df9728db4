//! What stands in Secrets → credentials, or a sentence that says what to write; and what becomes of them as Secrets change.

use axum::{Json, Router, http::StatusCode};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use lab::pki;
use lab::table::check_rows;
use serde_json::{Value, json};

use super::*;
use crate::certificates::testing::Objects;

const NAMESPACE: &str = "switchover-system";

pub(crate) fn sources(tls: Option<&str>, basic_auth: Option<&str>) -> Sources {
    Sources {
        field: "spec.discovery.patroni",
        namespace: NAMESPACE.to_owned(),
        tls_secret: tls.map(str::to_owned),
        basic_auth_secret: basic_auth.map(str::to_owned),
        ..Sources::default()
    }
}

/// A Secret of the type Opaque.
pub(crate) fn secret(name: &str, data: &[(&str, &str)]) -> Value {
    let data: Value = data.iter().map(|(key, text)| ((*key).to_owned(), json!(STANDARD.encode(text)))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
}

/// The value of the header `Authorization`.
pub(crate) fn header(user: &str, password: &str) -> String {
    BasicAuth { user: user.to_owned(), password: password.to_owned() }.header()
}

fn data(data: &[(&str, &str)]) -> Data {
    data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()))).collect()
}

fn of_secrets(tls: &[(&str, &str)], basic: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
    let tls = if tls.is_empty() { TlsParts::default() } else { TlsParts::of_secret("the Secret ns/pg", &data(tls))? };
    let basic = (!basic.is_empty()).then(|| BasicParts::of_secret("the Secret ns/login", &data(basic))).transpose()?;
    Credentials::new(&tls, None, basic.as_ref(), sources(Some("pg"), Some("login")).places())
}

#[test]
fn what_stands_in_a_secret_is_good_or_a_sentence_says_what_to_write() {
    let authority = pki::Authority::new().unwrap();
    let ca = authority.certificate();
    let made = authority.issue("switchover", None, &[]).unwrap();
    let other = authority.issue("somebody else", None, &[]).unwrap();
    let (crt, key) = (made.certificate.as_str(), made.key.as_str());
    let bundle = format!("# old\n{ca}\n# new\n{}", pki::Authority::new().unwrap().certificate());
    let cut = &ca[..ca.len() / 2];
    let good = "";
    let pair = "a client certificate needs both, or neither";
    let rows = [
        (&[("ca.crt", &*ca)][..], good),
        (&[("ca.crt", &bundle)], good),
        (&[("tls.crt", crt), ("tls.key", key)], good),
        (&[("ca.crt", &ca), ("tls.crt", crt), ("tls.key", key), ("note", "x")], good),
        (
            &[("ca.pem", &ca)],
            "the Secret ns/pg holds nothing that is looked for: write ca.crt (the authorities to trust), or",
        ),
        (
            &[("ca.crt", "")],
            "ca.crt of the Secret ns/pg: it holds no certificate: write PEM certificates of the authorities",
        ),
        (&[("ca.crt", "hello")], "ca.crt of the Secret ns/pg: it holds no certificate: write PEM certificates"),
        (&[("ca.crt", cut)], "ca.crt of the Secret ns/pg: "),
        (&[("ca.crt", key)], "ca.crt of the Secret ns/pg: it holds no certificate"),
        (
            &[("tls.crt", crt)],
            &format!("tls.key of the Secret ns/pg is missing, and tls.crt of the Secret ns/pg is there: {pair}"),
        ),
        (&[("ca.crt", &ca), ("tls.key", key)], "tls.crt of the Secret ns/pg is missing, and tls.key of"),
        (
            &[("tls.crt", ""), ("tls.key", "")],
            "tls.crt of the Secret ns/pg: it holds no certificate: write a PEM certificate chain",
        ),
        (&[("tls.crt", crt), ("tls.key", "")], "tls.key of the Secret ns/pg: "),
        (&[("tls.crt", crt), ("tls.key", crt)], "tls.key of the Secret ns/pg: "),
        (
            &[("tls.crt", crt), ("tls.key", &other.key)],
            "tls.key of the Secret ns/pg: keys may not be consistent: KeyMismatch",
        ),
    ];
    check_rows(rows, |(tls, expected)| {
        let said = of_secrets(tls, &[]).map(|_| String::new()).unwrap_or_else(|error| error.to_string());
        let fits = if expected.is_empty() { said.is_empty() } else { said.starts_with(expected) };
        assert!(fits, "{:?}: {said}", tls.iter().map(|(key, _)| key).collect::<Vec<_>>());
        assert!(!said.contains("BEGIN"), "{said}");
    });
    let control = "it holds a control character, such as a line break: write the password as it is";
    let rows = [
        (&[("username", "bank"), ("password", "s3cr:t")][..], good),
        (
            &[("username", "bank")],
            "the Secret ns/login holds nothing that is looked for: write username and password into it",
        ),
        (&[("username", "bank"), ("password", "")], "password of the Secret ns/login: it is empty"),
        (&[("username", "bank"), ("password", "s3cret\n")], &format!("password of the Secret ns/login: {control}")),
        (&[("username", "a:b"), ("password", "s3cret")], "username of the Secret ns/login: it holds a colon"),
    ];
    check_rows(rows, |(login, expected)| {
        let said = of_secrets(&[], login).map(|_| String::new()).unwrap_or_else(|error| error.to_string());
        assert!(if expected.is_empty() { said.is_empty() } else { said.starts_with(expected) }, "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    });
    let wrong = Credentials::new(&TlsParts::default(), Some("not a name"), None, sources(None, None).places());
    assert_eq!(wrong.unwrap_err(), CredentialsError::ServerName("not a name".to_owned()));
}

#[test]
fn nothing_that_is_secret_is_ever_shown() {
    let authority = pki::Authority::new().unwrap();
    let made = authority.issue("switchover", None, &[]).unwrap();
    let tls = [("ca.crt", &*authority.certificate()), ("tls.crt", &made.certificate), ("tls.key", &made.key)];
    let login = [("username", "bank"), ("password", "s3cret")];
    let credentials = of_secrets(&tls, &login).unwrap();
    assert_eq!(credentials.basic_auth().unwrap().header(), format!("Basic {}", STANDARD.encode("bank:s3cret")));
    let parts = TlsParts::of_secret("the Secret ns/pg", &data(&tls)).unwrap();
    let basic = BasicParts::of_secret("the Secret ns/login", &data(&login)).unwrap();
    let access = Access::fixed(std::sync::Arc::new(of_secrets(&tls, &login).unwrap()));
    let shown = format!("{credentials:?} {parts:?} {basic:?} {access:?} {:?}", credentials.basic_auth());
    assert!(shown.contains("bank"), "{shown}");
    let bytes = format!("{:?}", &made.key.as_bytes()[..8]);
    for secret in ["s3cret", &STANDARD.encode("bank:s3cret"), "PRIVATE", bytes.trim_matches(['[', ']'])] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

/// As on a machine without root certificates.
#[test]
fn whoever_speaks_without_tls_needs_no_authorities() {
    crate::tls::install_provider();
    let nobody = || Credentials {
        authorities: Some(Vec::new()),
        server_name: Some("pg.example.com".try_into().unwrap()),
        ..Credentials::none(sources(None, Some("login")).places())
    };
    assert!(super::access::usable(Ok(nobody()), true).is_err());
    assert!(super::access::usable(Ok(nobody()), false).is_ok());
}

/// Looks at once, and then only when somebody doubts.
const ON_DOUBT: Pace =
    Pace { regular: std::time::Duration::from_secs(3600), soon: std::time::Duration::from_millis(20) };

async fn until(access: &Access, what: &str, holds: impl Fn(&Held) -> bool) -> Held {
    let mut news = access.clone();
    let wait = async {
        while !holds(&news.held()) {
            news.changed().await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "never: {what}: {:?}", access.held());
    access.held()
}

#[tokio::test]
async fn secrets_are_followed_and_bad_ones_never_replace_good_ones() {
    crate::tls::install_provider();
    let (objects, authority) = (Objects::default(), pki::Authority::new().unwrap());
    let ca = authority.certificate();
    let access = Access::keep("orders", objects.client(), sources(Some("pg"), Some("login")), ON_DOUBT);
    assert_eq!(access.standing(), None);
    let problem =
        |text: &'static str| move |held: &Held| held.problem.as_deref().is_some_and(|it| it.starts_with(text));

    until(&access, "there is none", problem("the Secret switchover-system/pg doesn't exist: create it with ca.crt"))
        .await;
    assert_eq!(access.standing().unwrap().name(), "Missing");
    objects.put("pg", secret("pg", &[("ca.crt", &ca)]));
    until(
        &access,
        "one is missing",
        problem("the Secret switchover-system/login doesn't exist: create it with username"),
    )
    .await;
    objects.put("login", secret("login", &[("username", "bank"), ("password", "old")]));
    let first = until(&access, "both are there", |held| held.credentials.is_some() && held.problem.is_none()).await;
    assert_eq!(
        access.standing().unwrap().to_string(),
        "in use as it stands in the Secret switchover-system/pg and the Secret switchover-system/login"
    );

    objects.put("pg", secret("pg", &[("ca.crt", "-----BEGIN CERTIFICATE-----\n")]));
    access.doubt();
    let held = until(&access, "it is broken", problem("ca.crt of the Secret switchover-system/pg: ")).await;
    let same =
        |a: &Held, b: &Held| std::ptr::eq(&**a.credentials.as_ref().unwrap(), &**b.credentials.as_ref().unwrap());
    assert!(same(&first, &held), "the old ones stay in use");
    let standing = access.standing().unwrap();
    assert!(standing.to_string().ends_with("; what was there before is still in use"), "{standing}");

    objects.put("pg", secret("pg", &[("ca.crt", &ca)]));
    let held = until(&access, "it is as it was", |held| held.problem.is_none()).await;
    assert!(same(&first, &held), "nothing is built anew for the same content");

    objects.put("login", secret("login", &[("username", "bank"), ("password", "new")]));
    access.doubt();
    let held = until(&access, "a new password", |held| !same(&first, held)).await;
    assert_eq!(held.credentials.unwrap().basic_auth().unwrap().password(), "new");
    objects.remove("login");
    access.doubt();
    until(&access, "it is gone", problem("the Secret switchover-system/login doesn't exist")).await;
    assert_eq!(access.held().credentials.unwrap().basic_auth().unwrap().password(), "new");
}

#[tokio::test]
async fn what_the_api_server_says_is_told_in_words() {
    let said = async |code: StatusCode| {
        let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": "not you"});
        let router = Router::new().fallback(move || async move { (code, Json(status)) });
        let client = kube::Client::new(router, NAMESPACE);
        sources(Some("pg"), None).load(&client).await.unwrap_err().to_string()
    };
    assert_eq!(
        said(StatusCode::FORBIDDEN).await,
        "the Secret switchover-system/pg may not be read (not you): add its name to the Role \
         switchover-credentials, as deploy/base/controller-rbac.yaml says"
    );
    let said = said(StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(said.starts_with("the Secret switchover-system/pg can't be read: "), "{said}");
}

#[test]
fn the_end_of_a_client_certificate_is_known() {
    let now = Timestamp::now();
    let authority =
        crate::certificates::authority::Authority::generate(std::time::Duration::from_secs(86_400), now).unwrap();
    let made = authority.issue("x", "y", std::time::Duration::from_secs(3600), now).unwrap();
    let credentials = of_secrets(&[("tls.crt", &made.certificate_pem), ("tls.key", &made.key_pem)], &[]).unwrap();
    let left = credentials.expires().unwrap().duration_since(now).as_secs();
    assert!((3598..=3600).contains(&left), "{left}");
}

#[tokio::test]
async fn files_are_followed_as_secrets_are() {
    tls::install_provider();
    let directory = std::env::temp_dir().join(format!("switchover-credentials-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let ca = directory.join("ca.crt");
    let files = Files { authorities: Some(ca.clone()), ..Files::default() };
    let pace = Pace { regular: std::time::Duration::from_millis(20), soon: std::time::Duration::from_millis(20) };
    let access = Access::files("orders", files, pace);
    let begins = format!("{}: ", ca.display());
    until(&access, "no file", |held| held.problem.as_ref().is_some_and(|problem| problem.starts_with(&begins))).await;
    std::fs::write(&ca, pki::Authority::new().unwrap().certificate()).unwrap();
    let first = until(&access, "a file", |held| held.credentials.is_some() && held.problem.is_none()).await;
    assert_eq!(access.standing().unwrap().to_string(), format!("in use as it stands in {}", ca.display()));
    std::fs::write(&ca, "rubbish").unwrap();
    until(&access, "rubbish", |held| held.problem.is_some() && held.credentials.is_some()).await;
    std::fs::write(&ca, pki::Authority::new().unwrap().certificate()).unwrap();
    let first = first.credentials.unwrap();
    until(&access, "another one", |held| held.credentials.as_ref().is_some_and(|it| !std::ptr::eq(&**it, &*first)))
        .await;
    std::fs::remove_dir_all(&directory).unwrap();
}
