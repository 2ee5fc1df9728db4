//! While this replica leads, owners of pods that no watch tells of are asked for, again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Shared;
use crate::index::Asking;

/// Pause between two rounds. What a round found is as old as this and a round.
const PAUSE: Duration = Duration::from_secs(5);

/// Never ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut asking = Asking::new(&shared.client);
    let mut leadership = shared.leadership.clone();
    loop {
        if shared.index.synced() && shared.leadership.borrow().leads(Instant::now()) {
            asking.round(&shared.index, Instant::now()).await;
        }
        // A new leader needs them at once.
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            changed = leadership.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}
