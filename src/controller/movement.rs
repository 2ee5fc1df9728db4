//! Moves are carried out, and their ends told.

use std::time::Instant;

use jiff::Timestamp;

use super::{Shared, metrics::UNANSWERED};
use crate::{
    cluster::{self, EventReason, Evicted, Notice, reference},
    core::{
        movement::{
            journal::{End, Outcome, Underway},
            plan::Move,
            ways::Way,
        },
        words::Milliseconds,
    },
    evaluate::Memory,
};

/// Carries out one wave. `still_right` is asked before each move: leadership, epoch, primary, pause and the newest picture, as they
/// are then.
pub(super) async fn carry_out(
    shared: &Shared,
    database: &str,
    moves: Vec<Move>,
    memory: &mut Memory,
    restart_series: &str,
    still_right: impl Fn(&Move) -> Result<(), String>,
) {
    for move_ in moves {
        if let Err(why) = still_right(&move_) {
            tracing::info!(database, pod = move_.pod, why, "not moved after all");
            memory.forget_move(&move_.uid);
            continue;
        }
        let answer = cluster::carry_out(&shared.client, &move_, restart_series).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // It may have been carried out: the journal keeps it until the cluster shows.
                let error = &error as &dyn std::error::Error;
                let (namespace, pod) = (&move_.namespace, &move_.pod);
                tracing::warn!(database, namespace, pod, error, "no answer to an eviction; looking what became of it");
                shared.metrics.moved(database, move_.way, UNANSWERED);
                continue;
            }
        };
        let outcome = answer.name();
        if matches!(answer, Evicted::NoBudget(_)) {
            memory.course.refused_by_budgets += 1;
        }
        let why = match answer {
            Evicted::Accepted => {
                tell_moved(shared, database, &move_);
                None
            }
            // So the picture is old: its workload stays on the move until that shows what became of it.
            Evicted::Gone => {
                let (namespace, pod) = (&move_.namespace, &move_.pod);
                tracing::info!(
                    database,
                    namespace,
                    pod,
                    "it was gone already, or has changed; looking what became of it"
                );
                None
            }
            Evicted::NoBudget(why) | Evicted::Later(why) | Evicted::Refused(why) => Some(why),
        };
        shared.metrics.moved(database, move_.way, outcome);
        if let Some(why) = why {
            let (namespace, pod) = (&move_.namespace, &move_.pod);
            tracing::info!(database, namespace, pod, outcome, why, "not moved now");
            memory.note_refused_move(&move_.uid, why, Instant::now());
        }
    }
}

fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "?".into(), |us| format!("{:.1}", Milliseconds { us }))
}

/// What a replacement says of itself that admission missed.
fn what_to_do(way: Way, pod: &str, database: &str, own_namespace: &str) -> String {
    let then = match way {
        Way::Evict => "moved again by itself, within half an hour",
        Way::Restart => {
            "restarted again by itself, within half an hour, unless that was done spec.movement.maxUselessMoves times"
        }
    };
    format!(
        "it was created without affinity in place of {}, so that nothing drew it nearer to the primary of {database}: \
         see whether the webhook is up (kubectl -n {own_namespace} get pods) and whether the API server calls it \
         (kubectl get mutatingwebhookconfigurations); then its workload is {then}",
        pod
    )
}

fn tell_moved(shared: &Shared, database: &str, move_: &Move) {
    let Move { namespace, pod, from, to, .. } = move_;
    let (rtt, to_rtt) = (milliseconds(move_.from_rtt_us), milliseconds(move_.to_rtt_us));
    let moved = match move_.way {
        Way::Evict => "evicted a pod to bring it nearer",
        Way::Restart => "restarted a workload to bring it nearer",
    };
    tracing::info!(database, namespace, pod, from, rtt, to, to_rtt, "{moved}");
    shared.notices.send(Notice {
        about: reference("v1", "Pod", Some(namespace), pod, &move_.uid),
        warning: false,
        reason: EventReason::FollowingPrimary,
        action: move_.way.event(),
        note: format!(
            "{from} is {rtt} away from the primary of {database}; there is room on {to} ({to_rtt}) or a node as near"
        ),
    });
}

/// Tells how moves ended.
pub(super) fn tell_outcomes(shared: &Shared, database: &str, outcomes: &[Outcome], wall: Timestamp) {
    for Outcome { underway, end } in outcomes {
        let Underway { pod, from, workload, .. } = underway;
        let workload = workload.to_string();
        let took_s = underway.age(wall).as_secs_f64();
        match end {
            End::Moved { to } => {
                tracing::info!(database, pod, workload, from, to, took_s, "the replacement is Ready and nearer");
            }
            End::Useless { to } => {
                tracing::warn!(database, pod, workload, from, to, "the replacement is Ready but not nearer");
            }
            End::Missed { way, to, pod: replacement, uid } => {
                tracing::warn!(
                    database,
                    pod,
                    workload,
                    from,
                    to,
                    replacement,
                    "the replacement is Ready but not nearer: it was created without affinity; is the webhook up?"
                );
                let note = what_to_do(*way, pod, database, &shared.namespace);
                let namespace = Some(underway.workload.namespace.as_str());
                shared.notices.send(Notice {
                    about: reference("v1", "Pod", namespace, replacement, uid),
                    warning: true,
                    reason: EventReason::AdmissionMissed,
                    action: way.event(),
                    note,
                });
            }
            End::NotCarriedOut => {
                tracing::warn!(database, pod, workload, "the move was not carried out");
            }
            End::Reverted => {
                tracing::warn!(database, pod, workload, "somebody took the restart of the workload back");
            }
            End::Gone => {
                tracing::info!(database, pod, workload, "the workload is gone");
            }
            End::Unjudged => {
                tracing::info!(database, pod, workload, "a move that a newer version began is over");
            }
        }
        shared.metrics.ended(database, end.name(), took_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pod_that_is_gone_is_taken_for_untouched_because_the_picture_is_old() {
        assert!(crate::core::movement::journal::UNTOUCHED > crate::cluster::watch::UNNOTICED);
    }

    #[test]
    fn a_pod_that_admission_missed_says_what_to_do() {
        let told = "it was created without affinity in place of web-1, so that nothing drew it nearer to the primary of \
                    orders: see whether the webhook is up (kubectl -n switchover-system get pods) and whether the API \
                    server calls it (kubectl get mutatingwebhookconfigurations); then its workload is ";
        for (way, then) in [
            (Way::Evict, "moved again by itself, within half an hour"),
            (
                Way::Restart,
                "restarted again by itself, within half an hour, unless that was done spec.movement.maxUselessMoves times",
            ),
        ] {
            assert_eq!(what_to_do(way, "web-1", "orders", "switchover-system"), format!("{told}{then}"));
        }
    }
}
