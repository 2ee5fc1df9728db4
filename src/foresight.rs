//! What would come of a change of primary: known before it happens.
//!
//! Pure, and made of the decisions themselves: every node is re-labelled in thought by what it is known to be from the member that would
//! be the primary, then the real plan is asked for its next wave, which is carried out in thought, and so on until nothing is left to
//! move. What is left then stays, for the reason that the movement would give. When each move begins and ends follows from how many of
//! a workload, and of all, may be away at once, and from how long replacements have taken.
//!
//! ```text
//! picture ─ without what is lost ─ labels towards the member ─┬→ plan → carry out ─┐
//!                                                             └────────────────────┘→ moves, held → pace, what is missing → Forecast
//! ```

mod forecast;
mod lost;
mod missing;
mod near;
mod notes;
mod pace;
mod picture;
mod placeless;
mod quick;
mod readiness;
#[cfg(test)]
mod tests;
mod waves;
mod words;

use std::{collections::BTreeMap, sync::Arc};

pub use self::{
    forecast::{Forecast, HeldForecast, Loss, Missing, Seconds, Standing, Step, WaveForecast, WorkloadForecast},
    near::Lost,
    readiness::{Grade, Readiness},
    words::amounts,
};
use self::{missing::Found, picture::Picture, placeless::Placeless, waves::Course};
use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus,
        database_cluster::{MemberStatus, TierCounts},
    },
    core::{
        distance::tier::{Tier, TierMap},
        moment::Moment,
        movement::workloads::{WorkloadKey, workload_of},
    },
    evaluate::thought::{other_tiers, tiers_towards},
    index::{Followers, Tables},
};

/// What a forecast is made from.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub object: &'a DatabaseCluster,
    /// As the cluster is now.
    pub tables: &'a Tables,
    /// Those of the tables ([`Tables::followers`]).
    pub followers: &'a Arc<Followers>,
    /// The namespace that switchover itself runs in.
    pub own_namespace: &'a str,
    pub status: &'a DatabaseClusterStatus,
    /// What is gone, with everything that was there.
    pub lost: &'a Lost,
    pub now: Moment,
}

/// Why nothing can be foreseen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error("nobody knows the host of {0}, so that no node measures how far it is")]
    NoHost(String),
    #[error("fewer than half of the nodes have a fresh reading of {member} ({host}): see to the agents")]
    TooFewReadings { member: String, host: String },
    #[error("no node is left")]
    NothingLeft,
}

impl Question<'_> {
    fn database(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The members that a change of primary could lead to: all but the present one; and whoever is named by nobody is none.
    #[must_use]
    pub fn others(&self) -> Vec<&MemberStatus> {
        let primary = self.status.primary.as_deref();
        self.status.members.iter().filter(|member| Some(&*member.name) != primary).collect()
    }

    /// Whether a member is lost: every node that is nearest to it is.
    #[must_use]
    pub fn is_lost(&self, member: &MemberStatus) -> bool {
        if self.lost.is_nothing() {
            return false;
        }
        let tiers = tiers_towards(self.object, self.tables, &member.host, self.now);
        let mut near = self.tables.nodes.values().filter(|node| tiers.tier(&node.name) == Tier::Closely).peekable();
        near.peek().is_some() && near.all(|node| self.lost.takes(node))
    }
}

