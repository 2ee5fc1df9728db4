//! What the lab needs from the machine, checked before anything is started.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};

use crate::{cgroup, tools};

/// Refuses with one sentence about the first thing that is missing.
pub fn check() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab makes network, mount and process namespaces and so needs root; run it with sudo. \
         The light bed (`lab light`) does without"
    );
    tools::require_programs(&[("ip", "iproute2"), ("nsenter", "util-linux"), ("setpriv", "util-linux")])?;
    ensure!(
        Path::new("/dev/net/tun").exists(),
        "the emulated WAN needs TUN devices, and /dev/net/tun is missing; load the kernel module `tun` (modprobe tun)"
    );
    let file_systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    ensure!(
        file_systems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay"),
        "containers need the overlay file system, which this kernel does not offer; load the kernel module `overlay`"
    );
    cgroup::hierarchies().map(drop)
}

/// The `lab` program, which also is the supervisor: this one, or the one that was built beside a test.
pub fn lab_program() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SWITCHOVER_LAB_PROGRAM") {
        return Ok(path.into());
    }
    let own = env::current_exe()?;
    if own.file_name().is_some_and(|name| name == "lab") {
        return Ok("/proc/self/exe".into());
    }
    // Tests lie in target/PROFILE/deps, the program in target/PROFILE.
    match own.ancestors().skip(1).take(2).map(|directory| directory.join("lab")).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "the program `lab` is not built beside {}; run `cargo build -p switchover-lab`, or set \
             SWITCHOVER_LAB_PROGRAM to its path",
            own.display()
        ),
    }
}
