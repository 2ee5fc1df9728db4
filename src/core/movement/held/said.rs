//! What gates tell of people: who paused something, and what a dry run would do.

use std::fmt;

use crate::core::{keys, movement::ways::Way, orders::Pause};

/// What would be done, were it not a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Would {
    /// So many moves would begin now.
    Begin { moves: usize },
    /// This pod would be moved now: where there is room, and by which way.
    Move { to: String, way: Way },
    /// This pod would have its turn later.
    Wait,
}

/// Whom somebody's pause is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every database: it stands on the namespace that switchover runs in.
    Everything,
    Database,
    Namespace,
    Workload,
    Pod,
}

/// What is paused by an annotation, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    pub scope: Scope,
    /// Of the object that the annotation stands on.
    pub name: String,
    pub pause: Pause,
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, name, pause } = self;
        match scope {
            Scope::Everything => write!(f, "all movement is paused on switchover's own namespace {name}"),
            Scope::Database => write!(f, "movement is paused on the DatabaseCluster {name}"),
            Scope::Namespace => write!(f, "its namespace {name} is paused"),
            Scope::Workload => write!(f, "its {name} is paused"),
            Scope::Pod => f.write_str("it is paused itself"),
        }?;
        write!(f, " ({}) {pause}", keys::PAUSED)
    }
}

impl fmt::Display for Would {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin { moves: 0 } => f.write_str("nothing would be moved now"),
            Self::Begin { moves: 1 } => f.write_str("one move would begin now"),
            Self::Begin { moves } => write!(f, "{moves} moves would begin now"),
            Self::Move { to, way: Way::Evict } => write!(f, "it would be moved to {to} now"),
            Self::Move { to, way: Way::Restart } => {
                write!(f, "it would be moved to {to} now by a restart of its workload")
            }
            Self::Wait => f.write_str("it would be moved when others have been"),
        }
    }
}
