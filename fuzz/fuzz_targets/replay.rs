//! Whatever lines a recording has: each is an answer or a sentence, and what is believed follows the rules of epochs
//! and timelines.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use switchover::{
    core::primary::PrimaryState,
    discover::recording::{Change, Replay},
};

/// The epoch and the time before.
type Before = (u64, f64);

fn follows(before: Before, change: &Change) -> Before {
    let Change { t, shown, view } = change;
    assert!(*t >= before.1, "{change:?}");
    assert!(shown.epoch == before.0 || shown.epoch == before.0 + 1, "{change:?} after epoch {}", before.0);
    assert!(shown.timeline.is_none_or(|timeline| (1..=u64::from(u32::MAX)).contains(&timeline)), "{change:?}");
    assert!(!view.movement_allowed() || view.frozen.is_empty(), "{change:?}");
    if let PrimaryState::Known(primary) = &view.state {
        assert_eq!((Some(primary.timeline), Some(primary)), (view.highest_timeline, view.last.as_ref()));
    }
    (shown.epoch, *t)
}

fuzz_target!(|bytes: &[u8]| {
    let mut replay = Replay::new(Instant::now());
    let mut before = (0, 0.0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match replay.line(line) {
            Ok(change) => before = change.as_ref().map_or(before, |change| follows(before, change)),
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok((changes, instead)) = replay.finish() {
        assert!(!changes.is_empty() || before.0 > 0 || instead.is_empty());
        changes.iter().fold(before, follows);
    }
});
