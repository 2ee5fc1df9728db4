//! Builders for tests that read like sentences: `pod("web-1").on("n1").owned_by("ReplicaSet/web")`.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    distance::tier::{NodeTier, Tier, TierMap},
    map::{Grouping, Map},
    moment::Moment,
    movement::{
        journal::{Trace, Underway},
        ways::Way,
        workloads::WorkloadKey,
    },
    quota::Quota,
    selector::{Expression, Labels, NodeTerm, Operator, Selector},
    workload::{
        DisruptionBudget, Leaning, Namespace, Node, Owner, Phase, Pod, PodTerm, PreferredNodes, Resources, Snapshot,
        Spread, Strategy, Taint, Toleration, Workload,
    },
};

/// The key of the nodes' label.
pub(crate) const LABEL: &str = "switchover";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// The same second as [`at`], by the clock that never jumps; from -1000 on.
pub(crate) fn instant(second: i64) -> Instant {
    static ZERO: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(1000));
    let distance = Duration::from_secs(second.unsigned_abs());
    if second < 0 { *ZERO - distance } else { *ZERO + distance }
}

/// The same second by both clocks.
pub(crate) fn moment(second: i64) -> Moment {
    Moment { instant: instant(second), wall: at(second) }
}

pub(crate) fn selector(key: &str, value: &str) -> Selector {
    Selector { expressions: vec![expression(key, Operator::In, &[value])] }
}

fn expression(key: &str, operator: Operator, values: &[&str]) -> Expression {
    Expression { key: key.into(), operator, values: values.iter().map(ToString::to_string).collect() }
}

/// A Ready pod of the application `app=web` that asks for 100m.
pub(crate) fn pod(name: &str) -> Pod {
    Pod {
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        labels: Labels::from([("app".to_owned(), "web".to_owned())]).into(),
        phase: Phase::Running,
        ready: true,
        created: at(0),
        requests: Resources { cpu_m: 100, ..Resources::default() }.into(),
        ..Pod::default()
    }
}

impl Pod {
    pub(crate) fn on(mut self, node: &str) -> Self {
        self.node = Some(node.into());
        self
    }

    /// `"ReplicaSet/web"`: the owner's UID is the same text.
    pub(crate) fn owned_by(mut self, owner: &str) -> Self {
        let (kind, name) = owner.split_once('/').unwrap();
        let api = "apps/v1".to_owned();
        self.owner = Some(Owner { api, kind: kind.into(), name: name.into(), uid: owner.into() }.into());
        self
    }

    pub(crate) fn unready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Its annotation `switchover.dev/move`.
    pub(crate) fn moved_by(mut self, mode: &str) -> Self {
        self.wishes.movement = Some(mode.into());
        self
    }

    pub(crate) fn terminating(mut self) -> Self {
        self.terminating = true;
        self
    }

    pub(crate) fn created(mut self, second: i64) -> Self {
        self.created = at(second);
        self
    }

    pub(crate) fn asking_for_cpu(mut self, cpu_m: u64) -> Self {
        self.requests.cpu_m = cpu_m;
        self
    }

    pub(crate) fn only_on(mut self, key: &str, value: &str) -> Self {
        let term = NodeTerm { expressions: vec![expression(key, Operator::In, &[value])], fields: Vec::new() };
        self.node_terms = Some(vec![term].into());
        self
    }

    pub(crate) fn preferring(mut self, key: &str) -> Self {
        self.preferred_keys.push(key.into());
        self
    }

    pub(crate) fn spread_over(mut self, key: &str) -> Self {
        self.spread.push(Spread {
            key: key.into(),
            max_skew: 1,
            selector: selector("app", "web"),
            min_domains: 1,
            every_node: false,
            heeds_taints: false,
        });
        self
    }

