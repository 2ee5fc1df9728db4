use std::cell::{Cell, RefCell};

use super::*;
use crate::certificates::testing::Objects;

const DAY: Duration = Duration::from_secs(86_400);

fn rotation() -> Rotation {
    Rotation {
        service: "switchover-webhook".to_owned(),
        configuration: "switchover".to_owned(),
        namespace: "switchover-system".to_owned(),
        lifetime: 90 * DAY,
        authority_lifetime: 730 * DAY,
    }
}

/// Whoever keeps the certificates, at a time of the story.
struct Keeper {
    objects: Objects,
    now: Cell<Moment>,
    seen: RefCell<Seen>,
}

impl Keeper {
    fn new(objects: Objects) -> Self {
        crate::tls::install_provider();
        Self { objects, now: Cell::new(crate::process::now()), seen: RefCell::default() }
    }

    fn later(&self, span: Duration) {
        let Moment { instant, wall } = self.now.get();
        self.now.set(Moment { instant: instant + span, wall: wall + span });
    }

    /// The clock on the wall leaps, as after a sleep.
    fn leap(&self, span: Duration) {
        let now = self.now.get();
        self.now.set(Moment { wall: now.wall + span, ..now });
    }

    /// Another takes over, who has seen nothing yet.
    fn another(&self) {
        self.seen.take();
    }

    async fn try_pass(&self, tell: impl FnMut(Done)) -> Result<Option<CertificateState>, InstallError> {
        let mut seen = self.seen.take();
        let client = self.objects.client();
        let passed = pass(&client, &rotation(), || self.now.get(), Some(&mut seen), || true, tell).await;
        self.seen.replace(seen);
        passed
    }

    /// One pass: what was done, and what is waited for then.
    async fn pass(&self) -> (Vec<&'static str>, Why) {
        let done = RefCell::new(Vec::new());
        let tell = |what| {
            done.borrow_mut().push(match what {
                Done::MadeAuthority { .. } => "authority",
                Done::Trusted { authorities: 1 } => "trusts one",
                Done::Trusted { .. } => "trusts two",
                Done::Issued { .. } => "issued",
            });
        };
        let state = self.try_pass(tell).await.unwrap();
        (done.into_inner(), state.unwrap().why)
    }

    /// The API server would call the webhook.
    fn works(&self) -> bool {
        self.works_with(&self.objects.file(SECRET, "tls.crt"))
    }

