//! What was typed ([`Args`]) → what it means (each role's config). Every flag has an environment variable of the same
//! name: `--tick` is `SWITCHOVER_TICK`.

mod witness;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use self::witness::WitnessArgs;
use crate::{
    agent::AgentConfig, api::Span, controller::ControllerConfig, core::settle::Rules, credentials::Files,
    lease::LeaseConfig, tls::install::Rotation, webhook::WebhookConfig,
};

/// Keeps pods close to the PostgreSQL primary.
///
/// Finds the primary, labels nodes by their distance to it (switchover=closely|intermediate|far), injects node
/// affinity into the pods of opted-in namespaces, and after a failover moves pods off far nodes without an outage.
///
/// Opt a namespace in:  kubectl label namespace NAME switchover.dev/follow=default
#[derive(Debug, Parser)]
#[command(name = "switchover", version, max_term_width = 110, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub log: LogArgs,
}

/// How the process logs.
#[derive(Debug, Clone, ClapArgs)]
pub struct LogArgs {
    /// Log lines for people or for machines
    #[arg(long, env = "SWITCHOVER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,

    /// What to log, as tracing filters: a level, or module=level, separated by commas
    #[arg(long, env = "SWITCHOVER_LOG", default_value = "info", global = true)]
    pub log: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The roles and the tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show primaries, tiers, nodes with their distance, what is moving, what is held and why
    Status(StatusArgs),
    /// Write what the members of a Patroni cluster answer, as JSON lines, whenever it changes: for bug reports and replay
    Record(RecordArgs),
    /// Run the decision over recorded answers of a Patroni cluster, offline: one line for each change of view
    Replay(ReplayArgs),
    /// Say what admission decides on a pod or a manifest, and why; and what moves or holds a running pod
    Explain(ExplainArgs),
    /// Print the CustomResourceDefinitions
    Crds(OutputArgs),
    /// Make the webhook's serving certificate, as files or straight into the cluster
    Certs(CertsArgs),
    /// Stop the movement of one database (spec.paused); labels and admission go on
    Pause(PauseArgs),
    /// Let the movement go on; or, with --primary, decide who is primary when nobody else can
    Resume(ResumeArgs),
    /// Take labels, taints and finalizers off again, also when no controller runs any more
    Uninstall(UninstallArgs),
    /// Run the controller: finds primaries, labels nodes, moves pods
    Controller(ControllerArgs),
    /// Run the admission webhook: injects affinity into the pods of opted-in namespaces
    Webhook(WebhookArgs),
    /// Run a node's agent: measures the distance to every database member
    Agent(AgentArgs),
    /// Run a witness at another site, without Kubernetes: tells controllers what it hears from members that they can't see
    Witness(WitnessArgs),
}

