//! What can be wrong with admission, agents and databases.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    super::{
        facts::{Came, Facts, Injecting, Unseen},
        shipped,
    },
    Row,
    healthy::{
        authority, back, condition, database, good_conditions, latency, namespace, node, now, reached, read, trust,
    },
};
use crate::admission::policy;

fn webhook(facts: &mut Facts, change: Value) {
    let mut configuration = shipped::configuration();
    let bundle =
        facts.configurations.as_ref().unwrap()[0].webhooks.as_ref().unwrap()[0].client_config.ca_bundle.clone();
    for (key, value) in change.as_object().unwrap() {
        configuration["webhooks"][0][key] = value.clone();
    }
    facts.configurations = Ok(vec![read(configuration)]);
    facts.configurations.as_mut().unwrap()[0].webhooks.as_mut().unwrap()[0].client_config.ca_bundle = bundle;
}

fn conditions(facts: &mut Facts, more: &[Value]) {
    facts.databases = Ok(vec![database(&[&good_conditions()[..], more].concat())]);
}

/// Installs the admission policy, bound to these databases.
fn inject(facts: &mut Facts, databases: &[&str]) {
    facts.injecting = Ok(Injecting {
        policies: vec![read(policy::policy(&["packer".to_owned()]))],
        bindings: databases.iter().map(|database| read(policy::binding(database))).collect(),
    });
}

