//! The status of one database, written when it has changed.

use jiff::Timestamp;

use super::Task;
use crate::{api::DatabaseCluster, cluster, controller::status_update, discover::DiscoveryState, evaluate::Decided};

impl Task {
    /// Brings the status up to date and writes it; true if it stands as it should.
    pub(super) async fn update_status(
        &mut self,
        object: &DatabaseCluster,
        found: &DiscoveryState,
        decided: &Decided,
        hosts: &[String],
        wall: Timestamp,
    ) -> bool {
        let facts = status_update::Facts {
            object,
            view: &found.view,
            credentials: found.credentials.as_ref(),
            witness: found.witness.as_ref().filter(|_| object.spec.witness.is_some()),
            hosts,
            memory: &self.memory,
            decided,
            readiness: self.readiness.news(),
        };
        status_update::update(&mut self.status, &facts, wall);
        self.shared.metrics.observe(&self.name, &self.memory, decided);
        self.tell_readiness();
        self.write_status().await
    }

    /// Writes the status if it has changed; true if it stands as it should.
    pub(super) async fn write_status(&mut self) -> bool {
        if self.written.as_ref() == Some(&self.status) {
            return true;
        }
        if !self.leads() {
            return false;
        }
        match cluster::write_status(&self.shared.client, &self.name, &self.status).await {
            Ok(()) => {
                self.written = Some(self.status.clone());
                self.shared.metrics.status_written(&self.name, true);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(database = self.name, error, "could not write the status; will try again");
                self.shared.metrics.status_written(&self.name, false);
                false
            }
        }
    }
}
