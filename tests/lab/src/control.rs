//! What the supervisor can be asked, and how: one JSON request per connection on a unix socket, one JSON answer.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    control_plane::Component,
    patroni::{MemberState, RestFault},
    process::Power,
    site::Site,
};

/// One request. Names on the wire are kebab-case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Answers with [`Status`].
    Status,
    /// Changes the link between two sites; `args` as a person types them: `20ms jitter 2ms`, `loss 5%`, `cut`, `heal`.
    Wan {
        a: Site,
        b: Site,
        args: Vec<String>,
    },
    /// Answers with a list of [`crate::wan::LinkState`].
    Links,
    /// Cuts a host (not the pods behind it) off a site, or joins them again; everybody else sees both as before.
    Sever {
        host: String,
        site: Site,
        cut: bool,
    },
    /// Answers with a list of [`Severed`].
    Severed,
    Node {
        name: String,
        action: NodeAction,
    },
    /// Of the control plane on this host, or of every one.
    Process {
        name: Component,
        host: Option<String>,
        action: ProcessAction,
    },
    Patroni(PatroniAction),
    /// The same of the database that Kubernetes keeps its state in, where there are two data centres.
    KineDatabase(PatroniAction),
    /// Everything at one of two data centres at once, or at the witness's site.
    Site {
        site: Site,
        action: SiteAction,
    },
    /// Adds a host without a program, e.g. for a database member or a client.
    AddHost {
        name: String,
        site: Site,
        address: Ipv4Addr,
    },
    RemoveHost {
        name: String,
    },
    /// Imports an image archive into every node that is on. The path is one on this machine.
    LoadImage {
        archive: PathBuf,
    },
    /// Ends the lab.
    Down,
}

/// What can be done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAction {
    /// Cuts the power.
    Kill,
    /// Boots it again from its disk.
    Start,
    /// Pulls the network cable.
    Cut,
    /// Puts the cable back.
    Heal,
    StopKubelet,
    StartKubelet,
}

/// What can be done to a whole site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SiteAction {
    /// Cut the power: cables are dead first, so that nobody elsewhere is told that a process has ended
    Kill,
    /// Bring the power back: everything starts from its disks, and nobody waits for it
    Start,
}

/// What can be done to a process of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessAction {
    Kill,
    Start,
    Restart,
    /// Stops it where it is; who asks it waits in vain.
    Freeze,
    Thaw,
}

/// What can be done to a member of the store in which Patroni keeps the leader lock. It is not the one of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StoreAction {
    /// SIGKILL; who asks it is refused.
    Kill,
    /// Starts it again with its data.
    Start,
    /// Stops it where it is; who asks it waits in vain.
    Freeze,
    Thaw,
    /// Starts it with its data as the only member of a new store: what a person does when the other votes are gone for good.
    Alone,
    /// Starts it without its data, and has it join the members that there are.
    Join,
}

/// A host that is cut off a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severed {
    pub host: String,
    pub site: Site,
}

/// What can be done to Patroni and its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatroniAction {
    /// Orderly; without a candidate Patroni chooses.
    Switchover {
        candidate: Option<String>,
    },
    /// SIGKILL to PostgreSQL and Patroni of a member.
    Kill {
        member: String,
    },
    Start {
        member: String,
    },
    /// Stops Patroni's process of a member where it is; PostgreSQL goes on.
    Freeze {
        member: String,
    },
    Thaw {
        member: String,
    },
    /// Does something to the store's member beside a member of the database.
    Store {
        member: String,
        action: StoreAction,
    },
    /// How a member's REST API answers from now on.
    Rest {
        member: String,
        fault: RestFault,
    },
    /// Maintenance mode: no failover until resumed.
    Pause,
    Resume,
    /// Adds a member on a new host of a site, which copies the primary.
    Add {
        name: String,
        site: Site,
    },
    Remove {
        member: String,
    },
    /// Answers with a list of [`crate::patroni::MemberState`].
    List,
    /// Answers with the URL by which a service connects to whichever member is primary.
    DatabaseUrl,
}

/// The whole lab at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Seconds since the supervisor started.
    pub uptime_s: u64,
    pub nodes: Vec<NodeStatus>,
    pub processes: BTreeMap<String, Power>,
    /// The members of the database; none when the lab runs without it.
    pub members: Vec<MemberState>,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub name: String,
    pub site: Site,
    pub address: Ipv4Addr,
    pub power: Power,
    pub kubelet: Power,
    /// Whether its cable was pulled.
    pub cut: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Ok(Value),
    Error(String),
}

/// Asks the supervisor that listens on `socket`, and waits for its answer no longer than `patience`.
pub fn ask(socket: &Path, request: &Request, patience: Duration) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("the lab does not answer on {}; is it up?", socket.display()))?;
    stream.set_read_timeout(Some(patience))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .with_context(|| format!("the lab gave no answer within {} s", patience.as_secs()))?;
    if line.is_empty() {
        bail!("the lab hung up before it answered; see supervisor.log in its state directory");
    }
    match serde_json::from_str(&line).context("the lab gave an answer that is not understood")? {
        Answer::Ok(value) => Ok(value),
        Answer::Error(sentence) => Err(anyhow!(sentence)),
    }
}

/// Reads the one request of a connection and answers it with what `execute` says.
pub fn serve_one(stream: UnixStream, execute: impl FnOnce(Request) -> Result<Value>) -> Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Err(error) => Answer::Error(format!("the request is not understood: {error}")),
        Ok(request) => match execute(request) {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Error(format!("{error:#}")),
        },
    };
    writeln!(&stream, "{}", serde_json::to_string(&answer)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_well_on_the_wire() {
        let request = Request::Node { name: "n3".into(), action: NodeAction::StopKubelet };
        let text = r#"{"node":{"name":"n3","action":"stop-kubelet"}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        let request = Request::Patroni(PatroniAction::Switchover { candidate: None });
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"patroni":{"switchover":{"candidate":null}}}"#);
    }

    #[test]
    fn an_error_comes_back_as_its_sentence() {
        let directory = std::env::temp_dir().join(format!("lab-control-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            serve_one(listener.accept().unwrap().0, |_| bail!("the node n9 does not exist"))
        });
        assert_eq!(
            ask(&socket, &Request::Status, Duration::from_secs(5)).unwrap_err().to_string(),
            "the node n9 does not exist"
        );
        server.join().unwrap().unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
