//! What several dashboards show.

use super::board::{
    Panel,
    Unit::{Count, PerSecond, Yes},
};

pub(super) fn primary(description: &'static str) -> Panel {
    Panel::states("Primary", Yes, description).asks(
        "max by (cluster, database, state) (switchover_primary_state{DATABASE} LEADER) == 1",
        "{{cluster}} {{database}} {{state}}",
    )
}

pub(super) fn closed_gates() -> Panel {
    Panel::states("Closed gates", Yes, "Why nothing at all is moved").asks(
        "max by (cluster, database, reason) (switchover_movement_gate{DATABASE}) == 1",
        "{{cluster}} {{database}} {{reason}}",
    )
}

pub(super) fn nodes_by_tier() -> Panel {
    Panel::lines("Nodes by tier", Count, "")
        .asks("max by (cluster, database, tier) (switchover_nodes{DATABASE})", "{{cluster}} {{database}} {{tier}}")
}

pub(super) fn label_changes() -> Panel {
    Panel::lines("Label changes", PerSecond, "By outcome").asks(
        "sum by (cluster, database, outcome) (rate(switchover_node_label_writes_total{DATABASE}[RANGE]))",
        "{{cluster}} {{database}} {{outcome}}",
    )
}

pub(super) fn moves_under_way() -> Panel {
    Panel::lines("Moves under way", Count, "")
        .asks("max by (cluster, database) (switchover_moving_pods{DATABASE})", "{{cluster}} {{database}}")
}

pub(super) fn followers_that_stay() -> Panel {
    Panel::lines("Followers that stay, by reason", Count, "On far nodes; docs/reasons.md says what to do about each")
        .asks(
            "max by (cluster, database, reason) (switchover_held_pods{DATABASE}) > 0",
            "{{cluster}} {{database}} {{reason}}",
        )
}
