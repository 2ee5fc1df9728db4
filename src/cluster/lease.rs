//! Who leads: one controller at a time, by a coordination.k8s.io Lease.
//!
//! Written here rather than taken from a library because every eviction checks its leadership once more right before
//! it acts, and so needs to know until when the leadership is certain: an instant of the local monotonic clock, counted
//! from before the renewal was sent. What to do next is decided in [`crate::core::lease`].

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::calls::{EffectError, bounded, bounded_by};
pub use crate::core::lease::Leadership;
use crate::core::lease::{self, Life, Observed, Seen, Step};

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

impl LeaseConfig {
    fn candidate(&self) -> lease::Candidate<'_> {
        lease::Candidate { identity: &self.identity, duration: self.duration }
    }
}

/// Takes part in the election until `shutdown`; then gives the Lease back, so that the next replica leads at once. `doubt` is told why
/// whatever is known of the cluster may be of a past that never was: after a time without the API server, or when the Lease isn't as it
/// was left, its store may have lost what it had answered.
pub async fn run(
    config: LeaseConfig,
    client: Client,
    state: watch::Sender<Leadership>,
    doubt: impl Fn(&str) + Send,
    shutdown: CancellationToken,
) {
    let api = Api::namespaced(client, &config.namespace);
    let mut candidate = Candidate { api, config, observed: None, written: None, changed: false };
    let mut failing = false;
    loop {
        let asked_at = Instant::now();
        match candidate.look(asked_at).await {
            Ok(leadership) => {
                if failing {
                    tracing::info!(lease = candidate.config.name, "the lease is reachable again");
                    doubt("the API server was away");
                }
                failing = false;
                if std::mem::take(&mut candidate.changed) {
                    tracing::warn!(
                        lease = candidate.config.name,
                        "the lease isn't as this replica wrote it; listing everything anew"
                    );
                    doubt("the lease isn't as it was written");
                }
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
    /// The resource version that the last write of ours was answered with.
    written: Option<String>,
    /// Whether the Lease is still ours, and not as we wrote it last.
    changed: bool,
}

/// Name of the controllers' Lease, unless they are told another one.
pub const NAME: &str = "switchover-controller";

/// Pause between two looks at a Lease that is watched for a sign of life.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Candidate {
    /// Reads the Lease and does what is next.
    async fn look(&mut self, asked_at: Instant) -> Result<Leadership, EffectError> {
        // A renewal that takes longer than this is worthless: the next one is due.
        let limit = self.config.renew_every.max(Duration::from_secs(1));
        let api = self.api.clone();
        let lease = bounded_by(limit, api.get_opt(&self.config.name)).await?;
        let step =
            lease::next(self.config.candidate(), lease.as_ref().map(seen).as_ref(), self.observed.as_ref(), asked_at);
        match step {
            Step::Follow { holder, observed } => {
                self.observed = Some(observed);
                return Ok(Leadership { certain_until: None, holder });
            }
            Step::TakeOver { from } => {
                tracing::warn!(lease = self.config.name, leader = from, "the leader is silent; taking over");
            }
            Step::Renew => {
                let found = lease.as_ref().and_then(|lease| lease.metadata.resource_version.as_ref());
                self.changed |= self.written.is_some() && self.written.as_ref() != found;
            }
            Step::Create | Step::Take => {}
        }
        self.write(lease, asked_at, limit).await
    }

    /// Writes ourselves into the Lease. The resource version makes sure that nobody else did in the meantime.
    async fn write(
        &mut self,
        old: Option<Lease>,
        asked_at: Instant,
        limit: Duration,
    ) -> Result<Leadership, EffectError> {
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
            Some(_) => bounded_by(limit, self.api.replace(&self.config.name, &params, &lease)).await,
            None => bounded_by(limit, self.api.create(&params, &lease)).await,
        };
        let taken = match written {
            Ok(lease) => {
                self.written = lease.metadata.resource_version;
                true
            }
            // Somebody else was faster.
            Err(error) if error.conflicts() => false,
            Err(error) => return Err(error),
        };
        Ok(Leadership::of_write(self.config.candidate(), taken, asked_at))
    }

    async fn release(&self) {
        let limit = Duration::from_secs(2);
        let Ok(Some(mut lease)) = bounded_by(limit, self.api.get_opt(&self.config.name)).await else { return };
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_deref() != Some(&self.config.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        match bounded_by(limit, self.api.replace(&self.config.name, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = self.config.name, "gave the lease back"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(lease = self.config.name, error, "could not give the lease back; it will run out");
            }
        }
    }
}

/// What an election depends on of a Lease.
fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.as_ref();
    let duration = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    Seen {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: duration.map(Duration::from_secs),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// The controllers' Lease in this namespace.
///
/// # Errors
/// No answer, or no right to read it.
pub(crate) async fn read(client: &Client, namespace: &str) -> Result<Option<Lease>, EffectError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    bounded(api.get_opt(NAME)).await
}

/// Which controller runs: who is seen to renew the Lease. It takes no longer than the Lease lasts, and no clock is compared with
/// another one.
///
/// # Errors
/// No answer, or no right to read it.
pub(crate) async fn holder(client: &Client, namespace: &str) -> Result<Option<String>, EffectError> {
    let look = async || Ok::<_, EffectError>(read(client, namespace).await?.as_ref().map(seen));
    let first = look().await?;
    let (mut now, began) = (first.clone(), Instant::now());
    loop {
        match lease::life(first.as_ref(), now.as_ref(), began.elapsed()) {
            Life::Runs(holder) => return Ok(Some(holder)),
            Life::Nobody | Life::Silent => return Ok(None),
            Life::Unclear => tokio::time::sleep(LOOK_AGAIN).await,
        }
        now = look().await?;
    }
}

#[cfg(test)]
mod tests;
