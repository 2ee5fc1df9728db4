//! Whether a pod's replacement fits a node, with the reason if it doesn't.
//!
//! This foresees what kube-scheduler's filters will say, in a file for each of its plugins. Where it can't foresee (a rule that it
//! doesn't evaluate), it says no: a pod that isn't moved is safe, a pod that is evicted and stays Pending is not. `make crosscheck`
//! asks the real scheduler about thousands of cases.

mod added;
mod counted;
mod draws;
mod interpod;
mod nodes;
mod ports;
mod queue;
mod quotas;
mod ranked;
mod resources;
mod shape;
mod spread;
mod sure;
mod taints;
mod terms;

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap, sync::Arc};

use self::{
    added::Added,
    counted::{Step, Tallies},
    draws::Draws,
    interpod::Neighbours,
    queue::Queue,
    quotas::Quotas,
    resources::{Changed, Used},
    spread::Alike,
};
pub use self::{
    ranked::Ranked,
    shape::Refusals,
    sure::{Crowd, Places},
};
use crate::core::{
    hash::{HashMap, HashSet},
    workload::{Node, Pod, Resources, Snapshot, Workload},
};

/// Why a pod doesn't fit a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misfit {
    NotReady,
    Cordoned,
    Taint(String),
    /// One that only prefers others, which weighs more than what draws the pod there.
    SoftTaint(String),
    NodeSelector,
    NodeAffinity,
    Insufficient(Cow<'static, str>),
    /// Pods that wait for the scheduler and come first may take it.
    Queued(Cow<'static, str>),
    HostPort(i32),
    Spread(String),
    AntiAffinity,
    PodAffinity,
    /// What it or others only prefer draws it elsewhere, about as much as to nodes that are near.
    Drawn,
    /// Its label doesn't say closely, by which the scheduler goes.
    Label,
    /// It is no nearer than the pod is now, or nobody is sure of that.
    Distance(&'static str),
    /// A rule that we don't evaluate.
    Unforeseeable(&'static str),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady => f.write_str("not Ready"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::Taint(key) => write!(f, "taint {key} not tolerated"),
            Self::SoftTaint(key) => write!(f, "taint {key} (PreferNoSchedule) weighs more than preferred affinity"),
            Self::NodeSelector => f.write_str("nodeSelector doesn't match"),
            Self::NodeAffinity => f.write_str("required node affinity doesn't match"),
            Self::Insufficient(resource) => write!(f, "insufficient {resource}"),
            Self::Queued(resource) => write!(f, "pods that wait for a node may take its {resource}"),
            Self::HostPort(port) => write!(f, "host port {port} taken"),
            Self::Spread(key) => write!(f, "topology spread over {key} would be violated"),
            Self::AntiAffinity => f.write_str("pod anti-affinity"),
            Self::PodAffinity => f.write_str("pod affinity"),
            Self::Drawn => f.write_str("preferred affinity to other pods or nodes draws it elsewhere"),
            Self::Label => f.write_str("its label doesn't say closely"),
            Self::Distance(why) => f.write_str(why),
            Self::Unforeseeable(rule) => write!(f, "{rule}, which can't be foreseen"),
        }
    }
}

/// A pod on a node, or in thought.
#[derive(Debug, Clone, Copy)]
struct Resident<'a> {
    node: &'a str,
    pod: &'a Pod,
    /// It is on its way out, or was moved away in thought: it still refuses others, and draws nobody.
    leaving: bool,
}

/// Who is where, with planned moves carried out in thought. What there is, is kept with the pods for everybody
/// ([`PodGroups`](crate::core::workload::PodGroups)); a room has what was changed in thought alone.
#[derive(Debug)]
pub struct Room<'a> {
    snapshot: Snapshot<'a>,
    added: Added<'a>,
    /// UIDs of those that were moved away in thought.
    moved: HashSet<&'a str>,
    /// By node.
    changed: HashMap<&'a str, Changed<'a>>,
    queue: Queue<'a>,
    quotas: Quotas<'a>,
    /// How often it was added to, and taken back from.
    changes: (usize, usize),
    /// Nodes of which another number of pods is there in thought than before, as often as that was so.
    recounted: Vec<&'a str>,
    tallies: Tallies<'a>,
}

