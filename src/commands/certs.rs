//! `switchover certs`: the webhook's serving certificate, as files or straight into the cluster.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use kube::Client;

use crate::{
    certificates::{
        authority,
        install::{self, Rotation},
    },
    cli::{CertsArgs, Output},
    cluster::{self, ClusterError},
    core::rotation::Why,
};

/// Why there are no certificates, or why they serve nobody.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
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
    Write { path: PathBuf, source: std::io::Error },
}

/// Makes them, as files or in the cluster.
///
/// # Errors
/// The certificate can't be made, or can't be written.
pub async fn run(args: &CertsArgs) -> Result<(), CertsError> {
    let (service, namespace) = (args.service.as_str(), args.namespace.as_str());
    let lifetime = Duration::from_secs(u64::from(args.days) * 86_400);
    let written = if let Some(folder) = &args.out {
        let made = authority::generate(service, namespace, lifetime)?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, text))
                .map_err(|source| CertsError::Write { path, source })
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
        apply(&cluster::client(args.cluster.context.as_deref()).await?, &rotation).await?
    };
    match args.output {
        Output::Text => println!("{written}"),
        Output::Json => println!("{}", serde_json::json!({ "done": written })),
    }
    Ok(())
}

/// One pass of what the controller does, in words.
async fn apply(client: &Client, rotation: &Rotation) -> Result<String, CertsError> {
    let mut told = Vec::new();
    let state = install::pass(client, rotation, Timestamp::now, || true, |done| told.push(done.to_string())).await?;
    let Some(state) = state else { return Ok(told.join("; ")) };
    let namespace = &rotation.namespace;
    let until = state.serving_until.map(|at| at.to_string()).unwrap_or_default();
    told.push(format!("the certificate in the Secret {namespace}/{} is good until {until}", install::SECRET));
    match state.why {
        Why::Renewal => {}
        Why::NewAuthority | Why::NewCertificate => {
            told.push(format!("a new authority is on its way: do this again after {}", state.until));
        }
    }
    if state.trusted.is_none() {
        return Err(CertsError::NoConfiguration { done: told.join("; ") });
    }
    Ok(told.join("; "))
}
