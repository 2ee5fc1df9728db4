//! Process 1 of a node's machine: sets the machine up, runs containerd and the kubelet, does what the supervisor says.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::BufRead,
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{ForkResult, Pid, fork, sethostname},
};

use super::Settings;
use crate::{
    cgroup, mount,
    tools::{Cache, KUBE, NODE_PACKAGES},
};

const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// `lab machine FILE`: makes the namespaces, tells the pid of process 1, and waits for its end.
pub fn run(file: &Path) -> Result<()> {
    let settings: Settings = serde_json::from_str(&fs::read_to_string(file)?)?;
    let network = fs::File::open(&settings.namespace)
        .with_context(|| format!("there is no network namespace {}", settings.namespace.display()))?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .context("cannot make the machine's namespaces")?;
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            println!("pid {child}");
            waitpid(child, None)?;
            Ok(())
        }
        ForkResult::Child => {
            if let Err(error) = init(settings) {
                println!("error {}", one_line(&error));
                return Err(error);
            }
            Ok(())
        }
    }
}

fn init(settings: Settings) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    for hierarchy in &settings.hierarchies {
        let file = hierarchy.group(&settings.lab, &settings.name).join("cgroup.procs");
        // 0 is whoever writes it.
        fs::write(&file, "0").with_context(|| format!("cannot enter {}", file.display()))?;
    }
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    sethostname(&settings.name)?;
    set_up_mounts(&settings)?;
    // containerd's shims and the kubelet keep many files open.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;

    let programs = Arc::new(Programs { settings, known: Mutex::default(), changed: Condvar::new() });
    let boot = Arc::clone(&programs);
    thread::Builder::new().name("commands".into()).spawn(move || {
        match boot.start_containerd() {
            Ok(()) => println!("ready"),
            Err(error) => println!("error {}", one_line(&error)),
        }
        boot.serve();
        // Nobody is there any more to say what to do.
        std::process::exit(0);
    })?;
    programs.reap()
}

fn set_up_mounts(settings: &Settings) -> Result<()> {
    mount::make_private()?;
    mount::fresh("proc", "/proc", "")?;
    mount::fresh("sysfs", "/sys", "")?;
    match settings.hierarchies.as_slice() {
        [only] if only.version == 2 => {
            mount::fresh("cgroup2", "/sys/fs/cgroup", "")?;
            // A group that hands out controllers may hold no process itself.
            fs::create_dir_all("/sys/fs/cgroup/init")?;
            fs::write("/sys/fs/cgroup/init/cgroup.procs", "0")?;
            cgroup::hand_out_controllers(Path::new("/sys/fs/cgroup"));
        }
        hierarchies => {
            mount::fresh("tmpfs", "/sys/fs/cgroup", "mode=755")?;
            for hierarchy in hierarchies {
                let point = Path::new("/sys/fs/cgroup").join(&hierarchy.name);
                fs::create_dir(&point)?;
                mount::fresh("cgroup", &point, &hierarchy.options)?;
            }
        }
    }
    for point in ["/run", "/var/lib"] {
        mount::fresh("tmpfs", point, "mode=755")?;
    }
    mount::bind(settings.directory.join("kubelet"), "/var/lib/kubelet")?;
    mount::bind(settings.directory.join("containerd"), "/var/lib/containerd")?;
    mount::bind(settings.directory.join("log"), "/var/log")?;
    mount::make_shared("/var/lib/kubelet")?;
    fs::create_dir_all("/run/cni/net.d")?;
    fs::copy(settings.directory.join("network.conflist"), "/run/cni/net.d/10-lab.conflist")?;
    // The kubelet would set these for the whole machine. It finds files that already hold what it wants.
    fs::create_dir("/run/sysctl")?;
    for (name, value) in SYSCTLS {
        let shadow = Path::new("/run/sysctl").join(name.replace('/', "."));
        fs::write(&shadow, format!("{value}\n"))?;
        mount::bind(&shadow, Path::new("/proc/sys").join(name))?;
    }
    Ok(())
}

const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The programs of this machine. Shared by the thread that takes commands and the one that reaps.
struct Programs {
    settings: Settings,
    /// Written by whoever starts a program and by the reaper when it ends.
    known: Mutex<HashMap<&'static str, Program>>,
    changed: Condvar,
}

#[derive(Default)]
struct Program {
    pid: Option<Pid>,
    /// One that ends although it is wanted is started again, as a service manager would.
    wanted: bool,
    exit: Option<i32>,
}

