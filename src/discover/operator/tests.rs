//! Objects as each operator writes them → what is believed.

mod announced;

use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::discovery::OperatorKind,
    core::primary::{Belief, PrimaryTracker, PrimaryView},
};

/// Pods and objects of one database, as the watches would bring them.
struct Play {
    spec: OperatorDiscovery,
    layout: Layout,
    tables: Tables,
    renewals: Renewals,
    tracker: PrimaryTracker,
    now: Instant,
}

impl Play {
    fn of(kind: OperatorKind) -> Self {
        let spec = OperatorDiscovery {
            kind,
            namespace: "shop".into(),
            cluster: "orders".into(),
            port: 5432,
            labels: None,
            role_label: None,
            role_value: None,
            scope: None,
        };
        let layout = Layout::of(&spec);
        let empty = |watched: Vec<layout::Watched>| watched.iter().map(|_| Table::default()).collect();
        let tables =
            Tables { objects: empty(layout.watched()), scheduled: empty(layout.scheduled()), ..Tables::default() };
        let tracker = PrimaryTracker::new(Belief::default(), MAX_AGE);
        Self { spec, layout, tables, renewals: Renewals::default(), tracker, now: Instant::now() }
    }

    /// `"Ready"`, `"NotReady"`, `"Terminating"` or `"Failed"`; `status` is Patroni's annotation.
    fn pod(&mut self, name: &str, how: &str, role: &str, status: Option<Value>) {
        let mut object = json!({
            "metadata": {
                "name": name,
                "namespace": self.spec.namespace,
                "labels": {self.layout.role_label.clone(): role},
            },
            "status": {
                "phase": if how == "Failed" { "Failed" } else { "Running" },
                "podIP": format!("10.0.0.{}", name.len()),
                "conditions": [{"type": "Ready", "status": if how == "NotReady" { "False" } else { "True" }}],
            },
        });
        if how == "Terminating" {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if let Some(status) = status {
            object["metadata"]["annotations"] = json!({ "status": status.to_string() });
        }
        let pod: Pod = serde_json::from_value(object).unwrap();
        self.tables.pods.apply(Event::Apply(pod), |pod| {
            convert::pod(pod, &self.layout.role_label, self.layout.role_value.as_deref())
        });
    }

    fn gone(&mut self, name: &str) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        self.tables.pods.apply(Event::Delete(pod), |pod| convert::pod(pod, "", None));
    }

    fn object(&mut self, kind: &str, name: &str, annotations: Value, status: Value) {
        let index = self.layout.watched().iter().position(|w| (w.kind, &*w.name) == (kind, name));
        let index = index.unwrap_or_else(|| panic!("{kind} {name} is not watched"));
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name, "annotations": annotations}, "status": status,
        }))
        .unwrap();
        self.tables.objects[index].apply(Event::Apply(object), convert::object);
    }

    /// CloudNativePG's `Cluster`.
    fn cluster(&mut self, current: &str, target: &str, timeline: u64) {
        let status = json!({
            "currentPrimary": current, "targetPrimary": target, "timelineID": timeline, "systemID": "77",
            "phase": "Cluster in healthy state", "instances": 3, "readyInstances": 3,
        });
        self.object("Cluster", "orders", json!({}), status);
    }

    /// Patroni's lock, as it stands after `renewals` of it.
    fn lock(&mut self, kind: &str, name: &str, leader: &str, renewals: u32) {
        let annotations = json!({
            "acquireTime": "2026-01-01T00:00:00.000000+00:00", "leader": leader, "optime": "50331648",
            "renewTime": format!("2026-01-01T00:{renewals:02}:00.000000+00:00"), "transitions": "1", "ttl": "30",
        });
        self.object(kind, name, annotations, Value::Null);
    }

    fn look(&mut self) -> PrimaryView {
        let (pods, named) = self.tables.facts(&self.layout, &mut self.renewals, self.now);
        let pods: Vec<MemberPod> = pods.into_iter().map(|seen| seen.pod).collect();
        let observed = |(name, answer)| (name, Observation { answer, at: self.now });
        let observations = operator::read(&pods, &named, self.now).into_iter().map(observed).collect();
        self.tracker.observe(&observations, self.now)
    }

    #[track_caller]
    fn believed(&mut self, expected: &str, why: &str) {
        let view = self.look();
        let primary = view.last.as_ref().map_or_else(String::new, |last| format!(" {}@{}", last.name, last.timeline));
        let frozen = view.frozen.iter().map(|reason| format!(" [{}]", reason.name())).collect::<String>();
        assert_eq!(format!("{}{primary} e{}{frozen}", view.state.name(), view.epoch), expected, "{}", view.why);
        assert_eq!(view.why, why);
    }
}

