//! When the webhook's certificates are made, trusted, served and forgotten.
//!
//! An authority signs the serving certificate, and the API server trusts the authorities in the `caBundle`. Nobody sees
//! a change at once: API servers hear of a new bundle by a watch, and webhook replicas of a new certificate by their
//! kubelet. So a new authority stands in the bundle for a grace time before anything that it signed is served, and an
//! old one leaves the bundle a grace time after the last certificate that it signed was replaced.

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

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

    fn holds(self, now: Timestamp) -> bool {
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
        let taken_at = certificate_since.map_or(now, |since| plus(since, grace));
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
mod tests {
    use lab::table::check_rows;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    /// Seconds of a story that begins at 1000.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(name: &str) -> AuthorityId {
        AuthorityId(name.as_bytes().to_vec())
    }

    fn ids(names: &str) -> BTreeSet<AuthorityId> {
        names.split_whitespace().map(id).collect()
    }

    fn valid(from: i64, until: i64) -> Validity {
        Validity { from: at(from), until: at(until) }
    }

    /// All is well: B, good for 9000 s, signed what is served, which is good for 900 s, and is trusted alone.
    fn well() -> Facts {
        Facts {
            authority: Some((id("B"), valid(1000, 10_000))),
            serving: Some(Serving { validity: valid(1000, 1900), signed_by: Some(id("B")), since: Some(at(1000)) }),
            bundle: Some(Bundle { authorities: ids("B"), since: Some(at(1000)) }),
        }
    }

    fn but(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = well();
        change(&mut facts);
        facts
    }

    fn served(facts: &mut Facts) -> &mut Serving {
        facts.serving.as_mut().unwrap()
    }

    fn trusted(facts: &mut Facts, names: &str, since: Option<i64>) {
        facts.bundle = Some(Bundle { authorities: ids(names), since: since.map(at) });
    }

    fn wait(until: i64, why: Why) -> Step {
        Step::Wait { until: at(until), why }
    }

    #[test]
    fn each_state_has_one_next_step() {
        let trust = |names| Step::Trust(ids(names));
        let rows = [
            ("nothing is there", Facts::default(), 1000, Step::MakeAuthority),
            ("an authority alone, nobody calls", but(|f| (f.serving, f.bundle) = (None, None)), 1000, Step::Issue),
            (
                "an authority alone",
                but(|f| {
                    f.serving = None;
                    trusted(f, "", None);
                }),
                1000,
                trust("B"),
            ),
            ("trusted for no time, nothing served", but(|f| f.serving = None), 1000, Step::Issue),
            ("all is well", well(), 1100, wait(1600, Why::Renewal)),
            ("all is well, nobody calls", but(|f| f.bundle = None), 1100, wait(1600, Why::Renewal)),
            ("the certificate is due", well(), 1600, Step::Issue),
            ("the certificate is expired", well(), 1900, Step::Issue),
            ("the certificate is of the future", but(|f| served(f).validity = valid(1200, 1900)), 1100, Step::Issue),
            ("the authority is due", but(|f| served(f).validity = valid(6900, 7800)), 7000, Step::MakeAuthority),
            (
                "the authority is due before the certificate",
                but(|f| served(f).validity = valid(6900, 9999)),
                6950,
                wait(7000, Why::Renewal),
            ),
            (
                "the authority is of the future",
                but(|f| f.authority = Some((id("B"), valid(1200, 9000)))),
                1100,
                Step::MakeAuthority,
            ),
            // Another signed what is served: an old authority, or one whose key was thrown away.
            (
                "a new authority",
                but(|f| {
                    served(f).signed_by = Some(id("A"));
                    trusted(f, "A", Some(500));
                }),
                1100,
                trust("A B"),
            ),
            (
                "just trusted",
                but(|f| {
                    served(f).signed_by = Some(id("A"));
                    trusted(f, "A B", Some(1100));
                }),
                1105,
                wait(1110, Why::NewAuthority),
            ),
            (
                "trusted by all",
                but(|f| {
                    served(f).signed_by = Some(id("A"));
                    trusted(f, "A B", Some(1100));
                }),
                1110,
                Step::Issue,
            ),
            (
                "just served",
                but(|f| {
                    served(f).since = Some(at(1110));
                    trusted(f, "A B", Some(1100));
                }),
                1115,
                wait(1120, Why::NewCertificate),
            ),
            (
                "served by all",
                but(|f| {
                    served(f).since = Some(at(1110));
                    trusted(f, "A B", Some(1100));
                }),
                1120,
                trust("B"),
            ),
            // Trouble on the way.
            (
                "the old one expires while the new one is not trusted by all",
                but(|f| {
                    *served(f) = Serving { validity: valid(1000, 1104), signed_by: Some(id("A")), since: None };
                    trusted(f, "A B", Some(1100));
                }),
                1105,
                Step::Issue,
            ),
            ("the bundle was emptied", but(|f| trusted(f, "", None)), 1100, trust("B")),
            (
                "the bundle was emptied on the way",
                but(|f| {
                    served(f).signed_by = Some(id("A"));
                    trusted(f, "", None);
                }),
                1100,
                trust("A B"),
            ),
            ("somebody else wrote the right bundle", but(|f| trusted(f, "B", None)), 1100, trust("B")),
            ("somebody trusts another one, too", but(|f| trusted(f, "B X", None)), 1100, trust("B X")),
            ("and that is forgotten", but(|f| trusted(f, "B X", Some(1100))), 1100, trust("B")),
            ("the authority's key is lost", but(|f| f.authority = None), 1100, Step::MakeAuthority),
            ("served by nobody that is known", but(|f| served(f).signed_by = None), 1100, Step::Issue),
            ("somebody else wrote the certificate", but(|f| served(f).since = None), 1100, Step::Issue),
            ("trusted since a far future", but(|f| trusted(f, "B", Some(9000))), 1100, trust("B")),
            ("served since a far future", but(|f| served(f).since = Some(at(9000))), 1100, Step::Issue),
            (
                "trusted since a moment ahead of our clock",
                but(|f| trusted(f, "B", Some(1105))),
                1100,
                wait(1600, Why::Renewal),
            ),
            (
                "a new authority and nobody calls",
                but(|f| {
                    served(f).signed_by = Some(id("A"));
                    f.bundle = None;
                }),
                1100,
                Step::Issue,
            ),
        ];
        check_rows(rows, |(state, facts, now, expected)| {
            assert_eq!(next(&facts, GRACE, at(now)), expected, "{state}");
        });
    }

    /// Plays a thousand seconds with certificates of a minute: whatever a replica may still serve, every API server
    /// trusts, however late within the grace time either of them hears of a change; and the renewing never stops.
    #[test]
    fn what_replicas_may_serve_is_always_trusted() {
        const LIFE: i64 = 60;
        let mut facts = Facts {
            authority: None,
            // What `switchover certs` of old left: no key, no times.
            serving: Some(Serving { validity: valid(900, 1400), signed_by: Some(id("0")), since: None }),
            bundle: Some(Bundle { authorities: ids("0"), since: None }),
        };
        // Signer of each certificate with the time from which it is served at the latest, and each bundle likewise.
        let mut certificates = vec![(at(0), id("0"))];
        let mut bundles = vec![(at(0), ids("0"))];
        let (mut made, mut issued) = (0, 0);
        for second in 1000..2000 {
            let now = at(second);
            for _ in 0..5 {
                match next(&facts, GRACE, now) {
                    Step::Wait { until, .. } => {
                        assert!(until > now);
                        break;
                    }
                    Step::MakeAuthority => {
                        made += 1;
                        facts.authority = Some((id(&made.to_string()), valid(second, second + 4 * LIFE)));
                    }
                    Step::Issue => {
                        issued += 1;
                        let signer = facts.authority.as_ref().unwrap().0.clone();
                        certificates.push((now, signer.clone()));
                        let validity = valid(second, second + LIFE);
                        facts.serving = Some(Serving { validity, signed_by: Some(signer), since: Some(now) });
                    }
                    Step::Trust(authorities) => {
                        bundles.push((now, authorities.clone()));
                        facts.bundle = Some(Bundle { authorities, since: Some(now) });
                    }
                }
            }
            // Within the grace time replicas and API servers have either the newest or what was there before.
            let within = |since: Timestamp| plus(since, GRACE) > now;
            let current = |times: Vec<Timestamp>| {
                let settled = times.iter().rposition(|since| !within(*since)).unwrap_or(0);
                settled..times.len()
            };
            let served = &certificates[current(certificates.iter().map(|(since, _)| *since).collect())];
            let trusted = &bundles[current(bundles.iter().map(|(since, _)| *since).collect())];
            for (_, signer) in served {
                for (_, bundle) in trusted {
                    assert!(bundle.contains(signer), "{second}: {signer:?} is served, {bundle:?} is trusted");
                }
            }
        }
        assert_eq!((made, issued), (7, 25));
        assert!(facts.bundle.unwrap().authorities.len() <= 2);
    }
}
