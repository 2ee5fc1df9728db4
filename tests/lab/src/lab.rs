//! A running lab as seen from outside: starts it, finds it again, asks it, ends it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    cgroup::{self, Hierarchy},
    control::{self, NodeAction, PatroniAction, ProcessAction, Request, Severed, SiteAction, Status},
    control_plane::Component,
    net,
    patroni::{MemberState, Switchover},
    prepare::{self, Progress},
    process::last_lines,
    requirements,
    site::Site,
    supervisor::{self, enclosure},
    tools::{self, Cache},
    wan::LinkState,
};

/// How a lab is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds logs, disks, the control socket and the kubeconfig.
    pub state: PathBuf,
    pub nodes: usize,
    /// Image archives for every node.
    pub images: Vec<PathBuf>,
    /// Whether a Patroni member runs in each data centre.
    pub patroni: bool,
    /// Two data centres and nothing else, in place of three and a control plane apart.
    pub two: Option<Two>,
}

/// How a lab with two data centres is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Two {
    /// Whether the database under Kubernetes answers a commit only when its replica has it too.
    pub synchronous: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { state: default_state(), nodes: 6, images: Vec::new(), patroni: true, two: None }
    }
}

impl Options {
    /// Two data centres with two nodes each.
    pub fn two(synchronous: bool) -> Options {
        Options { nodes: 4, two: Some(Two { synchronous }), ..Options::default() }
    }
}

/// `target/lab` of the workspace.
pub fn default_state() -> PathBuf {
    crate::target_directory().join("lab")
}

/// A handle on a running lab. Dropping it leaves the lab running; [`Lab::down`] ends it.
#[derive(Debug, Clone)]
pub struct Lab {
    state: PathBuf,
    record: Record,
}

/// What is remembered of a started lab, in the state directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    /// Process 1 of the lab, as numbered outside.
    pid: i32,
    id: String,
    hierarchies: Vec<Hierarchy>,
}

mod state;

use state::{empty, id_of, make_state, readable, remove_disks};

const RECORD: &str = "lab.json";
const SETTINGS: &str = "supervisor.json";

impl Lab {
    /// Starts a lab and returns when all nodes are Ready, the images imported and Patroni has a primary.
    pub fn up(options: &Options, progress: Progress<'_>) -> Result<Lab> {
        supervisor::check_nodes(options)?;
        let cache = Cache::from_environment()?;
        requirements::check()?;
        cache.require_lab()?;
        if options.two.is_some() {
            prepare::prepare_program(&cache, &tools::KINE, progress)?;
        }
        let images = options.images.iter().map(|image| readable(image)).collect::<Result<Vec<_>>>()?;
        let state = make_state(&options.state)?;
        if let Ok(lab) = Lab::attach(&state) {
            bail!(
                "a lab is already running (pid {}, state {}); end it with `lab down` first",
                lab.record.pid,
                state.display()
            );
        }
        Lab::down(&state)?;
        empty(&state)?;

        let hierarchies = cgroup::hierarchies()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
        let settings = supervisor::Settings {
            id: id_of(&state),
            state: state.clone(),
            cache: cache.directory,
            nodes: options.nodes,
            images,
            patroni: options.patroni,
            two: options.two,
            listener: listener.as_raw_fd(),
            hierarchies: hierarchies.clone(),
        };
        fs::write(state.join(SETTINGS), serde_json::to_string_pretty(&settings)?)?;
        let record = |pid| Record { pid, id: settings.id.clone(), hierarchies: hierarchies.clone() };
        start(&state, listener, progress, record).inspect_err(|_| {
            // The error that stopped it matters more than one of the clean-up.
            let _ = Lab::down(&state);
        })
    }

    /// Finds the lab that runs with this state directory.
    pub fn attach(state: &Path) -> Result<Lab> {
        let missing =
            || format!("no lab is running with the state directory {}; start one with `lab up`", state.display());
        let state = state.canonicalize().with_context(missing)?;
        let record = Record::read(&state).with_context(missing)?;
        ensure!(record.is_alive(&state), missing());
        Ok(Lab { state, record })
    }

    /// Ends the lab of a state directory, and removes everything of it but its logs. No error if none runs.
    pub fn down(state: &Path) -> Result<()> {
        let Ok(state) = state.canonicalize() else { return Ok(()) };
        let Some(record) = Record::read(&state) else { return Ok(()) };
        if record.is_alive(&state) {
            // In order if it listens, by force if not.
            let _ = control::ask(&state.join(SOCKET), &Request::Down, Duration::from_secs(2));
            let gone = record.wait_until_gone(&state, Duration::from_secs(2));
            if !gone {
                let _ = kill(Pid::from_raw(record.pid), Signal::SIGKILL);
                ensure!(
                    record.wait_until_gone(&state, Duration::from_secs(10)),
                    "the lab's process {} does not end, not even by SIGKILL",
                    record.pid
                );
            }
        }
        cgroup::remove(&record.hierarchies, &record.id, Duration::from_secs(10))?;
        remove_disks(&state);
        for file in [RECORD, SOCKET, "kubeconfig"] {
            let _ = fs::remove_file(state.join(file));
        }
        Ok(())
    }

