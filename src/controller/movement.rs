//! Snapshot → plan → effects, for one database.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Shared, metrics::UNANSWERED};
use crate::{
    api::DatabaseCluster,
    certificates::install,
    cluster::{self, Evicted, Notice, reference},
    core::{
        backoff::{self, Pause},
        distance::tier::{NodeTier, TierMap},
        follow::{Follow, MoveMode},
        movement::{
            held::{Gate, HeldReason},
            journal::{Action, End, Journal, Outcome, Underway},
            plan::{Follower, Input, Move, Plan, Rules, plan},
            restart::{MISSED, MissedRestarts},
        },
        workload::{Node, Pod},
    },
    index::Tables,
};

/// A refused eviction is tried again after this long; each further refusal doubles it.
const REFUSED: Pause = Pause { first: Duration::from_secs(2), longest: Duration::from_secs(60) };

/// Pods that the API server refused to evict and workloads whose replacement admission missed, by UID.
pub(super) type Backoffs = backoff::Backoffs<HeldReason>;

/// Takes note of what moves that are over say of the next ones.
fn learn(backoffs: &mut Backoffs, outcomes: &[Outcome], now: Instant) {
    for Outcome { underway, end } in outcomes {
        match end {
            End::Missed { .. } => backoffs.add(&underway.workload.uid, HeldReason::AdmissionMissed, MISSED, now),
            _ => backoffs.end(&underway.workload.uid),
        }
    }
}

/// What a database's movement looks at.
pub(super) struct View<'a> {
    pub object: &'a DatabaseCluster,
    pub tables: &'a Tables,
    pub tiers: &'a TierMap,
    pub gate: Option<&'a Gate>,
    pub restart_series: &'a str,
    pub now: Instant,
    pub wall: Timestamp,
}

pub(super) fn rules(object: &DatabaseCluster) -> Rules {
    let movement = &object.spec.movement;
    Rules {
        settle: movement.settle.0,
        max_concurrent: movement.max_concurrent,
        include_intermediate: movement.include_intermediate,
        replacement_timeout: movement.replacement_timeout.0,
        halt_after_failures: movement.halt_after_failures,
        max_useless_moves: movement.max_useless_moves,
    }
}

/// A pod that follows the database.
pub(super) struct Followed<'a> {
    pod: &'a Pod,
    mode: MoveMode,
    /// The other databases that it follows.
    others: Vec<&'a str>,
}

/// The pods that follow the database, with how each may be moved.
pub(super) fn followed<'a>(view: &View<'a>) -> Vec<Followed<'a>> {
    let name = view.object.metadata.name.as_deref().unwrap_or_default();
    let followed = |pod: &'a Pod| {
        let namespace = view.tables.namespaces.get(&pod.namespace)?;
        namespace.follow.as_ref()?;
        let follow = Follow::resolve(
            namespace.follow.as_deref(),
            &super::opt_in::annotations(&namespace.wishes),
            &super::opt_in::annotations(&pod.wishes),
            |database| view.tables.defaults(database),
        );
        let databases = follow.databases.ok()?;
        let mine = databases.iter().find(|followed| &*followed.name == name)?;
        // Following a namespace that is going away is nothing to move for.
        let mode = if namespace.terminating { MoveMode::Never } else { mine.move_mode };
        let others = databases.iter().filter(|followed| &*followed.name != name);
        let others = others.filter_map(|followed| Some(view.tables.databases.get(&*followed.name)?.name.as_str()));
        Some(Followed { pod, mode, others: others.collect() })
    };
    view.tables.pods.values().filter_map(followed).collect()
}

