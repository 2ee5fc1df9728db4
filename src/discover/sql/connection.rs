//! Asks one member: over a connection that is kept, and with a time limit for each connection and each answer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    Login, SqlConfig, SqlError,
    session::{Driver, Session},
};
use crate::{
    core::primary::Answer,
    credentials::Credentials,
    discover::{Member, lookups},
};

/// Where a member is now. The drivers would ask the system's resolver themselves, for each attempt anew, and leave a thread
/// behind each time that it hangs.
async fn addresses(host: &str) -> Result<Vec<IpAddr>, SqlError> {
    let found = lookups::addresses(host).await;
    let found = found.map_err(|error| SqlError::Connection(format!("its name can't be looked up: {error}")))?;
    let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    if addresses.is_empty() {
        return Err(SqlError::Connection("its name has no address".to_owned()));
    }
    Ok(addresses)
}

/// Database of PostgreSQL that every server has.
const DATABASE: &str = "postgres";

/// One member, and the connection to it.
pub(super) struct Connection {
    pub index: usize,
    member: Member,
    config: SqlConfig,
    open: Option<Open>,
    driver: Option<(Arc<Credentials>, Driver)>,
}

/// A connection, and what it was opened with.
struct Open {
    session: Session,
    credentials: Arc<Credentials>,
}

/// What came of asking, with the connection that asked.
pub(super) struct Asked {
    pub connection: Connection,
    pub answer: Answer,
    /// The server and we don't believe each other.
    pub refused: bool,
    pub began: Instant,
    pub took: Duration,
}

impl Connection {
    pub(super) const fn new(index: usize, member: Member, config: SqlConfig) -> Self {
        Self { index, member, config, open: None, driver: None }
    }

    /// Asks the member once.
    pub(super) async fn look(mut self) -> Asked {
        let began = Instant::now();
        let held = self.config.access.held();
        let (answer, refused) = match (held.credentials, held.problem) {
            (Some(credentials), _) => self.answer(credentials).await,
            (None, Some(error)) => (Answer::Unreachable { error }, false),
            (None, None) => (Answer::Pending, false),
        };
        Asked { connection: self, answer, refused, began, took: began.elapsed() }
    }

    async fn answer(&mut self, credentials: Arc<Credentials>) -> (Answer, bool) {
        let open = self.open.take().filter(|open| Arc::ptr_eq(&open.credentials, &credentials));
        let limit = self.config.spec.timeout.0;
        match timeout(limit, self.ask(open.map(|open| open.session), &credentials)).await {
            Ok(Ok((session, answer))) => {
                self.open = Some(Open { session, credentials });
                (answer, false)
            }
            Ok(Err(error)) => {
                let doubtful = error.doubts_credentials();
                if doubtful {
                    self.config.access.doubt();
                }
                let refused = doubtful || matches!(error, SqlError::Tls(_));
                let error = match error {
                    SqlError::Tls(error) => credentials.explain(&error),
                    error => error.to_string(),
                };
                (Answer::Unreachable { error }, refused)
            }
            Err(_) => {
                let error = format!("no answer within {} ms", limit.as_millis());
                (Answer::Unreachable { error }, false)
            }
        }
    }

    async fn ask(
        &mut self,
        session: Option<Session>,
        credentials: &Arc<Credentials>,
    ) -> Result<(Session, Answer), SqlError> {
        let mut session = match session {
            Some(session) => session,
            None => self.connect(credentials).await?,
        };
        let sight = session.ask().await?;
        Ok((session, Answer::Seen(sight)))
    }

    async fn connect(&mut self, credentials: &Arc<Credentials>) -> Result<Session, SqlError> {
        let driver = self.driver(credentials)?;
        let spec = &self.config.spec;
        let (user, password) = credentials.basic_auth().map_or(("", ""), |login| (&*login.user, login.password()));
        let login = Login {
            host: &self.member.host,
            addresses: addresses(&self.member.host).await?,
            port: self.member.port,
            database: spec.database.as_deref().unwrap_or(DATABASE),
            user,
            password,
            timeout: spec.timeout.0,
        };
        Session::open(&driver, login).await
    }

    /// Made once for each of the credentials: the machine's root certificates take time to read.
    fn driver(&mut self, credentials: &Arc<Credentials>) -> Result<Driver, SqlError> {
        if let Some((made_of, driver)) = &self.driver
            && Arc::ptr_eq(made_of, credentials)
        {
            return Ok(driver.clone());
        }
        let driver =
            Driver::new(&self.config.spec, credentials).map_err(|error| SqlError::Connection(error.to_string()))?;
        self.driver = Some((Arc::clone(credentials), driver.clone()));
        Ok(driver)
    }
}
