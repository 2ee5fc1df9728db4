//! Stands before a member's REST API, at the address that everybody knows, and answers in its place when a test wants so.
//! It is there as long as Patroni is: who asks a killed member is refused by the host.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{
    Host,
    config::{BEHIND_PORT, REST_PORT},
};
use crate::net::in_netns;

/// How a REST API answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RestFault {
    /// As Patroni does.
    #[default]
    None,
    /// After 5 s.
    Slow,
    /// Never.
    Hang,
    /// 200 with a page of HTML.
    Garbage,
    /// 200 with 10 MB of JSON text.
    Huge,
    /// A redirect to another place.
    Redirect,
    /// With a TLS alert, as a port does that speaks TLS only.
    Tls,
}

const SLOW: Duration = Duration::from_secs(5);
const HUGE: usize = 10 << 20;

/// A running front. Dropping it closes the port.
#[derive(Debug)]
pub(super) struct Front {
    fault: Arc<Mutex<RestFault>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    pub(super) fn start(host: &Host) -> Result<Front> {
        let address = SocketAddr::from((host.address, REST_PORT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // A socket belongs to the namespace that it was made in; a thread of its own would have to enter it anew.
        let listener = in_netns(&host.netns, move || std::net::TcpListener::bind(address))?
            .with_context(|| format!("the REST port of {} can't be had", host.name))?;
        listener.set_nonblocking(true)?;
        let fault: Arc<Mutex<RestFault>> = Arc::default();
        let (end, ended) = oneshot::channel();
        let (shared, netns, behind) = (Arc::clone(&fault), host.netns.clone(), host.address);
        let thread = thread::Builder::new().name("rest-front".into()).spawn(move || {
            let served = in_netns(&netns, move || {
                runtime.block_on(async {
                    tokio::select! {
                        served = serve(listener, shared, behind) => served,
                        _ = ended => Ok(()),
                    }
                })
            });
            if let Err(error) = served.and_then(|served| served) {
                tracing::error!("a REST API is not reachable any more: {error:#}");
            }
        })?;
        Ok(Front { fault, end: Some(end), thread: Some(thread) })
    }

    pub(super) fn set(&self, fault: RestFault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, fault: Arc<Mutex<RestFault>>, behind: Ipv4Addr) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        let fault = *fault.lock().map_err(|_| anyhow!("a holder panicked"))?;
        // Whoever hangs up in the middle has had enough.
        tokio::spawn(async move { drop(answer(client, fault, behind).await) });
    }
}

async fn answer(mut client: TcpStream, fault: RestFault, behind: Ipv4Addr) -> std::io::Result<()> {
    let answer: &[u8] = match fault {
        RestFault::None | RestFault::Slow => {
            if fault == RestFault::Slow {
                tokio::time::sleep(SLOW).await;
            }
            let mut patroni = TcpStream::connect((behind, BEHIND_PORT)).await?;
            copy_bidirectional(&mut client, &mut patroni).await?;
            return Ok(());
        }
        RestFault::Hang => {
            // Until the client gives up.
            while client.read(&mut [0; 1024]).await? > 0 {}
            return Ok(());
        }
        RestFault::Garbage => b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>It works!</html>",
        RestFault::Redirect => b"HTTP/1.0 302 Found\r\nLocation: http://192.0.2.1/primary\r\n\r\n",
        // A fatal alert, unexpected_message (RFC 8446, 6).
        RestFault::Tls => &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a],
        RestFault::Huge => b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"state\": \"",
    };
    // The question first: a connection that is closed with something unread is reset.
    let _ = client.read(&mut [0; 4096]).await?;
    client.write_all(answer).await?;
    if fault == RestFault::Huge {
        for _ in 0..HUGE >> 16 {
            client.write_all(&[b'x'; 1 << 16]).await?;
        }
    }
    client.shutdown().await
}
