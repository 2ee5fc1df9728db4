//! `switchover record` and `switchover replay`: what was typed and what it means.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{ClusterArgs, Output, base_url, between, seconds};
use crate::{api::Span, core::movement::settle::Rules, credentials::Files};

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
    /// The recording: JSON lines of t, member, path, status or error, body, or a file that switchover report wrote; - is standard input
    pub file: PathBuf,

    /// Of a report: the DatabaseCluster whose recording is meant, if there are several
    #[arg(long)]
    pub database: Option<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// Also print where only the sentence changes, such as when a member falls silent
    #[arg(long)]
    pub sentences: bool,

    /// Also say when pods would have been allowed to move, and to whom
    #[arg(long = "move")]
    pub move_: bool,

    /// How long the primary must have held before pods move, as spec.movement.settle
    #[arg(long, default_value = "10s", value_parser = seconds(0, 86_400))]
    pub settle: Span,

    /// That time doubles with each further change of primary within this time, as spec.movement.settleWindow
    #[arg(long, default_value = "10m", value_parser = seconds(0, 86_400))]
    pub settle_window: Span,

    /// What it grows to at most, as spec.movement.settleMax (default: ten times --settle, but no more than 30m)
    #[arg(long, value_parser = seconds(0, 86_400))]
    pub settle_max: Option<Span>,
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
