//! `switchover snapshot`: what plans are made from, as a file.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use jiff::Timestamp;

use crate::{
    cli::SnapshotArgs,
    cluster::{self, ClusterError},
    index::{LookError, snapshot::ClusterSnapshot},
};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("can't see the cluster")]
    Look(#[from] LookError),
    #[error("can't write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("nobody takes it: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Writes it.
///
/// # Errors
/// No cluster, missing rights, or a file that can't be written.
pub async fn run(args: &SnapshotArgs) -> Result<(), SnapshotError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let snapshot = ClusterSnapshot::take(&client, Timestamp::now()).await?;
    let text = serde_json::to_vec(&snapshot)?;
    let Some(path) = &args.output else {
        io::stdout().lock().write_all(&text)?;
        return Ok(());
    };
    std::fs::write(path, text).map_err(|source| SnapshotError::File { path: path.clone(), source })?;
    let counts: Vec<String> = snapshot.counts().iter().map(|(what, count)| format!("{count} {what}")).collect();
    eprintln!("{}: {}. Read it offline: switchover plan -f {0}", path.display(), counts.join(", "));
    Ok(())
}
