//! Tables of what follows when more than one member may be the primary, or none is that should.

use super::{belief, tell};

#[test]
fn a_primary_that_may_be_writable_has_not_given_way() {
    let split = "SplitBrain pg1@2 pg2@2 e1 [split_brain]";
    for said in ["503/unknown/primary", "503/unknown/promoted", "503/stop failed/primary/2", "503/restarting/primary"] {
        // A look is split at blanks.
        let said = said.replace(' ', "_");
        let one = format!("pg1={said} pg2=503/running/replica/1");
        let both = format!("pg1={said} pg2=200/running/primary/2");
        tell(
            &said,
            belief("pg1", 2),
            &[
                (&one, "Degraded pg1 e1"),
                (&both, split),
                ("pg1=503/stopped/demoted pg2=200/running/primary/2", "Known pg2@2 e2"),
            ],
        );
    }
    let view = tell(
        "on a lower timeline it is only told of",
        belief("pg2", 3),
        &[("pg1=503/unknown/primary pg2=200/running/primary/3", "Known pg2@3 e1")],
    );
    assert!(view.why.ends_with("; pg1 may still act as primary and is not believed"), "{}", view.why);
    let view = tell(
        "nor does one that still has the lock, or had it a moment ago",
        belief("pg1", 2),
        &[("pg1=200/unknown/primary pg2=200/running/primary/3", "Known pg2@3 e2")],
    );
    assert!(view.why.ends_with("; pg1 may still act as primary and is not believed"), "{}", view.why);
    tell(
        "on a higher timeline nothing moves, and nobody is believed that never had the lock",
        belief("pg1", 2),
        &[
            ("pg1=200/running/primary/2 pg2=503/running/primary/3", "Known pg1@2 e1 [split_brain]"),
            ("pg1=200/running/primary/2 pg2=503/running/primary/3+pause", "Known pg1@2 e1 [pause]"),
            ("pg1=200/running/primary/2 pg2=503/running/replica/2", "Known pg1@2 e1"),
        ],
    );
    tell(
        "a person decides between two of which one lost the lock",
        belief("pg2", 2),
        &[
            ("pg1=503/running/primary/2 pg2=200/running/primary/2", split),
            ("accept pg2", ""),
            ("pg1=503/running/primary/2 pg2=200/running/primary/2", "Known pg2@2 e1"),
        ],
    );
}

#[test]
fn in_pause_a_replica_that_somebody_promotes_is_not_the_primary_until_it_has_the_lock() {
    let view = tell(
        "by hand, behind Patroni's back",
        belief("pg1", 7),
        &[
            ("pg1=200/running/primary/7+pause pg3=503/running/primary/8+pause", "Known pg1@7 e1 [pause]"),
            ("pg1=200/unknown/primary+pause pg3=503/running/primary/8+pause", "Degraded pg1 e1 [pause]"),
            ("pg1=503/stopped/primary+pause pg3=503/running/primary/8+pause", "Unknown e1 [pause]"),
            ("pg1=503/stopped/primary+pause pg3=200/running/primary/8+pause", "Known pg3@8 e2 [pause]"),
        ],
    );
    assert_eq!(view.highest_timeline, Some(8));
}