pub(super) const ROWS: &[Row] = &[
    (
        "no webhook's configuration",
        |f| f.configurations = Ok(Vec::new()),
        &[
            "× webhook-configuration: no MutatingWebhookConfiguration of switchover is there, so that no pod is injected",
        ],
    ),
    (
        "the admission policy in the webhook's place",
        |f| {
            f.configurations = Ok(Vec::new());
            inject(f, &["default"]);
        },
        &[],
    ),
    (
        "an admission policy that is bound to nobody whom anybody follows",
        |f| {
            f.configurations = Ok(Vec::new());
            inject(f, &["gone"]);
        },
        &[
            "‼ admission-policy: there is no such DatabaseCluster: switchover-gone binds gone",
            "× admission-policy: no binding is for the database of orders follows default",
        ],
    ),
    (
        "another version's admission policy, beside the webhook",
        |f| {
            inject(f, &[]);
            f.injecting.as_mut().unwrap().policies[0].data["spec"]["variables"][0]["expression"] = "'far'".into();
        },
        &[
            "‼ admission-policy: switchover-affinity isn't that of this version",
            "‼ admission-policy: no binding is for the database of orders follows default",
        ],
    ),
    (
        "what an admission policy can't know",
        |f| {
            f.configurations = Ok(Vec::new());
            inject(f, &["default"]);
            let others = namespace("both", json!({"switchover.dev/follow": "default"}));
            let namespaces = f.namespaces.as_mut().unwrap();
            namespaces.extend([others, namespace("some", json!({"switchover.dev/follow": "none"}))]);
            let says = [("switchover.dev/follow".to_owned(), "default,orders".to_owned())];
            namespaces[3].metadata.annotations = Some(says.into());
        },
        &[
            "‼ admission-policy: a policy injects for the database of a namespace's label alone, and pods there follow others by annotations: both; some",
        ],
    ),
    (
        "a webhook that blocks pods",
        |f| webhook(f, json!({"failurePolicy": "Fail"})),
        &[
            "× webhook-configuration: switchover: failurePolicy is \"Fail\": no pod can be created while the webhook is away",
        ],
    ),
    (
        "an objectSelector",
        |f| webhook(f, json!({"objectSelector": {"matchLabels": {"inject": "yes"}}})),
        &[
            "× webhook-configuration: switchover: pods are left out by an objectSelector: {\"matchLabels\":{\"inject\":\"yes\"}}",
        ],
    ),
    (
        "a namespaceSelector of other namespaces",
        |f| webhook(f, json!({"namespaceSelector": {"matchLabels": {"inject": "yes"}}})),
        &["× webhook-configuration: switchover: its namespaceSelector leaves out namespaces that follow: orders"],
    ),
    (
        "a bundle of another authority",
        |f| trust(f, &authority().certificate_pem),
        &[
            "× certificates: the API server doesn't believe what pod w1 serves: its authority isn't in the caBundle, or it is for another name",
        ],
    ),
    (
        "an empty bundle",
        |f| trust(f, ""),
        &[
            "× webhook-configuration: switchover: it has no caBundle, so that the API server believes no replica",
            "× certificates: the API server doesn't believe what pod w1 serves: its authority isn't in the caBundle, or it is for another name",
        ],
    ),
    (
        "a Service of another namespace",
        |f| {
            let service =
                &mut f.configurations.as_mut().unwrap()[0].webhooks.as_mut().unwrap()[0].client_config.service;
            service.as_mut().unwrap().namespace = "elsewhere".into();
        },
        &[
            "× one-installation: switchover calls the webhook of the namespace elsewhere, not that of switchover-system",
            "× certificates: the API server doesn't believe what pod w1 serves: its authority isn't in the caBundle, or it is for another name",
        ],
    ),
    (
        "a certificate that isn't valid yet",
        |f| f.now = now() - SignedDuration::from_hours(48),
        &[
            "× certificate-expiry: what pod w1 serves is valid only in 24h00m",
            "‼ reading-clocks: readings are of the future: n1 (172795 s ahead); n2 (172795 s ahead)",
        ],
    ),
    (
        "a replica that nobody can ask",
        |f| f.certificates[0].chain = Err(Unseen("its certificate can't be seen: forbidden".into())),
        &["? certificates: pod w1: its certificate can't be seen: forbidden"],
    ),
    (
        "kube-system that follows",
        |f| {
            f.namespaces.as_mut().unwrap()[1] = namespace(
                "kube-system",
                json!({"kubernetes.io/metadata.name": "kube-system", "switchover.dev/follow": "default"}),
            );
        },
        &["‼ opt-in: pods of kube-system are left alone always: take the label switchover.dev/follow off"],
    ),
    (
        "a namespace that follows nobody",
        |f| {
            f.namespaces.as_mut().unwrap()[0] = namespace("orders", json!({"switchover.dev/follow": "defualt"}));
        },
        &["× opt-in: there is no such DatabaseCluster: orders follows defualt"],
    ),
    (
        "a firewall between API server and webhook",
        |f| f.tried[0].came = back(false, &[], "default-scheduler"),
        &["× dry-run: orders: a pod comes back without affinity"],
    ),
    (
        "a webhook that changes schedulers",
        |f| f.tried[0].came = back(false, &[], "packer"),
        &[
            "‼ dry-run: orders: something gives pods to the scheduler packer, so that they are left alone unless --schedulers names it",
        ],
    ),
    (
        "a policy against affinity",
        |f| f.tried[0].came = Came::RefusedWithAffinity("no node affinity here".into()),
        &["× dry-run: orders: a pod is refused because of the affinity: no node affinity here"],
    ),
    (
        "a dead agent",
        |f| f.latencies.as_mut().unwrap()[1] = latency("n2", 200, json!({"host": "10.0.1.5", "rttUs": 1})),
        &["× readings: the readings of 1 of 2 nodes are old: n2 (200 s old)"],
    ),
    (
        "a node without an agent",
        |f| {
            f.latencies.as_mut().unwrap().pop();
        },
        &["× readings: 1 of 2 nodes were never measured: n2"],
    ),
    (
        "a node that takes none",
        |f| {
            f.nodes
                .as_mut()
                .unwrap()
                .push(node("w1", json!({"kubernetes.io/os": "windows", "topology.kubernetes.io/zone": "dc1"})))
        },
        &[],
    ),
    (
        "a node whose clock is ahead",
        |f| f.latencies.as_mut().unwrap()[1] = latency("n2", -60, json!({"host": "10.0.1.5", "rttUs": 1})),
        &["‼ reading-clocks: readings are of the future: n2 (60 s ahead)"],
    ),
    (
        "echoes that are blocked",
        |f| {
            f.latencies.as_mut().unwrap()[1] =
                latency("n2", 5, json!({"host": "10.0.1.5", "rttUs": 1, "method": "tcp"}));
        },
        &["‼ echoes: 10.0.1.5 answers no echoes: 1 of 2 nodes measure it by TCP"],
    ),
    (
        "an address that no node reaches",
        |f| {
            f.latencies =
                Ok(["n1", "n2"].map(|node| latency(node, 5, json!({"host": "10.0.1.5", "lossPercent": 100}))).into());
        },
        &["× echoes: no node reaches 10.0.1.5"],
    ),
    (
        "a database that can't be read",
        |f| f.databases.as_mut().unwrap()[0].data["spec"]["nodeLabel"] = "a..b/near".into(),
        &["× databases: default can't be read: "],
    ),
    (
        "a database that nobody looked at",
        |f| f.databases.as_mut().unwrap()[0].data["status"] = json!({}),
        &["× observed: default has no status: no controller has looked at it"],
    ),
    (
        "a spec that nobody looked at",
        |f| f.databases.as_mut().unwrap()[0].metadata.generation = Some(3),
        &["× observed: the status of default is about an older spec (2, now it is 3)"],
    ),
    (
        "a database that is refused",
        |f| f.databases = Ok(vec![database(&[condition("Accepted", "False"), condition("PrimaryKnown", "False")])]),
        &["× accepted: default: Because: it is so"],
    ),
    (
        "nobody who is known to be primary",
        |f| {
            f.databases = Ok(vec![database(&[
                condition("Accepted", "True"),
                condition("PrimaryKnown", "False"),
                condition("SplitBrain", "True"),
            ])]);
        },
        &["× primary: default: Because: it is so", "× split-brain: default: Because: it is so"],
    ),
    (
        "a frozen one, and labels that are refused",
        |f| conditions(f, &[condition("Frozen", "True"), condition("LabelsAccepted", "False")]),
        &["‼ frozen: default: Because: it is so", "× labels: default: Because: it is so"],
    ),
    (
        "Secrets and a witness that are missing",
        |f| conditions(f, &[condition("CredentialsCurrent", "False"), condition("WitnessSeen", "False")]),
        &["× credentials: default: Because: it is so", "‼ witness: default: Because: it is so"],
    ),
    (
        "addresses on loopback, and no place",
        |f| conditions(f, &[condition("HostsAccepted", "False"), condition("ReadyForFailover", "False")]),
        &["‼ hosts: default: Because: it is so", "‼ failover: default: Because: it is so"],
    ),
    (
        "a movement that is halted",
        |f| {
            let mut moving = condition("Moving", "False");
            moving["reason"] = "Halted".into();
            conditions(f, &[moving]);
        },
        &["‼ movement: default: Halted: it is so"],
    ),
    (
        "readings that nobody believes",
        |f| {
            f.databases.as_mut().unwrap()[0].data["status"]["ignored"] =
                json!([{"node": "n1", "reason": "Impossible", "message": "no round trip takes 0 s"}]);
        },
        &["‼ believed: default: n1 (Impossible)"],
    ),
    (
        "a full data centre, and a pod that waits for its turn",
        |f| {
            let held = |name: &str, reason: &str| {
                json!({
                    "kind": "Deployment", "namespace": "shop", "name": name, "reason": reason, "message": "it is so", "pods": 2,
                    "passes": false,
                })
            };
            f.databases.as_mut().unwrap()[0].data["status"]["heldWorkloads"] =
                json!([held("web", "NoRoom"), held("api", "OneAtATime")]);
        },
        &["‼ stays: default: 2 pods of Deployment shop/web: NoRoom: it is so"],
    ),
    (
        "a switchover that leaves pods without a place",
        |f| {
            let mut announced = condition("SwitchoverAnnounced", "True");
            announced["reason"] = "NoPlace".into();
            conditions(f, &[announced]);
        },
        &["‼ announced: default: NoPlace: it is so"],
    ),
    (
        "members out of reach",
        |f| f.reached = vec![reached(Err("no answer within 5 s".into()))],
        &["‼ members: 1 of 1 members aren't reached from here: pg1 of default at 10.0.1.5:8008 (no answer within 5 s)"],
    ),
];