fn says(role: &str, state: &str, timeline: u64) -> Option<Value> {
    Some(json!({
        "conn_url": "postgres://10.0.0.1:5432/postgres", "api_url": "http://10.0.0.1:8008/patroni", "state": state,
        "role": role, "version": "4.0.4", "xlog_location": 50_331_648, "timeline": timeline,
    }))
}

const CNPG: &str = "CloudNativePG names it, and its pod is labelled and Ready";
const PATRONI: &str = "it holds the leader lock, its PostgreSQL is running, and its pod is labelled and Ready";

#[test]
fn cloud_native_pg_from_a_switchover_to_a_dead_primary() {
    let mut play = Play::of(OperatorKind::CloudNativePG);
    play.pod("orders-1", "Ready", "primary", None);
    play.pod("orders-2", "Ready", "replica", None);
    play.believed(
        "Degraded e0",
        "orders-1 still bears the primary's label, but there is no such Cluster to name the primary",
    );
    play.cluster("orders-1", "orders-1", 1);
    play.believed("Known orders-1@1 e1", &format!("orders-1 (timeline 1) is primary: {CNPG}; 2 of 2 members answer"));

    play.cluster("orders-1", "orders-2", 1);
    play.believed(
        "Promoting orders-1@1 e1",
        "orders-2 is CloudNativePG's targetPrimary and is being promoted; currentPrimary is orders-1",
    );
    play.cluster("orders-2", "orders-2", 1);
    play.believed(
        "Promoting orders-1@1 e1",
        "orders-2 is CloudNativePG's currentPrimary, but doesn't bear the label yet by which connections find it",
    );
    play.pod("orders-2", "Ready", "primary", None);
    play.believed(
        "Promoting orders-1@1 e1",
        "orders-2 is CloudNativePG's currentPrimary, but orders-1 still bears the label by which connections find it, too",
    );
    play.pod("orders-1", "Ready", "replica", None);
    play.believed("Known orders-2@1 e2", &format!("orders-2 (timeline 1) is primary: {CNPG}; 2 of 2 members answer"));
    play.cluster("orders-2", "orders-2", 2);
    play.believed("Known orders-2@2 e2", &format!("orders-2 (timeline 2) is primary: {CNPG}; 2 of 2 members answer"));

    // Its node is lost: the label stays.
    for (how, trouble) in [("NotReady", "is not Ready"), ("Terminating", "is being deleted"), ("Failed", "has ended")] {
        play.pod("orders-2", how, "primary", None);
        play.believed(
            "Degraded orders-2@2 e2",
            &format!("orders-2 is CloudNativePG's currentPrimary, but its pod {trouble}"),
        );
    }
    play.cluster("orders-2", "pending", 2);
    play.believed(
        "Degraded orders-2@2 e2",
        "orders-2 is CloudNativePG's currentPrimary, but targetPrimary is pending: it is being replaced",
    );
    play.cluster("orders-2", "orders-1", 2);
    play.believed(
        "Promoting orders-2@2 e2",
        "orders-1 is CloudNativePG's targetPrimary and is being promoted; currentPrimary is orders-2",
    );
    // The operator counts the timeline later, and the dead pod keeps its label.
    play.cluster("orders-1", "orders-1", 2);
    play.pod("orders-1", "Ready", "primary", None);
    play.believed(
        "Known orders-1@2 e3",
        &format!(
            "orders-1 (timeline 2) is primary: {CNPG}; 1 of 2 members answers; no answer from orders-2 (its pod has ended, \
             and still bears the primary's label)"
        ),
    );
    play.cluster("orders-1", "orders-1", 3);
    play.gone("orders-2");
    play.believed("Known orders-1@3 e3", &format!("orders-1 (timeline 3) is primary: {CNPG}; 1 of 1 members answers"));
    play.gone("orders-1");
    play.believed(
        "Unknown orders-1@3 e3",
        "no member answers: orders-1 (it is named as the primary, but there is no such pod)",
    );
}

