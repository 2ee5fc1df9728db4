//! The service's way to the writable primary: a few connections, kept healthy, dropped at the first doubt.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::Semaphore, time::timeout};
use tokio_postgres::{
    Client, Config, NoTls, Statement,
    config::{Host, TargetSessionAttrs},
    error::SqlState,
};

/// From a request's arrival to its answer, whatever the database does.
const DEADLINE: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const CONNECTIONS: usize = 8;

/// How long a connection may lie idle before it is tried out.
const TRY_AFTER_IDLE: Duration = Duration::from_secs(2);

const QUERIES: usize = 10;

/// One at a time creates the tables, because several `CREATE TABLE IF NOT EXISTS` at once do collide.
const SCHEMA: &str = "\
BEGIN;
SELECT pg_advisory_xact_lock(1);
CREATE TABLE IF NOT EXISTS item (id int PRIMARY KEY, name text NOT NULL, price int NOT NULL);
INSERT INTO item SELECT i, 'item ' || i, i * 100 FROM generate_series(1, 100) AS i ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS purchase (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item int NOT NULL,
    pod text NOT NULL, at timestamptz NOT NULL DEFAULT now());
COMMIT;
";

/// The primary and the connections to it.
pub(crate) struct Database {
    /// One for each member.
    members: Vec<Config>,
    slots: Semaphore,
    /// The last used is used first.
    idle: Mutex<Vec<Connection>>,
}

/// An order that was carried out.
pub(crate) struct Order {
    pub member: String,
    pub took: Duration,
}

struct Connection {
    client: Client,
    member: String,
    read: Statement,
    write: Statement,
    used: Instant,
}

impl Database {
    pub(crate) fn new(url: &str, pod: &str) -> Result<Database> {
        let all: Config = url.parse().context("DATABASE_URL is not a PostgreSQL connection string")?;
        ensure!(!all.get_hosts().is_empty(), "DATABASE_URL names no host");
        let members = all.get_hosts().iter().enumerate().map(|(index, host)| member(&all, index, host, pod));
        Ok(Database {
            members: members.collect::<Result<_>>()?,
            slots: Semaphore::new(CONNECTIONS),
            idle: Mutex::default(),
        })
    }

    /// Ten queries one after another. Nothing is tried twice: what failed may have happened.
    pub(crate) async fn order(&self, pod: &str) -> Result<Order> {
        let start = Instant::now();
        let result = timeout(DEADLINE, async {
            let _slot = self.slots.acquire().await?;
            let mut connection = self.connection().await?;
            connection.order(start, pod).await?;
            connection.used = Instant::now();
            let member = connection.member.clone();
            self.idle().push(connection);
            anyhow::Ok(member)
        })
        .await;
        match result {
            Ok(Ok(member)) => Ok(Order { member, took: start.elapsed() }),
            failed => {
                // What broke one connection has broken the others too, most likely.
                self.idle().clear();
                match failed {
                    Ok(result) => result.map(|_| unreachable!("successes are above")),
                    Err(_) => bail!("no answer within {} s", DEADLINE.as_secs()),
                }
            }
        }
    }

    /// Tries idle connections out for ever, so that a request seldom meets a dead one.
    pub(crate) async fn keep_healthy(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let tired: Vec<Connection> = {
                let mut idle = self.idle();
                idle.retain(|connection| !connection.client.is_closed());
                idle.extract_if(.., |connection| connection.used.elapsed() > TRY_AFTER_IDLE).collect()
            };
            for mut connection in tired {
                let answer = timeout(CONNECT_TIMEOUT, connection.client.query_one("SELECT pg_is_in_recovery()", &[]));
                if let Ok(Ok(row)) = answer.await
                    && !row.get::<_, bool>(0)
                {
                    connection.used = Instant::now();
                    // Below those that requests use: what is not needed stays below.
                    self.idle().insert(0, connection);
                }
            }
        }
    }

    async fn connection(&self) -> Result<Connection> {
        let found = {
            let mut idle = self.idle();
            idle.retain(|connection| !connection.client.is_closed());
            idle.pop()
        };
        match found {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// Asks every member at once and takes the writable one: a member that doesn't answer costs no time.
    async fn connect(&self) -> Result<Connection> {
        let mut attempts: FuturesUnordered<_> = self.members.iter().map(open).collect();
        let mut refusals = Vec::new();
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(client) => return Connection::prepare(client).await,
                Err(refusal) => refusals.push(format!("{refusal:#}")),
            }
        }
        bail!("no member is a writable primary: {}", refusals.join("; "))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("no holder panics")
    }
}

impl Connection {
    async fn prepare(client: Client) -> Result<Connection> {
        let statements = async || {
            tokio::try_join!(
                client.prepare("SELECT name, price FROM item WHERE id = $1"),
                client.prepare("INSERT INTO purchase (item, pod) VALUES ($1, $2)"),
            )
        };
        let (read, write) = match statements().await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                client.batch_execute(SCHEMA).await.context("cannot create the tables")?;
                statements().await?
            }
            result => result?,
        };
        // The lab's members say their name; others are known by their address.
        let member = "SELECT coalesce(current_setting('lab.member', true), host(inet_server_addr()), 'local')";
        let member = client.query_one(member, &[]).await?.get(0);
        Ok(Connection { client, member, read, write, used: Instant::now() })
    }

    async fn order(&self, start: Instant, pod: &str) -> Result<()> {
        // Different items without a random generator.
        let first = start.elapsed().subsec_nanos() as i32;
        for query in 1..QUERIES as i32 {
            let item = (first.wrapping_add(query * 37)).rem_euclid(100) + 1;
            self.client.query_one(&self.read, &[&item]).await?;
        }
        self.client.execute(&self.write, &[&(first.rem_euclid(100) + 1), &pod]).await?;
        Ok(())
    }
}

/// Opens a session with one member if it is writable.
async fn open(config: &Config) -> Result<Client> {
    let name = || match config.get_hosts() {
        [Host::Tcp(host)] => host.clone(),
        other => format!("{other:?}"),
    };
    let connected = timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await;
    let (client, connection) = connected.with_context(|| format!("{} does not answer", name()))?.with_context(name)?;
    // Ends when the client is dropped, or by itself when the member is gone.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// What the connection string says, for one of its members, with timeouts that notice a dead one.
fn member(all: &Config, index: usize, host: &Host, pod: &str) -> Result<Config> {
    let mut config = Config::new();
    match host {
        Host::Tcp(host) => config.host(host),
        Host::Unix(path) => config.host_path(path),
    };
    let ports = all.get_ports();
    config.port(ports.get(index).or(ports.first()).copied().unwrap_or(5432));
    config.user(all.get_user().context("DATABASE_URL names no user")?);
    if let Some(password) = all.get_password() {
        config.password(password);
    }
    if let Some(name) = all.get_dbname() {
        config.dbname(name);
    }
    config
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .application_name(pod)
        .options("-c statement_timeout=1500")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(DEADLINE)
        .keepalives_idle(Duration::from_secs(1))
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(2);
    Ok(config)
}
