//! `switchover certs`: the webhook's serving certificate, as files or straight into the cluster.

use std::{
    fs::{OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use kube::Client;

use crate::{
    certificates::{
        authority,
        install::{self, Rotation},
    },
    cli::{CertsArgs, Output},
    cluster::{self, ClusterError},
    core::rotation::Why,
    process,
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
        "{done}; but nobody calls the webhook, because there is no MutatingWebhookConfiguration {configuration}: apply \
         webhook-config and repeat this command"
    )]
    NoConfiguration { done: String, configuration: String },
    #[error("can't write {path}: {source}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
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
        for (name, text, mode) in [
            ("ca.crt", &made.ca_pem, 0o644),
            ("tls.crt", &made.certificate_pem, 0o644),
            ("tls.key", &made.key_pem, 0o600),
        ] {
            write(folder, name, text, mode).map_err(|source| CertsError::Write { path: folder.join(name), source })?;
        }
        format!("wrote ca.crt, tls.crt and tls.key to {}", folder.display())
    } else {
        let rotation = Rotation {
            service: service.to_owned(),
            configuration: args.configuration.clone(),
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

/// Writes a file that nobody but those of `mode` may read at any moment, also where there was one that others could.
fn write(folder: &Path, name: &str, text: &str, mode: u32) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(mode).open(folder.join(name))?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_len(0)?;
    (&file).write_all(text.as_bytes())
}

/// One pass of what the controller does, in words.
async fn apply(client: &Client, rotation: &Rotation) -> Result<String, CertsError> {
    let mut told = Vec::new();
    let state =
        install::pass(client, rotation, process::now, None, || true, |done| told.push(done.to_string())).await?;
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
        let configuration = rotation.configuration.clone();
        return Err(CertsError::NoConfiguration { done: told.join("; "), configuration });
    }
    Ok(told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_its_owner_alone_also_where_another_file_was() {
        let folder = std::env::temp_dir().join(format!("switchover-certs-{}", std::process::id()));
        let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        write(&folder, "tls.key", "new", 0o600).unwrap();
        assert_eq!(mode("tls.key"), 0o600);
        std::fs::write(folder.join("old.key"), "an older and longer one").unwrap();
        std::fs::set_permissions(folder.join("old.key"), Permissions::from_mode(0o644)).unwrap();
        write(&folder, "old.key", "new", 0o600).unwrap();
        assert_eq!(
            (mode("old.key"), std::fs::read_to_string(folder.join("old.key")).unwrap()),
            (0o600, "new".to_owned())
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
