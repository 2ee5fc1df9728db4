//! What one evaluation takes in a cluster of 5,000 nodes and 50,000 pods: when nothing is to do, when 10,000 pods are far and nothing
//! fits, and when far nodes are to be emptied; and what the picture of it takes. `make bench-evaluate`

mod cluster;
mod memory;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use jiff::Timestamp;
use lab::measured::{Usage, load_average, machine, median, write_report, write_section};
use serde_json::{Map, json};
use switchover::{
    api::{
        DatabaseCluster, DatabaseClusterStatus,
        database_cluster::{FailoverStatus, MemberStatus},
        read,
    },
    core::{
        moment::Moment,
        movement::ledger::Others,
        primary::{Answer, Belief, MemberBody, Observation, PrimaryTracker, PrimaryView},
        schedulers::Schedulers,
    },
    evaluate::{Decided, Facts, Memory, evaluate},
    foresight::{Lost, Question, Readiness, foresee, ready},
    index::Tables,
};

use self::cluster::{Plan, host};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    #[arg(long, default_value_t = 50_000)]
    pods: usize,
    /// Number of databases of the last case, on a fifth of the nodes with two fifths of the pods
    #[arg(long, default_value_t = 200)]
    databases: usize,
    /// Evaluations of each case, a second apart
    #[arg(long, default_value_t = 15)]
    rounds: u64,
}

/// What one evaluation may take, in milliseconds.
const GOAL_MS: f64 = 100.0;
/// What it may take to find out how ready one member is.
const READINESS_GOAL_MS: f64 = 250.0;
/// Forecasts of each member that are measured.
const FORECASTS: usize = 3;
/// Pods that change between two evaluations.
const CHANGES: usize = 20;

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-evaluate measures");
        return Ok(());
    }
    let load = load_average();
    let calm = Plan {
        nodes: args.nodes,
        pods: args.pods,
        databases: 1,
        far: 0,
        far_are_others: false,
        full: false,
        scarce: false,
    };
    let full = Plan { far: args.pods / 5, full: true, ..calm };
    let empty = Plan { far_are_others: true, ..full };
    let many = Plan { nodes: args.nodes / 5, pods: args.pods * 2 / 5, databases: args.databases, ..calm };
    let mut cases = Vec::new();
    for (key, what, plan) in [
        ("evaluate.ms_50k", "nothing is to do", calm),
        ("evaluate.ms_50k_full", "a fifth of the pods are far and nothing fits", full),
        ("evaluate.ms_50k_empty", "as many of others are on far nodes that are to be emptied, and nothing fits", empty),
    ] {
        let case = measure(key, what, &plan, args.rounds)?;
        println!("{case}");
        cases.push(case);
    }
    for plan in [Plan { far: args.pods / 3, ..calm }, Plan { far: args.pods / 3, scarce: true, ..calm }] {
        for case in foresees(&plan)? {
            println!("{case}");
            cases.push(case);
        }
    }
    let many = measure("evaluate.ms_200_databases", "all databases once, nothing is to do", &many, args.rounds)?;
    println!("{many}");
    report(&args, &cases, &many, &load)
}

/// How long the evaluations of one case took.
struct Case {
    key: &'static str,
    what: &'static str,
    /// Some figures have none.
    goal_ms: Option<f64>,
    took_ms: Vec<f64>,
    /// CPU time of one round, on average: a witness that other work on the machine doesn't influence much.
    cpu_ms: f64,
    /// Of the tables.
    bytes: usize,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, what, cpu_ms, .. } = self;
        let (middle, most, megabytes) = (self.median_ms(), self.most_ms(), self.megabytes());
        write!(f, "{key}: {middle:.1} ms (at most {most:.1}; CPU {cpu_ms:.1}), tables {megabytes:.0} MB: {what}")
    }
}

impl Case {
    fn median_ms(&self) -> f64 {
        median(self.took_ms.iter().copied())
    }

    fn most_ms(&self) -> f64 {
        self.took_ms.iter().copied().fold(0.0, f64::max)
    }

    fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

/// One database as its task knows it.
struct Task {
    object: DatabaseCluster,
    status: DatabaseClusterStatus,
    members: Vec<MemberStatus>,
    view: PrimaryView,
    memory: Memory,
}

impl Task {
    /// pg1 has been the primary for an hour.
    fn new(plan: &Plan, number: usize, now: Moment) -> Result<Task> {
        let an_hour_ago = now.wall - jiff::SignedDuration::from_hours(1);
        let failover = FailoverStatus {
            epoch: 1,
            to: "pg1".into(),
            confirmed_at: Some(an_hour_ago),
            labelled_at: Some(an_hour_ago),
            moved_at: Some(an_hour_ago),
            ..FailoverStatus::default()
        };
        let status = DatabaseClusterStatus {
            primary: Some("pg1".into()),
            primary_host: Some(host(number, 1)),
            epoch: 1,
            since: Some(an_hour_ago),
            failovers: vec![failover],
            ..DatabaseClusterStatus::default()
        };
        let member =
            |it: usize| MemberStatus { name: format!("pg{it}"), host: host(number, it), port: 5432, api_url: None };
        Ok(Task {
            object: read::database(serde_json::from_value(plan.database(number))?)?,
            memory: Memory::restored(&status, now),
            members: (1..=3).map(member).collect(),
            view: view(now.instant),
            status,
        })
    }

