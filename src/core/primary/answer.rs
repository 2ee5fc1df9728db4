//! One member's answer, and what it amounts to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::Primary;

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
    /// `postmaster_start_time`, to a microsecond, as it is written there.
    pub started: Option<String>,
    /// `xlog`: how far it has written its log, or replayed it, in bytes.
    pub position: Option<u64>,
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
    /// Whether PostgreSQL may be serving: Patroni says `unknown` of one that runs and doesn't answer it, and may have failed
    /// to stop one.
    fn may_run(&self) -> bool {
        matches!(self.state.as_str(), "running" | "unknown" | "stop failed" | "restarting" | "restart failed")
    }

    /// Whether both say the same, but for what changes all the time and decides nothing by itself: how far the log is, and when Patroni's
    /// store was reached.
    fn repeats(&self, before: &Self) -> bool {
        let Self { position, dcs_last_seen_s, .. } = *before;
        Self { position, dcs_last_seen_s, ..self.clone() } == *before
    }

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
    /// The same, but it bears no name, and it isn't known which one of these members it is from. Of none: nobody has told yet
    /// who the members are.
    Nameless { status: u16, body: MemberBody, might_be: Vec<String> },
    /// What another source than Patroni's REST API shows.
    Seen(Claimed),
    /// Anything else: no connection, too late, not Patroni. `error` is for people.
    Unreachable { error: String },
}

impl Answer {
    /// Whether it says what the one `before` did, as far as it matters who is primary.
    #[must_use]
    pub fn repeats(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Http { status, body }, Self::Http { status: status_before, body: body_before }) => {
                status == status_before && body.repeats(body_before)
            }
            _ => self == before,
        }
    }

    /// Patroni's answer, as one of whoever `might_be` meant.
    #[must_use]
    pub fn without_name(self, might_be: Vec<String>) -> Self {
        match self {
            Self::Http { status, body } => Self::Nameless { status, body, might_be },
            other => other,
        }
    }
}

/// What an operator's objects or the database itself show of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub claim: Claim,
    /// For people, as it follows "NAME is primary: " if the claim is [`Claim::Primary`], and the name otherwise.
    pub because: String,
    pub system_identifier: Option<String>,
    /// Maintenance mode.
    pub pause: bool,
}

/// What a [`Claimed`] amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the primary, and writable. Timeline 0: the database knows of none.
    Primary {
        timeline: u64,
    },
    /// It is about to be the primary.
    Promoting {
        timeline: Option<u64>,
    },
    /// It acts as primary, but should not.
    Stale {
        timeline: Option<u64>,
    },
    /// It should be the primary, and is not in order.
    Troubled,
    Follower,
}

impl Claim {
    /// In one word, as people know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary { .. } => "primary",
            Self::Promoting { .. } => "promoting",
            Self::Stale { .. } => "stale primary",
            Self::Troubled => "troubled primary",
            Self::Follower => "replica",
        }
    }

    #[must_use]
    pub const fn timeline(self) -> Option<u64> {
        match self {
            Self::Primary { timeline: 0 } => None,
            Self::Primary { timeline } => Some(timeline),
            Self::Promoting { timeline } | Self::Stale { timeline } => timeline,
            Self::Troubled | Self::Follower => None,
        }
    }
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
    /// It isn't known which member answers; what it claims is set aside until it is. The timeline of one that would be
    /// confirmed.
    Nameless {
        timeline: Option<u64>,
        might_be: Vec<String>,
    },
    Follower,
    /// Leader of a cluster that follows another one; nothing there is writable.
    StandbyLeader,
    /// Runs as primary, or may, without the leader lock.
    Stale {
        timeline: Option<u64>,
    },
    /// Holds the lock, PostgreSQL is not in order.
    Troubled,
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
    /// See [`Claimed::because`]. Empty where nothing is to be said.
    pub because: String,
    /// Of an answer that counts; `None` for silent members.
    pub body: Option<MemberBody>,
    /// It is silent to us, and the answer is the witness's.
    pub witnessed: bool,
    /// Patroni says of it that it holds the leader lock, which only one can.
    pub has_lock: bool,
    /// The host that the answer came from, if somebody knows: who speaks under two names from one is one.
    pub host: Option<String>,
}

/// Everybody of a database, by name.
pub(super) type Members = BTreeMap<String, Member>;

impl Member {
    fn mute(standing: Standing) -> Self {
        Self { standing, because: String::new(), body: None, witnessed: false, has_lock: false, host: None }
    }