    /// Ends the lab when this process ends, however it ends. For whoever has no last moment of its own, such as a test run.
    pub fn end_with_this_process(&self) -> Result<()> {
        let mut command = Command::new(requirements::lab_program()?);
        command.arg("down").arg("--after-input").arg("--state").arg(&self.state);
        // Not of our process group: an interrupt from the keyboard ends us, and must not end it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the process that ends the lab")?;
        // The kernel closes our end of the pipe when we are gone.
        std::mem::forget(child.stdin.take());
        Ok(())
    }

    /// The name of its control groups, below `switchover-lab` in each hierarchy.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The administrator's kubeconfig, for anybody outside the lab.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// A client with all rights, from outside the lab.
    pub async fn client(&self) -> Result<kube::Client> {
        crate::client(&self.kubeconfig()).await
    }

    /// The network namespace of a host (`n1`, `pg2`, `client`, `cp`, `r-dc1` …), for anybody outside.
    pub fn netns(&self, name: &str) -> PathBuf {
        let inside = net::namespace(name);
        Path::new("/proc")
            .join(self.record.pid.to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// A shell on the host `host`, in the folder that this process is in, which knows the lab's tools, and those that were built beside it.
    pub fn shell(&self, host: &str, shell: &str) -> Result<Command> {
        let beside = requirements::lab_program()?.canonicalize()?;
        let beside = beside.parent().context("a program has a folder")?.display().to_string();
        let helm = Cache { directory: enclosure::CACHE.into() }.go(&tools::HELM);
        let script = format!("cd \"$1\" && PATH=$2:$3:$PATH SWITCHOVER_LAB_STATE=$4 exec {shell}");
        let mut command = self.command(host, "sh")?;
        command.args(["-c", &script, "sh"]).arg(std::env::current_dir()?).arg(beside).arg(helm).arg(&self.state);
        Ok(command)
    }

    /// A command that runs inside the lab, on the host `host`, with kubectl set up.
    pub fn command(&self, host: &str, program: &str) -> Result<Command> {
        let namespace = self.netns(host);
        ensure!(namespace.exists(), "the lab has no host {host:?}; `lab status` lists them");
        let cache = Cache { directory: enclosure::CACHE.into() };
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--ipc", "--uts", "--target", &self.record.pid.to_string()])
            .arg(format!("--net={}", namespace.display()))
            .arg("--")
            .arg("env")
            .arg(format!("KUBECONFIG={}/control-plane/pki/admin.kubeconfig", enclosure::STATE))
            .arg(format!("PATH={}:{path}", cache.go(&tools::KUBE).display()))
            .arg(program);
        Ok(command)
    }

    /// Asks the supervisor anything.
    pub fn request(&self, request: &Request) -> Result<Value> {
        control::ask(&self.state.join(SOCKET), request, PATIENCE)
    }

    pub fn status(&self) -> Result<Status> {
        Ok(serde_json::from_value(self.request(&Request::Status)?)?)
    }

    pub fn links(&self) -> Result<Vec<LinkState>> {
        Ok(serde_json::from_value(self.request(&Request::Links)?)?)
    }

    /// Changes the link between two sites, in words: `20ms jitter 2ms`, `loss 5%`, `cut`, `heal`.
    pub fn wan(&self, a: Site, b: Site, change: &str) -> Result<()> {
        let args = change.split_whitespace().map(str::to_owned).collect();
        self.request(&Request::Wan { a, b, args }).map(drop)
    }

    /// Cuts a host (not the pods behind it) off a site, or joins them again.
    pub fn sever(&self, host: &str, site: Site, cut: bool) -> Result<()> {
        self.request(&Request::Sever { host: host.to_owned(), site, cut }).map(drop)
    }

    /// Hosts that are cut off a site.
    pub fn severed(&self) -> Result<Vec<Severed>> {
        Ok(serde_json::from_value(self.request(&Request::Severed)?)?)
    }

    pub fn node(&self, name: &str, action: NodeAction) -> Result<()> {
        self.request(&Request::Node { name: name.to_owned(), action }).map(drop)
    }

    pub fn process(&self, name: Component, action: ProcessAction) -> Result<()> {
        self.request(&Request::Process { name, host: None, action }).map(drop)
    }

    /// The same of the control plane on one host.
    pub fn process_of(&self, host: &str, name: Component, action: ProcessAction) -> Result<()> {
        self.request(&Request::Process { name, host: Some(host.to_owned()), action }).map(drop)
    }

    /// The members of the database, as Patroni and their processes show them.
    pub fn members(&self) -> Result<Vec<MemberState>> {
        Ok(serde_json::from_value(self.patroni(PatroniAction::List)?)?)
    }

    /// The URL by which a service connects to whichever member is primary, from anywhere inside the lab.
    pub fn database_url(&self) -> Result<String> {
        Ok(serde_json::from_value(self.patroni(PatroniAction::DatabaseUrl)?)?)
    }

    /// Moves the primary in order; returns when the new one is writable.
    pub fn switchover(&self, candidate: Option<&str>) -> Result<Switchover> {
        let candidate = candidate.map(str::to_owned);
        Ok(serde_json::from_value(self.patroni(PatroniAction::Switchover { candidate })?)?)
    }

    pub fn patroni(&self, action: PatroniAction) -> Result<Value> {
        self.request(&Request::Patroni(action))
    }

    /// The members of the database that Kubernetes keeps its state in, where there are two data centres.
    pub fn kine_members(&self) -> Result<Vec<MemberState>> {
        Ok(serde_json::from_value(self.request(&Request::KineDatabase(PatroniAction::List))?)?)
    }

    /// Moves the primary of that database in order.
    pub fn kine_switchover(&self, candidate: &str) -> Result<Switchover> {
        let action = PatroniAction::Switchover { candidate: Some(candidate.to_owned()) };
        Ok(serde_json::from_value(self.request(&Request::KineDatabase(action))?)?)
    }

    /// Does something to that database.
    pub fn kine(&self, action: PatroniAction) -> Result<()> {
        self.request(&Request::KineDatabase(action)).map(drop)
    }

    /// Cuts a whole site's power, or brings it back; nobody waits for what starts then.
    pub fn site(&self, site: Site, action: SiteAction) -> Result<()> {
        self.request(&Request::Site { site, action }).map(drop)
    }

    /// Adds a host with a network namespace of its own, and nothing that runs there.
    pub fn add_host(&self, site: Site, name: &str, address: Ipv4Addr) -> Result<()> {
        self.request(&Request::AddHost { name: name.to_owned(), site, address }).map(drop)
    }

    pub fn remove_host(&self, name: &str) -> Result<()> {
        self.request(&Request::RemoveHost { name: name.to_owned() }).map(drop)
    }

    /// Imports an image archive into every node that is on.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        self.request(&Request::LoadImage { archive: readable(archive)? }).map(drop)
    }
}

const SOCKET: &str = "control.sock";

/// For everything that can be asked: a switchover or a restart takes tens of seconds at worst.
const PATIENCE: Duration = Duration::from_secs(180);

impl Record {
    fn read(state: &Path) -> Option<Record> {
        serde_json::from_str(&fs::read_to_string(state.join(RECORD)).ok()?).ok()
    }

