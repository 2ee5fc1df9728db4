//! A planned move as the journal knows it.

use super::Move;
use crate::core::{
    moment::Moment,
    movement::journal::{Trace, Underway},
    workload::Snapshot,
};

impl Move {
    /// The journal's entry of it, when it is about to be carried out.
    #[must_use]
    pub fn begun(&self, snapshot: Snapshot<'_>, now: Moment) -> Underway {
        let (beside, mut after) = self.beside.clone();
        let like = snapshot.pods.get(&self.uid).cloned();
        // It goes, and isn't one of those whom another one would come on top of.
        if like.as_ref().is_some_and(|pod| pod.created == after.created) {
            after.pods = after.pods.map(|pods| pods.saturating_sub(1));
        }
        Underway {
            way: Ok(self.way),
            workload: self.workload.clone(),
            pod: self.pod.clone(),
            uid: self.uid.clone(),
            from: self.from.clone(),
            from_tier: self.from_tier,
            started: now.wall,
            since: now.instant,
            found: now.instant,
            pods: self.pods,
            trace: Trace {
                to: self.to.clone(),
                like,
                spends: self.spends.clone(),
                beside: Some(beside),
                after: Some(after),
                unready: self.unready,
                ..Trace::default()
            },
        }
    }
}