#[test]
fn two_primaries_freeze_everything_until_it_is_settled() {
    let both = "pg1=200/running/primary/2 pg2=200/running/primary/2";
    let split = "SplitBrain pg1@2 pg2@2 e1 [split_brain]";
    tell(
        "one gives way",
        belief("pg1", 2),
        &[
            (both, split),
            ("pg1=200/running/primary/2 pg2=timeout", split),
            ("pg1=timeout pg2=200/running/primary/2", split),
            ("pg1=200/running/primary/2 pg2=503/running/replica/2", "Known pg1@2 e1"),
            ("pg1=200/running/primary/2 pg2=timeout", "Known pg1@2 e1"),
        ],
    );
    tell(
        "a higher timeline settles it",
        belief("pg1", 2),
        &[(both, split), ("pg1=200/running/primary/3 pg2=200/running/primary/2", "Known pg1@3 e1")],
    );
    tell(
        "a person settles it",
        belief("pg1", 2),
        &[(both, split), ("accept pg2", ""), (both, "Known pg2@2 e2"), (both, "Known pg2@2 e2")],
    );
    tell(
        "a person's word survives a restart, and a new timeline is a new claim",
        belief("pg1", 2),
        &[
            (both, split),
            ("accept pg2", ""),
            (both, "Known pg2@2 e2"),
            ("restart", ""),
            (both, "Known pg2@2 e2"),
            ("pg1=200/running/primary/2 pg2=timeout", "Unknown e2"),
            ("pg1=200/running/primary/3 pg2=503/running/replica/2", "Known pg1@3 e3"),
        ],
    );
    tell(
        "a person's word for the one that was primary before is no change",
        belief("pg1", 2),
        &[(both, split), ("accept pg1", ""), (both, "Known pg1@2 e1"), ("restart", ""), (both, "Known pg1@2 e1")],
    );
    tell(
        "a person's word waits for the member's own",
        belief("pg1", 2),
        &[
            (both, split),
            ("accept pg3", ""),
            (both, split),
            ("pg1=200/running/primary/2 pg2=200/running/primary/2 pg3=200/running/primary/2", "Known pg3@2 e2"),
        ],
    );
    tell(
        "a person's word is void once the primary is known without it",
        belief("pg1", 2),
        &[
            (both, split),
            ("accept pg3", ""),
            ("pg1=200/running/primary/2 pg2=503/running/replica/2", "Known pg1@2 e1"),
            ("pg1=200/running/primary/2 pg3=200/running/primary/2", "SplitBrain pg1@2 pg3@2 e1 [split_brain]"),
        ],
    );
    tell(
        "a person's word that is taken back",
        belief("pg1", 2),
        &[
            (both, split),
            ("accept pg3", ""),
            ("withdraw", ""),
            (
                "pg1=200/running/primary/2 pg2=200/running/primary/2 pg3=200/running/primary/2",
                "SplitBrain pg1@2 pg2@2 pg3@2 e1 [split_brain]",
            ),
        ],
    );
    tell(
        "a person's word of another epoch is void",
        belief("pg1", 2),
        &[(both, split), ("accept pg2 e0", ""), (both, split), ("accept pg2 e1", ""), (both, "Known pg2@2 e2")],
    );
    tell(
        "one that vanished with the timeline that another now claims",
        belief("pg1", 2),
        &[
            ("pg1=timeout pg2=200/running/primary/2", split),
            ("pg1=503/running/replica/2 pg2=200/running/primary/2", "Known pg2@2 e2"),
        ],
    );
}

#[test]
fn a_primary_that_crashes_before_anybody_follows_it_is_succeeded_on_the_same_timeline() {
    let known = "Known pg3@2 e3";
    tell(
        "pg1, pg2 and pg3 in turn",
        belief("pg1", 1),
        &[
            ("pg1=refused pg2=200/running/primary/2 pg3=503/running/replica/1", "Known pg2@2 e2"),
            ("pg1=refused pg2=refused pg3=503/running/replica/1", "Unknown e2"),
            ("pg1=refused pg2=refused pg3=200/running/replica/1", "Promoting pg3 e2"),
            ("pg1=refused pg2=refused pg3=200/running/primary/2", known),
            ("pg1=refused pg2=503/starting/primary pg3=200/running/primary/2", known),
            (
                "pg1=refused pg2=503/running/primary/2 pg3=200/running/primary/2",
                "SplitBrain pg2@2 pg3@2 e3 [split_brain]",
            ),
            // Without the lock it claims nothing that would outlast it.
            ("pg1=refused pg2=refused pg3=200/running/primary/2", known),
            ("pg1=refused pg2=503/running/replica/2 pg3=200/running/primary/2", known),
        ],
    );
    tell(
        "unless it can be seen that it still acts as primary",
        belief("pg2", 2),
        &[
            ("pg2=timeout pg3=503/running/replica/1", "Unknown e1"),
            ("pg2=503/running/primary/2 pg3=200/running/primary/2", "SplitBrain pg2@2 pg3@2 e1 [split_brain]"),
            ("pg2=timeout pg3=200/running/primary/2", "SplitBrain pg2@2 pg3@2 e1 [split_brain]"),
            ("pg2=503/running/replica/2 pg3=200/running/primary/2", "Known pg3@2 e2"),
        ],
    );
    tell(
        "or comes back as one",
        belief("pg2", 2),
        &[
            ("pg2=timeout pg3=503/running/replica/1", "Unknown e1"),
            ("pg2=timeout pg3=200/running/primary/2", "Known pg3@2 e2"),
            ("pg2=200/running/primary/2 pg3=200/running/primary/2", "SplitBrain pg2@2 pg3@2 e2 [split_brain]"),
        ],
    );
}

