//! Faults fire their alerts, and ten switchovers fire none: on a real Prometheus that scrapes the roles, whose rules are in a hurry. What
//! it took is printed as docs/runbooks/README.md tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use lab::{
    control_plane::Component,
    pki::Authority,
    scripted::{Reply, Server},
    wait::until_within,
};
use serde_json::{Value, json};
use switchover::{api::keys, certificates::authority};
use tokio::task::block_in_place;

use super::asked;
use crate::{
    light::{
        credentials,
        support::{
            Patroni, Says, Scene, alone, eventually,
            workloads::cpus,
            world::{CONTROLLERS, NAMESPACE, WEBHOOK, free_ports},
        },
        witness::{self, Site},
    },
    prometheus::{HASTE, Prometheus, five_minutes},
};

/// Nodes in each of dc1 and dc3.
const NODES: usize = 3;
/// Far more than the longest wait of a rule.
const PATIENCE: Duration = Duration::from_secs(300);

/// Faults that were made, each with when, the alert that it has to fire, and about which database.
struct Faults<'p> {
    prometheus: &'p Prometheus,
    made: Vec<(String, &'static str, String, Timestamp)>,
    seen: Vec<String>,
}

impl<'p> Faults<'p> {
    fn make(&mut self, fault: &str, alert: &'static str, database: &str) {
        self.made.push((fault.to_owned(), alert, database.to_owned(), Timestamp::now()));
    }

    /// Waits until all that were made have fired.
    async fn all_fire(&mut self) -> Result<()> {
        for (fault, alert, database, made) in std::mem::take(&mut self.made) {
            let what = format!("{alert} {database} to fire");
            let fired = async || self.prometheus.fired(made, alert, &database).await;
            let after_s = until_within(PATIENCE, &what, fired).await? - made.as_duration().as_secs_f64();
            println!("{fault}: {alert} fired after {after_s:.0} s");
            self.seen.push(format!("| {fault} | `{alert}` | {after_s:.0} s |"));
        }
        Ok(())
    }
}

