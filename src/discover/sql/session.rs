//! One connection to one server, whatever its engine.

use super::{Login, SqlError, mysql, postgres, tls::MakeTls};
use crate::{
    api::discovery::{SqlDiscovery, SqlEngine},
    core::primary::Claimed,
    credentials::{Credentials, CredentialsError},
};

/// What speaks to the servers of an engine, with TLS if they are to be believed by it.
#[derive(Clone)]
pub(super) enum Driver {
    Postgres(Option<MakeTls>),
    MySql { limit: String, tls: Option<mysql::Tls> },
}

impl Driver {
    pub(super) fn new(spec: &SqlDiscovery, credentials: &Credentials) -> Result<Self, CredentialsError> {
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

/// An open connection. It is closed when this is dropped.
pub(super) enum Session {
    Postgres(postgres::Session),
    MySql(mysql::Session),
}

impl Session {
    /// Connects.
    pub(super) async fn open(driver: &Driver, login: Login<'_>) -> Result<Self, SqlError> {
        Ok(match driver {
            Driver::Postgres(tls) => Self::Postgres(postgres::Session::open(login, tls.clone()).await?),
            Driver::MySql { limit, tls } => Self::MySql(mysql::Session::open(login, limit, tls.clone()).await?),
        })
    }

    /// Asks the server who it is.
    pub(super) async fn ask(&mut self) -> Result<Claimed, SqlError> {
        match self {
            Self::Postgres(session) => session.ask().await,
            Self::MySql(session) => session.ask().await,
        }
    }
}
