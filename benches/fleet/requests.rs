//! What the API server was asked, by its own counters.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use kube::Client;

/// Requests by verb, resource and subresource.
pub(crate) struct Requests(BTreeMap<String, u64>);

const METRIC: &str = "apiserver_request_total{";
/// The labels of nodes are the only thing that anybody patches in nodes here.
const LABEL_PATCH: &str = "PATCH nodes";

impl Requests {
    /// All since the API server began. Reading them is one more.
    pub(crate) async fn read(client: &Client) -> Result<Requests> {
        let request = hyper::http::Request::get("/metrics").body(Vec::new())?;
        let text = client.request_text(request).await?;
        let mut counts = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(METRIC)) {
            let (labels, count) = line.rsplit_once("} ").context("a metric without a value")?;
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                Some(rest.split_once('"')?.0)
            };
            let (verb, resource) = (label("verb").unwrap_or_default(), label("resource").unwrap_or_default());
            let name = match label("subresource").filter(|subresource| !subresource.is_empty()) {
                Some(subresource) => format!("{verb} {resource}/{subresource}"),
                None => format!("{verb} {resource}"),
            };
            *counts.entry(name).or_default() += count.parse::<f64>()? as u64;
        }
        Ok(Requests(counts))
    }

    pub(crate) fn since(self, before: &Requests) -> Requests {
        let more = |(name, count): (String, u64)| {
            let more = count - before.0.get(&name).copied().unwrap_or_default();
            (more > 0).then_some((name, more))
        };
        Requests(self.0.into_iter().filter_map(more).collect())
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn label_patches(&self) -> u64 {
        self.0.get(LABEL_PATCH).copied().unwrap_or_default()
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.0.iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&each.join(", "))
    }
}