/// What would come of it if this member became the primary, or, of the present one, what is still to be done.
///
/// # Errors
/// Nobody can tell, and why.
pub fn foresee(question: &Question<'_>, member: &MemberStatus) -> Result<Forecast, Unclear> {
    let Question { object, tables, now, .. } = *question;
    if member.host.is_empty() {
        return Err(Unclear::NoHost(member.name.clone()));
    }
    let mut picture = Picture::of(tables, question.followers);
    let lost = picture.lose(question.lost);
    if picture.tables.nodes.is_empty() {
        return Err(Unclear::NothingLeft);
    }
    let tiers = tiers_towards(object, &picture.tables, &member.host, now);
    if tiers.bounds.is_none() {
        return Err(Unclear::TooFewReadings { member: member.name.clone(), host: member.host.clone() });
    }
    picture.relabel(object, &tiers);
    let replaced = picture.replace(&lost, &tiers, object);
    let others = other_tiers(tables, question.followers);
    let near = near(&picture, &tiers);
    let course = waves::play(question, &mut picture, &tiers, &others);
    let paced = pace::pace(question, &course);
    let placeless = Placeless::of(&picture, &course);
    let targets = near::targets(picture.tables.snapshot(), &tiers, &object.node_label());
    let Found { missing, obstacles } =
        missing::find(question, &picture, &placeless, (&tiers, &targets), replaced.as_ref());
    Ok(Forecast {
        database: question.database().to_owned(),
        primary: question.status.primary.clone(),
        to: member.name.clone(),
        nodes: counts(&tiers),
        followers: near::count(question.followers.iter().count()),
        near,
        moves: course.carried.iter().fold(0, |sum, carried| sum + near::count(carried.pods.len())),
        loss: replaced,
        workloads: workloads(question, &course, &paced),
        waves: paced.waves(),
        steps: paced.steps,
        held: course.held.iter().map(HeldForecast::of).collect(),
        missing,
        obstacles,
        notes: notes::notes(&picture, &course, &placeless, &targets),
        seconds: paced.seconds,
    })
}

/// How ready this member is to become the primary: what a forecast comes to, found out quickly where everybody surely finds a place.
#[must_use]
pub fn ready(question: &Question<'_>, member: &MemberStatus) -> Readiness {
    quick::readiness(question, member).unwrap_or_else(|| Readiness::of(&member.name, &foresee(question, member)))
}

fn counts(tiers: &TierMap) -> TierCounts {
    let count = |tier| near::count(tiers.count(tier));
    TierCounts {
        closely: count(Tier::Closely),
        intermediate: count(Tier::Intermediate),
        far: count(Tier::Far),
        unknown: count(Tier::Unknown),
    }
}

/// What moves, by workload.
fn workloads(question: &Question<'_>, course: &Course, paced: &pace::Paced) -> Vec<WorkloadForecast> {
    let mut rows: BTreeMap<&WorkloadKey, WorkloadForecast> = BTreeMap::new();
    for (carried, timed) in course.carried.iter().zip(&paced.times) {
        let key = &carried.move_.workload;
        let row = rows.entry(key).or_insert_with(|| WorkloadForecast {
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            pods: 0,
            way: timed.way.name(),
            from: BTreeMap::new(),
            to: BTreeMap::new(),
            at_once: timed.at_once,
            ready_s: timed.ready_s,
            ready_known: timed.ready_known,
            waves: (timed.wave, timed.wave),
            seconds: 0.0,
        });
        for pod in &carried.pods {
            row.pods += 1;
            *row.from.entry(near::zone_of(question.tables, &pod.from)).or_default() += 1;
            *row.to.entry(near::zone_of(question.tables, &pod.to)).or_default() += 1;
        }
        row.waves = (row.waves.0.min(timed.wave), row.waves.1.max(timed.wave));
        row.seconds = row.seconds.max(timed.ends_s());
    }
    rows.into_values().collect()
}

/// How many followers are near before anybody moves.
fn near(picture: &Picture, tiers: &TierMap) -> u32 {
    let tiers = tiers.by_node();
    let is_near = |node: &str| tiers.get(node).is_some_and(|at| at.tier == Tier::Closely);
    near::count(picture.followers.iter().filter(|it| it.pod.node.as_deref().is_some_and(is_near)).count())
}

/// The workload that owns a pod, or the pod itself.
fn owner(tables: &Tables, pod: &crate::core::workload::Pod) -> WorkloadKey {
    workload_of(tables.snapshot(), pod).unwrap_or_else(|| WorkloadKey::of_pod(&pod.namespace, &pod.name, &pod.uid))
}
