//! Random cases.

use lab::light::DELETE_DELAY;
use serde_json::{Value, json};
use switchover::core::distance::tier::Tier;

/// Nodes of each case.
pub(super) const NODES: usize = 5;
/// The node label that says whose case it is; every pod of a case goes by it.
pub(super) const CASE: &str = "crosscheck.example/case";
/// The node label that says how far it is.
pub(super) const TIER: &str = "crosscheck.example/tier";

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }

    /// In so many of a hundred cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// What a node offers.
    pub(super) fn capacity(&mut self) -> Vec<(String, String)> {
        let amounts = [
            ("cpu", self.pick(&["2", "3", "4"])),
            ("memory", self.pick(&["2Gi", "4Gi"])),
            ("pods", self.pick(&["4", "6", "110"])),
            ("ephemeral-storage", "2Gi"),
            ("example.com/gpu", self.pick(&["0", "1", "2"])),
        ];
        amounts.map(|(name, amount)| (name.to_owned(), amount.to_owned())).to_vec()
    }
}

/// A little cluster, and a pod on a far node of it.
pub(super) struct Case {
    pub number: usize,
    /// Which of the cases that are played at the same time.
    pub slot: usize,
    /// What is merged into its nodes.
    pub nodes: Vec<Value>,
    pub others: Vec<Value>,
    /// The pod, which is on the last node.
    pub old: Value,
    /// Its controller makes the replacement when it is gone, not before.
    pub waits: bool,
}

impl Case {
    pub(super) fn thrown(dice: &mut Dice, number: usize, slot: usize, namespaces: &[String]) -> Self {
        let nodes: Vec<Value> = (0..NODES).map(|node| node_of(dice, number, slot, node)).collect();
        let mut maker = Maker { dice, number, slot, namespaces };
        let old = maker.candidate();
        let others = maker.dice.below(9);
        let others = (0..others).map(|other| maker.other(other)).collect();
        let waits = maker.dice.chance(35);
        Self { number, slot, nodes, others, old, waits }
    }

    pub(super) fn old_name(&self) -> (String, String) {
        name_of(&self.old)
    }

    pub(super) fn new_name(&self) -> String {
        format!("{}-new", self.old_name().1)
    }

    /// Those of the others that are on their way out.
    pub(super) fn leaving(&self) -> Vec<(String, String)> {
        let leaves = |pod: &&Value| pod["metadata"]["labels"]["leaves"] == "yes";
        self.others.iter().filter(leaves).map(name_of).collect()
    }

    pub(super) fn replacement(&self) -> Value {
        let mut pod = self.old.clone();
        pod["metadata"]["name"] = self.new_name().into();
        pod["metadata"]["labels"]["crosscheck"] = "replacement".into();
        pod["spec"].as_object_mut().expect("a spec").remove("nodeName");
        pod
    }

    pub(super) fn tier(&self, node: &str) -> Tier {
        let index: usize = node.rsplit('-').next().and_then(|index| index.parse().ok()).unwrap_or_default();
        Tier::from_label(self.nodes[index]["metadata"]["labels"][TIER].as_str())
    }

    /// As text, to be looked at.
    pub(super) fn told(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("    {node}")).collect();
        let others: Vec<String> = self.others.iter().map(|pod| format!("    {pod}")).collect();
        let waits = if self.waits { "gone before" } else { "there beside" };
        format!(
            "  its pod is {waits} its replacement\n{}\n  pod\n    {}\n  others\n{}",
            nodes.join("\n"),
            self.old,
            others.join("\n")
        )
    }
}

fn name_of(pod: &Value) -> (String, String) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// Keys are each slot's own, so that no case counts in another one.
fn key(slot: usize, name: &str) -> String {
    format!("crosscheck.example/{name}-{slot}")
}

