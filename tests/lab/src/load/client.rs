//! One request on a kept-alive connection, and what became of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::Outcome;

type Sender = SendRequest<Empty<Bytes>>;

/// What the demo service's 503 begins with when its database is away.
const DATABASE_UNAVAILABLE: &str = "database unavailable";

/// The kept-alive connections to all endpoints.
pub(super) struct Client {
    timeout: Duration,
    idle: Mutex<BTreeMap<SocketAddr, Vec<Sender>>>,
}

impl Client {
    pub(super) fn new(timeout: Duration) -> Client {
        Client { timeout, idle: Mutex::default() }
    }

    /// Closes idle connections to endpoints that are not ready any more, as a proxy does: the service may close them
    /// from now on.
    pub(super) fn forget_others(&self, endpoints: &[SocketAddr]) {
        self.idle().retain(|endpoint, _| endpoints.contains(endpoint));
    }

    /// Sends one order; returns what became of it, and why if it was no good.
    pub(super) async fn order(&self, endpoint: SocketAddr) -> (Outcome, String) {
        match timeout(self.timeout, self.exchange(endpoint)).await {
            Ok(Ok((status, body))) => classify(status, &body),
            Ok(Err(error)) => (Outcome::TransportFailure, format!("{error:#}")),
            Err(_) => (Outcome::TransportFailure, format!("no whole answer within {:?}", self.timeout)),
        }
    }

    async fn exchange(&self, endpoint: SocketAddr) -> Result<(StatusCode, Bytes)> {
        let (mut sender, kept) = match self.take_idle(endpoint) {
            Some(sender) => (sender, "kept-alive"),
            None => (connect(endpoint).await?, "new"),
        };
        let request = Request::get("/order").header("host", endpoint.to_string()).body(Empty::new())?;
        let what = || format!("on a {kept} connection");
        let response = sender.send_request(request).await.with_context(what)?;
        let status = response.status();
        let body = response.into_body().collect().await.with_context(what)?.to_bytes();
        // Not ready any more when the service said `Connection: close`.
        if sender.ready().await.is_ok() {
            self.idle().entry(endpoint).or_default().push(sender);
        }
        Ok((status, body))
    }

    /// A connection that the service has not closed, as far as this side can know. Using another one when it has is
    /// no retry: nothing was sent.
    fn take_idle(&self, endpoint: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle();
        let senders = idle.get_mut(&endpoint)?;
        senders.retain(|sender| !sender.is_closed());
        senders.pop()
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Vec<Sender>>> {
        self.idle.lock().expect("no holder panics")
    }
}

async fn connect(endpoint: SocketAddr) -> Result<Sender> {
    let stream = TcpStream::connect(endpoint).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends when either side closes. Its errors come out of the sender too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn classify(status: StatusCode, body: &[u8]) -> (Outcome, String) {
    if status == StatusCode::OK {
        return (Outcome::Ok, String::new());
    }
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = answer["error"].as_str().unwrap_or_default();
    if status == StatusCode::SERVICE_UNAVAILABLE && error.starts_with(DATABASE_UNAVAILABLE) {
        return (Outcome::DbUnavailable, error.to_owned());
    }
    (Outcome::Other, format!("{status}: {}", String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_database_is_told_from_a_broken_service() {
        let outcome = |status, body: &str| classify(status, body.as_bytes()).0;
        assert_eq!(outcome(StatusCode::OK, "{}"), Outcome::Ok);
        let body = r#"{"error":"database unavailable: no member is a writable primary"}"#;
        assert_eq!(outcome(StatusCode::SERVICE_UNAVAILABLE, body), Outcome::DbUnavailable);
        assert_eq!(outcome(StatusCode::SERVICE_UNAVAILABLE, "overloaded"), Outcome::Other);
        assert_eq!(outcome(StatusCode::INTERNAL_SERVER_ERROR, body), Outcome::Other);
    }
}
