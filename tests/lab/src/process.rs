//! Long-running programs with a log file: started in a network namespace, ended with patience.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, sethostname},
};
use serde::{Deserialize, Serialize};

/// Where and how programs are started.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The network namespace; the caller's when absent.
    pub namespace: Option<PathBuf>,
    /// What the program takes for its machine's name; the caller's when absent.
    pub hostname: Option<String>,
    /// End the program when the THREAD that started it ends. The kernel ties it to the thread, not to the process.
    pub die_with_thread: bool,
}

/// A started program.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    /// Whether its end was asked for.
    ended: bool,
}

/// Whether a program runs; for status output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    On,
    Off,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path, place: &Place) -> Result<Process> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write the log {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let namespace = place
            .namespace
            .as_ref()
            .map(|path| File::open(path).with_context(|| format!("no network namespace {}", path.display())))
            .transpose()?;
        let (hostname, die_with_thread) = (place.hostname.clone(), place.die_with_thread);
        // SAFETY: between fork and exec only system calls are made, on values that were prepared before.
        unsafe {
            command.pre_exec(move || {
                if let Some(namespace) = &namespace {
                    setns(namespace, CloneFlags::CLONE_NEWNET)?;
                }
                if let Some(hostname) = &hostname {
                    unshare(CloneFlags::CLONE_NEWUTS)?;
                    sethostname(hostname)?;
                }
                if die_with_thread {
                    prctl::set_pdeathsig(Signal::SIGKILL)?;
                }
                // A terminal's Ctrl-C is for whoever started the bed, and who ends it in order.
                nix::unistd::setsid()?;
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Process { name: name.to_owned(), log: log.to_owned(), child, ended: false })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it has ended although nobody asked for that.
    pub fn has_failed(&mut self) -> bool {
        !self.ended && !self.is_running()
    }

    /// An error with the end of the log if the program has exited by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(_) if self.ended => Ok(()),
            Some(status) => bail!(
                "{} ended by itself ({status}); the end of its log {}:\n{}",
                self.name,
                self.log.display(),
                last_lines(&self.log, 12)
            ),
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.ended = true;
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// SIGTERM, and SIGKILL when that has not helped in time.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        self.ended = true;
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)
            .with_context(|| format!("cannot end {}", self.name))?;
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                return self.kill();
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// The last lines of a log, for an error message.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