fn node_of(dice: &mut Dice, number: usize, slot: usize, node: usize) -> Value {
    let tier = match node {
        0 => "closely",
        _ if node + 1 == NODES => "far",
        _ => dice.pick(&["closely", "intermediate", "far", "far"]),
    };
    let home = match tier {
        "closely" => "z1",
        "intermediate" => "z2",
        _ => "z3",
    };
    let zone = if dice.chance(15) { dice.pick(&["z1", "z2", "z3"]) } else { home };
    let mut taints = Vec::new();
    if dice.chance(15) {
        taints.push(json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"}));
    }
    if dice.chance(6) {
        taints.push(json!({"key": "gpu", "value": "yes", "effect": "PreferNoSchedule"}));
    }
    let unschedulable = dice.chance(6);
    if unschedulable {
        taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
    }
    let rack = if dice.chance(70) { Value::from(dice.pick(&["r1", "r2"])) } else { Value::Null };
    let size = dice.pick(&["2", "4", "large"]);
    json!({
        "metadata": {"labels": {
            CASE: number.to_string(),
            TIER: tier,
            key(slot, "zone"): zone,
            key(slot, "host"): format!("h{node}"),
            key(slot, "rack"): rack,
            key(slot, "size"): size,
        }},
        "spec": {"taints": taints, "unschedulable": unschedulable},
    })
}

struct Maker<'d> {
    dice: &'d mut Dice,
    number: usize,
    slot: usize,
    namespaces: &'d [String],
}

