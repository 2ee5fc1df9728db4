//! The supervisor's own namespaces: whatever is started, mounted or connected inside ends with its process 1.

use std::{
    fs,
    io::Write,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, wait},
    unistd::{ForkResult, Pid, chdir, fork, pivot_root, setsid},
};

use super::Settings;
use crate::{cgroup, mount};

/// The cache and the state directory as seen inside: short, and reachable for users that can't enter root's home.
pub const CACHE: &str = "/lab/cache";
/// Where the lab's state lies within its own mount namespace.
pub const STATE: &str = "/lab/state";

/// The control group of the control plane and everything else that is not a node.
pub const GROUP: &str = "supervisor";

/// Runs `work` as a process of its own in new namespaces, and returns in the caller. The new process 1 only reaps, so
/// that `work` may wait for its children by itself.
pub fn enter(settings: &Settings, work: impl FnOnce() -> Result<()>) -> Result<()> {
    setsid().context("cannot leave the terminal")?;
    let procs = cgroup::create(&settings.hierarchies, &settings.id, GROUP)?;
    unshare(
        CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )
    .context("cannot make the lab's namespaces")?;
    // SAFETY: this process has one thread, so the child may do anything.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        return report(&format!("pid {child}"));
    }
    for file in procs {
        // 0 is whoever writes it.
        fs::write(&file, "0").with_context(|| format!("cannot enter the control group {}", file.display()))?;
    }
    let result = make_root(settings).and_then(|()| {
        // SAFETY: as above.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => reap(child),
            ForkResult::Child => work(),
        }
    });
    if let Err(error) = &result {
        let _ = report(&format!("error {}", format!("{error:#}").replace('\n', "\\n")));
    }
    result
}

/// A line for whoever started the lab and waits for it to be up.
pub fn report(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody waits for the lab any more")
}

/// Ends the lab when whoever started it goes away before it is up: nobody else knows of it yet.
pub fn end_with_starter(is_up: impl Fn() -> bool + Send + 'static) {
    thread::spawn(move || {
        let out = std::io::stdout();
        while !is_up() {
            // A pipe without a reader is in error; that is always reported.
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
            let ready = poll(&mut fds, PollTimeout::from(500_u16)).unwrap_or_default();
            if ready > 0 && !is_up() {
                eprintln!("whoever started the lab has gone away before it was up: ending it");
                std::process::exit(1);
            }
        }
    });
}

/// A root directory of our own: everything of the machine, plus /lab and a fresh /run and /proc.
fn make_root(settings: &Settings) -> Result<()> {
    mount::make_private()?;
    // /run is there on every machine, and nothing of its content is wanted inside.
    let root = Path::new("/run");
    let sources = entries(Path::new("/"))?;
    // Opened before /run is covered, in case they lie below it.
    let (cache, state) = (settings.cache.clone(), settings.state.clone());
    mount::fresh("tmpfs", root, "mode=755")?;
    for source in sources {
        let Some(name) = source.file_name() else { continue };
        let target = root.join(name);
        if let Ok(link) = fs::read_link(&source) {
            std::os::unix::fs::symlink(link, target)?;
        } else if name == "run" || name == "proc" || name == "lab" {
            fs::create_dir_all(target)?;
        } else {
            mount::bind(&source, &target)?;
        }
    }
    fs::create_dir_all(root.join("lab"))?;
    mount::bind(cache, root.join("lab/cache"))?;
    mount::bind(state, root.join("lab/state"))?;
    mount::fresh("proc", root.join("proc"), "")?;
    mount::fresh("tmpfs", root.join("run"), "mode=755")?;
    fs::create_dir(root.join("run/netns"))?;
    fs::create_dir(root.join("old"))?;
    pivot_root(root, &root.join("old")).context("cannot change to the lab's own root directory")?;
    chdir("/")?;
    mount::detach("/old")?;
    fs::remove_dir("/old").context("cannot remove the old root")
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// Process 1: takes in orphans until the supervisor ends, and ends with it. The kernel then ends everything else.
fn reap(supervisor: Pid) -> Result<()> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, 0)) if pid == supervisor => return Ok(()),
            Ok(WaitStatus::Exited(pid, code)) if pid == supervisor => std::process::exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == supervisor => bail!("the supervisor died of {signal}"),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the supervisor"),
        }
    }
}
