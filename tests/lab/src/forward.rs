//! Makes the API server reachable from outside the lab: a port on loopback, whose connections are carried inside.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    thread,
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use tokio::{io::copy_bidirectional, net::TcpStream};

/// Carries each connection of `listener`, which was made outside, to `target` inside the network `namespace`.
pub fn start(listener: TcpListener, namespace: PathBuf, target: (Ipv4Addr, u16)) -> Result<()> {
    listener.set_nonblocking(true)?;
    let file = std::fs::File::open(&namespace)
        .with_context(|| format!("there is no network namespace {}", namespace.display()))?;
    thread::Builder::new().name("forward".into()).spawn(move || {
        if let Err(error) = run(listener, file, target) {
            eprintln!("the API server's port on loopback is closed: {error:#}");
        }
    })?;
    Ok(())
}

fn run(listener: TcpListener, namespace: std::fs::File, target: (Ipv4Addr, u16)) -> Result<()> {
    // Only what is dialled from here on belongs to the namespace; the listener stays where it was made.
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut outside, _) = listener.accept().await?;
            tokio::spawn(async move {
                // A refused connection is what the client would see inside, too: it is closed.
                if let Ok(mut inside) = TcpStream::connect(target).await {
                    let _ = outside.set_nodelay(true);
                    let _ = inside.set_nodelay(true);
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    })
}
