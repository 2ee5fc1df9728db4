use lab::table::check_rows;

use super::*;

/// `a2*3` are three moves of group a that take two seconds each. Begins and ends, in seconds: `0-2 0-2 2-4`.
fn told(moves: &str, at_once: &[u32], bounds: Bounds) -> String {
    let mut jobs = Vec::new();
    for word in moves.split(' ') {
        let (what, many) = word.split_once('*').unwrap_or((word, "1"));
        let (group, takes) = what.split_at(1);
        let group = usize::from(group.as_bytes()[0] - b'a');
        let job = Job { group, namespace: group / 2, takes_ms: takes.parse::<u64>().unwrap() * 1_000 };
        jobs.extend(vec![job; many.parse().unwrap()]);
    }
    let times = schedule(&jobs, at_once, bounds);
    let told: Vec<_> = times.iter().map(|(begin, end)| format!("{}-{}", begin / 1_000, end / 1_000)).collect();
    told.join(" ")
}

#[test]
fn as_many_go_at_once_as_budgets_and_limits_let() {
    let most = |most| Bounds { most: Some(most), ..NO_BOUNDS };
    let of_namespace = Bounds { per_namespace: Some(1), ..NO_BOUNDS };
    let of_minute = Bounds { per_minute: Some(2), ..NO_BOUNDS };
    let rows = [
        ("one after the other", "a2*3", &[1][..], NO_BOUNDS, "0-2 2-4 4-6"),
        ("two at a time", "a2*4", &[2], NO_BOUNDS, "0-2 0-2 2-4 2-4"),
        ("workloads don't wait for each other", "a2*2 b5", &[1, 1], NO_BOUNDS, "0-2 2-4 0-5"),
        ("for a place of all", "a2*2 b5 c2", &[2, 1, 1], most(2), "0-2 0-2 2-7 2-4"),
        ("of one namespace, one at a time", "a2 b3 c4", &[1, 1, 1], of_namespace, "0-2 2-5 0-4"),
        ("of each minute", "a2*3", &[3], of_minute, "0-2 0-2 60-62"),
        (
            "few at first, then more as replacements find places",
            "a4*25",
            &[25],
            most(200),
            "0-4 0-4 0-4 0-4 0-4 0-4 0-4 0-4 0-4 0-4 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5 1-5",
        ),
    ];
    check_rows(rows, |(what, moves, at_once, bounds, expected)| {
        assert_eq!(told(moves, at_once, bounds), expected, "{what}");
    });
}
