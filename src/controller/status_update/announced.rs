//! A switchover to come: how it stands in the status, and what its condition says.

use jiff::Timestamp;

use super::{LONGEST_SENTENCE, Now, set};
use crate::{
    api::{
        DatabaseClusterStatus,
        database_cluster::{AnnouncedStatus, ConditionType, ReadinessStatus},
    },
    core::announcement::{Announcement, Turn},
    foresight::Grade,
};

/// As it stands in the status.
pub(crate) fn written(it: &Announcement) -> AnnouncedStatus {
    AnnouncedStatus { at: it.at, from: it.from.clone(), to: it.to.clone(), by: it.by.clone() }
}

/// The other way round.
pub(crate) fn read(it: &AnnouncedStatus) -> Announcement {
    Announcement { at: it.at, from: it.from.clone(), to: it.to.clone(), by: it.by.clone() }
}

/// What would come of it, as far as that was found out: of the target, or of the member with which it is worst.
pub(crate) fn readiness(status: &DatabaseClusterStatus) -> Option<&ReadinessStatus> {
    let to = status.announced.as_ref()?.to.as_deref();
    status.readiness.iter().filter(|of| to.is_none_or(|to| of.member == to)).max_by_key(|of| rank(of))
}

/// How bad it would be, the worst the highest.
pub(crate) fn rank(of: &ReadinessStatus) -> (Option<Grade>, u32, u32) {
    (grade(of), of.would_not_fit, of.blocked)
}

/// `None` if a newer version wrote it.
pub(crate) fn grade(of: &ReadinessStatus) -> Option<Grade> {
    of.reason.parse().ok()
}

/// Whether people are to be warned who were last told of `before`: it is bad, and worse than that.
pub(crate) fn is_worse(before: Option<(Option<Grade>, u32, u32)>, of: &ReadinessStatus) -> bool {
    let bad = matches!(grade(of), Some(Grade::Blocked | Grade::NoPlace));
    bad && before.is_none_or(|before| rank(of) > before)
}

/// What would come of it, in words.
pub(crate) fn foreseen(of: &ReadinessStatus) -> String {
    let ReadinessStatus { followers, would_not_fit, blocked, .. } = of;
    // Which one it is need not have been announced.
    let (member, message) = (&of.member, of.message.chars().take(LONGEST_SENTENCE).collect::<String>());
    match grade(of) {
        Some(Grade::NoPlace) => format!("{would_not_fit} of {followers} pods wouldn't fit near {member}: {message}"),
        Some(Grade::Blocked) => format!("{blocked} of {followers} pods can't be moved as they are: {message}"),
        Some(Grade::Ready) => format!("every follower finds its place near {member}: {message}"),
        Some(Grade::Unclear) | None => format!("nobody can tell who finds a place near {member}: {message}"),
    }
}

/// While one is announced. What came of the last one stays as it was told.
pub(super) fn condition(status: &DatabaseClusterStatus) -> Option<Now> {
    let announced = read(status.announced.as_ref()?);
    let readiness = readiness(status);
    let reason = readiness.map_or("Announced", |of| grade(of).unwrap_or(Grade::Unclear).name());
    let foreseen = readiness.map_or_else(|| "what would come of it isn't known yet".to_owned(), foreseen);
    let message = format!("{announced}, announced by {}; {foreseen}", announced.by);
    Some(Now { type_: ConditionType::SwitchoverAnnounced, holds: true, reason, message })
}

