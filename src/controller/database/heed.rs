//! A person's decision on who is primary, heeded.

use jiff::Timestamp;

use super::Task;
use crate::{
    api::{DatabaseCluster, database_cluster::DecisionStatus, decision::Decision, keys},
    controller::decision::{self, Heed},
    discover::DiscoveryState,
    effect,
};

impl Task {
    /// Does what a person's decision asks for, if there is one. Returns the annotation when it is over, to be removed
    /// once the status says so.
    pub(super) fn heed_decision(
        &mut self,
        object: &DatabaseCluster,
        found: &DiscoveryState,
        wall: Timestamp,
    ) -> Option<String> {
        let Some(text) = object.metadata.annotations.as_ref().and_then(|all| all.get(keys::DECISION)) else {
            if self.heeded.is_some() && self.discovery.withdraw() {
                self.heeded = None;
            }
            return None;
        };
        if !self.leads() {
            return None;
        }
        let members = found.members.iter().map(|member| member.name.as_str()).collect();
        // Each is told of and handed on once, however often it is seen.
        let new = self.heeded.as_ref() != Some(text);
        match decision::heed(text, self.status.decision.as_ref(), &found.view, &members, wall) {
            Heed::Pass(Decision { member, by, at, epoch }) => {
                if new && self.discovery.accept(member.clone(), epoch) {
                    tracing::info!(database = self.name, member, by, %at, epoch, "a person decides who is primary");
                    self.heeded = Some(text.clone());
                }
                return None;
            }
            Heed::Taken(taken) => {
                let DecisionStatus { member, by, at, epoch, .. } = &taken;
                let at = at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
                tracing::info!(database = self.name, member, by, epoch, "the primary is the one that a person named");
                self.notice(
                    false,
                    "PrimaryDecided",
                    format!("{member} is the primary (epoch {epoch}): {by} said so{at}"),
                );
                self.status.decision = Some(taken);
            }
            Heed::Over => {}
            Heed::Refuse(why) if new => {
                tracing::warn!(database = self.name, why, "a decision on who is primary is not followed");
                self.notice(true, "DecisionRefused", why);
                self.heeded = Some(text.clone());
            }
            Heed::Refuse(_) => {}
        }
        Some(text.clone())
    }

    pub(super) async fn remove_decision(&self, text: &str) {
        if let Err(error) = effect::remove_annotation(&self.shared.client, &self.name, keys::DECISION, text).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(database = self.name, error, "could not remove the decision that is over; will try again");
        }
    }
}
