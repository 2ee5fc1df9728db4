//! Recordings of a real Patroni, with what must be believed line by line.

use super::{replay, verdicts};
use crate::core::primary::PrimaryState::Known;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/patroni/", $name, ".jsonl"))
    };
}

/// All of them.
pub(super) const ALL: [(&str, &str); 22] = [
    ("switchover-default", recording!("switchover-default")),
    ("kill9-patroni-and-postgres", recording!("kill9-patroni-and-postgres")),
    ("kill9-postgres-only", recording!("kill9-postgres-only")),
    ("leader-cut-from-dcs", recording!("leader-cut-from-dcs")),
    ("dcs-hung-45s", recording!("dcs-hung-45s")),
    ("patroni-frozen", recording!("patroni-frozen")),
    ("three-die-in-turn", recording!("three-die-in-turn")),
    ("pause-store-hung", recording!("pause-store-hung")),
    ("failsafe", recording!("failsafe")),
    ("scheduled-restart", recording!("scheduled-restart")),
    ("lone-leader-restarted", recording!("lone-leader-restarted")),
    ("dcs-killed-30s", recording!("dcs-killed-30s")),
    ("rejoin-rewound-and-anew", recording!("rejoin-rewound-and-anew")),
    ("pause-promoted-by-hand", recording!("pause-promoted-by-hand")),
    ("leader-data-lost", recording!("leader-data-lost")),
    ("demoted-to-standby-cluster", recording!("demoted-to-standby-cluster")),
    ("standby-cluster-promoted", recording!("standby-cluster-promoted")),
    ("made-anew", recording!("made-anew")),
    ("patroni-3-switchover-and-kill9", recording!("patroni-3-switchover-and-kill9")),
    ("kill9-patroni-only", recording!("kill9-patroni-only")),
    ("old-switchover-hostnames", recording!("old-switchover-hostnames")),
    ("old-localhost-url", recording!("old-localhost-url")),
];

/// Why whoever follows a primary that says that it is one is asked rarely.
#[test]
fn a_primary_is_none_any_more_before_another_one_is() {
    let mut changes = 0;
    for (name, text) in ALL {
        for two in replay(text).unwrap().windows(2) {
            let [before, after] = two else { unreachable!("two by two") };
            changes += after.view.epoch - before.view.epoch;
            if let (Known(old), Known(new)) = (&before.view.state, &after.view.state) {
                assert_eq!(old.name, new.name, "{name} at {}", after.t);
            }
        }
    }
    assert!(changes > 10, "{changes}");
}

#[test]
fn switchover() {
    assert_eq!(
        verdicts(recording!("switchover-default")),
        [
            "0.059 Unknown - last - epoch 0",
            "0.085 Known pg2@1 last pg2 epoch 1",
            "5.630 Degraded pg2 last pg2 epoch 1",
            "7.818 Unknown - last pg2 epoch 1",
            "7.924 Unknown - last pg2 epoch 1 frozen cluster_unlocked",
            "8.169 Promoting pg1 last pg2 epoch 1 frozen cluster_unlocked",
            "8.231 Promoting pg1 last pg2 epoch 1",
            "8.331 Known pg1@2 last pg1 epoch 2",
        ]
    );
}

#[test]
fn kill9_of_patroni_and_postgres() {
    assert_eq!(
        verdicts(recording!("kill9-patroni-and-postgres")),
        [
            "0.035 Known pg1@2 last pg1 epoch 1",
            "3.035 Unknown - last pg1 epoch 1",
            "25.111 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            "25.294 Promoting pg2 last pg1 epoch 1 frozen cluster_unlocked",
            "25.347 Promoting pg2 last pg1 epoch 1",
            "25.562 Known pg2@3 last pg2 epoch 2",
        ]
    );
}

#[test]
fn kill9_of_postgres_alone_is_no_failover() {
    assert_eq!(
        verdicts(recording!("kill9-postgres-only")),
        [
            "0.011 Unknown - last - epoch 0",
            "0.018 Known pg2@3 last pg2 epoch 1",
            "3.039 Degraded pg2 last pg2 epoch 1",
            "18.360 Known pg2@3 last pg2 epoch 1",
        ]
    );
}

