//! Whether all is well, and with whom it isn't: what the alerts are about, in one place.

use super::{
    board::{
        Board, Panel, Row,
        Unit::{Count, PerSecond, Ratio, Seconds, Yes},
    },
    panels,
};

pub(super) fn board() -> Board {
    Board {
        name: "overview",
        title: "switchover / Overview",
        description: "Whether all is well, and with whom it isn't. Each alert's runbook names the panel to look at.",
        rows: vec![
            Row { title: "Roles", panels: roles() },
            Row { title: "Databases", panels: databases() },
            Row { title: "Pods", panels: pods() },
        ],
    }
}

fn roles() -> Vec<Panel> {
    vec![
        Panel::number("Controllers that lead", Count, "One for each cluster")
            .asks("sum by (cluster) (switchover_leader{CLUSTER})", "{{cluster}}"),
        Panel::number("Alerts that fire", Count, "Of switchover's own")
            .asks(r#"count(ALERTS{alertname=~"Switchover.+", alertstate="firing", CLUSTER}) or vector(0)"#, "alerts"),
        Panel::number("Roles that run", Count, "Replicas by role and version, as far as they are scraped").asks(
            "count by (cluster, role, version) (switchover_build_info{CLUSTER})",
            "{{cluster}} {{role}} {{version}}",
        ),
        Panel::number(
            "Time until certificates expire",
            Seconds,
            "What the leader keeps (serving, authority), and what replicas serve",
        )
        .asks(
            "min by (cluster, certificate) (switchover_certificate_expiry_timestamp_seconds{CLUSTER}) - time()",
            "{{cluster}} {{certificate}}",
        ),
        Panel::number("Certificates can't be kept", Yes, "By the leader")
            .asks("max by (cluster) (switchover_certificate_failing{CLUSTER})", "{{cluster}}"),
        Panel::lines("Changes of the leader", Count, "In an hour; an update changes it once for each replica")
            .asks("sum by (cluster) (changes(switchover_leader{CLUSTER}[1h]))", "{{cluster}}"),
        Panel::lines("Watches that work", Yes, "Of controllers and webhook; 0 while the last picture is used")
            .asks("min by (cluster, kind) (switchover_watch_current{CLUSTER})", "{{cluster}} controller {{kind}}")
            .asks(
                "min by (cluster, kind) (switchover_admission_cache_current{CLUSTER})",
                "{{cluster}} webhook {{kind}}",
            ),
        Panel::lines("Objects that can't be read", Count, "Nothing is decided on them as they are")
            .asks("max by (cluster, kind) (switchover_watch_unreadable{CLUSTER})", "{{cluster}} {{kind}}"),
        Panel::lines("Log lines dropped", PerSecond, "Because stderr takes them too slowly").asks(
            "sum by (cluster, instance) (rate(switchover_log_lines_dropped_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{instance}}",
        ),
        Panel::lines("Events dropped", PerSecond, "Because too many waited")
            .asks("sum by (cluster) (rate(switchover_events_dropped_total{CLUSTER}[RANGE]))", "{{cluster}}"),
    ]
}

fn databases() -> Vec<Panel> {
    vec![
        panels::primary("What the leader believes of each database's primary"),
        panels::closed_gates(),
        Panel::lines("Databases that are followed", Yes, "0: refused, see the condition Accepted")
            .asks("max by (cluster, database) (switchover_database_accepted{DATABASE})", "{{cluster}} {{database}}"),
        Panel::lines("Reasons to freeze", Count, "For which nothing may be moved, as far as the database goes").asks(
            "max by (cluster, database) (switchover_primary_frozen{DATABASE} LEADER)",
            "{{cluster}} {{database}}",
        ),
        Panel::lines("Members that don't answer", Ratio, "Part of the leader's questions that had no answer").asks(
            "sum by (cluster, database, member) (rate(switchover_discovery_polls_total{outcome=\"unreachable\", DATABASE}[RANGE])) \
             / sum by (cluster, database, member) (rate(switchover_discovery_polls_total{DATABASE}[RANGE]))",
            "{{cluster}} {{database}} {{member}}",
        ),
        Panel::lines("Time that a member's answer takes", Seconds, "99 of 100 take less").asks(
            "histogram_quantile(0.99, sum by (cluster, database, le) (rate(switchover_discovery_poll_duration_seconds_bucket{DATABASE}[RANGE])))",
            "{{cluster}} {{database}}",
        ),
        Panel::lines("Witnesses that are heard", Yes, "Of databases with a witness")
            .asks("max by (cluster, database) (switchover_witness_seen{DATABASE})", "{{cluster}} {{database}}"),
        Panel::lines("Credentials that fail", Yes, "Of databases that name Secrets; what was good before is in use")
            .asks("max by (cluster, database) (switchover_credentials_failing{DATABASE})", "{{cluster}} {{database}}"),
        Panel::lines("Time until client certificates expire", Seconds, "That members are shown").asks(
            "min by (cluster, database) (switchover_credentials_expiry_timestamp_seconds{DATABASE}) - time()",
            "{{cluster}} {{database}}",
        ),
        Panel::lines("Deaths of the discovery", Count, "In an hour, of the task that asks who is primary; each is a bug").asks(
            "max by (cluster, database) (increase(switchover_discovery_deaths_total{DATABASE}[1h]))",
            "{{cluster}} {{database}}",
        ),
        Panel::lines("Status writes that fail", PerSecond, "Without them nothing is moved").asks(
            "sum by (cluster, database, outcome) (rate(switchover_status_writes_total{DATABASE}[RANGE]))",
            "{{cluster}} {{database}} {{outcome}}",
        ),
    ]
}

fn pods() -> Vec<Panel> {
    vec![
        panels::followers_that_stay(),
        panels::moves_under_way(),
        Panel::lines("Pods at their creation", PerSecond, "Injected, or left as they are").asks(
            "sum by (cluster, outcome) (rate(switchover_admission_requests_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{outcome}}",
        ),
    ]
}
