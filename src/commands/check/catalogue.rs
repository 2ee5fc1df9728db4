//! Every check: what it says when all is well, why that matters, what to do when it isn't, and where to read more.

use super::{
    facts::Facts,
    found::Found,
    judge::{admission, agents, cluster, databases, policies, policy_admission, roles},
};

/// When a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
    Always,
}

/// One check.
#[derive(Debug)]
pub(super) struct Check {
    /// For scripts and for links.
    pub id: &'static str,
    pub group: &'static str,
    /// What is the case when all is well.
    pub what: &'static str,
    /// What comes of it when it isn't.
    pub why: &'static str,
    /// What to do then.
    pub hint: &'static str,
    /// The page to read, from the root of the repository.
    pub doc: &'static str,
    pub when: When,
    pub judge: fn(&Facts) -> Found,
}

/// The checks that are made before the installation, or after it.
pub(super) fn checks(before: bool) -> impl Iterator<Item = &'static Check> {
    let not = if before { When::After } else { When::Before };
    CHECKS.iter().filter(move |check| check.when != not)
}

const CLUSTER: &str = "kubernetes";
const INSTALL: &str = "before the installation";
const INSTALLED: &str = "installation";
const RIGHTS: &str = "rights";
const ADMISSION: &str = "admission";
const AGENTS: &str = "agents";
const DATABASES: &str = "databases";

/// A row.
macro_rules! check {
    ($id:literal, $group:ident, $when:ident, $judge:path, $what:literal, why: $why:literal, hint: $hint:literal, doc: $doc:literal) => {
        Check {
            id: $id,
            group: $group,
            what: $what,
            why: $why,
            hint: $hint,
            doc: $doc,
            when: When::$when,
            judge: $judge,
        }
    };
}

