//! A witness at another site: a real `switchover witness`, asked over mTLS, which sees what the controllers don't.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{
    pki::{Authority, Identity},
    process::Process,
};
use serde_json::{Value, json};
use switchover::{
    credentials::{Access, Files},
    discover::http::Http,
};
use tokio::task::block_in_place;

use super::support::{Patroni, Says, Scene, scene, until, world::free_ports};

const NEAR_PG1: &str = "dc1-1=closely dc3-1=far";
const NEAR_PG3: &str = "dc1-1=far dc3-1=closely";
/// The name in the witness's certificate: it is reached by address.
pub(super) const SERVER_NAME: &str = "witness.example.com";

/// A running witness.
pub(super) struct Site {
    pub process: Process,
    pub url: String,
    /// Where it tells of its health.
    pub health: u16,
    authority: Authority,
    /// What the controllers show.
    client: Identity,
}

impl Site {
    /// Asks the members where `patroni` answers.
    pub(super) async fn open(scene: &Scene, patroni: &Patroni) -> Result<Self> {
        let authority = Authority::new()?;
        let (own, client) =
            (authority.issue("witness", None, &[SERVER_NAME])?, authority.issue("switchover", None, &[])?);
        let [port, health] = block_in_place(free_ports)?;
        let flag = |flag: &str, text: &str| -> Result<String> {
            Ok(format!("--{flag}={}", file(scene, &format!("{flag}.pem"), text)?))
        };
        let arguments = [
            format!("--listen=127.0.0.1:{port}"),
            format!("--metrics-listen=127.0.0.1:{health}"),
            format!("--database={}={}", scene.name, patroni.urls().join(",")),
            "--interval=200ms".to_owned(),
            flag("tls-cert", &own.certificate)?,
            flag("tls-key", &own.key)?,
            flag("client-ca", &authority.certificate())?,
        ];
        let process = block_in_place(|| scene.world.start_aside("witness", &arguments))?;
        let site = Self { process, url: format!("https://127.0.0.1:{port}"), health, authority, client };
        until("the witness to hear every member", async || {
            let Ok(report) = site.ask(scene, Some(&site.client)).await else { return Ok(None) };
            let members = report["members"].as_array().context("members")?;
            let heard = members.iter().filter(|member| member["name"].as_str().is_some_and(|it| it.starts_with("pg")));
            Ok((heard.filter(|member| member["status"].is_u64()).count() == 3).then_some(()))
        })
        .await?;
        Ok(site)
    }

    pub(super) fn secret(&self) -> Value {
        json!({"ca.crt": self.authority.certificate(), "tls.crt": self.client.certificate, "tls.key": self.client.key})
    }

    /// What it says of the scene's database to whoever shows this.
    async fn ask(&self, scene: &Scene, shown: Option<&Identity>) -> Result<Value> {
        let part = |name: &str, text: Option<&String>| {
            text.map(|text| file(scene, &format!("shown-{name}.pem"), text)).transpose()
        };
        let files = Files {
            authorities: part("ca", Some(&self.authority.certificate()))?.map(Into::into),
            certificate: part("certificate", shown.map(|it| &it.certificate))?.map(Into::into),
            key: part("key", shown.map(|it| &it.key))?.map(Into::into),
            server_name: Some(SERVER_NAME.to_owned()),
        };
        let credentials = Arc::new(files.load()?);
        let http = Http::new(Arc::clone(&credentials), &Access::fixed(credentials), true, Arc::default())?;
        let url = format!("{}/v1/databases/{}", self.url, scene.name);
        let (status, body) = http.get(&url, Duration::from_secs(5)).await?;
        ensure!(status == 200, "{status}");
        serde_json::from_slice(&body).context("a report")
    }
}

