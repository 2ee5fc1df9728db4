//! Addresses that members state and that no node reaches.

use std::time::{Duration, Instant};

use crate::{
    discover::{DiscoveryState, Member},
    index::Tables,
};

/// Ticks between two looks. A member whom nobody measures has every reading of every node looked at: with hundreds of databases on a
/// thousand nodes that is most of what a controller does, and addresses change as seldom as configurations do.
const EVERY_TICKS: u32 = 10;

/// Every agent measures the same members: whom none of so many nodes measures, nobody does.
const FEW_NODES: usize = 16;

/// What was found the last time.
#[derive(Debug, Default)]
pub(super) struct Watch {
    due: Option<Instant>,
    members: Vec<Member>,
    unreached: Vec<String>,
}

impl Watch {
    /// What is wrong with the addresses that members state, looked for now and then: at once if there are other members, and at every
    /// `tick` while something is wrong, so that it is told for no longer than it lasts.
    pub(super) fn look(
        &mut self,
        tables: &Tables,
        found: &DiscoveryState,
        stale_after: Duration,
        now: Instant,
        tick: Duration,
    ) -> &[String] {
        let rests = self.due.is_some_and(|due| now < due) && self.unreached.is_empty() && self.members == found.members;
        if !rests {
            self.unreached = unreached(tables, found, stale_after, now);
            self.members.clone_from(&found.members);
            self.due = Some(now + tick * EVERY_TICKS);
        }
        &self.unreached
    }
}

/// One sentence for each member that answers the controller while no node reaches its database.
fn unreached(tables: &Tables, found: &DiscoveryState, stale_after: Duration, now: Instant) -> Vec<String> {
    let answers = |name: &str| found.answers.iter().any(|answer| answer.name == name && answer.status.is_some());
    let asked = found.members.iter().filter(|member| !member.host.is_empty() && answers(&member.name));
    asked
        .filter(|member| {
            // Others measure the same hosts in the same order.
            let (mut place, mut measured, mut without) = (0, false, 0);
            for latency in tables.latencies.values().filter(|it| now.saturating_duration_since(it.received) <= stale_after) {
                let readings = &latency.spec.readings;
                if readings.get(place).is_none_or(|reading| reading.host != member.host) {
                    let Some(at) = readings.iter().position(|reading| reading.host == member.host) else {
                        without += 1;
                        if !measured && without >= FEW_NODES {
                            return false;
                        }
                        continue;
                    };
                    place = at;
                }
                measured = true;
                if readings[place].rtt_us.is_some() {
                    return false;
                }
            }
            measured
        })
        .map(|member| {
            format!(
                "no node reaches {}, which {} states as the address of its database (postgresql.connect_address): write one \
                 there that nodes reach, or let echoes or connections to port {} through",
                member.host, member.name, member.port
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::node_latency::{NodeLatencySpec, Reading},
        core::primary::{Belief, PrimaryTracker},
        discover::{Member, MemberAnswer},
        index::Latency,
    };

    fn reading(host: &str, rtt_us: Option<u32>) -> Reading {
        Reading { host: host.to_owned(), rtt_us, ..Reading::default() }
    }

    fn latency(received: Instant, readings: Vec<Reading>) -> Latency {
        Latency { received, spec: NodeLatencySpec { readings, ..NodeLatencySpec::default() } }
    }

    /// Members by name and host, with the status that each answered with.
    fn found(members: &[(&str, &str, Option<u16>)]) -> DiscoveryState {
        let member =
            |name: &str, host: &str| Member { name: name.into(), host: host.into(), port: 5432, api_url: None };
        let answer = |name: &str, status| MemberAnswer { name: name.into(), status, ..MemberAnswer::default() };
        DiscoveryState {
            looked: true,
            view: PrimaryTracker::new(Belief::default(), Duration::ZERO)
                .observe(&std::collections::BTreeMap::new(), Instant::now()),
            members: members.iter().map(|(name, host, _)| member(name, host)).collect(),
            answers: members.iter().map(|(name, _, status)| answer(name, *status)).collect(),
            credentials: None,
            witness: None,
            refused: Vec::new(),
            announced: crate::core::announcement::Heard::Nothing,
        }
    }

    #[test]
    fn it_is_looked_for_now_and_then_and_at_every_tick_while_something_is_wrong() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let tables = |rtt_us| {
            let mut tables = Tables::default();
            tables.put_latency("a1", latency(now, vec![reading("10.0.0.1", Some(300)), reading("10.0.0.2", rtt_us)]));
            tables
        };
        let (one, both) = (("pg1", "10.0.0.1", Some(200)), ("pg2", "10.0.0.2", Some(503)));
        let (one, both) = (found(&[one]), found(&[one, both]));
        let mut watch = Watch::default();
        let mut wrong =
            |rtt_us, found, s| watch.look(&tables(rtt_us), found, 60 * second, now + s * second, second).len();
        assert_eq!(wrong(None, &one, 0), 0);
        assert_eq!(wrong(None, &both, 1), 1, "another member");
        assert_eq!(wrong(Some(300), &both, 2), 0, "it has healed");
        assert_eq!(wrong(None, &both, 11), 0, "not yet");
        assert_eq!(wrong(None, &both, 12), 1);
    }

    #[test]
    fn a_member_is_looked_for_although_a_few_nodes_do_not_measure_it() {
        let now = Instant::now();
        let told = |without: usize| {
            let mut tables = Tables::default();
            for node in 0..without {
                tables.put_latency(&format!("a{node:02}"), latency(now, vec![reading("10.0.0.1", Some(300))]));
            }
            tables.put_latency("b1", latency(now, vec![reading("10.0.0.2", None)]));
            unreached(&tables, &found(&[("pg2", "10.0.0.2", Some(503))]), Duration::from_secs(30), now).len()
        };
        assert_eq!([told(0), told(FEW_NODES - 1)], [1, 1]);
    }

    #[test]
    fn a_member_that_answers_while_no_node_reaches_its_database_is_told_of() {
        let now = Instant::now();
        let node = |readings| latency(now, readings);
        let mut tables = Tables::default();
        let all = [reading("10.0.0.1", Some(300)), reading("172.18.0.5", None), reading("172.18.0.6", None)];
        tables.put_latency("a1", node(all.to_vec()));
        tables.put_latency("b1", node(vec![reading("172.18.0.5", None)]));
        let found = found(&[
            ("pg1", "10.0.0.1", Some(200)),
            ("pg2", "172.18.0.5", Some(503)),
            ("pg3", "172.18.0.6", None),
            ("pg4", "172.18.0.7", Some(503)),
        ]);
        let told = unreached(&tables, &found, Duration::from_secs(30), now);
        let expected = "no node reaches 172.18.0.5, which pg2 states as the address of its database \
                        (postgresql.connect_address): write one there that nodes reach, or let echoes or connections to port \
                        5432 through";
        assert_eq!(told, [expected], "pg3 is silent itself, and nobody has measured pg4");
        let later = now + Duration::from_secs(31);
        assert_eq!(unreached(&tables, &found, Duration::from_secs(30), later), Vec::<String>::new(), "old readings");
    }
}
