//! Whatever happens, no claim is ever lost, and no name is wrong.

use proptest::prelude::*;

use super::*;

/// What may happen to three servers, pg1 to pg3, and to two URLs besides, which lead anywhere.
#[derive(Debug, Clone)]
enum Event {
    Starts {
        server: usize,
        primary: bool,
    },
    Promoted {
        server: usize,
    },
    Stops {
        server: usize,
    },
    /// Its own address can't be reached, or can again.
    Cut {
        server: usize,
        reachable: bool,
    },
    Leads {
        url: usize,
        server: usize,
    },
    Asked {
        place: usize,
    },
    Listed,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let server = || 0_usize..3;
    let event = prop_oneof![
        2 => (server(), any::<bool>()).prop_map(|(server, primary)| Event::Starts { server, primary }),
        2 => server().prop_map(|server| Event::Promoted { server }),
        1 => server().prop_map(|server| Event::Stops { server }),
        1 => (server(), any::<bool>()).prop_map(|(server, reachable)| Event::Cut { server, reachable }),
        2 => (0_usize..2, server()).prop_map(|(url, server)| Event::Leads { url, server }),
        20 => (0_usize..5).prop_map(|place| Event::Asked { place }),
        1 => Just(Event::Listed),
    ];
    prop::collection::vec(event, 1..120)
}

#[derive(Debug, Default)]
struct World {
    /// Of each server: how often it was started, the timeline, whether it is the primary; `None` while it is stopped.
    servers: [(u32, u64, Option<bool>); 3],
    cut: [bool; 3],
    leads: [usize; 2],
    /// The server that has the lock.
    leader: usize,
}

impl World {
    /// Only one has the lock; others that run as primary say 503.
    fn answer(&self, server: usize) -> Answer {
        let (starts, timeline, runs) = self.servers[server];
        let lock = if self.leader == server { 200 } else { 503 };
        answer(&match runs {
            Some(primary) => {
                let role = if primary { "primary" } else { "replica" };
                format!("{lock}/{server}-{starts}/{role}/{timeline}")
            }
            None => "503/-".to_owned(),
        })
    }
}

fn runs(answer: &Answer) -> bool {
    matches!(answer, Answer::Http { body, .. } if body.started.is_some())
}

fn claims(answer: &Answer) -> bool {
    let (Answer::Http { body, .. } | Answer::Nameless { body, .. }) = answer else { return false };
    body.acts_as_primary() && body.state == "running"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_claim_is_lost_and_no_name_is_wrong(events in events(), lasting in any::<bool>()) {
        let mut world = World { servers: [(1, 1, Some(true)), (1, 1, Some(false)), (1, 1, Some(false))], ..World::default() };
        let mut identities = if lasting { Identities::lasting(STEP) } else { Identities::default() };
        let names = ["pg1", "pg2", "pg3"];
        let mut heard: BTreeMap<String, Observation> = BTreeMap::new();
        // Which server gave the answer that came then.
        let mut gave: BTreeMap<Instant, usize> = BTreeMap::new();
        let mut now = Instant::now() + Duration::from_secs(3600);
        for event in events {
            now += STEP / 10;
            match event {
                Event::Starts { server, primary } => {
                    world.servers[server].0 += 1;
                    world.servers[server].2 = Some(primary);
                }
                Event::Promoted { server } => if world.servers[server].2 == Some(false) {
                    world.servers[server].1 += 1;
                    world.servers[server].2 = Some(true);
                    world.leader = server;
                },
                Event::Stops { server } => world.servers[server].2 = None,
                Event::Cut { server, reachable } => world.cut[server] = !reachable,
                Event::Leads { url, server } => world.leads[url] = server,
                Event::Listed => list(&mut identities, "pg1,pg2,pg3", Some(names[world.leader]), now),
                Event::Asked { place } => {
                    let (url, server) = match place {
                        0..3 => (stated(names[place]), place),
                        _ => (format!("http://u{place}:8008"), world.leads[place - 3]),
                    };
                    let cut = place < 3 && world.cut[place];
                    let said = if cut { answer("-") } else { world.answer(server) };
                    identities.heard(&url, &said, now, now);
                    gave.insert(now, server);
                    heard.insert(url, Observation { answer: said, at: now });
                }
            }
            let named = identities.named(&heard, now);
            for (place, seen) in heard.iter().filter(|(_, seen)| claims(&seen.answer)) {
                let told = named.values().any(|told| gave[&told.at] == gave[&seen.at] && told.at >= seen.at);
                prop_assert!(told, "what {place} claims is lost: {heard:?} {named:?}");
            }
            if !lasting {
                for place in heard.iter().filter(|(_, seen)| runs(&seen.answer)).map(|(place, _)| place) {
                    if let Who::Member(name) = identities.who(place, now) {
                        prop_assert_eq!(&name, names[gave[&heard[place].at]], "{}: {:?}", place, heard);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_heard_at_once_has_no_order(
        places in prop::collection::vec((0_usize..3, any::<bool>()), 5),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let now = Instant::now();
        let heard = |order: &[usize]| {
            let mut identities = Identities::default();
            let mut observations = BTreeMap::new();
            for at in order {
                let Some((server, primary)) = places.get(*at) else {
                    list(&mut identities, "pg1,pg2,pg3", Some("pg1"), now);
                    continue;
                };
                let url = if *at < 3 { stated(&format!("pg{}", at + 1)) } else { format!("http://u{at}:8008") };
                let role = if *primary { "200/{}-1/primary/1" } else { "503/{}-1/replica/1" };
                let said = answer(&role.replace("{}", &server.to_string()));
                identities.heard(&url, &said, now, now);
                observations.insert(url, Observation { answer: said, at: now });
            }
            identities.named(&observations, now)
        };
        prop_assert_eq!(heard(&[0, 1, 2, 3, 4, 5]), heard(&order));
    }
}
