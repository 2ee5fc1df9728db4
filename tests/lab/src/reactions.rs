//! How soon switchover knows a new primary, measured against Patroni's own word, and how soon the labels follow.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    Lab, Options,
    control::PatroniAction,
    demo::Scene,
    install::Product,
    measured::{load_average, machine, median, write_report, write_section},
    patroni::MemberState,
    wait,
};

/// How it is measured.
#[derive(Debug, Clone)]
pub struct ReactionOptions {
    pub lab: Options,
    pub product: Product,
    /// Number of switchovers, and of kills.
    pub rounds: usize,
}

/// A crashed primary is replaced after about 20 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks at what Patroni says.
const LOOK: Duration = Duration::from_millis(20);
/// From Patroni's word to switchover's, median and greatest, and from there to the last label; in seconds.
const GOALS: [f64; 3] = [0.3, 1.0, 1.0];

/// One change of primary.
#[derive(Debug, Clone)]
struct Reaction {
    event: &'static str,
    from: String,
    to: String,
    /// From the event to Patroni's 200 of a running primary on the new member.
    patroni_s: f64,
    /// From there to the confirmed primary.
    known_s: f64,
    /// From there to the last label.
    labels_s: f64,
}

/// Measures, and ends the lab whatever happens.
///
/// # Errors
/// When the lab doesn't come up, or something doesn't happen that must.
pub fn run(options: &ReactionOptions) -> Result<()> {
    let load_before = load_average();
    let measured = measure(options);
    Lab::down(&options.lab.state)?;
    report(&measured?, &load_before)
}

fn measure(options: &ReactionOptions) -> Result<Vec<Reaction>> {
    let lab = Lab::up(&options.lab, &|step| println!("{step}"))?;
    println!("installing switchover");
    options.product.install(&lab)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let scene = runtime.block_on(Scene::watch(&lab))?;
    scene.wait(PATIENCE, "switchover knows a primary", |seen| seen.database["primary"].is_string())?;
    let observer = Observer::start(lab.clone());
    let mut reactions = Vec::new();
    for round in 0..options.rounds {
        for event in ["switchover", "kill9"] {
            let reaction = react(&lab, &scene, &observer, event)?;
            println!(
                "{:2} {event:<10} {} to {}: Patroni after {:.2} s, known {:.3} s later, labels {:.3} s later",
                round + 1,
                reaction.from,
                reaction.to,
                reaction.patroni_s,
                reaction.known_s,
                reaction.labels_s
            );
            reactions.push(reaction);
        }
    }
    Ok(reactions)
}

fn react(lab: &Lab, scene: &Scene, observer: &Observer, event: &'static str) -> Result<Reaction> {
    healthy(lab)?;
    let from = lab.members()?.into_iter().find(MemberState::is_primary).context("the database has no primary")?.name;
    scene.wait(PATIENCE, "switchover agrees with Patroni", |seen| {
        seen.database["primary"].as_str() == Some(&from) && seen.labels_right(&from)
    })?;
    let epoch = scene.seen().epoch();
    let began = Timestamp::now();
    observer.expect_another_than(&from);
    match event {
        "switchover" => drop(lab.switchover(None)?),
        _ => drop(lab.patroni(PatroniAction::Kill { member: from.clone() })?),
    }
    scene.wait(PATIENCE, "switchover confirms a new primary", |seen| seen.failover(epoch).is_some())?;
    let to = scene.seen().failover(epoch).and_then(|failover| failover["to"].as_str()).unwrap_or_default().to_owned();
    scene.wait(PATIENCE, "every label follows", |seen| {
        seen.labels_right(&to) && seen.failover(epoch).is_some_and(|failover| failover["labelledAt"].is_string())
    })?;
    let (member, said) = observer.seen()?;
    ensure!(member == to, "Patroni says that {member} is the primary, and switchover says {to}");
    let (confirmed, labelled) = {
        let seen = scene.seen();
        let confirmed = time(seen.failover(epoch), "confirmedAt").context("no time of confirmation")?;
        (confirmed, seen.labels_changed.context("no label ever changed")?)
    };
    if event == "kill9" {
        lab.patroni(PatroniAction::Start { member: from.clone() })?;
    }
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    Ok(Reaction {
        event,
        from,
        to,
        patroni_s: seconds(began, said),
        // Between two looks of the observer switchover may have been first.
        known_s: seconds(said, confirmed).max(0.0),
        labels_s: seconds(confirmed, labelled).max(0.0),
    })
}

