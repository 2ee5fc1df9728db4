//! What holds for every pod: its own rules are only narrowed, twice is once, and the patch applies. The property tests
//! and the fuzz targets break the same laws or none.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::*;
use crate::core::{
    follow::{MoveMode, Weight},
    keys,
    label_key::LabelKey,
    taints::Taint,
};

/// Node labels and other keys that meet in the world's nodes.
pub const KEYS: [&str; 3] = ["switchover", "switchover.dev/orders", "zone"];
/// Values of these keys, and some that no node has.
pub const VALUES: [&str; 6] = ["closely", "intermediate", "far", "a", "b", "3"];

/// Two databases, and nodes of every combination of labels that matters.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Instant,
    pub nodes: Vec<Arc<Node>>,
    /// `default` and `orders`.
    pub databases: [(&'static str, Database); 2],
    /// Follows `default`.
    pub namespace: Namespace,
}

impl World {
    /// Node number n can take a pod if bit n of `usable` is set.
    #[must_use]
    pub fn new(usable: u64, primary: PrimaryBelief) -> Self {
        let now = Instant::now();
        let nodes = nodes(usable);
        let database = |name: &'static str| {
            let node_label = LabelKey::of_database(name).expect("a key");
            let database = Database {
                nodes: TierSummary::new(&nodes, &node_label).into(),
                defaults: DatabaseDefaults {
                    node_label,
                    mode: AffinityMode::Preferred,
                    weight: Weight::default(),
                    move_mode: MoveMode::Evict,
                },
                primary,
                epoch: 1,
                fresh_until: now + Duration::from_secs(86_400),
            };
            (name, database)
        };
        let databases = [database("default"), database("orders")];
        Self { now, nodes, databases, namespace: Namespace { label: Some("default".into()), ..Namespace::default() } }
    }

    /// What is decided on a pod, as JSON, of the world's namespace.
    #[must_use]
    pub fn decide(&self, pod: &Value) -> Decision {
        let text = pod.to_string();
        let pod = serde_json::from_str(&text).expect("a pod");
        let database = |name: &str| self.databases.iter().find(|(known, _)| *known == name).map(|(_, known)| known);
        decide(&pod, Some(&self.namespace), database, &Schedulers::default(), self.now)
    }

    /// Checks the laws for one pod.
    pub fn holds(&self, pod: &Value) {
        let Verdict::Inject(injection) = self.decide(pod).verdict else { return };
        let patch = serde_json::to_vec(&injection.operations).expect("operations are JSON");
        let patched = self.applies(pod, &patch, &injection.summary);
        let recorded = patched["metadata"]["annotations"][keys::INJECTED].is_string();
        let again = if recorded { SkipReason::AlreadyInjected } else { SkipReason::AlreadyRight };
        assert_eq!(self.decide(&patched).verdict, Verdict::Skip(again), "{patched}");
    }

    /// Checks that a patch applies and only narrows, and gives what it makes of the pod. `summary` is the annotation
    /// that says what was injected.
    #[must_use]
    pub fn applies(&self, pod: &Value, patch: &[u8], summary: &str) -> Value {
        assert!(patch.len() <= patch::MOST, "{} bytes", patch.len());
        let patch: json_patch::Patch = serde_json::from_slice(patch).expect("a JSON patch");
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &patch).expect("a patch that applies");

        let (before, after) = (allowed(pod, &self.nodes), allowed(&patched, &self.nodes));
        assert!(after.iter().all(|node| before.contains(node)), "loosened: {patched}");
        if summary.matches(r#""mode":"#).count() == summary.matches(r#""mode":"preferred""#).count() {
            assert_eq!(before, after, "preferences must not exclude nodes: {patched}");
        } else {
            assert!(after.iter().any(|node| node.usable), "no node is left: {patched}");
        }
        patched
    }
}

/// The nodes that the pod's own rules and their taints allow.
#[must_use]
pub fn allowed<'n>(pod: &Value, nodes: &'n [Arc<Node>]) -> Vec<&'n Node> {
    let text = pod.to_string();
    let pod: Pod<'_> = serde_json::from_str(&text).expect("a pod");
    let spec = pod.spec.expect("a spec");
    nodes.iter().map(AsRef::as_ref).filter(|node| Looks::new(&spec, usize::MAX).allow(node) == Ok(true)).collect()
}

fn nodes(usable: u64) -> Vec<Arc<Node>> {
    let mut nodes = Vec::new();
    for default in ["closely", "intermediate", "far", ""] {
        for orders in ["closely", "far", ""] {
            for zone in ["a", "b", "3"] {
                let number = nodes.len();
                let labels = KEYS.into_iter().zip([default, orders, zone]).filter(|(_, value)| !value.is_empty());
                let node = Node::new(&format!("n{number}"), usable >> number & 1 == 1, labels);
                let taint = Taint { key: "dedicated".into(), value: "db".into(), effect: "NoSchedule".into() };
                nodes.push(Arc::new(node.tainted((zone == "3").then_some(taint))));
            }
        }
    }
    nodes
}