#[test]
fn one_database_one_identity() {
    tell(
        "primaries of two databases",
        belief("pg1", 2),
        &[(
            "pg1=200/running/primary/2 pg2=200/running/primary/7+id:2",
            "SplitBrain pg1@2 pg2@7 e1 [split_brain,system_identifier]",
        )],
    );
    tell(
        "a member that runs as primary of another database has no claim on this one",
        belief("pg1", 2),
        &[("pg1=200/running/primary/2 pg2=503/running/primary/2+id:2", "Known pg1@2 e1 [system_identifier]")],
    );
    tell(
        "a replica of another database is listed by mistake",
        belief("pg1", 2),
        &[("pg1=200/running/primary/2 pg2=503/running/replica/7+id:2", "Known pg1@2 e1 [system_identifier]")],
    );
    tell(
        "made anew: timelines start over when most members agree",
        belief("pg1", 9),
        &[
            (
                "pg1=200/running/primary/1+id:2 pg2=timeout pg3=timeout",
                "SplitBrain pg1@1 e1 [split_brain,system_identifier]",
            ),
            ("pg1=200/running/primary/1+id:2 pg2=503/running/replica/1+id:2 pg3=timeout", "Known pg1@1 e1"),
            ("pg1=200/running/primary/1+id:2 pg2=timeout pg3=timeout", "Known pg1@1 e1"),
        ],
    );
    let (pg1, others) = ("pg1=200/running/primary/2", "pg2=503/running/replica/1+id:2 pg3=200/running/primary/1+id:2");
    let (both, alone) = (format!("{pg1} {others}"), format!("pg1=timeout {others}"));
    let split = "SplitBrain pg1@2 pg3@1 e1 [split_brain,system_identifier]";
    tell(
        "made anew beside the old primary: one answer that is missing is no abdication",
        belief("pg1", 2),
        &[
            (&both, split),
            (&alone, split),
            (&both, split),
            ("pg1=timeout pg2=timeout pg3=timeout", "Unknown e1"),
            (&both, split),
            (&alone, split),
            (&format!("pg1=503/running/replica/1+id:2 {others}"), "Known pg3@1 e2"),
        ],
    );
    tell(
        "made anew beside the old primary: a person decides",
        belief("pg1", 2),
        &[(&both, split), ("accept pg3", ""), (&alone, "Known pg3@1 e2")],
    );
    tell(
        "restored on an older timeline: a person must say so",
        belief("pg1", 9),
        &[
            ("pg1=503/stopped/replica pg2=200/running/primary/3", "Unknown e1"),
            ("accept pg2", ""),
            ("pg1=503/stopped/replica pg2=200/running/primary/3", "Known pg2@3 e2"),
        ],
    );
}

#[test]
fn whoever_bears_no_name_makes_a_split_brain_only_with_those_that_it_can_not_be() {
    let without = "http://db:8008=200/running/primary/2+maybe:";
    for (what, answers, expected) in [
        ("it may be the one that is primary", format!("pg1=200/running/primary/2 {without}pg1,pg3"), "Known pg1@2 e1"),
        ("it may be the one that was, and is silent", format!("pg1=timeout {without}pg1,pg3"), "Unknown e1"),
        ("it may be one that isn't heard", format!("pg1=timeout {without}pg3"), "Unknown e1"),
        ("it waits for a list", format!("pg1=timeout {without}"), "Unknown e1"),
        (
            "it is none of those that are primary",
            format!("pg1=200/running/primary/2 {without}pg3"),
            "SplitBrain http://db:8008@2 pg1@2 e1 [split_brain]",
        ),
        (
            "nor has it the lock",
            "pg1=200/running/primary/2 http://db:8008=503/running/primary/2+maybe:pg3".to_owned(),
            "SplitBrain http://db:8008@2 pg1@2 e1 [split_brain]",
        ),
        (
            "it follows the last one on a higher timeline",
            "pg1=503/running/replica/2 http://db:8008=200/running/primary/3".to_owned(),
            "Known http://db:8008@3 e2",
        ),
        (
            "it is about to stop, like any member",
            format!("pg1=200/stopping/primary {without}pg1,pg3"),
            "Degraded pg1 e1",
        ),
    ] {
        tell(what, belief("pg1", 2), &[(&answers, expected)]);
    }
}
