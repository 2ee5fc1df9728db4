use lab::table::check_rows;

use super::*;
use crate::core::testing::at;

fn announced(second: i64, from: &str, to: &str) -> Announcement {
    let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Announcement { at: at(second), from: name(from), to: name(to), by: "Patroni".into() }
}

const THREE: [&str; 3] = ["pg1", "pg2", "pg3"];

/// What was known, what is heard at which second, and what becomes of it.
#[test]
fn an_announcement_is_told_when_it_is_new_changes_or_goes() {
    let usual = || announced(1_000, "pg1", "pg3");
    let heard = |second, from: &str, to: &str| Heard::Announced(announced(second, from, to));
    let no = |why: &str| Some(Turn::Ignored(why.to_owned()));
    let sentence = |text: &str| format!("{text}, announced by Patroni");
    let rows = [
        ("nothing is heard", None, Heard::Nothing, 0, None, None),
        ("none is announced", None, Heard::None, 0, None, None),
        ("one is", None, heard(1_000, "pg1", "pg3"), 0, Some(Turn::Announced(usual())), Some(usual())),
        ("the same again", Some(usual()), heard(1_000, "pg1", "pg3"), 0, None, Some(usual())),
        ("nobody answers", Some(usual()), Heard::Nothing, 0, None, Some(usual())),
        (
            "at another time",
            Some(usual()),
            heard(2_000, "pg1", "pg3"),
            0,
            Some(Turn::Changed(announced(2_000, "pg1", "pg3"))),
            Some(announced(2_000, "pg1", "pg3")),
        ),
        (
            "to another member",
            Some(usual()),
            heard(1_000, "pg1", "pg2"),
            0,
            Some(Turn::Changed(announced(1_000, "pg1", "pg2"))),
            Some(announced(1_000, "pg1", "pg2")),
        ),
        ("withdrawn", Some(usual()), Heard::None, 989, Some(Turn::Withdrawn(usual())), None),
        ("it begins, says a clock that is behind", Some(usual()), Heard::None, 990, None, Some(usual())),
        ("it is being carried out", Some(usual()), Heard::None, 1_300, None, Some(usual())),
        ("nothing came of it", Some(usual()), Heard::None, 1_301, Some(Turn::Missed(usual())), None),
        ("nor is anything heard", Some(usual()), heard(1_000, "pg1", "pg3"), 1_301, Some(Turn::Missed(usual())), None),
        ("it doesn't say from whom", None, heard(1_000, "", "pg3"), 0, Some(Turn::Announced(usual())), Some(usual())),
        (
            "nor to whom, of several",
            None,
            heard(1_000, "pg1", ""),
            0,
            Some(Turn::Announced(announced(1_000, "pg1", ""))),
            Some(announced(1_000, "pg1", "")),
        ),
        (
            "in the past",
            None,
            heard(1_000, "pg1", "pg3"),
            1_301,
            no(&format!("{}: that time has passed", sentence(&usual().to_string()))),
            None,
        ),
        (
            "to nobody that is known",
            None,
            heard(1_000, "pg1", "pg9"),
            0,
            no(&format!(
                "{}: pg9 is no member: there are pg1; pg2; pg3",
                sentence(&announced(1_000, "pg1", "pg9").to_string())
            )),
            None,
        ),
        (
            "from somebody else",
            None,
            heard(1_000, "pg2", "pg3"),
            0,
            no(&format!("{}: pg2 isn't the primary: pg1 is", sentence(&announced(1_000, "pg2", "pg3").to_string()))),
            None,
        ),
        ("to the primary, which is over", None, heard(1_000, "pg3", "pg1"), 0, None, None),
        ("unreadable", None, Heard::Unreadable("no time".into()), 0, no("no time"), None),
        ("unreadable in place of one", Some(usual()), Heard::Unreadable("no time".into()), 0, no("no time"), None),
    ];
    let members: BTreeSet<&str> = THREE.into();
    let known = Known { primary: Some("pg1"), members: &members };
    check_rows(rows, |(what, before, heard, second, turn, current)| {
        let mut announcements = Announcements::restored(before);
        assert_eq!(announcements.hear(&heard, known, at(second)), turn, "{what}");
        assert_eq!(announcements.current, current, "{what}");
        // Whatever it was, it is told once.
        assert_eq!(announcements.hear(&heard, known, at(second)), None, "{what}, again");
    });
}

