//! The ways to move a pod, and what each is called wherever it is named.

use std::{fmt, str::FromStr};

use strum::VariantArray;

/// How a pod is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Way {
    /// Evict this pod.
    Evict,
    /// Restart the pod's whole workload.
    Restart,
}

impl Way {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// As people write it in `switchover.dev/move`, and metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Restart => "restart",
        }
    }

    /// As events and `status.moving` call it.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Evict => "Evict",
            Self::Restart => "Restart",
        }
    }
}

/// A way that this version doesn't know, as it stands in `status.moving`: a newer one wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWay(pub String);

impl fmt::Display for UnknownWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Way {
    type Err = UnknownWay;

    /// Reads what [`Way::event`] says, and takes nothing else for it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|way| way.event() == text).ok_or_else(|| UnknownWay(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::follow::MoveMode;

    #[test]
    fn a_way_is_read_as_it_is_written_and_no_other_one_is_taken_for_it() {
        for &way in Way::ALL {
            assert_eq!(way.event().parse(), Ok(way));
        }
        for other in ["Surge", "evict", "", "Evict "] {
            assert_eq!(other.parse::<Way>(), Err(UnknownWay(other.to_owned())));
        }
    }

    #[test]
    fn each_way_keeps_its_names() {
        let names: Vec<_> = Way::ALL.iter().map(|way| (way.name(), way.event())).collect();
        assert_eq!(names, [("evict", "Evict"), ("restart", "Restart")]);
        let asked = [MoveMode::Evict, MoveMode::Restart].map(MoveMode::as_str);
        assert_eq!(Way::ALL.iter().map(|way| way.name()).collect::<Vec<_>>(), asked, "as people write it");
    }
}