    /// By an answer that the witness has.
    pub(super) fn witnessed(status: u16, body: &MemberBody) -> Self {
        let mut member = Self { witnessed: true, ..Self::answers(status, body) };
        if !member.because.is_empty() {
            member.because.push_str(", as the witness sees it");
        }
        member
    }

    fn answers(status: u16, body: &MemberBody) -> Self {
        let standing = standing(status, body);
        Self {
            because: because(&standing, &body.state),
            has_lock: matches!(standing, Standing::Confirmed { .. }),
            standing,
            body: Some(body.clone()),
            witnessed: false,
            host: None,
        }
    }

    fn nameless(status: u16, body: &MemberBody, might_be: &[String]) -> Self {
        let timeline = match standing(status, body) {
            Standing::Confirmed { timeline } => Some(timeline),
            _ => None,
        };
        Self::mute(Standing::Nameless { timeline, might_be: might_be.to_vec() })
    }

    fn seen(sight: &Claimed) -> Self {
        let standing = match sight.claim {
            Claim::Primary { timeline } => Standing::Confirmed { timeline },
            Claim::Promoting { timeline } => Standing::Promoting { timeline },
            Claim::Stale { timeline } => Standing::Stale { timeline },
            Claim::Troubled => Standing::Troubled,
            Claim::Follower => Standing::Follower,
        };
        let body = MemberBody {
            timeline: sight.claim.timeline(),
            system_identifier: sight.system_identifier.clone(),
            pause: sight.pause,
            ..MemberBody::default()
        };
        let because = sight.because.clone();
        Self { standing, because, body: Some(body), witnessed: false, has_lock: false, host: None }
    }

    /// Whether the member says, here and now, that it is not a primary.
    pub(super) fn refuses(&self) -> bool {
        matches!(self.standing, Standing::Follower | Standing::StandbyLeader)
    }

    /// Whether it runs as primary without the leader lock, or may.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self.standing, Standing::Stale { .. })
    }

    /// Whether it itself gives `claim` up, which is its own. Where timelines don't tell which claim is the older one, one
    /// whose holder knows that it should not act as primary is none.
    pub(super) fn gives_up(&self, claim: &Primary) -> bool {
        self.refuses() || (claim.timeline == 0 && self.is_stale())
    }

    /// Whether it may be writing as a primary, whatever Patroni's lock says.
    pub(super) fn may_be_writable(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.may_run() && body.acts_as_primary())
    }

    /// See [`MemberBody::acts_as_primary`].
    pub(super) fn acts_as_primary(&self) -> bool {
        self.body.as_ref().is_some_and(MemberBody::acts_as_primary)
    }

    pub(super) fn system_identifier(&self) -> Option<&str> {
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
        (200, _) => Standing::Troubled,
        (_, timeline) if body.may_run() && (body.acts_as_primary() || body.role == "promoted") => {
            Standing::Stale { timeline }
        }
        _ if body.role == "standby_leader" => Standing::StandbyLeader,
        _ => Standing::Follower,
    }
}

/// Why Patroni's answer amounts to `standing`, PostgreSQL being in `state`.
fn because(standing: &Standing, state: &str) -> String {
    match standing {
        Standing::Confirmed { .. } => "it holds the leader lock and its PostgreSQL is running".to_owned(),
        Standing::Promoting { .. } => "holds the leader lock and is being promoted; it isn't writable yet".to_owned(),
        Standing::Troubled if state == "running" => {
            "holds the leader lock, but doesn't say as a primary which timeline it writes".to_owned()
        }
        Standing::Troubled => {
            format!("holds the leader lock, but its PostgreSQL is not running as primary (state {state})")
        }
        Standing::Stale { .. } if state == "running" => {
            "still runs as primary, but doesn't hold the leader lock of a primary at the moment".to_owned()
        }
        Standing::Stale { .. } => {
            format!("may still run as primary (state {state}), but doesn't hold the leader lock at the moment")
        }
        Standing::Silent(_)
        | Standing::Pending
        | Standing::Nameless { .. }
        | Standing::Follower
        | Standing::StandbyLeader => String::new(),
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
        let silent = |why: String| Member::mute(Standing::Silent(why));
        let name = match &observation.answer {
            Answer::Http { body, .. } => body.name.as_ref().unwrap_or(asked),
            _ => asked,
        };
        let (at, member) = match &observation.answer {
            Answer::Pending => (None, Member::mute(Standing::Pending)),
            Answer::Unreachable { error } => (None, silent(error.clone())),
            _ if age > max_age => (None, silent(format!("its last answer is {} s old", age.as_secs()))),
            Answer::Http { status, body } => (Some(observation.at), Member::answers(*status, body)),
            Answer::Nameless { status, body, might_be } => {
                (Some(observation.at), Member::nameless(*status, body, might_be))
            }
            Answer::Seen(sight) => (Some(observation.at), Member::seen(sight)),
        };
        let answered = (at, member);
        if latest.get(name).is_none_or(|known| answered > *known) {
            latest.insert(name.clone(), answered);
        }
    }
    let mut members: BTreeMap<String, Member> = latest.into_iter().map(|(name, (_, member))| (name, member)).collect();
    reveal(&mut members, observations);
    members
}

