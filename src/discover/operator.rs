//! Reads from Kubernetes what an operator writes: watches of the members' pods and of the object that names the primary.
//!
//! A watch that can't be had, or that fails for longer than [`MAX_AGE`], makes every member silent: then nothing is
//! believed that may be old.

mod convert;
mod layout;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, core::DynamicObject};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use self::{
    convert::{Object, Renewals, Seen},
    layout::{Layout, Objects},
};
use super::{
    Member, PersonsDecision, TICK,
    publish::{Observed, Publisher},
    witness::WitnessReport,
};
use crate::{
    api::discovery::OperatorDiscovery,
    cluster::watch::{self, Health, Table},
    core::{
        announcement::Heard,
        primary::{
            Answer, Observation,
            operator::{self, Lock, MemberPod, Named, PatroniObjects},
        },
    },
};

/// What a watch brought is believed for this long after it began to fail.
pub(super) const MAX_AGE: Duration = Duration::from_secs(10);

/// What the watches brought.
#[derive(Debug, Default)]
struct Tables {
    pods: Table<String, Seen>,
    /// One for each of [`Layout::watched`].
    objects: Vec<Table<String, Object>>,
    /// One for each of [`Layout::scheduled`].
    scheduled: Vec<Table<String, Object>>,
}

impl Tables {
    /// The members' pods in the order of their names, and whom the objects name.
    fn facts(&self, layout: &Layout, renewals: &mut Renewals, now: Instant) -> (Vec<Seen>, Named) {
        let mut pods: Vec<Seen> = self.pods.values().cloned().collect();
        pods.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
        let objects: Vec<&Object> = self.objects.iter().flat_map(Table::values).collect();
        let named = match &layout.objects {
            Objects::CloudNativePg { .. } => {
                Named::CloudNativePg(objects.first().map(|object| object.cluster_status()))
            }
            Objects::Patroni { .. } => {
                // What isn't in Patroni's use has no such annotation.
                pods.retain(|seen| seen.pod.said.is_some());
                // One that was left behind when Patroni went from Endpoints to ConfigMaps is older.
                let lease =
                    objects.iter().filter_map(|object| object.lease()).max_by(|a, b| a.renew_time.cmp(&b.renew_time));
                Named::Patroni(PatroniObjects {
                    lock: lease.map(|lease| Lock {
                        renewed: renewals.of(&lease, now),
                        holder: lease.holder,
                        ttl: lease.ttl,
                    }),
                    pause: objects.iter().any(|object| object.pause()),
                    system_identifier: objects.iter().find_map(|object| object.system_identifier()),
                })
            }
        };
        (pods, named)
    }

    /// The switchover to come.
    fn announced(&self, layout: &Layout) -> Heard {
        match &layout.objects {
            Objects::CloudNativePg { .. } => {
                let cluster = self.objects.iter().flat_map(Table::values).next();
                cluster.map_or(Heard::None, Object::switchover)
            }
            Objects::Patroni { .. } => {
                let mut scheduled = self.scheduled.iter().flat_map(Table::values).filter_map(Object::scheduled);
                scheduled.next().unwrap_or(Heard::None)
            }
        }
    }
}

/// How the watches are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Picture {
    /// Not every one has brought its first list, or failed to.
    Begins,
    Current,
    Fails(String),
}

pub(super) struct Task {
    layout: Layout,
    spec: OperatorDiscovery,
    tables: Arc<Mutex<Tables>>,
    changed: Arc<Notify>,
    pods: Health,
    objects: Vec<Health>,
    /// Whoever may not read what is scheduled finds the primary all the same.
    scheduled: Vec<Health>,
    /// They end with the task.
    watches: JoinSet<()>,
    renewals: Renewals,
    /// When the watches were last current.
    current: Option<Instant>,
    /// The last ones, while the watches begin.
    members: Vec<Member>,
    publisher: Publisher,
}

impl Task {
    /// Goes on from the members that were known.
    pub(super) fn new(
        spec: OperatorDiscovery,
        client: Client,
        members: Vec<Member>,
        publisher: Publisher,
        now: Instant,
    ) -> Self {
        let layout = Layout::of(&spec);
        let (watched, scheduled) = (layout.watched(), layout.scheduled());
        let empty = |watched: &[layout::Watched]| watched.iter().map(|_| Table::default()).collect();
        let health = |watched: &[layout::Watched]| watched.iter().map(|watched| Health::new(watched.kind)).collect();
        let tables = Tables { objects: empty(&watched), scheduled: empty(&scheduled), ..Tables::default() };
        let mut task = Self {
            pods: Health::new("Pod"),
            objects: health(&watched),
            scheduled: health(&scheduled),
            tables: Arc::new(Mutex::new(tables)),
            changed: Arc::new(Notify::new()),
            watches: JoinSet::new(),
            renewals: Renewals::default(),
            current: None,
            layout,
            spec,
            members,
            publisher,
        };
        task.watch(&client, watched, scheduled);
        task.publish(now);
        task
    }

    fn watch(&mut self, client: &Client, watched: Vec<layout::Watched>, scheduled: Vec<layout::Watched>) {
        let namespace = &self.spec.namespace;
        let config = watch::attentive().labels(&self.layout.selector);
        let (tables, changed, layout) = (self.tables.clone(), self.changed.clone(), self.layout.clone());
        let pods = watch::Objects::<Pod>::namespaced(client, namespace);
        self.watches.spawn(watch::run(pods, config, self.pods.clone(), move |event| {
            tables.lock().pods.apply(event, |pod| convert::pod(pod, &layout.role_label, layout.role_value.as_deref()));
            changed.notify_one();
        }));
        for (index, watched) in watched.into_iter().enumerate() {
            let health = self.objects[index].clone();
            self.watch_object(client, &watched, health, move |tables| &mut tables.objects[index]);
        }
        for (index, watched) in scheduled.into_iter().enumerate() {
            let health = self.scheduled[index].clone();
            self.watch_object(client, &watched, health, move |tables| &mut tables.scheduled[index]);
        }
    }