    /// In this namespace.
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    pub(crate) fn labelled(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    pub(crate) fn tolerating(mut self, key: &str) -> Self {
        self.tolerations.push(Toleration { key: Some(key.into()), exists: true, ..Toleration::default() });
        self
    }

    /// It waits for the scheduler.
    pub(crate) fn pending(mut self, priority: i32) -> Self {
        (self.phase, self.ready, self.priority) = (Phase::Pending, false, priority);
        self
    }

    pub(crate) fn not_beside(mut self, key: &str, app: &str) -> Self {
        self.anti_affinity.push(beside(key, "app", app));
        self
    }

    /// It prefers nodes with this label, by so much.
    pub(crate) fn preferring_nodes(mut self, weight: i64, key: &str, value: &str) -> Self {
        let term = NodeTerm { expressions: vec![expression(key, Operator::In, &[value])], fields: Vec::new() };
        self.preferred_nodes.push(PreferredNodes { weight, term });
        self
    }

    /// It prefers to be beside pods of this application or, by a negative weight, apart from them.
    pub(crate) fn leaning(mut self, weight: i64, key: &str, app: &str) -> Self {
        self.leanings.push(Leaning { weight, term: beside(key, "app", app) });
        self
    }

    /// Beside a pod whose label `key_of_pods` has this value.
    pub(crate) fn beside(mut self, key: &str, key_of_pods: &str, value: &str) -> Self {
        self.affinity.push(beside(key, key_of_pods, value));
        self
    }
}

fn beside(key: &str, key_of_pods: &str, value: &str) -> PodTerm {
    PodTerm {
        key: key.into(),
        selector: selector(key_of_pods, value),
        namespaces: Vec::new(),
        namespace_selector: None,
    }
}

/// A Ready node with 1 cpu and room for 10 pods, in the zone that its name begins with: `a1` is in `a`.
/// An eviction from `b1`, which is far, begun at this second: of a workload of the namespace `shop`, `"ReplicaSet/web"`.
pub(crate) fn underway(workload: &str, started: i64) -> Underway {
    let (kind, name) = workload.split_once('/').unwrap();
    Underway {
        way: Ok(Way::Evict),
        workload: WorkloadKey { namespace: "shop".into(), kind: kind.into(), name: name.into(), uid: workload.into() },
        pod: "gone".into(),
        uid: "uid-gone".into(),
        from: "b1".into(),
        from_tier: Tier::Far,
        started: at(started),
        since: instant(started),
        found: instant(started),
        pods: 1,
        trace: Trace::default(),
    }
}

impl Underway {
    /// The same in another namespace.
    pub(crate) fn in_namespace(mut self, namespace: &str) -> Self {
        self.workload.namespace = namespace.into();
        self
    }
}

pub(crate) fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        uid: format!("uid-{name}"),
        labels: [("zone".to_owned(), name[..1].to_owned()), ("host".to_owned(), name.to_owned())].into(),
        managed: true,
        ready: true,
        pods: 10,
        allocatable: Resources { cpu_m: 1000, memory_bytes: 1 << 30, ..Resources::default() },
        ..Node::default()
    }
}

impl Node {
    pub(crate) fn bearing(mut self, label: Option<&str>) -> Self {
        self.labels.remove(LABEL);
        self.labels.extend(label.map(|label| (LABEL.to_owned(), label.to_owned())));
        self
    }

    pub(crate) fn tainted(mut self, key: &str, effect: &str) -> Self {
        self.taints.push(Taint { key: key.into(), value: String::new(), effect: effect.into() });
        self
    }
}

/// A little cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub nodes: Map<String, Arc<Node>>,
    pub pods: Map<String, Arc<Pod>>,
    pub workloads: Map<String, Arc<Workload>>,
    pub budgets: Map<String, Arc<DisruptionBudget>>,
    pub namespaces: Map<String, Arc<Namespace>>,
    pub quotas: Map<String, Arc<Quota>>,
    pub tiers: TierMap,
}

impl World {
    /// `"a1=closely b1=far"`, each with its label.
    pub(crate) fn with_nodes(text: &str) -> Self {
        let mut world = Self::default();
        for word in text.split(' ') {
            let (name, tier) = word.split_once('=').unwrap();
            let tier = Tier::from_label(Some(tier));
            let rtt_us = match tier {
                Tier::Closely => Some(300),
                Tier::Intermediate => Some(8_000),
                Tier::Far => Some(20_000),
                Tier::Unknown => None,
            };
            world.nodes.insert(name.into(), node(name).bearing(tier.label()).into());
            world.tiers.nodes.insert(name.into(), NodeTier::labelled(tier, rtt_us));
        }
        world
    }

