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
        config
            .host(login.host)
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
        Ok(Self { client, connection })
    }

    /// Asks the server who it is.
    pub(super) async fn ask(&self) -> Result<Claimed, SqlError> {
        let row = self.client.query_one(QUESTION, &[]).await?;
        let row = ServerRow {
            in_recovery: row.try_get(0)?,
            read_only: row.try_get(1)?,
            wal_file: row.try_get(2)?,
            system_identifier: row.try_get(3)?,
        };
        Ok(row.sight())
    }
}
