//! One member's answer, and what it amounts to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What Patroni's health endpoints say about a member (`GET /primary`), reduced to what the decision needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberBody {
    /// `patroni.name`.
    pub name: Option<String>,
    /// State of PostgreSQL: `running`, `starting`, `stopping`, `crashed`, …
    pub state: String,
    /// `primary` (`master` before Patroni 4), `replica`, `demoted`, `standby_leader`, …
    pub role: String,
    pub timeline: Option<u64>,
    /// `database_system_identifier`.
    pub system_identifier: Option<String>,
    /// The member sees no holder of the leader lock.
    pub cluster_unlocked: bool,
    /// `failsafe_mode_is_active`.
    pub failsafe: bool,
    /// Maintenance mode.
    pub pause: bool,
    /// `dcs_last_seen`: when the member last reached Patroni's store, by its own clock, in seconds since 1970.
    pub dcs_last_seen_s: Option<u64>,
}

impl MemberBody {
    /// Whether the member says that its PostgreSQL is a primary, by the word of any version of Patroni.
    #[must_use]
    pub fn acts_as_primary(&self) -> bool {
        matches!(self.role.as_str(), "primary" | "master")
    }
}

/// What came of asking one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Asked, nothing heard yet since the start.
    Pending,
    /// Patroni answered 200 or 503.
    Http { status: u16, body: MemberBody },
    /// Anything else: no connection, too late, not Patroni. `error` is for people.
    Unreachable { error: String },
}

/// An answer and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub answer: Answer,
    pub at: Instant,
}

/// What one answer amounts to. Ordered: when two answers of one member came at the same instant, the greater counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// No answer; the text says why.
    Silent(String),
    Pending,
    Follower,
    /// Leader of a cluster that follows another one; nothing there is writable.
    StandbyLeader,
    /// Runs as primary without the leader lock.
    Stale {
        timeline: Option<u64>,
    },
    /// Holds the lock, PostgreSQL is not in order.
    Troubled {
        state: String,
    },
    /// Holds the lock, not writable yet.
    Promoting {
        timeline: Option<u64>,
    },
    Confirmed {
        timeline: u64,
    },
}

/// One member as it stands now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub standing: Standing,
    /// Of an answer that counts; `None` for silent members.
    pub body: Option<MemberBody>,
}

impl Member {
    /// Whether the member says, here and now, that it is not a primary.
    pub fn refuses(&self) -> bool {
        matches!(self.standing, Standing::Follower | Standing::StandbyLeader)
    }

    pub fn system_identifier(&self) -> Option<&str> {
        self.body.as_ref().and_then(|body| body.system_identifier.as_deref())
    }
}

fn standing(status: u16, body: &MemberBody) -> Standing {
    let runs_as_primary = body.acts_as_primary() && body.state == "running";
    match (status, body.timeline) {
        (200, Some(timeline)) if runs_as_primary => Standing::Confirmed { timeline },
        // /primary is never 200 in a standby cluster, so that its leader is about to be promoted.
        (200, timeline) if matches!(body.role.as_str(), "replica" | "promoted" | "standby_leader") => {
            Standing::Promoting { timeline }
        }
        (200, _) => Standing::Troubled { state: body.state.clone() },
        (_, timeline) if runs_as_primary => Standing::Stale { timeline },
        _ if body.role == "standby_leader" => Standing::StandbyLeader,
        _ => Standing::Follower,
    }
}

/// The members by their own names. An address may be known before the name of the member behind it is, and one member
/// may have several addresses: the latest answer counts, and an answer counts more than the lack of one.
pub(super) fn members(
    observations: &BTreeMap<String, Observation>,
    max_age: Duration,
    now: Instant,
) -> BTreeMap<String, Member> {
    let mut latest: BTreeMap<String, (Option<Instant>, Member)> = BTreeMap::new();
    for (asked, observation) in observations {
        let age = now.saturating_duration_since(observation.at);
        let silent = |why: String| Member { standing: Standing::Silent(why), body: None };
        let (name, at, member) = match &observation.answer {
            Answer::Pending => (asked, None, Member { standing: Standing::Pending, body: None }),
            Answer::Unreachable { error } => (asked, None, silent(error.clone())),
            Answer::Http { body, .. } if age > max_age => {
                let name = body.name.as_ref().unwrap_or(asked);
                (name, None, silent(format!("its last answer is {} s old", age.as_secs())))
            }
            Answer::Http { status, body } => (
                body.name.as_ref().unwrap_or(asked),
                Some(observation.at),
                Member { standing: standing(*status, body), body: Some(body.clone()) },
            ),
        };
        let answered = (at, member);
        if latest.get(name).is_none_or(|known| answered > *known) {
            latest.insert(name.clone(), answered);
        }
    }
    latest.into_iter().map(|(name, (_, member))| (name, member)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_amounts_to_one_thing() {
        use Standing::{Confirmed, Follower, Promoting, Stale, StandbyLeader, Troubled};
        let troubled = |state: &str| Troubled { state: state.to_owned() };
        for (status, state, role, timeline, expected) in [
            (200, "running", "primary", Some(3), Confirmed { timeline: 3 }),
            (200, "running", "master", Some(3), Confirmed { timeline: 3 }),
            (200, "running", "primary", None, troubled("running")),
            (200, "running", "replica", Some(3), Promoting { timeline: Some(3) }),
            (200, "starting", "replica", None, Promoting { timeline: None }),
            (200, "running", "promoted", Some(3), Promoting { timeline: Some(3) }),
            (200, "stopping", "primary", None, troubled("stopping")),
            (200, "crashed", "primary", None, troubled("crashed")),
            (200, "starting", "primary", Some(3), troubled("starting")),
            (200, "stopping", "demoted", None, troubled("stopping")),
            (503, "running", "primary", Some(2), Stale { timeline: Some(2) }),
            (503, "running", "master", None, Stale { timeline: None }),
            (503, "stopped", "primary", None, Follower),
            (503, "running", "replica", Some(3), Follower),
            (503, "stopping", "demoted", None, Follower),
            (503, "running", "uninitialized", None, Follower),
            (503, "running", "standby_leader", Some(3), StandbyLeader),
            (200, "running", "standby_leader", Some(3), Promoting { timeline: Some(3) }),
        ] {
            let body = MemberBody { state: state.into(), role: role.into(), timeline, ..MemberBody::default() };
            assert_eq!(standing(status, &body), expected, "{status} {state} {role} {timeline:?}");
        }
    }
}
