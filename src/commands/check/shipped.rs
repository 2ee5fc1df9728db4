//! What this version ships, read from the very manifests that are applied: rights of the roles, policies, the webhook's
//! configuration, and the Kubernetes that they are for.

use serde_json::Value;

/// Rights of the roles, each with its bindings.
const RIGHTS: [&str; 3] = [
    include_str!("../../../deploy/base/controller-rbac.yaml"),
    include_str!("../../../deploy/base/webhook-rbac.yaml"),
    include_str!("../../../deploy/base/agent-rbac.yaml"),
];

const POLICIES: [&str; 9] = [
    include_str!("../../../deploy/base/agent-policy.yaml"),
    include_str!("../../../deploy/base/controller-policy.yaml"),
    include_str!("../../../deploy/base/controller-nodes-policy.yaml"),
    include_str!("../../../deploy/base/controller-evictions-policy.yaml"),
    include_str!("../../../deploy/base/controller-restarts-policy.yaml"),
    include_str!("../../../deploy/base/controller-webhook-policy.yaml"),
    include_str!("../../../deploy/base/database-policy.yaml"),
    include_str!("../../../deploy/base/installation-policy.yaml"),
    include_str!("../../../deploy/base/pods-policy.yaml"),
];

const CONFIGURATION: &str = include_str!("../../../webhook-config/mutatingwebhookconfiguration.yaml");
const CHART: &str = include_str!("../../../deploy/chart/Chart.yaml");

/// The oldest minor version of Kubernetes 1 that is promised, as the chart says it to Helm.
pub(super) fn oldest_minor() -> u32 {
    let line = CHART.lines().find_map(|line| line.strip_prefix("kubeVersion: \">=1."));
    line.and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or_default()
}

/// What the API server has to serve: `GROUP/VERSION RESOURCE`.
pub(super) const SERVED: [&str; 9] = [
    "admissionregistration.k8s.io/v1 mutatingwebhookconfigurations",
    "admissionregistration.k8s.io/v1 validatingadmissionpolicies",
    "apiextensions.k8s.io/v1 customresourcedefinitions",
    "apps/v1 daemonsets",
    "coordination.k8s.io/v1 leases",
    "events.k8s.io/v1 events",
    "flowcontrol.apiserver.k8s.io/v1 flowschemas",
    "policy/v1 poddisruptionbudgets",
    "rbac.authorization.k8s.io/v1 clusterroles",
];

/// Something that an account may do, or may not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub verb: String,
    pub group: String,
    /// With the subresource: `pods/eviction`.
    pub resource: String,
    /// Of this object alone; of any one if there is none.
    pub name: Option<String>,
    /// In switchover's namespace, not in all of them.
    pub own_namespace: bool,
    /// The ClusterRole or Role that gives it.
    pub by: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        self.name.iter().try_for_each(|name| write!(f, " {name}"))
    }
}

impl Right {
    /// In all namespaces.
    pub(super) fn new(verb: &str, group: &str, resource: &str) -> Self {
        let [verb, group, resource] = [verb, group, resource].map(str::to_owned);
        Self { verb, group, resource, name: None, own_namespace: false, by: String::new() }
    }
}

/// The objects of a file with manifests.
pub(super) fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").filter_map(|document| serde_saphyr::from_str::<Value>(document).ok());
    documents.filter(|object| !object.is_null()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// Which Secrets with credentials may be read is for people to say, database by database: the condition CredentialsCurrent tells of it.
const OF_PEOPLE: &str = "switchover-credentials";

/// What the account of this role may do, once for each verb, resource and name.
pub(super) fn rights_of(role: &str) -> Vec<Right> {
    let account = format!("switchover-{role}");
    let all: Vec<Value> = RIGHTS.iter().flat_map(|text| objects(text)).collect();
    let is_bound = |binding: &&Value| {
        let subjects = binding["subjects"].as_array();
        subjects.into_iter().flatten().any(|subject| subject["name"] == *account)
    };
    let mut rights = Vec::new();
    for binding in all.iter().filter(is_bound) {
        let (kind, by) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
        let role = all.iter().find(|it| it["kind"] == *kind && it["metadata"]["name"] == *by);
        let Some(role) = role.filter(|_| by != OF_PEOPLE) else { continue };
        for rule in role["rules"].as_array().into_iter().flatten() {
            let names = texts(&rule["resourceNames"]);
            let names = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        rights.extend(names.iter().map(|name| Right {
                            name: name.map(str::to_owned),
                            own_namespace: kind == "Role",
                            by: text(by).to_owned(),
                            ..Right::new(verb, group, resource)
                        }));
                    }
                }
            }
        }
    }
    rights.sort();
    rights.dedup();
    rights
}

