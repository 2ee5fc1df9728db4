//! Moves are carried out, and their ends told.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::{Shared, metrics::UNANSWERED};
use crate::{
    cluster::{self, EffectError, EventReason, Evicted, Notice, reference},
    core::{
        movement::{
            journal::{End, Outcome, Underway},
            plan::Move,
            ways::Way,
        },
        words::Milliseconds,
    },
    evaluate::Memory,
    index::Index,
};

/// Evictions of one database that are in flight together. (They are asked of the API server one after the other where one disruption
/// budget covers them: it writes that budget each time, and whoever comes second waits for half a second.)
const IN_FLIGHT: usize = 32;

/// How long an eviction waits at most for the disruption controller to count the one before it under the same budget. Whoever comes
/// earlier may meet its write of the budget's status, and is let wait by the API server for half a second; but a controller that is
/// busy with many budgets takes as long to come to this one.
const COUNTED_WITHIN: Duration = Duration::from_millis(50);

/// What became of one move that was to be carried out.
#[derive(Debug)]
enum Answer {
    /// Not asked for after all.
    Dropped(String),
    Given(Evicted),
    /// It may have been carried out: the journal keeps it until the cluster shows.
    None(EffectError),
}

/// Of which version a budget was when the last eviction under it was asked for.
type Turn = Arc<tokio::sync::Mutex<Option<String>>>;

/// Carries out the moves of one database, many at once, while the next ones are planned. They end with the value.
pub(super) struct Hands {
    shared: Arc<Shared>,
    working: JoinSet<()>,
    /// UIDs of the pods whose moves have no answer yet.
    asked: BTreeSet<String>,
    answers: mpsc::UnboundedReceiver<(Move, Answer)>,
    answer: mpsc::UnboundedSender<(Move, Answer)>,
    /// By what moves follow each other, a budget or a workload.
    turns: HashMap<String, Turn>,
    free: Arc<Semaphore>,
}

impl Hands {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        let free = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { shared, working: JoinSet::new(), asked: BTreeSet::new(), answers, answer, turns: HashMap::new(), free }
    }

    /// Begins to carry out what was planned. `still_right` is asked right before each move: leadership, epoch, primary, pause and the
    /// newest picture, as they are then.
    pub(super) fn begin(
        &mut self,
        moves: Vec<Move>,
        restart_series: &str,
        still_right: impl Fn(&Move) -> Result<(), String> + Send + Sync + 'static,
    ) {
        let (still_right, series) = (Arc::new(still_right), Arc::<str>::from(restart_series));
        while self.working.try_join_next().is_some() {}
        // Whoever works on a turn, or waits for it, holds it.
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        for (together, group) in one_after_the_other(moves) {
            self.asked.extend(group.iter().map(|move_| move_.uid.clone()));
            let turn = Arc::clone(self.turns.entry(together).or_default());
            let (shared, answer, free) = (Arc::clone(&self.shared), self.answer.clone(), Arc::clone(&self.free));
            let (still_right, series) = (Arc::clone(&still_right), Arc::clone(&series));
            self.working.spawn(async move {
                let mut before = turn.lock().await;
                for move_ in group {
                    until_counted(&shared.index, &move_, before.as_deref()).await;
                    // Nobody closes it.
                    let _free = free.acquire().await;
                    *before = version(&shared.index, &move_);
                    let said = match still_right(&move_) {
                        Ok(()) => cluster::carry_out(&shared.client, &move_, &series)
                            .await
                            .map_or_else(Answer::None, Answer::Given),
                        Err(why) => Answer::Dropped(why),
                    };
                    // Whoever began it may be gone.
                    let _ = answer.send((move_, said));
                }
            });
        }
    }

    /// Takes note of the answers that have come, and of what still has none. Whether any has come.
    pub(super) fn note(&mut self, database: &str, memory: &mut Memory, now: Instant) -> bool {
        let mut any = false;
        while let Ok((move_, answer)) = self.answers.try_recv() {
            self.asked.remove(&move_.uid);
            take_note(&self.shared, database, &move_, answer, memory);
            any = true;
        }
        memory.note_asked(&self.asked, now);
        any
    }

    /// Waits until everything has its answer, or was dropped because it isn't right any more.
    pub(super) async fn finish(&mut self, database: &str, memory: &mut Memory) {
        while self.working.join_next().await.is_some() {}
        self.note(database, memory, Instant::now());
    }
}

/// Waits until the status of the pod's budget counts every eviction that was granted, or for [`COUNTED_WITHIN`]. The last one was asked for
/// when the budget was of version `before`.
async fn until_counted(index: &Index, move_: &Move, before: Option<&str>) {
    let Some(spends) = &move_.spends else { return };
    let mut changes = index.changes();
    let counts = || {
        let tables = index.read();
        let budget = tables.snapshot().budgets.get(&spends.budget);
        budget.is_none_or(|it| it.disrupted.is_empty() && before.is_none_or(|before| it.version != before))
    };
    let counted = async { while !counts() && changes.changed().await.is_ok() {} };
    // After that it is asked all the same: the API server decides.
    let _ = tokio::time::timeout(COUNTED_WITHIN, counted).await;
}

/// Of which version the pod's budget is now.
fn version(index: &Index, move_: &Move) -> Option<String> {
    let spends = move_.spends.as_ref()?;
    Some(index.read().snapshot().budgets.get(&spends.budget)?.version.clone())
}