    fn evaluate(&mut self, tables: &Tables, now: Moment) -> Decided {
        let facts = Facts {
            object: &self.object,
            tables,
            stale: None,
            own_namespace: "switchover-system",
            view: &self.view,
            members: &self.members,
            status: &self.status,
            others: &Others::default(),
            confirm_every: Duration::from_secs(1),
        };
        evaluate(&facts, &mut self.memory, now)
    }
}

/// pg1 says that it is the primary, and the others that they are not.
fn view(now: Instant) -> PrimaryView {
    let says = |it: usize| {
        let (status, role) = if it == 1 { (200, "primary") } else { (503, "replica") };
        let body = MemberBody {
            name: Some(format!("pg{it}")),
            state: "running".to_owned(),
            role: role.to_owned(),
            timeline: Some(1),
            ..MemberBody::default()
        };
        (format!("pg{it}"), Observation { answer: Answer::Http { status, body }, at: now })
    };
    let answers: BTreeMap<_, _> = (1..=3).map(says).collect();
    let belief = Belief { primary: Some("pg1".into()), timeline: Some(1), epoch: 1, ..Belief::default() };
    PrimaryTracker::new(belief, Duration::from_secs(5)).observe(&answers, now)
}

fn measure(key: &'static str, what: &'static str, plan: &Plan, rounds: u64) -> Result<Case> {
    let began = cluster::now();
    let before = memory::live_bytes();
    let mut tables = plan.tables(began);
    let bytes = memory::live_bytes() - before;
    let mut tasks = (0..plan.databases).map(|it| Task::new(plan, it, began)).collect::<Result<Vec<_>>>()?;
    // What is there at the beginning is news: it isn't measured.
    for task in &mut tasks {
        let first = task.evaluate(&tables, began);
        ensure!(first.labelling.changes.is_empty(), "{key}: a label isn't right: {:?}", first.labelling);
    }
    let (mut took_ms, mut cpu) = (Vec::new(), Duration::ZERO);
    for round in 1..=rounds {
        change(plan, &mut tables, round);
        // As each task does.
        let picture = tables.clone();
        let later = Duration::from_secs(round);
        let now = Moment { instant: began.instant + later, wall: began.wall + jiff::SignedDuration::try_from(later)? };
        let (start, before) = (Instant::now(), Usage::of(std::process::id())?.cpu);
        let decided: Vec<Decided> = tasks.iter_mut().map(|task| task.evaluate(&picture, now)).collect();
        took_ms.push(start.elapsed().as_secs_f64() * 1e3);
        cpu += Usage::of(std::process::id())?.cpu - before;
        for decided in decided {
            check(key, plan, &decided)?;
        }
    }
    let cpu_ms = cpu.as_secs_f64() * 1e3 / rounds as f64;
    Ok(Case { key, what, goal_ms: Some(GOAL_MS), took_ms, cpu_ms, bytes })
}

/// What would come of each other member: two thirds of the pods are near pg1, a third is near pg3, and all of them follow.
fn foresees(plan: &Plan) -> Result<Vec<Case>> {
    let began = cluster::now();
    let before = memory::live_bytes();
    let tables = plan.tables(began);
    let bytes = memory::live_bytes() - before;
    let mut task = Task::new(plan, 0, began)?;
    task.status.members.clone_from(&task.members);
    let question = Question {
        object: &task.object,
        tables: &tables,
        followers: &tables.followers(&cluster::name_of(0)),
        own_namespace: "switchover-system",
        status: &task.status,
        lost: &Lost::default(),
        now: began,
    };
    let measure = |key: &'static str, what, goal_ms, ask: &dyn Fn(&MemberStatus) -> Result<Readiness>| {
        let (mut took_ms, mut cpu, mut others) = (Vec::new(), Duration::ZERO, question.others());
        others.retain(|member| !plan.scarce || member.name == "pg2");
        for member in others.iter().copied().cycle().take(FORECASTS * others.len()) {
            let (start, before) = (Instant::now(), Usage::of(std::process::id())?.cpu);
            let readiness = ask(member)?;
            took_ms.push(start.elapsed().as_secs_f64() * 1e3);
            cpu += Usage::of(std::process::id())?.cpu - before;
            let (moves, lacks) = (readiness.would_move as usize, readiness.would_not_fit > 0);
            ensure!(moves >= plan.pods / 4 && lacks == plan.scarce, "{key}: {readiness:?}");
        }
        let cpu_ms = cpu.as_secs_f64() * 1e3 / took_ms.len() as f64;
        anyhow::Ok(Case { key, what, goal_ms, took_ms, cpu_ms, bytes })
    };
    let foreseen = |member: &MemberStatus| anyhow::Ok(Readiness::of(&member.name, &Ok(foresee(&question, member)?)));
    let readily = |member: &MemberStatus| anyhow::Ok(ready(&question, member));
    if plan.scarce {
        let what = "the same where half of them find no place, which takes a whole forecast";
        return Ok(vec![measure("readiness.ms_50k_scarce", what, None, &readily)?]);
    }
    let what = "how ready one member is to be the primary, whom most of the pods would have to follow";
    let whole = "the whole forecast of it, move by move, as `switchover plan` shows it";
    Ok(vec![
        measure("readiness.ms_50k", what, Some(READINESS_GOAL_MS), &readily)?,
        measure("foresight.ms_50k", whole, None, &foreseen)?,
    ])
}

