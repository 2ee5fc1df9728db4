//! The cluster in thought: re-labelled, and with moves carried out.

use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

use super::near::Lost;
use crate::{
    api::DatabaseCluster,
    core::{
        distance::tier::{Tier, TierMap},
        hash::HashMap,
        workload::{Phase, Pod, Taint},
    },
    index::{Followers, Following, Tables},
};

/// What may be done to it costs the real one nothing.
#[derive(Debug)]
pub(super) struct Picture {
    pub tables: Tables,
    pub followers: Vec<Following>,
    /// Of the followers, by the UID of their pod; counted when somebody asks.
    places: OnceCell<HashMap<String, usize>>,
}

impl Picture {
    pub(super) fn of(tables: &Tables, followers: &Arc<Followers>) -> Self {
        Self { tables: tables.clone(), followers: followers.iter().cloned().collect(), places: OnceCell::new() }
    }

    /// With nobody who could be put anywhere.
    pub(super) fn without_followers(tables: &Tables) -> Self {
        Self { tables: tables.clone(), followers: Vec::new(), places: OnceCell::new() }
    }

    fn places(&self) -> &HashMap<String, usize> {
        let place = |(at, it): (usize, &Following)| (it.pod.uid.clone(), at);
        self.places.get_or_init(|| self.followers.iter().enumerate().map(place).collect())
    }

    /// The follower with the pod of this UID.
    pub(super) fn follower(&self, uid: &str) -> Option<&Following> {
        self.followers.get(*self.places().get(uid)?)
    }

    /// Every node that takes labels of this database bears the one of its tier, and the taint where that is far.
    pub(super) fn relabel(&mut self, object: &DatabaseCluster, tiers: &TierMap) {
        let key = object.node_label();
        let effect = object.spec.taint.map(|rule| rule.effect().without_eviction().as_str());
        let others = |node: &&Arc<_>| is_ours(node, &key) && tiers.tier(&node.name) != Tier::Unknown;
        let ours: Vec<Arc<_>> = self.tables.nodes.live().values().filter(others).cloned().collect();
        for node in ours {
            let tier = tiers.tier(&node.name);
            let ours = |taint: &Taint| *taint.key == *key && Some(taint.value.as_str()) == Tier::Far.label();
            let tainted = node.taints.iter().any(ours);
            if node.labelled(&key) == tier && tainted == (tier == Tier::Far && effect.is_some()) {
                continue;
            }
            let mut node = (*node).clone();
            node.labels.extend(tier.label().map(|label| (key.to_string(), label.to_owned())));
            node.taints.retain(|taint| !ours(taint));
            if let Some(effect) = effect.filter(|_| tier == Tier::Far) {
                let value = Tier::Far.label().unwrap_or_default().to_owned();
                node.taints.push(Taint { key: key.to_string(), value, effect: effect.to_owned() });
            }
            self.tables.put_node(&node.name.clone(), Some(node));
        }
    }

    /// Budgets that allow somebody to go now allow all of them in turn.
    pub(super) fn let_budgets_go(&mut self) {
        let budgets = self.tables.budgets.live().iter();
        let open: Vec<_> =
            budgets.filter(|(_, budget)| budget.allowed > 0).map(|(uid, it)| (uid.clone(), (**it).clone())).collect();
        for (uid, mut budget) in open {
            budget.allowed = u32::MAX / 2;
            self.tables.put_budget(&uid, Some(budget));
        }
    }

    /// A replacement is Ready in the place of the pod of this UID. Returns that pod.
    pub(super) fn put_replacement(&mut self, uid: &str, node: &str) -> Option<Arc<Pod>> {
        let at = *self.places().get(uid)?;
        let new = Arc::new(self.running(&self.followers[at].replacement, node));
        let following = &mut self.followers[at];
        // What would replace it is what it is.
        following.replacement = Arc::clone(&new);
        let before = std::mem::replace(&mut following.pod, Arc::clone(&new));
        if let Some(places) = self.places.get_mut() {
            places.remove(uid);
            places.insert(new.uid.clone(), at);
        }
        self.tables.put_pod(uid, None);
        self.tables.share_pod(&new);
        Some(before)
    }

