//! When the webhook's certificates are made, trusted, served and forgotten.
//!
//! An authority signs the serving certificate, and the API server trusts the authorities in the `caBundle`. Nobody sees
//! a change at once: API servers hear of a new bundle by a watch, and webhook replicas of a new certificate by their
//! kubelet. So a new authority stands in the bundle for a grace time before anything that it signed is served, and an
//! old one leaves the bundle a grace time after the last certificate that it signed was replaced, and after the bundle was
//! last changed: certificates may come back from a backup.
//!
//! Since when something is as it is was written by some clock. Whoever keeps the certificates counts a grace also from when
//! it saw the change itself ([`Seen`]), so that neither a clock that is ahead nor a machine that slept cuts it short.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::moment::Moment;

/// An authority, known by its certificate (DER).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorityId(pub Vec<u8>);

impl fmt::Debug for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A certificate ends with its signature, which tells it from others.
        write!(f, "{}", self.0[self.0.len().saturating_sub(8)..].escape_ascii())
    }
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Validity {
    /// When two thirds of the time are over: early enough that the rest outlasts any trouble with renewing.
    #[must_use]
    pub fn renew_at(self) -> Timestamp {
        self.until - self.until.duration_since(self.from) / 3
    }

    /// Whether it is valid then.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    fn fresh(self, now: Timestamp) -> bool {
        self.holds(now) && now < self.renew_at()
    }
}

/// What there is, as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The authority whose key is at hand and can sign.
    pub authority: Option<(AuthorityId, Validity)>,
    /// The certificate that the webhook's replicas are given.
    pub serving: Option<Serving>,
    /// Whom the API server trusts; `None` when there is no webhook configuration, so that nobody calls the webhook.
    pub bundle: Option<Bundle>,
}

/// A certificate and key that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    pub validity: Validity,
    /// Who signed it for the names that the API server asks for; `None` when nobody did that is known.
    pub signed_by: Option<AuthorityId>,
    /// Since when it is what replicas are given; `None` when somebody else wrote it.
    pub since: Option<Timestamp>,
}

/// The `caBundle`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    pub authorities: BTreeSet<AuthorityId>,
    /// Since when it is as it is; `None` when somebody else wrote it.
    pub since: Option<Timestamp>,
}

/// Since when this process has seen what there is, whatever is written of it. Empty in a process that has just begun.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    serving: Option<(Serving, Instant)>,
    bundle: Option<(Bundle, Instant)>,
}

impl Seen {
    /// Notes what there is now. What was written earlier than it was seen here counts as written when it was seen.
    pub fn look(&mut self, facts: &mut Facts, now: Moment) {
        if let Some(serving) = &mut facts.serving {
            serving.since = later(serving.since, first_seen(&mut self.serving, serving, now.instant), now);
        }
        if let Some(bundle) = &mut facts.bundle {
            bundle.since = later(bundle.since, first_seen(&mut self.bundle, bundle, now.instant), now);
        }
    }
}

fn first_seen<T: Clone + PartialEq>(seen: &mut Option<(T, Instant)>, there: &T, now: Instant) -> Instant {
    match seen {
        Some((before, at)) if before == there => *at,
        _ => {
            *seen = Some((there.clone(), now));
            now
        }
    }
}

/// What nobody wrote stays unwritten.
fn later(since: Option<Timestamp>, seen: Instant, now: Moment) -> Option<Timestamp> {
    let ago = SignedDuration::try_from(now.instant.saturating_duration_since(seen)).ok()?;
    Some(since?.max(now.wall.checked_sub(ago).ok()?))
}

/// The next thing to do. After it the facts are read anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make an authority that takes the place of the present one. Its predecessor stays trusted.
    MakeAuthority,
    /// Have exactly these trusted.
    Trust(BTreeSet<AuthorityId>),
    /// Sign a new serving certificate by the authority at hand.
    Issue,
    /// Nothing before this time.
    Wait { until: Timestamp, why: Why },
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// API servers are to learn of the new authority before something that it signed is served.
    NewAuthority,
    /// Replicas are to take the new certificate before the authority of the old one is forgotten.
    NewCertificate,
    /// All is well until the next renewal.
    Renewal,
}

/// What to do next.
///
/// `grace` is the longest time that an API server takes to hear of a bundle, and a replica to hear of a certificate.
#[must_use]
pub fn next(facts: &Facts, grace: Duration, now: Timestamp) -> Step {
    let Some((authority, validity)) = facts.authority.as_ref().filter(|(_, validity)| validity.fresh(now)) else {
        return Step::MakeAuthority;
    };
    // What is expired, or signed by nobody that is known, serves nobody: there is nothing to be careful about.
    let serving = facts.serving.as_ref().filter(|serving| serving.validity.holds(now));
    let signer = serving.and_then(|serving| serving.signed_by.as_ref());
    let ours = signer == Some(authority);
    let certificate_since = serving.and_then(|serving| believable(serving.since, grace, now));
    let certificate_fresh =
        ours && serving.is_some_and(|serving| serving.validity.fresh(now)) && certificate_since.is_some();

    let Some(bundle) = &facts.bundle else {
        let renewal = serving.map_or(now, |serving| serving.validity.renew_at()).min(validity.renew_at());
        return if certificate_fresh { Step::Wait { until: renewal, why: Why::Renewal } } else { Step::Issue };
    };
    let bundle_since = believable(bundle.since, grace, now);
    let mut needed = BTreeSet::from([authority.clone()]);
    needed.extend(signer.cloned());
    if bundle_since.is_none() || !needed.is_subset(&bundle.authorities) {
        needed.extend(bundle.authorities.iter().cloned());
        return Step::Trust(needed);
    }
    if !certificate_fresh {
        // A renewal by the same authority is trusted already; one by another must be trusted everywhere first.
        let trusted_at = bundle_since.map_or(now, |since| plus(since, grace));
        return if signer.is_none() || ours || trusted_at <= now {
            Step::Issue
        } else {
            Step::Wait { until: trusted_at, why: Why::NewAuthority }
        };
    }
    if bundle.authorities != needed {
        let taken_at = certificate_since.max(bundle_since).map_or(now, |since| plus(since, grace));
        return if taken_at <= now {
            Step::Trust(needed)
        } else {
            Step::Wait { until: taken_at, why: Why::NewCertificate }
        };
    }
    let renewal = serving.map_or(now, |serving| serving.validity.renew_at()).min(validity.renew_at());
    Step::Wait { until: renewal, why: Why::Renewal }
}

/// A time far in the future was written by a wrong clock, and would be waited for forever.
fn believable(since: Option<Timestamp>, grace: Duration, now: Timestamp) -> Option<Timestamp> {
    since.filter(|since| *since <= plus(now, grace))
}

fn plus(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span).ok().and_then(|span| at.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
