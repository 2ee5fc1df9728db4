//! What was typed ([`Args`]) → what it means (each role's config). Every flag has an environment variable of the same
//! name: `--tick` is `SWITCHOVER_TICK`.

mod agent;
mod controller;
mod recordings;
mod tools;
mod webhook;
mod witness;

use std::net::SocketAddr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use self::{
    agent::AgentArgs,
    controller::{Certificates, ControllerArgs},
    recordings::{RecordArgs, ReplayArgs},
    tools::{
        CertsArgs, CheckArgs, CompleteArgs, CompletedBy, CompletionArgs, DashboardsArgs, ExplainArgs, ExplainOutput,
        HistoryArgs, HistoryOutput, InstallationArgs, ManArgs, MoveArgs, PauseArgs, PlanArgs, PoliciesArgs, ReportArgs,
        ResumeArgs, SimulateArgs, SnapshotArgs, StatusArgs, UiArgs, UninstallArgs, WhatArgs,
    },
    webhook::WebhookArgs,
    witness::WitnessArgs,
};
use crate::{api::Span, core::schedulers::Schedulers, process::LogArgs};

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

/// The roles and the tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show primaries, tiers, nodes with their distance, what is moving, what is held and why
    Status(StatusArgs),
    /// Say whether the installation is as it should be, or, with --pre, whether there could be one.
    /// Exit status 0: nothing is wrong; 3: something is; 1: nobody can tell of something, such as for want of rights
    Check(CheckArgs),
    /// Say what a change of primary, or the loss of a data centre, would lead to: what moves, what stays, what is missing.
    /// Exit status 0: all fits; 3: something wouldn't; 1: nobody can tell
    Plan(PlanArgs),
    /// Write what plans are made from into a file: for plan -f, offline
    Snapshot(SnapshotArgs),
    /// Show what each change of primary came to, and what moving the pods was worth; as a report for a post-mortem, too
    History(HistoryArgs),
    /// Serve a page on this machine that shows it all live, with your own rights; it changes nothing
    Ui(UiArgs),
    /// Write a bundle for whoever helps you: objects, events, logs, metrics, a recording, a snapshot; no Secrets. plan -f and replay
    /// read it on another machine
    Report(ReportArgs),
    /// Write what the members of a Patroni cluster answer, as JSON lines, whenever it changes: for bug reports and replay
    Record(RecordArgs),
    /// Run the decision over recorded answers of a Patroni cluster, offline: one line for each change of view
    Replay(ReplayArgs),
    /// Play a script of what happens to a cluster, or an invented month, with the real decisions and without a cluster
    Simulate(SimulateArgs),
    /// Say what admission decides on a pod or a manifest, and why; what moves or holds a pod or a workload; how far a node is
    Explain(ExplainArgs),
    /// Print the CustomResourceDefinitions
    Crds(OutputArgs),
    /// Print a dashboard for Grafana, as in deploy/dashboards
    #[command(hide = true)]
    Dashboards(DashboardsArgs),
    /// Print what injects without a webhook: a MutatingAdmissionPolicy, and a binding for each database
    Policies(PoliciesArgs),
    /// Make the webhook's serving certificate, as files or straight into the cluster
    Certs(CertsArgs),
    /// Stop the movement of one database, namespace or workload, or all of it; labels and admission go on
    Pause(PauseArgs),
    /// Move the pods of a workload now, as far as that is safe, or say why each stays
    Move(MoveArgs),
    /// Let the movement go on; or, with --primary, decide who is primary when nobody else can
    Resume(ResumeArgs),
    /// Take labels, taints and finalizers off again, also when no controller runs any more
    Uninstall(UninstallArgs),
    /// Print a script by which a shell, or kubectl, completes words on TAB: commands, flags, and names from the cluster
    Completion(CompletionArgs),
    /// Write the man pages
    #[command(hide = true)]
    Man(ManArgs),
    /// Say to kubectl what a word could be
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
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

/// How a forecast looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    Table,
    Json,
    Yaml,
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

/// Which cluster a tool talks to.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct ClusterArgs {
    /// Context of the kubeconfig (default: the current one; the file is $KUBECONFIG or ~/.kube/config)
    #[arg(long)]
    pub context: Option<String>,
}

/// Where every role serves health and metrics.
#[derive(Debug, Clone, ClapArgs)]
pub struct HealthArgs {
    /// Address for /livez, /readyz and /metrics
    #[arg(long, env = "SWITCHOVER_METRICS_LISTEN", default_value = "[::]:8080")]
    pub metrics_listen: SocketAddr,
}

/// Who places pods.
#[derive(Debug, Clone, ClapArgs)]
pub struct SchedulersArgs {
    /// Schedulers that go by node affinity; pods of any other one are left alone unless they opt in themselves. Say the same
    /// to webhook and controller
    #[arg(long, env = "SWITCHOVER_SCHEDULERS", value_delimiter = ',', default_value = "default-scheduler")]
    pub schedulers: Vec<String>,
}

impl SchedulersArgs {
    /// What was typed means this.
    #[must_use]
    pub fn schedulers(self) -> Schedulers {
        Schedulers::new(self.schedulers)
    }
}

fn base_url(text: &str) -> Result<String, String> {
    crate::discover::patroni::base_url(text).ok_or_else(|| "write a base URL such as http://10.0.1.5:8008".to_owned())
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
    fn an_agents_pauses_are_bounded_in_words() {
        for (flag, time, says) in [
            ("--interval", "0s", "write a time between 10ms and 1m"),
            ("--interval", "61s", "write a time between 10ms and 1m"),
            ("--heartbeat", "0s", "write a time between 1s and 1h"),
            ("--heartbeat", "61m", "write a time between 1s and 1h"),
        ] {
            let refused = Args::try_parse_from(["switchover", "agent", "--node-name", "n1", flag, time]).unwrap_err();
            assert!(refused.to_string().contains(says), "{refused}");
        }
        let typed = ["switchover", "agent", "--node-name", "n1", "--interval", "10ms", "--heartbeat", "1h"];
        assert!(Args::try_parse_from(typed).is_ok());
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