/// In the order in which they are told.
pub(super) const CHECKS: &[Check] = &[
    check!("version", CLUSTER, Always, cluster::version, "the API server is new enough",
        why: "older ones lack what switchover's safety rests on, such as the node's name in an agent's token",
        hint: "upgrade the cluster",
        doc: "deploy/chart/README.md"),
    check!("features", CLUSTER, Always, cluster::features, "the API server serves every kind that is needed",
        why: "without admission policies an account could do more than its role does, and without the webhook's configuration no pod is injected",
        hint: "switch the API group on (--runtime-config of the API server)",
        doc: "docs/getting-started.md#install"),
    check!("clocks", CLUSTER, Always, cluster::clocks, "the API server's clock and this machine's agree",
        why: "certificates and ages are judged by clocks: by hours of difference what one signs isn't valid for the other",
        hint: "set both by NTP",
        doc: "ARCHITECTURE.md#degraded-states"),
    check!("zones", CLUSTER, Always, cluster::zones, "every node says its zone",
        why: "replicas are spread over zones, so that a data centre can go; plan --without names them",
        hint: "kubectl label node NAME topology.kubernetes.io/zone=ZONE",
        doc: "docs/affinity.md#when-the-webhook-is-down"),
    check!("may-install", INSTALL, Before, cluster::may_install, "you may install switchover",
        why: "an installation that is refused half-way leaves roles without their policies",
        hint: "install as somebody who may, such as cluster-admin",
        doc: "docs/getting-started.md#install"),
    check!("in-the-way", INSTALL, Before, cluster::nothing_in_the_way, "nothing of another installation is in the way",
        why: "a second installation would take the first one's rights and webhook; labels that somebody else uses are never overwritten",
        hint: "install into the namespace of the one that is there, or remove it first (switchover uninstall)",
        doc: "docs/getting-started.md#another-namespace"),
    check!("definitions", INSTALLED, After, cluster::definitions, "the definitions are this version's, and established",
        why: "with older ones the API server drops fields that roles write, in silence",
        hint: "kubectl apply --server-side -f deploy/base/crds.yaml, of this version",
        doc: "docs/getting-started.md#install"),
    check!("one-installation", INSTALLED, After, roles::one_installation, "there is one installation, in this namespace",
        why: "two would replace each other's certificates, label the same nodes and move the same pods",
        hint: "say -n NAMESPACE if it is elsewhere; else remove one of the two",
        doc: "docs/getting-started.md#another-namespace"),
    check!("controllers", INSTALLED, After, roles::controllers, "the controllers run",
        why: "without one nobody labels nodes, moves pods or keeps certificates",
        hint: "kubectl -n NAMESPACE describe deployment, and the pods' logs",
        doc: "ARCHITECTURE.md#degraded-states"),
    check!("webhooks", INSTALLED, After, roles::webhooks, "the webhook's replicas run",
        why: "without them pods start where they please, and are moved afterwards",
        hint: "kubectl -n NAMESPACE describe deployment, and the pods' logs",
        doc: "docs/affinity.md#when-the-webhook-is-down"),
    check!("agents", INSTALLED, After, roles::daemon_set, "an agent runs on every node that takes one",
        why: "a node that nobody measures keeps its last label; with more than half of them no label changes at all",
        hint: "kubectl -n NAMESPACE describe daemonset; the namespace has to admit the host's network and NET_RAW",
        doc: "docs/getting-started.md#choices"),
    check!("leader", INSTALLED, After, roles::leader, "a controller leads",
        why: "without a leader nothing changes: labels stay, and no pod is moved after a failover",
        hint: "see why no controller renews the Lease switchover-controller: its log, its rights, the API server",
        doc: "ARCHITECTURE.md#degraded-states"),
    check!("account-rights", RIGHTS, After, policies::rights, "every account may do what its role needs",
        why: "a role that is refused something does without it, and only its log says so",
        hint: "apply the roles and bindings of this version (deploy/base)",
        doc: "docs/threat-model.md#the-controllers-account"),
    check!("no-more-rights", RIGHTS, After, policies::no_more_rights, "no account may do more",
        why: "an agent that may write nodes, or a controller that may delete pods, is worth breaking into",
        hint: "find who gave it: kubectl get clusterrolebindings,rolebindings -A -o wide",
        doc: "docs/threat-model.md#actors"),
    check!("policies", RIGHTS, After, policies::bound, "every admission policy is this version's, and bound",
        why: "what RBAC can't narrow the policies do: an unbound one forbids nothing, and says nothing",
        hint: "apply the policies and their bindings of this version (deploy/base)",
        doc: "docs/threat-model.md#the-controllers-account"),
    check!("policy-accounts", RIGHTS, After, policies::accounts, "the policies are about the accounts of this installation",
        why: "a policy that knows the account by another name lets it do everything",
        hint: "keep switchover-agent and switchover-controller in the accounts' names, and apply the policies of this version",
        doc: "docs/getting-started.md#another-namespace"),
    check!("webhook-configuration", ADMISSION, After, admission::configuration, "the API server asks the webhook about every pod that follows, and goes on without it",
        why: "pods that it isn't asked about start where they please; with another failurePolicy than Ignore none starts while it is away",
        hint: "kubectl apply --server-side --force-conflicts -k webhook-config, of this version",
        doc: "docs/affinity.md#when-the-webhook-is-down"),
    check!("admission-policy", ADMISSION, After, policy_admission::judge, "the admission policy, if there is one, injects for every database that is followed",
        why: "pods of a namespace whose database has no binding get nothing from it, and without a webhook from nobody",
        hint: "apply what switchover policies prints",
        doc: "docs/policies.md#what-it-cant-do"),
    check!("certificates", ADMISSION, After, admission::certificates, "the API server believes what each replica serves",
        why: "a replica that it doesn't believe is as one that is down, and pods start without affinity",
        hint: "switchover certs --apply does what the controller would do now; with cert-manager see its Certificate and cainjector",
        doc: "certs/README.md"),
    check!("certificate-expiry", ADMISSION, After, admission::expiry, "the certificates hold",
        why: "one that has expired is as none",
        hint: "see why nobody renews it: the event CertificateFailed, the controller's log, or cert-manager",
        doc: "certs/README.md"),
    check!("opt-in", ADMISSION, After, admission::opt_in, "namespaces follow databases that there are",
        why: "pods that follow nobody whom anybody knows are left where they are",
        hint: "kubectl label namespace NAME switchover.dev/follow=DATABASE --overwrite",
        doc: "docs/affinity.md#who"),
    check!("dry-run", ADMISSION, After, admission::tried, "a pod that is created for show comes back with its affinity",
        why: "this is what every pod goes through: API server, network, certificate, webhook and whatever else changes or refuses pods",
        hint: "switchover explain says what is decided; allow API servers to reach port 8443 of the webhook's pods",
        doc: "docs/affinity.md#when-others-refuse-or-ignore-it"),
    check!("readings", AGENTS, After, agents::readings, "every node has fresh readings",
        why: "a node without them keeps its last label, whoever is primary",
        hint: "see the agent of that node: its pod, its log, the condition of its node",
        doc: "docs/how-it-decides.md#how-far-a-node-is"),
    check!("reading-clocks", AGENTS, After, agents::clocks, "no reading is of the future",
        why: "a node whose clock is ahead looks fresh for longer than it is to whoever reads the status",
        hint: "set the clock of that node by NTP",
        doc: "docs/how-it-decides.md#how-far-a-node-is"),
    check!("echoes", AGENTS, After, agents::echoes, "members answer echoes",
        why: "without echoes nodes measure by TCP connects, once a second, and a host that nobody reaches leaves every node without a tier",
        hint: "allow ICMP echoes from nodes to members; if a member states an address that nodes can't reach, write members' own hosts",
        doc: "docs/how-it-decides.md#how-far-a-node-is"),
    check!("databases", DATABASES, After, databases::readable, "there are databases, and each can be read",
        why: "one that can't be read is not followed",
        hint: "kubectl explain databasecluster.spec; apply it anew",
        doc: "docs/getting-started.md#install"),
    check!("observed", DATABASES, After, databases::observed, "the controller has looked at each as it is now",
        why: "until then the one before counts",
        hint: "see whether a controller leads",
        doc: "docs/reference.md#conditions"),
    check!("accepted", DATABASES, After, databases::accepted, "each database is followed",
        why: "of one that is refused no label changes, nothing moves, and pods don't follow it",
        hint: "do what the sentence says: mostly, give it a nodeLabel of its own",
        doc: "docs/reference.md#conditions"),
    check!("primary", DATABASES, After, databases::primary_known, "its primary is known",
        why: "while nobody knows who is primary, nothing changes",
        hint: "switchover status NAME; the members have to be reachable for the controllers",
        doc: "docs/how-it-decides.md#who-is-primary"),
    check!("split-brain", DATABASES, After, databases::split_brain, "no two members act as primary",
        why: "everything is frozen until it is settled, and data may be written in two places",
        hint: "settle it in the database; if it can't be, switchover resume NAME --primary MEMBER",
        doc: "docs/how-it-decides.md#who-is-primary"),
    check!("frozen", DATABASES, After, databases::frozen, "the database lets pods be moved",
        why: "labels follow the primary, and pods stay",
        hint: "do what the sentence says, or wait",
        doc: "docs/how-it-decides.md#what-freezes"),
    check!("movement", DATABASES, After, databases::moving, "the movement isn't halted",
        why: "replacements didn't become Ready, so that no more pods are moved",
        hint: "switchover status NAME, and why those pods aren't Ready",
        doc: "docs/reasons.md#nothing-moves-at-all"),
    check!("labels", DATABASES, After, databases::labels, "every node takes the label",
        why: "a node that refuses it, or bears somebody else's, looks nearer or farther than it is",
        hint: "see what refuses it, or write a nodeLabel that is the database's alone",
        doc: "docs/threat-model.md#a-label-that-is-somebody-elses"),
    check!("credentials", DATABASES, After, databases::credentials, "the Secrets with credentials are in use",
        why: "the last good ones are used, and without any nobody is asked",
        hint: "write the Secret, and its name into the Role switchover-credentials",
        doc: "docs/getting-started.md#choices"),
    check!("witness", DATABASES, After, databases::witness, "the witness is heard",
        why: "without it a primary out of sight is an unknown one",
        hint: "see the witness: its log, its certificates, the network between",
        doc: "docs/witness.md#set-it-up"),
    check!("hosts", DATABASES, After, databases::hosts, "every address that members state can be measured",
        why: "a member at an address that is left out, or that no node reaches, has no distance",
        hint: "have members state addresses that nodes reach (connect_address), or write allowedHosts",
        doc: "docs/sources.md#what-a-members-word-is-good-for"),
    check!("taint", DATABASES, After, databases::taint, "no node refuses the taint that evicts",
        why: "far nodes keep their pods",
        hint: "do what the sentence says",
        doc: "docs/taints.md#noexecute"),
    check!("failover", DATABASES, After, databases::ready, "every follower would find its place after a failover",
        why: "what has no place near the next primary stays far, or waits",
        hint: "switchover plan says what is missing, and where",
        doc: "docs/foresight.md#all-the-time"),
    check!("announced", DATABASES, After, databases::announced, "what is announced has room",
        why: "a switchover that the database announces will come, and some pods would find no place near the next primary; one that is ignored \
              doesn't come as announced",
        hint: "switchover plan says what is missing, and where; make room before it comes",
        doc: "docs/foresight.md#announced-switchovers"),
    check!("members", DATABASES, After, databases::reached, "the members are reached from here",
        why: "people look from here; the controllers have their own network, and the check primary says how they fare",
        hint: "nothing, if this machine isn't meant to reach databases; else the network between",
        doc: "docs/sources.md#patroni"),
];