#[test]
fn leader_cut_from_dcs() {
    assert_eq!(
        verdicts(recording!("leader-cut-from-dcs")),
        [
            "0.028 Unknown - last - epoch 0",
            "0.044 Known pg1@2 last pg1 epoch 1",
            "20.127 Degraded pg1 last pg1 epoch 1",
            "21.630 Unknown - last pg1 epoch 1",
            "30.258 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            "30.285 Promoting pg3 last pg1 epoch 1 frozen cluster_unlocked",
            "30.351 Promoting pg3 last pg1 epoch 1",
            // From 32.354 to 47.969 pg1, still cut off, says cluster_unlocked: it hasn't seen the store for 10 s.
            "30.392 Known pg3@3 last pg3 epoch 2",
        ]
    );
}

#[test]
fn dcs_hung() {
    assert_eq!(
        verdicts(recording!("dcs-hung-45s")),
        [
            "0.026 Unknown - last - epoch 0",
            "0.044 Known pg3@1 last pg3 epoch 1",
            "13.223 Known pg3@1 last pg3 epoch 1 frozen cluster_unlocked",
            "15.243 Degraded pg3 last pg3 epoch 1 frozen cluster_unlocked",
            "17.279 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
            "23.275 Unknown - last pg3 epoch 1",
            "25.283 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
            "27.287 Unknown - last pg3 epoch 1",
            "47.991 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
            "54.430 Promoting pg1 last pg3 epoch 1",
            "54.529 Known pg1@2 last pg1 epoch 2",
        ]
    );
}

// The following were recorded by `switchover record` with ttl 20, loop_wait 2, retry_timeout 3.

#[test]
fn patroni_of_the_leader_frozen_without_watchdog() {
    assert_eq!(
        verdicts(recording!("patroni-frozen")),
        [
            "0.005 Unknown - last - epoch 0",
            "0.006 Known pg1@1 last pg1 epoch 1",
            "4.517 Unknown - last pg1 epoch 1",
            "23.128 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            // At 43.087 pg1 thaws and runs as primary on timeline 1, without the lock, for two seconds.
            "25.140 Known pg3@2 last pg3 epoch 2",
        ]
    );
}

#[test]
fn three_members_die_in_turn_and_rejoin() {
    assert_eq!(
        verdicts(recording!("three-die-in-turn")),
        [
            "0.004 Unknown - last - epoch 0",
            "0.005 Known pg3@2 last pg3 epoch 1",
            "3.266 Unknown - last pg3 epoch 1",
            "22.622 Known pg1@3 last pg1 epoch 2",
            "23.119 Unknown - last pg1 epoch 2",
            "42.993 Unknown - last pg1 epoch 2 frozen cluster_unlocked",
            "43.242 Known pg2@4 last pg2 epoch 3",
            "48.515 Unknown - last pg2 epoch 3",
            "55.552 Degraded pg2 last pg2 epoch 3",
            "55.808 Promoting pg2 last pg2 epoch 3",
            "56.312 Known pg2@5 last pg2 epoch 3",
        ]
    );
}

#[test]
fn store_hung_in_pause() {
    assert_eq!(
        verdicts(recording!("pause-store-hung")),
        [
            "0.004 Known pg2@5 last pg2 epoch 1",
            "3.769 Known pg2@5 last pg2 epoch 1 frozen pause",
            "14.831 Known pg2@5 last pg2 epoch 1 frozen cluster_unlocked,pause",
            "33.925 Known pg2@5 last pg2 epoch 1 frozen pause",
            "46.493 Known pg2@5 last pg2 epoch 1",
        ]
    );
}

#[test]
fn store_hung_with_failsafe() {
    assert_eq!(
        verdicts(recording!("failsafe")),
        [
            "0.004 Unknown - last - epoch 0",
            "0.006 Known pg2@5 last pg2 epoch 1",
            "6.040 Known pg2@5 last pg2 epoch 1 frozen failsafe_mode_is_active",
            "9.057 Known pg2@5 last pg2 epoch 1 frozen cluster_unlocked,failsafe_mode_is_active",
            // For as long as ttl the replicas believe that it may not be over.
            "38.210 Known pg2@5 last pg2 epoch 1 frozen failsafe_mode_is_active",
        ]
    );
}