/// A pod that looks for a node, and what of it is the same for every node.
struct Candidate<'r, 'a> {
    room: &'r Room<'a>,
    pod: &'r Pod,
    asks: Cow<'r, Resources>,
    unforeseen: Option<&'static str>,
    /// Filled in when that is first needed.
    others: OnceCell<Others<'r>>,
}

impl<'r, 'a> Candidate<'r, 'a> {
    fn of(room: &'r Room<'a>, pod: &'r Pod) -> Self {
        let unforeseen = || room.template(pod).and_then(|template| template.unforeseen);
        Self {
            room,
            pod,
            asks: room.asks(pod),
            unforeseen: pod.unforeseen.or_else(unforeseen),
            others: OnceCell::new(),
        }
    }

    fn fits(&self, node: &Node, used: Used<'_>) -> Result<(), Misfit> {
        let Self { room, pod, asks, .. } = self;
        if let Some(rule) = self.unforeseen {
            return Err(Misfit::Unforeseeable(rule));
        }
        if !node.ready {
            return Err(Misfit::NotReady);
        }
        taints::allow(pod, node)?;
        nodes::allow(pod, node)?;
        resources::allow(asks, used, node)?;
        ports::allow(pod, used)?;
        let others = self.others.get_or_init(|| Others { draws: room.draws(pod), ..room.others(pod) });
        pod.spread.iter().zip(&others.alike).try_for_each(|(spread, alike)| alike.allow(pod, spread, node))?;
        others.neighbours.allow(pod, node)?;
        others.draws.as_ref().map_or(Ok(()), |draws| draws.allow(node))?;
        room.queue.allow(pod, asks, used, node, |other| room.lets(other, used, node))
    }
}

/// Why none of some nodes takes a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nowhere {
    /// How many nodes refuse for which reason, in words.
    pub why: String,
    /// No node came so far as to ask for rules about other pods: none takes a pod with other ones either.
    whatever_its_rules: bool,
}

/// Thousands of nodes give few reasons, which are worded once.
fn worded(misfits: BTreeMap<Misfit, usize>) -> String {
    let mut worded: BTreeMap<String, usize> = BTreeMap::new();
    for (misfit, nodes) in misfits {
        *worded.entry(misfit.to_string()).or_default() += nodes;
    }
    let parts: Vec<_> = worded.iter().map(|(misfit, nodes)| format!("{nodes}: {misfit}")).collect();
    parts.join("; ")
}

/// How a pod's rules about other pods stand. It is the same for every node, so that the pods of thousands of nodes are looked at once
/// per pod, and not once per pod and node.
struct Others<'r> {
    neighbours: Neighbours<'r>,
    /// For each of its spreads.
    alike: Vec<Alike<'r>>,
    /// Where it could as well go elsewhere.
    draws: Option<Draws<'r>>,
}

impl<'a> Room<'a> {
    #[must_use]
    pub fn of(snapshot: Snapshot<'a>) -> Self {
        let mut room = Self {
            snapshot,
            added: Added::default(),
            moved: HashSet::default(),
            changed: HashMap::default(),
            queue: Queue::of(&snapshot.groups.waiting),
            quotas: Quotas::of(snapshot),
            changes: (0, 0),
            recounted: Vec::new(),
            tallies: Tallies::of(snapshot),
        };
        // Room is made for them where they are nominated, and the scheduler lets nobody who comes later have that.
        for pod in snapshot.groups.waiting.values().flat_map(|pods| pods.iter()) {
            if let Some(node) = pod.nominated.as_deref() {
                room.occupy(Resident { node, pod, leaving: pod.terminating }, &pod.requests);
            }
        }
        room
    }

    fn occupy(&mut self, resident: Resident<'a>, requests: &Resources) {
        self.added.add(resident);
        self.tallies.go_along(resident, Step::Comes);
        self.change(resident.node).add(resident.pod, requests);
    }

    /// What is used of a node, to be changed.
    fn change(&mut self, node: &'a str) -> &mut Changed<'a> {
        let occupants = self.snapshot.groups.by_node.get(node);
        self.recounted.push(node);
        self.changed.entry(node).or_insert_with(|| Changed::of(occupants))
    }

    fn used(&self, node: &str) -> Used<'_> {
        self.changed(node).map_or_else(|| Used::by(self.snapshot.groups.by_node.get(node)), Changed::used)
    }

