//! Addresses that members state and that no node reaches.

use std::time::{Duration, Instant};

use crate::{discover::DiscoveryState, index::Tables};

/// One sentence for each member that answers the controller while no node reaches its database.
pub(super) fn unreached(tables: &Tables, found: &DiscoveryState, stale_after: Duration, now: Instant) -> Vec<String> {
    let answers = |name: &str| found.answers.iter().any(|answer| answer.name == name && answer.status.is_some());
    let asked = found.members.iter().filter(|member| !member.host.is_empty() && answers(&member.name));
    asked
        .filter(|member| {
            // Others measure the same hosts in the same order.
            let (mut place, mut measured) = (0, false);
            for latency in tables.latencies.values().filter(|it| now.saturating_duration_since(it.received) <= stale_after) {
                let readings = &latency.spec.readings;
                if readings.get(place).is_none_or(|reading| reading.host != member.host) {
                    let Some(at) = readings.iter().position(|reading| reading.host == member.host) else { continue };
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

    #[test]
    fn a_member_that_answers_while_no_node_reaches_its_database_is_told_of() {
        let now = Instant::now();
        let reading = |host: &str, rtt_us| Reading { host: host.to_owned(), rtt_us, ..Reading::default() };
        let node =
            |readings| Latency { received: now, spec: NodeLatencySpec { readings, ..NodeLatencySpec::default() } };
        let mut tables = Tables::default();
        let all = [reading("10.0.0.1", Some(300)), reading("172.18.0.5", None), reading("172.18.0.6", None)];
        tables.put_latency("a1", node(all.to_vec()));
        tables.put_latency("b1", node(vec![reading("172.18.0.5", None)]));
        let member =
            |name: &str, host: &str| Member { name: name.into(), host: host.into(), port: 5432, api_url: None };
        let answer = |name: &str, status| MemberAnswer { name: name.into(), status, ..MemberAnswer::default() };
        let found = DiscoveryState {
            looked: true,
            view: PrimaryTracker::new(Belief::default(), Duration::ZERO)
                .observe(&std::collections::BTreeMap::new(), now),
            members: vec![
                member("pg1", "10.0.0.1"),
                member("pg2", "172.18.0.5"),
                member("pg3", "172.18.0.6"),
                member("pg4", "172.18.0.7"),
            ],
            answers: vec![
                answer("pg1", Some(200)),
                answer("pg2", Some(503)),
                answer("pg3", None),
                answer("pg4", Some(503)),
            ],
            credentials: None,
            witness: None,
            refused: Vec::new(),
            announced: crate::core::announcement::Heard::Nothing,
        };
        let told = unreached(&tables, &found, Duration::from_secs(30), now);
        let expected = "no node reaches 172.18.0.5, which pg2 states as the address of its database \
                        (postgresql.connect_address): write one there that nodes reach, or let echoes or connections to port \
                        5432 through";
        assert_eq!(told, [expected], "pg3 is silent itself, and nobody has measured pg4");
        let later = now + Duration::from_secs(31);
        assert_eq!(unreached(&tables, &found, Duration::from_secs(30), later), Vec::<String>::new(), "old readings");
    }
}
