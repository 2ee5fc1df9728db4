//! Switchovers to come, as operators write them.

use super::*;

impl Play {
    /// What is announced, in words.
    fn announced(&self) -> String {
        match self.tables.announced(&self.layout) {
            Heard::Announced(it) => format!("{it}, announced by {}", it.by),
            Heard::Unreadable(why) => why,
            other => format!("{other:?}"),
        }
    }

    /// What Patroni keeps of a switchover to come.
    fn scheduled(&mut self, kind: &str, annotations: Value) {
        let index = self.layout.scheduled().iter().position(|watched| watched.kind == kind).unwrap();
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": "orders-failover", "annotations": annotations},
        }))
        .unwrap();
        self.tables.scheduled[index].apply(Event::Apply(object), convert::object);
    }
}

#[test]
fn a_switchover_of_cloud_native_pg_is_announced_and_a_failover_is_not() {
    let mut play = Play::of(OperatorKind::CloudNativePG);
    assert_eq!(play.announced(), "None", "there is no Cluster");
    let at = "2026-11-28T10:00:00.123456Z";
    for (phase, current, target, at, expected) in [
        ("Cluster in healthy state", "orders-1", "orders-1", at, "None"),
        (
            "Switchover in progress",
            "orders-1",
            "orders-2",
            at,
            "orders-1 → orders-2 at 2026-11-28T10:00:00Z, announced by CloudNativePG",
        ),
        ("Switchover in progress", "orders-2", "orders-2", at, "None"),
        ("Switchover in progress", "orders-2", "", at, "None"),
        ("Failing over", "orders-1", "orders-2", at, "None"),
        ("Failing over", "orders-1", "pending", at, "None"),
        (
            "Switchover in progress",
            "orders-1",
            "orders-2",
            "now",
            "CloudNativePG announces a switchover whose time can't be read",
        ),
    ] {
        let status = json!({
            "currentPrimary": current, "targetPrimary": target, "targetPrimaryTimestamp": at, "phase": phase,
        });
        play.object("Cluster", "orders", json!({}), status);
        assert_eq!(play.announced(), expected, "{phase} {current} {target} {at}");
    }
}

#[test]
fn what_patroni_keeps_of_a_scheduled_switchover_is_announced_and_is_no_lock() {
    let mut play = Play::of(OperatorKind::Zalando);
    assert_eq!(play.announced(), "None");
    for (annotations, expected) in [
        (
            json!({"leader": "orders-1", "member": "orders-2", "scheduled_at": "2026-11-28T10:00:00+00:00"}),
            "orders-1 → orders-2 at 2026-11-28T10:00:00Z, announced by Patroni",
        ),
        (json!({"leader": "orders-1", "member": "orders-2"}), "None"),
        (
            json!({"leader": "orders-1", "scheduled_at": "soon"}),
            "Patroni announces a switchover whose time can't be read",
        ),
        (json!({}), "None"),
    ] {
        play.scheduled("ConfigMap", annotations.clone());
        assert_eq!(play.announced(), expected, "{annotations}");
    }
    play.scheduled("Endpoints", json!({"leader": "orders-1", "scheduled_at": "2026-11-28T10:00:00Z"}));
    play.pod("orders-1", "Ready", "master", says("master", "running", 1));
    play.believed(
        "Degraded e0",
        "orders-1 still bears the primary's label, but no Endpoints or ConfigMap of Patroni's names a leader",
    );
}
