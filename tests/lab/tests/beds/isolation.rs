//! Runs a test in namespaces of its own, so that nothing of it can stay behind or meet another.

use std::{env, fs, path::Path, process::Command};

use anyhow::Context;
use nix::{
    mount::{MsFlags, mount},
    unistd::geteuid,
};

/// Set inside the namespaces.
const INSIDE: &str = "LAB_TEST_INSIDE";

/// Runs `body` inside fresh pid, mount and network namespaces by starting this test binary again for the one test
/// `name`. When that process ends, the kernel ends whatever the test started. `prepare` runs before, outside, where there
/// is a network.
pub(crate) fn isolated(name: &str, prepare: fn() -> anyhow::Result<()>, body: fn() -> anyhow::Result<()>) {
    if env::var_os(INSIDE).is_some() {
        private_directories();
        if let Err(error) = body() {
            panic!("{error:?}");
        }
        return;
    }
    assert!(geteuid().is_root(), "this test makes network namespaces, so it needs root");
    if let Err(error) = prepare() {
        panic!("{name} could not be prepared: {error:?}");
    }
    let status = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        // The shell is pid 1 there: it reaps the orphans.
        .args(["sh", "-c", "ip link set lo up; \"$@\"; exit $?", "sh"])
        .arg(env::current_exe().expect("a test knows its own binary"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) can be run");
    assert!(status.success(), "{name} failed inside its namespaces; its output is above");
}

/// A directory that is empty at first, that every user can reach, and that is gone with the test.
pub(crate) const SCRATCH: &str = "/mnt";

/// Network namespaces are named by files below /run/netns: this test gets an empty one of its own.
fn private_directories() {
    fs::create_dir_all("/run/netns").expect("root can write below /run");
    for directory in ["/run/netns", SCRATCH] {
        mount(Some("lab"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .unwrap_or_else(|error| panic!("cannot mount a tmpfs on {directory}: {error}"));
    }
}

/// Shows a directory of the machine at a path that every user can reach, as the lab's supervisor does.
pub(crate) fn bind(directory: &Path, at: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(at)?;
    mount(Some(directory), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot show {} at {}", directory.display(), at.display()))
}