/// The moves in groups: those that one disruption budget covers, or else of one workload, in their order. Groups are in the order of their
/// first moves, each with the UID of the budget or workload.
fn one_after_the_other(moves: Vec<Move>) -> Vec<(String, Vec<Move>)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(String, Vec<Move>)> = Vec::new();
    for move_ in moves {
        let together = move_.spends.as_ref().map_or(&move_.workload.uid, |spends| &spends.budget).clone();
        let place = *places.entry(together.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(move_),
            None => groups.push((together, vec![move_])),
        }
    }
    groups
}

fn take_note(shared: &Shared, database: &str, move_: &Move, answer: Answer, memory: &mut Memory) {
    let (namespace, pod) = (&move_.namespace, &move_.pod);
    remember(memory, move_, &answer, Instant::now());
    let answer = match answer {
        Answer::Dropped(why) => {
            tracing::info!(database, namespace, pod, why, "not moved after all");
            return;
        }
        Answer::None(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(database, namespace, pod, error, "no answer to an eviction; looking what became of it");
            shared.metrics.moved(database, move_.way, UNANSWERED);
            return;
        }
        Answer::Given(answer) => answer,
    };
    let outcome = answer.name();
    shared.metrics.moved(database, move_.way, outcome);
    match answer {
        Evicted::Accepted => tell_moved(shared, database, move_),
        Evicted::Gone => {
            tracing::info!(database, namespace, pod, "it was gone already, or has changed; looking what became of it");
        }
        Evicted::NoBudget(why) | Evicted::Later(why) | Evicted::Refused(why) => {
            tracing::info!(database, namespace, pod, outcome, why, "not moved now");
        }
    }
}

/// What an answer says of the move. Whoever is gone, or may be because there was no answer, stays on the move: the picture is old, and the
/// next pod would follow it.
fn remember(memory: &mut Memory, move_: &Move, answer: &Answer, now: Instant) {
    match answer {
        Answer::Dropped(_) => memory.forget_move(&move_.uid),
        Answer::None(_) | Answer::Given(Evicted::Gone) => {}
        Answer::Given(Evicted::Accepted) => memory.note_accepted_move(move_),
        Answer::Given(Evicted::NoBudget(why)) => {
            memory.course.refused_by_budgets += 1;
            memory.note_refused_move(move_, true, why.clone(), now);
        }
        Answer::Given(Evicted::Later(why) | Evicted::Refused(why)) => {
            memory.note_refused_move(move_, false, why.clone(), now);
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
            End::NotReplaced => {
                tracing::info!(database, pod, workload, "nothing took the pod's place: its workload was scaled down");
            }
            End::Unjudged => {
                tracing::info!(
                    database,
                    pod,
                    workload,
                    "a move that a newer version began, or for an earlier primary, is over"
                );
            }
        }
        shared.metrics.ended(database, end.name(), took_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        distance::tier::Tier,
        movement::{journal::Spends, workloads::WorkloadKey},
        testing::{World, instant, moment},
    };

    #[test]
    fn no_pod_that_is_gone_is_taken_for_untouched_because_the_picture_is_old() {
        assert!(crate::core::movement::journal::UNTOUCHED > crate::cluster::watch::UNNOTICED);
    }

    fn plan(pod: &str, workload: &str, budget: Option<&str>) -> Move {
        Move {
            way: Way::Evict,
            workload: WorkloadKey { uid: workload.into(), ..WorkloadKey::default() },
            namespace: "shop".into(),
            pod: pod.into(),
            uid: pod.into(),
            from: "b1".into(),
            from_tier: Tier::Far,
            to: "a1".into(),
            from_rtt_us: None,
            to_rtt_us: None,
            pods: 1,
            time: 1,
            spends: budget.map(|budget| Spends { budget: budget.into(), version: "1".into() }),
            unready: false,
            beside: Default::default(),
        }
    }

    #[test]
    fn whoever_is_gone_or_may_be_stays_on_the_move() {
        let why = || "why".to_owned();
        for (answer, under_way, accepted, refused_by_budgets) in [
            (Answer::Dropped(why()), false, false, 0),
            (Answer::None(EffectError::Timeout(Duration::from_secs(5))), true, false, 0),
            (Answer::Given(Evicted::Accepted), true, true, 0),
            (Answer::Given(Evicted::Gone), true, false, 0),
            (Answer::Given(Evicted::NoBudget(why())), false, false, 1),
            (Answer::Given(Evicted::Later(why())), false, false, 0),
            (Answer::Given(Evicted::Refused(why())), false, false, 0),
        ] {
            let (mut memory, world) = (Memory::default(), World::default());
            let move_ = plan("web-1", "web", Some("all"));
            memory.journal.underway.push(move_.begun(world.snapshot(), moment(0)));
            remember(&mut memory, &move_, &answer, instant(0));
            let left: Vec<bool> = memory.journal.underway.iter().map(|it| it.trace.accepted).collect();
            let expected = if under_way { vec![accepted] } else { Vec::new() };
            assert_eq!((left, memory.course.refused_by_budgets), (expected, refused_by_budgets), "{answer:?}");
        }
    }

    #[test]
    fn moves_of_one_budget_or_workload_follow_each_other_and_all_others_go_together() {
        let moves = vec![
            plan("web-1", "web", Some("all")),
            plan("db-1", "db", None),
            plan("api-1", "api", Some("all")),
            plan("db-2", "db", None),
            plan("job-1", "job", Some("job")),
        ];
        let groups = one_after_the_other(moves);
        let groups: Vec<(&str, Vec<_>)> = groups
            .iter()
            .map(|(together, group)| (&**together, group.iter().map(|move_| &*move_.pod).collect()))
            .collect();
        let expected = [("all", vec!["web-1", "api-1"]), ("db", vec!["db-1", "db-2"]), ("job", vec!["job-1"])];
        assert_eq!(groups, expected);
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
