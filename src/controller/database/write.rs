//! The status of one database, written when it has changed, and never over what the next leader wrote.

use jiff::Timestamp;
use kube::{Client, ResourceExt};

use super::Task;
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus},
    cluster::{self, EffectError},
    controller::status_update,
    discover::DiscoveryState,
    evaluate::Decided,
};

/// A write that somebody else's came before is tried again so often.
const TRIES: usize = 3;

/// The status as it stands, as far as this process knows.
#[derive(Debug)]
pub(super) struct Written {
    name: String,
    /// Of the object: one that is made anew under the name has a status of its own.
    uid: String,
    /// `metadata.resourceVersion` of the object when it was last read or written from here.
    version: String,
    status: DatabaseClusterStatus,
}

impl Written {
    /// As it was read.
    pub(super) fn read(object: DatabaseCluster) -> Self {
        Self {
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: object.resource_version().unwrap_or_default(),
            status: object.status.unwrap_or_default(),
        }
    }

    pub(super) const fn status(&self) -> &DatabaseClusterStatus {
        &self.status
    }

    /// Brings it to `status`; true if it stands so.
    ///
    /// A write may be under way for longer than a leader is certain to lead, and come after the next leader's. So each names the version
    /// that it changes, and whether this replica `leads` is asked after that version was read: until it doesn't lead any more nobody
    /// else writes, and after that the version is another one.
    ///
    /// # Errors
    /// No answer, or a refusal.
    async fn bring(
        &mut self,
        client: &Client,
        status: &DatabaseClusterStatus,
        leads: impl Fn() -> bool,
    ) -> Result<bool, EffectError> {
        if self.status == *status {
            return Ok(true);
        }
        let mut tries = 1;
        while leads() {
            match cluster::write_status(client, &self.name, status, &self.version).await {
                Ok(version) => {
                    self.version = version;
                    self.status = status.clone();
                    return Ok(true);
                }
                Err(error) if error.conflicts() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
            // Mostly it is the spec, an annotation or the finalizer that was written meanwhile.
            let now = Self::read(cluster::read_database(client, &self.name).await?);
            if now.uid != self.uid {
                return Ok(false);
            }
            *self = now;
        }
        Ok(false)
    }
}

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
        self.shared.metrics.observe(&self.name, &self.memory, decided, &mut self.shown);
        self.shared.metrics.observe_announced(&self.name, self.status.announced.as_ref());
        self.tell_readiness();
        self.write_status().await
    }

    /// Writes the status if it has changed; true if it stands as it should.
    pub(super) async fn write_status(&mut self) -> bool {
        if *self.written.status() == self.status {
            return true;
        }
        let (shared, stop) = (&self.shared, &self.stop);
        let leads = || super::act::leads(shared, stop);
        match self.written.bring(&shared.client, &self.status, leads).await {
            Ok(written) => {
                if written {
                    shared.metrics.status_written(&self.name, true);
                    let (version, moving) = (&*self.written.version, self.status.moving.len());
                    let moved = self.status.failover().map(|failover| failover.moved);
                    tracing::debug!(database = self.name, version, moving, moved, "wrote the status");
                }
                written
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(database = self.name, error, "could not write the status; will try again");
                shared.metrics.status_written(&self.name, false);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
