//! One change of primary: when it came, how nodes and pods followed, what would come of the next one.

use super::{
    board::{
        Board, Panel, Row,
        Unit::{Count, PerSecond, Seconds, Yes},
    },
    panels,
};

pub(super) fn board() -> Board {
    Board {
        name: "failover",
        title: "switchover / One failover",
        description: "Choose a database and the minutes around a change of its primary.",
        rows: vec![
            Row { title: "Primary and nodes", panels: primary() },
            Row { title: "Pods", panels: pods() },
            Row { title: "The next one", panels: next() },
        ],
    }
}

fn primary() -> Vec<Panel> {
    vec![
        panels::primary("What the leader believes"),
        panels::closed_gates(),
        Panel::lines("Confirmed changes of the primary", Count, "The epoch, by the leader, and PostgreSQL's timeline")
            .asks(
                "max by (cluster, database) (switchover_primary_epoch{DATABASE} LEADER)",
                "{{cluster}} {{database}} epoch",
            )
            .asks(
                "max by (cluster, database) (switchover_primary_timeline{DATABASE} LEADER)",
                "{{cluster}} {{database}} timeline",
            ),
        Panel::lines("Members that are not believed", Count, "They act as primary, or may").asks(
            "max by (cluster, database) (switchover_primary_stale_members{DATABASE} LEADER)",
            "{{cluster}} {{database}}",
        ),
        panels::nodes_by_tier(),
        panels::label_changes(),
    ]
}

fn pods() -> Vec<Panel> {
    vec![
        panels::moves_under_way(),
        Panel::lines("Moves that were sent", PerSecond, "By the API server's answer").asks(
            "sum by (cluster, database, action, outcome) (rate(switchover_moves_total{DATABASE}[RANGE]))",
            "{{cluster}} {{database}} {{action}} {{outcome}}",
        ),
        Panel::lines("Moves that are over", PerSecond, "By how they ended").asks(
            "sum by (cluster, database, outcome) (rate(switchover_moves_ended_total{DATABASE}[RANGE]))",
            "{{cluster}} {{database}} {{outcome}}",
        ),
        Panel::lines("Time that a move takes", Seconds, "Half of them take less, and 99 of 100")
            .asks(
                "histogram_quantile(0.5, sum by (cluster, database, le) (rate(switchover_replacement_seconds_bucket{DATABASE}[RANGE])))",
                "{{cluster}} {{database}} half",
            )
            .asks(
                "histogram_quantile(0.99, sum by (cluster, database, le) (rate(switchover_replacement_seconds_bucket{DATABASE}[RANGE])))",
                "{{cluster}} {{database}} 99 of 100",
            ),
        panels::followers_that_stay(),
    ]
}

fn next() -> Vec<Panel> {
    vec![
        Panel::states(
            "Ready for a failover",
            Yes,
            "Whether every follower would find its place with this member as the primary",
        )
        .asks(
            "max by (cluster, database, member) (switchover_failover_ready{DATABASE})",
            "{{cluster}} {{database}} {{member}}",
        ),
        Panel::lines("Followers that would be moved", Count, "").asks(
            "max by (cluster, database, member) (switchover_failover_moves{DATABASE})",
            "{{cluster}} {{database}} {{member}}",
        ),
        Panel::lines("Followers without a place, or that can't be moved", Count, "")
            .asks(
                "max by (cluster, database, member) (switchover_failover_no_place{DATABASE})",
                "{{cluster}} {{database}} {{member}} no place",
            )
            .asks(
                "max by (cluster, database, member) (switchover_failover_blocked{DATABASE})",
                "{{cluster}} {{database}} {{member}} can't be moved",
            ),
        Panel::lines("How long it would take", Seconds, "").asks(
            "max by (cluster, database, member) (switchover_failover_seconds{DATABASE})",
            "{{cluster}} {{database}} {{member}}",
        ),
        Panel::lines("Time until an announced switchover", Seconds, "Nothing while none is announced").asks(
            "max by (cluster, database, member) (switchover_announced_switchover_timestamp_seconds{DATABASE}) - time()",
            "{{cluster}} {{database}} {{member}}",
        ),
    ]
}
