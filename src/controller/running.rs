//! The tasks of the databases that are followed.

use std::{collections::HashMap, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{DatabaseCluster, database_cluster::Discovery, witness::WitnessRules};

/// Pause before a database is followed anew whose task ended by itself.
const REBORN_AFTER: Duration = Duration::from_secs(5);

/// One database's task.
pub(super) struct Running {
    /// A database that is deleted and made anew starts from nothing.
    pub uid: String,
    pub discovery: Discovery,
    pub witness: Option<WitnessRules>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    pub(super) fn follows(&self, object: &DatabaseCluster) -> bool {
        object.metadata.uid.as_deref() == Some(&self.uid)
            && object.spec.discovery == self.discovery
            && object.spec.witness == self.witness
    }
}

/// Ends the tasks that aren't wanted, and forgets those that have ended. One that is ending stays: the next one for its database
/// must not begin before its last move is written down, and would lose its metrics.
pub(super) fn retire(databases: &mut HashMap<String, Running>, wanted: impl Fn(&str, &Running) -> bool) {
    databases.retain(|name, running| {
        if !wanted(name, running) {
            running.stop.cancel();
        }
        !running.task.is_finished()
    });
}

/// A task that ends by itself is not begun anew at once, again and again.
pub(super) async fn run_until_stopped(database: String, stop: CancellationToken, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        tracing::error!(database, "what follows the database has died; it begins anew in {} s", REBORN_AFTER.as_secs());
    }
    let _ = tokio::time::timeout(REBORN_AFTER, stop.cancelled()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_is_ending_keeps_its_place_until_it_has_ended() {
        let (stop, (last_word, said)) = (CancellationToken::new(), tokio::sync::oneshot::channel::<()>());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.cancelled().await;
            let _ = said.await;
        });
        let discovery = Discovery { patroni: None, operator: None, sql: None };
        let running = Running { uid: "1".into(), discovery, witness: None, stop, task };
        let mut databases = HashMap::from([("orders".to_owned(), running)]);
        retire(&mut databases, |_, _| true);
        assert!(!databases["orders"].stop.is_cancelled());
        retire(&mut databases, |_, _| false);
        assert!(databases["orders"].stop.is_cancelled());
        retire(&mut databases, |_, _| true);
        last_word.send(()).unwrap();
        while !databases["orders"].task.is_finished() {
            tokio::task::yield_now().await;
        }
        retire(&mut databases, |_, _| true);
        assert!(databases.is_empty());
    }
}
