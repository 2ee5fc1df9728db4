//! How far nodes are, and how well that is known.

use super::{
    board::{
        Board, Panel, Row,
        Unit::{Count, PerSecond, Ratio, Seconds},
    },
    panels,
};

pub(super) fn board() -> Board {
    Board {
        name: "nodes",
        title: "switchover / Nodes",
        description: "How far nodes are from each database's members, and how well that is known.",
        rows: vec![Row { title: "By the leader", panels: leader() }, Row { title: "By the agents", panels: agents() }],
    }
}

fn leader() -> Vec<Panel> {
    vec![
        panels::nodes_by_tier(),
        Panel::lines(
            "Labelled nodes without a reading",
            Count,
            "They keep their label: the agent is silent, or isn't believed",
        )
        .asks("max by (cluster, database) (switchover_nodes_silent{DATABASE})", "{{cluster}} {{database}}"),
        Panel::lines("Readings that are not believed", Count, "By reason").asks(
            "max by (cluster, database, reason) (switchover_ignored_readings{DATABASE})",
            "{{cluster}} {{database}} {{reason}}",
        ),
        panels::label_changes(),
        Panel::lines("Labels that others changed", PerSecond, "And that were put back").asks(
            "sum by (cluster, database) (rate(switchover_labels_overwritten_total{DATABASE}[RANGE]))",
            "{{cluster}} {{database}}",
        ),
    ]
}

fn agents() -> Vec<Panel> {
    vec![
        Panel::lines("Round trips to members", Seconds, "Of all nodes: the nearest, half of them, the farthest")
            .asks("min by (cluster, host) (switchover_probe_rtt_seconds{CLUSTER})", "{{cluster}} {{host}} nearest")
            .asks(
                "quantile by (cluster, host) (0.5, switchover_probe_rtt_seconds{CLUSTER})",
                "{{cluster}} {{host}} half",
            )
            .asks("max by (cluster, host) (switchover_probe_rtt_seconds{CLUSTER})", "{{cluster}} {{host}} farthest"),
        Panel::lines("Echoes that were lost", Ratio, "The ten nodes that lose most")
            .asks("topk(10, switchover_probe_loss_ratios{CLUSTER} > 0)", "{{cluster}} {{instance}} {{host}}"),
        Panel::lines(
            "Probes that could not be made",
            PerSecond,
            "No route (send), or the name has no address (resolve)",
        )
        .asks(
            "sum by (cluster, reason) (rate(switchover_probe_errors_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{reason}}",
        ),
        Panel::lines("Hosts that are not measured", Count, "Because a NodeLatency has no room for them")
            .asks("max by (cluster) (switchover_probe_hosts_left_out{CLUSTER})", "{{cluster}}"),
        Panel::lines("Writes of readings", PerSecond, "By what they were for, and what came of them").asks(
            "sum by (cluster, cause, outcome) (rate(switchover_node_latency_writes_total{CLUSTER}[RANGE]))",
            "{{cluster}} {{cause}} {{outcome}}",
        ),
    ]
}
