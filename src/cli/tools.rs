//! What the tools for people take.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use jiff::Timestamp;

use super::{ClusterArgs, Manifest, Output, SchedulersArgs, Shape, seconds};
use crate::api::Span;

#[derive(Debug, Clone, ClapArgs)]
pub struct StatusArgs {
    /// Only this DatabaseCluster
    pub database: Option<String>,

    /// Namespace that switchover runs in
    #[arg(long, short, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// Show it until Ctrl-C, in the same place, drawn anew when something changes
    #[arg(short, long, conflicts_with = "output")]
    pub watch: bool,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Of tools that are about the whole installation.
#[derive(Debug, Clone, ClapArgs)]
pub struct InstallationArgs {
    /// Namespace that switchover runs in, or shall run in
    #[arg(long, short, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct CheckArgs {
    /// Before an installation: whether this cluster, and your rights in it, are fit for one
    #[arg(long)]
    pub pre: bool,

    #[command(flatten)]
    pub installation: InstallationArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct PoliciesArgs {
    /// The databases to bind (default: every DatabaseCluster that there is)
    #[arg(value_name = "DATABASE")]
    pub databases: Vec<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Manifest::Yaml)]
    pub output: Manifest,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How a history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HistoryOutput {
    Table,
    Json,
    /// A report for a post-mortem, with timelines
    Markdown,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct HistoryArgs {
    /// Only this DatabaseCluster
    pub database: Option<String>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = HistoryOutput::Table)]
    pub output: HistoryOutput,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct DashboardsArgs {
    /// Which one; without it, the names of all
    pub name: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct UiArgs {
    /// Port on 127.0.0.1 (0: any free one)
    #[arg(long, default_value_t = 7717)]
    pub port: u16,

    /// Namespace that switchover runs in
    #[arg(long, short, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How an explanation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainOutput {
    Text,
    Json,
    /// Of -f: the manifest as admission would leave it
    Yaml,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ExplainArgs {
    /// A pod, a workload (KIND/NAME, such as deployment/web) or a node (node/NAME) of the cluster
    #[arg(value_name = "POD|KIND/NAME", required_unless_present = "filename", conflicts_with = "filename")]
    pub subject: Option<String>,

    /// A manifest with pods or workloads (- is standard input); nothing of it is created
    #[arg(short, long)]
    pub filename: Option<PathBuf>,

    /// Without a cluster: as if the manifest's namespaces followed a database of this name with its defaults
    #[arg(long, value_name = "DATABASE", requires = "filename", conflicts_with = "context")]
    pub follow: Option<String>,

    /// Namespace of the pod or workload, or of what the manifest gives none
    #[arg(short, long, default_value = "default")]
    pub namespace: String,

    /// Namespace that switchover runs in
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = ExplainOutput::Text)]
    pub output: ExplainOutput,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct PlanArgs {
    /// Only this DatabaseCluster
    pub database: Option<String>,

    /// As if this member were the primary (default: each one that isn't)
    #[arg(long, value_name = "MEMBER", requires = "database")]
    pub to: Option<String>,

    /// As if these nodes or zones were lost, with everything that is there
    #[arg(long, value_name = "NODE|ZONE", value_delimiter = ',')]
    pub without: Vec<String>,

    /// Compare the members, the present primary among them: where would a primary be best for those who follow?
    #[arg(long, conflicts_with = "to")]
    pub all: bool,

    /// A file that switchover snapshot or report wrote (- is standard input), in place of the cluster
    #[arg(short, long, value_name = "SNAPSHOT")]
    pub filename: Option<PathBuf>,

    /// Namespace that switchover runs in
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Shape::Table)]
    pub output: Shape,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct SnapshotArgs {
    /// The file to write (default: standard output). It has no Secrets, no environment and no commands of containers
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ReportArgs {
    /// The file to write (default: switchover-report-TIME.tar.gz, here)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// For how long the members of each Patroni cluster are recorded; 0s records none
    #[arg(long, default_value = "10s", value_parser = seconds(0, 600))]
    pub record: Span,

    /// Namespace that switchover runs in
    #[arg(long, short, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub namespace: String,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct SimulateArgs {
    /// A script as in docs/simulations (- is standard input); without one, months are invented
    #[arg(conflicts_with_all = ["seed", "seeds", "print", "grid"])]
    pub file: Option<PathBuf>,

    /// Seed of the first invented month (default: 1); the same seed always comes to the same
    #[arg(long)]
    pub seed: Option<u64>,

    /// How many seeds, from the first on
    #[arg(long, default_value_t = 1)]
    pub seeds: u32,

    /// Days that are invented for each seed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub days: u32,

    /// Print each invented script, too
    #[arg(long)]
    pub print: bool,

    /// Play the same failovers and flaps by each of many settings, and print what each costs
    #[arg(long)]
    pub grid: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct CertsArgs {
    /// Namespace of the webhook's Service
    #[arg(long, short, default_value = "switchover-system")]
    pub namespace: String,

    /// Name of the webhook's Service
    #[arg(long, env = "SWITCHOVER_WEBHOOK_SERVICE", default_value = "switchover-webhook")]
    pub service: String,

    /// Name of the MutatingWebhookConfiguration, for --apply
    #[arg(long, env = "SWITCHOVER_WEBHOOK_CONFIGURATION", default_value = crate::certificates::install::CONFIGURATION)]
    pub configuration: String,

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

/// What is paused or resumed: exactly one thing.
#[derive(Debug, Clone, ClapArgs)]
#[group(required = true, multiple = false, args = ["database", "namespace", "workload", "all"])]
pub struct WhatArgs {
    /// The DatabaseCluster
    pub database: Option<String>,

    /// All pods of this namespace
    #[arg(long)]
    pub namespace: Option<String>,

    /// All pods of this workload: NAMESPACE/NAME or NAMESPACE/KIND/NAME
    #[arg(long, value_name = "WORKLOAD")]
    pub workload: Option<String>,

    /// Everything: every database, by an annotation on the namespace that switchover runs in
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct PauseArgs {
    #[command(flatten)]
    pub what: WhatArgs,

    /// Why, for whoever wonders why nothing moves
    #[arg(long)]
    pub reason: Option<String>,

    /// For so long, such as 2h
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
    pub for_: Option<Span>,

    /// Until then, such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Timestamp>,

    /// Namespace that switchover runs in
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub what: WhatArgs,

    /// In a split brain, or when a database was restored on an older timeline: this member is the primary, whatever was
    /// believed. Who says so, and when, goes on record. It holds from when the member says so itself, and doesn't pause or
    /// resume the movement
    #[arg(long, value_name = "MEMBER", requires = "database")]
    pub primary: Option<String>,

    /// Namespace that switchover runs in
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct MoveArgs {
    /// The workload: NAMESPACE/NAME or NAMESPACE/KIND/NAME
    pub workload: String,

    /// Only for this DatabaseCluster (default: for each that its pods follow)
    #[arg(long)]
    pub database: Option<String>,

    /// Only say what would be moved, and what would stay and why
    #[arg(long)]
    pub dry_run: bool,

    /// Namespace that switchover runs in
    #[arg(long, env = "SWITCHOVER_NAMESPACE", default_value = "switchover-system")]
    pub own_namespace: String,

    #[command(flatten)]
    pub schedulers: SchedulersArgs,

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

    /// Stop the controllers first: their Deployment wants no replicas any more
    #[arg(long)]
    pub stop: bool,

    #[command(flatten)]
    pub installation: InstallationArgs,
}

/// Who completes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletedBy {
    Bash,
    Zsh,
    Fish,
    /// For `kubectl switchover`: save it as kubectl_complete-switchover on your PATH, executable
    Kubectl,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct CompletionArgs {
    /// The shell; bash: source <(switchover completion bash)
    pub shell: CompletedBy,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct CompleteArgs {
    /// What was typed after `kubectl switchover`; the last word is the one that is completed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ManArgs {
    /// The folder, which is there: a page for each command is written into it
    pub folder: PathBuf,
}