/// What the account of this role must not be able to do, whoever gave it the right.
pub(super) fn too_much_for(role: &str) -> Vec<Right> {
    let rows: &[(&str, &str, &str)] = match role {
        "agent" => &[
            ("patch", "", "nodes"),
            ("update", "", "nodes"),
            ("patch", "", "nodes/status"),
            ("delete", "", "pods"),
            ("create", "", "pods"),
            ("create", "", "pods/eviction"),
            ("get", "", "secrets"),
            ("patch", "switchover.dev", "databaseclusters"),
        ],
        "webhook" => &[
            ("patch", "", "nodes"),
            ("patch", "", "pods"),
            ("delete", "", "pods"),
            ("create", "", "pods"),
            ("get", "", "secrets"),
            ("patch", "switchover.dev", "databaseclusters"),
            ("patch", "switchover.dev", "nodelatencies"),
        ],
        _ => &[
            ("delete", "", "pods"),
            ("create", "", "pods"),
            ("delete", "", "nodes"),
            ("list", "", "secrets"),
            ("get", "", "secrets"),
            ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
            ("delete", "switchover.dev", "databaseclusters"),
            ("patch", "switchover.dev", "nodelatencies"),
        ],
    };
    rows.iter().map(|(verb, group, resource)| Right::new(verb, group, resource)).collect()
}

/// Kinds that the manifests have, and as what they are asked for. Whoever installs creates and changes each.
pub(super) const KINDS: [(&str, &str, &str, bool); 16] = [
    ("Namespace", "", "namespaces", false),
    ("ServiceAccount", "", "serviceaccounts", true),
    ("Service", "", "services", true),
    ("ResourceQuota", "", "resourcequotas", true),
    ("Deployment", "apps", "deployments", true),
    ("DaemonSet", "apps", "daemonsets", true),
    ("PodDisruptionBudget", "policy", "poddisruptionbudgets", true),
    ("Role", "rbac.authorization.k8s.io", "roles", true),
    ("RoleBinding", "rbac.authorization.k8s.io", "rolebindings", true),
    ("ClusterRole", "rbac.authorization.k8s.io", "clusterroles", false),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("CustomResourceDefinition", "apiextensions.k8s.io", "customresourcedefinitions", false),
    ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io", "validatingadmissionpolicies", false),
    ("ValidatingAdmissionPolicyBinding", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", false),
    ("MutatingWebhookConfiguration", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", false),
    ("FlowSchema", "flowcontrol.apiserver.k8s.io", "flowschemas", false),
];

/// What whoever installs has to be able to do; of the two that say `escalate`, either they or every right of the roles.
pub(super) fn rights_to_install() -> Vec<Right> {
    let mut rights: Vec<Right> = KINDS
        .iter()
        .flat_map(|(_, group, resource, own_namespace)| {
            ["create", "patch"].map(|verb| Right { own_namespace: *own_namespace, ..Right::new(verb, group, resource) })
        })
        .collect();
    rights.push(Right::new("escalate", RBAC, "clusterroles"));
    for role in ["controller", "webhook", "agent"] {
        rights.extend(rights_of(role));
    }
    rights
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// The policies, without their bindings.
pub(super) fn policies() -> Vec<Value> {
    let all = POLICIES.iter().flat_map(|text| objects(text));
    all.filter(|object| object["kind"] == "ValidatingAdmissionPolicy").collect()
}

/// What binds them.
pub(super) fn bindings() -> Vec<Value> {
    let all = POLICIES.iter().flat_map(|text| objects(text));
    all.filter(|object| object["kind"] == "ValidatingAdmissionPolicyBinding").collect()
}

/// What the binding of this policy does: `Deny`, `Warn`.
pub(super) fn action(policy: &str) -> String {
    let binding = bindings().into_iter().find(|it| it["spec"]["policyName"] == *policy).unwrap_or_default();
    text(&binding["spec"]["validationActions"][0]).to_owned()
}

/// The MutatingWebhookConfiguration.
pub(super) fn configuration() -> Value {
    objects(CONFIGURATION).into_iter().next().unwrap_or_default()
}

/// Whether an object is the one that is shipped by this name, whatever prefix the installation gave it.
pub(super) fn is_named(name: &str, shipped: &str) -> bool {
    name.strip_suffix(shipped).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-'))
}
