//! Carries TCP connections to the API server: from a port on loopback outside into the lab, and, where there is more than one API
//! server, from each node to one that is ready, as a load balancer on every node of a cluster with several control planes does.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    rc::Rc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use tokio::{
    io::copy_bidirectional,
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use crate::net;

/// An API server.
#[derive(Debug, Clone)]
pub struct Server {
    pub address: (Ipv4Addr, u16),
    /// By which it is asked whether it is ready.
    pub kubeconfig: PathBuf,
}

/// Between two looks at a server.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The API server itself gives its store two seconds.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
/// A server that fails so often in a row is down, and its connections with it.
const FAILURES: u32 = 2;

/// Carries each connection of `listener`, which was made outside, to the first of `servers` that is ready, by way of the network
/// `namespace`. A single server is never asked: there would be no other one.
pub fn start(listener: TcpListener, namespace: &Path, servers: Vec<Server>) -> Result<()> {
    listener.set_nonblocking(true)?;
    let file = std::fs::File::open(namespace)
        .with_context(|| format!("there is no network namespace {}", namespace.display()))?;
    thread::Builder::new().name("forward".into()).spawn(move || {
        if let Err(error) = run(listener, file, servers) {
            eprintln!("a way to the API server is closed: {error:#}");
        }
    })?;
    Ok(())
}

/// The same for a host of the lab, at an address and port of its own.
pub fn on_host(host: &str, address: (Ipv4Addr, u16), servers: Vec<Server>) -> Result<()> {
    let namespace = net::namespace(host);
    let listener = net::in_netns(&namespace, move || TcpListener::bind(address))?
        .with_context(|| format!("the port {} of {host} can't be had", address.1))?;
    start(listener, &namespace, servers)
}

fn run(listener: TcpListener, namespace: std::fs::File, servers: Vec<Server>) -> Result<()> {
    // Only what is dialled from here on belongs to the namespace; the listener stays where it was made.
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let alone = servers.len() == 1;
        let ways: Rc<Vec<Way>> = Rc::new(servers.into_iter().map(|server| Way::to(server, alone)).collect());
        loop {
            let (outside, _) = listener.accept().await?;
            let ways = Rc::clone(&ways);
            tokio::task::spawn_local(async move {
                if let Some(way) = ways.iter().find(|way| *way.ready.borrow()) {
                    way.carry(outside).await;
                }
            });
        }
    })
}

/// To one server, and whether it is open.
struct Way {
    address: (Ipv4Addr, u16),
    ready: watch::Receiver<bool>,
}

impl Way {
    fn to(server: Server, alone: bool) -> Way {
        let (sender, ready) = watch::channel(alone);
        let address = server.address;
        tokio::task::spawn_local(async move {
            match alone {
                // The sender lives, so that the way stays open.
                true => std::future::pending().await,
                false => look(&server, &sender).await,
            }
        });
        Way { address, ready }
    }

    async fn carry(&self, mut outside: TcpStream) {
        // A refused connection is what the client would see inside, too: it is closed.
        let Ok(mut inside) = TcpStream::connect(self.address).await else { return };
        let _ = outside.set_nodelay(true);
        let _ = inside.set_nodelay(true);
        let mut ready = self.ready.clone();
        // A client of a server that vanished would wait for minutes.
        tokio::select! {
            _ = copy_bidirectional(&mut outside, &mut inside) => {}
            _ = ready.wait_for(|ready| !*ready) => {}
        }
    }
}

/// Asks a server for ever whether it is ready.
async fn look(server: &Server, ready: &watch::Sender<bool>) {
    let (mut client, mut failures) = (None, 0);
    loop {
        let answer = timeout(ANSWER_WITHIN, ask(&mut client, &server.kubeconfig)).await;
        if matches!(answer, Ok(Ok(()))) {
            failures = 0;
        } else {
            failures += 1;
            // Its connections may be to a server that is gone.
            client = None;
        }
        if failures == 0 || failures >= FAILURES {
            ready.send_if_modified(|ready| std::mem::replace(ready, failures == 0) != (failures == 0));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn ask(client: &mut Option<kube::Client>, kubeconfig: &Path) -> Result<()> {
    let known = match client.take() {
        Some(client) => client,
        None => crate::client(kubeconfig).await?,
    };
    let request = axum::http::Request::get("/readyz").body(Vec::new())?;
    known.request_text(request).await?;
    *client = Some(known);
    Ok(())
}
