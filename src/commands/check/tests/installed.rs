//! What can be wrong with the cluster, the roles, their rights and the policies.

use kube::ResourceExt;
use serde_json::json;

use super::{
    super::{facts::Server, shipped::Right},
    Row,
    healthy::{deployment, node},
};
use crate::commands::report::ControllerReport;

pub(super) const ROWS: &[Row] = &[
    (
        "an old Kubernetes",
        |f| f.server = Server { version: "v1.29.3".into(), minor: Some(29), ahead_s: Some(0) },
        &["× version: it is v1.29.3; switchover needs 1.32 or newer"],
    ),
    (
        "a group that is switched off",
        |f| {
            f.served.as_mut().unwrap().remove("policy/v1 poddisruptionbudgets");
        },
        &["× features: it doesn't serve policy/v1 poddisruptionbudgets"],
    ),
    (
        "a clock that is a little wrong",
        |f| f.server.ahead_s = Some(30),
        &["‼ clocks: the API server's clock is 30 s ahead of this machine's"],
    ),
    (
        "nodes without zones",
        |f| f.nodes = Ok(vec![node("n1", json!({})), node("n2", json!({"topology.kubernetes.io/zone": "dc2"}))]),
        &["‼ zones: 1 of 2 nodes don't bear the label topology.kubernetes.io/zone: n1"],
    ),
    (
        "definitions of another version",
        |f| f.definitions.as_mut().unwrap()[1].spec.versions[0].schema = None,
        &[concat!(
            "× definitions: nodelatencies.switchover.dev isn't that of this program, switchover ",
            env!("CARGO_PKG_VERSION")
        )],
    ),
    (
        "a definition that is gone",
        |f| {
            f.definitions.as_mut().unwrap().remove(0);
        },
        &["× definitions: databaseclusters.switchover.dev is missing"],
    ),
    (
        "two installations",
        |f| {
            let mut second = f.configurations.as_ref().unwrap()[0].clone();
            second.metadata.name = Some("acme-switchover".into());
            second.webhooks.as_mut().unwrap()[0].client_config.service.as_mut().unwrap().namespace = "acme".into();
            f.configurations.as_mut().unwrap().push(second);
        },
        &[
            "× one-installation: there are 2 of the webhook's configurations: switchover, acme-switchover",
            "× one-installation: acme-switchover calls the webhook of the namespace acme, not that of switchover-system",
        ],
    ),
    (
        "pods that no quota lets in",
        |f| {
            let workloads = f.workloads.as_mut().unwrap();
            workloads.deployments[1] = deployment("webhook", 6, 0);
            workloads.refusals =
                vec![("switchover-webhook-5d9".into(), "insufficient quota to match these scopes".into())];
        },
        &["× webhooks: switchover-webhook: 0 of 6 are available: insufficient quota to match these scopes"],
    ),
    (
        "agents that the namespace doesn't admit",
        |f| {
            let workloads = f.workloads.as_mut().unwrap();
            workloads.sets[0].status.as_mut().unwrap().number_ready = 0;
            workloads.refusals = vec![("switchover-agent".into(), "violates PodSecurity".into())];
        },
        &["× agents: switchover-agent: 0 of 2 are ready: violates PodSecurity"],
    ),
    (
        "controllers that were stopped",
        |f| {
            f.workloads.as_mut().unwrap().deployments[0] = deployment("controller", 0, 0);
            f.lease = Ok(ControllerReport { leader: Some("controller-1".into()), silent_s: Some(600), runs: false });
        },
        &[
            "× controllers: switchover-controller wants no replicas",
            "× leader: controller-1 has not renewed the Lease for 600 s",
        ],
    ),
    (
        "an account that lost its binding",
        |f| {
            let agents = f
                .rights
                .iter_mut()
                .filter(|it| it.role == Some("agent") && it.right.resource == "nodes" && it.right.verb == "get");
            agents.for_each(|asked| asked.allowed = Ok(false));
        },
        &["× account-rights: switchover-agent may not get nodes"],
    ),
    (
        "restarts left out on purpose",
        |f| {
            f.rights
                .iter_mut()
                .filter(|it| it.right.by == "switchover-restarts")
                .for_each(|asked| asked.allowed = Ok(false));
        },
        &[
            "‼ account-rights: switchover-controller may not patch deployments.apps; patch statefulsets.apps: pods are moved \
          by eviction alone (deploy/components/without-restart leaves it out)",
        ],
    ),
    (
        "agents that may write nodes",
        |f| {
            f.rights
                .iter_mut()
                .filter(|it| it.role == Some("agent") && it.right == Right::new("patch", "", "nodes"))
                .for_each(|asked| asked.allowed = Ok(true));
        },
        &["× no-more-rights: switchover-agent may patch nodes"],
    ),
    (
        "a policy whose binding was removed",
        |f| f.bindings.as_mut().unwrap().retain(|it| it.name_any() != "switchover-agent"),
        &["× policies: the policy switchover-agent is bound by nothing, so that it forbids nothing"],
    ),
    (
        "a policy that was removed",
        |f| f.policies.as_mut().unwrap().retain(|it| it.name_any() != "switchover-pods"),
        &["× policies: the policy switchover-pods is missing"],
    ),
    (
        "a binding that only audits",
        |f| {
            let binding =
                f.bindings.as_mut().unwrap().iter_mut().find(|it| it.name_any() == "switchover-controller").unwrap();
            binding.spec.as_mut().unwrap().validation_actions = Some(vec!["Audit".into()]);
        },
        &["× policies: the binding switchover-controller doesn't Deny"],
    ),
    (
        "a policy that knows another namespace's accounts",
        |f| {
            let policy =
                f.policies.as_mut().unwrap().iter_mut().find(|it| it.name_any() == "switchover-agent").unwrap();
            policy.spec.as_mut().unwrap().match_conditions.as_mut().unwrap()[0].expression =
                "request.userInfo.username == 'system:serviceaccount:elsewhere:switchover-agent'".into();
        },
        &[
            "‼ policies: the policy switchover-agent has matchConditions of its own, not this version's",
            "× policy-accounts: the policy switchover-agent isn't about \
         system:serviceaccount:switchover-system:switchover-agent, so that it forbids it nothing",
        ],
    ),
    (
        "an account of another name",
        |f| f.accounts.agent = "prober".into(),
        &[
            "× policy-accounts: the policy switchover-agent isn't about system:serviceaccount:switchover-system:prober, so that \
         it forbids it nothing",
        ],
    ),
];