/// How far the labels of the other databases that they follow say each node is, by database.
pub(super) fn other_tiers<'a>(tables: &'a Tables, followed: &[Followed<'a>]) -> HashMap<&'a str, TierMap> {
    let mut maps = HashMap::new();
    for other in followed.iter().flat_map(|followed| &followed.others) {
        let Some(object) = tables.databases.get(*other).and_then(|database| database.object.as_ref().ok()) else {
            continue;
        };
        maps.entry(*other).or_insert_with(|| {
            let key = object.node_label();
            let tier = |node: &Node| (node.name.clone(), NodeTier::labelled(node.labelled(&key), None));
            TierMap { nodes: tables.nodes.values().map(tier).collect(), ..TierMap::default() }
        });
    }
    maps
}

/// The same pods, as plans are made of them.
pub(super) fn followers<'a>(followed: &[Followed<'a>], others: &'a HashMap<&'a str, TierMap>) -> Vec<Follower<'a>> {
    let follower = |it: &Followed<'a>| Follower {
        pod: it.pod,
        mode: it.mode,
        others: it.others.iter().filter_map(|other| others.get(other)).collect(),
    };
    followed.iter().map(follower).collect()
}

/// The median round-trip time from the followers' nodes to the primary, in microseconds.
pub(super) fn median_rtt_us(followers: &[Follower<'_>], tiers: &TierMap) -> Option<u64> {
    let mut rtts: Vec<u64> = followers
        .iter()
        .filter(|follower| follower.pod.serves())
        .filter_map(|follower| tiers.rtt_us(follower.pod.node.as_deref()?))
        .collect();
    rtts.sort_unstable();
    rtts.get(rtts.len() / 2).copied()
}

/// Ends what is over, then plans the next wave.
pub(super) fn next_wave(
    view: &View<'_>,
    followers: &[Follower<'_>],
    journal: &mut Journal,
    backoffs: &mut Backoffs,
    missed: &mut MissedRestarts,
) -> (Vec<Outcome>, Plan) {
    let snapshot = view.tables.snapshot();
    let node_label = &view.object.node_label();
    let outcomes = journal.settle(snapshot, view.tiers, node_label, view.wall);
    learn(backoffs, &outcomes, view.now);
    missed.look(snapshot, followers, view.restart_series, node_label, view.now);
    let backoff = backoffs.current(view.now);
    let plan = plan(&Input {
        snapshot,
        tiers: view.tiers,
        node_label,
        followers,
        rules: rules(view.object),
        gate: view.gate,
        journal,
        backoff: &backoff,
        restart_series: view.restart_series,
        missed,
        now: view.wall,
        instant: view.now,
    });
    (outcomes, plan)
}

/// The journal's entry of a move that is about to be carried out.
pub(super) fn entry(move_: &Move, started: Timestamp, since: Instant) -> Underway {
    Underway {
        action: move_.action,
        workload: move_.workload.clone(),
        pod: move_.pod.clone(),
        uid: move_.uid.clone(),
        from: move_.from.clone(),
        from_tier: move_.from_tier,
        started,
        since,
        pods: move_.pods,
    }
}

/// Carries out one wave. `still_right` is asked before each move: leadership, epoch, primary and pause, as they are then.
pub(super) async fn carry_out(
    shared: &Shared,
    database: &str,
    moves: Vec<Move>,
    journal: &mut Journal,
    backoffs: &mut Backoffs,
    restart_series: &str,
    still_right: impl Fn() -> bool,
) {
    for move_ in moves {
        if !still_right() {
            tracing::info!(
                database,
                pod = move_.pod,
                "not moved after all: leadership, primary or spec changed meanwhile"
            );
            journal.underway.retain(|underway| underway.uid != move_.uid);
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
                shared.metrics.moved(database, move_.action, UNANSWERED);
                continue;
            }
        };
        let outcome = answer.name();
        let why = match answer {
            Evicted::Accepted => {
                tell_moved(shared, database, &move_);
                None
            }
            Evicted::Gone => Some("it was gone already".to_owned()),
            Evicted::NoBudget(why) | Evicted::Later(why) | Evicted::Refused(why) => Some(why),
        };
        shared.metrics.moved(database, move_.action, outcome);
        if let Some(why) = why {
            let (namespace, pod) = (&move_.namespace, &move_.pod);
            tracing::info!(database, namespace, pod, outcome, why, "not moved now");
            journal.underway.retain(|underway| underway.uid != move_.uid);
            backoffs.add(&move_.uid, HeldReason::Backoff(why), REFUSED, Instant::now());
        }
    }
}

fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "?".into(), |us| format!("{}.{} ms", us / 1000, us % 1000 / 100))
}

