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
        ("just trusted beside it", but(|f| trusted(f, "B X", Some(1100))), 1100, wait(1110, Why::NewCertificate)),
        ("and that is forgotten", but(|f| trusted(f, "B X", Some(1100))), 1110, trust("B")),
        (
            "a certificate of long ago came back from a backup, and replicas may serve the other one's",
            but(|f| {
                served(f).since = Some(at(600));
                trusted(f, "B C", Some(1100));
            }),
            1105,
            wait(1110, Why::NewCertificate),
        ),
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

#[test]
fn a_grace_is_counted_from_when_the_change_was_seen_too() {
    let begun = Instant::now();
    // Seconds that have passed here, and what the clock on the wall says then.
    let moment = |passed: u64, wall: i64| Moment { instant: begun + Duration::from_secs(passed), wall: at(wall) };
    let changed = || but(|f| served(f).since = Some(at(1110)));
    let mut seen = Seen::default();
    let mut look = |mut facts: Facts, now: Moment| {
        seen.look(&mut facts, now);
        (facts.serving.unwrap().since, facts.bundle.unwrap().since)
    };
    let rows = [
        ("what is seen first counts from now", well(), moment(0, 1050), (1050, 1050)),
        ("and goes on counting", well(), moment(30, 1080), (1050, 1050)),
        ("a change counts anew, and nothing else", changed(), moment(60, 1112), (1112, 1052)),
        ("a clock that leaps cuts nothing short", changed(), moment(65, 9000), (8995, 8935)),
        ("one that is behind neither", changed(), moment(70, 500), (1110, 1000)),
    ];
    for (what, facts, now, (serving, bundle)) in rows {
        assert_eq!(look(facts, now), (Some(at(serving)), Some(at(bundle))), "{what}");
    }
    assert_eq!(look(but(|f| served(f).since = None), moment(80, 2000)).0, None, "what nobody wrote stays so");
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
