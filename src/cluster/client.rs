//! Which cluster we talk to, and how.

use std::time::Duration;

use kube::{Client, Config, config::KubeConfigOptions};

use super::watch;

/// Why there is no cluster to talk to.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no cluster to talk to: set KUBECONFIG, or run inside a pod with a service account")]
    Infer(#[from] kube::config::InferConfigError),
    #[error("the context can't be used")]
    Context(#[from] kube::config::KubeconfigError),
    #[error("no client can be made of this configuration")]
    Client(#[from] kube::Error),
}

/// A client that tries each call once: whoever calls decides what a refusal means. (kube's own retries would repeat an
/// eviction that a disruption budget refuses fifteen times.)
///
/// # Errors
/// No configuration, or one that can't be used.
pub async fn client(context: Option<&str>) -> Result<Client, ClusterError> {
    // Longer than any watch is silent: the server ends them after 290 s.
    connect(context, Duration::from_secs(310)).await
}

/// The same for whoever's watches are all [`watch::attentive`], and whose requests are answered sooner.
///
/// # Errors
/// Those of [`client`].
pub async fn attentive_client(context: Option<&str>) -> Result<Client, ClusterError> {
    connect(context, watch::SILENCE).await
}

/// `silence`: the longest pause between two parts of what a server sends.
async fn connect(context: Option<&str>, silence: Duration) -> Result<Client, ClusterError> {
    let mut config = match context {
        None => Config::infer().await?,
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context.into()), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await?
        }
    };
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    Ok(Client::try_from(config)?)
}