    fn changed(&self, node: &str) -> Option<&Changed<'a>> {
        if self.changed.is_empty() { None } else { self.changed.get(node) }
    }

    /// Carries a move out in thought. The place that the pod leaves is not given back as room: it is far anyway.
    pub fn place(&mut self, pod: &'a Pod, node: &'a str) {
        let mut left = Vec::new();
        if let Some(there) = self.there(pod).and_then(|there| self.resident(there)) {
            self.moved.insert(&there.pod.uid);
            left.push(there);
        }
        for resident in self.added.places_of(pod) {
            left.push(*resident);
            resident.leaving = true;
        }
        for resident in left {
            if !resident.leaving {
                self.tallies.go_along(resident, Step::Leaves);
            }
            let changed = self.change(resident.node);
            changed.pods = changed.pods.saturating_sub(1);
        }
        self.add(pod, node);
    }

    /// The pod as it is, where it takes room.
    fn there(&self, pod: &Pod) -> Option<&'a Arc<Pod>> {
        self.snapshot.pods.get(&pod.uid).filter(|pod| pod.occupies())
    }

    /// The pod wherever it is.
    fn itself(&self, pod: &Pod) -> Vec<Resident<'a>> {
        let mut places: Vec<_> = self.there(pod).and_then(|there| self.resident(there)).into_iter().collect();
        if self.added.is_there(pod) {
            places.extend(self.added.of_namespace(&pod.namespace).filter(|it| it.pod.uid == pod.uid));
        }
        places
    }

    /// Puts one more pod like this one onto a node in thought: the pod itself stays where it is meanwhile. If the pod's workload has
    /// such a pod already, and it waits for the scheduler, it is that one.
    pub fn add(&mut self, pod: &'a Pod, node: &'a str) {
        let requests = self.asks(pod);
        self.changes.0 += 1;
        self.queue.reserve(pod);
        self.quotas.take(pod, &requests);
        self.occupy(Resident { node, pod, leaving: false }, &requests);
    }

    /// Takes back what was added last to a node.
    pub fn take_back(&mut self, pod: &'a Pod, node: &'a str) {
        let requests = self.asks(pod);
        self.changes.1 += 1;
        self.queue.take_back(pod);
        self.quotas.take_back(pod, &requests);
        if let Some(resident) = self.added.take(pod, node) {
            self.tallies.go_along(resident, Step::Goes);
        }
        self.change(node).take(pod, &requests);
    }

    /// Takes back the last move that was carried out in thought: the room is what it was before.
    pub fn put_back(&mut self, pod: &'a Pod, node: &'a str) {
        let (added, taken_back) = self.changes;
        self.take_back(pod, node);
        let mut returned = Vec::new();
        if self.moved.remove(&*pod.uid) {
            returned.extend(self.there(pod).and_then(|there| self.resident(there)));
        }
        for resident in self.added.places_of(pod).filter(|it| it.leaving) {
            resident.leaving = resident.pod.terminating;
            returned.push(*resident);
        }
        for resident in returned {
            if !resident.leaving {
                self.tallies.go_along(resident, Step::Stays);
            }
            self.change(resident.node).pods += 1;
        }
        self.changes = (added - 1, taken_back);
    }

    /// What a replacement of the pod asks for: what its template says, at least. (The pod itself may have been resized, and what admission
    /// added to it, it adds again.)
    fn asks<'p>(&self, pod: &'p Pod) -> Cow<'p, Resources> {
        match self.template(pod) {
            Some(workload) if workload.requests != *pod.requests => {
                let mut most = (*pod.requests).clone();
                most.raise_to(&workload.requests);
                Cow::Owned(most)
            }
            _ => Cow::Borrowed(&pod.requests),
        }
    }

    /// What the pod was made of.
    fn template(&self, pod: &Pod) -> Option<&'a Workload> {
        self.snapshot.workloads.get(&pod.owner.as_ref()?.uid).map(AsRef::as_ref)
    }

    /// How often it was added to, and taken back from.
    const fn changes(&self) -> (usize, usize) {
        self.changes
    }

    /// Whether more pods can only be less room for one that has no rules about others, and that nobody has rules about: none waits for
    /// the scheduler whom a planned one could be.
    fn only_fills(&self) -> bool {
        self.queue.is_empty()
    }

    /// Of which nodes the number of pods has changed, the latest last.
    fn recounted(&self) -> &[&'a str] {
        &self.recounted
    }

    /// Whether the pod's namespace may have so many pods more like it while the pod itself is still there.
    ///
    /// # Errors
    /// The quota that has too little left, and of what.
    pub fn within_quota(&self, pod: &Pod, more: u32) -> Result<(), String> {
        self.quotas.allow(pod, &self.asks(pod), more)
    }

    /// The node with room for most pods of those that take a replacement of `pod` and that `allowed` has nothing against.
    ///
    /// # Errors
    /// How many refuse for which reason.
    pub fn emptiest(
        &self,
        pod: &Pod,
        nodes: &Ranked<'a>,
        allowed: impl Fn(&Node) -> Result<(), Misfit>,
    ) -> Result<&'a Node, Nowhere> {
        let mut misfits: BTreeMap<Misfit, usize> = BTreeMap::new();
        let candidate = Candidate::of(self, pod);
        let takes = |node: &'a Node, used: Used<'_>| match allowed(node).and_then(|()| candidate.fits(node, used)) {
            Ok(()) => Some(node),
            Err(misfit) => {
                *misfits.entry(misfit).or_default() += 1;
                None
            }
        };
        let found = nodes.first(self, takes);
        found.ok_or_else(|| Nowhere { why: worded(misfits), whatever_its_rules: candidate.others.get().is_none() })
    }

    /// Whether a replacement of `pod` would be scheduled to `node`.
    ///
    /// # Errors
    /// The first filter that refuses.
    pub fn fits(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        Candidate::of(self, pod).fits(node, self.used(&node.name))
    }

    /// Whether what other pods are there lets a pod go to the node, that has resources for it and that it may choose.
    fn lets(&self, pod: &Pod, used: Used<'_>, node: &Node) -> bool {
        let others = self.others(pod);
        let mut spread = pod.spread.iter().zip(&others.alike);
        ports::allow(pod, used).is_ok()
            && spread.all(|(spread, alike)| alike.allow(pod, spread, node).is_ok())
            && others.neighbours.allow(pod, node).is_ok()
    }

    fn others<'r>(&'r self, pod: &'r Pod) -> Others<'r> {
        Others { neighbours: self.neighbours(pod), alike: self.alike(pod), draws: None }
    }

    /// Where others are when a replacement of `pod` is scheduled. The pod itself is on its way out by then, or gone if its controller
    /// waits for that.
    fn beside<'r>(
        &self,
        pod: &'r Pod,
        residents: impl IntoIterator<Item = Resident<'a>>,
    ) -> impl Iterator<Item = Resident<'a>> {
        residents.into_iter().filter_map(move |resident| {
            let itself = resident.pod.uid == pod.uid;
            let there = !itself || pod.is_replaced_before_it_is_gone();
            there.then_some(Resident { leaving: resident.leaving || itself, ..resident })
        })
    }

    /// Those of one namespace.
    fn residents_of<'r>(&'r self, namespace: &str) -> impl Iterator<Item = Resident<'a>> + use<'r, 'a> {
        let there = self.snapshot.groups.by_namespace.get(namespace).into_iter().flat_map(|pods| pods.iter());
        there.filter_map(|pod| self.resident(pod)).chain(self.added.of_namespace(namespace))
    }

    /// All of them.
    fn residents<'r>(&'r self) -> impl Iterator<Item = Resident<'a>> + use<'r, 'a> {
        self.snapshot.pods.values().filter_map(|pod| self.resident(pod)).chain(self.added.all())
    }

    fn resident(&self, pod: &'a Arc<Pod>) -> Option<Resident<'a>> {
        let node = pod.node.as_deref().filter(|_| pod.occupies())?;
        Some(Resident { node, pod, leaving: pod.terminating || self.is_moved(pod) })
    }

    fn is_moved(&self, pod: &Pod) -> bool {
        !self.moved.is_empty() && self.moved.contains(&*pod.uid)
    }

    fn domain(&self, node: &str, key: &str) -> Option<&'a str> {
        counted::domain(self.snapshot, node, key)
    }
}

#[cfg(test)]
mod tests;
