//! The processes of one member. Only processes that were started here are ever signalled: Patroni and etcd as children,
//! PostgreSQL by its own pid file, and only when that process really serves this member's data.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use super::{
    Host,
    config::Files,
    front::{Front, RestFault},
};
use crate::process::{Place, Process};

#[derive(Debug)]
pub(super) struct Member {
    pub host: Host,
    pub files: Files,
    pub frozen: bool,
    patroni: Option<Process>,
    front: Option<Front>,
    store: Option<Process>,
}

impl Member {
    pub(super) fn new(host: Host, files: Files) -> Member {
        Member { host, files, frozen: false, patroni: None, front: None, store: None }
    }

    /// Nothing if it runs.
    pub(super) fn start_store(&mut self, etcd: &Path, members: &[(String, Ipv4Addr)], options: &[&str]) -> Result<()> {
        if self.store.as_mut().is_some_and(Process::is_running) {
            return Ok(());
        }
        let mut command = self.files.store(etcd, &self.host, members);
        command.args(options);
        let name = format!("etcd of {}", self.host.name);
        self.store = Some(Process::start(&name, command, &self.files.store_log(), &self.place())?);
        Ok(())
    }

    pub(super) fn start_patroni(&mut self, python: &Path) -> Result<()> {
        ensure!(!self.patroni_runs(), "Patroni of {} runs already", self.host.name);
        let command = self.files.patroni(python);
        let name = format!("Patroni of {}", self.host.name);
        self.patroni = Some(Process::start(&name, command, &self.files.patroni_log(), &self.place())?);
        self.frozen = false;
        self.front = None;
        self.front = Some(Front::start(&self.host)?);
        Ok(())
    }

    fn place(&self) -> Place {
        Place { namespace: Some(self.host.netns.clone()), ..Place::default() }
    }

    pub(super) fn patroni_runs(&mut self) -> bool {
        self.patroni.as_mut().is_some_and(Process::is_running)
    }

    /// An error with the end of the log when a program has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        for process in [&mut self.patroni, &mut self.store].into_iter().flatten() {
            process.check()?;
        }
        Ok(())
    }

    /// SIGKILL to Patroni, its helpers, the postmaster and its children, in an order in which none can react.
    pub(super) fn kill_database(&mut self) -> Result<()> {
        self.front = None;
        if let Some(patroni) = &mut self.patroni {
            kill_group(patroni)?;
        }
        self.patroni = None;
        self.frozen = false;
        let Some(postmaster) = self.postmaster() else { return Ok(()) };
        // Stopped first: a postmaster that lives for a moment longer would start its children again.
        signal(postmaster, Signal::SIGSTOP)?;
        let children = children_of(postmaster);
        signal(postmaster, Signal::SIGKILL)?;
        for child in &children {
            signal(*child, Signal::SIGKILL)?;
        }
        wait_until_gone(children.into_iter().chain([postmaster]))
            .with_context(|| format!("PostgreSQL of {} does not end", self.host.name))
    }

    /// Ends Patroni in order, which stops PostgreSQL and gives up the leader lock.
    pub(super) fn stop_patroni(&mut self, patience: Duration) -> Result<()> {
        self.thaw()?;
        if let Some(patroni) = &mut self.patroni {
            patroni.stop(patience)?;
        }
        self.kill_database()
    }

    pub(super) fn kill_store(&mut self) -> Result<()> {
        if let Some(store) = &mut self.store {
            kill_group(store)?;
        }
        self.store = None;
        Ok(())
    }

    pub(super) fn signal_store(&self, what: Signal) -> Result<()> {
        let store = self.store.as_ref();
        let store = store.with_context(|| format!("the store's member beside {} does not run", self.host.name))?;
        signal(pid(store), what)
    }

    /// Kills everything of this member and removes its files.
    pub(super) fn discard(mut self) -> Result<()> {
        self.kill_database()?;
        self.kill_store()?;
        let directory = &self.files.directory;
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
    }

    pub(super) fn freeze(&mut self) -> Result<()> {
        ensure!(self.patroni_runs(), "Patroni of {} does not run, so it cannot be frozen", self.host.name);
        self.signal_patroni(Signal::SIGSTOP)?;
        self.frozen = true;
        Ok(())
    }

    pub(super) fn thaw(&mut self) -> Result<()> {
        if self.frozen && self.patroni_runs() {
            self.signal_patroni(Signal::SIGCONT)?;
        }
        self.frozen = false;
        Ok(())
    }

    /// From now on the REST API answers like this.
    pub(super) fn rest(&mut self, fault: RestFault) -> Result<()> {
        let front = self.front.as_ref();
        let front =
            front.with_context(|| format!("Patroni of {} does not run, so it has no REST API", self.host.name))?;
        front.set(fault);
        Ok(())
    }

    fn signal_patroni(&self, what: Signal) -> Result<()> {
        self.patroni.as_ref().map_or(Ok(()), |patroni| signal(pid(patroni), what))
    }

    /// The postmaster that serves this member's data, if one lives.
    pub(super) fn postmaster(&self) -> Option<Pid> {
        let data = self.files.data();
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?);
        // The file outlives a crash, and the number may belong to another process by now.
        let arguments = fs::read_to_string(process_directory(pid).join("cmdline")).ok()?;
        arguments.split('\0').any(|argument| Path::new(argument) == data).then_some(pid)
    }
}

/// Kills a program and all processes of its session's first group, and waits for its end.
fn kill_group(process: &mut Process) -> Result<()> {
    if !process.is_running() {
        return Ok(());
    }
    match killpg(pid(process), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => return Err(error).context("cannot kill a process group"),
    }
    let deadline = Instant::now() + GONE_WITHIN;
    while process.is_running() {
        ensure!(Instant::now() < deadline, "process {} lives on after SIGKILL", process.pid());
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

const GONE_WITHIN: Duration = Duration::from_secs(5);

fn pid(process: &Process) -> Pid {
    Pid::from_raw(process.pid().cast_signed())
}

fn signal(pid: Pid, what: Signal) -> Result<()> {
    match kill(pid, what) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {what} to process {pid}")),
    }
}

fn process_directory(pid: Pid) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// The state letter and the parent in /proc/PID/stat (proc(5)); the name before them may contain anything.
fn state_and_parent(pid: Pid) -> Option<(char, Pid)> {
    let stat = fs::read_to_string(process_directory(pid).join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, Pid::from_raw(fields.next()?.parse().ok()?)))
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| state_and_parent(*pid).is_some_and(|(_, its)| its == parent)).collect()
}

/// A zombie is gone too: whoever inherited it has not looked yet.
fn wait_until_gone(pids: impl Iterator<Item = Pid>) -> Result<()> {
    let deadline = Instant::now() + GONE_WITHIN;
    for pid in pids {
        while state_and_parent(pid).is_some_and(|(state, _)| state != 'Z') {
            if Instant::now() >= deadline {
                bail!("process {pid} lives on after SIGKILL");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}
