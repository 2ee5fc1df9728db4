//! The API server's own counters, and what they say of a stretch of time.

use anyhow::{Context, Result};
use kube::Client;
use serde::{Deserialize, Serialize};

use super::clients::{Clients, Latency};

/// Since the API server began.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reads: Sum,
    writes: Sum,
    /// The API server's own requests to its store, be that etcd or Kine.
    store: Sum,
}

/// How many, and how many seconds they took together.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    count: f64,
    seconds: f64,
}

const REQUESTS: &str = "apiserver_request_duration_seconds_";
const STORE: &str = "etcd_request_duration_seconds_";

impl Counters {
    pub(crate) async fn read(client: &Client) -> Result<Counters> {
        let request = hyper::http::Request::get("/metrics").body(Vec::new())?;
        let text = client.request_text(request).await?;
        let mut counters = Counters::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(REQUESTS) {
                let counter = match verb(rest) {
                    "GET" | "LIST" => &mut counters.reads,
                    "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION" => &mut counters.writes,
                    // Watches last for minutes.
                    _ => continue,
                };
                counter.add(rest)?;
            } else if let Some(rest) = line.strip_prefix(STORE) {
                counters.store.add(rest)?;
            }
        }
        Ok(counters)
    }
}

impl Sum {
    /// `sum{…} 1.5` or `count{…} 3`; buckets are left out.
    fn add(&mut self, rest: &str) -> Result<()> {
        let value = || -> Result<f64> { Ok(rest.rsplit_once(' ').context("a metric without a value")?.1.parse()?) };
        if rest.starts_with("sum") {
            self.seconds += value()?;
        } else if rest.starts_with("count") {
            self.count += value()?;
        }
        Ok(())
    }

    fn since(self, before: Sum) -> Sum {
        Sum { count: self.count - before.count, seconds: self.seconds - before.seconds }
    }

    fn mean_ms(self) -> f64 {
        if self.count > 0.0 { self.seconds / self.count * 1e3 } else { 0.0 }
    }
}

fn verb(labels: &str) -> &str {
    let value = labels.split_once("verb=\"").and_then(|(_, rest)| rest.split_once('"'));
    value.map_or("", |(verb, _)| verb)
}

/// A stretch of time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    seconds: f64,
    reads_per_second: f64,
    writes_per_second: f64,
    /// As the API server counts, over all its clients.
    read_mean_ms: f64,
    write_mean_ms: f64,
    store_per_second: f64,
    store_mean_ms: f64,
    /// As clients outside saw it.
    client_write: Latency,
    client_read: Latency,
}

impl Window {
    pub(crate) fn of(before: &Counters, after: &Counters, seconds: f64, clients: &Clients) -> Window {
        let (reads, writes) = (after.reads.since(before.reads), after.writes.since(before.writes));
        let store = after.store.since(before.store);
        let (client_write, client_read) = clients.end();
        Window {
            seconds,
            reads_per_second: reads.count / seconds,
            writes_per_second: writes.count / seconds,
            read_mean_ms: reads.mean_ms(),
            write_mean_ms: writes.mean_ms(),
            store_per_second: store.count / seconds,
            store_mean_ms: store.mean_ms(),
            client_write,
            client_read,
        }
    }

    /// Cells of the page's table.
    pub(crate) fn row(&self) -> String {
        format!(
            "{:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {} | {}",
            self.reads_per_second,
            self.writes_per_second,
            self.read_mean_ms,
            self.write_mean_ms,
            self.store_per_second,
            self.store_mean_ms,
            self.client_write.cell(),
            self.client_read.cell()
        )
    }
}
