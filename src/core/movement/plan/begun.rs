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
        let (beside, after) = self.beside.clone();
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
                like: snapshot.pods.get(&self.uid).cloned(),
                spends: self.spends.clone(),
                beside: Some(beside),
                after: Some(after),
                unready: self.unready,
                ..Trace::default()
            },
        }
    }
}