#[test]
fn the_leader_is_restarted_at_a_scheduled_time() {
    assert_eq!(
        verdicts(recording!("scheduled-restart")),
        [
            "0.008 Known pg1@3 last pg1 epoch 1",
            "11.055 Degraded pg1 last pg1 epoch 1",
            "12.844 Known pg1@3 last pg1 epoch 1",
        ]
    );
}

#[test]
fn a_lone_leader_restarted_in_order_begins_the_next_timeline() {
    assert_eq!(
        verdicts(recording!("lone-leader-restarted")),
        [
            "0.002 Known pg1@3 last pg1 epoch 1",
            "15.591 Unknown - last pg1 epoch 1",
            "19.672 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            "20.718 Promoting pg1 last pg1 epoch 1 frozen cluster_unlocked",
            "20.927 Known pg1@4 last pg1 epoch 1",
        ]
    );
}

#[test]
fn store_killed() {
    assert_eq!(
        verdicts(recording!("dcs-killed-30s")),
        [
            "0.003 Known pg1@4 last pg1 epoch 1",
            "6.787 Degraded pg1 last pg1 epoch 1 frozen cluster_unlocked",
            "8.845 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            "33.829 Promoting pg1 last pg1 epoch 1 frozen cluster_unlocked",
            "33.833 Promoting pg1 last pg1 epoch 1",
            "34.052 Known pg1@5 last pg1 epoch 1",
        ]
    );
}

#[test]
fn a_dead_leader_rejoins_rewound_and_then_copied_anew() {
    assert_eq!(
        verdicts(recording!("rejoin-rewound-and-anew")),
        [
            "0.015 Unknown - last - epoch 0",
            "0.018 Known pg1@5 last pg1 epoch 1",
            "3.309 Unknown - last pg1 epoch 1",
            "22.071 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            "22.321 Known pg2@6 last pg2 epoch 2 frozen cluster_unlocked",
            "22.333 Known pg2@6 last pg2 epoch 2",
        ]
    );
}

#[test]
fn in_pause_switched_over_and_promoted_by_hand() {
    assert_eq!(
        verdicts(recording!("pause-promoted-by-hand")),
        [
            "0.002 Known pg2@6 last pg2 epoch 1",
            "4.025 Known pg2@6 last pg2 epoch 1 frozen pause",
            "6.038 Degraded pg2 last pg2 epoch 1 frozen pause",
            "8.046 Unknown - last pg2 epoch 1 frozen pause",
            "8.302 Promoting pg1 last pg2 epoch 1 frozen cluster_unlocked,pause",
            "8.554 Known pg1@7 last pg1 epoch 2 frozen cluster_unlocked,pause",
            // At 14.334 somebody promotes pg3: primary on timeline 8 without the lock, until it gets it.
            "10.342 Known pg1@7 last pg1 epoch 2 frozen pause",
            "22.444 Degraded pg1 last pg1 epoch 2 frozen pause",
            "24.194 Known pg3@8 last pg3 epoch 3 frozen pause",
            "45.803 Known pg3@8 last pg3 epoch 3",
        ]
    );
}

#[test]
fn the_leader_loses_its_data_and_is_made_anew() {
    assert_eq!(
        verdicts(recording!("leader-data-lost")),
        [
            "0.004 Unknown - last - epoch 0",
            "0.009 Known pg3@8 last pg3 epoch 1",
            "3.267 Degraded pg3 last pg3 epoch 1",
            "5.279 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
            "5.531 Known pg2@9 last pg2 epoch 2 frozen cluster_unlocked",
            "5.535 Known pg2@9 last pg2 epoch 2",
        ]
    );
}

#[test]
fn demoted_to_a_standby_cluster() {
    assert_eq!(
        verdicts(recording!("demoted-to-standby-cluster")),
        [
            "0.015 Known pg2@1 last pg2 epoch 1",
            // A fourth of a second of: primary, but /primary is 503 already.
            "4.089 Degraded pg2 last pg2 epoch 1",
            "4.361 Unknown - last pg2 epoch 1",
            "6.398 Unknown - last pg2 epoch 1 frozen cluster_unlocked",
            "6.655 Unknown - last pg2 epoch 1",
        ]
    );
}