    /// The same, of a replica that serves this one.
    fn works_with(&self, certificate: &str) -> bool {
        let chain = [CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let trusted = authorities(self.objects.bundle().as_bytes());
        trusted.iter().any(|id| authority::signed_by(&chain, id, "switchover-webhook", "switchover-system"))
    }
}

const MINUTES: Duration = Duration::from_secs(11 * 60);

#[tokio::test]
async fn everything_is_made_at_once_where_nothing_is() {
    let keeper = Keeper::new(Objects::with_configuration("\n"));
    assert_eq!(keeper.pass().await, (vec!["authority", "trusts one", "issued"], Why::Renewal));
    assert!(keeper.works());
    assert_eq!(keeper.objects.file(SECRET, "ca.crt"), keeper.objects.file(AUTHORITY_SECRET, "tls.crt"));
    assert_eq!(keeper.objects.get(SECRET)["type"], "kubernetes.io/tls");
    assert_eq!(keeper.pass().await, (vec![], Why::Renewal));
}

#[tokio::test]
async fn a_certificate_is_there_before_the_webhooks_configuration() {
    let keeper = Keeper::new(Objects::default());
    assert_eq!(keeper.pass().await, (vec!["authority", "issued"], Why::Renewal));
    keeper.objects.put("switchover", Objects::with_configuration("").get("switchover"));
    assert_eq!(keeper.pass().await, (vec!["trusts one"], Why::Renewal));
    assert!(keeper.works());
}

#[tokio::test]
async fn certificates_are_renewed_by_the_same_authority_and_authorities_one_after_the_other() {
    let keeper = Keeper::new(Objects::with_configuration(""));
    keeper.pass().await;
    for _ in 0..8 {
        keeper.later(60 * DAY);
        assert_eq!(keeper.pass().await, (vec!["issued"], Why::Renewal));
    }
    keeper.later(7 * DAY);
    assert_eq!(keeper.pass().await, (vec!["authority", "trusts two"], Why::NewAuthority));
    assert_eq!(keeper.pass().await, (vec![], Why::NewAuthority));
    keeper.later(MINUTES);
    assert_eq!(keeper.pass().await, (vec!["issued"], Why::NewCertificate));
    assert!(keeper.works());
    keeper.later(MINUTES);
    assert_eq!(keeper.pass().await, (vec!["trusts one"], Why::Renewal));
    assert!(keeper.works());
}

#[tokio::test]
async fn a_certificate_whose_authority_was_thrown_away_is_taken_over() {
    let made = authority::generate("switchover-webhook", "switchover-system", 365 * DAY).unwrap();
    let objects = Objects::with_configuration(&made.ca_pem);
    let base64 = |text: &str| STANDARD.encode(text);
    objects.put(SECRET, json!({
        "metadata": {"name": SECRET},
        "type": "Opaque",
        "data": {"ca.crt": base64(&made.ca_pem), "tls.crt": base64(&made.certificate_pem), "tls.key": base64(&made.key_pem)},
    }));
    let keeper = Keeper::new(objects);
    assert_eq!(keeper.pass().await, (vec!["authority", "trusts two"], Why::NewAuthority));
    assert_eq!(keeper.objects.file(SECRET, "tls.crt"), made.certificate_pem);
    keeper.later(MINUTES);
    assert_eq!(keeper.pass().await, (vec!["issued"], Why::NewCertificate));
    assert!(keeper.works());
    assert_eq!(keeper.objects.get(SECRET)["type"], "Opaque", "a type can't be changed");
    keeper.later(MINUTES);
    assert_eq!(keeper.pass().await, (vec!["trusts one"], Why::Renewal));
    assert!(keeper.works());
}

#[tokio::test]
async fn whatever_is_damaged_is_mended() {
    let keeper = Keeper::new(Objects::with_configuration(""));
    keeper.pass().await;
    keeper.objects.remove(SECRET);
    assert_eq!(keeper.pass().await, (vec!["issued"], Why::Renewal));
    keeper.objects.change(SECRET, |secret| secret["data"]["tls.key"] = STANDARD.encode("rubbish").into());
    assert_eq!(keeper.pass().await, (vec!["issued"], Why::Renewal));
    keeper.objects.put("switchover", Objects::with_configuration("rubbish").get("switchover"));
    assert_eq!(keeper.pass().await, (vec!["trusts one"], Why::Renewal));
    assert!(keeper.works());
    keeper.objects.remove(AUTHORITY_SECRET);
    assert_eq!(keeper.pass().await, (vec!["authority", "trusts two"], Why::NewAuthority));
    assert!(keeper.works());
}

#[tokio::test]
async fn what_cert_manager_keeps_is_left_alone() {
    for (object, annotation) in
        [(SECRET, "cert-manager.io/certificate-name"), ("switchover", "cert-manager.io/inject-ca-from")]
    {
        let keeper = Keeper::new(Objects::with_configuration(""));
        keeper.pass().await;
        keeper.objects.change(object, |object| object["metadata"]["annotations"][annotation] = "x".into());
        keeper.later(60 * DAY);
        let before = keeper.objects.get(SECRET);
        let refused = keeper.try_pass(|_| {}).await;
        assert!(matches!(refused, Err(InstallError::CertManager { .. })), "{refused:?}");
        assert_eq!(keeper.objects.get(SECRET), before);
    }
}

#[tokio::test]
async fn nothing_is_written_without_leadership() {
    let keeper = Keeper::new(Objects::with_configuration(""));
    let client = keeper.objects.client();
    let state = pass(&client, &rotation(), || keeper.now.get(), None, || false, |_| {}).await.unwrap();
    assert_eq!((state, keeper.objects.get(AUTHORITY_SECRET)), (None, serde_json::Value::Null));
}

#[tokio::test]
async fn a_configuration_that_calls_another_service_is_refused_and_nothing_is_written() {
    for (name, namespace) in [("switchover-webhook", "elsewhere"), ("blue-switchover-webhook", "switchover-system")] {
        let keeper = Keeper::new(Objects::with_configuration("theirs"));
        let called = json!({"name": name, "namespace": namespace});
        keeper.objects.change("switchover", |it| it["webhooks"][0]["clientConfig"]["service"] = called);
        let before = keeper.objects.clone().get("switchover");
        let refused = keeper.try_pass(|_| {}).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "MutatingWebhookConfiguration switchover calls the webhook of the Service {namespace}/{name}, and these \
                 certificates are for switchover-system/switchover-webhook: another switchover is installed there; remove \
                 one of the two, or write the Service whose webhook is called"
            )
        );
        let written = [AUTHORITY_SECRET, SECRET].map(|secret| keeper.objects.get(secret));
        assert_eq!((keeper.objects.get("switchover"), written), (before, [json!(null), json!(null)]));
    }
}

