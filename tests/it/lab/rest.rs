//! REST APIs that answer wrongly: nothing is believed that Patroni didn't say, and nothing moves meanwhile.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{control::PatroniAction, patroni::RestFault};

use super::stage::{Stage, condition, known, picture, scene};

const FAULTS: [RestFault; 6] =
    [RestFault::Slow, RestFault::Hang, RestFault::Garbage, RestFault::Huge, RestFault::Redirect, RestFault::Tls];

/// What people are told of each.
const fn told(fault: RestFault) -> &'static str {
    match fault {
        RestFault::None => "",
        RestFault::Slow | RestFault::Hang => "no answer within",
        RestFault::Garbage => "a body that isn't Patroni's",
        RestFault::Huge => "answered with more than",
        RestFault::Redirect => "answered 302, which Patroni doesn't",
        RestFault::Tls => "invalid HTTP",
    }
}

fn rest(stage: &Stage, member: &str, fault: RestFault) -> Result<()> {
    stage.patroni(PatroniAction::Rest { member: member.into(), fault }).map(drop)
}

#[test]
#[ignore = "needs root and the lab"]
fn a_replica_that_answers_wrongly_changes_nothing() {
    scene(|stage| {
        let (witness, epoch) = (stage.witness()?, stage.status()?.epoch);
        let played = FAULTS.into_iter().try_for_each(|fault| {
            rest(stage, "pg2", fault)?;
            stage.stays("the primary, labels and pods", Duration::from_secs(4), |seen| {
                (known(seen).map(str::to_owned), picture(seen))
            })
        });
        rest(stage, "pg2", RestFault::None)?;
        played?;
        ensure!(witness.seen().evicted.is_empty(), "{:?} were evicted", witness.seen().evicted);
        ensure!(stage.status()?.epoch == epoch, "the epoch is {}", stage.status()?.epoch);
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_primary_that_answers_wrongly_is_not_believed_and_is_the_primary_again_when_it_is_well() {
    scene(|stage| {
        let (witness, epoch) = (stage.witness()?, stage.status()?.epoch);
        let played = FAULTS.into_iter().try_for_each(|fault| {
            rest(stage, "pg1", fault)?;
            stage.wait(&format!("{fault:?} is seen and told"), |seen| {
                let conditions = seen.database["conditions"].as_array().cloned().unwrap_or_default();
                let primary = conditions.into_iter().find(|condition| condition["type"] == "PrimaryKnown");
                primary.is_some_and(|primary| {
                    primary["status"] == "False"
                        && primary["message"].as_str().unwrap_or_default().contains(told(fault))
                })
            })?;
            stage.stays("labels and pods", Duration::from_secs(2), picture)?;
            ensure!(condition(&stage.scene.seen(), "SplitBrain") != Some("True"), "{fault:?} is no split brain");
            rest(stage, "pg1", RestFault::None)?;
            stage.wait("pg1 is known again", |seen| known(seen) == Some("pg1"))
        });
        rest(stage, "pg1", RestFault::None)?;
        played?;
        ensure!(witness.seen().evicted.is_empty(), "{:?} were evicted", witness.seen().evicted);
        ensure!(stage.status()?.epoch == epoch, "one primary, and the epoch is {}", stage.status()?.epoch);
        Ok(())
    });
}