#[test]
fn operators_with_patroni_from_a_failover_to_a_lock_that_ran_out() {
    use OperatorKind::{Crunchy, Patroni, Percona, StackGres, Zalando};
    for (kind, object, name, config, word) in [
        (Zalando, "Endpoints", "orders", "orders-config", "master"),
        (Zalando, "ConfigMap", "orders-leader", "orders-config", "master"),
        (Crunchy, "Endpoints", "orders-ha", "orders-ha-config", "master"),
        (Percona, "Endpoints", "orders-ha", "orders-ha-config", "primary"),
        (StackGres, "Endpoints", "orders", "orders-config", "primary"),
        (Patroni, "ConfigMap", "orders-leader", "orders-config", "primary"),
        (Patroni, "Endpoints", "orders", "orders-config", "primary"),
    ] {
        let mut play = Play::of(kind);
        let settings =
            |pause: bool| json!({"config": json!({"ttl": 30, "pause": pause}).to_string(), "initialize": "77"});
        play.object(object, config, settings(false), Value::Null);
        play.pod("orders-0", "Ready", word, says(word, "running", 1));
        play.pod("orders-1", "Ready", "replica", says("replica", "running", 1));
        // A pod of the operator's own: no member.
        play.pod("orders-backup", "Ready", word, None);
        play.believed(
            "Degraded e0",
            "orders-0 still bears the primary's label, but no Endpoints or ConfigMap of Patroni's names a leader",
        );
        play.lock(object, name, "orders-0", 1);
        let known = |member: &str, timeline: u64, answering: &str| {
            format!("{member} (timeline {timeline}) is primary: {PATRONI}; {answering}")
        };
        play.believed("Known orders-0@1 e1", &known("orders-0", 1, "2 of 2 members answer"));
        play.object(object, config, settings(true), Value::Null);
        play.believed("Known orders-0@1 e1 [pause]", &known("orders-0", 1, "2 of 2 members answer"));
        play.object(object, config, settings(false), Value::Null);

        // Its node is lost, and the other one takes over.
        play.pod("orders-0", "NotReady", word, says(word, "running", 1));
        play.believed("Degraded orders-0@1 e1", "orders-0 holds the leader lock, but its pod is not Ready");
        play.lock(object, name, "orders-1", 2);
        play.believed(
            "Promoting orders-0@1 e1",
            "orders-1 holds the leader lock and is being promoted; it isn't writable yet",
        );
        play.pod("orders-1", "Ready", word, says(word, "running", 2));
        play.believed(
            "Known orders-1@2 e2",
            &(known("orders-1", 2, "1 of 2 members answers")
                + "; no answer from orders-0 (its pod is not Ready, and still bears the primary's label)"),
        );

        // The old one is back, and hasn't noticed: not believed, and no split brain either.
        play.pod("orders-0", "Ready", word, says(word, "running", 1));
        play.believed(
            "Known orders-1@2 e2",
            &format!(
                "{}; orders-0 (timeline 1) still acts as primary and is not believed",
                known("orders-1", 2, "2 of 2 members answer")
            ),
        );
        play.pod("orders-0", "Ready", "replica", says("replica", "running", 2));

        // The lock is not renewed: with a Patroni that hangs, the pod may be Ready all the same.
        play.now += Duration::from_secs(31);
        play.believed(
            "Degraded orders-1@2 e2",
            "orders-1 holds the leader lock, but hasn't renewed it for 31 s (ttl 30 s)",
        );
        play.lock(object, name, "orders-1", 3);
        play.believed("Known orders-1@2 e2", &known("orders-1", 2, "2 of 2 members answer"));
        play.pod("orders-1", "Ready", word, says(word, "crashed", 2));
        play.believed(
            "Degraded orders-1@2 e2",
            "orders-1 holds the leader lock, but its PostgreSQL is not running (state crashed)",
        );
        play.pod("orders-1", "Terminating", word, says(word, "running", 2));
        play.lock(object, name, "", 4);
        play.believed(
            "Degraded orders-1@2 e2",
            "orders-1 still bears the primary's label, but its pod is being deleted, and no Endpoints or ConfigMap of \
             Patroni's names a leader",
        );
    }
}

#[test]
fn a_cloud_native_pg_cluster_that_follows_another_one_has_no_primary() {
    let nobody = "none of the 2 members that answer is primary, of 2 known";
    let known = format!("orders-1 (timeline 1) is primary: {CNPG}; 2 of 2 members answer");
    for (replica, believed, why) in [
        (json!({"enabled": true, "source": "paris"}), "Unknown e0", nobody),
        (json!({"enabled": false, "source": "paris"}), "Known orders-1@1 e1", &known),
        (json!({"primary": "paris", "source": "paris"}), "Unknown e0", nobody),
        (json!({"primary": "orders", "source": "paris"}), "Known orders-1@1 e1", &known),
        (json!({"primary": "orders", "self": "rome", "source": "paris"}), "Unknown e0", nobody),
        (json!({"primary": "rome", "self": "rome", "source": "paris"}), "Known orders-1@1 e1", &known),
    ] {
        let mut play = Play::of(OperatorKind::CloudNativePG);
        play.pod("orders-1", "Ready", "primary", None);
        play.pod("orders-2", "Ready", "replica", None);
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "orders"},
            "spec": {"instances": 2, "replica": replica},
            "status": {"currentPrimary": "orders-1", "targetPrimary": "orders-1", "timelineID": 1},
        }))
        .unwrap();
        play.tables.objects[0].apply(Event::Apply(object), convert::object);
        play.believed(believed, why);
    }
}

