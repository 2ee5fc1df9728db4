//! The state directory of a lab: made, emptied, and cleared of what is large or secret.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{SETTINGS, SOCKET};
use crate::tools;

pub(super) fn readable(file: &Path) -> Result<PathBuf> {
    let path = file.canonicalize().with_context(|| format!("there is no image archive {}", file.display()))?;
    crate::image::reference_of(&path)?;
    Ok(path)
}

pub(super) fn make_state(state: &Path) -> Result<PathBuf> {
    fs::create_dir_all(state).with_context(|| format!("cannot create the state directory {}", state.display()))?;
    let state = state.canonicalize()?;
    let socket = state.join(SOCKET);
    // The kernel's limit for the path of a unix socket.
    ensure!(
        socket.as_os_str().len() < 108,
        "the path of the state directory {} is too long for a unix socket; choose a shorter one with --state",
        state.display()
    );
    Ok(state)
}

/// Empties the state directory of an earlier lab, and refuses to touch anything else.
pub(super) fn empty(state: &Path) -> Result<()> {
    let occupied = fs::read_dir(state)?.next().is_some();
    ensure!(
        !occupied || state.join(SETTINGS).exists(),
        "the state directory {} holds other files than a lab's; choose another one with --state",
        state.display()
    );
    fs::remove_dir_all(state)
        .and_then(|()| fs::create_dir(state))
        .with_context(|| format!("cannot empty {}", state.display()))
}

/// Everything large or secret; logs stay for whoever wants to know what happened.
pub(super) fn remove_disks(state: &Path) {
    let databases = ["patroni", "kine-patroni"].map(|group| (group, ["data", "etcd"]));
    for (group, parts) in databases.into_iter().chain([("nodes", ["kubelet", "containerd"])]) {
        for entry in fs::read_dir(state.join(group)).into_iter().flatten().flatten() {
            for part in parts {
                let _ = fs::remove_dir_all(entry.path().join(part));
            }
        }
    }
    for part in ["control-plane/etcd", "control-plane/pki", "control-plane-2/pki"] {
        let _ = fs::remove_dir_all(state.join(part));
    }
}

/// Short, the same for the same state directory, and fit for a directory name.
pub(super) fn id_of(state: &Path) -> String {
    use sha2::{Digest, Sha256};
    tools::hex(&Sha256::digest(state.as_os_str().as_encoded_bytes()))[..8].to_owned()
}