    /// Whether the process is there and is ours: process ids are used again. Seen from a shell inside the lab it is process 1.
    fn is_alive(&self, state: &Path) -> bool {
        let settings = state.join(SETTINGS);
        [self.pid, 1].into_iter().any(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.split(|byte| *byte == 0).any(|argument| argument == settings.as_os_str().as_encoded_bytes())
        })
    }

    fn wait_until_gone(&self, state: &Path, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive(state) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        !self.is_alive(state)
    }
}

/// Starts the supervisor and follows its reports until it is up.
fn start(state: &Path, listener: TcpListener, progress: Progress<'_>, record: impl Fn(i32) -> Record) -> Result<Lab> {
    let log = state.join("supervisor.log");
    let mut command = Command::new(requirements::lab_program()?);
    command
        .arg("supervise")
        .arg(state.join(SETTINGS))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log)?);
    let descriptor = listener.as_raw_fd();
    // SAFETY: fcntl(2) is safe between fork and exec; the listener is open until the child has started.
    unsafe {
        command.pre_exec(move || {
            let borrowed = std::os::fd::BorrowedFd::borrow_raw(descriptor);
            fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        });
    }
    let mut child = command.spawn().context("cannot start the lab's supervisor")?;
    drop(listener);
    let reports = BufReader::new(child.stdout.take().context("the supervisor has a stdout")?);
    // It goes into the background at once.
    child.wait()?;
    let mut lab = None;
    for line in reports.lines() {
        let line = line?;
        let (kind, text) = line.split_once(' ').unwrap_or((&line, ""));
        match kind {
            "pid" => {
                let record = record(text.parse().context("the supervisor told no process id")?);
                fs::write(state.join(RECORD), serde_json::to_string_pretty(&record)?)?;
                lab = Some(Lab { state: state.to_owned(), record });
            }
            "step" => progress(text),
            "error" => bail!("the lab did not come up: {}", text.replace("\\n", "\n")),
            "ready" => return lab.context("the supervisor told no process id"),
            _ => {}
        }
    }
    bail!("the lab's supervisor ended before the lab was up; the end of its log:\n{}", last_lines(&log, 12))
}
