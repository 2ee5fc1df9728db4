//! Whether anything may be moved at all.

use std::time::Duration;

use jiff::Timestamp;

use super::{Facts, Labelling, Memory, former};
use crate::{
    api::{DatabaseCluster, database_cluster::MovementMode, read},
    core::{
        announcement,
        moment::Moment,
        movement::{
            breaker::Breaker,
            held::{Gate, Paused, Scope},
            windows::closed,
        },
        orders::{Orders, Place},
        primary::PrimaryState,
        words::listed,
    },
    index::Tables,
};

/// Every gate that is closed, in the order in which they are told: the first one is the reason for moving nothing. Whoever may pass
/// that one still meets the next. (That nothing but a dry run is asked for is found out when everything else was decided.)
pub(super) fn gates(
    facts: &Facts<'_>,
    memory: &Memory,
    labelling: &Labelling,
    breaker: &Breaker,
    now: Moment,
) -> Vec<Gate> {
    let Facts { object, view, .. } = facts;
    let primary = match &view.state {
        PrimaryState::Known(_) => None,
        PrimaryState::SplitBrain(_) => Some(Gate::SplitBrain(view.why.clone())),
        _ => Some(Gate::PrimaryNotConfirmed(view.why.clone())),
    };
    let all = [
        stopped(object, facts.tables, facts.own_namespace, now.wall),
        primary,
        (!view.frozen.is_empty()).then(|| Gate::Frozen(view.why_frozen())),
        facts.stale.map(Gate::Stale),
        memory.tiers.bounds.is_none().then_some(Gate::TooFewReadings),
        // Before it settles: whoever waits for the database to be Ready waits for the labels.
        labels_pending(memory, labelling),
        settling(facts, memory, now),
        former::in_doubt(facts, memory, now),
        breaker.gate.clone(),
        closed(object.spec.movement.windows(), now.wall).map(|closed| Gate::OutsideWindow { opens: closed.opens }),
    ];
    all.into_iter().flatten().collect()
}

/// The one that far nodes are emptied by: a label that is missing changes nothing of those that are being emptied, but a primary that has
/// to settle does.
pub(super) fn of_emptying(gates: &[Gate]) -> Option<&Gate> {
    let settling = || gates.iter().find(|gate| matches!(gate, Gate::Settling { .. }));
    gates.first().map(|first| match first {
        Gate::LabelsPending { .. } => settling().unwrap_or(first),
        first => first,
    })
}

/// Whether people have stopped all movement of the database: by an annotation, which says who and why, or by its spec. Asked again
/// right before anything is moved.
#[must_use]
pub fn stopped(object: &DatabaseCluster, tables: &Tables, own_namespace: &str, wall: Timestamp) -> Option<Gate> {
    let everything = tables.namespaces.get(own_namespace).and_then(|namespace| namespace.orders.as_ref());
    let this = read::orders(Place::Database, &object.metadata, None);
    let paused = |orders: &Orders, scope, name: &str| {
        let pause = orders.pause.clone().filter(|pause| pause.holds(wall))?;
        Some(Gate::PausedBy(Box::new(Paused { scope, name: name.to_owned(), pause })))
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    everything
        .and_then(|orders| paused(orders, Scope::Everything, own_namespace))
        .or_else(|| paused(this.as_ref()?, Scope::Database, name))
        .or_else(|| object.spec.paused.then_some(Gate::Paused))
        .or_else(|| (object.spec.movement.mode == MovementMode::Off).then_some(Gate::Off))
}

/// The primary has not held for long enough.
fn settling(facts: &Facts<'_>, memory: &Memory, now: Moment) -> Option<Gate> {
    let held = facts.view.calm_for(now.instant) + memory.credit.unwrap_or_default();
    let began = now.wall.checked_sub(held).unwrap_or(now.wall);
    if came_as_announced(facts, memory, began) {
        return None;
    }
    let settle = facts.object.spec.movement.settle_rules().after(ages_of_changes(facts, began));
    (held < settle.wait).then(|| {
        let until = now.wall.checked_add(settle.wait - held).unwrap_or(now.wall);
        Gate::Settling { until, grown: settle.grown }
    })
}

/// Whether people wanted this primary, said so before, and it has held ever since. `began` is when it began to hold, by what this process has
/// seen.
fn came_as_announced(facts: &Facts<'_>, memory: &Memory, began: Timestamp) -> bool {
    let Some(failover) = facts.failover().filter(|failover| failover.announced_for.is_some()) else { return false };
    // What the last leader wrote is closer than what is counted of it.
    let began = memory.calm_since().unwrap_or(began);
    failover.confirmed_at.is_some_and(|confirmed| announcement::holds(confirmed, began))
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
