//! `switchover check`: whether the installation is as it should be, or whether there could be one. What is looked at is data
//! (`catalogue.rs`), what is found out is facts (`gather/`), and what they mean are judgements over them (`judge/`).

mod catalogue;
mod facts;
mod found;
mod gather;
mod judge;
mod shipped;
mod words;

use kube::Client;

use self::{
    catalogue::{Check, checks},
    found::{Found, Mark},
};
use crate::{
    cli::{CheckArgs, Output},
    cluster::{self, ClusterError, EffectError},
    core::words::printable_lines,
    process::Verdict,
};

/// Why nothing can be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("the API server gives no answer")]
    Server(#[from] EffectError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Something is wrong.
const WRONG: Verdict = Verdict(3);
/// Nobody can tell of something, and nothing that can be told is wrong.
const UNCLEAR: Verdict = Verdict(1);

/// Prints what was found. What it comes to is for scripts: the verdict, where not all is right.
///
/// # Errors
/// No cluster, or one that gives no answer.
pub async fn run(args: &CheckArgs) -> Result<Result<(), Verdict>, CheckError> {
    let client = cluster::client(args.installation.cluster.context.as_deref()).await?;
    let found = look(&client, &args.installation.namespace, args.pre).await?;
    match args.installation.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&words::json(&found))?),
        Output::Text => print!("{}", printable_lines(&words::text(&found))),
    }
    Ok(verdict(found.iter().map(|(_, found)| found.mark())))
}

async fn look(client: &Client, namespace: &str, before: bool) -> Result<Vec<(&'static Check, Found)>, EffectError> {
    let facts = gather::gather(client, namespace, before).await?;
    Ok(checks(before).map(|check| (check, (check.judge)(&facts))).collect())
}

/// The same as a value, after the installation.
pub(super) async fn told(client: &Client, namespace: &str) -> Result<serde_json::Value, EffectError> {
    Ok(words::json(&look(client, namespace, false).await?))
}

/// The worst mark says it. Warnings are for people.
fn verdict(marks: impl Iterator<Item = Mark>) -> Result<(), Verdict> {
    match marks.max() {
        Some(Mark::Wrong) => Err(WRONG),
        Some(Mark::Unclear) => Err(UNCLEAR),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