/// Whoever it is that bears no name: beside members that are confirmed, none of which it can be, it claims for itself.
fn reveal(members: &mut BTreeMap<String, Member>, observations: &BTreeMap<String, Observation>) {
    let confirmed = |member: &Member| matches!(member.standing, Standing::Confirmed { .. });
    let confirmed: BTreeSet<String> =
        members.iter().filter(|(_, member)| confirmed(member)).map(|(name, _)| name.clone()).collect();
    if confirmed.is_empty() {
        return;
    }
    for (asked, observation) in observations {
        let Answer::Nameless { status, body, might_be } = &observation.answer else { continue };
        let withheld = members.get(asked).is_some_and(|member| matches!(member.standing, Standing::Nameless { .. }));
        let other = !might_be.is_empty() && might_be.iter().all(|name| !confirmed.contains(name));
        if withheld && other && body.acts_as_primary() {
            members.insert(asked.clone(), Member::answers(*status, body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_amounts_to_one_thing() {
        use Standing::{Confirmed, Follower, Promoting, Stale, StandbyLeader, Troubled};
        for (status, state, role, timeline, expected) in [
            (200, "running", "primary", Some(3), Confirmed { timeline: 3 }),
            (200, "running", "master", Some(3), Confirmed { timeline: 3 }),
            (200, "running", "primary", None, Troubled),
            (200, "running", "replica", Some(3), Promoting { timeline: Some(3) }),
            (200, "starting", "replica", None, Promoting { timeline: None }),
            (200, "running", "promoted", Some(3), Promoting { timeline: Some(3) }),
            (200, "stopping", "primary", None, Troubled),
            (200, "crashed", "primary", None, Troubled),
            (200, "starting", "primary", Some(3), Troubled),
            (200, "stopping", "demoted", None, Troubled),
            (503, "running", "primary", Some(2), Stale { timeline: Some(2) }),
            (503, "running", "master", None, Stale { timeline: None }),
            (503, "unknown", "primary", None, Stale { timeline: None }),
            (503, "unknown", "master", None, Stale { timeline: None }),
            (503, "unknown", "promoted", None, Stale { timeline: None }),
            (503, "stop failed", "primary", Some(2), Stale { timeline: Some(2) }),
            (503, "restarting", "primary", None, Stale { timeline: None }),
            (503, "stopped", "primary", None, Follower),
            (503, "stopping", "primary", None, Follower),
            (503, "crashed", "primary", None, Follower),
            (503, "starting", "primary", None, Follower),
            (503, "start failed", "primary", None, Follower),
            (503, "stop failed", "demoted", None, Follower),
            (503, "unknown", "replica", None, Follower),
            (503, "running", "replica", Some(3), Follower),
            (503, "stopping", "demoted", None, Follower),
            (503, "running", "uninitialized", None, Follower),
            (503, "stopped", "uninitialized", None, Follower),
            (503, "creating replica", "uninitialized", None, Follower),
            (503, "initializing new cluster", "uninitialized", None, Follower),
            (503, "running custom bootstrap script", "uninitialized", None, Follower),
            (503, "custom bootstrap failed", "uninitialized", None, Follower),
            (503, "initdb failed", "uninitialized", None, Follower),
            (503, "in archive recovery", "replica", Some(3), Follower),
            (503, "in archive recovery", "standby_leader", Some(3), StandbyLeader),
            (503, "starting", "standby_leader", None, StandbyLeader),
            (200, "initializing new cluster", "uninitialized", None, Troubled),
            (200, "restarting", "primary", None, Troubled),
            (200, "start failed", "primary", None, Troubled),
            (200, "unknown", "promoted", None, Promoting { timeline: None }),
            (503, "running", "standby_leader", Some(3), StandbyLeader),
            (200, "running", "standby_leader", Some(3), Promoting { timeline: Some(3) }),
        ] {
            let body = MemberBody { state: state.into(), role: role.into(), timeline, ..MemberBody::default() };
            assert_eq!(standing(status, &body), expected, "{status} {state} {role} {timeline:?}");
        }
    }
}
