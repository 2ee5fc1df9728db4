//! Whether anything may be moved at all.

use std::time::Duration;

use jiff::Timestamp;

use super::{Facts, Labelling, Memory};
use crate::core::{
    moment::Moment,
    movement::{breaker::Breaker, held::Gate},
    primary::PrimaryState,
    words::listed,
};

/// The first reason for moving nothing, if there is one.
pub(super) fn gate(
    facts: &Facts<'_>,
    memory: &Memory,
    labelling: &Labelling,
    breaker: &Breaker,
    now: Moment,
) -> Option<Gate> {
    let Facts { object, view, .. } = facts;
    if object.spec.paused {
        return Some(Gate::Paused);
    }
    match &view.state {
        PrimaryState::Known(_) => {}
        PrimaryState::SplitBrain(_) => return Some(Gate::SplitBrain(view.why.clone())),
        _ => return Some(Gate::PrimaryNotConfirmed(view.why.clone())),
    }
    if !view.frozen.is_empty() {
        return Some(Gate::Frozen(view.why_frozen()));
    }
    if let Some(kind) = facts.stale {
        return Some(Gate::Stale(kind));
    }
    if memory.tiers.bounds.is_none() {
        return Some(Gate::TooFewReadings);
    }
    settling(facts, memory, now).or_else(|| labels_pending(memory, labelling)).or_else(|| breaker.gate.clone())
}

/// The primary has not held for long enough.
fn settling(facts: &Facts<'_>, memory: &Memory, now: Moment) -> Option<Gate> {
    let held = facts.view.calm_since.map_or(Duration::ZERO, |since| now.instant.saturating_duration_since(since));
    let held = held + memory.credit.unwrap_or_default();
    let began = now.wall.checked_sub(held).unwrap_or(now.wall);
    let settle = facts.object.spec.movement.settle_rules().after(ages_of_changes(facts, began));
    (held < settle.wait).then(|| {
        let until = now.wall.checked_add(settle.wait - held).unwrap_or(now.wall);
        Gate::Settling { until, grown: settle.grown }
    })
}

/// How long before `began` each change of primary was confirmed. The first primary ever seen is no change.
fn ages_of_changes(facts: &Facts<'_>, began: Timestamp) -> impl Iterator<Item = Duration> {
    let changes = facts.status.failovers.iter().filter(|failover| failover.from.is_some());
    let confirmed = changes.filter_map(|failover| failover.confirmed_at);
    // The change itself may be noted a moment after the primary was known.
    confirmed.map(move |at| Duration::try_from(began.duration_since(at)).unwrap_or_default())
}

fn labels_pending(memory: &Memory, labelling: &Labelling) -> Option<Gate> {
    let refused = (!labelling.refused.is_empty()).then(|| listed(&labelling.refused));
    let pending = labelling.pending > 0 || memory.relabelling;
    pending.then_some(Gate::LabelsPending { nodes: labelling.pending, refused })
}

#[cfg(test)]
mod tests;
