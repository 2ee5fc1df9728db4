//! What the prober counts, by member host: bounded by the members of the databases.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::core::distance::rtt::Summary;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    reason: &'static str,
}

/// Clones share the families.
#[derive(Debug, Clone, Default)]
pub struct ProbeMetrics {
    rtt_s: Family<Host, Gauge<f64, AtomicU64>>,
    loss: Family<Host, Gauge<f64, AtomicU64>>,
    failures: Family<Failure, Counter>,
    left_out: Gauge,
}

impl ProbeMetrics {
    /// Registers the families. Once per registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_with_unit(
            "probe_rtt",
            "Median round-trip time of the window, by member host; absent when every echo was lost",
            Unit::Seconds,
            metrics.rtt_s.clone(),
        );
        registry.register_with_unit(
            "probe_loss",
            "Part of the window's echoes that were lost, by member host",
            Unit::Ratios,
            metrics.loss.clone(),
        );
        registry.register(
            "probe_errors",
            "Probes that could not be made: no route (send), or the name has no address (resolve)",
            metrics.failures.clone(),
        );
        registry.register(
            "probe_hosts_left_out",
            "Hosts of members that are not measured because a NodeLatency has no room for them",
            metrics.left_out.clone(),
        );
        metrics
    }

    pub(crate) fn left_out(&self, hosts: usize) {
        self.left_out.set(i64::try_from(hosts).unwrap_or(i64::MAX));
    }

    pub(super) fn reading(&self, host: &str, reading: Option<&Summary>) {
        let label = Host { host: host.to_owned() };
        let Some(reading) = reading else { return };
        match reading.rtt_us {
            Some(rtt_us) => {
                self.rtt_s.get_or_create(&label).set(f64::from(rtt_us) / 1e6);
            }
            None => {
                self.rtt_s.remove(&label);
            }
        }
        self.loss.get_or_create(&label).set(f64::from(reading.loss_percent) / 100.0);
    }

    pub(super) fn error(&self, reason: &'static str) {
        self.failures.get_or_create(&Failure { reason }).inc();
    }

    pub(super) fn forget(&self, host: &str) {
        let label = Host { host: host.to_owned() };
        self.rtt_s.remove(&label);
        self.loss.remove(&label);
    }
}