/// Agents that write every three seconds, but for these nodes'.
async fn write_readings(scene: &Scene, dead: &Mutex<BTreeSet<(u8, usize)>>) -> Result<()> {
    loop {
        for zone in [1, 3] {
            for number in 1..=NODES {
                let alive = !dead.lock().expect("nobody panics with it").contains(&(zone, number));
                if alive {
                    // Without an API server an agent tries again, too.
                    let _ = scene.measure_again(zone, number).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

#[test]
#[ignore = "five minutes, and a Prometheus that is built from its module: make alerts-test"]
fn every_fault_fires_its_alert_and_ten_switchovers_fire_none() {
    alone("alerts", async |scene| {
        let dead = Mutex::default();
        tokio::select! {
            ended = play(scene, &dead) => ended,
            ended = write_readings(scene, &dead) => ended,
        }
    });
}

async fn play(scene: &Scene, dead: &Mutex<BTreeSet<(u8, usize)>>) -> Result<()> {
    scene.nodes(&[1, 3], NODES).await?;
    let (ours, theirs) = (Patroni::start(scene.name).await?, Patroni::start(scene.name).await?);
    let mut site = Site::open(scene, &theirs).await?;
    scene.secret("witness", site.secret()).await?;
    let witness = json!({"url": site.url, "secretName": "witness", "serverName": witness::SERVER_NAME});
    scene.database(&ours, json!({"witness": witness, "movement": {"settleMax": "1s"}})).await?;
    scene.labelled(&near(1)).await?;
    let agent = block_in_place(free_ports)?[0];
    let mut targets: Vec<(&str, String)> = vec![("witness", format!("127.0.0.1:{}", site.health))];
    for role in CONTROLLERS.into_iter().chain([WEBHOOK]) {
        targets.push((role, scene.world.health_address(role)?));
    }
    targets.push(("agent", format!("127.0.0.1:{agent}")));
    let (folder, [port, _]) = (scene.world.bed.directory().join("prometheus"), block_in_place(free_ports)?);
    let start = |command| scene.world.start_process("prometheus", command);
    let prometheus = Prometheus::start(&folder, (port, None), &targets, start).await?;

    let begun = Timestamp::now();
    switch_over_ten_times(scene, &[&ours, &theirs]).await?;
    assert_eq!(prometheus.ever_fired(begun).await?, [] as [&str; 0], "of switchovers nobody is woken");
    println!("ten switchovers fired no alert");

    let mut faults = Faults { prometheus: &prometheus, made: Vec::new(), seen: Vec::new() };
    let _agent = start_agent(scene, agent).await?;
    faults.make("names that can't be looked up", "SwitchoverNamesUnresolved", "");
    let _members = of_databases(scene, &mut faults, dead).await?;
    block_in_place(|| site.process.kill())?;
    faults.make("a dead witness", "SwitchoverWitnessUnheard", scene.name);
    faults.all_fire().await?;
    of_the_installation(scene, &mut faults).await?;

    every_panel_has_shown_something(&prometheus).await?;
    println!("\n| fault | alert | fired after |\n|---|---|---|\n{}", faults.seen.join("\n"));
    Ok(())
}

/// The labels while the primary is in this data centre.
fn near(zone: u8) -> String {
    let of = |dc: u8| (1..=NODES).map(move |number| (dc, number));
    let tier = |dc: u8| if dc == zone { "closely" } else { "far" };
    of(1).chain(of(3)).map(|(dc, number)| format!("dc{dc}-{number}={}", tier(dc))).collect::<Vec<_>>().join(" ")
}

async fn switch_over_ten_times(scene: &Scene, patronis: &[&Patroni]) -> Result<()> {
    let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
    let web = scene.workload(&namespace, "web");
    web.deployment(4).await?;
    web.budget().await?;
    for change in 1..=10 {
        let zone = if change % 2 == 0 { 1 } else { 3 };
        patronis.iter().for_each(|patroni| patroni.switchover(&format!("pg{zone}"), change + 1));
        scene.labelled(&near(zone)).await?;
        let there = format!("4 in dc{zone}");
        eventually("the pods to follow", there, async || scene.zones(&namespace).await).await?;
    }
    Ok(())
}

/// A real agent of a node that there isn't: it measures, and its readings are refused.
async fn start_agent(scene: &Scene, port: u16) -> Result<lab::process::Process> {
    let kubeconfig = scene.world.bed.kubeconfig_for_service_account(NAMESPACE, "switchover-agent").await?;
    let listen = format!("--metrics-listen=127.0.0.1:{port}");
    let arguments = ["agent", "--node-name=alerts-nowhere", &listen];
    Ok(block_in_place(|| scene.world.start_tool("agent", &kubeconfig, &arguments))?.0)
}

/// What goes wrong with single databases. The members end with the values.
async fn of_databases(
    scene: &Scene,
    faults: &mut Faults<'_>,
    dead: &Mutex<BTreeSet<(u8, usize)>>,
) -> Result<(Vec<Patroni>, Server)> {
    let mut members = Vec::new();
    let mut databases = BTreeMap::new();
    for (short, spec) in [
        ("split", json!({})),
        ("lost", json!({})),
        ("paused", json!({})),
        ("member", json!({})),
        ("quiet", json!({"tiers": {"staleAfter": "10s"}})),
        ("full", json!({})),
        ("tight", json!({})),
    ] {
        let patroni = Patroni::start(scene.name).await?;
        databases.insert(short, scene.another_database(short, &patroni, spec).await?);
        members.push(patroni);
    }
    for database in databases.values() {
        database.labelled(&near(1)).await?;
    }
    let name = |short: &str| format!("{}-{short}", scene.name);

    // Half of each node near pg3 is somebody else's, so that nobody who is large fits there.
    let elsewhere = scene.namespace("elsewhere", None, json!({})).await?;
    let batch = scene.workload(&elsewhere, "batch").with(cpus(10)).one_on_each_node_of(3);
    batch.deployment(u32::try_from(NODES)?).await?;
    for short in ["full", "tight"] {
        let namespace = scene.namespace_that_follows(short, &[&databases[short]]).await?;
        scene.workload(&namespace, "web").with(cpus(7)).deployment(2).await?;
        eventually("large pods near pg1", "2 in dc1".to_owned(), async || scene.zones(&namespace).await).await?;
    }
    faults.make("no room after the next failover", "SwitchoverNotReadyForFailover", &name("tight"));
    let [split, lost, paused, member, _, full, _] = &members[..] else { anyhow::bail!("seven databases") };
    full.switchover("pg3", 2);
    faults.make("a full data centre", "SwitchoverNoRoom", &name("full"));
    split.let_say("pg3", Says::Primary { timeline: 1 });
    faults.make("a split brain", "SwitchoverSplitBrain", &name("split"));
    lost.let_all_say(Says::Replica { timeline: 1 });
    faults.make("a database without a primary", "SwitchoverPrimaryUnknown", &name("lost"));
    paused.pause();
    faults.make("a Patroni that stays paused", "SwitchoverFrozen", &name("paused"));
    member.let_say("pg2", Says::Down);
    faults.make("a member that gives no answer", "SwitchoverMemberUnreachable", &name("member"));
    dead.lock().expect("nobody panics with it").insert((3, NODES));
    faults.make("a dead agent", "SwitchoverAgentSilent", &name("quiet"));
    let taken = json!({"nodeLabel": keys::default_node_label(scene.name)});
    scene.another_database("refused", split, taken).await?;
    faults.make("a database that is refused", "SwitchoverDatabaseRefused", &name("refused"));
    members.push(without_credentials(scene, faults).await?);

    // Nobody but the one real agent measures these hosts, and it has no node; nobody answers at the second.
    let here = Server::start().await;
    let member = |name: &str, role: &str, state: &str, url: &str, host: &str| json!({"name": name, "role": role, "state": state, "api_url": url, "host": host, "port": 5432});
    let list = json!({"scope": "here", "members": [
        member("pg1", "leader", "running", &format!("{}/patroni", here.url), "127.0.0.1"),
        member("pg2", "replica", "streaming", "http://127.0.0.1:9/patroni", "198.51.100.1"),
    ]});
    here.says("/cluster", Reply::Json(200, list.to_string()));
    here.says("/primary", Reply::Json(200, Server::body("pg1", "running primary 1")));
    scene.database_at(&name("here"), std::slice::from_ref(&here.url), json!({})).await?;
    faults.make("a primary that no node measures", "SwitchoverTooFewReadings", &name("here"));
    announce(&members, scene).await?;
    Ok((members, here))
}

/// A switchover that is announced, a wrong value, a pod that follows nobody, a label that somebody else writes: for panels, not for alerts.
async fn announce(members: &[Patroni], scene: &Scene) -> Result<()> {
    let at = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let tight = members.get(6).context("the last one")?;
    tight.announce(Some(json!({"at": at.to_string().replace('Z', "+00:00"), "from": "pg1", "to": "pg3"})));
    let label = keys::default_node_label(&format!("{}-quiet", scene.name));
    scene.patch_node("dc1-1", json!({"metadata": {"labels": {label: "far"}}})).await?;
    let wrong = scene.namespace("wrong", Some(scene.name), json!({})).await?;
    scene.workload(&wrong, "none").says(keys::FOLLOW, "none").deployment(1).await?;
    scene.workload(&wrong, "web").says(keys::WEIGHT, "heavy").deployment(1).await
}

/// A database whose members want a certificate, which the Secret has at first.
async fn without_credentials(scene: &Scene, faults: &mut Faults<'_>) -> Result<Patroni> {
    let authority = Authority::new()?;
    let patroni = Patroni::start_tls(scene.name, credentials::speaks(&authority)?).await?;
    let client = authority.issue("switchover", None, &[])?;
    scene.secret("alerts-patroni", credentials::content(&authority, &client)).await?;
    let tls = json!({"secretName": "alerts-patroni", "serverName": credentials::SERVER_NAME});
    let spec = json!({"discovery": {"patroni": {"tls": tls, "timeout": "5s"}}});
    let database = scene.another_database("secret", &patroni, spec).await?;
    database.labelled(&near(1)).await?;
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), NAMESPACE);
    secrets.delete("alerts-patroni", &Default::default()).await?;
    faults.make("a Secret that is gone", "SwitchoverCredentialsFailing", &database.name);
    Ok(patroni)
}

/// What goes wrong with the installation itself, one after the other.
async fn of_the_installation(scene: &Scene, faults: &mut Faults<'_>) -> Result<()> {
    let world = scene.world;
    world.kill_role(WEBHOOK)?;
    faults.make("a dead webhook", "SwitchoverWebhookDown", "");
    faults.all_fire().await?;
    block_in_place(|| world.restore())?;

    block_in_place(|| world.bed.kill(Component::KubeApiserver))?;
    faults.make("an API server that is away", "SwitchoverWatchStale", "");
    let fired = faults.all_fire().await;
    block_in_place(|| world.bed.start_component(Component::KubeApiserver))?;
    fired?;

    // Nobody is left who would renew what is served.
    CONTROLLERS.iter().try_for_each(|role| world.kill_role(role))?;
    faults.make("dead controllers", "SwitchoverNoLeader", "");
    let made = authority::generate("switchover-webhook", NAMESPACE, Duration::from_secs(20))?;
    serve(scene, &made.certificate_pem, &made.key_pem).await?;
    faults.make("a certificate that expires, and has in 20 s", "SwitchoverCertificateExpires", "");
    faults.all_fire().await?;
    serve(scene, "broken", "broken").await?;
    faults.make("a certificate that can't be read", "SwitchoverCertificateRefused", "");
    faults.all_fire().await
}

/// Writes what the webhook's replicas are to serve.
async fn serve(scene: &Scene, certificate: &str, key: &str) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let patch = Patch::Merge(json!({"data": {"tls.crt": text(certificate), "tls.key": text(key)}}));
    secrets.patch("switchover-webhook-tls", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Each query of each panel came back with something at some second of all this.
async fn every_panel_has_shown_something(prometheus: &Prometheus) -> Result<()> {
    let mut silent = Vec::new();
    let asked = asked(&five_minutes())?;
    let queries: usize = asked.values().map(Vec::len).sum();
    for (panel, queries) in &asked {
        for query in queries {
            let series = prometheus.ask_since(prometheus.begun, query).await?;
            let shown = |series: &Value| {
                let values = series["values"].as_array();
                values.is_some_and(|values| values.iter().any(|value| value[1].as_str().is_some_and(|it| it != "NaN")))
            };
            if !series.iter().any(shown) {
                silent.push(format!("{panel}: {query}"));
            }
        }
    }
    ensure!(silent.is_empty(), "{} of {queries} queries found nothing:\n{}", silent.len(), silent.join("\n"));
    println!(
        "{} panels, {queries} queries: each found something; an hour of the rules was {} s",
        asked.len(),
        3600 / HASTE
    );
    Ok(())
}
