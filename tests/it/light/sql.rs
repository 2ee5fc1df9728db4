//! A database that nobody vouches for, asked over SQL: real servers of PostgreSQL.

use lab::pki::Authority;
use serde_json::json;

use super::support::{postgres, postgres::Postgres, scene};

const NEAR_FIRST: &str = "dc1-1=closely dc3-1=far";
const NEAR_SECOND: &str = "dc1-1=far dc3-1=closely";

#[test]
fn a_primary_that_is_asked_over_sql_is_followed_and_an_old_one_that_comes_back_is_not() {
    scene("sql", async |scene| {
        let authority = Authority::new()?;
        let postgres = Postgres::new()?;
        let mut first = postgres.primary("127.0.0.1", &authority).await?;
        let second = postgres.standby("127.0.0.2", &first).await?;
        scene.nodes(&[1, 3], 1).await?;
        for (node, near, far) in [("dc1-1", first.host, second.host), ("dc3-1", second.host, first.host)] {
            scene.measure_hosts(node, &[(near, 300), (far, 20_000)]).await?;
        }
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
