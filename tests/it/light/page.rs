//! The page of `switchover ui` and the history, while a database fails over and while the API server is away.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lab::{light::READY_DELAY, process::Process};
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::timeout};

use super::support::{Door, Scene, scene, until};

/// A page that is served, and the browser's side of its events.
struct Page {
    address: String,
    events: reqwest::Response,
    unread: String,
    /// What was told last.
    state: Value,
    _served: Process,
}

impl Page {
    async fn open(scene: &Scene, kubeconfig: &Path) -> Result<Self> {
        let arguments = ["ui", "--port=0", "--namespace=switchover-system"];
        let name = format!("{}-page", scene.name);
        let (served, log) = block_in_place(|| scene.world.start_tool(&name, kubeconfig, &arguments))?;
        let address = until("the page's address", async || {
            let told = fs::read_to_string(&log)?;
            Ok(told.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:")).map(str::to_owned))
        });
        let address = address.await?;
        let events = reqwest::get(format!("{address}events?database={}", scene.name)).await?;
        Ok(Self { address, events, unread: String::new(), state: Value::Null, _served: served })
    }

    /// Waits until it is told something of which this holds.
    async fn tells(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let told = timeout(Duration::from_secs(60), async {
            while !holds(&self.state) {
                self.next().await?;
            }
            anyhow::Ok(())
        });
        told.await.with_context(|| format!("the page doesn't tell {what}: {}", self.state["database"]))?
    }

    /// The next event (WHATWG HTML, 9.2.6).
    async fn next(&mut self) -> Result<()> {
        let event = loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                break event;
            }
            let chunk = self.events.chunk().await?.context("the page ends its events")?;
            self.unread.push_str(std::str::from_utf8(&chunk)?);
        };
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).context("an event without data")?;
        if event.starts_with("event: state\n") {
            self.state = serde_json::from_str(data)?;
        }
        Ok(())
    }

    async fn now(&self, scene: &Scene) -> Result<Value> {
        let answer = reqwest::get(format!("{}state?database={}", self.address, scene.name)).await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(serde_json::from_str(&answer.text().await?)?)
    }
}

fn near(state: &Value) -> (Option<u64>, Option<u64>) {
    (state["database"]["pods"]["closely"].as_u64(), state["database"]["pods"]["far"].as_u64())
}

#[test]
fn the_page_tells_of_a_failover_and_says_when_the_api_server_is_away() {
    scene("page", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "2s"}})).await?;
        scene.workload(&namespace, "web").says(READY_DELAY, "2s").deployment(2).await?;
        let door = Door::before(&scene.world.bed.kubeconfig(), scene.name).await?;
        let mut page = Page::open(scene, &door.kubeconfig).await?;
        page.tells("everything", |state| {
            state["unseen"] == json!([]) && state["database"]["primary"] == "pg1" && near(state) == (Some(2), Some(0))
        })
        .await?;

        patroni.switchover("pg3", 2);
        page.tells("the new primary", |state| state["database"]["primary"] == "pg3").await?;
        page.tells("of pods on the move", |state| state["database"]["movingTotal"].as_u64() > Some(0)).await?;
        let moving = page.state["database"]["moving"][0].clone();
        assert_eq!((&moving["fromZone"], &moving["toZone"]), (&json!("dc1"), &json!("dc3")), "{moving}");
        page.tells("the end", |state| {
            let last = &state["database"]["failovers"][0];
            last["epoch"] == 2 && last["movedAt"].is_string() && near(state) == (Some(2), Some(0))
        })
        .await?;
        let failover = page.state["database"]["failovers"][0].clone();
        assert_eq!((&failover["from"], &failover["to"], &failover["moved"]), (&json!("pg1"), &json!("pg3"), &json!(2)));
        assert_eq!(page.now(scene).await?["database"]["primary"], "pg3", "whoever asks is told the same");

        door.shut();
        page.tells("who can't be read", |state| state["unseen"] != json!([])).await?;
        assert_eq!(page.state["database"]["primary"], "pg3", "what was known stays");
        door.open();
        page.tells("that all is read again", |state| state["unseen"] == json!([])).await?;
        patroni.switchover("pg1", 3);
        page.tells("what happens from then on", |state| state["database"]["primary"] == "pg1").await
    });
}

/// `make test-ui` has installed what drives the browser, and keeps the pictures there.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ui")
}

#[test]
#[ignore = "needs Chromium, which make test-ui installs"]
fn a_failover_is_seen_in_a_real_browser_before_during_and_after() {
    scene("billing", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "2s"}})).await?;
        scene.workload(&namespace, "web").says(READY_DELAY, "4s").deployment(4).await?;
        let api = scene.workload(&namespace, "api").says(READY_DELAY, "4s");
        api.deployment(4).await?;
        api.budget_of("api", 2).await?;
        let kubeconfig = scene.world.bed.kubeconfig();
        let page = Page::open(scene, &kubeconfig).await?;
        let pictures = installed().join("pictures");
        fs::create_dir_all(&pictures)?;
        let plan = block_in_place(|| scene.world.switchover(&["plan", scene.name, "--to", "pg3"]))?;
        fs::write(pictures.join("plan.txt"), format!("$ switchover plan {} --to pg3\n{plan}", scene.name))?;
        let mut browser = Command::new("node");
        browser.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/failover.mjs"));
        browser.arg(&page.address).arg(installed()).arg(&pictures);
        let _browser = scene.world.start_process("browser", browser)?;
        let log = scene.world.log("browser");
        let said = async |word: &str| {
            until(&format!("the browser to say {word}"), async || {
                Ok(fs::read_to_string(&log)?.lines().any(|line| line == word).then_some(()))
            })
            .await
        };
        said("before").await?;
        patroni.switchover("pg3", 2);
        said("during").await?;
        let status = block_in_place(|| scene.world.switchover(&["status", scene.name]))?;
        fs::write(pictures.join("status.txt"), format!("$ switchover status {}\n{status}", scene.name))?;
        scene.its_database().movement_over(2).await?;
        said("after").await?;
        Ok(())
    });
}

#[test]
fn the_history_tells_what_a_failover_came_to_and_was_worth() {
    scene("history", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "1s"}})).await?;
        scene.workload(&namespace, "web").says(READY_DELAY, "1s").deployment(2).await?;
        scene.workload(&namespace, "still").says("switchover.dev/move", "never").deployment(1).await?;
        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (2, 1));
        let typed = |output: &str| block_in_place(|| scene.world.switchover(&["history", scene.name, "-o", output]));

        let told: Value = serde_json::from_str(&typed("json")?).context("not JSON")?;
        let failover = &told["databases"][0]["failovers"][0];
        let [from, to, moved, held] = ["from", "to", "moved", "held"].map(|key| failover[key].clone());
        assert_eq!(json!([from, to, moved, held]), json!(["pg1", "pg3", 2, 1]));
        assert_eq!(failover["heldByReason"], json!({"Never": 1}));
        assert!(failover["farPodSeconds"].as_u64() > Some(0), "{failover}");
        let named: Vec<&str> = failover["workloads"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|workload| workload["name"].as_str())
            .collect();
        assert!(named.contains(&"web"), "{failover}");

        let report = typed("markdown")?;
        for part in ["pg1 → pg3", "web", "Never"] {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
        assert!(report.starts_with("# "), "{report}");
        let table = typed("table")?;
        assert!(table.contains("pg1 → pg3") && table.contains("Never 1"), "{table}");
        Ok(())
    });
}