#[test]
fn the_lock_that_was_left_behind_does_not_count() {
    let mut play = Play::of(OperatorKind::Patroni);
    play.pod("orders-0", "Ready", "primary", says("primary", "running", 1));
    play.lock("Endpoints", "orders", "orders-9", 1);
    play.lock("ConfigMap", "orders-leader", "orders-0", 2);
    play.believed(
        "Known orders-0@1 e1",
        &format!("orders-0 (timeline 1) is primary: {PATRONI}; 1 of 1 members answers"),
    );
}

#[test]
fn what_is_written_in_the_spec_counts_more_than_the_operators_own() {
    let mut play = Play::of(OperatorKind::Zalando);
    play.spec.labels = Some(BTreeMap::from([("app".into(), "db".into()), ("team".into(), "a".into())]));
    play.spec.role_label = Some("example.com/role".into());
    play.spec.scope = Some("batman".into());
    let layout = Layout::of(&play.spec);
    assert_eq!((&*layout.selector, &*layout.role_label), ("app=db,team=a", "example.com/role"));
    let watched = layout.watched().into_iter().map(|w| format!("{} {}", w.kind, w.name)).collect::<Vec<_>>();
    assert_eq!(
        watched,
        ["Endpoints batman", "Endpoints batman-config", "ConfigMap batman-leader", "ConfigMap batman-config"]
    );
}

#[tokio::test]
async fn a_watch_that_dies_ends_the_task() {
    crate::tls::install_provider();
    let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let metrics = crate::discover::Metrics::register(&mut prometheus_client::registry::Registry::default());
    let (publisher, state, _heard) = Publisher::new("orders".into(), Belief::default(), MAX_AGE, metrics);
    let spec = Play::of(OperatorKind::CloudNativePG).spec;
    let mut task = Task::new(spec, client, Vec::new(), publisher, Instant::now());
    task.watches.spawn(async { panic!("a watch that has a bug") });
    let (_words, spoken) = mpsc::channel(1);
    tokio::time::timeout(Duration::from_secs(20), task.run(spoken)).await.expect("it goes on without its watch");
    assert!(state.has_changed().is_err(), "and nobody keeps the state");
}

#[test]
fn a_label_value_of_ones_own_is_told_of_and_then_known() {
    let mut play = Play::of(OperatorKind::Patroni);
    play.lock("Endpoints", "orders", "orders-0", 1);
    play.pod("orders-0", "Ready", "leader", says("primary", "running", 2));
    play.pod("orders-1", "Ready", "replica", says("replica", "running", 2));
    play.believed(
        "Degraded e0",
        "orders-0 holds the leader lock, but its role label is leader, which means nothing known: if it is Patroni's \
         kubernetes.leader_label_value, write it as spec.discovery.operator.roleValue",
    );
    play.layout.role_value = Some("leader".to_owned());
    play.pod("orders-0", "Ready", "leader", says("primary", "running", 2));
    play.pod("orders-1", "Ready", "primary", says("replica", "running", 2));
    play.believed(
        "Known orders-0@2 e1",
        "orders-0 (timeline 2) is primary: it holds the leader lock, its PostgreSQL is running, and its pod is labelled \
         and Ready; 2 of 2 members answer",
    );
}

#[test]
fn several_groups_of_citus_are_told_apart_by_what_people_write() {
    let mut play = Play::of(OperatorKind::Patroni);
    for (name, group) in [("demo-0-0", "0"), ("demo-1-0", "1"), ("demo-1-1", "1")] {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": name, "labels": {"role": "primary", "citus-group": group},
                "annotations": {"status": says("primary", "running", 2).unwrap().to_string()},
            },
        }))
        .unwrap();
        play.tables.pods.apply(Event::Apply(pod), |pod| convert::pod(pod, "role", None));
    }
    let (pods, _) = play.tables.facts(&play.layout, &mut play.renewals, play.now);
    let groups = citus_groups(&pods);
    assert_eq!(groups, BTreeSet::from(["0".to_owned(), "1".to_owned()]));
    assert_eq!(
        several_groups(&play.spec, &groups),
        "these pods are of 2 Citus groups (0, 1), each with a primary of its own: write one of them, such as labels: \
         {cluster-name: orders, citus-group: \"0\"} and scope: orders-0"
    );
}

#[test]
fn what_is_no_name_holds_no_lock() {
    for leader in ["orders-0\u{1b}[2J", "", &"x".repeat(254)] {
        let mut play = Play::of(OperatorKind::Patroni);
        play.lock("Endpoints", "orders", leader, 1);
        play.pod("orders-0", "Ready", "primary", says("primary", "running", 2));
        assert_eq!(play.look().state.name(), "Degraded", "{leader:?}");
    }
}
