//! What was heard at one place.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::super::MemberBody;

/// So long a place is known to lead now to this member and now to that one.
const WANDERS_FOR: Duration = Duration::from_secs(30);

/// One start of one PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Server {
    pub system_identifier: Option<String>,
    pub started: String,
}

/// What a PostgreSQL that runs is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posture {
    pub lock: bool,
    pub primary: bool,
    pub timeline: Option<u64>,
}

/// Something that is said at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said<T> {
    pub what: T,
    /// When it was first heard.
    pub since: Instant,
    /// When the last question was asked that was answered so.
    pub until: Instant,
    /// Whether the place's last answer says it.
    pub now: bool,
}

/// How far a PostgreSQL has written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub bytes: u64,
    /// When the first answer came that said so.
    pub at: Instant,
    /// When that was asked for.
    pub asked: Instant,
    /// Whether it was less before.
    pub moves: bool,
}

/// What was heard at one place, or of one member by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub server: Option<Said<Server>>,
    pub posture: Option<Said<Posture>>,
    /// Which PostgreSQL the posture is of, if it says so.
    pub posture_of: Option<Server>,
    pub position: Option<Position>,
    /// Whether there was an answer the last time.
    pub answers: bool,
    pub latest: Option<Instant>,
    /// Where it isn't a member's own: whose answers they were proven to be last.
    pub was: Option<String>,
    /// When it led to another member than before.
    pub wandered: Option<Instant>,
    /// It isn't one of these, as long as it is this PostgreSQL.
    pub copies: BTreeSet<String>,
}

impl Account {
    pub(super) fn take(
        &mut self,
        said: Option<(u16, &MemberBody)>,
        lasting: Option<Duration>,
        asked: Instant,
        at: Instant,
    ) {
        if lasting.is_some() {
            // What was said before held until now.
            if let Some(server) = self.server.as_mut().filter(|server| server.now) {
                server.until = at;
            }
            if let Some(posture) = self.posture.as_mut().filter(|posture| posture.now) {
                posture.until = at;
            }
        }
        (self.latest, self.answers) = (Some(at), said.is_some());
        let server = said.and_then(|(_, body)| Server::of(body));
        if let Some(server) = &server
            && self.server.as_ref().is_none_or(|known| known.what != *server)
        {
            self.copies.clear();
            self.position = None;
        }
        let posture = said.filter(|(_, body)| body.state == "running").map(|(status, body)| Posture {
            lock: status == 200,
            primary: body.acts_as_primary(),
            timeline: body.timeline,
        });
        if let Some(bytes) = said.and_then(|(_, body)| body.position).filter(|_| posture.is_some_and(|it| it.primary))
            && self.position.is_none_or(|known| known.bytes != bytes)
        {
            let moves = self.position.is_some_and(|known| known.bytes < bytes);
            self.position = Some(Position { bytes, at, asked, moves });
        }
        if posture.is_some() && self.posture_of != server {
            // Another one may have said it before, even if it was the same: only this one's word counts from now on.
            self.posture = None;
            self.posture_of.clone_from(&server);
        }
        note(&mut self.server, server, asked, at);
        note(&mut self.posture, posture, asked, at);
    }

    pub(super) fn is(&mut self, name: String, now: Instant) {
        if self.was.as_ref().is_some_and(|was| *was != name) {
            self.wandered = Some(now);
        }
        self.was = Some(name);
    }

    /// The PostgreSQL that it was in its last answer.
    pub(super) fn runs(&self) -> Option<&Said<Server>> {
        self.server.as_ref().filter(|server| server.now)
    }

    pub(super) fn wanders(&self, now: Instant) -> bool {
        self.wandered.is_some_and(|at| now.saturating_duration_since(at) <= WANDERS_FOR)
    }
}

/// Notes what is said, or that it isn't said this time.
fn note<T: PartialEq>(known: &mut Option<Said<T>>, what: Option<T>, asked: Instant, at: Instant) {
    match (known.as_mut(), what) {
        (Some(known), Some(what)) if known.what == what => (known.until, known.now) = (asked, true),
        (_, Some(what)) => *known = Some(Said { what, since: at, until: asked, now: true }),
        (Some(known), None) => known.now = false,
        (None, None) => {}
    }
}

impl Server {
    pub(super) fn of(body: &MemberBody) -> Option<Self> {
        Some(Self { system_identifier: body.system_identifier.clone(), started: body.started.clone()? })
    }
}
