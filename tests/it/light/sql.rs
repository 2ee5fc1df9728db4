//! A database that nobody vouches for, asked over SQL: real servers of PostgreSQL and MariaDB.

use anyhow::Result;
use lab::pki::Authority;
use serde_json::json;

use super::support::{Scene, eventually, mariadb, mariadb::MariaDb, postgres, postgres::Postgres, scene};

const NEAR_FIRST: &str = "dc1-1=closely dc3-1=far";
const NEAR_SECOND: &str = "dc1-1=far dc3-1=closely";

/// One near each of them.
async fn nodes(scene: &Scene, first: &str, second: &str) -> Result<()> {
    scene.nodes(&[1, 3], 1).await?;
    for (node, near, far) in [("dc1-1", first, second), ("dc3-1", second, first)] {
        scene.measure_hosts(node, &[(near, 300), (far, 20_000)]).await?;
    }
    Ok(())
}

#[test]
fn a_primary_that_is_asked_over_sql_is_followed_and_an_old_one_that_comes_back_is_not() {
    scene("sql", async |scene| {
        let authority = Authority::new()?;
        let postgres = Postgres::new()?;
        let mut first = postgres.primary("127.0.0.1", &authority).await?;
        let second = postgres.standby("127.0.0.2", &first).await?;
        nodes(scene, first.host, second.host).await?;
        scene.secret("sql-login", json!({"username": postgres::USER, "password": "wrong"})).await?;
        scene.secret("sql-tls", json!({"ca.crt": authority.certificate()})).await?;
        let member = |name: &str, host: &str| json!({"name": name, "host": host, "port": Postgres::PORT});
        let sql = json!({
            "engine": "PostgreSQL",
            "members": [member("pg1", first.host), member("pg2", second.host)],
            "basicAuth": {"secretName": "sql-login"},
            "tls": {"secretName": "sql-tls"},
            "interval": "200ms",
        });
        scene.discovered(json!({ "sql": sql })).await?;
        let refused = "password authentication failed for user \"switchover\" (SQLSTATE 28P01)";
        scene.believed("Unknown", &format!("no member answers: pg1, pg2 ({refused})")).await?;

        // Whoever is refused looks at the Secret again.
        scene.secret("sql-login", json!({"username": postgres::USER, "password": postgres::PASSWORD})).await?;
        scene.labelled(NEAR_FIRST).await?;
        let known = "is primary: it is not in recovery and takes writes; 2 of 2 members answer";
        scene.believed("Known", &format!("pg1 (timeline 1) {known}")).await?;
        assert!(scene.status().await?.system_identifier.is_some());

        first.kill()?;
        scene.condition_becomes(scene.name, "PrimaryKnown", "False").await?;
        second.promote()?;
        scene.labelled(NEAR_SECOND).await?;

        // Nobody has told it.
        first.start().await?;
        let stale = "; pg1 (timeline 1) still acts as primary and is not believed";
        scene.believed("Known", &format!("pg2 (timeline 2) {known}{stale}")).await?;
        assert_eq!(scene.tiers().await?, NEAR_SECOND);
        Ok(())
    });
}

#[test]
fn without_timelines_whoever_takes_writes_is_followed_and_two_who_do_are_a_split_brain() {
    scene("mariadb", async |scene| {
        let authority = Authority::new()?;
        let mariadb = MariaDb::new(&authority)?;
        let first = mariadb.server("127.0.0.1").await?;
        let mut second = mariadb.server("127.0.0.2").await?;
        second.set_read_only(true)?;
        nodes(scene, first.host, second.host).await?;
        let own = authority.issue("switchover", None, &[])?;
        let tls = json!({"ca.crt": authority.certificate(), "tls.crt": own.certificate, "tls.key": own.key});
        scene.secret("mariadb-tls", tls).await?;
        scene.secret("mariadb-login", json!({"username": mariadb::USER, "password": "wrong"})).await?;
        let member = |name: &str, host: &str| json!({"name": name, "host": host, "port": MariaDb::PORT});
        let sql = json!({
            "engine": "MySQL",
            "members": [member("db1", first.host), member("db2", second.host)],
            "basicAuth": {"secretName": "mariadb-login"},
            "tls": {"secretName": "mariadb-tls"},
        });
        scene.discovered(json!({ "sql": sql })).await?;
        let unnamed = |member: &str, host: &str| {
            format!(
                "{member} (its certificate carries {}, not {host}: write a name that it carries as \
                 spec.discovery.sql.tls.serverName, or issue it anew)",
                mariadb::NAME
            )
        };
        let unnamed = [unnamed("db1", first.host), unnamed("db2", second.host)].join(", ");
        scene.believed("Unknown", &format!("no member answers: {unnamed}")).await?;
        scene.patch_database(json!({"discovery": {"sql": {"tls": {"serverName": mariadb::NAME}}}})).await?;
        let refused = format!(
            "no member answers: db1, db2 (Access denied for user '{}'@'127.0.0.1' (using password: YES) (SQLSTATE 28000))",
            mariadb::USER
        );
        scene.believed("Unknown", &refused).await?;
        scene.secret("mariadb-login", json!({"username": mariadb::USER, "password": mariadb::PASSWORD})).await?;
        let other = "Unknown system variable 'max_execution_time': is it the other one of MySQL and MariaDB? Write that as \
                     spec.discovery.sql.engine";
        scene.believed("Unknown", &format!("no member answers: db1, db2 ({other})")).await?;
        scene.patch_database(json!({"discovery": {"sql": {"engine": "MariaDB"}}})).await?;
        scene.labelled(NEAR_FIRST).await?;
        let known = "is primary: it takes writes (read_only is off)";
        scene.believed("Known", &format!("db1 {known}; 2 of 2 members answer")).await?;

        // Switched over.
        first.set_read_only(true)?;
        scene.believed("Unknown", "none of the 2 members that answer is primary, of 2 known").await?;
        second.set_read_only(false)?;
        scene.labelled(NEAR_SECOND).await?;
        scene.believed("Known", &format!("db2 {known}; 2 of 2 members answer")).await?;

        // Lost, and succeeded.
        second.kill()?;
        scene.condition_becomes(scene.name, "PrimaryKnown", "False").await?;
        first.set_read_only(false)?;
        scene.labelled(NEAR_FIRST).await?;
        let refused = "no answer from db2 (Connection refused (os error 111))";
        scene.believed("Known", &format!("db1 {known}; 1 of 2 members answers; {refused}")).await?;

        // Nobody has told it, and nothing tells which of both came later.
        second.start().await?;
        let split = "split brain: db1 and db2 may each be the primary; none is believed";
        scene.believed("SplitBrain", split).await?;
        assert_eq!(scene.tiers().await?, NEAR_FIRST);
        second.set_read_only(true)?;
        scene.believed("Known", &format!("db1 {known}; 2 of 2 members answer")).await?;
        let status = scene.status().await?;
        assert_eq!(
            (status.epoch, status.timeline, status.highest_timeline, status.system_identifier),
            (3, None, None, None)
        );
        let told = ["nobody → db1 (epoch 1)", "db1 → db2 (epoch 2)", "db2 → db1 (epoch 3)"].map(str::to_owned);
        eventually("the changes that were told", told.to_vec(), async || {
            let mut told = scene.events(scene.name, "PrimaryChanged").await?;
            told.sort_by_key(|note| note.rsplit(' ').next().map(str::to_owned));
            Ok(told)
        })
        .await
    });
}