/// A new authority has just been trusted by all, and what it signed has just been given to replicas; what they served before.
async fn just_issued() -> (Keeper, String) {
    let keeper = Keeper::new(Objects::with_configuration(""));
    keeper.pass().await;
    let served = keeper.objects.file(SECRET, "tls.crt");
    keeper.later(MINUTES);
    keeper.objects.remove(AUTHORITY_SECRET);
    assert_eq!(keeper.pass().await, (vec!["authority", "trusts two"], Why::NewAuthority));
    keeper.later(MINUTES);
    assert_eq!(keeper.pass().await, (vec!["issued"], Why::NewCertificate));
    (keeper, served)
}

const HOURS: Duration = Duration::from_secs(3 * 3600);

#[tokio::test]
async fn a_leader_that_slept_or_whose_clock_is_ahead_gives_replicas_their_time() {
    for another in [false, true] {
        let (keeper, served) = just_issued().await;
        keeper.later(Duration::from_secs(5));
        keeper.leap(HOURS);
        if another {
            keeper.another();
        }
        assert_eq!(keeper.pass().await, (vec![], Why::NewCertificate));
        assert!(keeper.works() && keeper.works_with(&served), "what replicas still serve is trusted");
        keeper.later(MINUTES);
        assert_eq!(keeper.pass().await, (vec!["trusts one"], Why::Renewal));
        assert!(keeper.works());
    }
}

#[tokio::test]
async fn secrets_that_come_back_from_a_backup_take_no_trust_from_what_replicas_serve() {
    for another in [false, true] {
        let keeper = Keeper::new(Objects::with_configuration(""));
        keeper.pass().await;
        let backup = [AUTHORITY_SECRET, SECRET].map(|secret| (secret, keeper.objects.get(secret)));
        keeper.objects.remove(AUTHORITY_SECRET);
        for _ in 0..3 {
            keeper.pass().await;
            keeper.later(MINUTES);
        }
        assert_eq!(keeper.pass().await, (vec![], Why::Renewal));
        let served = keeper.objects.file(SECRET, "tls.crt");
        keeper.later(60 * MINUTES);

        for (secret, object) in backup {
            keeper.objects.put(secret, object);
        }
        if another {
            keeper.another();
        }
        assert_eq!(keeper.pass().await, (vec!["trusts two"], Why::NewCertificate));
        assert!(keeper.works() && keeper.works_with(&served));
        keeper.later(MINUTES);
        assert_eq!(keeper.pass().await, (vec!["trusts one"], Why::Renewal));
        assert!(keeper.works());
    }
}