/// As events name it.
const fn verb(action: Action) -> &'static str {
    match action {
        Action::Evict => "Evict",
        Action::Restart => "Restart",
    }
}

/// What a replacement says of itself that admission missed.
fn what_to_do(underway: &Underway, database: &str, own_namespace: &str) -> String {
    let then = match underway.action {
        Action::Evict => "moved again by itself, within half an hour",
        Action::Restart => {
            "restarted again by itself, within half an hour, unless that was done spec.movement.maxUselessMoves times"
        }
    };
    format!(
        "it was created without affinity in place of {}, so that nothing drew it nearer to the primary of {database}: \
         see whether the webhook is up (kubectl -n {own_namespace} get pods) and whether the API server calls it \
         (kubectl get mutatingwebhookconfiguration {}); then its workload is {then}",
        underway.pod,
        install::CONFIGURATION
    )
}

fn tell_moved(shared: &Shared, database: &str, move_: &Move) {
    let Move { namespace, pod, from, to, .. } = move_;
    let (rtt, to_rtt) = (milliseconds(move_.from_rtt_us), milliseconds(move_.to_rtt_us));
    let action = match move_.action {
        Action::Evict => "evicted",
        Action::Restart => "restarted the workload of",
    };
    tracing::info!(database, namespace, pod, from, rtt, to, to_rtt, "{action} a pod on a far node");
    shared.notices.send(Notice {
        about: reference("v1", "Pod", Some(namespace), pod, &move_.uid),
        warning: false,
        reason: "FollowingPrimary",
        action: verb(move_.action),
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
            End::Missed { to, pod: replacement, uid } => {
                tracing::warn!(
                    database,
                    pod,
                    workload,
                    from,
                    to,
                    replacement,
                    "the replacement is Ready but not nearer: it was created without affinity; is the webhook up?"
                );
                let note = what_to_do(underway, database, &shared.namespace);
                let namespace = Some(underway.workload.namespace.as_str());
                shared.notices.send(Notice {
                    about: reference("v1", "Pod", namespace, replacement, uid),
                    warning: true,
                    reason: "AdmissionMissed",
                    action: verb(underway.action),
                    note,
                });
            }
            End::NotCarriedOut => {
                tracing::warn!(database, pod, workload, "the move was not carried out");
            }
            End::Gone => {
                tracing::info!(database, pod, workload, "the workload is gone");
            }
        }
        shared.metrics.ended(database, end.name(), took_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{distance::tier::Tier, movement::census::WorkloadKey};

    #[test]
    fn a_pod_that_admission_missed_says_what_to_do() {
        let workload =
            WorkloadKey { kind: "Deployment".into(), namespace: "shop".into(), name: "web".into(), uid: "1".into() };
        let moved = |action| Underway {
            action,
            workload: workload.clone(),
            pod: "web-1".into(),
            uid: "2".into(),
            from: "b1".into(),
            from_tier: Tier::Far,
            started: Timestamp::UNIX_EPOCH,
            since: Instant::now(),
            pods: 1,
        };
        let told = "it was created without affinity in place of web-1, so that nothing drew it nearer to the primary of \
                    orders: see whether the webhook is up (kubectl -n switchover-system get pods) and whether the API \
                    server calls it (kubectl get mutatingwebhookconfiguration switchover); then its workload is ";
        for (action, then) in [
            (Action::Evict, "moved again by itself, within half an hour"),
            (
                Action::Restart,
                "restarted again by itself, within half an hour, unless that was done spec.movement.maxUselessMoves times",
            ),
        ] {
            assert_eq!(what_to_do(&moved(action), "orders", "switchover-system"), format!("{told}{then}"));
        }
    }
}