impl Programs {
    /// Executes the supervisor's commands until it hangs up.
    fn serve(&self) {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let words: Vec<&str> = line.splitn(2, ' ').collect();
            let result = match words.as_slice() {
                ["kubelet", "start"] => self.start_kubelet(),
                ["kubelet", "stop"] => self.stop("kubelet"),
                ["import", archive] => self.import(archive),
                _ => Err(anyhow::anyhow!("unknown command")),
            };
            match result {
                Ok(()) => println!("ok"),
                Err(error) => println!("error {}", one_line(&error)),
            }
        }
    }

    fn start_containerd(&self) -> Result<()> {
        self.start("containerd", true)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(CONTAINERD_SOCKET).is_err() {
            ensure!(Instant::now() < deadline, "containerd does not answer; see log/containerd.log of the node");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn start_kubelet(&self) -> Result<()> {
        {
            let known = self.known.lock().expect("no holder panics");
            let running = known.get("kubelet").is_some_and(|program| program.pid.is_some());
            ensure!(!running, "the kubelet is already running");
        }
        self.start("kubelet", true)
    }

    /// SIGTERM, and waits for the end.
    fn stop(&self, name: &'static str) -> Result<()> {
        let mut known = self.known.lock().expect("no holder panics");
        let program = known.entry(name).or_default();
        program.wanted = false;
        let Some(pid) = program.pid else { bail!("the {name} is not running") };
        kill(pid, Signal::SIGTERM)?;
        self.wait_for_exit(known, name, Duration::from_secs(20)).map(drop)
    }

    fn import(&self, archive: &str) -> Result<()> {
        ensure!(Path::new(archive).is_file(), "there is no file {archive}");
        self.known.lock().expect("no holder panics").insert("import", Program::default());
        let mut command = Command::new(self.node_program("usr/bin/ctr"));
        command.args(["-a", CONTAINERD_SOCKET, "-n", "k8s.io", "images", "import", archive]);
        self.spawn("import", command, false)?;
        let known = self.known.lock().expect("no holder panics");
        let status = self.wait_for_exit(known, "import", Duration::from_secs(80))?;
        ensure!(status == 0, "ctr ended with status {status}; see log/import.log of the node");
        Ok(())
    }

    fn wait_for_exit(
        &self,
        known: std::sync::MutexGuard<'_, HashMap<&'static str, Program>>,
        name: &str,
        patience: Duration,
    ) -> Result<i32> {
        let (known, late) = self
            .changed
            .wait_timeout_while(known, patience, |known| known.get(name).is_some_and(|program| program.exit.is_none()))
            .expect("no holder panics");
        ensure!(!late.timed_out(), "the {name} did not end within {} s", patience.as_secs());
        Ok(known.get(name).and_then(|program| program.exit).unwrap_or_default())
    }

    fn start(&self, name: &'static str, wanted: bool) -> Result<()> {
        let command = match name {
            "kubelet" => self.kubelet(),
            _ => {
                let mut command = Command::new(self.node_program("usr/bin/containerd"));
                command.arg("--config").arg(self.settings.directory.join("containerd.toml"));
                command
            }
        };
        self.spawn(name, command, wanted)
    }

    fn spawn(&self, name: &'static str, mut command: Command, wanted: bool) -> Result<()> {
        let log = Path::new("/var/log").join(format!("{name}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let packages = Cache { directory: self.settings.cache.clone() }.debian(&NODE_PACKAGES);
        command
            .env("PATH", format!("{0}/usr/bin:{0}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin", packages.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // Held while it starts, so that the reaper can't see the end before the beginning.
        let mut known = self.known.lock().expect("no holder panics");
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        known.insert(name, Program { pid: Some(pid), wanted, exit: None });
        Ok(())
    }

    fn kubelet(&self) -> Command {
        let settings = &self.settings;
        let cache = Cache { directory: settings.cache.clone() };
        let mut command = Command::new(cache.go(&KUBE).join("kubelet"));
        command
            .arg(format!("--config={}", settings.directory.join("kubelet.json").display()))
            .arg(format!("--kubeconfig={}", settings.pki.join(format!("{}.kubeconfig", settings.name)).display()))
            .arg(format!("--hostname-override={}", settings.name))
            .arg(format!("--node-ip={}", settings.address))
            .arg(format!("--node-labels={}", settings.labels()))
            .arg("--root-dir=/var/lib/kubelet");
        command
    }

    fn node_program(&self, path: &str) -> std::path::PathBuf {
        Cache { directory: self.settings.cache.clone() }.debian(&NODE_PACKAGES).join(path)
    }

    /// Reaps every process of the machine, for ever.
    fn reap(&self) -> Result<()> {
        loop {
            // Looks without taking: the lock comes first, so that a program is known before its end is.
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(status) => self.bury(status)?,
                Err(Errno::ECHILD) => thread::sleep(Duration::from_millis(50)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait for the machine's processes"),
            }
        }
    }

    fn bury(&self, status: WaitStatus) -> Result<()> {
        let Some(pid) = status.pid() else { return Ok(()) };
        let mut known = self.known.lock().expect("no holder panics");
        // The starter of a program that could not be executed may have taken it meanwhile.
        let _ = waitpid(pid, None);
        let Some((name, program)) = known.iter_mut().find(|(_, program)| program.pid == Some(pid)) else {
            return Ok(());
        };
        program.pid = None;
        program.exit = Some(match status {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
            _ => 0,
        });
        let (name, again) = (*name, program.wanted);
        drop(known);
        self.changed.notify_all();
        if again {
            eprintln!("{name} ended by itself ({status:?}), starting it again");
            thread::sleep(Duration::from_secs(1));
            self.start(name, true)?;
        }
        Ok(())
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}
