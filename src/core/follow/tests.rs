use lab::table::check_rows;

use super::*;

fn defaults(node_label: &str) -> DatabaseDefaults {
    DatabaseDefaults {
        node_label: LabelKey::read(node_label).unwrap(),
        mode: AffinityMode::Preferred,
        weight: Weight::default(),
        move_mode: MoveMode::Evict,
    }
}

/// Resolves beside three databases: `default`, `orders` and `billing`.
fn resolve(label: Option<&str>, namespace: Annotations<'_>, pod: Annotations<'_>) -> Follow {
    let databases = [
        ("default", defaults("switchover")),
        ("orders", defaults("switchover.dev/orders")),
        ("billing", DatabaseDefaults { mode: AffinityMode::AvoidFar, ..defaults("switchover.dev/billing") }),
    ];
    Follow::resolve(label, &namespace, &pod, |name| databases.iter().find(|(n, _)| *n == name).map(|(_, d)| d))
}

fn says(follow: &str) -> Annotations<'_> {
    Annotations { follow: Some(follow), ..Annotations::default() }
}

const SILENT: Annotations<'static> = Annotations { follow: None, affinity: None, weight: None, move_: None };

#[test]
fn the_pod_overrides_the_annotation_which_overrides_the_label() {
    let none = || Err(NotFollowing::OptedOut);
    let missing = || Err(NotFollowing::NoSuchDatabase);
    let rows = [
        (None, SILENT, SILENT, Err(NotFollowing::NotOptedIn), 0),
        // A pod of a namespace without the label never reaches admission; the movement sees it the same way.
        (None, says("default"), says("default"), Err(NotFollowing::NotOptedIn), 0),
        (Some("default"), SILENT, SILENT, Ok("default"), 0),
        (Some("default"), says("orders, billing"), SILENT, Ok("orders billing"), 0),
        (Some("default"), says("orders"), says("billing"), Ok("billing"), 0),
        (Some("default"), SILENT, says("none"), none(), 0),
        (Some("default"), says("none"), SILENT, none(), 0),
        (Some("none"), SILENT, SILENT, none(), 0),
        (Some("none"), SILENT, says("orders"), Ok("orders"), 0),
        (Some("default"), SILENT, says("orders,orders"), Ok("orders"), 0),
        // Wrong values: the next default applies.
        (Some("default"), SILENT, says(""), Ok("default"), 1),
        (Some("default"), SILENT, says("Orders!"), Ok("default"), 1),
        (Some("default"), says(","), says("none,orders"), Ok("default"), 2),
        (Some(""), SILENT, SILENT, missing(), 1),
        // A name that is well-formed but missing is a wish that can't be met, not one to be replaced by another.
        (Some("default"), SILENT, says("gone"), missing(), 1),
        (Some("default"), SILENT, says("gone,orders"), Ok("orders"), 1),
        (Some("gone"), SILENT, SILENT, missing(), 1),
        (Some("default"), SILENT, says("orders,a,b,c,d,e,f,g,h,i"), Ok("orders"), 8),
    ];
    check_rows(rows, |(label, namespace, pod, expected, mistakes)| {
        let follow = resolve(label, namespace, pod);
        let names = follow
            .databases
            .map(|databases| databases.iter().map(|d| d.name.to_string()).collect::<Vec<_>>().join(" "));
        assert_eq!(names, expected.map(str::to_owned), "{label:?} {namespace:?} {pod:?}");
        assert_eq!(follow.mistakes.len(), mistakes, "{label:?} {namespace:?} {pod:?}: {:?}", follow.mistakes);
    });
}

#[test]
fn each_setting_comes_from_the_nearest_that_says_it_rightly() {
    let settings = |follow: Follow| {
        let database = follow.databases.unwrap().remove(0);
        (database.mode.as_str(), database.weight.closely(), database.move_mode.as_str(), follow.mistakes.len())
    };
    let all = |affinity, weight, move_| Annotations {
        follow: None,
        affinity: Some(affinity),
        weight: Some(weight),
        move_: Some(move_),
    };
    let label = Some("billing");
    assert_eq!(settings(resolve(label, SILENT, SILENT)), ("avoid-far", 100, "evict", 0));
    assert_eq!(settings(resolve(label, all("required", "40", "restart"), SILENT)), ("required", 40, "restart", 0));
    assert_eq!(
        settings(resolve(label, all("required", "40", "restart"), all("preferred", "7", "never"))),
        ("preferred", 7, "never", 0)
    );
    assert_eq!(
        settings(resolve(label, all("required", "40", "restart"), all("hard", "0", "fly"))),
        ("required", 40, "restart", 3)
    );
    assert_eq!(
        settings(resolve(label, all("hard", "101", "fly"), all("", "-1", "Evict"))),
        ("avoid-far", 100, "evict", 6)
    );
    assert_eq!(settings(resolve(label, SILENT, all(" required ", " 5", "never "))), ("required", 5, "never", 0));
}

#[test]
fn a_mistake_is_one_short_printable_line_that_says_what_to_write() {
    let long = "x".repeat(500);
    for value in ["", "soft", "a\nb\"c\u{0}", "ä€🦀".repeat(40).as_str(), &long] {
        for place in [Place::NamespaceLabel, Place::NamespaceAnnotation, Place::PodAnnotation] {
            for wrong in [
                Wrong::Names,
                Wrong::NoneWithNames,
                Wrong::NoSuchDatabase,
                Wrong::TooMany,
                Wrong::Mode,
                Wrong::Weight,
                Wrong::Move,
            ] {
                let line = Mistake::new(place, keys::AFFINITY, value, wrong).to_string();
                assert!(line.chars().count() <= 120, "{} {line}", line.chars().count());
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
    assert_eq!(
        resolve(Some("default"), SILENT, Annotations { affinity: Some("soft"), ..SILENT }).mistakes[0].to_string(),
        "pod annotation switchover.dev/affinity \"soft\": write preferred, avoid-far or required"
    );
}

#[test]
fn the_intermediate_term_weighs_half_and_at_least_one() {
    for (weight, half) in [(1, 1), (2, 1), (3, 1), (50, 25), (100, 50)] {
        assert_eq!(Weight::new(weight).unwrap().intermediate(), half);
    }
    assert_eq!((Weight::new(0), Weight::new(101)), (None, None));
}
