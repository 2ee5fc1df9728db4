//! `switchover ui`: a page on this machine that shows the clusters' databases live, with the rights of whoever runs it. It reads and
//! changes nothing.
//!
//! Only who knows the page's address gets an answer: it has a secret in it, because other people's processes on the same machine reach
//! the port, too.

mod heat;
mod nodes;
mod page;
mod places;
mod server;
mod watched;

use std::{io, sync::Arc};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{server::Shared, watched::Watched};
use crate::{
    cli::UiArgs,
    cluster::{self, ClusterError},
    serve::{self, ServeError},
};

/// Why there is no page, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("a background task ended that should not have: {0}")]
    Ended(String),
    #[error("can't write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Serves the page until `shutdown`.
///
/// # Errors
/// No cluster to talk to, or the port is taken.
pub async fn run(args: &UiArgs, shutdown: CancellationToken) -> Result<(), UiError> {
    let client = cluster::attentive_client(args.cluster.context.as_deref()).await?;
    let mut tasks = JoinSet::new();
    let watched = Watched::spawn(&client, args.schedulers.clone().schedulers(), args.namespace.clone(), &mut tasks);
    let secret = format!("{:032x}", rand::random::<u128>());
    let listener = serve::listen_locally(args.port).await?;
    let port = listener.local_addr()?.port();
    let shared = Arc::new(Shared { watched, port, shutdown: shutdown.clone() });
    let served = serve::serve_page(listener, server::router(shared, &secret), shutdown);
    // For people, and for scripts that read the last word.
    println!("The page is there until Ctrl-C: http://127.0.0.1:{port}/{secret}/");
    tokio::select! {
        ended = served => ended.map_err(|ended| UiError::Ended(ended.to_string())),
        Some(ended) = tasks.join_next() => Err(UiError::Ended(format!("{ended:?}"))),
    }
}
