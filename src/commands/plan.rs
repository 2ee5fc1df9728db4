//! `switchover plan`: what a change of primary, or the loss of a data centre, would lead to; from a live cluster, or from a file.

mod words;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::bundle::archive;
use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus,
        database_cluster::{AnnouncedStatus, MemberStatus},
    },
    cli::{PlanArgs, Shape},
    cluster::{self, ClusterError, DatabaseError},
    core::{moment::Moment, words::printable_lines},
    foresight::{Forecast, Lost, Question, foresee},
    index::{
        Index, LookError, Tables,
        snapshot::{ClusterSnapshot, SnapshotError},
    },
    process::{self, Verdict},
};

/// Why nobody can tell.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("can't see the cluster")]
    Look(#[from] LookError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("can't read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Snapshot { path: PathBuf, source: SnapshotError },
    #[error("there is no DatabaseCluster{0}")]
    NoDatabase(String),
    #[error("{database} has no member {member}; there are: {existing}")]
    NoMember { database: String, member: String, existing: String },
    #[error("no node and no zone (topology.kubernetes.io/zone) is named {0}")]
    NoPlace(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Something wouldn't fit.
const WOULD_NOT: Verdict = Verdict(3);
/// Nobody can tell of some member.
const UNCLEAR: Verdict = Verdict(1);

/// What is foreseen of one database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfDatabase {
    database: String,
    primary: Option<String>,
    /// The switchover that the database announces.
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<AnnouncedStatus>,
    /// Members that are lost.
    lost: Vec<String>,
    forecasts: Vec<Forecast>,
    /// Of whom nobody can tell, and why.
    unclear: Vec<Unclear>,
    /// Where a primary would be best for those who follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<String>,
}

#[derive(Debug, Serialize)]
struct Unclear {
    member: String,
    why: String,
}

/// Prints it. What it comes to is for scripts: the verdict, where not all fits.
///
/// # Errors
/// There is nothing to make a forecast from.
pub async fn run(args: &PlanArgs) -> Result<Result<(), Verdict>, PlanError> {
    let (tables, now) = look(args).await?;
    let lost = Lost { names: args.without.clone() };
    if let [first, ..] = lost.unknown(&tables)[..] {
        return Err(PlanError::NoPlace(first.to_owned()));
    }
    let mut answers = Vec::new();
    for object in databases(&tables, args.database.as_deref())? {
        answers.push(answer(args, object, &tables, &lost, now)?);
    }
    match args.output {
        Shape::Json => println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "databases": answers }))?),
        Shape::Yaml => print!("{}", serde_saphyr::to_string(&serde_json::json!({ "databases": answers }))?),
        Shape::Table if args.all => print!("{}", printable_lines(&words::comparison(&answers))),
        Shape::Table => print!("{}", printable_lines(&words::text(&answers))),
    }
    Ok(verdict(&answers))
}

fn verdict(answers: &[OfDatabase]) -> Result<(), Verdict> {
    if answers.iter().flat_map(|answer| &answer.forecasts).any(|forecast| !forecast.fits()) {
        return Err(WOULD_NOT);
    }
    if answers.iter().any(|answer| !answer.unclear.is_empty() || answer.forecasts.is_empty()) {
        return Err(UNCLEAR);
    }
    Ok(())
}

