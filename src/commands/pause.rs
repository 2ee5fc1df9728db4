//! `switchover pause`: stops the movement of one database, namespace or workload, or of everything, which only a person may decide.
//! Who did, why and until when stands beside it and is told wherever it holds anything.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, api::PostParams};
use serde::Serialize;
use serde_json::json;

use super::target::{Target, TargetError, WorkloadName};
use crate::{
    api::{decision::Decision, keys},
    cli::{Output, PauseArgs, WhatArgs},
    cluster::{self, bounded},
};

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// Of a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    pub paused: bool,
    /// The decision that was written, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Whether the controller has taken it up, and the member was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<bool>,
    /// In one sentence.
    pub message: String,
}

/// What is paused or resumed. Everything is so on the namespace that switchover runs in.
pub(super) async fn target(client: &Client, what: &WhatArgs, own_namespace: &str) -> Result<Target, TargetError> {
    match what {
        WhatArgs { database: Some(name), .. } => Target::database(client, name).await,
        WhatArgs { namespace: Some(name), .. } => Target::namespace(client, name).await,
        WhatArgs { workload: Some(name), .. } => {
            let name: WorkloadName = name.parse().map_err(TargetError::Usage)?;
            Target::workload(client, &name).await
        }
        WhatArgs { .. } => Target::namespace(client, own_namespace).await,
    }
}

/// What that is, for people.
pub(super) fn called(what: &WhatArgs, target: &Target) -> String {
    match what {
        WhatArgs { all: true, .. } => format!("all movement (on {})", target.what),
        WhatArgs { database: Some(name), .. } => name.clone(),
        _ => target.what.clone(),
    }
}

/// Stops the movement.
///
/// # Errors
/// No cluster, missing rights, or no such object.
pub async fn run(args: &PauseArgs) -> Result<(), TargetError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let target = target(&client, &args.what, &args.own_namespace).await?;
    let until = until(args, Timestamp::now()).map_err(TargetError::Usage)?;
    let by = who(&client).await;
    let annotations = [
        (keys::PAUSED, Some(args.reason.clone().unwrap_or_else(|| "true".to_owned()))),
        (keys::PAUSED_BY, by),
        (keys::PAUSED_UNTIL, until.map(|until| format!("{until:.0}"))),
    ];
    if args.what.database.is_some() && until.is_none() {
        target.change(&json!({ "spec": { "paused": true } })).await?;
    }
    target.annotate(&annotations).await?;
    let until = until.map_or_else(String::new, |until| format!(" until {until:.0}"));
    let message =
        format!("{} is paused{until}: labels and admission go on, and no pod is moved", called(&args.what, &target));
    let database = args.what.database.clone();
    show(args.output, &Done { database, paused: true, decision: None, taken: None, message })
}

/// When the pause ends by itself.
fn until(args: &PauseArgs, now: Timestamp) -> Result<Option<Timestamp>, String> {
    match (args.until, args.for_) {
        (Some(until), _) if until <= now => Err(format!("--until {until}: that has passed already")),
        (Some(until), _) => Ok(Some(until)),
        (None, Some(span)) => {
            let span = SignedDuration::try_from(span.0).map_err(|error| error.to_string())?;
            now.checked_add(span).map(Some).map_err(|error| error.to_string())
        }
        (None, None) => Ok(None),
    }
}

/// Lets the movement go on.
pub(super) async fn resume(client: &Client, what: &WhatArgs, own_namespace: &str) -> Result<Done, TargetError> {
    let target = target(client, what, own_namespace).await?;
    let by_spec = target.object.data["spec"]["paused"] == true;
    if by_spec {
        target.change(&json!({ "spec": { "paused": false } })).await?;
    }
    let paused = by_spec || target.bears_a_pause();
    if target.bears_a_pause() {
        target.annotate(&[(keys::PAUSED, None), (keys::PAUSED_BY, None), (keys::PAUSED_UNTIL, None)]).await?;
    }
    let called = called(what, &target);
    let message = if paused { format!("{called} is not paused any more") } else { format!("{called} was not paused") };
    Ok(Done { database: what.database.clone(), paused: false, decision: None, taken: None, message })
}

/// Who is asking, as the API server knows them.
pub(super) async fn who(client: &Client) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = bounded(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await;
    review.ok().and_then(|review| review.status?.user_info?.username)
}

pub(super) fn show(output: Output, done: &Done) -> Result<(), TargetError> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(done)?),
        Output::Text => {
            println!("{}", done.message);
            if let (true, Some(database), true) = (done.paused, &done.database, done.decision.is_some()) {
                println!("It is paused: switchover resume {database} lets pods move.");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use lab::table::check_rows;

    use super::*;
    use crate::cli::{Args, Command};

    #[test]
    fn a_pause_ends_when_it_was_said() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let rows = [
            (&["orders"][..], Ok(None)),
            (&["--all", "--own-namespace", "acme", "--for", "2h"], Ok(Some("2026-01-01T02:00:00Z"))),
            (&["--namespace", "shop", "--until", "2026-01-02T00:00:00+01:00"], Ok(Some("2026-01-01T23:00:00Z"))),
            (&["--workload", "shop/web", "--until", "2025-01-01T00:00:00Z"], Err("that has passed already")),
        ];
        check_rows(rows, |(words, expected)| {
            let words = ["switchover", "pause"].iter().chain(words);
            let Command::Pause(args) = Args::try_parse_from(words).unwrap().command else { panic!() };
            match (until(&args, now), expected) {
                (Ok(until), Ok(expected)) => assert_eq!(until.map(|it| it.to_string()).as_deref(), expected),
                (Err(why), Err(expected)) => assert!(why.ends_with(expected), "{why}"),
                (until, _) => panic!("{until:?}"),
            }
        });
    }

    #[test]
    fn exactly_one_thing_is_paused() {
        let rows = [&[][..], &["orders", "--all"], &["--namespace", "a", "--workload", "a/b"], &["a", "b"]];
        check_rows(rows, |words| {
            let words = ["switchover", "pause"].iter().chain(words);
            assert!(Args::try_parse_from(words).is_err());
        });
    }
}
