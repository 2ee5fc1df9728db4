use lab::table::check_rows;

use super::*;
use crate::core::{
    movement::{
        held::HeldReason,
        plan::{Held, Plan},
    },
    testing::{at, moment},
};

#[test]
fn a_change_of_primary_says_why() {
    let answer = |state: Option<&str>, error: Option<&str>| MemberAnswer {
        name: "pg1".into(),
        state: state.map(str::to_owned),
        error: error.map(str::to_owned),
        ..MemberAnswer::default()
    };
    let rows = [
        (vec![answer(Some("running"), None)], "Planned"),
        (vec![answer(Some("starting"), None)], "Planned"),
        (vec![answer(None, None)], "Planned"),
        (vec![answer(None, Some("connection refused"))], "Crash"),
        (vec![answer(Some("crashed"), None)], "Crash"),
        (vec![answer(Some("start failed"), None)], "Crash"),
        (vec![MemberAnswer { name: "pg2".into(), ..MemberAnswer::default() }], "Unknown"),
        (vec![], "Unknown"),
    ];
    check_rows(rows, |(answers, expected)| assert_eq!(why("pg1", &answers), expected, "{answers:?}"));
}

#[test]
fn a_row_is_filled_in_until_the_movement_is_over() {
    let held = |pod: &str, reason| Held {
        namespace: "shop".into(),
        pod: pod.into(),
        uid: pod.into(),
        node: "b1".into(),
        reason,
    };
    let plan = Plan {
        held: vec![held("a", HeldReason::Never), held("b", HeldReason::Never), held("c", HeldReason::BarePod)],
        ..Plan::default()
    };
    let mut memory = Memory::restored(&Default::default(), moment(0));
    memory.journal.moved = 7;
    memory.course.first_move = Some(at(30));
    memory.course.last_move = Some(at(50));
    memory.course.refused_by_budgets = 2;
    let mut row = FailoverStatus { epoch: 2, ..FailoverStatus::default() };
    go_on(&mut row, &memory, true);
    end(&mut row, &Decided { plan, rtt_us: Some(300), ..Decided::default() }, at(60));
    let expected = FailoverStatus {
        epoch: 2,
        first_move_at: Some(at(30)),
        last_move_at: Some(at(50)),
        moved_at: Some(at(60)),
        moved: 7,
        held: 3,
        held_by_reason: [("BarePod".to_owned(), 1), ("Never".to_owned(), 2)].into(),
        refused_by_budgets: 2,
        rtt_after_us: Some(300),
        ..FailoverStatus::default()
    };
    assert_eq!(row, expected);
}
