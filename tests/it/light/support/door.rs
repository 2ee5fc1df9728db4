//! A way to the API server that can be shut: for who must be seen without it, while everybody else has it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Carries connections as long as it is there and open.
#[derive(Debug)]
pub(crate) struct Door {
    /// Of whoever goes through it.
    pub kubeconfig: PathBuf,
    open: watch::Sender<bool>,
    _working: JoinSet<()>,
}

impl Door {
    /// In front of the API server that `kubeconfig` names; `name` tells its own one from others.
    pub(crate) async fn before(kubeconfig: &Path, name: &str) -> Result<Self> {
        let text = fs::read_to_string(kubeconfig)?;
        let (_, rest) = text.split_once("https://").context("the kubeconfig names no server")?;
        let address: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '"' && *c != '/').collect();
        let target: SocketAddr = address.parse().context("the server is no address")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let through = kubeconfig.with_file_name(format!("{name}.kubeconfig"));
        fs::write(&through, text.replace(&address, &listener.local_addr()?.to_string()))?;
        let open = watch::Sender::new(true);
        let mut working = JoinSet::new();
        working.spawn(carry(listener, target, open.subscribe()));
        Ok(Self { kubeconfig: through, open, _working: working })
    }

    /// Whoever is in is thrown out, and nobody comes in.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn carry(listener: TcpListener, target: SocketAddr, open: watch::Receiver<bool>) {
    let mut carried = JoinSet::new();
    while let Ok((mut outside, _)) = listener.accept().await {
        let mut open = open.clone();
        if !*open.borrow() {
            continue;
        }
        carried.spawn(async move {
            let Ok(mut inside) = TcpStream::connect(target).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut outside, &mut inside) => {}
                _ = open.wait_for(|open| !open) => {}
            }
        });
    }
}
