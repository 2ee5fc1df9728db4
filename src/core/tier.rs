//! How near a node is to the primary.

use serde::{Deserialize, Serialize};

/// How near a node is to the primary. Ordered: nearer is less.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Closely,
    Intermediate,
    Far,
    /// Never measured. Not far: nothing is moved off or kept away from such a node.
    Unknown,
}

impl Tier {
    /// The value of the node label; `None` for a node that has no label.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Closely => Some("closely"),
            Self::Intermediate => Some("intermediate"),
            Self::Far => Some("far"),
            Self::Unknown => None,
        }
    }

    /// Reads the value of the node label; anything that switchover never writes is [`Tier::Unknown`].
    #[must_use]
    pub fn from_label(value: Option<&str>) -> Self {
        match value {
            Some("closely") => Self::Closely,
            Some("intermediate") => Self::Intermediate,
            Some("far") => Self::Far,
            _ => Self::Unknown,
        }
    }
}