/// How output looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// How a definition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Manifest {
    Yaml,
    Json,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct OutputArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Manifest::Yaml)]
    pub output: Manifest,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct StatusArgs {
    /// Only this DatabaseCluster
    pub database: Option<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct RecordArgs {
    /// The DatabaseCluster whose members are asked
    #[arg(required_unless_present = "urls")]
    pub database: Option<String>,

    /// Base URL of a member's REST API, such as http://10.0.1.5:8008, instead of a DatabaseCluster; may be repeated
    #[arg(long = "url", value_name = "URL", value_parser = base_url, conflicts_with = "database")]
    pub urls: Vec<String>,

    /// With --url: authorities to trust instead of this machine's root certificates, PEM
    #[arg(long, value_name = "FILE", requires = "urls")]
    pub ca_file: Option<PathBuf>,

    /// With --url: a client certificate to show, PEM
    #[arg(long, value_name = "FILE", requires = "urls", requires = "key_file")]
    pub cert_file: Option<PathBuf>,

    /// The key of --cert-file, PEM
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,

    /// With --url: the name that the members' certificates carry, if it isn't the host of their URLs
    #[arg(long, value_name = "NAME", requires = "urls")]
    pub server_name: Option<String>,

    /// Namespace that switchover runs in, where the Secrets of a DatabaseCluster lie
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    /// Pause between two looks at one member
    #[arg(long, default_value = "250ms", value_parser = between(Span::from_millis(50), Span::from_secs(60)))]
    pub every: Span,

    /// Pause between two looks at the list of members (GET /cluster, of members that take turns)
    #[arg(long, default_value = "10s", value_parser = seconds(1, 3600))]
    pub list_every: Span,

    /// Time allowed for one answer
    #[arg(long, default_value = "1500ms", value_parser = between(Span::from_millis(100), Span::from_secs(10)))]
    pub timeout: Span,

    /// End after this long (default: when interrupted)
    #[arg(long = "for", value_name = "TIME")]
    pub for_: Option<Span>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ReplayArgs {
    /// The recording: JSON lines of t, member, path, status or error, body; - is standard input
    pub file: PathBuf,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// Also say when pods would have been allowed to move, and to whom
    #[arg(long = "move")]
    pub move_: bool,

    /// How long the primary must have held before pods move, as spec.movement.settle
    #[arg(long, default_value = "30s", value_parser = seconds(0, 86_400))]
    pub settle: Span,

    /// That time doubles with each further change of primary within this time, as spec.movement.settleWindow
    #[arg(long, default_value = "10m", value_parser = seconds(0, 86_400))]
    pub settle_window: Span,

    /// What it grows to at most, as spec.movement.settleMax (default: ten times --settle, but no more than 30m)
    #[arg(long, value_parser = seconds(0, 86_400))]
    pub settle_max: Option<Span>,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ExplainArgs {
    /// A pod of the cluster
    #[arg(required_unless_present = "filename", conflicts_with = "filename")]
    pub pod: Option<String>,

    /// A manifest with pods or workloads (- is standard input); nothing of it is created
    #[arg(short, long)]
    pub filename: Option<PathBuf>,

    /// Namespace of the pod, or of what the manifest gives none
    #[arg(short, long, default_value = "default")]
    pub namespace: String,

    /// Namespace that switchover runs in
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Which cluster a tool talks to.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct ClusterArgs {
    /// Context of the kubeconfig (default: the current one; the file is $KUBECONFIG or ~/.kube/config)
    #[arg(long)]
    pub context: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct CertsArgs {
    /// Namespace of the webhook's Service
    #[arg(long, short, default_value = "switchover-system")]
    pub namespace: String,

    /// Name of the webhook's Service
    #[arg(long, default_value = "switchover-webhook")]
    pub service: String,

    /// Days for which a certificate holds that is made now
    #[arg(long, default_value_t = 365)]
    pub days: u32,

    /// Write tls.crt, tls.key and ca.crt into this folder
    #[arg(long, conflicts_with = "apply", required_unless_present = "apply")]
    pub out: Option<PathBuf>,

    /// Do in the current cluster what the controller would do now: see to the Secrets, and to the CA in the
    /// MutatingWebhookConfiguration
    #[arg(long)]
    pub apply: bool,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct PauseArgs {
    /// The DatabaseCluster
    pub database: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ResumeArgs {
    /// The DatabaseCluster
    pub database: String,

    /// In a split brain, or when a database was restored on an older timeline: this member is the primary, whatever was
    /// believed. Who says so, and when, goes on record. It holds from when the member says so itself, and doesn't pause or
    /// resume the movement
    #[arg(long, value_name = "MEMBER")]
    pub primary: Option<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct UninstallArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,

    /// Namespace that switchover runs in
    #[arg(long, short, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Where every role serves health and metrics.
#[derive(Debug, Clone, ClapArgs)]
pub struct HealthArgs {
    /// Address for /livez, /readyz and /metrics
    #[arg(long, env = "SWITCHOVER_METRICS_LISTEN", default_value = "[::]:8080")]
    pub metrics_listen: SocketAddr,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ControllerArgs {
    #[command(flatten)]
    pub health: HealthArgs,

    /// Namespace of the Lease, and of the webhook and its certificate
    #[arg(long, env = "SWITCHOVER_LEASE_NAMESPACE", default_value = "switchover-system")]
    pub lease_namespace: String,

    /// Name of the Lease
    #[arg(long, env = "SWITCHOVER_LEASE_NAME", default_value = "switchover-controller")]
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

    /// Name of the webhook's Service, for its certificate
    #[arg(long, env = "SWITCHOVER_WEBHOOK_SERVICE", default_value = "switchover-webhook")]
    pub webhook_service: String,
}

/// Who keeps the webhook's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Certificates {
    Managed,
    External,
}

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

    /// Namespace that switchover runs in: its own pods are never touched
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    /// After SIGTERM, keep serving this long while the API server learns that this replica goes
    #[arg(long, env = "SWITCHOVER_DRAIN", default_value = "5s")]
    pub drain: Span,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct AgentArgs {
    /// Address for /livez, /readyz and /metrics
    #[arg(long, env = "SWITCHOVER_METRICS_LISTEN", default_value = "[::]:8089")]
    pub metrics_listen: SocketAddr,

    /// Name of the node that this agent runs on
    #[arg(long, env = "SWITCHOVER_NODE_NAME")]
    pub node_name: String,

    /// Pause between two echoes to one member
    #[arg(long, env = "SWITCHOVER_INTERVAL", default_value = "300ms")]
    pub interval: Span,

    /// Number of echoes in the window
    #[arg(long, env = "SWITCHOVER_WINDOW", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub window: u16,

    /// An echo that isn't answered within this time is lost
    #[arg(long, env = "SWITCHOVER_TIMEOUT", default_value = "1s", value_parser = between(Span::from_millis(10), Span::from_secs(10)))]
    pub timeout: Span,

    /// Write at least this often, also when nothing has changed
    #[arg(long, env = "SWITCHOVER_HEARTBEAT", default_value = "60s")]
    pub heartbeat: Span,

    /// Write a change after a random part of this time, so that agents that see the same don't write at once. For
    /// thousands of nodes, write about a second for every 200
    #[arg(long, env = "SWITCHOVER_SPREAD", default_value = "2s", value_parser = between(Span::from_millis(0), Span::from_secs(300)))]
    pub spread: Span,
}

fn base_url(text: &str) -> Result<String, String> {
    crate::discover::patroni::base_url(text).ok_or_else(|| "write a base URL such as http://10.0.1.5:8008".to_owned())
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

fn seconds(least: u64, most: u64) -> impl Fn(&str) -> Result<Span, String> + Clone {
    between(Span::from_secs(least), Span::from_secs(most))
}

fn between(least: Span, most: Span) -> impl Fn(&str) -> Result<Span, String> + Clone {
    move |text| {
        let span: Span = text.parse().map_err(|error: crate::api::span::SpanError| error.to_string())?;
        if (least..=most).contains(&span) { Ok(span) } else { Err(format!("write a time between {least} and {most}")) }
    }
}

impl RecordArgs {
    /// The files with the credentials for members that `--url` names.
    #[must_use]
    pub fn files(&self) -> Files {
        Files {
            authorities: self.ca_file.clone(),
            certificate: self.cert_file.clone(),
            key: self.key_file.clone(),
            server_name: self.server_name.clone(),
        }
    }
}

impl ReplayArgs {
    /// What was typed means this.
    #[must_use]
    pub fn settle_rules(&self) -> Rules {
        Rules { settle: self.settle.0, window: self.settle_window.0, max: self.settle_max.map(|max| max.0) }
    }
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
            tick: self.tick.0.max(Duration::from_millis(100)),
            certificates: (self.certificates == Certificates::Managed).then_some(Rotation {
                service: self.webhook_service,
                namespace,
                lifetime: self.certificate_lifetime,
                authority_lifetime: self.authority_lifetime,
            }),
        }
    }
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
            metrics_listen: self.health.metrics_listen,
            identity: host_name().unwrap_or_else(|| "switchover-webhook".into()),
            own_namespace: self.namespace,
            drain: self.drain.0,
            ..WebhookConfig::default()
        }
    }
}

impl AgentArgs {
    /// What was typed means this.
    #[must_use]
    pub fn config(self) -> AgentConfig {
        AgentConfig {
            node_name: self.node_name,
            interval: self.interval.0,
            window: usize::from(self.window),
            timeout: self.timeout.0,
            heartbeat: self.heartbeat.0,
            spread: self.spread.0,
            metrics_listen: self.metrics_listen,
            ..AgentConfig::default()
        }
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn lifetimes_are_written_in_days_or_less() {
        let seconds = |text| lifetime(text).map(|span| span.as_secs()).ok();
        assert_eq!(["90d", "1d", "3s", "2.5m"].map(seconds), [Some(7_776_000), Some(86_400), Some(3), Some(150)]);
        assert_eq!(["", "d", "0d", "2s", "-1d", "1.5d", "99999d", "90"].map(seconds), [None; 8]);
    }

    #[test]
    fn every_flag_of_a_role_has_an_environment_variable_of_its_name() {
        for role in Args::command()
            .get_subcommands()
            .filter(|c| ["controller", "webhook", "agent", "witness"].contains(&c.get_name()))
        {
            for flag in role.get_arguments().filter(|flag| flag.get_long().is_some_and(|name| name != "help")) {
                let expected = format!("SWITCHOVER_{}", flag.get_long().unwrap().to_uppercase().replace('-', "_"));
                assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(expected.as_str()), "{flag}");
            }
        }
    }
}
