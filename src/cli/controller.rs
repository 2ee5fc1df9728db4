//! `switchover controller`: what was typed and what it means.

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::{HealthArgs, SchedulersArgs, host_name, seconds};
use crate::{api::Span, certificates::install::Rotation, cluster::lease::LeaseConfig, controller::ControllerConfig};

#[derive(Debug, Clone, ClapArgs)]
pub struct ControllerArgs {
    #[command(flatten)]
    pub health: HealthArgs,

    /// Namespace of the Lease, and of the webhook and its certificate
    #[arg(long, env = "SWITCHOVER_LEASE_NAMESPACE", default_value = "switchover-system")]
    pub lease_namespace: String,

    /// Name of the Lease
    #[arg(long, env = "SWITCHOVER_LEASE_NAME", default_value = crate::cluster::lease::NAME)]
    pub lease_name: String,

    /// Who this replica is in the Lease (default: the host name, which is the pod's name)
    #[arg(long, env = "SWITCHOVER_IDENTITY")]
    pub identity: Option<String>,

    /// Another replica leads after this much silence of the leader
    #[arg(long, env = "SWITCHOVER_LEASE_DURATION", default_value = "10s", value_parser = seconds(3, 300))]
    pub lease_duration: Span,

    /// Longest pause between two evaluations of a database
    #[arg(long, env = "SWITCHOVER_TICK", default_value = "1s")]
    pub tick: Span,

    /// Who keeps the webhook's certificate: this controller (managed), or cert-manager or you (external)
    #[arg(long, env = "SWITCHOVER_CERTIFICATES", value_enum, default_value_t = Certificates::Managed)]
    pub certificates: Certificates,

    /// How long a serving certificate holds; it is renewed when two thirds are over
    #[arg(long, env = "SWITCHOVER_CERTIFICATE_LIFETIME", default_value = "90d", value_parser = lifetime)]
    pub certificate_lifetime: Duration,

    /// How long the authority that signs it holds; it is renewed when two thirds are over
    #[arg(long, env = "SWITCHOVER_AUTHORITY_LIFETIME", default_value = "730d", value_parser = lifetime)]
    pub authority_lifetime: Duration,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

    /// Name of the webhook's Service, for its certificate
    #[arg(long, env = "SWITCHOVER_WEBHOOK_SERVICE", default_value = "switchover-webhook")]
    pub webhook_service: String,

    /// Name of the MutatingWebhookConfiguration, which is told whom to trust
    #[arg(long, env = "SWITCHOVER_WEBHOOK_CONFIGURATION", default_value = crate::certificates::install::CONFIGURATION)]
    pub webhook_configuration: String,
}

/// Who keeps the webhook's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Certificates {
    Managed,
    External,
}

/// A [`Span`], or days: `90d`. Whole seconds, because certificates know no others.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time of at least 3s, such as 90d or 720h".to_owned();
    let span = match text.strip_suffix('d') {
        // More than 200 years don't fit into a certificate's time.
        Some(days) => Duration::from_secs(86_400 * u64::from(days.parse::<u16>().map_err(|_| wrong())?)),
        None => text.parse::<Span>().map_err(|_| wrong())?.0,
    };
    if span < Duration::from_secs(3) { Err(wrong()) } else { Ok(Duration::from_secs(span.as_secs())) }
}

impl ControllerArgs {
    /// What was typed means this.
    #[must_use]
    pub fn config(self) -> ControllerConfig {
        let identity = self.identity.or_else(host_name).unwrap_or_else(|| "switchover".into());
        let (namespace, duration) = (self.lease_namespace, self.lease_duration.0);
        ControllerConfig {
            lease: LeaseConfig {
                namespace: namespace.clone(),
                name: self.lease_name,
                // Two processes on one host must not take each other for themselves.
                identity: format!("{identity}_{:08x}", rand::random::<u32>()),
                duration,
                renew_every: duration / 5,
            },
            metrics_listen: self.health.metrics_listen,
            schedulers: self.schedulers.schedulers(),
            tick: self.tick.0.max(Duration::from_millis(100)),
            certificates: (self.certificates == Certificates::Managed).then_some(Rotation {
                service: self.webhook_service,
                configuration: self.webhook_configuration,
                namespace,
                lifetime: self.certificate_lifetime,
                authority_lifetime: self.authority_lifetime,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_written_in_days_or_less() {
        let seconds = |text| lifetime(text).map(|span| span.as_secs()).ok();
        assert_eq!(["90d", "1d", "3s", "2.5m"].map(seconds), [Some(7_776_000), Some(86_400), Some(3), Some(150)]);
        assert_eq!(["", "d", "0d", "2s", "-1d", "1.5d", "99999d", "90"].map(seconds), [None; 8]);
    }
}