/// Waits until a primary runs and every other member streams from it.
fn healthy(lab: &Lab) -> Result<()> {
    wait::retry(PATIENCE, || {
        let members = lab.members()?;
        let well = members.iter().all(|member| member.is_primary() || member.is_streaming());
        ensure!(well && members.iter().any(MemberState::is_primary), "not every member is well: {members:?}");
        Ok(())
    })
}

fn time(failover: Option<&Value>, key: &str) -> Option<Timestamp> {
    failover?[key].as_str()?.parse().ok()
}

/// Asks every member for `/primary`, again and again, and notes when another than the old primary first answers 200 as a
/// running primary.
struct Observer {
    watched: Arc<Mutex<Watched>>,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Watched {
    old: String,
    seen: Option<(String, Timestamp)>,
}

impl Observer {
    fn start(lab: Lab) -> Observer {
        let (watched, end) = (Arc::<Mutex<Watched>>::default(), Arc::<AtomicBool>::default());
        let (shared, ended) = (Arc::clone(&watched), Arc::clone(&end));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // Before the question: the answer was true at some time after this.
                let asked = Timestamp::now();
                let members = lab.members().unwrap_or_default();
                {
                    let mut watched = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let new = members.into_iter().find(|member| member.is_primary() && member.name != watched.old);
                    if let (None, Some(member)) = (&watched.seen, new) {
                        watched.seen = Some((member.name, asked));
                    }
                }
                thread::sleep(LOOK);
            }
        });
        Observer { watched, end, thread: Some(thread) }
    }

    fn expect_another_than(&self, old: &str) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Watched { old: old.to_owned(), seen: None };
    }

    fn seen(&self) -> Result<(String, Timestamp)> {
        match &self.watched.lock().unwrap_or_else(PoisonError::into_inner).seen {
            Some(seen) => Ok(seen.clone()),
            None => bail!("switchover knows a new primary that Patroni never showed"),
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn report(reactions: &[Reaction], load_before: &str) -> Result<()> {
    let of = |read: fn(&Reaction) -> f64| reactions.iter().map(read);
    let most = |read: fn(&Reaction) -> f64| of(read).fold(0.0, f64::max);
    let known: fn(&Reaction) -> f64 = |reaction| reaction.known_s;
    let labels: fn(&Reaction) -> f64 = |reaction| reaction.labels_s;
    let figures = [median(of(known)), most(known), most(labels)];
    let [known_median, known_max, labels_max] = figures;
    let json = json!({
        "reactions.known_s": known_median,
        "reactions.known_max_s": known_max,
        "reactions.labels_max_s": labels_max,
        "reactions": {
            "changes": reactions.iter().map(|reaction| json!({
                "event": reaction.event,
                "from": reaction.from,
                "to": reaction.to,
                "patroni_s": reaction.patroni_s,
                "known_s": reaction.known_s,
                "labels_s": reaction.labels_s,
            })).collect::<Vec<_>>(),
            "machine": machine(),
            "date": Timestamp::now().to_string(),
            "load_average_before": load_before,
        },
    });
    let Value::Object(json) = json else { bail!("the report is an object") };
    write_report(Map::from_iter(json))?;

    let mut table = String::new();
    for Reaction { event, from, to, patroni_s, known_s, labels_s } in reactions {
        let _ = writeln!(table, "| {event} | {from} | {to} | {patroni_s:.2} | {known_s:.3} | {labels_s:.3} |");
    }
    let mut text = include_str!("reactions.md")
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load_before)
        .replace("{changes}", &reactions.len().to_string())
        .replace("{table}\n", &table);
    for (name, (value, goal)) in
        ["known median", "known max", "labels max"].into_iter().zip(figures.into_iter().zip(GOALS))
    {
        let met = if value <= goal { "met" } else { "**missed**" };
        text = text.replace(&format!("{{{name}}}"), &format!("{value:.2} s (goal {goal} s: {met})"));
    }
    write_section("reactions", &text)
}

/// The lab's state directory for this, so that a lab that is up for looking around stays as it is.
pub fn state() -> PathBuf {
    crate::target_directory().join("lab-reactions")
}
