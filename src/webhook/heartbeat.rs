//! Whether a controller runs. What the API server confirms of a database is worth no more than who writes it: with no
//! controller nobody tells of the next failover.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};
use parking_lot::Mutex;

/// A controller that hasn't renewed its Lease for so long is gone: another one would have taken it over since.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the controllers' Lease was last seen to be renewed, by this process's own clock: what the Lease says is another's.
#[derive(Debug)]
pub(super) struct Heartbeat(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    renewed: Option<MicroTime>,
    until: Instant,
}

impl Heartbeat {
    /// A controller that was never seen is waited for just as long.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Seen { renewed: None, until: now + PATIENCE }))
    }

    /// Takes over what the Lease says. One that nobody holds was given back, not renewed.
    pub(super) fn beat(&self, lease: &LeaseSpec, now: Instant) {
        let mut seen = self.0.lock();
        let held = lease.holder_identity.as_ref().is_some_and(|holder| !holder.is_empty());
        if held && lease.renew_time.is_some() && lease.renew_time != seen.renewed {
            seen.renewed.clone_from(&lease.renew_time);
            let duration = u64::try_from(lease.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
            seen.until = now + PATIENCE.max(Duration::from_secs(2 * duration));
        }
    }

    /// From then on no controller runs, unless it is seen until then.
    pub(super) fn until(&self) -> Instant {
        self.0.lock().until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewed_s: i64, duration_s: i32) -> LeaseSpec {
        let at = jiff::Timestamp::from_second(renewed_s).unwrap();
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(at)),
            lease_duration_seconds: Some(duration_s),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_controller_runs_as_long_as_its_lease_changes() {
        let start = Instant::now();
        let s = |seconds: u64| start + Duration::from_secs(seconds);
        let heartbeat = Heartbeat::new(start);
        assert_eq!(heartbeat.until(), s(60), "it is waited for");
        let steps = [
            ("a clock that is years off", lease("a", 5, 10), 10, 70),
            ("the same again, from another list", lease("a", 5, 10), 20, 70),
            ("renewed", lease("a", 7, 10), 20, 80),
            ("given back", lease("", 9, 10), 30, 80),
            ("taken by another one", lease("b", 8, 10), 31, 91),
            ("one that renews seldom", lease("b", 90, 300), 40, 640),
        ];
        for (what, lease, now, until) in steps {
            heartbeat.beat(&lease, s(now));
            assert_eq!(heartbeat.until(), s(until), "{what}");
        }
    }
}