/// Some pods that are near are written to by somebody.
fn change(plan: &Plan, tables: &mut Tables, round: u64) {
    for number in 0..CHANGES {
        let number = plan.far + (number * 997 + round as usize * 31) % (plan.pods - plan.far);
        let mut pod = plan.pod(number);
        pod["metadata"]["labels"]["app.kubernetes.io/version"] = format!("1.2.{round}").into();
        let pod = serde_json::from_value(pod).expect("a pod");
        tables.see_pod(kube::runtime::watcher::Event::Apply(pod), &Schedulers::default());
    }
}

/// That the case is what it is said to be.
fn check(key: &str, plan: &Plan, decided: &Decided) -> Result<()> {
    ensure!(decided.gate.is_none() && decided.plan.moves.is_empty(), "{key}: {:?}", decided.gate);
    let waits = decided.emptying.as_ref().map(|emptying| emptying.waits.as_ref().map(|waits| waits.name()));
    if plan.far_are_others {
        ensure!(waits == Some(Some("NoRoom")), "{key}: {waits:?}");
        return Ok(());
    }
    ensure!(decided.plan.held.len() == plan.far, "{key}: {} are held", decided.plan.held.len());
    let other = decided.plan.held.iter().find(|held| held.reason.name() != "NoRoom");
    ensure!(other.is_none(), "{key}: {other:?}");
    Ok(())
}

fn report(args: &Args, cases: &[Case], many: &Case, load: &str) -> Result<()> {
    let mut figures = Map::new();
    for case in cases.iter().chain([many]) {
        figures.insert(case.key.to_owned(), json!(case.median_ms()));
        figures.insert(format!("{}_max", case.key), json!(case.most_ms()));
        figures.insert(format!("{}_cpu", case.key), json!(case.cpu_ms));
    }
    figures.insert("evaluate.tables_mb_50k".to_owned(), json!(cases[0].megabytes()));
    figures.insert("evaluate.tables_mb_200_databases".to_owned(), json!(many.megabytes()));
    figures.insert(
        "evaluate".to_owned(),
        json!({
            "nodes": args.nodes, "pods": args.pods, "databases": args.databases, "rounds": args.rounds,
            "machine": machine(), "date": Timestamp::now().to_string(), "load_average_before": load,
        }),
    );
    write_report(figures)?;
    let usual = (args.nodes, args.pods, args.databases) == (5_000, 50_000, 200);
    if !usual || cfg!(debug_assertions) {
        println!("other numbers than usual, or not built for release: docs/performance.md stays as it is");
        return Ok(());
    }
    let row = |case: &Case| {
        let (middle, most) = (case.median_ms(), case.most_ms());
        let Case { what, key, cpu_ms, goal_ms, .. } = case;
        let met = |goal_ms: f64| if middle <= goal_ms { "yes" } else { "**no**" };
        let goal = goal_ms.map_or("|".to_owned(), |goal_ms| format!("{goal_ms:.0} | {}", met(goal_ms)));
        format!("| {what} `{key}` | {middle:.1} | {most:.1} | {cpu_ms:.1} | {goal} |\n")
    };
    let text = include_str!("performance.md")
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load)
        .replace("{many}", &format!("{:.1}", many.median_ms()))
        .replace("{tables}", &format!("{:.0}", cases[0].megabytes()))
        .replace("{tables_many}", &format!("{:.0}", many.megabytes()))
        .replace("{table}\n", &cases.iter().map(row).collect::<String>());
    write_section("evaluate", &text).context("the figures are in target/bench/report.json")
}