#[test]
fn a_standby_cluster_changes_its_leader_and_is_promoted() {
    assert_eq!(
        verdicts(recording!("standby-cluster-promoted")),
        [
            "0.006 Unknown - last - epoch 0",
            "6.071 Unknown - last - epoch 0 frozen cluster_unlocked",
            "8.143 Unknown - last - epoch 0",
            "22.059 Known pg2@3 last pg2 epoch 1",
        ]
    );
}

#[test]
fn removed_and_made_anew() {
    assert_eq!(
        verdicts(recording!("made-anew")),
        [
            "0.009 Known pg1@2 last pg1 epoch 1",
            "2.545 Unknown - last pg1 epoch 1",
            "34.455 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            "42.738 Unknown - last pg1 epoch 1 frozen cluster_unlocked,system_identifier",
            // The others are not up yet: whether the old database is gone nobody says.
            "42.982 SplitBrain [Primary { name: \"pg2\", timeline: 1 }] last pg1 epoch 1 frozen split_brain,system_identifier",
            "48.255 Known pg2@1 last pg2 epoch 2",
        ]
    );
}

// By Patroni 3.2.2, which says `master`.

#[test]
fn switchover_and_kill9_of_patroni_3() {
    assert_eq!(
        verdicts(recording!("patroni-3-switchover-and-kill9")),
        [
            "0.002 Unknown - last - epoch 0",
            "0.006 Known pg1@1 last pg1 epoch 1",
            "3.269 Degraded pg1 last pg1 epoch 1",
            "5.278 Unknown - last pg1 epoch 1",
            "5.533 Known pg2@2 last pg2 epoch 2",
            "5.544 Known pg2@2 last pg2 epoch 2 frozen cluster_unlocked",
            "7.553 Known pg2@2 last pg2 epoch 2",
            "12.324 Unknown - last pg2 epoch 2",
            "30.925 Known pg3@3 last pg3 epoch 3",
        ]
    );
}

#[test]
fn kill9_of_patroni_alone_leaves_postgres_writable_and_silent() {
    assert_eq!(
        verdicts(recording!("kill9-patroni-only")),
        [
            "0.003 Known pg3@3 last pg3 epoch 1",
            "3.013 Unknown - last pg3 epoch 1",
            "23.379 Promoting pg2 last pg3 epoch 1",
            "23.633 Known pg2@4 last pg2 epoch 2",
        ]
    );
}

// By Patroni 3.0.2, which doesn't say its name: URLs and names are of the same members.

#[test]
fn switchover_under_host_names_without_names_in_answers() {
    assert_eq!(
        verdicts(recording!("old-switchover-hostnames")),
        [
            "0.011 Unknown - last - epoch 0",
            "0.026 Known pg1@1 last pg1 epoch 1",
            "15.851 Degraded pg1 last pg1 epoch 1",
            "16.844 Degraded pg1 last pg1 epoch 1 frozen cluster_unlocked",
            "16.851 Promoting pg2 last pg1 epoch 1 frozen cluster_unlocked",
            "17.090 Known pg2@2 last pg2 epoch 2 frozen cluster_unlocked",
            "18.857 Known pg2@2 last pg2 epoch 2",
        ]
    );
}

#[test]
fn kill9_of_one_behind_a_forwarder_without_names_in_answers() {
    assert_eq!(
        verdicts(recording!("old-localhost-url")),
        [
            "0.009 Unknown - last - epoch 0",
            "0.020 Known pg1@6 last pg1 epoch 1",
            "14.093 Unknown - last pg1 epoch 1",
            "23.134 Known pg3@7 last pg3 epoch 2",
        ]
    );
}

#[test]
fn movement_is_allowed_only_while_a_primary_is_known_and_nothing_is_frozen() {
    for (_, text) in ALL {
        for change in replay(text).unwrap() {
            let free = matches!(change.view.state, Known(_)) && change.view.frozen.is_empty();
            assert_eq!(change.view.movement_allowed(), free);
            assert!(change.view.why.len() > 20, "{}", change.view.why);
        }
    }
}
