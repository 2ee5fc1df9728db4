//! One connection to one MySQL or MariaDB server, and the questions that are asked over it.

use std::{io, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use mysql_async::{ClientIdentity, Conn, DriverError, Error, OptsBuilder, Row, SslOpts, prelude::Queryable};

use super::{Login, SqlError};
use crate::{
    api::discovery::SqlEngine,
    cluster::watch::cause,
    core::primary::{
        Claimed,
        mysql::{Group, GroupMember, VARIABLES, Variables},
    },
    credentials::{Credentials, CredentialsError},
    discover::http::find,
};

const MEMBERS: &str = "SELECT MEMBER_ID, MEMBER_STATE, MEMBER_ROLE FROM performance_schema.replication_group_members";
/// Bytes of one answer. The longest sentence of a server is far shorter.
const MOST_BYTES: usize = 1 << 20;
/// What the driver would ask the server for, in seconds. Connections that are used each second don't wait.
const WAIT_TIMEOUT_S: usize = 28_800;
/// SQLSTATE of "syntax error or access rule violation", which a right that is missing comes under.
const NO_RIGHT: &str = "42000";

/// ER_UNKNOWN_SYSTEM_VARIABLE. Only [`limit`] names a variable that a server may lack.
const UNKNOWN_VARIABLE: u16 = 1193;
const STRANGE: &str = "answers as neither MySQL nor MariaDB does";

/// How connections are encrypted, and whom they believe.
pub(super) type Tls = SslOpts;

/// The driver sets TLS up by itself: with the process's cryptography, with our authorities only, and the name that we ask for.
pub(super) fn tls(credentials: &Credentials) -> Result<Tls, CredentialsError> {
    let roots = credentials.roots()?.into_iter().map(|root| root.to_vec().into()).collect();
    let identity = credentials.identity_pem().cloned();
    let mut tls = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots)
        .with_client_identity(identity.map(|pem| ClientIdentity::new(pem.certificate.into(), pem.key.into())));
    if let Some(name) = credentials.server_name() {
        // The certificate is verified for this name in place of the host's.
        tls = tls.with_danger_tls_hostname_override(Some(name));
    }
    Ok(tls)
}

/// The statement after which the server gives up by itself, and doesn't go on for nobody.
pub(super) fn limit(engine: SqlEngine, timeout: Duration) -> String {
    match engine {
        SqlEngine::MariaDB => format!("SET SESSION max_statement_time = {:.3}", timeout.as_secs_f64()),
        _ => format!("SET SESSION max_execution_time = {}", timeout.as_millis()),
    }
}

impl From<Error> for SqlError {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(said) if said.code == UNKNOWN_VARIABLE => Self::Connection(format!(
                "{}: is it the other one of MySQL and MariaDB? Write that as spec.discovery.sql.engine",
                said.message
            )),
            Error::Server(said) => Self::Refused { code: said.state, message: said.message },
            Error::Driver(DriverError::NoClientSslFlagFromServer) => {
                Self::Connection("offers no TLS: set it up there (ssl_cert, ssl_key)".to_owned())
            }
            error => match (find::<rustls::Error>(&error), find::<io::Error>(&error)) {
                (Some(refused), _) => Self::Tls(refused.clone()),
                (None, Some(said)) if said.kind() == io::ErrorKind::InvalidData => {
                    Self::Connection(format!("{STRANGE} ({said})"))
                }
                _ => Self::Connection(cause(&error)),
            },
        }
    }
}

/// An open connection. It is closed when this is dropped.
pub(super) struct Session {
    connection: Conn,
    variables: String,
}

impl Session {
    /// Connects. Nothing is encrypted without `tls`.
    pub(super) async fn open(login: Login<'_>, limit: &str, tls: Option<Tls>) -> Result<Self, SqlError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(login.host)
            .resolved_ips(Some(login.addresses))
            .tcp_port(login.port)
            .user(Some(login.user))
            .pass(Some(login.password))
            .connect_attribute("program_name", "switchover")
            // Never to another server that happens to listen on a socket of this machine.
            .prefer_socket(false)
            .max_allowed_packet(Some(MOST_BYTES))
            .wait_timeout(Some(WAIT_TIMEOUT_S))
            .stmt_cache_size(0)
            .init(vec![limit])
            .ssl_opts(tls);
        let connection = guarded(Conn::new(options)).await?;
        let names = VARIABLES.map(|name| format!("'{name}'")).join(", ");
        Ok(Self { connection, variables: format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})") })
    }