    fn watch_object(
        &mut self,
        client: &Client,
        watched: &layout::Watched,
        health: Health,
        table: impl Fn(&mut Tables) -> &mut Table<String, Object> + Send + 'static,
    ) {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &self.spec.namespace, &watched.resource);
        let config = watch::attentive().fields(&format!("metadata.name={}", watched.name));
        let (tables, changed) = (self.tables.clone(), self.changed.clone());
        self.watches.spawn(watch::follow_dynamic(api, config, health, move |event| {
            table(&mut tables.lock()).apply(event, convert::object);
            changed.notify_one();
        }));
    }

    /// What is announced, once every watch that may tell of it has brought something, or has failed to.
    fn announced(&self, picture: &Picture) -> Heard {
        let begins = |health: &Health| !health.synced() && health.failure().is_none();
        if *picture != Picture::Current || self.scheduled.iter().any(begins) {
            return Heard::Nothing;
        }
        let fails = |health: &Health| !health.current();
        if !self.scheduled.is_empty() && self.scheduled.iter().all(fails) {
            return Heard::Nothing;
        }
        self.tables.lock().announced(&self.layout)
    }

    /// Ends only if a watch does: what the others bring is not all there is.
    pub(super) async fn run(mut self, mut spoken: mpsc::Receiver<PersonsDecision>) {
        loop {
            let changed = self.changed.clone();
            tokio::select! {
                () = changed.notified() => {}
                Some(word) = spoken.recv() => self.publisher.heed(word),
                () = tokio::time::sleep(TICK) => {}
                Some(ended) = self.watches.join_next() => {
                    tracing::error!(database = self.publisher.database, ?ended, "a watch ended that should not have");
                    return;
                }
            }
            self.publish(Instant::now());
        }
    }

    fn publish(&mut self, now: Instant) {
        let picture = picture(&self.pods, &self.objects);
        if picture == Picture::Current {
            self.current = Some(now);
        }
        let (pods, named) = self.tables.lock().facts(&self.layout, &mut self.renewals, now);
        if picture != Picture::Begins {
            self.members = self.members_of(&pods);
        }
        let groups = citus_groups(&pods);
        let pods: Vec<MemberPod> = pods.into_iter().map(|seen| seen.pod).collect();
        let whole = || format!("{}/{}", self.spec.namespace, self.spec.cluster);
        let answers = match (&picture, self.current) {
            // Once for all of them.
            (Picture::Fails(why), current) if current.is_none_or(|at| now.duration_since(at) > MAX_AGE) => {
                BTreeMap::from([(whole(), Answer::Unreachable { error: why.clone() })])
            }
            (Picture::Begins, None) => {
                self.members.iter().map(|member| (member.name.clone(), Answer::Pending)).collect()
            }
            _ if groups.len() > 1 => {
                BTreeMap::from([(whole(), Answer::Unreachable { error: several_groups(&self.spec, &groups) })])
            }
            _ => operator::read(&pods, &named, now),
        };
        let observed = |(name, answer)| (name, Observation { answer, at: now });
        let announced = self.announced(&picture);
        let look = Observed {
            complete: picture != Picture::Begins,
            observations: answers.into_iter().map(observed).collect(),
            hosts: BTreeMap::new(),
            members: self.members.clone(),
            aliases: BTreeMap::new(),
            credentials: None,
            expires: None,
            testimony: WitnessReport::default(),
            refused: Vec::new(),
            announced,
        };
        self.publisher.publish(look, now);
    }

    fn members_of(&self, pods: &[Seen]) -> Vec<Member> {
        let member = |seen: &Seen| {
            let host = seen.ip.clone()?;
            Some(Member { name: seen.pod.name.clone(), host, port: self.spec.port, api_url: None })
        };
        pods.iter().filter_map(member).collect()
    }
}

/// The groups of a Citus database that these pods belong to. Each has a primary of its own.
fn citus_groups(pods: &[Seen]) -> BTreeSet<String> {
    pods.iter().filter_map(|seen| seen.citus_group.clone()).collect()
}

/// Why none of several groups is followed, and what to write.
fn several_groups(spec: &OperatorDiscovery, groups: &BTreeSet<String>) -> String {
    let first = groups.first().map_or("", String::as_str);
    let cluster = &spec.cluster;
    format!(
        "these pods are of {} Citus groups ({}), each with a primary of its own: write one of them, such as labels: \
         {{cluster-name: {cluster}, citus-group: \"{first}\"}} and scope: {cluster}-{first}",
        groups.len(),
        groups.iter().cloned().collect::<Vec<_>>().join(", ")
    )
}

/// One that never worked, such as for want of a right, doesn't matter as long as another one does: Patroni uses either
/// Endpoints or ConfigMaps.
fn picture(pods: &Health, objects: &[Health]) -> Picture {
    let failure = |health: &Health| health.failure().map(|why| format!("the watch of {} fails: {why}", health.kind));
    let begins = |health: &Health| !health.synced() && health.failure().is_none();
    if begins(pods) || objects.iter().any(begins) {
        return Picture::Begins;
    }
    let works = objects.iter().any(Health::current);
    let counts = |health: &&Health| health.synced() || !works;
    let failures = std::iter::once(pods).chain(objects.iter().filter(counts)).find_map(failure);
    failures.map_or(Picture::Current, Picture::Fails)
}
