//! `switchover record`: asks the members of a Patroni cluster, and writes what they answer whenever it changes.
//!
//! One request of each kind is in flight at a member; the list of members is asked of one member at a time, because it
//! makes that member read its store, which may hang.

mod line;

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use self::line::Lines;
use crate::{
    api::Span,
    cli::{ClusterArgs, RecordArgs},
    cluster::{self, ClusterError, DatabaseError},
    core::{
        hosts::HostRules,
        primary::{Answer, Observation},
        words::printable,
    },
    credentials::{Access, Credentials, CredentialsError},
    discover::{
        self,
        http::{Http, HttpError, PatroniError, Raw},
        pace::Pauses,
        patroni,
        roster::Roster,
    },
};

/// An address that a member has besides the one it states is asked only while that one gives no answer of this age.
const MAX_AGE: Duration = Duration::from_secs(5);
/// So often people hear how far it has come.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Giving up early would leave the member's request running and fill its five threads.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// So long a silent address may wait for its member's name: a line under the address would stand beside those under
/// the name for ever.
const NAMELESS_FOR: Duration = Duration::from_secs(3);

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{0}; instead of a DatabaseCluster you can name members: --url http://HOST:8008")]
    Database(#[from] DatabaseError),
    #[error(
        "the DatabaseCluster {0} doesn't name Patroni's REST API, which is what is recorded: write --url http://HOST:8008"
    )]
    NotByPatroni(String),
    #[error("{0}")]
    Credentials(#[from] CredentialsError),
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("can't write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Records to standard output until `stop`.
///
/// # Errors
/// No such database, or the output can't be written.
pub async fn run(args: &RecordArgs, stop: CancellationToken) -> Result<(), RecordError> {
    let (urls, hosts, credentials) = match &args.database {
        Some(name) => members_of(name, args).await?,
        None => (args.urls.clone(), patroni::hosts_of(&args.urls), args.files().load()?),
    };
    let tls = urls.iter().any(|url| url.starts_with("https:"));
    let credentials = Arc::new(credentials);
    let http = Http::new(Arc::clone(&credentials), &Access::fixed(credentials), tls, Arc::clone(&hosts))?;
    let done = record(urls, hosts, http, args, &mut io::stdout(), &mut io::stderr(), stop).await;
    match done {
        // Whoever read the output has seen enough.
        Err(RecordError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(recorded) => {
            let _ = writeln!(io::stderr(), "{recorded}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Records what the members of one database answer for this long; what it came to, in a sentence.
///
/// # Errors
/// Those of [`run`].
pub(super) async fn record_database(
    name: &str,
    own_namespace: &str,
    span: Span,
    cluster: &ClusterArgs,
    out: &mut impl Write,
) -> Result<String, RecordError> {
    let args = RecordArgs {
        database: Some(name.to_owned()),
        own_namespace: own_namespace.to_owned(),
        every: Span::from_millis(250),
        list_every: Span::from_secs(5),
        timeout: Span::from_millis(1500),
        for_: Some(span),
        cluster: cluster.clone(),
        urls: Vec::new(),
        ca_file: None,
        cert_file: None,
        key_file: None,
        server_name: None,
    };
    let (urls, hosts, credentials) = members_of(name, &args).await?;
    let tls = urls.iter().any(|url| url.starts_with("https:"));
    let credentials = Arc::new(credentials);
    let http = Http::new(Arc::clone(&credentials), &Access::fixed(credentials), tls, Arc::clone(&hosts))?;
    record(urls, hosts, http, &args, out, &mut io::sink(), CancellationToken::new()).await
}

/// The addresses that the spec names, and those of the members that the controller has found; and the credentials for
/// them, which have to be readable for whoever records.
async fn members_of(name: &str, args: &RecordArgs) -> Result<(Vec<String>, Arc<HostRules>, Credentials), RecordError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let object = cluster::typed(cluster::database(&client, name).await?)?;
    let found = object.status.unwrap_or_default().members.into_iter().filter_map(|member| member.api_url);
    let hosts = Arc::new(discover::host_rules(&object.spec.discovery));
    let found: Vec<String> =
        found.filter(|url| patroni::host_of(url).is_some_and(|it| hosts.refuse(&it).is_none())).collect();
    let Some(spec) = object.spec.discovery.patroni else { return Err(RecordError::NotByPatroni(name.to_owned())) };
    let sources = patroni::sources(&spec, &args.own_namespace);
    let urls = spec.urls.into_iter().chain(found).filter_map(|url| patroni::base_url(&url)).collect();
    Ok((urls, hosts, sources.load(&client).await?))
}

enum Asked {
    Member,
    List,
}

struct Done {
    asked: Asked,
    url: String,
    answer: Result<Raw, PatroniError>,
}

async fn record(
    urls: Vec<String>,
    hosts: Arc<HostRules>,
    http: Http,
    args: &RecordArgs,
    out: &mut impl Write,
    notes: &mut impl Write,
    stop: CancellationToken,
) -> Result<String, RecordError> {
    let (start, pauses) = (Instant::now(), Pauses::alike(args.every.0));
    let end = args.for_.map(|span| start + span.0);
    // What goes wrong with the notes is no reason to record nothing.
    let end_by = if args.for_.is_some() { "" } else { "; Ctrl-C ends it" };
    let _ = writeln!(notes, "recording the members that are found from {}{end_by}", urls.join(", "));
    let mut told = start;
    let mut roster = Roster::new(urls, Vec::new(), hosts, start);
    let mut lines = Lines::default();
    let mut written = 0_u64;
    let mut in_flight: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
    // `None` while one is in flight.
    let mut next_list = Some(start);
    let mut lists = 0_usize;
    let ask = |asked, url: String, path, timeout| {
        let http = http.clone();
        async move {
            let answer = http.get(&format!("{url}{path}"), timeout).await;
            Done { asked, url, answer }
        }
        .boxed()
    };
    loop {
        let now = Instant::now();
        if stop.is_cancelled() || end.is_some_and(|end| now >= end) {
            break;
        }
        if now >= told + TELL_EVERY {
            told = now;
            let silent =
                roster.observations().into_iter().filter(|(_, seen)| !matches!(seen.answer, Answer::Http { .. }));
            let silent: Vec<String> = silent.map(|(name, _)| name).collect();
            let silent =
                if silent.is_empty() { String::new() } else { format!("; no answer from {}", silent.join(", ")) };
            let (s, members) = ((now - start).as_secs(), lines.members());
            let _ = writeln!(notes, "{s} s: {written} lines of {members} members{}", printable(&silent));
        }
        for url in roster.due(&pauses, now, MAX_AGE) {
            roster.asked(&url, now);
            in_flight.push(ask(Asked::Member, url, "/primary", args.timeout.0));
        }
        let answering = roster.answering();
        if next_list.is_some_and(|at| at <= now) && !answering.is_empty() {
            let url = answering[lists % answering.len()].clone();
            lists += 1;
            next_list = None;
            roster.asks_for_list(now);
            in_flight.push(ask(Asked::List, url, "/cluster", LIST_TIMEOUT));
        }
        let asks = roster.next_due(&pauses, now, MAX_AGE).into_iter();
        let wake = asks.chain(end).min().unwrap_or(now + args.every.0);
        // Never spin, whatever a schedule says.
        let wake = wake.max(now + Duration::from_millis(5));
        let done = tokio::select! {
            () = stop.cancelled() => continue,
            Some(done) = in_flight.next(), if !in_flight.is_empty() => done,
            () = tokio::time::sleep_until(wake.into()) => continue,
        };
        let now = Instant::now();
        let path = match done.asked {
            Asked::Member => {
                roster.answered(&done.url, patroni::answer(&done.answer), now);
                "/primary"
            }
            Asked::List => {
                next_list = Some(now + args.list_every.0);
                if let Ok((200, body)) = &done.answer
                    && let Ok(list) = patroni::parse_cluster(body)
                {
                    // No member is ever dropped: that one is gone is worth recording.
                    roster.listed(list, None, now);
                }
                "/cluster"
            }
        };
        let member = roster.name_of(&done.url);
        let nameless = member == done.url;
        let silent = done.answer.is_err();
        // Nor does silence at one address say anything of a member that answers at another.
        let skipped = silent && if nameless { now < start + NAMELESS_FOR } else { answers(&roster, &member, now) };
        let line = if skipped { None } else { lines.next(now - start, &member, path, done.answer) };
        // Whose answers were written under a URL before.
        let found =
            lines.addresses().into_iter().map(|url| (roster.name_of(&url), url)).filter(|(name, url)| name != url);
        let found: Vec<(String, String)> = found.collect();
        let found = found.iter().filter_map(|(name, url)| lines.is(now - start, url, name)).collect::<Vec<_>>();
        for line in line.into_iter().chain(found) {
            // At once, so that nothing is lost whatever ends the process.
            writeln!(out, "{line}")?;
            out.flush()?;
            written += 1;
        }
    }
    let members = lines.members();
    Ok(format!("recorded {written} lines of {members} members in {} s", start.elapsed().as_secs()))
}

/// Whether a member answers, at any of its addresses.
fn answers(roster: &Roster, member: &str, now: Instant) -> bool {
    let observations = roster.observations();
    let lately = |seen: &&Observation| now.saturating_duration_since(seen.at) <= MAX_AGE;
    let seen = observations.get(member).filter(lately);
    seen.is_some_and(|seen| matches!(seen.answer, Answer::Http { .. }))
}

#[cfg(test)]
mod tests;
