//! What nodes, processes and the database can be told, as people type it.

use clap::{Subcommand, ValueEnum};
use lab::{
    control::{NodeAction, PatroniAction, ProcessAction, StoreAction},
    patroni::RestFault,
    site::Site,
};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum NodeVerb {
    /// Cut the power
    Kill,
    /// Boot it again from its disk
    Start,
    /// Pull the network cable
    Cut,
    /// Put the cable back
    Heal,
    /// End the kubelet in order; containers go on
    KubeletStop,
    /// Start the kubelet again
    KubeletStart,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ProcessVerb {
    /// End it at once, as a crash would
    Kill,
    /// Start it again
    Start,
    /// End it in order and start it again
    Restart,
}

#[derive(Debug, Subcommand)]
pub enum PatroniVerb {
    /// Move the primary in order
    Switchover {
        /// The member that becomes primary; Patroni chooses without it
        #[arg(long, value_name = "MEMBER")]
        to: Option<String>,
    },
    /// Kill PostgreSQL and Patroni of a member at once
    Kill { member: String },
    /// Start a killed member
    Start { member: String },
    /// Stop Patroni of a member where it is; PostgreSQL goes on without it
    Freeze { member: String },
    /// Let a frozen Patroni go on
    Thaw { member: String },
    /// Do something to the member of Patroni's store (etcd) beside a member of the database
    Store { member: String, action: StoreAction },
    /// Let a member's REST API answer wrongly, or rightly again (none)
    Rest { member: String, fault: RestFault },
    /// Maintenance mode: no failover until `resume`
    Pause,
    /// End the maintenance mode
    Resume,
    /// Add a member on a new host
    Add { name: String, site: Site },
    /// Remove a member
    Remove { member: String },
    /// Show the members
    List,
    /// Print the URL by which a service inside the lab connects to the primary
    Url,
}

impl From<NodeVerb> for NodeAction {
    fn from(verb: NodeVerb) -> NodeAction {
        match verb {
            NodeVerb::Kill => NodeAction::Kill,
            NodeVerb::Start => NodeAction::Start,
            NodeVerb::Cut => NodeAction::Cut,
            NodeVerb::Heal => NodeAction::Heal,
            NodeVerb::KubeletStop => NodeAction::StopKubelet,
            NodeVerb::KubeletStart => NodeAction::StartKubelet,
        }
    }
}

impl From<ProcessVerb> for ProcessAction {
    fn from(verb: ProcessVerb) -> ProcessAction {
        match verb {
            ProcessVerb::Kill => ProcessAction::Kill,
            ProcessVerb::Start => ProcessAction::Start,
            ProcessVerb::Restart => ProcessAction::Restart,
        }
    }
}

impl From<PatroniVerb> for PatroniAction {
    fn from(verb: PatroniVerb) -> PatroniAction {
        match verb {
            PatroniVerb::Switchover { to } => PatroniAction::Switchover { candidate: to },
            PatroniVerb::Kill { member } => PatroniAction::Kill { member },
            PatroniVerb::Start { member } => PatroniAction::Start { member },
            PatroniVerb::Freeze { member } => PatroniAction::Freeze { member },
            PatroniVerb::Thaw { member } => PatroniAction::Thaw { member },
            PatroniVerb::Store { member, action } => PatroniAction::Store { member, action },
            PatroniVerb::Rest { member, fault } => PatroniAction::Rest { member, fault },
            PatroniVerb::Pause => PatroniAction::Pause,
            PatroniVerb::Resume => PatroniAction::Resume,
            PatroniVerb::Add { name, site } => PatroniAction::Add { name, site },
            PatroniVerb::Remove { member } => PatroniAction::Remove { member },
            PatroniVerb::Url => PatroniAction::DatabaseUrl,
            PatroniVerb::List => PatroniAction::List,
        }
    }
}
