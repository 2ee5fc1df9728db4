//! One connection to one server, whatever its engine.

use std::time::Duration;

use super::{mysql, postgres, tls::MakeTls};
use crate::{
    api::discovery::{SqlDiscovery, SqlEngine},
    core::primary::Sight,
    credentials::{Credentials, CredentialsError},
};

/// Why a server can't be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqlError {
    /// The server's own words.
    #[error("{message} (SQLSTATE {code})")]
    Refused { code: String, message: String },
    #[error("{0}")]
    Connection(String),
    #[error("{0}")]
    Tls(rustls::Error),
}

impl SqlError {
    /// Whether other credentials may help: class 28 is "invalid authorization specification".
    pub fn doubts_credentials(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.starts_with("28"))
    }
}

/// What speaks to the servers of an engine, with TLS if they are to be believed by it.
#[derive(Clone)]
pub(super) enum Driver {
    Postgres(Option<MakeTls>),
    MySql { limit: String, tls: Option<mysql::Tls> },
}

impl Driver {
    pub fn new(spec: &SqlDiscovery, credentials: &Credentials) -> Result<Self, CredentialsError> {
        let encrypted = !spec.unencrypted;
        Ok(match spec.engine {
            SqlEngine::PostgreSQL => {
                let tls = encrypted.then(|| credentials.client_config().map(MakeTls::new)).transpose()?;
                Self::Postgres(tls)
            }
            SqlEngine::MySQL | SqlEngine::MariaDB => Self::MySql {
                limit: mysql::limit(spec.engine, spec.timeout.0),
                tls: encrypted.then(|| mysql::tls(credentials)).transpose()?,
            },
        })
    }
}

/// Whom to connect to, and as whom.
pub(super) struct Login<'a> {
    pub host: &'a str,
    pub port: u16,
    /// PostgreSQL's.
    pub database: &'a str,
    pub user: &'a str,
    pub password: &'a str,
    /// For the connection, and for every statement.
    pub timeout: Duration,
}

/// An open connection. It is closed when this is dropped.
pub(super) enum Session {
    Postgres(postgres::Session),
    MySql(mysql::Session),
}

impl Session {
    /// Connects.
    pub async fn open(driver: &Driver, login: Login<'_>) -> Result<Self, SqlError> {
        Ok(match driver {
            Driver::Postgres(tls) => Self::Postgres(postgres::Session::open(login, tls.clone()).await?),
            Driver::MySql { limit, tls } => Self::MySql(mysql::Session::open(login, limit, tls.clone()).await?),
        })
    }

    /// Asks the server who it is.
    pub async fn ask(&mut self) -> Result<Sight, SqlError> {
        match self {
            Self::Postgres(session) => session.ask().await,
            Self::MySql(session) => session.ask().await,
        }
    }
}
