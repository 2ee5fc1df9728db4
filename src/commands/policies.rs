//! `switchover policies`: what injects without a webhook.

use std::io::{self, Write};

use kube::ResourceExt;

use crate::{
    admission::policy,
    cli::{Manifest, PoliciesArgs},
    cluster,
    process::Failure,
};

/// Prints the policy and a binding for each database.
///
/// # Errors
/// Databases have to be asked for, and the API server gives no answer; or nobody takes what is printed.
pub async fn run(args: &PoliciesArgs) -> Result<(), Failure> {
    let mut databases = args.databases.clone();
    if databases.is_empty() {
        let client = cluster::client(args.cluster.context.as_deref()).await?;
        databases = cluster::databases(&client).await?.iter().map(ResourceExt::name_any).collect();
        databases.sort();
    }
    databases.dedup();
    let bindings = databases.iter().map(|database| policy::binding(database));
    let objects: Vec<_> = std::iter::once(policy::policy(&args.schedulers.schedulers)).chain(bindings).collect();
    let mut out = io::stdout().lock();
    match args.output {
        Manifest::Yaml => {
            for object in &objects {
                write!(out, "---\n{}", serde_saphyr::to_string(object)?)?;
            }
        }
        Manifest::Json => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
            serde_json::to_writer_pretty(&mut out, &list)?;
            writeln!(out)?;
        }
    }
    Ok(())
}
