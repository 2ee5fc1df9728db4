//! Keeps the webhook's certificates, while this replica leads. What is done, and what can't be done, goes to the log, to
//! metrics and to an event on the Secret.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::Client;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tokio::sync::watch;

use super::install::{self, CertificateState, Done, InstallError, Rotation};
use crate::{
    cluster::{EventReason, Notice, Notices, lease::Leadership, reference},
    core::{moment::Moment, rotation::Seen},
};

/// Somebody may delete a Secret or apply the webhook's configuration anew: seen after this long at the latest. Three
/// reads; a watch of single objects would save nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a refusal.
const TRY_AGAIN: Duration = Duration::from_secs(10);

type OneLabel = [(&'static str, &'static str); 1];
type NoLabel = [(&'static str, &'static str); 0];

/// What is counted and shown, by the leader.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateMetrics {
    expiry: Family<OneLabel, Gauge<i64, AtomicI64>>,
    /// A family without labels, so that there may be no series.
    trusted: Family<NoLabel, Gauge>,
    writes: Family<OneLabel, Counter>,
    failures: Counter<u64, AtomicU64>,
    failing: Gauge,
}

impl CertificateMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = metrics.clone();
        let help = "When the webhook's certificates expire that this controller keeps: serving, and the authority's";
        registry.register_with_unit("certificate_expiry_timestamp", help, Unit::Seconds, m.expiry);
        let help = "Authorities that the API server trusts when it calls the webhook, told by the leader; 0 without a webhook configuration";
        registry.register("certificate_authorities_trusted", help, m.trusted);
        let help =
            "Changes of the webhook's certificates by object: authority, bundle (whom the API server trusts), serving";
        registry.register("certificate_writes", help, m.writes);
        let help =
            "Attempts to keep the webhook's certificates that failed; the log and an event on the Secret say why";
        registry.register("certificate_failures", help, m.failures);
        let help = "1 while the webhook's certificates can't be kept by this leader";
        registry.register("certificate_failing", help, m.failing);
        metrics
    }

    fn count(&self, done: &Done) {
        let object = match done {
            Done::MadeAuthority { .. } => "authority",
            Done::Trusted { .. } => "bundle",
            Done::Issued { .. } => "serving",
        };
        self.writes.get_or_create(&[("object", object)]).inc();
    }

    /// Who doesn't lead shows nothing, rather than what was so when it led.
    fn forget(&self) {
        self.expiry.clear();
        self.trusted.clear();
        self.failing.set(0);
    }

    fn show(&self, state: &CertificateState) {
        for (certificate, until) in [("authority", state.authority_until), ("serving", state.serving_until)] {
            let until = until.map_or(0, Timestamp::as_second);
            self.expiry.get_or_create(&[("certificate", certificate)]).set(until);
        }
        let trusted = state.trusted.and_then(|count| i64::try_from(count).ok()).unwrap_or(0);
        self.trusted.get_or_create(&[]).set(trusted);
    }
}

/// The task that keeps the certificates.
pub(crate) struct Keeper {
    client: Client,
    rotation: Rotation,
    leadership: watch::Receiver<Leadership>,
    notices: Notices,
    metrics: CertificateMetrics,
    /// What can't be done, so that it is told once.
    failing: Option<String>,
    seen: Seen,
}

impl Keeper {
    pub(crate) fn new(
        client: Client,
        rotation: Rotation,
        leadership: watch::Receiver<Leadership>,
        notices: Notices,
        metrics: CertificateMetrics,
    ) -> Self {
        Self { client, rotation, leadership, notices, metrics, failing: None, seen: Seen::default() }
    }

    /// Ends with the election.
    pub(crate) async fn run(mut self) {
        loop {
            let pause = if self.leads() {
                self.keep().await
            } else {
                self.failing = None;
                self.metrics.forget();
                LOOK_EVERY
            };
            // Who has just become the leader doesn't wait.
            let leads = self.leads();
            let mut leadership = self.leadership.clone();
            let changes = leadership.wait_for(|leadership| leadership.leads(Instant::now()) != leads);
            if let Ok(Err(_)) = tokio::time::timeout(pause, changes).await {
                return;
            }
        }
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().leads(Instant::now())
    }

    /// One pass; the time to the next.
    async fn keep(&mut self) -> Duration {
        // Taken out for the pass, because the rest is read meanwhile.
        let mut seen = std::mem::take(&mut self.seen);
        let told = |done: Done| {
            self.metrics.count(&done);
            tracing::info!(%done, "the webhook's certificates were changed");
            let reason = match &done {
                Done::MadeAuthority { .. } => EventReason::AuthorityMade,
                Done::Trusted { .. } => EventReason::AuthorityTrusted,
                Done::Issued { .. } => EventReason::CertificateIssued,
            };
            self.notice(false, reason, done.to_string());
        };
        let clock = || Moment { instant: Instant::now(), wall: Timestamp::now() };
        let passed = install::pass(&self.client, &self.rotation, clock, Some(&mut seen), || self.leads(), told).await;
        self.seen = seen;
        match passed {
            Ok(Some(state)) => {
                if self.failing.take().is_some() {
                    tracing::info!("the webhook's certificates are kept again");
                }
                self.metrics.failing.set(0);
                self.metrics.show(&state);
                let left = state.until.duration_since(Timestamp::now());
                // A little later than asked for, because a certificate's times have whole seconds.
                Duration::try_from(left).unwrap_or_default().saturating_add(Duration::from_millis(10)).min(LOOK_EVERY)
            }
            Ok(None) => LOOK_EVERY,
            Err(error) => {
                self.failed(&error);
                TRY_AGAIN
            }
        }
    }

    fn failed(&mut self, error: &InstallError) {
        self.metrics.failures.inc();
        self.metrics.failing.set(1);
        let why = error.to_string();
        if self.failing.as_ref() != Some(&why) {
            tracing::error!(why, "the webhook's certificates can't be kept; trying again");
            self.notice(true, EventReason::CertificateFailed, why.clone());
            self.failing = Some(why);
        }
    }

    fn notice(&self, warning: bool, reason: EventReason, note: String) {
        let about = reference("v1", "Secret", Some(&self.rotation.namespace), install::SECRET, "");
        self.notices.send(Notice { about, warning, reason, action: "KeepCertificate", note });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{core::rotation::Why, metrics};

    #[test]
    fn metrics_say_when_things_expire_and_what_was_done() {
        let mut registry = metrics::registry();
        let metrics = CertificateMetrics::register(&mut registry);
        let until = Timestamp::from_second(2_000_000_000).unwrap();
        metrics.count(&Done::Trusted { authorities: 2 });
        metrics.show(&CertificateState {
            until,
            why: Why::NewAuthority,
            authority_until: Some(until),
            serving_until: None,
            trusted: Some(2),
        });
        metrics.failures.inc();
        let text = metrics::render(&registry);
        for line in [
            "switchover_certificate_expiry_timestamp_seconds{certificate=\"authority\"} 2000000000",
            "switchover_certificate_expiry_timestamp_seconds{certificate=\"serving\"} 0",
            "switchover_certificate_authorities_trusted{} 2",
            "switchover_certificate_writes_total{object=\"bundle\"} 1",
            "switchover_certificate_failures_total 1",
            "switchover_certificate_failing 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        metrics.forget();
        let text = metrics::render(&registry);
        for name in ["expiry_timestamp_seconds{", "authorities_trusted{"] {
            let series = |line: &str| line.starts_with(&format!("switchover_certificate_{name}"));
            assert!(!text.lines().any(series), "{text}");
        }
    }
}