#[test]
fn a_primary_comes_as_announced_only_if_it_is_the_target_and_in_time() {
    let usual = || announced(1_000, "pg1", "pg3");
    let rows = [
        ("in time", usual(), "pg1", "pg3", 1_003, true),
        ("as early as clocks may be apart", usual(), "pg1", "pg3", 990, true),
        ("earlier", usual(), "pg1", "pg3", 989, false),
        ("as late as it may be", usual(), "pg1", "pg3", 1_300, true),
        ("later", usual(), "pg1", "pg3", 1_301, false),
        ("another target", usual(), "pg1", "pg2", 1_003, false),
        ("from somebody else", usual(), "pg2", "pg3", 1_003, false),
        ("nobody was named as the target", announced(1_000, "pg1", ""), "pg1", "pg3", 1_003, false),
    ];
    check_rows(rows, |(what, it, from, to, second, comes)| {
        let mut announcements = Announcements::restored(Some(it.clone()));
        let expected = if comes { Turn::Came(it.clone()) } else { Turn::Other(it.clone(), to.to_owned()) };
        assert_eq!(announcements.confirmed(Some(from), to, at(second)), Some(expected), "{what}");
        assert_eq!(announcements.confirmed(Some(to), from, at(second + 1)), None, "{what}: it is over");
    });
}

#[test]
fn what_is_over_is_not_announced_anew_while_somebody_goes_on_announcing_it() {
    let it = announced(1_000, "pg1", "pg3");
    let members: BTreeSet<&str> = THREE.into();
    let by = |primary| Known { primary: Some(primary), members: &members };
    let heard = Heard::Announced(it.clone());
    for (became, what) in [("pg3", "as announced"), ("pg2", "another one")] {
        let mut announcements = Announcements::default();
        assert_eq!(announcements.hear(&heard, by("pg1"), at(0)), Some(Turn::Announced(it.clone())), "{what}");
        assert!(announcements.confirmed(Some("pg1"), became, at(1_002)).is_some(), "{what}");
        assert_eq!(announcements.hear(&heard, by(became), at(1_003)), None, "{what}");
        assert_eq!(announcements.hear(&Heard::None, by(became), at(1_030)), None, "{what}");
        // The next one is a new one.
        let next = Heard::Announced(announced(5_000, became, "pg1"));
        let told = announcements.hear(&next, by(became), at(2_000));
        assert_eq!(told, Some(Turn::Announced(announced(5_000, became, "pg1"))), "{what}");
    }
}

#[test]
fn of_two_members_the_other_one_is_the_target() {
    let members: BTreeSet<&str> = ["pg1", "pg2"].into();
    let known = Known { primary: Some("pg1"), members: &members };
    let mut announcements = Announcements::default();
    let told = announcements.hear(&Heard::Announced(announced(1_000, "", "")), known, at(0));
    assert_eq!(told, Some(Turn::Announced(announced(1_000, "pg1", "pg2"))));
}

#[test]
fn whoever_is_lost_later_has_to_hold_anew() {
    let rows = [(0, true), (30, true), (31, false), (-5, true)];
    check_rows(rows, |(later, expected)| {
        assert_eq!(holds(at(1_000), at(1_000 + later)), expected, "{later}");
    });
}

#[test]
fn turns_are_told_in_sentences() {
    let it = announced(0, "pg1", "pg3");
    let time = format!("{:.0}", at(0));
    let rows = [
        (Turn::Announced(it.clone()), format!("pg1 → pg3 at {time}, announced by Patroni")),
        (Turn::Changed(it.clone()), format!("pg1 → pg3 at {time}, announced by Patroni in place of the last one")),
        (Turn::Withdrawn(it.clone()), format!("pg1 → pg3 at {time} is not announced any more")),
        (Turn::Missed(it.clone()), format!("pg1 → pg3 at {time} did not come")),
        (Turn::Came(it.clone()), format!("pg1 → pg3 at {time} came as announced: settle is not waited for")),
        (
            Turn::Other(it, "pg2".into()),
            format!("pg1 → pg3 at {time} did not come as announced: pg2 is the primary now"),
        ),
        (
            Turn::Announced(announced(0, "", "")),
            format!("the primary → any other member at {time}, announced by Patroni"),
        ),
        (Turn::Ignored("it is late".into()), "ignored: it is late".to_owned()),
    ];
    check_rows(rows, |(turn, sentence)| assert_eq!(turn.to_string(), sentence));
}
