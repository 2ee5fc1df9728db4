//! Switchovers to come, as each source announces them.

use jiff::Timestamp;

use crate::core::{
    announcement::{Announcement, Heard},
    words::is_obeyed,
};

/// Longest name of a member that is taken, in bytes.
const LONGEST_NAME: usize = 256;

/// What `by` announces: at this time, from this member, to that one. Whatever can't be read is said so, without the words that were met.
pub(super) fn heard(by: &str, at: Option<&str>, from: Option<&str>, to: Option<&str>) -> Heard {
    let unreadable = |what: &str| Heard::Unreadable(format!("{by} announces a switchover whose {what}"));
    let Some(at) = at else { return unreadable("time is no text") };
    for (what, name) in [("member to leave", from), ("target", to)] {
        let bad = |name: &str| name.len() > LONGEST_NAME || name.contains(is_obeyed);
        if name.is_some_and(bad) {
            return unreadable(&format!("{what} has no member's name"));
        }
    }
    let name = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
    match at.parse::<Timestamp>() {
        Ok(at) => Heard::Announced(Announcement { at, from: name(from), to: name(to), by: by.to_owned() }),
        Err(_) => unreadable("time can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn what_can_not_be_read_is_said_and_never_quoted() {
        let long = "x".repeat(257);
        let rows = [
            (None, Some("pg1"), Some("pg3"), "Patroni announces a switchover whose time is no text"),
            (Some("soon"), Some("pg1"), Some("pg3"), "Patroni announces a switchover whose time can't be read"),
            (
                Some("2026-11-28T10:00:00"),
                Some("pg1"),
                Some("pg3"),
                "Patroni announces a switchover whose time can't be read",
            ),
            (Some(&long), Some("pg1"), Some("pg3"), "Patroni announces a switchover whose time can't be read"),
            (
                Some("2026-11-28T10:00:00Z"),
                Some("pg\u{1b}[2J"),
                None,
                "Patroni announces a switchover whose member to leave has no member's name",
            ),
            (
                Some("2026-11-28T10:00:00Z"),
                None,
                Some(&long),
                "Patroni announces a switchover whose target has no member's name",
            ),
        ];
        check_rows(rows, |(at, from, to, why)| {
            assert_eq!(heard("Patroni", at, from, to), Heard::Unreadable(why.to_owned()));
        });
    }

    #[test]
    fn times_are_read_with_every_offset_and_names_may_lack() {
        let at = "2026-11-28T09:00:00Z".parse().unwrap();
        let it = |from: Option<&str>, to: Option<&str>| {
            Heard::Announced(Announcement {
                at,
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
                by: "Patroni".to_owned(),
            })
        };
        let rows = [
            ("2026-11-28T10:00:00+01:00", Some("pg1"), Some("pg3"), it(Some("pg1"), Some("pg3"))),
            ("2026-11-28T09:00:00.000000+00:00", Some("pg1"), Some(""), it(Some("pg1"), None)),
            ("2026-11-28T09:00:00Z", None, None, it(None, None)),
        ];
        check_rows(rows, |(at, from, to, expected)| assert_eq!(heard("Patroni", Some(at), from, to), expected));
    }
}
