//! Who leads: one controller at a time, by a coordination.k8s.io Lease.
//!
//! Written here rather than taken from a library because every eviction checks its leadership once more right before
//! it acts, and so needs to know until when the leadership is certain: an instant of the local monotonic clock, counted
//! from before the renewal was sent. A clock that jumps, or a node whose clock is wrong, doesn't matter: nobody
//! compares the Lease's times with its own (client-go's leaderelection does the same).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How a replica takes part in the election.
#[derive(Debug, Clone)]
pub struct LeaseConfig {
    pub namespace: String,
    pub name: String,
    /// Unique per process.
    pub identity: String,
    /// Followers wait this long after the last sign of the leader.
    pub duration: Duration,
    /// Pause between two renewals.
    pub renew_every: Duration,
}

/// What this replica knows of its leadership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Until when it is certain that nobody else leads; `None`: this replica doesn't lead.
    pub certain_until: Option<Instant>,
    /// Who leads, as far as is known.
    pub holder: String,
}

impl Leadership {
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.certain_until.is_some_and(|until| now < until)
    }
}

/// Errors of one look at the Lease.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// The Lease as a follower last saw it change.
struct Observed {
    /// Changes with each renewal.
    version: String,
    at: Instant,
}

/// Takes part in the election until `shutdown`; then gives the Lease back, so that the next replica leads at once.
pub async fn run(config: LeaseConfig, client: Client, state: watch::Sender<Leadership>, shutdown: CancellationToken) {
    let mut candidate = Candidate { api: Api::namespaced(client, &config.namespace), config, observed: None };
    let mut failing = false;
    loop {
        let asked_at = Instant::now();
        match candidate.look(asked_at).await {
            Ok(leadership) => {
                if failing {
                    tracing::info!(lease = candidate.config.name, "the lease is reachable again");
                }
                failing = false;
                announce(&state, leadership, &candidate.config);
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(lease = candidate.config.name, error, "can't read or renew the lease; retrying");
                }
                if !state.borrow().leads(Instant::now()) {
                    let holder = state.borrow().holder.clone();
                    announce(&state, Leadership { certain_until: None, holder }, &candidate.config);
                }
            }
        }
        let leads = state.borrow().leads(Instant::now());
        let pause = if leads || failing { candidate.config.renew_every } else { candidate.config.renew_every / 2 };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => break,
        }
    }
    if state.borrow().leads(Instant::now()) {
        state.send_replace(Leadership::default());
        candidate.release().await;
    }
}

fn announce(state: &watch::Sender<Leadership>, new: Leadership, config: &LeaseConfig) {
    let now = Instant::now();
    let old = state.borrow().clone();
    match (old.certain_until.is_some(), new.leads(now)) {
        (false, true) => tracing::info!(lease = config.name, identity = config.identity, "this replica leads now"),
        (true, false) => tracing::warn!(lease = config.name, leader = new.holder, "this replica doesn't lead any more"),
        (false, false) if old.holder != new.holder => {
            tracing::info!(lease = config.name, leader = new.holder, "following another leader");
        }
        _ => {}
    }
    if old != new {
        state.send_replace(new);
    }
}

struct Candidate {
    api: Api<Lease>,
    config: LeaseConfig,
    observed: Option<Observed>,
}

/// Name of the controllers' Lease, unless they are told another one.
pub const NAME: &str = "switchover-controller";

impl Candidate {
    /// Reads the Lease; renews it if it is ours, takes it if it is free or its holder is silent for too long.
    async fn look(&mut self, asked_at: Instant) -> Result<Leadership, LeaseError> {
        // A renewal that takes longer than this is worthless: the next one is due.
        let limit = self.config.renew_every.max(Duration::from_secs(1));
        let api = self.api.clone();
        let Some(lease) = bounded(limit, api.get_opt(&self.config.name)).await? else {
            return self.write(None, asked_at, limit).await;
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        if holder == self.config.identity || holder.is_empty() {
            return self.write(Some(lease), asked_at, limit).await;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let silent_for = match &self.observed {
            Some(observed) if observed.version == version => asked_at.duration_since(observed.at),
            _ => {
                self.observed = Some(Observed { version, at: asked_at });
                Duration::ZERO
            }
        };
        // The holder's own duration counts, in case it was configured otherwise.
        let theirs = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        if silent_for < theirs.map_or(self.config.duration, Duration::from_secs) {
            return Ok(Leadership { certain_until: None, holder });
        }
        tracing::warn!(lease = self.config.name, leader = holder, "the leader is silent; taking over");
        self.write(Some(lease), asked_at, limit).await
    }

    /// Writes ourselves into the Lease. The resource version makes sure that nobody else did in the meantime.
    async fn write(&self, old: Option<Lease>, asked_at: Instant, limit: Duration) -> Result<Leadership, LeaseError> {
        let now = MicroTime(Timestamp::now());
        let old_spec = old.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let same_holder = old_spec.holder_identity.as_deref() == Some(&self.config.identity);
        let spec = LeaseSpec {
            holder_identity: Some(self.config.identity.clone()),
            lease_duration_seconds: i32::try_from(self.config.duration.as_secs()).ok(),
            acquire_time: if same_holder { old_spec.acquire_time } else { Some(now.clone()) },
            lease_transitions: Some(old_spec.lease_transitions.unwrap_or(0) + i32::from(!same_holder)),
            renew_time: Some(now),
            ..LeaseSpec::default()
        };
        let metadata = match &old {
            Some(lease) => lease.metadata.clone(),
            None => ObjectMeta { name: Some(self.config.name.clone()), ..ObjectMeta::default() },
        };
        let lease = Lease { metadata, spec: Some(spec) };
        let params = PostParams::default();
        let written = match &old {
            Some(_) => bounded(limit, self.api.replace(&self.config.name, &params, &lease)).await,
            None => bounded(limit, self.api.create(&params, &lease)).await,
        };
        match written {
            Ok(_) => Ok(Leadership {
                // A follower counts from when it saw the renewal, which is after we asked.
                certain_until: Some(asked_at + self.config.duration * 3 / 4),
                holder: self.config.identity.clone(),
            }),
            // Somebody else was faster.
            Err(LeaseError::Api(kube::Error::Api(status))) if status.code == 409 => Ok(Leadership::default()),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) {
        let limit = Duration::from_secs(2);
        let Ok(Some(mut lease)) = bounded(limit, self.api.get_opt(&self.config.name)).await else { return };
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_deref() != Some(&self.config.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        match bounded(limit, self.api.replace(&self.config.name, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = self.config.name, "gave the lease back"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(lease = self.config.name, error, "could not give the lease back; it will run out");
            }
        }
    }
}

async fn bounded<T>(limit: Duration, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
    tokio::time::timeout(limit, call).await.map_err(|_| LeaseError::Timeout(limit))?.map_err(LeaseError::Api)
}
