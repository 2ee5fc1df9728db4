//! Which cluster we talk to, and how.

mod databases;

use std::time::Duration;

use jiff::Timestamp;
use kube::{Client, Config, config::KubeConfigOptions};

pub use self::databases::{DatabaseError, database, databases, missing, typed};
use crate::{
    cli::{CertsArgs, Output},
    core::rotation::Why,
    tls::{
        certificate,
        install::{self, Rotation},
    },
    watch,
};

/// Why there is no cluster to talk to.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no cluster to talk to: set KUBECONFIG, or run inside a pod with a service account")]
    Infer(#[from] kube::config::InferConfigError),
    #[error("the context can't be used")]
    Context(#[from] kube::config::KubeconfigError),
    #[error("no client can be made of this configuration")]
    Client(#[from] kube::Error),
    #[error("no certificate can be made")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Install(#[from] install::InstallError),
    #[error(
        "{done}; but nobody calls the webhook, because there is no MutatingWebhookConfiguration {}: apply \
         webhook-config and repeat this command",
        install::CONFIGURATION
    )]
    NoConfiguration { done: String },
    #[error("can't write {path}: {source}", path = path.display())]
    Write { path: std::path::PathBuf, source: std::io::Error },
}

/// A client that tries each call once: whoever calls decides what a refusal means. (kube's own retries would repeat an
/// eviction that a disruption budget refuses fifteen times.)
///
/// # Errors
/// No configuration, or one that can't be used.
pub async fn client(context: Option<&str>) -> Result<Client, ClusterError> {
    // Longer than any watch is silent: the server ends them after 290 s.
    made(context, Duration::from_secs(310)).await
}

/// The same for roles whose watches are all [`watch::attentive`], and whose requests are answered sooner.
///
/// # Errors
/// Those of [`client`].
pub async fn attentive_client() -> Result<Client, ClusterError> {
    made(None, watch::SILENCE).await
}

/// `silence`: the longest pause between two parts of what a server sends.
async fn made(context: Option<&str>, silence: Duration) -> Result<Client, ClusterError> {
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

/// `switchover certs`.
///
/// # Errors
/// The certificate can't be made, or can't be written.
pub async fn certificates(args: &CertsArgs) -> Result<(), ClusterError> {
    let (service, namespace) = (args.service.as_str(), args.namespace.as_str());
    let lifetime = Duration::from_secs(u64::from(args.days) * 86_400);
    let written = if let Some(folder) = &args.out {
        let made = certificate::generate(service, namespace, lifetime)?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, text))
                .map_err(|source| ClusterError::Write { path, source })
        };
        write("ca.crt", &made.ca_pem)?;
        write("tls.crt", &made.certificate_pem)?;
        write("tls.key", &made.key_pem)?;
        format!("wrote ca.crt, tls.crt and tls.key to {}", folder.display())
    } else {
        let rotation = Rotation {
            service: service.to_owned(),
            namespace: namespace.to_owned(),
            lifetime,
            authority_lifetime: install::AUTHORITY_LIFETIME.max(3 * lifetime),
        };
        apply(&client(args.cluster.context.as_deref()).await?, &rotation).await?
    };
    match args.output {
        Output::Text => println!("{written}"),
        Output::Json => println!("{}", serde_json::json!({ "done": written })),
    }
    Ok(())
}

/// One pass of what the controller does, in words.
async fn apply(client: &Client, rotation: &Rotation) -> Result<String, ClusterError> {
    let mut told = Vec::new();
    let standing = install::pass(client, rotation, Timestamp::now, || true, |done| told.push(done.to_string())).await?;
    let Some(standing) = standing else { return Ok(told.join("; ")) };
    let namespace = &rotation.namespace;
    let until = standing.serving_until.map(|at| at.to_string()).unwrap_or_default();
    told.push(format!("the certificate in the Secret {namespace}/{} is good until {until}", install::SECRET));
    match standing.why {
        Why::Renewal => {}
        Why::NewAuthority | Why::NewCertificate => {
            told.push(format!("a new authority is on its way: do this again after {}", standing.until));
        }
    }
    if standing.trusted.is_none() {
        return Err(ClusterError::NoConfiguration { done: told.join("; ") });
    }
    Ok(told.join("; "))
}
