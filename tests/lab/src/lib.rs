//! The test beds.
//!
//! ```text
//!            lab (handle, outside) ── control.sock ──► supervisor (pid 1 of its own namespaces)
//!                                                        │
//!   site ── address plan ──► net (routers, cables) ──► wan (delay, loss, cuts)
//!                                                        ├─ control_plane (etcd, API server, …) ◄─ also in light
//!                                                        ├─ machine (node namespaces, containerd, kubelet)
//!                                                        ├─ patroni (a member in each data centre)
//!                                                        └─ forward (the ways to the API server, or to one of two)
//!   prepare ──► tools (the cache) ◄── image (archives for the nodes)
//!   light (control plane + kwok, for the integration tests) ──► reviews (records what the API server asks webhooks)
//!   install ──► demo (the story that `make demo` tells) ──► two (that of two data centres)
//! ```
//!
//! Beside the beds, for all tests: scripted (a Patroni that says what a test wants), table (every wrong row), wait.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub mod cgroup;
pub mod control;
pub mod control_plane;
pub mod demo;
pub mod forward;
pub mod image;
pub mod install;
pub mod lab;
pub mod light;
pub mod load;
pub mod machine;
pub mod measured;
pub mod mount;
pub mod net;
pub mod patroni;
pub mod pki;
pub mod prepare;
pub mod process;
pub mod reactions;
pub mod requests;
pub mod requirements;
pub mod reviews;
pub mod scripted;
pub mod site;
pub mod supervisor;
pub mod table;
pub mod tools;
pub mod two;
pub mod wait;
pub mod wan;

pub use lab::{Lab, Options};

/// A client for a kubeconfig. Works in any network namespace, as long as it is used where it was made.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    // Fails when a provider is already installed, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::config::Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read the kubeconfig {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Where beds keep their state by default: the workspace's `target`, or the one below the current directory when the
/// workspace has moved since this was compiled.
pub fn target_directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    workspace.canonicalize().unwrap_or_default().join("target")
}