    /// It holds what its template asks for, at least: the pod that it replaces may have been resized.
    fn running(&self, replacement: &Pod, node: &str) -> Pod {
        let mut new = running(replacement, node);
        let template = new.owner.as_ref().and_then(|owner| self.tables.all_workloads.get(&owner.uid));
        if let Some(template) = template.filter(|template| template.requests != *new.requests) {
            new.requests.raise_to(&template.requests);
        }
        new
    }

    /// Nodes are gone, and everybody who was there. Returns who is made anew elsewhere.
    pub(super) fn lose(&mut self, lost: &Lost) -> Gone {
        let mut gone = Gone::default();
        if lost.is_nothing() {
            return gone;
        }
        gone.nodes = self.tables.nodes.values().filter(|node| lost.takes(node)).map(|node| node.name.clone()).collect();
        for node in gone.nodes.clone() {
            let there =
                self.tables.pods.groups().by_node.get(&node).map(|there| there.pods.clone()).unwrap_or_default();
            for pod in there {
                self.tables.put_pod(&pod.uid, None);
                let replacement = match self.places().get(&pod.uid) {
                    Some(at) => Arc::clone(&self.followers[*at].replacement),
                    None => Arc::clone(&pod),
                };
                gone.take(pod, replacement);
            }
            self.tables.put_node(&node, None);
        }
        let is_gone = |it: &Following| it.pod.node.as_ref().is_some_and(|node| gone.nodes.contains(node));
        let (away, here): (Vec<_>, Vec<_>) = std::mem::take(&mut self.followers).into_iter().partition(is_gone);
        gone.followers = away;
        self.followers = here;
        self.places = OnceCell::new();
        gone
    }

    /// One that was lost is there again, on a node or waiting for one.
    pub(super) fn put_again(&mut self, replacement: &Pod, node: Option<&str>, following: Option<&Following>) {
        let new = match node {
            Some(node) => self.running(replacement, node),
            None => waiting(replacement),
        };
        let new = Arc::new(new);
        self.tables.share_pod(&new);
        if let Some(following) = following {
            if let Some(places) = self.places.get_mut() {
                places.insert(new.uid.clone(), self.followers.len());
            }
            self.followers.push(Following { pod: Arc::clone(&new), replacement: new, how: Arc::clone(&following.how) });
        }
    }
}

/// What went with the nodes that are lost.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub nodes: BTreeSet<String>,
    /// Pods that are made anew: what they were, and what they will be.
    pub pods: Vec<(Arc<Pod>, Arc<Pod>)>,
    pub followers: Vec<Following>,
}

impl Gone {
    fn take(&mut self, pod: Arc<Pod>, replacement: Arc<Pod>) {
        let owned = pod.owner.as_ref().is_some_and(|owner| owner.kind != "Job");
        if owned && !pod.belongs_to_its_node() && !pod.terminating && pod.phase != Phase::Finished {
            self.pods.push((pod, replacement));
        }
    }
}

fn running(pod: &Pod, node: &str) -> Pod {
    Pod {
        uid: format!("{} in thought", pod.uid),
        node: Some(node.to_owned()),
        phase: Phase::Running,
        ready: true,
        terminating: false,
        unschedulable: false,
        nominated: None,
        injected: true,
        ..pod.clone()
    }
}

fn waiting(pod: &Pod) -> Pod {
    Pod {
        uid: format!("{} in thought", pod.uid),
        node: None,
        phase: Phase::Pending,
        ready: false,
        terminating: false,
        unschedulable: true,
        nominated: None,
        ..pod.clone()
    }
}

fn is_ours(node: &crate::core::workload::Node, key: &str) -> bool {
    node.managed && !node.labelled_by_others(key)
}