    /// Asks the server who it is.
    pub(super) async fn ask(&mut self) -> Result<Claimed, SqlError> {
        let rows: Vec<Row> = guarded(self.connection.query(&self.variables)).await?;
        let variables = Variables(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect());
        let group = match variables.group_name() {
            Some(_) => self.group().await?,
            None => Group::None,
        };
        Ok(variables.sight(&group))
    }

    async fn group(&mut self) -> Result<Group, SqlError> {
        let rows: Result<Vec<Row>, SqlError> = guarded(self.connection.query(MEMBERS)).await;
        match rows {
            Ok(rows) => {
                let member = |row: &Row| GroupMember { id: text(row, 0), state: text(row, 1), role: text(row, 2) };
                Ok(Group::Members(rows.iter().map(member).collect()))
            }
            Err(SqlError::Refused { code, message }) if code == NO_RIGHT => Ok(Group::Unread(message)),
            Err(error) => Err(error),
        }
    }
}

/// The driver trusts some bytes of the handshake to be as MySQL sends them, and panics when they aren't.
async fn guarded<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, SqlError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => Ok(result?),
        Err(_) => Err(SqlError::Connection(STRANGE.to_owned())),
    }
}

/// A column's text; nothing if it is NULL or none.
fn text(row: &Row, column: usize) -> String {
    row.get_opt(column).and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn each_engine_is_told_its_limit_in_its_own_words() {
        let told = |engine| limit(engine, Duration::from_millis(1500));
        assert_eq!(told(SqlEngine::MySQL), "SET SESSION max_execution_time = 1500");
        assert_eq!(told(SqlEngine::MariaDB), "SET SESSION max_statement_time = 1.500");
    }

    /// What comes of a server that sends these payloads, each after what the client says to the last one.
    async fn opened(payloads: Vec<Vec<u8>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sequence = 0;
            for payload in payloads {
                let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
                stream.write_all(&[&length[..3], &[sequence], &payload].concat()).await.unwrap();
                let mut header = [0; 4];
                if stream.read_exact(&mut header).await.is_err() {
                    return;
                }
                let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
                stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
                sequence = header[3] + 1;
            }
        });
        let login = Login {
            host: "127.0.0.1",
            addresses: vec![[127, 0, 0, 1].into()],
            port,
            database: "",
            user: "switchover",
            password: "a password",
            timeout: Duration::from_secs(5),
        };
        let error = Session::open(login, "SET x = 1", None).await.err().map(|error| error.to_string());
        server.abort();
        error.unwrap_or_default()
    }

    #[tokio::test]
    async fn what_is_no_mysql_is_an_error_and_ends_nothing() {
        let capabilities = [0x01, 0x82, 0xff, 2, 0, 0x08, 0, 21];
        let hello: Vec<u8> =
            [b"\x0a8.4.0\0\x01\0\0\0salt-of8\0", &capabilities[..], &[0; 10], b"twelve-bytes\0caching_sha2_password\0"]
                .concat();
        let refused = b"\xff\x15\x04#28000Access denied".to_vec();
        // Nothing to mix the password with, which the driver divides by.
        let no_salt = b"\xfecaching_sha2_password\0".to_vec();
        let no_key = vec![1, b'?'];
        for (payloads, expected) in [
            (vec![hello.clone(), refused], "Access denied (SQLSTATE 28000)"),
            (vec![hello, no_salt, vec![1, 4], no_key], STRANGE),
            (vec![b"SSH-2.0-OpenSSH".to_vec()], STRANGE),
            (vec![], "closed"),
        ] {
            let error = opened(payloads).await;
            assert!(error.contains(expected), "{error}, and not {expected}");
        }
    }
}