impl Maker<'_> {
    /// A pod with what every pod has.
    fn pod(&mut self, name: &str, namespace: &str, node: usize) -> Value {
        let app = self.dice.pick(&["web", "web", "api"]);
        let version = self.dice.pick(&["1", "1", "2"]);
        json!({
            "metadata": {
                "name": format!("c{}-{name}", self.number),
                "namespace": namespace,
                "labels": {"crosscheck": "pod", "case": self.number.to_string(), "app": app, "version": version},
                "annotations": {DELETE_DELAY: "1h"},
            },
            "spec": {
                "nodeName": format!("crosscheck-{}-{node}", self.slot),
                "nodeSelector": {CASE: self.number.to_string()},
                "terminationGracePeriodSeconds": 3600,
                "containers": [{"name": "main", "image": "example.org/none:1", "resources": {"requests": self.requests()}}],
            },
        })
    }

    fn other(&mut self, number: usize) -> Value {
        let namespace = if self.dice.chance(70) { 0 } else { 1 + self.dice.below(2) };
        let (namespace, node) = (self.namespaces[namespace].clone(), self.dice.below(NODES));
        let mut pod = self.pod(&number.to_string(), &namespace, node);
        self.add_containers(&mut pod);
        if self.dice.chance(15) {
            let term = self.term();
            pod["spec"]["affinity"]["podAntiAffinity"][REQUIRED] = json!([term]);
        }
        if self.dice.chance(12) {
            self.add_port(&mut pod);
        }
        if self.dice.chance(12) {
            pod["metadata"]["labels"]["leaves"] = "yes".into();
        }
        if self.dice.chance(10) {
            self.add_leaning(&mut pod);
        }
        if self.dice.chance(8) {
            let term = self.term();
            pod["spec"]["affinity"]["podAffinity"][REQUIRED] = json!([term]);
        }
        pod
    }

    /// What a pod prefers of others.
    fn add_leaning(&mut self, pod: &mut Value) {
        let kind = self.dice.pick(&["podAffinity", "podAntiAffinity", "podAntiAffinity"]);
        let leaning = json!({"weight": self.dice.pick(&[1, 50, 100]), "podAffinityTerm": self.term()});
        pod["spec"]["affinity"][kind][PREFERRED] = json!([leaning]);
    }

    fn candidate(&mut self) -> Value {
        let namespace = self.namespaces[0].clone();
        let mut pod = self.pod("web", &namespace, NODES - 1);
        self.add_containers(&mut pod);
        if self.dice.chance(25) {
            pod["spec"]["tolerations"] = json!([self.toleration()]);
        }
        if self.dice.chance(8) {
            let zone = self.dice.pick(&["z1", "z1", "z3"]);
            pod["spec"]["nodeSelector"][key(self.slot, "zone")] = zone.into();
        }
        if self.dice.chance(15) {
            let count = 1 + self.dice.below(2);
            let terms: Vec<Value> = (0..count).map(|_| json!({"matchExpressions": [self.node_expression()]})).collect();
            pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] = terms.into();
        }
        if self.dice.chance(25) {
            let terms: Vec<Value> = (0..=self.dice.below(2)).map(|_| self.term()).collect();
            pod["spec"]["affinity"]["podAntiAffinity"][REQUIRED] = terms.into();
        }
        if self.dice.chance(22) {
            let terms: Vec<Value> = (0..=self.dice.below(2)).map(|_| self.term()).collect();
            pod["spec"]["affinity"]["podAffinity"][REQUIRED] = terms.into();
        }
        if self.dice.chance(35) {
            let keys: &[&str] = if self.dice.chance(30) { &["zone", "host"] } else { &["zone"] };
            let keys = if self.dice.chance(20) { &["rack"] } else { keys };
            pod["spec"]["topologySpreadConstraints"] = keys.iter().map(|name| self.spread(name)).collect();
        }
        if self.dice.chance(15) {
            self.add_port(&mut pod);
        }
        if self.dice.chance(20) {
            self.add_leaning(&mut pod);
        }
        self.inject(&mut pod);
        if self.dice.chance(10) {
            let own = json!({"weight": self.dice.pick(&[5, 50, 100]), "preference": {"matchExpressions": [self.node_expression()]}});
            match pod["spec"]["affinity"]["nodeAffinity"][PREFERRED].as_array_mut() {
                Some(preferred) => preferred.push(own),
                None => pod["spec"]["affinity"]["nodeAffinity"][PREFERRED] = json!([own]),
            }
        }
        pod
    }

    /// What admission injects, in one of its modes.
    fn inject(&mut self, pod: &mut Value) {
        let affinity = &mut pod["spec"]["affinity"]["nodeAffinity"];
        let mode = self.dice.pick(&["required", "required", "avoid-far", "preferred"]);
        let hard = match mode {
            "required" => Some(json!({"key": TIER, "operator": "In", "values": ["closely"]})),
            "avoid-far" => Some(json!({"key": TIER, "operator": "NotIn", "values": ["far"]})),
            _ => None,
        };
        if let Some(expression) = hard {
            match affinity[REQUIRED]["nodeSelectorTerms"].as_array_mut() {
                Some(terms) => {
                    for term in terms {
                        term["matchExpressions"].as_array_mut().expect("expressions").push(expression.clone());
                    }
                }
                None => affinity[REQUIRED]["nodeSelectorTerms"] = json!([{"matchExpressions": [expression]}]),
            }
        }
        if mode != "required" {
            let term = |weight: u32, tier: &str| json!({"weight": weight, "preference": {"matchExpressions": [{"key": TIER, "operator": "In", "values": [tier]}]}});
            affinity[PREFERRED] = json!([term(100, "closely"), term(50, "intermediate")]);
        }
    }

    fn requests(&mut self) -> Value {
        let mut requests = json!({"cpu": self.dice.pick(&["0", "100m", "500m", "1", "1500m"])});
        if self.dice.chance(40) {
            requests["memory"] = self.dice.pick(&["100Mi", "500M", "1Gi"]).into();
        }
        if self.dice.chance(10) {
            requests["ephemeral-storage"] = self.dice.pick(&["500Mi", "1Gi"]).into();
        }
        requests
    }

    fn add_containers(&mut self, pod: &mut Value) {
        if self.dice.chance(8) {
            let gpu = json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}});
            pod["spec"]["containers"]
                .as_array_mut()
                .expect("containers")
                .push(json!({"name": "gpu", "image": "example.org/none:1", "resources": gpu}));
        }
        if self.dice.chance(20) {
            let count = 1 + self.dice.below(3);
            let init = |maker: &mut Self, number: usize| {
                let mut container = json!({
                    "name": format!("init-{number}"),
                    "image": "example.org/none:1",
                    "resources": {"requests": maker.requests()},
                });
                if maker.dice.chance(50) {
                    container["restartPolicy"] = "Always".into();
                }
                container
            };
            pod["spec"]["initContainers"] = (0..count).map(|number| init(self, number)).collect();
        }
        if self.dice.chance(8) {
            // No less than its containers may ask for.
            pod["spec"]["resources"] = json!({"requests": {"cpu": self.dice.pick(&["6", "9"])}});
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m".into();
            pod["spec"]["resources"]["requests"]["cpu"] =
                if pod["spec"]["initContainers"].is_null() { "700m" } else { "6" }.into();
        }
    }

    fn add_port(&mut self, pod: &mut Value) {
        let port = self.dice.pick(&[8080, 8080, 8081]);
        let mut port =
            json!({"containerPort": port, "hostPort": port, "protocol": self.dice.pick(&["TCP", "TCP", "UDP"])});
        if self.dice.chance(30) {
            port["hostIP"] = self.dice.pick(&["10.0.0.1", "10.0.0.2", "0.0.0.0"]).into();
        }
        pod["spec"]["containers"][0]["ports"] = json!([port]);
    }

    fn toleration(&mut self) -> Value {
        self.dice.pick(&[
            json!({"key": "gpu", "operator": "Exists"}),
            json!({"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}),
            json!({"key": "gpu", "operator": "Equal", "value": "no"}),
            json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
            json!({"operator": "Exists"}),
        ])
    }

    fn node_expression(&mut self) -> Value {
        let zone = key(self.slot, "zone");
        let size = key(self.slot, "size");
        self.dice.pick(&[
            json!({"key": zone, "operator": "In", "values": ["z1", "z2"]}),
            json!({"key": zone, "operator": "NotIn", "values": ["z3"]}),
            json!({"key": key(self.slot, "rack"), "operator": "Exists"}),
            json!({"key": key(self.slot, "rack"), "operator": "DoesNotExist"}),
            json!({"key": size, "operator": "Gt", "values": ["3"]}),
            json!({"key": size, "operator": "Lt", "values": ["4"]}),
        ])
    }

    /// What selects pods of this case alone.
    fn selector(&mut self) -> Value {
        let case = self.number.to_string();
        let app = self.dice.pick(&["web", "web", "api"]);
        match self.dice.below(4) {
            0 => {
                json!({"matchLabels": {"case": case}, "matchExpressions": [{"key": "app", "operator": "NotIn", "values": [app]}]})
            }
            1 => {
                json!({"matchLabels": {"case": case}, "matchExpressions": [{"key": "version", "operator": "In", "values": ["1"]}]})
            }
            _ => json!({"matchLabels": {"case": case, "app": app}}),
        }
    }

    fn term(&mut self) -> Value {
        let name = self.dice.pick(&["zone", "zone", "host", "rack", "hostname"]);
        let topology = if name == "hostname" { "kubernetes.io/hostname".to_owned() } else { key(self.slot, name) };
        let mut term = json!({"labelSelector": self.selector(), "topologyKey": topology});
        match self.dice.below(8) {
            0 => term["namespaces"] = json!([self.dice.pick(self.namespaces)]),
            1 => term["namespaceSelector"] = json!({"matchLabels": {"team": self.dice.pick(&["a", "b"])}}),
            2 => term["namespaceSelector"] = json!({}),
            3 => {
                term["namespaceSelector"] =
                    json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]});
            }
            _ => {}
        }
        if self.dice.chance(15) {
            let keys = self.dice.pick(&["matchLabelKeys", "mismatchLabelKeys"]);
            // A key that the selector has, too, is refused.
            term["labelSelector"] = json!({"matchLabels": {"case": self.number.to_string()}});
            term[keys] = json!(["version"]);
        }
        term
    }

    fn spread(&mut self, name: &str) -> Value {
        let mut spread = json!({
            "topologyKey": key(self.slot, name),
            "maxSkew": self.dice.pick(&[1, 1, 2, 3]),
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": self.selector(),
        });
        if self.dice.chance(25) {
            spread["minDomains"] = self.dice.pick(&[2, 3, 4]).into();
        }
        if self.dice.chance(30) {
            spread["nodeAffinityPolicy"] = self.dice.pick(&["Honor", "Ignore"]).into();
        }
        if self.dice.chance(30) {
            spread["nodeTaintsPolicy"] = self.dice.pick(&["Honor", "Ignore"]).into();
        }
        if self.dice.chance(20) {
            spread["labelSelector"] = json!({"matchLabels": {"case": self.number.to_string()}});
            spread["matchLabelKeys"] = json!(["version"]);
        }
        spread
    }
}

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