/// None is announced any more, and why.
pub(crate) fn end(status: &mut DatabaseClusterStatus, turn: &Turn, generation: Option<i64>, wall: Timestamp) {
    let message = turn.to_string();
    let now = Now { type_: ConditionType::SwitchoverAnnounced, holds: false, reason: turn.name(), message };
    set(&mut status.conditions, now, generation, wall);
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;
    use crate::core::testing::at;

    fn status(to: Option<&str>, rows: &[(&str, &str, u32, u32, &str)]) -> DatabaseClusterStatus {
        let row = |(member, reason, would_not_fit, blocked, message): &(&str, &str, u32, u32, &str)| ReadinessStatus {
            member: (*member).to_owned(),
            reason: (*reason).to_owned(),
            message: (*message).to_owned(),
            followers: 40,
            would_not_fit: *would_not_fit,
            blocked: *blocked,
            ..ReadinessStatus::default()
        };
        let announced =
            AnnouncedStatus { at: at(0), from: Some("pg1".into()), to: to.map(str::to_owned), by: "Patroni".into() };
        DatabaseClusterStatus {
            announced: Some(announced),
            readiness: rows.iter().map(row).collect(),
            ..DatabaseClusterStatus::default()
        }
    }

    #[test]
    fn the_condition_says_when_to_whom_and_what_would_come_of_it() {
        let ready = ("pg2", "Ready", 0, 0, "38 pods would move in about 60 s");
        let tight = ("pg3", "NoPlace", 2, 1, "dc3 lacks 2 cpu");
        let stuck = ("pg3", "Blocked", 0, 1, "shop/web: a budget");
        let at = format!("{:.0}", at(0));
        let begin = |to: &str| format!("pg1 → {to} at {at}, announced by Patroni; ");
        let rows = [
            (Some("pg3"), &[][..], "Announced", begin("pg3") + "what would come of it isn't known yet"),
            (
                Some("pg3"),
                &[ready, tight][..],
                "NoPlace",
                begin("pg3") + "2 of 40 pods wouldn't fit near pg3: dc3 lacks 2 cpu",
            ),
            (
                Some("pg2"),
                &[ready, tight][..],
                "Ready",
                begin("pg2") + "every follower finds its place near pg2: 38 pods would move in about 60 s",
            ),
            (
                Some("pg3"),
                &[ready, stuck][..],
                "Blocked",
                begin("pg3") + "1 of 40 pods can't be moved as they are: shop/web: a budget",
            ),
            (
                Some("pg3"),
                &[("pg3", "Unclear", 0, 0, "agents are silent")][..],
                "Unclear",
                begin("pg3") + "nobody can tell who finds a place near pg3: agents are silent",
            ),
            (
                None,
                &[ready, tight][..],
                "NoPlace",
                begin("any other member") + "2 of 40 pods wouldn't fit near pg3: dc3 lacks 2 cpu",
            ),
        ];
        check_rows(rows, |(to, rows, reason, message)| {
            let now = condition(&status(to, rows)).unwrap();
            assert_eq!((now.holds, now.reason, now.message), (true, reason, message));
        });
        assert!(condition(&DatabaseClusterStatus::default()).is_none());
    }

    #[test]
    fn people_are_warned_when_it_is_bad_and_again_when_it_gets_worse() {
        let mut told = None;
        let mut warned = |reason, would_not_fit, blocked| {
            let status = status(Some("pg3"), &[("pg3", reason, would_not_fit, blocked, "")]);
            let of = readiness(&status).unwrap();
            let worse = is_worse(told, of);
            told = Some(rank(of));
            worse
        };
        let course = [
            ("Unclear", 0, 0, false),
            ("Ready", 0, 0, false),
            ("Blocked", 0, 1, true),
            ("Blocked", 0, 1, false),
            ("Blocked", 0, 2, true),
            ("NoPlace", 1, 0, true),
            ("NoPlace", 1, 0, false),
            ("NoPlace", 2, 0, true),
            ("NoPlace", 1, 0, false),
            ("Ready", 0, 0, false),
            ("NoPlace", 1, 0, true),
            ("Perhaps", 9, 9, false),
        ];
        let expected = course.map(|(.., worse)| worse);
        assert_eq!(course.map(|(reason, would_not_fit, blocked, _)| warned(reason, would_not_fit, blocked)), expected);
        let first = status(Some("pg3"), &[("pg3", "NoPlace", 1, 0, "")]);
        assert!(is_worse(None, readiness(&first).unwrap()), "as soon as it is announced");
    }

    #[test]
    fn what_is_written_is_what_the_next_leader_reads() {
        let it = status(Some("pg3"), &[]).announced.unwrap();
        assert_eq!(written(&read(&it)), it);
    }
}
