//! Owners of pods that nobody watches are asked for, one by one: those of pods that follow a database.
//!
//! Their kinds may be anybody's, and a watch of each would need rights to read all of it. What the `scale` subresource tells of any
//! kind is enough, and that is what the disruption controller of Kubernetes itself asks for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use kube::{Client, discovery::ApiResource, runtime::watcher::Event};

use super::{Index, Tables, convert};
use crate::{
    cluster::{EffectError, owners},
    core::workload::{Unwatched, Workload, unwatched},
};

/// Owners that are asked for at the same time.
const CONCURRENT: usize = 4;
/// An owner that has no pod that follows is asked for on for so long: its only pod may be on the move.
const GOES_ON: Duration = Duration::from_secs(600);
/// What a kind is called in paths is asked anew after this long, because it may have been defined meanwhile.
const KINDS_LAST: Duration = Duration::from_secs(60);
/// Owners of one namespace that are asked for: whoever writes pods names their owners, as many as they like.
const MOST_OF_A_NAMESPACE: usize = 1000;

/// Asks, and remembers what it need not ask again.
pub struct Asking {
    client: Client,
    /// By UID: whom to ask for, and when it last had a pod that follows.
    wanted: BTreeMap<String, (Unwatched, Instant)>,
    /// Kinds that were looked up, by group with version and kind.
    kinds: HashMap<(String, String), (Option<ApiResource>, Instant)>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Asking {
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), wanted: BTreeMap::new(), kinds: HashMap::new() }
    }

    /// Asks for each of them once, and puts the answers into the tables. Whoever gives none isn't known any more. How many were asked for.
    pub async fn round(&mut self, index: &Index, now: Instant) -> usize {
        self.want(&index.picture(), now);
        let found = self.ask(now).await;
        index.put_owners(found);
        self.wanted.len()
    }

    /// The same for tables that nobody else writes.
    pub(super) async fn look_once(&mut self, tables: &mut Tables) {
        let now = Instant::now();
        self.want(tables, now);
        let found = self.ask(now).await;
        tables.put_owners(found);
    }

    /// Nothing is known of any of them; asks for none.
    pub fn forget(&mut self, index: &Index) -> usize {
        self.wanted.clear();
        index.put_owners(Vec::new());
        0
    }

    fn want(&mut self, tables: &Tables, now: Instant) {
        for owner in tables.unwatched() {
            self.wanted.insert(owner.place().1.uid.clone(), (owner, now));
        }
        let mut of_namespaces: HashMap<String, usize> = HashMap::new();
        self.wanted.retain(|_, (owner, wanted)| {
            let of_namespace = of_namespaces.entry(owner.place().0.clone()).or_default();
            *of_namespace += 1;
            *of_namespace <= MOST_OF_A_NAMESPACE && now.saturating_duration_since(*wanted) < GOES_ON
        });
    }

    async fn ask(&mut self, now: Instant) -> Vec<Workload> {
        self.look_up_kinds(now).await;
        let (client, kinds) = (&self.client, &self.kinds);
        let asked = self.wanted.values().filter_map(|(owner, _)| {
            let (_, it) = owner.place();
            let kind = kinds.get(&(it.api.clone(), it.kind.clone()))?.0.as_ref()?;
            Some(ask(client, owner, kind))
        });
        let answers: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(CONCURRENT).collect().await;
        answers.into_iter().flatten().collect()
    }

    /// Finds out what the kinds are called in paths.
    async fn look_up_kinds(&mut self, now: Instant) {
        let kinds: BTreeSet<(String, String)> = self
            .wanted
            .values()
            .map(|(owner, _)| owner.place().1)
            .map(|owner| (owner.api.clone(), owner.kind.clone()))
            .collect();
        self.kinds.retain(|kind, (_, at)| kinds.contains(kind) && now.saturating_duration_since(*at) < KINDS_LAST);
        for (api, kind) in kinds {
            if self.kinds.contains_key(&(api.clone(), kind.clone())) {
                continue;
            }
            match owners::resource(&self.client, &api, &kind).await {
                Ok(found) => {
                    self.kinds.insert((api, kind), (found, now));
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(api, kind, error, "can't look up a kind that owns pods; will try again");
                }
            }
        }
    }
}

async fn ask(client: &Client, owner: &Unwatched, kind: &ApiResource) -> Option<Workload> {
    let answer: Result<_, EffectError> = match owner {
        Unwatched::Scale { namespace, owner } => owners::scale(client, kind, namespace, &owner.name)
            .await
            .map(|scale| scale.and_then(|scale| convert::scale(owner, scale))),
        Unwatched::Rollout { namespace, owner } => owners::object(client, kind, namespace, &owner.name)
            .await
            .map(|object| object.and_then(|object| convert::rollout(owner, object))),
    };
    answer.unwrap_or_else(|error| {
        let (namespace, owner) = owner.place();
        let error = &error as &dyn std::error::Error;
        tracing::debug!(namespace, kind = owner.kind, name = owner.name, error, "can't ask an owner of pods");
        None
    })
}

impl Tables {
    /// The owners of pods that follow a database, as far as nobody watches them.
    #[must_use]
    pub fn unwatched(&self) -> BTreeSet<Unwatched> {
        let snapshot = self.snapshot();
        let followers = self.databases.values().map(|database| self.followers(&database.name));
        let mut owners = BTreeSet::new();
        for followers in followers {
            owners.extend(followers.iter().filter_map(|following| unwatched(snapshot, &following.pod)));
        }
        owners
    }

    /// What was found of all owners that were asked for; true if that is news.
    pub(super) fn put_owners(&mut self, found: Vec<Workload>) -> bool {
        let (table, mut news) = (super::ASKED, false);
        let found: BTreeMap<String, Workload> = found.into_iter().map(|it| (it.uid.clone(), it)).collect();
        let gone: Vec<String> =
            self.workloads[table].iter().map(|(uid, _)| uid.clone()).filter(|uid| !found.contains_key(uid)).collect();
        for uid in gone {
            news |= self.see_workload(table, Event::Apply(None), |none| (uid.clone(), none));
        }
        for (uid, workload) in found {
            news |= self.see_workload(table, Event::Apply(workload), |it| (uid.clone(), Some(it)));
        }
        news
    }
}

#[cfg(test)]
mod tests;
