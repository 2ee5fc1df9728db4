//! One connection to one PostgreSQL server, and the question that is asked over it.

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, config::SslMode};

use super::{Login, SqlError, tls::MakeTls};
use crate::{
    cluster::watch::cause,
    core::primary::{Claimed, postgres::ServerRow},
    discover::http::find,
};

/// In recovery there is no log to write to, so that asking for its file would be an error.
const QUESTION: &str = "SELECT r.recovers, current_setting('transaction_read_only') = 'on', \
    CASE WHEN r.recovers THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END, \
    (SELECT system_identifier::text FROM pg_control_system()) \
    FROM (SELECT pg_is_in_recovery() AS recovers) AS r";

/// What is left of it where the functions of the log are refused: whoever may be writing says so, on no timeline.
const WITHOUT_LOG: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
/// SQLSTATEs of a server that has no such function, or doesn't let it be called: "wal_level must be set to logical", a right
/// that was taken away, a function that is missing or not supported.
const NO_LOG: [&str; 4] = ["55000", "42501", "42883", "0A000"];

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::Refused { code: said.code().code().to_owned(), message: said.message().to_owned() };
        }
        match find::<rustls::Error>(&error) {
            Some(refused) => Self::Tls(refused.clone()),
            None => Self::Connection(cause(&error)),
        }
    }
}

/// An open connection. It is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    /// It has refused to say anything of its log once. Whoever becomes a primary later has another connection.
    without_log: bool,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Session {
    /// Connects. Nothing is encrypted without `tls`.
    pub(super) async fn open(login: Login<'_>, tls: Option<MakeTls>) -> Result<Self, SqlError> {
        let mut config = Config::new();
        for address in &login.addresses {
            // The name is only what the certificate is verified for.
            config.host(login.host).hostaddr(*address);
        }
        config
            .port(login.port)
            .dbname(login.database)
            .user(login.user)
            .password(login.password)
            .application_name("switchover")
            .connect_timeout(login.timeout)
            // The server gives up, too, and doesn't go on for nobody.
            .options(format!("-c statement_timeout={}", login.timeout.as_millis()));
        let (client, connection) = match tls {
            Some(tls) => {
                let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
            None => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Ok(Self { client, without_log: false, connection })
    }

    /// Asks the server who it is.
    pub(super) async fn ask(&mut self) -> Result<Claimed, SqlError> {
        if !self.without_log {
            match self.ask_with_log().await {
                Err(SqlError::Refused { code, .. }) if NO_LOG.contains(&code.as_str()) => self.without_log = true,
                said => return said,
            }
        }
        let row = self.client.query_one(WITHOUT_LOG, &[]).await?;
        let row = ServerRow {
            in_recovery: row.try_get(0)?,
            read_only: row.try_get(1)?,
            without_log: true,
            ..ServerRow::default()
        };
        Ok(row.sight())
    }

    async fn ask_with_log(&self) -> Result<Claimed, SqlError> {
        let row = self.client.query_one(QUESTION, &[]).await?;
        let row = ServerRow {
            without_log: false,
            in_recovery: row.try_get(0)?,
            read_only: row.try_get(1)?,
            wal_file: row.try_get(2)?,
            system_identifier: row.try_get(3)?,
        };
        Ok(row.sight())
    }
}
