//! When a node's readings count as received.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{seen::received, *};

#[test]
fn readings_are_as_old_as_the_last_change_of_their_heartbeat_whatever_the_nodes_clock_says() {
    /// Whether the object came alone or in a list.
    #[derive(Clone, Copy)]
    enum By {
        Watch,
        List,
    }
    use By::{List, Watch};
    // When it came and the heartbeat that it bore, in seconds since the start by our clock.
    type Came = (By, u32, i64);
    let told: [(&str, &[Came], u64); 9] = [
        ("first seen in a list it is as old as it says", &[(List, 0, -100)], 100),
        ("a clock that is ahead", &[(List, 0, 500)], 0),
        ("a new node, however wrong its clock", &[(Watch, 0, -200)], 0),
        ("a clock that is behind, from its next heartbeat on", &[(List, 0, -200), (Watch, 60, -140)], 0),
        ("a clock that jumped back", &[(Watch, 0, 0), (Watch, 60, -3_600)], 0),
        ("somebody else wrote", &[(Watch, 0, 0), (Watch, 60, 0)], 60),
        ("somebody else wrote twice", &[(Watch, 0, -9), (Watch, 60, -9), (Watch, 90, -9)], 90),
        ("listed anew", &[(Watch, 0, -200), (List, 60, -200)], 60),
        ("listed anew with a heartbeat that no watch told of", &[(Watch, 0, -200), (List, 60, -140)], 0),
    ];
    let (start, epoch) = (Instant::now() + Duration::from_secs(10_000), Timestamp::UNIX_EPOCH);
    for (what, came, age_s) in told {
        let mut table = Table::default();
        let mut now = start;
        for (by, at_s, heartbeat_s) in came {
            now = start + Duration::from_secs(u64::from(*at_s));
            let wall = epoch + SignedDuration::from_secs(i64::from(*at_s));
            let heartbeat = epoch + SignedDuration::from_secs(*heartbeat_s);
            // Whatever else is written differs each time.
            let spec = NodeLatencySpec { heartbeat, member_count: *at_s, readings: Vec::new() };
            let object = NodeLatency::new("n1", spec);
            let events = match by {
                Watch => vec![Event::Apply(object)],
                List => vec![Event::Init, Event::InitApply(object), Event::InitDone],
            };
            for event in events {
                received(&mut table, event, now, wall);
            }
        }
        assert_eq!((now - table.get("n1").unwrap().received).as_secs(), age_s, "{what}");
    }
}

#[test]
fn whoever_is_injected_can_be_moved() {
    use serde_json::json;

    use crate::core::{
        affinity::{Namespace, SkipReason, Verdict, decide},
        schedulers::Schedulers,
    };
    let known = [Schedulers::default(), Schedulers::new(["default-scheduler", "packer"])];
    let namespace = Namespace { label: Some("default".into()), ..Namespace::default() };
    for schedulers in &known {
        for scheduler in [None, Some(""), Some("default-scheduler"), Some("packer"), Some("volcano")] {
            for follow in [None, Some("default")] {
                let pod = json!({
                    "metadata": {"name": "web", "annotations": {"switchover.dev/follow": follow}},
                    "spec": {"containers": [], "schedulerName": scheduler},
                });
                let text = pod.to_string();
                let asked: crate::core::affinity::Pod<'_> = serde_json::from_str(&text).unwrap();
                let verdict = decide(&asked, Some(&namespace), |_| None, schedulers, Instant::now()).verdict;
                let moved = pod_of(&text, schedulers).not_injected.is_none();
                assert_eq!(moved, verdict != Verdict::Skip(SkipReason::OtherScheduler), "{text}");
            }
        }
    }
}

fn pod_of(text: &str, schedulers: &crate::core::schedulers::Schedulers) -> Pod {
    let mut object: serde_json::Value = serde_json::from_str(text).unwrap();
    // Typed, an annotation has a value.
    if object["metadata"]["annotations"]["switchover.dev/follow"].is_null() {
        object["metadata"]["annotations"] = serde_json::Value::Null;
    }
    convert::pod(serde_json::from_value(object).unwrap(), schedulers)
}

#[test]
fn admission_and_the_movement_read_the_same_tolerations() {
    use crate::core::{
        affinity::pod::Toleration,
        schedulers::Schedulers,
        taints::{Taint, refusing},
        workload,
    };
    let tolerations = r#"[{"key":"a","operator":"Exists"},{"key":"b","value":"1"},{"key":"c","operator":"Equal","value":"1"},
        {"key":"d","operator":"Gt","value":"1"},{"key":"e","operator":"","effect":"NoExecute"}]"#;
    let text = format!(r#"{{"metadata":{{"name":"web"}},"spec":{{"containers":[],"tolerations":{tolerations}}}}}"#);
    let moved = pod_of(&text, &Schedulers::default()).tolerations;
    let admitted: Vec<Toleration<'_>> = serde_json::from_str(tolerations).unwrap();
    let refused = |key: &str| {
        let taint = [Taint { key: key.into(), value: "1".into(), effect: "NoSchedule".into() }];
        let by_movement = refusing(&taint, || moved.iter().map(workload::Toleration::tolerated)).is_some();
        let by_admission = refusing(&taint, || admitted.iter().filter_map(Toleration::tolerated)).is_some();
        assert_eq!(by_movement, by_admission, "{key}");
        by_movement
    };
    assert_eq!(["a", "b", "c", "d", "e", "f"].map(refused), [false, false, false, true, true, true]);
}
