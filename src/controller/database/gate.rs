//! Whether anything may be moved at all.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Task, history::listed, labelling::Labelling};
use crate::{
    api::DatabaseCluster,
    core::{
        movement::held::Gate,
        primary::{PrimaryState, PrimaryView},
    },
};

impl Task {
    /// The first reason for moving nothing, if there is one.
    pub(super) fn gate(
        &self,
        object: &DatabaseCluster,
        view: &PrimaryView,
        labelling: &Labelling,
        now: Instant,
        wall: Timestamp,
    ) -> Option<Gate> {
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
        if let Some(kind) = self.shared.index.stale() {
            return Some(Gate::Stale(kind));
        }
        if self.tiers.bounds.is_none() {
            return Some(Gate::TooFewReadings);
        }
        let held = view.calm_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let held = held + self.credit.unwrap_or_default();
        let began = wall.checked_sub(held).unwrap_or(wall);
        let settle = object.spec.movement.settle_rules().after(self.ages_of_changes(began));
        if held < settle.wait {
            let until = wall.checked_add(settle.wait - held).unwrap_or(wall);
            return Some(Gate::Settling { until, grown: settle.grown });
        }
        let refused = (!labelling.refused.is_empty()).then(|| listed(&labelling.refused));
        let pending = labelling.pending > 0 || self.relabelling;
        pending.then_some(Gate::LabelsPending { nodes: labelling.pending, refused })
    }

    /// How long before `began` each change of primary was confirmed. The first primary ever seen is no change.
    fn ages_of_changes(&self, began: Timestamp) -> impl Iterator<Item = Duration> {
        let changes = self.status.failovers.iter().filter(|failover| failover.from.is_some());
        let confirmed = changes.filter_map(|failover| failover.confirmed_at);
        // The change itself may be noted a moment after the primary was known.
        confirmed.map(move |at| Duration::try_from(began.duration_since(at)).unwrap_or_default())
    }
}
