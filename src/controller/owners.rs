//! While this replica leads, owners of pods that no watch tells of are asked for, again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Shared;
use crate::index::Asking;

/// Pause between two rounds. What a round found is as old as this and a round.
const PAUSE: Duration = Duration::from_secs(5);
/// Time for each that was asked for, where there are so many that it takes longer than the pause: fifty a second.
const EACH: Duration = Duration::from_millis(20);

/// Never ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut asking = Asking::new(&shared.client);
    let mut leadership = shared.leadership.clone();
    loop {
        let leads = leadership.borrow().leads(Instant::now());
        let asked = match leads && shared.index.synced() {
            true => asking.round(&shared.index, Instant::now()).await,
            // What was known once would be old when this replica leads again.
            false => asking.forget(&shared.index),
        };
        let pause = PAUSE.max(EACH * u32::try_from(asked).unwrap_or(u32::MAX));
        // A new leader needs them at once.
        let changed = leadership.wait_for(|now| now.leads(Instant::now()) != leads);
        if tokio::time::timeout(pause, changed).await.is_ok_and(|ended| ended.is_err()) {
            return std::future::pending().await;
        }
    }
}
