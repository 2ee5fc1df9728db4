//! What a pod's creator is told.

use std::{fmt, sync::Arc};

use crate::core::follow::{AffinityMode, Mistake};

/// Why a hard mode became `preferred` for one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Softened {
    PrimaryUnknown,
    SplitBrain,
    Frozen,
    Stale,
    /// No node that could take a pod is near enough.
    NoNode,
    /// There are such nodes, but none that the pod's own rules, taints or another database that it follows leave.
    NoNodeForPod,
    /// The pod has so many rules of its own that to look at them, or to add to each, would take too long or be too much.
    TooManyRules,
}

/// Something to tell the pod's creator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    Mistake(Mistake),
    Softened {
        database: Arc<str>,
        asked: AffinityMode,
        why: Softened,
    },
    /// The controller doesn't follow it, and neither do pods.
    Refused {
        database: Arc<str>,
    },
}

impl Warning {
    /// One word, for a metric's label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Mistake(_) => "mistake",
            Self::Refused { .. } => "refused",
            Self::Softened { why, .. } => match why {
                Softened::PrimaryUnknown => "primary_unknown",
                Softened::SplitBrain => "split_brain",
                Softened::Frozen => "frozen",
                Softened::Stale => "stale",
                Softened::NoNode => "no_node",
                Softened::NoNodeForPod => "no_node_for_pod",
                Softened::TooManyRules => "too_many_rules",
            },
        }
    }
}

impl fmt::Display for Warning {
    /// One sentence of at most 120 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, asked, why) = match self {
            Self::Mistake(mistake) => return mistake.fmt(f),
            Self::Refused { database } => {
                return write!(f, "database {} is not followed: see its condition Accepted", Short(database));
            }
            Self::Softened { database, asked, why } => (database, asked, why),
        };
        let nodes = if *asked == AffinityMode::Required { "closely node" } else { "node but far ones" };
        write!(f, "database {}: {} became preferred: ", Short(database), asked.as_str())?;
        match why {
            Softened::PrimaryUnknown => f.write_str("its primary is unknown"),
            Softened::SplitBrain => f.write_str("it has more than one primary"),
            Softened::Frozen => f.write_str("its primary is not certain now"),
            Softened::Stale => f.write_str("what is known of it is too old"),
            Softened::NoNode => write!(f, "no {nodes} is usable"),
            Softened::NoNodeForPod => write!(f, "the pod's rules and taints leave no {nodes}"),
            Softened::TooManyRules => f.write_str("the pod has too many rules"),
        }
    }
}

/// A name's first characters.
struct Short<'n>(&'n str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = self.0.char_indices().nth(24).map_or((self.0, ""), |(at, _)| (&self.0[..at], "…"));
        write!(f, "{shown}{more}")
    }
}
