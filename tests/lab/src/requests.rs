//! What the API server was asked, by its own counters.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use kube::Client;

/// Requests by what was asked for, `PATCH nodes` or `POST pods/eviction`, and the code of the answer.
#[derive(Debug)]
pub struct Requests {
    counts: BTreeMap<(String, String), u64>,
    /// What priority and fairness let through of the product's own service accounts.
    ours: u64,
}

const METRIC: &str = "apiserver_request_total{";
const DISPATCHED: &str = "apiserver_flowcontrol_dispatched_requests_total{";
/// Those that deploy/base ships.
const FLOW_SCHEMAS: [&str; 2] = ["switchover", "switchover-leases"];

impl Requests {
    /// All since the API server began. Reading them is one more.
    ///
    /// # Errors
    /// When the API server doesn't answer, or with something else than metrics.
    pub async fn read(client: &Client) -> Result<Requests> {
        let request = hyper::http::Request::get("/metrics").body(Vec::new())?;
        let text = client.request_text(request).await?;
        let mut requests = Requests { counts: BTreeMap::new(), ours: 0 };
        for line in text.lines() {
            if let Some((labels, count)) = metric(line, METRIC)? {
                let (verb, resource) = (label(labels, "verb"), label(labels, "resource"));
                let name = match label(labels, "subresource") {
                    "" => format!("{verb} {resource}"),
                    subresource => format!("{verb} {resource}/{subresource}"),
                };
                *requests.counts.entry((name, label(labels, "code").to_owned())).or_default() += count;
            } else if let Some((labels, count)) = metric(line, DISPATCHED)?
                && FLOW_SCHEMAS.contains(&label(labels, "flow_schema"))
            {
                requests.ours += count;
            }
        }
        Ok(requests)
    }

    #[must_use]
    pub fn since(self, before: &Requests) -> Requests {
        let more = |(name, count): ((String, String), u64)| {
            let more = count - before.counts.get(&name).copied().unwrap_or_default();
            (more > 0).then_some((name, more))
        };
        Requests { counts: self.counts.into_iter().filter_map(more).collect(), ours: self.ours - before.ours }
    }

    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Those of the product's own service accounts.
    pub const fn ours(&self) -> u64 {
        self.ours
    }

    /// How often this was asked for, such as `PATCH nodes`, whatever the answer was.
    pub fn of(&self, what: &str) -> u64 {
        self.answered(what, |_| true)
    }

    /// The same, where the answer's code is one of these.
    pub fn answered(&self, what: &str, code: impl Fn(&str) -> bool) -> u64 {
        self.counts.iter().filter(|((name, answer), _)| name == what && code(answer)).map(|(_, count)| count).sum()
    }
}

/// Labels and value of a line that begins so.
fn metric<'l>(line: &'l str, name: &str) -> Result<Option<(&'l str, u64)>> {
    let Some(line) = line.strip_prefix(name) else { return Ok(None) };
    let (labels, count) = line.rsplit_once("} ").context("a metric without a value")?;
    Ok(Some((labels, count.parse::<f64>()? as u64)))
}

/// Empty where there is none.
fn label<'l>(labels: &'l str, name: &str) -> &'l str {
    let value = labels.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    value.map_or("", |(value, _)| value)
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_name = BTreeMap::<&str, u64>::new();
        for ((name, _), count) in &self.counts {
            *by_name.entry(name).or_default() += count;
        }
        let each: Vec<String> = by_name.iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&each.join(", "))
    }
}
