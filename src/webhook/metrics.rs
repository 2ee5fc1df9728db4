//! What the webhook counts.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{admission::Answer, cluster::watch::Health, tls::Reload};

type OneLabel = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];

/// The webhook's metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct WebhookMetrics {
    requests: Family<TwoLabels, Counter>,
    warnings: Family<OneLabel, Counter>,
    events: Family<OneLabel, Counter>,
    duration: Histogram,
    cache_current: Family<OneLabel, Gauge>,
    cache_objects: Family<OneLabel, Gauge>,
    watch_unreadable: Family<OneLabel, Gauge>,
    controller_alive: Gauge,
    facts_confirmed: Family<[(&'static str, String); 1], Gauge<f64, AtomicU64>>,
    certificate_expiry: Gauge<i64, AtomicI64>,
    certificate_reloads: Family<OneLabel, Counter>,
}

impl WebhookMetrics {
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        // 10 µs to about 0.7 s: a decision takes microseconds, the API server waits one second.
        let buckets = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5];
        let metrics = Self {
            requests: Family::default(),
            warnings: Family::default(),
            events: Family::default(),
            duration: Histogram::new(buckets),
            cache_current: Family::default(),
            cache_objects: Family::default(),
            watch_unreadable: Family::default(),
            controller_alive: Gauge::default(),
            facts_confirmed: Family::default(),
            certificate_expiry: Gauge::default(),
            certificate_reloads: Family::default(),
        };
        registry.register(
            "admission_requests",
            "Admission requests by outcome (injected, skipped, failed) and its reason",
            metrics.requests.clone(),
        );
        registry.register(
            "admission_warnings",
            "Warnings about pods by kind: mistake (a wrong value), or why a hard mode became preferred",
            metrics.warnings.clone(),
        );
        registry.register(
            "admission_events",
            "Events about wrong values on pods by result: queued, or dropped because of too_many in a minute or queue_full",
            metrics.events.clone(),
        );
        registry.register_with_unit(
            "admission_duration",
            "Time from a complete request to its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "admission_cache_current",
            "1 while the watch of this kind works, 0 while the last picture is used instead",
            metrics.cache_current.clone(),
        );
        registry.register(
            "admission_cache_objects",
            "Objects of this kind that decisions are made from",
            metrics.cache_objects.clone(),
        );
        registry.register(
            "watch_unreadable",
            "Objects of this kind that can't be read, so that nothing is decided on them as they are",
            metrics.watch_unreadable.clone(),
        );
        registry.register(
            "admission_controller_alive",
            "1 while a controller renews its Lease, 0 when none has for a minute: required is injected as preferred",
            metrics.controller_alive.clone(),
        );
        registry.register_with_unit(
            "admission_facts_confirmed_timestamp",
            "When the API server last confirmed what is known of this database",
            Unit::Seconds,
            metrics.facts_confirmed.clone(),
        );
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the serving certificate expires",
            Unit::Seconds,
            metrics.certificate_expiry.clone(),
        );
        registry.register(
            "certificate_reloads",
            "Changed certificate files by result: swapped, or refused (looks that met broken files)",
            metrics.certificate_reloads.clone(),
        );
        metrics
    }

    pub(super) fn answered(&self, answer: &Answer, took: Duration) {
        let labels = [("outcome", answer.outcome.as_str()), ("reason", answer.outcome.reason())];
        self.requests.get_or_create(&labels).inc();
        self.duration.observe(took.as_secs_f64());
        for warning in &answer.warnings {
            self.warnings.get_or_create(&[("kind", warning.as_str())]).inc();
        }
    }

    pub(super) fn event(&self, result: &'static str) {
        self.events.get_or_create(&[("result", result)]).inc();
    }

    #[cfg(test)]
    pub(super) fn events_counted(&self, result: &'static str) -> u64 {
        self.events.get_or_create(&[("result", result)]).get()
    }

    pub(super) fn cache(&self, health: &Health, objects: usize) {
        let (kind, number) = ([("kind", health.kind)], |count: usize| i64::try_from(count).unwrap_or(i64::MAX));
        self.cache_current.get_or_create(&kind).set(i64::from(health.current()));
        self.cache_objects.get_or_create(&kind).set(number(objects));
        self.watch_unreadable.get_or_create(&kind).set(number(health.unreadable()));
    }

    pub(super) fn controller_alive(&self, alive: bool) {
        self.controller_alive.set(i64::from(alive));
    }

    pub(super) fn facts_confirmed(&self, database: &str, at: Timestamp) {
        let labels = [("database", database.to_owned())];
        self.facts_confirmed.get_or_create(&labels).set(at.as_duration().as_secs_f64());
    }

    /// Whether there is a time for it.
    #[cfg(test)]
    pub(super) fn confirmed(&self, database: &str) -> bool {
        self.facts_confirmed.get(&[("database", database.to_owned())]).is_some()
    }

    pub(super) fn database_gone(&self, database: &str) {
        self.facts_confirmed.remove(&[("database", database.to_owned())]);
    }

    pub(super) fn certificate_seen(&self, reload: Reload, expires: Option<Timestamp>) {
        self.certificate_expiry.set(expires.map_or(0, Timestamp::as_second));
        let result = match reload {
            Reload::Same => return,
            Reload::Swapped => "swapped",
            Reload::Refused => "refused",
        };
        self.certificate_reloads.get_or_create(&[("result", result)]).inc();
    }
}