/// The cluster, and when it was like that.
async fn look(args: &PlanArgs) -> Result<(Tables, Moment), PlanError> {
    let (schedulers, now) = (args.schedulers.clone().schedulers(), process::now());
    let Some(path) = &args.filename else {
        let client = cluster::client(args.cluster.context.as_deref()).await?;
        return Ok((Index::look_once(&client, &schedulers, now).await?, now));
    };
    let unreadable = |source| PlanError::File { path: path.clone(), source };
    let bytes = read(path).map_err(unreadable)?;
    let bytes =
        if archive::is_one(&bytes) { archive::part(&bytes, archive::SNAPSHOT).map_err(unreadable)? } else { bytes };
    let snapshot = ClusterSnapshot::read(&bytes);
    let snapshot = snapshot.map_err(|source| PlanError::Snapshot { path: path.clone(), source })?;
    let then = Moment { wall: snapshot.taken_at, ..now };
    Ok((snapshot.tables(&schedulers, then), then))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.to_str() != Some("-") {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The databases that are asked about, in the order of their names.
fn databases<'t>(tables: &'t Tables, only: Option<&str>) -> Result<Vec<&'t DatabaseCluster>, PlanError> {
    let mut all: Vec<_> = tables.databases.values().filter(|it| only.is_none_or(|only| only == it.name)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    if all.is_empty() {
        let names: Vec<&str> = tables.databases.values().map(|database| &*database.name).collect();
        let existing = if names.is_empty() { String::new() } else { format!("; there are: {}", names.join(", ")) };
        return Err(PlanError::NoDatabase(only.map(|only| format!(" {only}{existing}")).unwrap_or_default()));
    }
    Ok(all.into_iter().filter_map(|database| database.object.as_deref().ok()).collect())
}

fn answer(
    args: &PlanArgs,
    object: &DatabaseCluster,
    tables: &Tables,
    lost: &Lost,
    now: Moment,
) -> Result<OfDatabase, PlanError> {
    let database = object.metadata.name.clone().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let question = Question {
        object,
        tables,
        followers: &tables.followers(&database),
        own_namespace: &args.own_namespace,
        status: &status,
        lost,
        now,
    };
    let gone: Vec<&MemberStatus> = status.members.iter().filter(|member| question.is_lost(member)).collect();
    let members = members(args, &question, &gone)?;
    let (mut forecasts, mut unclear) = (Vec::new(), Vec::new());
    for member in members {
        match foresee(&question, member) {
            Ok(forecast) => forecasts.push(forecast),
            Err(why) => unclear.push(Unclear { member: member.name.clone(), why: why.to_string() }),
        }
    }
    if status.members.is_empty() {
        unclear.push(Unclear { member: "-".to_owned(), why: "no member is known yet".to_owned() });
    }
    let best = args.all.then(|| best(&forecasts)).flatten();
    let lost = gone.iter().map(|member| member.name.clone()).collect();
    let (primary, announced) = (status.primary.clone(), status.announced.clone());
    Ok(OfDatabase { database, primary, announced, lost, forecasts, unclear, best })
}

/// Whom to ask about: who is named; all of them; or, where the primary stays, what the loss leads to, and else whoever may be the next one.
fn members<'m>(
    args: &PlanArgs,
    question: &Question<'m>,
    gone: &[&'m MemberStatus],
) -> Result<Vec<&'m MemberStatus>, PlanError> {
    let DatabaseClusterStatus { members, primary, .. } = question.status;
    if let Some(name) = &args.to {
        let existing = || members.iter().map(|member| &*member.name).collect::<Vec<_>>().join(", ");
        let found = members.iter().find(|member| member.name == *name);
        let database = || question.object.metadata.name.clone().unwrap_or_default();
        let none = || PlanError::NoMember { database: database(), member: name.clone(), existing: existing() };
        return Ok(vec![found.ok_or_else(none)?]);
    }
    let is_gone = |member: &&MemberStatus| gone.iter().any(|lost| lost.name == member.name);
    let here = members.iter().filter(|member| !is_gone(member));
    let stays = here.clone().find(|member| Some(&member.name) == primary.as_ref());
    Ok(match stays {
        _ if args.all => here.collect(),
        Some(primary) if !args.without.is_empty() => vec![primary],
        _ => here.filter(|member| Some(&member.name) != primary.as_ref()).collect(),
    })
}

/// The member with which fewest find no place or can't be moved, and then with which fewest have to move.
fn best(forecasts: &[Forecast]) -> Option<String> {
    use crate::foresight::Standing::{Blocked, NoPlace};
    let rank = |it: &&Forecast| {
        let pending = it.loss.as_ref().map_or(0, |loss| loss.pending + loss.tied);
        (pending + it.staying(NoPlace), it.staying(Blocked), it.moves, it.to.clone())
    };
    forecasts.iter().min_by_key(rank).map(|it| it.to.clone())
}

#[cfg(test)]
mod tests;
