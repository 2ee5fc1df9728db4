//! Those who use the cluster from outside all the time, and what they saw: one writes through the API server, one asks for pods, one
//! looks who leads, and one asks every Patroni who is primary. Nothing here believes a word of the product's.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::bed::SYSTEM;
use crate::{Lab, patroni::MemberState};

/// A write that isn't back then has failed.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
const WRITE_EVERY: Duration = Duration::from_millis(250);
const ASK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The one who asks every Patroni may be this much later than the product.
const LATER: Duration = Duration::from_secs(2);

/// Running clients. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Clients {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
}

/// Everything they saw, in order.
#[derive(Debug, Default)]
struct Seen {
    writes: Vec<Write>,
    pods: Vec<Asked>,
    /// Who renewed the Lease: the pod, and when, by the Lease's own word.
    led: Vec<(Timestamp, String)>,
    /// Whenever it changed.
    kine: Vec<(Instant, Option<String>)>,
    shop: Vec<(Instant, Option<String>)>,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    began: Instant,
    ended: Instant,
    done: bool,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    took: Duration,
    /// Whether it was taken, and with the product's rule.
    taken: Option<bool>,
}

/// What became of the pods that were asked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pods {
    pub asked: u64,
    pub refused: u64,
    pub without_rule: u64,
    pub slowest: Duration,
}

impl Clients {
    pub(super) fn start(lab: &Lab) -> Result<Clients> {
        let clients = Clients { seen: Arc::default(), over: Arc::default() };
        let (seen, over, truth) = (Arc::clone(&clients.seen), Arc::clone(&clients.over), lab.clone());
        thread::Builder::new().name("truth".into()).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let (Ok(kine), Ok(shop)) = (truth.kine_members(), truth.members()) {
                    let mut seen = lock(&seen);
                    note(&mut seen.kine, primary_of(&kine));
                    note(&mut seen.shop, primary_of(&shop));
                }
                thread::sleep(LOOK_EVERY);
            }
        })?;
        let (seen, over, lab) = (Arc::clone(&clients.seen), Arc::clone(&clients.over), lab.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("clients".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(client) = lab.client().await else { return };
                tokio::select! {
                    () = write(&client, &seen) => {}
                    () = ask_for_pods(&client, &seen) => {}
                    () = look_who_leads(&client, &seen) => {}
                    () = wait_until(&over) => {}
                }
            });
        })?;
        Ok(clients)
    }

    /// The longest time in which no write came back, from `from` on.
    pub(super) fn away(&self, from: Instant) -> Duration {
        longest_away(&lock(&self.seen).writes, from, Instant::now())
    }

    /// Whether a write that began after `from` came back, and none failed since.
    pub(super) fn writes_again(&self, from: Instant) -> bool {
        lock(&self.seen).writes.last().is_some_and(|last| last.done && last.began > from)
    }

    pub(super) fn pods(&self, from: Instant) -> Pods {
        let seen = lock(&self.seen);
        let asked: Vec<&Asked> = seen.pods.iter().filter(|asked| asked.at >= from).collect();
        let count = |what: Option<bool>| asked.iter().filter(|asked| asked.taken == what).count() as u64;
        let taken = asked.iter().filter(|asked| asked.taken.is_some());
        Pods {
            asked: asked.len() as u64,
            refused: count(None),
            without_rule: count(Some(false)),
            slowest: taken.map(|asked| asked.took).max().unwrap_or_default(),
        }
    }

    /// Who has renewed the Lease after this time, the newest first.
    pub(super) fn leaders(&self, after: Timestamp) -> Vec<String> {
        let seen = lock(&self.seen);
        seen.led.iter().rev().take_while(|(renewed, _)| *renewed > after).map(|(_, pod)| pod.clone()).collect()
    }

    /// The primary of the database under Kubernetes.
    pub(super) fn kine_primary(&self) -> Option<String> {
        lock(&self.seen).kine.last()?.1.clone()
    }

    /// The primary of the demo service's database.
    pub(super) fn shop_primary(&self) -> Option<String> {
        lock(&self.seen).shop.last()?.1.clone()
    }

    /// The demo service's primaries that somebody may have heard of at this time: the last one by then, and who was it a moment later.
    /// The second value says whether there was one at all.
    pub(super) fn shop_primaries(&self, at: Instant) -> (Vec<String>, bool) {
        around(&lock(&self.seen).shop, at)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("no holder panics")
}

fn primary_of(members: &[MemberState]) -> Option<String> {
    members.iter().filter(|member| member.is_primary()).max_by_key(|member| member.timeline).map(|it| it.name.clone())
}

fn note(history: &mut Vec<(Instant, Option<String>)>, primary: Option<String>) {
    if history.last().is_none_or(|(_, last)| *last != primary) {
        history.push((Instant::now(), primary));
    }
}

