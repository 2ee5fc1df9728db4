//! What the webhook does, how fast, and by which picture.

use super::board::{
    Board, Panel, Row,
    Unit::{Count, PerSecond, Seconds, Yes},
};

pub(super) fn board() -> Board {
    Board {
        name: "admission",
        title: "switchover / Admission",
        description: "What the webhook does with pods, how fast, and by which picture.",
        rows: vec![Row { title: "Pods", panels: pods() }, Row { title: "The webhook", panels: webhook() }],
    }
}

fn pods() -> Vec<Panel> {
    vec![
        Panel::lines("Pods by what became of them", PerSecond, "Injected, skipped, failed").asks(
            "sum by (cluster, outcome) (rate(switchover_admission_requests_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{outcome}}",
        ),
        Panel::lines("Why pods are left as they are", PerSecond, "docs/reference.md says what each reason means").asks(
            "sum by (cluster, outcome, reason) (rate(switchover_admission_requests_total{outcome!=\"injected\", CLUSTER}[RANGE]))",
            "{{cluster}} {{outcome}} {{reason}}",
        ),
        Panel::lines("Time that an answer takes", Seconds, "Half of them take less, and 99 of 100; the API server waits for 1 s")
            .asks(
                "histogram_quantile(0.5, sum by (cluster, le) (rate(switchover_admission_duration_seconds_bucket{CLUSTER}[RANGE])))",
                "{{cluster}} half",
            )
            .asks(
                "histogram_quantile(0.99, sum by (cluster, le) (rate(switchover_admission_duration_seconds_bucket{CLUSTER}[RANGE])))",
                "{{cluster}} 99 of 100",
            ),
        Panel::lines("Warnings", PerSecond, "A wrong value, or why a hard mode became preferred").asks(
            "sum by (cluster, kind) (rate(switchover_admission_warnings_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{kind}}",
        ),
        Panel::lines("Events about wrong values", PerSecond, "").asks(
            "sum by (cluster, result) (rate(switchover_admission_events_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{result}}",
        ),
        Panel::lines("Namespaces with wrong values", Count, "In their label or annotations")
            .asks("max by (cluster) (switchover_namespaces_with_mistakes{CLUSTER})", "{{cluster}}"),
    ]
}

fn webhook() -> Vec<Panel> {
    vec![
        Panel::lines("A controller is alive", Yes, "0: none renews its Lease, and required is injected as preferred")
            .asks("min by (cluster) (switchover_admission_controller_alive{CLUSTER})", "{{cluster}}"),
        Panel::lines(
            "Age of what is known",
            Seconds,
            "Since the API server last confirmed what is known of a database",
        )
        .asks(
            "time() - min by (cluster, database) (switchover_admission_facts_confirmed_timestamp_seconds{DATABASE})",
            "{{cluster}} {{database}}",
        ),
        Panel::lines("Objects in the picture", Count, "Of the replica that has fewest")
            .asks("min by (cluster, kind) (switchover_admission_cache_objects{CLUSTER})", "{{cluster}} {{kind}}"),
        Panel::lines("Connections", Count, "Open ones")
            .asks("sum by (cluster) (switchover_connections{CLUSTER})", "{{cluster}}"),
        Panel::lines("Connections by how they ended", PerSecond, "").asks(
            "sum by (cluster, end) (rate(switchover_connections_handled_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{end}}",
        ),
        Panel::lines(
            "Certificate files, by what became of them",
            PerSecond,
            "Refused: broken, or not valid by this clock",
        )
        .asks(
            "sum by (cluster, result) (rate(switchover_certificate_reloads_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{result}}",
        ),
        Panel::lines("Certificates that were changed", PerSecond, "By the leader: authority, bundle, serving").asks(
            "sum by (cluster, object) (rate(switchover_certificate_writes_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{object}}",
        ),
        Panel::lines("Authorities that the API server trusts", Count, "Two while one takes the other's place")
            .asks("max by (cluster) (switchover_certificate_authorities_trusted{CLUSTER})", "{{cluster}}"),
    ]
}
