//! How fast a company moves: plan → evict → placed → Ready, again and again, in a cluster in memory, on simulated time.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::core::{
    movement::{journal::Look, ledger::Ledger, window::FIRST},
    workload::Resources,
};

/// Between two steps, in milliseconds: what a burst of changes is gathered for.
const STEP: u64 = 50;
/// From an eviction until the replacement has its node.
const PLACED: u64 = 300;
/// From a change of pods until the status of their disruption budget shows it.
const COUNTED: u64 = 150;

/// Workloads of so many replicas each, Ready so many milliseconds after they have a node, with a budget that lets so many be away.
#[derive(Debug, Clone, Copy)]
struct Company {
    workloads: usize,
    replicas: u32,
    ready: u64,
    away: Option<u32>,
}

impl Company {
    /// As long as it takes whoever evicts all that budgets allow, and the next as soon as these are Ready and counted.
    fn bound(self) -> u64 {
        u64::from(self.replicas.div_ceil(self.away.unwrap_or(1))) * (PLACED + self.ready + COUNTED)
    }
}

#[derive(Debug)]
enum Event {
    Place { pod: Box<Pod>, node: String },
    Ready { uid: String },
    Count { workload: usize },
}

#[derive(Debug)]
struct Cluster {
    company: Company,
    world: World,
    now: u64,
    /// By when they happen.
    events: BTreeMap<u64, VecDeque<Event>>,
    born: usize,
    fewest: u32,
    evicted: usize,
    refused: usize,
    most_at_once: usize,
}

fn set(workload: usize) -> String {
    format!("ReplicaSet/w{workload:02}")
}

impl Cluster {
    fn of(company: Company) -> Self {
        let pods = u64::try_from(company.workloads).unwrap() * u64::from(company.replicas);
        let nodes = (pods * 3 / 2).div_ceil(110).max(2);
        let names =
            |zone: &str, tier: &str| (0..nodes).map(|n| format!("{zone}{n}={tier}")).collect::<Vec<_>>().join(" ");
        let mut world = World::with_nodes(&format!("{} {}", names("a", "closely"), names("b", "far")));
        for node in world.nodes.values_mut().map(Arc::make_mut) {
            (node.pods, node.allocatable) = (110, Resources { cpu_m: 100_000, ..node.allocatable.clone() });
        }
        for workload in 0..company.workloads {
            world = world.workload(&set(workload), company.replicas);
            for replica in 0..company.replicas {
                let node = format!("b{}", (workload as u64 + u64::from(replica)) % nodes);
                let mut pod = pod(&format!("w{workload:02}-{replica:02}")).on(&node).owned_by(&set(workload));
                pod.labels.insert("app".into(), format!("w{workload:02}"));
                world = world.pod(pod);
            }
            if let Some(away) = company.away {
                world = world.budget(&format!("pdb{workload:02}"), &format!("w{workload:02}"), away);
            }
        }
        let fewest = company.replicas;
        let (events, counts) = (BTreeMap::new(), 0);
        Self { company, world, now: 0, events, born: counts, fewest, evicted: 0, refused: 0, most_at_once: 0 }
    }

    fn moment(&self) -> Moment {
        let passed = Duration::from_millis(self.now);
        Moment { instant: instant(100) + passed, wall: at(100).checked_add(passed).unwrap() }
    }

    fn later(&mut self, milliseconds: u64, event: Event) {
        self.events.entry(self.now + milliseconds).or_default().push_back(event);
    }

    /// What is due happens; whether anything did.
    fn pass(&mut self) -> bool {
        self.now += STEP;
        let later = self.events.split_off(&(self.now + 1));
        let due = std::mem::replace(&mut self.events, later);
        let any = !due.is_empty();
        for event in due.into_values().flatten() {
            self.happen(event);
        }
        any
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Place { pod, node } => {
                let ready = self.company.ready;
                self.born += 1;
                let name = format!("{}-new-{:04}", &pod.name[..3], self.born);
                let mut new =
                    Pod { name: name.clone(), uid: format!("uid-{name}"), node: Some(node), ready: false, ..*pod };
                // The API server knows seconds.
                new.created = Timestamp::from_second(self.moment().wall.as_second()).unwrap();
                new.preferred_keys.push(LABEL.into());
                self.later(ready, Event::Ready { uid: new.uid.clone() });
                self.world = std::mem::take(&mut self.world).pod(new);
            }
            Event::Ready { uid } => {
                let pod = Arc::make_mut(self.world.pods.get_mut(&uid).unwrap());
                pod.ready = true;
                let workload = pod.name[1..3].parse().unwrap();
                self.later(COUNTED, Event::Count { workload });
            }
            Event::Count { workload } => {
                let (healthy, away) = (self.serving(workload), self.company.away);
                if let (Some(budget), Some(away)) = (self.world.budgets.get_mut(&format!("pdb{workload:02}")), away) {
                    let budget = Arc::make_mut(budget);
                    budget.desired_healthy = self.company.replicas - away;
                    budget.healthy = healthy;
                    budget.allowed = healthy.saturating_sub(budget.desired_healthy);
                    budget.disrupted.clear();
                    budget.version = format!("{}+", self.now);
                }
            }
        }
    }

    fn serving(&self, workload: usize) -> u32 {
        let its = self.world.pods.values().filter(|pod| pod.owner.as_ref().is_some_and(|it| it.uid == set(workload)));
        u32::try_from(its.filter(|pod| pod.ready).count()).unwrap()
    }

    /// What the API server does. The pod is gone at once, and its controller replaces it.
    fn evict(&mut self, move_: &Move) -> bool {
        self.evicted += 1;
        let workload: usize = move_.pod[1..3].parse().unwrap();
        if let Some(budget) = self.world.budgets.get_mut(&format!("pdb{workload:02}")) {
            let budget = Arc::make_mut(budget);
            if budget.allowed == 0 {
                self.refused += 1;
                return false;
            }
            budget.allowed -= 1;
            budget.disrupted.insert(move_.pod.clone());
            budget.version = format!("{}-{}", self.now, self.evicted);
        }
        let pod = Arc::unwrap_or_clone(self.world.pods.remove(&move_.uid).unwrap());
        self.later(PLACED, Event::Place { pod: Box::new(pod), node: move_.to.clone() });
        self.later(COUNTED, Event::Count { workload });
        self.fewest = self.fewest.min(self.serving(workload));
        true
    }

    fn far(&self) -> usize {
        self.world.pods.values().filter(|pod| pod.node.as_deref().is_none_or(|node| node.starts_with('b'))).count()
    }
}

