//! The pure parts on their own: what admission decides, how its answer is written, who is primary, what to move.

#[path = "admission/reviews.rs"]
mod reviews;

use std::{
    collections::{BTreeMap, HashMap},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use switchover::{
    admission::{self, View},
    core::{
        affinity::{self, Database, Namespace, Node, TierSummary},
        distance::tier::{NodeTier, Tier, TierMap},
        follow::{AffinityMode, DatabaseDefaults, MoveMode, Weight},
        label_key::LabelKey,
        map::{Grouping, Map},
        moment::Moment,
        movement::{
            breaker::Breaker,
            control::Control,
            journal::Journal,
            ledger::Others,
            plan::{Follower, Input, Rules, plan},
            restart::MissedRestarts,
        },
        primary::{Answer, Belief, MemberBody, Observation, PrimaryTracker},
        selector::Labels,
        workload::{self, Owner, Phase, Pod, PodGroups, Resources, SetGroups, Snapshot, Workload},
    },
};

fn database(name: &str, now: Instant) -> Database {
    let node_label = LabelKey::of_database(name).expect("a key");
    let nodes: Vec<_> =
        (0..100).map(|n| Arc::new(Node::new(&format!("n{n}"), true, [(&*node_label, "closely")]))).collect();
    Database {
        defaults: DatabaseDefaults {
            node_label: node_label.clone(),
            mode: AffinityMode::Preferred,
            weight: Weight::default(),
            move_mode: MoveMode::Evict,
        },
        primary: affinity::PrimaryBelief::Known,
        epoch: 1,
        fresh_until: now + Duration::from_secs(3600),
        nodes: TierSummary::new(&nodes, &node_label).into(),
    }
}

/// `one` follows one database, `eight` as many as a pod may.
fn view(now: Instant) -> View {
    let names: Vec<String> = (0..8).map(|n| format!("database-{n}")).collect();
    let one = Namespace { label: Some("database-0".into()), ..Namespace::default() };
    let eight = Namespace { follow: Some(names.join(",").into()), ..one.clone() };
    View {
        namespaces: Arc::new(HashMap::from([("one".into(), one), ("eight".into(), eight)])),
        databases: Arc::new(names.iter().map(|name| (name.as_str().into(), database(name, now))).collect()),
        own_namespace: "switchover-system".into(),
        ..View::default()
    }
}

/// From the bytes of a request to the bytes of its answer, and the decision alone.
fn admission(criterion: &mut Criterion) {
    let now = Instant::now();
    let view = view(now);
    let mut group = criterion.benchmark_group("admission");
    for (name, namespace, bytes) in
        [("10 kB", "one", 10_000), ("100 kB", "one", 100_000), ("10 kB, eight databases", "eight", 10_000)]
    {
        let review = reviews::review(namespace, 0, bytes);
        group.throughput(Throughput::Bytes(review.len() as u64));
        group.bench_with_input(BenchmarkId::new("review", name), review.as_bytes(), |bencher, review| {
            bencher.iter(|| admission::review(black_box(review), &view, now));
        });
    }
    group.finish();

    let pod: affinity::Pod<'_> = serde_json::from_str(r#"{"metadata":{"annotations":{}},"spec":{}}"#).unwrap();
    for namespace in ["one", "eight"] {
        criterion.bench_with_input(BenchmarkId::new("decide", namespace), &pod, |bencher, pod| {
            bencher.iter(|| view.decide(namespace, black_box(pod), now));
        });
        let affinity::Verdict::Inject(injection) = view.decide(namespace, &pod, now).verdict else {
            panic!("nothing is injected")
        };
        criterion.bench_with_input(
            BenchmarkId::new("patch", namespace),
            &injection.operations,
            |bencher, operations| {
                bencher.iter(|| serde_json::to_vec(black_box(operations)));
            },
        );
    }
}

/// One look at five members of which one is primary.
fn primary(criterion: &mut Criterion) {
    let now = Instant::now();
    let member = |n: usize| {
        let (status, role) = if n == 0 { (200, "primary") } else { (503, "replica") };
        let body = MemberBody {
            name: Some(format!("pg{n}")),
            state: "running".to_owned(),
            role: role.to_owned(),
            timeline: Some(3),
            system_identifier: Some("7".to_owned()),
            ..MemberBody::default()
        };
        (format!("pg{n}"), Observation { answer: Answer::Http { status, body }, at: now })
    };
    let look: BTreeMap<_, _> = (0..5).map(member).collect();
    let mut tracker = PrimaryTracker::new(Belief::default(), Duration::from_secs(5));
    criterion.bench_function("primary/five members", |bencher| bencher.iter(|| tracker.observe(black_box(&look), now)));
}

/// A thousand pods of a hundred workloads on a hundred nodes, a third of them far.
fn planning(criterion: &mut Criterion) {
    let at = Timestamp::from_second(1_000_000).unwrap();
    let tiers = [Tier::Closely, Tier::Intermediate, Tier::Far];
    let node = |n: usize| workload::Node {
        name: format!("n{n}"),
        uid: format!("uid-n{n}"),
        labels: tiers[n % 3].label().map(|label| ("switchover".to_owned(), label.to_owned())).into_iter().collect(),
        managed: true,
        ready: true,
        pods: 110,
        allocatable: Resources { cpu_m: 16_000, memory_bytes: 64 << 30, ..Resources::default() },
        ..workload::Node::default()
    };
    let nodes: Map<_, _> = (0..100).map(|n| (format!("n{n}"), Arc::new(node(n)))).collect();
    let tier = |n: usize| (format!("n{n}"), NodeTier::labelled(tiers[n % 3], Some([300, 8_000, 20_000][n % 3])));
    let tiers = TierMap { nodes: (0..100).map(tier).collect(), ..TierMap::default() };
    let workload = |n: usize| Workload {
        kind: "ReplicaSet".to_owned(),
        namespace: "shop".to_owned(),
        name: format!("web-{n}"),
        uid: format!("set-{n}"),
        desired: 10,
        ..Workload::default()
    };
    let workloads: Map<_, _> = (0..100).map(|n| (format!("set-{n}"), Arc::new(workload(n)))).collect();
    let pod = |n: usize| Pod {
        namespace: "shop".to_owned(),
        name: format!("web-{n}"),
        uid: format!("uid-{n}"),
        labels: Labels::from([("app".to_owned(), format!("web-{}", n / 10))]).into(),
        node: Some(format!("n{}", n % 100)),
        phase: Phase::Running,
        ready: true,
        created: at,
        owner: Some(
            Owner {
                kind: "ReplicaSet".to_owned(),
                name: format!("web-{}", n / 10),
                uid: format!("set-{}", n / 10),
                ..Owner::default()
            }
            .into(),
        ),
        requests: Resources { cpu_m: 250, memory_bytes: 512 << 20, ..Resources::default() }.into(),
        ..Pod::default()
    };
    let pods: Map<_, _> = (0..1000).map(|n| (format!("uid-{n}"), Arc::new(pod(n)))).collect();
    let (budgets, namespaces, quotas) = (Map::default(), Map::default(), Map::default());
    let (mut groups, mut sets) = (PodGroups::default(), SetGroups::default());
    pods.values().for_each(|pod| groups.replace(None, Some(pod)));
    workloads.values().for_each(|workload| sets.replace(None, Some(workload)));
    let followers: Vec<_> = pods.values().map(|pod| Follower::of(pod, MoveMode::Evict, &tiers)).collect();
    let input = Input {
        snapshot: Snapshot {
            nodes: &nodes,
            pods: &pods,
            workloads: &workloads,
            budgets: &budgets,
            namespaces: &namespaces,
            groups: &groups,
            sets: &sets,
            quotas: &quotas,
        },
        workloads: None,
        tiers: &tiers,
        node_label: "switchover",
        followers: &followers,
        rules: Rules {
            settle: Duration::from_secs(30),
            max_concurrent: 10,
            per_workload: None,
            include_intermediate: false,
            replacement_timeout: Duration::from_secs(300),
            halt_after_failures: 2,
            max_useless_moves: 2,
            most_underway: usize::MAX,
            all_together: false,
        },
        gate: None,
        control: Control::default(),
        breaker: &Breaker::default(),
        journal: &Journal::default(),
        others: &Others::default(),
        window: u32::MAX,
        backoff: &BTreeMap::new(),
        restart_series: "default/2",
        missed: &MissedRestarts::default(),
        now: Moment { instant: Instant::now(), wall: at },
    };
    assert_eq!(plan(&input).moves.len(), 10);
    criterion.bench_function("plan/1000 pods", |bencher| bencher.iter(|| plan(black_box(&input))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = admission, primary, planning
}
criterion_main!(benches);