fn around(history: &[(Instant, Option<String>)], at: Instant) -> (Vec<String>, bool) {
    let before = history.iter().rev().find(|(when, primary)| *when <= at && primary.is_some());
    let soon = history.iter().filter(|(when, _)| *when > at && *when <= at + LATER);
    let was = history.iter().rev().find(|(when, _)| *when <= at).is_some_and(|(_, primary)| primary.is_some());
    let primaries: Vec<String> = before.into_iter().chain(soon.clone()).filter_map(|(_, it)| it.clone()).collect();
    (primaries, was || soon.clone().any(|(_, primary)| primary.is_some()))
}

fn longest_away(writes: &[Write], from: Instant, now: Instant) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    for write in writes.iter().filter(|write| write.ended >= from) {
        if write.done {
            longest = longest.max(since.take().map_or(Duration::ZERO, |since| write.ended - since));
        } else {
            since.get_or_insert(write.began.max(from));
        }
    }
    longest.max(since.map_or(Duration::ZERO, |since| now - since))
}

async fn wait_until(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        sleep(LOOK_EVERY).await;
    }
}

/// Writes for ever, one after another.
async fn write(client: &Client, seen: &Mutex<Seen>) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let apply = PatchParams::apply("client").force();
    for number in 0_u64.. {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "client" },
            "data": { "number": number.to_string() },
        });
        let began = Instant::now();
        let answer = timeout(WRITTEN_WITHIN, maps.patch("client", &apply, &Patch::Apply(&map))).await;
        let write = Write { began, ended: Instant::now(), done: matches!(answer, Ok(Ok(_))) };
        lock(seen).writes.push(write);
        sleep(WRITE_EVERY).await;
    }
}

/// Asks for a pod for ever, and lets it not be made: admission is all the same.
async fn ask_for_pods(client: &Client, seen: &Mutex<Seen>) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "orders");
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "asked-for" },
        "spec": { "containers": [{ "name": "pause", "image": "switchover.dev/lab-pause:1" }] },
    }))
    .expect("it is a pod");
    let only_asked = PostParams { dry_run: true, ..PostParams::default() };
    loop {
        let at = Instant::now();
        let answer = timeout(WRITTEN_WITHIN * 2, pods.create(&only_asked, &pod)).await;
        let with_rule = |pod: &Pod| {
            let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
            affinity.is_some_and(|affinity| affinity.node_affinity.is_some())
        };
        let taken = answer.ok().and_then(Result::ok).map(|pod| with_rule(&pod));
        lock(seen).pods.push(Asked { at, took: at.elapsed(), taken });
        sleep(ASK_EVERY).await;
    }
}

/// Looks at the Lease for ever.
async fn look_who_leads(client: &Client, seen: &Mutex<Seen>) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
    loop {
        if let Ok(Ok(lease)) = timeout(WRITTEN_WITHIN, leases.get("switchover-controller")).await
            && let Some((renewed, pod)) = renewed_by(&lease)
        {
            let mut seen = lock(seen);
            if seen.led.last().is_none_or(|(before, _)| *before != renewed) {
                seen.led.push((renewed, pod));
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The Lease names its holder after the pod, with a suffix of the process.
fn renewed_by(lease: &Lease) -> Option<(Timestamp, String)> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref()?;
    let pod = holder.rsplit_once('_').map_or(holder, |(pod, _)| pod);
    Some((spec.renew_time.as_ref()?.0, pod.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn away_is_from_the_first_write_that_failed_until_the_first_that_came_back() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let write = |began, ended, done| Write { began: at(began), ended: at(ended), done };
        let writes = [
            write(0, 10, true),
            write(260, 2260, false),
            write(2500, 4500, false),
            write(4800, 4900, true),
            write(5000, 5100, false),
            write(5400, 5500, true),
        ];
        assert_eq!(longest_away(&writes, start, at(6000)), Duration::from_millis(4900 - 260));
        assert_eq!(longest_away(&writes, at(4950), at(6000)), Duration::from_millis(500));
        assert_eq!(longest_away(&writes[..3], at(1000), at(9000)), Duration::from_secs(8), "it is not back");
        assert_eq!(longest_away(&writes[..1], start, at(9000)), Duration::ZERO);
    }

    #[test]
    fn whoever_was_primary_last_counts_and_who_is_it_a_moment_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let history = [(at(0), Some("pg1".to_owned())), (at(10), None), (at(30), Some("pg2".to_owned()))];
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(around(&history, at(5)), (named(&["pg1"]), true));
        assert_eq!(around(&history, at(15)), (named(&["pg1"]), false));
        assert_eq!(around(&history, at(29)), (named(&["pg1", "pg2"]), true));
        assert_eq!(around(&history, at(40)), (named(&["pg2"]), true));
    }
}