/// Moves everybody, as the controller does with its defaults; how many milliseconds that takes.
fn move_all(cluster: &mut Cluster) -> u64 {
    let (mut journal, mut ledger) = (Journal::default(), Ledger::default());
    let rules = Rules { max_concurrent: 200, halt_after_failures: 3, ..RULES };
    let pods = cluster.world.pods.len();
    while cluster.far() > 0 || cluster.world.pods.values().filter(|pod| pod.ready).count() < pods {
        if !cluster.pass() && cluster.now > STEP {
            continue;
        }
        let now = cluster.moment();
        let others = ledger.look("default", now.instant);
        let settled = journal.settle(&Look {
            snapshot: cluster.world.snapshot(),
            tiers: &cluster.world.tiers,
            node_label: LABEL,
            restart_series: "default/2",
            timeout: rules.replacement_timeout,
            now,
        });
        assert_eq!(settled.evidence.failed, 0);
        let case = Case { rules, journal, others, ..cluster.world.clone().into() };
        let breaker = Breaker::default();
        let planned = plan(&Input {
            snapshot: case.world.snapshot(),
            workloads: None,
            tiers: &case.world.tiers,
            node_label: LABEL,
            followers: &case.followers(),
            rules,
            gate: None,
            control: Control::default(),
            breaker: &breaker,
            journal: &case.journal,
            others: &case.others,
            window: case.others.window_after(settled.evidence, rules.max_concurrent),
            backoff: &BTreeMap::new(),
            restart_series: "default/2",
            missed: &MissedRestarts::default(),
            now,
        });
        let snapshot = case.world.snapshot();
        let begun: Vec<Underway> = planned.moves.iter().map(|move_| move_.begun(snapshot, now)).collect();
        journal = case.journal.clone();
        journal.underway.extend(begun);
        let refused = ledger.enter("default", &case.others, &journal.underway, settled.evidence, rules.max_concurrent);
        assert_eq!(refused, Vec::<String>::new());
        for move_ in &planned.moves {
            if !cluster.evict(move_) {
                journal.underway.retain(|it| it.uid != move_.uid);
            }
        }
        ledger.correct("default", &journal.underway);
        cluster.most_at_once = cluster.most_at_once.max(journal.underway.len());
        assert!(cluster.now < 1_000_000, "{} are far", cluster.far());
    }
    cluster.now
}

#[test]
fn six_hundred_pods_are_near_in_little_more_than_the_time_that_budgets_ask_for() {
    let usual = Company { workloads: 40, replicas: 15, ready: 8_000, away: Some(4) };
    let rows = [
        ("a budget of 25 %", usual, 1.05),
        ("Ready in 30 s", Company { ready: 30_000, ..usual }, 1.02),
        ("Ready in 2 s", Company { ready: 2_000, ..usual }, 1.1),
        ("budgets of one", Company { workloads: 20, replicas: 6, away: Some(1), ..usual }, 1.05),
        ("no budgets", Company { workloads: 20, replicas: 6, away: None, ..usual }, 1.0),
    ];
    check_rows(rows, |(what, company, most)| {
        let mut cluster = Cluster::of(company);
        let took = move_all(&mut cluster);
        let times = took as f64 / company.bound() as f64;
        println!(
            "{what}: {took} ms of {} ms, {times:.3}, {} at once, {} asked",
            company.bound(),
            cluster.most_at_once,
            cluster.evicted
        );
        assert!(times <= most, "{what}: {took} ms, {times:.3} times the bound of {} ms", company.bound());
        let least = company.replicas - company.away.unwrap_or(1);
        assert_eq!((cluster.fewest, cluster.refused), (least, 0), "{what}: fewest serving, and refused");
        let distinct: BTreeSet<&str> = cluster.world.pods.keys().map(String::as_str).collect();
        assert_eq!(distinct.len(), company.workloads * company.replicas as usize, "{what}");
        assert!(cluster.most_at_once > FIRST as usize, "{what}");
    });
}
