//! A real Prometheus, built from its module, with the shipped rules in a hurry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use lab::{
    net,
    prepare::prepare_program,
    process::Process,
    tools::{Cache, PROMETHEUS},
    wait::until_within,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::light::manifests::root;

/// So many times shorter is every time that the rules wait or look back: an hour is two minutes. Roles are scraped and rules evaluated each
/// second, in place of each half minute.
pub(crate) const HASTE: u32 = 30;

const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The only Prometheus of a scene. It ends with the value.
pub(crate) struct Prometheus {
    _process: Process,
    url: String,
    /// The network namespace that it is in; without one, the caller's.
    namespace: Option<PathBuf>,
    /// When it began.
    pub begun: Timestamp,
}

/// A range that is as the rules' `5m`.
pub(crate) fn five_minutes() -> String {
    hastened("5m")
}

impl Prometheus {
    /// Scrapes these, each by the name of its pod. `start` runs the program.
    pub(crate) async fn start(
        folder: &Path,
        (port, namespace): (u16, Option<PathBuf>),
        targets: &[(&str, String)],
        start: impl FnOnce(Command) -> Result<Process>,
    ) -> Result<Self> {
        let programs =
            block_in_place(|| prepare_program(&Cache::from_environment()?, &PROMETHEUS, &|step| println!("{step}")))?;
        fs::create_dir_all(folder)?;
        let rules = fs::read_to_string(root().join("deploy/alerts/switchover.yaml"))?;
        fs::write(folder.join("rules.yaml"), in_a_hurry(&rules)?.to_string())?;
        let targets = targets.iter().map(|(pod, address)| {
            json!({"targets": [address], "labels": {"cluster": "bed", "namespace": "switchover-system", "pod": pod}})
        });
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "switchover", "static_configs": targets.collect::<Vec<_>>()}],
        });
        fs::write(folder.join("prometheus.yaml"), config.to_string())?;
        let mut command = Command::new(programs.join("prometheus"));
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = block_in_place(|| start(command))?;
        let url = format!("http://127.0.0.1:{port}");
        let prometheus = Self { _process: process, url, namespace, begun: Timestamp::now() };
        until_within(PATIENCE, "Prometheus to scrape the roles", async || {
            Ok(prometheus.ask("switchover_leader == 1").await.ok().filter(|series| !series.is_empty()))
        })
        .await?;
        Ok(prometheus)
    }

    /// What comes back now: labels and values.
    pub(crate) async fn ask(&self, query: &str) -> Result<Vec<Value>> {
        self.get("/api/v1/query", &[("query", query)]).await
    }

    /// What came back at any second since then.
    pub(crate) async fn ask_since(&self, begun: Timestamp, query: &str) -> Result<Vec<Value>> {
        let (begun, now) = (begun.to_string(), Timestamp::now().to_string());
        self.get("/api/v1/query_range", &[("query", query), ("start", &begun), ("end", &now), ("step", "1")]).await
    }

    async fn get(&self, path: &str, arguments: &[(&str, &str)]) -> Result<Vec<Value>> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), arguments)?;
        let answer = match self.namespace.clone() {
            None => answer(url).await?,
            // Sockets are of the namespace of the thread that opens them.
            Some(namespace) => block_in_place(|| {
                net::in_netns(&namespace, move || {
                    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(answer(url))
                })?
            })?,
        };
        ensure!(answer["status"] == "success", "{arguments:?}: {answer}");
        answer["data"]["result"].as_array().cloned().context("a list of series")
    }

    /// When this alert first fired since then, about this database or about none, in seconds of Unix' time.
    pub(crate) async fn fired(&self, begun: Timestamp, alert: &str, database: &str) -> Result<Option<f64>> {
        let query =
            format!("timestamp(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\", database=\"{database}\"}})");
        let series = self.ask_since(begun, &query).await?;
        let first = series.iter().filter_map(|series| series["values"][0][1].as_str()?.parse::<f64>().ok());
        Ok(first.reduce(f64::min))
    }

    /// Every alert that has fired since then, with whom it is about.
    pub(crate) async fn ever_fired(&self, begun: Timestamp) -> Result<Vec<String>> {
        let series = self.ask_since(begun, "ALERTS{alertstate=\"firing\"}").await?;
        let told = series.iter().map(|series| {
            let of = |label: &str| series["metric"][label].as_str().unwrap_or_default().to_owned();
            format!("{} {}", of("alertname"), of("database"))
        });
        Ok(told.collect())
    }
}

async fn answer(url: reqwest::Url) -> Result<Value> {
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
    Ok(client.get(url).send().await?.json().await?)
}

/// The rules with every time divided.
fn in_a_hurry(rules: &str) -> Result<Value> {
    let mut rules: Value = serde_saphyr::from_str(rules)?;
    for group in rules["groups"].as_array_mut().context("groups")? {
        for rule in group["rules"].as_array_mut().context("rules")? {
            if let Some(wait) = rule["for"].as_str() {
                rule["for"] = hastened(wait).into();
            }
            let expression = rule["expr"].as_str().context("an expression")?;
            let mut parts = expression.split('[');
            let mut quick = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let (range, rest) = part.split_once(']').context("a range ends")?;
                quick.push_str(&format!("[{}]{rest}", hastened(range)));
            }
            rule["expr"] = quick.into();
        }
    }
    Ok(rules)
}

/// `5m` as `10000ms`.
fn hastened(time: &str) -> String {
    let (number, unit) = time.split_at(time.len() - 1);
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => panic!("{time}: s, m or h"),
    };
    let number: u32 = number.parse().expect("a number");
    format!("{}ms", number * unit_ms / HASTE)
}

#[test]
fn every_time_of_a_rule_is_divided() -> Result<()> {
    let rules = "groups: [{rules: [{alert: A, expr: 'rate(a[2m]) > 1 or b[1h]', for: 30s}, {record: r, expr: a}]}]";
    let rules = in_a_hurry(rules)?;
    let rules = &rules["groups"][0]["rules"];
    assert_eq!(rules[0], json!({"alert": "A", "expr": "rate(a[4000ms]) > 1 or b[120000ms]", "for": "1000ms"}));
    assert_eq!(rules[1]["expr"], "a");
    Ok(())
}