    pub(crate) fn pod(mut self, pod: Pod) -> Self {
        self.pods.insert(pod.uid.clone(), pod.into());
        self
    }

    pub(crate) fn node(mut self, node: Node) -> Self {
        self.nodes.insert(node.name.clone(), node.into());
        self
    }

    /// `"ReplicaSet/web"`
    pub(crate) fn workload(mut self, workload: &str, desired: u32) -> Self {
        let (kind, name) = workload.split_once('/').unwrap();
        let workload = Workload {
            kind: kind.into(),
            namespace: "shop".into(),
            name: name.into(),
            uid: workload.into(),
            desired,
            strategy: match kind {
                "Deployment" => Strategy::Rolling { surge: 1, unavailable: 0 },
                "StatefulSet" => Strategy::Ordered { unavailable: 1, partition: 0 },
                _ => Strategy::None,
            },
            ..Workload::default()
        };
        self.workloads.insert(workload.uid.clone(), workload.into());
        self
    }

    /// Changes a workload.
    pub(crate) fn changed(mut self, workload: &str, change: impl FnOnce(&mut Workload)) -> Self {
        change(Arc::make_mut(self.workloads.get_mut(workload).unwrap()));
        self
    }

    /// Puts a ReplicaSet under a Deployment.
    pub(crate) fn under(mut self, set: &str, deployment: &str) -> Self {
        let (api, uid) = ("apps/v1".to_owned(), format!("Deployment/{deployment}"));
        let owner = Owner { api, kind: "Deployment".into(), name: deployment.into(), uid };
        Arc::make_mut(self.workloads.get_mut(set).unwrap()).owner = Some(owner);
        self
    }

    pub(crate) fn budget(mut self, name: &str, app: &str, allowed: u32) -> Self {
        let budget = DisruptionBudget {
            namespace: "shop".into(),
            name: name.into(),
            selector: selector("app", app),
            allowed,
            // It has counted everybody.
            healthy: u32::MAX,
            version: "1".into(),
            ..DisruptionBudget::default()
        };
        self.budgets.insert(name.into(), budget.into());
        self
    }

    /// A namespace with the label `team`.
    pub(crate) fn namespace(mut self, name: &str, team: &str) -> Self {
        let labels = [("team".to_owned(), team.to_owned())].into();
        let namespace = Namespace { name: name.into(), labels, ..Namespace::default() };
        self.namespaces.insert(name.into(), namespace.into());
        self
    }

    /// So much is left of a quota of the namespace `shop`.
    pub(crate) fn quota(mut self, name: &str, left: &[(&str, u64)]) -> Self {
        let left = left.iter().map(|(resource, left)| ((*resource).to_owned(), *left)).collect();
        let quota = Quota { namespace: "shop".into(), name: name.into(), left, ..Quota::default() };
        self.quotas.insert(name.into(), quota.into());
        self
    }

    /// Changes a disruption budget.
    pub(crate) fn budget_changed(mut self, name: &str, change: impl FnOnce(&mut DisruptionBudget)) -> Self {
        change(Arc::make_mut(self.budgets.get_mut(name).unwrap()));
        self
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        // Tests change what is in a world as they like, and end soon: nobody keeps the groups or gives them back.
        Snapshot {
            groups: Box::leak(Box::new(grouped(self.pods.values()))),
            sets: Box::leak(Box::new(grouped(self.workloads.values()))),
            nodes: &self.nodes,
            pods: &self.pods,
            workloads: &self.workloads,
            budgets: &self.budgets,
            namespaces: &self.namespaces,
            quotas: &self.quotas,
        }
    }

    /// Where every pod is now, for messages of failing tests.
    pub(crate) fn places(&self) -> BTreeMap<&str, &str> {
        self.pods.values().map(|pod| (pod.name.as_str(), pod.node.as_deref().unwrap_or("-"))).collect()
    }
}

fn grouped<'v, Value: 'v, Groups: Grouping<Value>>(values: impl Iterator<Item = &'v Arc<Value>>) -> Groups {
    let mut groups = Groups::default();
    values.for_each(|value| groups.replace(None, Some(value)));
    groups
}
