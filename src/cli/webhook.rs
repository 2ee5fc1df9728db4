//! `switchover webhook`: what was typed and what it means.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as ClapArgs;

use super::{HealthArgs, SchedulersArgs, host_name};
use crate::{api::Span, cluster::lease, tls::HttpVersions, webhook::WebhookConfig};

#[derive(Debug, Clone, ClapArgs)]
pub struct WebhookArgs {
    #[command(flatten)]
    pub health: HealthArgs,

    /// Address for admission requests (HTTPS)
    #[arg(long, env = "SWITCHOVER_LISTEN", default_value = "[::]:8443")]
    pub listen: SocketAddr,

    /// Serving certificate, PEM; read again when it changes
    #[arg(long, env = "SWITCHOVER_TLS_CERT", default_value = "/etc/switchover/tls/tls.crt")]
    pub tls_cert: PathBuf,

    /// Key of the serving certificate, PEM
    #[arg(long, env = "SWITCHOVER_TLS_KEY", default_value = "/etc/switchover/tls/tls.key")]
    pub tls_key: PathBuf,

    /// Answer only clients with a certificate of one of these authorities, PEM; read again when it changes (default: answer
    /// whoever reaches the port)
    #[arg(long, env = "SWITCHOVER_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,

    /// With --client-ca: answer only clients that bear one of these names, as common name or alternative name (default:
    /// any)
    #[arg(long, env = "SWITCHOVER_CLIENT_NAME", value_delimiter = ',', requires = "client_ca")]
    pub client_name: Vec<String>,

    /// Offer HTTP/2, too: only API servers that call the webhook by a URL of their own machine speak it
    #[arg(long, env = "SWITCHOVER_HTTP2")]
    pub http2: bool,

    /// Namespace that switchover runs in: its own pods are never touched
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    /// The controllers' Lease, in the same namespace: while nobody renews it nothing is required of pods
    #[arg(long, env = "SWITCHOVER_LEASE_NAME", default_value = lease::NAME)]
    pub lease_name: String,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

    /// After SIGTERM, keep serving this long while the API server learns that this replica goes
    #[arg(long, env = "SWITCHOVER_DRAIN", default_value = "5s")]
    pub drain: Span,
}

impl WebhookArgs {
    /// What was typed means this.
    #[must_use]
    pub fn config(self) -> WebhookConfig {
        WebhookConfig {
            listen: self.listen,
            certificate_file: self.tls_cert,
            key_file: self.tls_key,
            client_authorities: self.client_ca,
            // An empty variable is none.
            client_names: self.client_name.into_iter().filter(|name| !name.is_empty()).collect(),
            http_versions: if self.http2 { HttpVersions::OneAndTwo } else { HttpVersions::One },
            metrics_listen: self.health.metrics_listen,
            identity: host_name().unwrap_or_else(|| "switchover-webhook".into()),
            own_namespace: self.namespace,
            lease: self.lease_name,
            schedulers: self.schedulers.schedulers(),
            drain: self.drain.0,
            ..WebhookConfig::default()
        }
    }
}