fn file(scene: &Scene, name: &str, text: &str) -> Result<String> {
    let path = scene.world.bed.directory().join(format!("witness-{name}"));
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

#[test]
fn what_a_witness_sees_decides_where_a_data_centre_is_out_of_our_sight() {
    scene("witness", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        // The same members, as the controllers and as the witness reach them.
        let (ours, theirs) = (Patroni::start(scene.name).await?, Patroni::start(scene.name).await?);
        let mut site = Site::open(scene, &theirs).await?;
        scene.secret("witness", site.secret()).await?;
        let witness = json!({"url": site.url, "secretName": "witness", "serverName": SERVER_NAME});
        scene.database(&ours, json!({ "witness": witness })).await?;
        scene.labelled(NEAR_PG1).await?;
        let hears = format!("Heard: the witness at {} hears pg1, pg2, pg3", site.url);
        scene.condition_says(scene.name, "WitnessSeen", "True", &hears).await?;

        // Everything in the primary's data centre is silent to us.
        ours.let_say("pg1", Says::Hangs);
        let lock = "is primary: it holds the leader lock and its PostgreSQL is running, as the witness sees it";
        let seen = |ours: u8, who: &str| format!("{ours} of 3 members answer, and {who} only to the witness");
        scene.believed("Known", &format!("pg1 (timeline 1) {lock}; {}", seen(2, "pg1"))).await?;
        assert_eq!((scene.tiers().await?, scene.status().await?.epoch), (NEAR_PG1.to_owned(), 1));

        // On our side the old leader goes on; beyond our sight another one was promoted, which a member follows.
        ours.let_say("pg1", Says::Primary { timeline: 1 });
        ours.let_say("pg2", Says::Replica { timeline: 2 });
        ours.let_say("pg3", Says::Hangs);
        theirs.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await?;
        let both = "split brain: pg1 (timeline 1) and pg3 (timeline 2) each say, and go on saying, that they hold the leader \
                    lock, which only one can; none is believed";
        scene.believed("SplitBrain", both).await?;
        assert_eq!(scene.tiers().await?, NEAR_PG3);

        // The witness has no word of its own.
        ours.let_all_say(Says::Down);
        scene.condition_becomes(scene.name, "SplitBrain", "False").await?;
        let alone = "; only the witness sees pg1, pg2, pg3 (primary, timeline 2): on its word alone nothing is believed or moved";
        scene.condition_says(scene.name, "PrimaryKnown", "False", alone).await?;
        assert_eq!(scene.tiers().await?, NEAR_PG3);

        // Nobody else is told anything.
        let stranger = Authority::new()?.issue("switchover", None, &[])?;
        for shown in [None, Some(&stranger)] {
            let refused = site.ask(scene, shown).await.expect_err("a certificate is asked for").to_string();
            assert!(refused.contains("client certificate"), "{refused}");
        }

        // Without it everything is as if it had never been.
        ours.let_say("pg1", Says::Primary { timeline: 1 });
        ours.let_say("pg2", Says::Replica { timeline: 1 });
        scene.believed("SplitBrain", both).await?;
        block_in_place(|| site.process.kill())?;
        let begins = format!("NotHeard: the witness at {} can't be heard, and nothing depends on it: ", site.url);
        scene.condition_says(scene.name, "WitnessSeen", "False", &begins).await?;
        let old = "pg1 (timeline 1) acts as primary, but timeline 2 was seen before: it is not believed";
        scene.believed("Unknown", old).await?;
        assert_eq!(scene.tiers().await?, NEAR_PG3);

        // What can't work is refused in a sentence.
        let operator =
            json!({"patroni": null, "operator": {"kind": "CloudNativePG", "namespace": "a", "cluster": "b"}});
        let plain = json!({"url": "http://10.9.0.1:8444", "secretName": "witness"});
        let secure = json!({"url": site.url, "secretName": "witness"});
        for (spec, sentence) in [
            (json!({"witness": plain}), "spec.witness.url: write a base URL with https://"),
            (json!({"witness": secure, "discovery": operator}), "spec.witness: a witness asks Patroni's REST API"),
        ] {
            let refused = scene.database_at("witness-wrong", &ours.urls(), spec).await.expect_err(sentence).to_string();
            assert!(refused.contains(sentence), "{refused}");
        }
        Ok(())
    });
}
