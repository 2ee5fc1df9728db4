//! A database of three members, whose primary a test moves at will.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::{Reply, Server, lock};

/// What one member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// 200, running.
    Primary { timeline: u64 },
    /// 503, running.
    Replica { timeline: u64 },
    /// Takes requests and never answers.
    Hangs,
    /// Closes every connection without an answer.
    Down,
}

/// A database of three members, `pg1` to `pg3`. Its answers end with the value.
#[derive(Debug)]
pub struct Patroni {
    /// Before the members' hosts, so that databases don't share any.
    prefix: String,
    members: [Server; 3],
    say: Mutex<[Says; 3]>,
    /// `scheduled_switchover` of its list.
    scheduled: Mutex<Option<Value>>,
    tls: AtomicBool,
    paused: AtomicBool,
}

const NAMES: [&str; 3] = ["pg1", "pg2", "pg3"];

impl Patroni {
    /// `pg1` is the primary, on timeline 1.
    pub async fn start(prefix: &str) -> Result<Patroni> {
        Self::start_over(prefix, None).await
    }

    /// The same over TLS.
    pub async fn start_tls(prefix: &str, tls: ServerConfig) -> Result<Patroni> {
        Self::start_over(prefix, Some(tls)).await
    }

    async fn start_over(prefix: &str, tls: Option<ServerConfig>) -> Result<Patroni> {
        let start = || Server::bind("127.0.0.1:0", tls.clone());
        let members = [start().await?, start().await?, start().await?];
        let say = Mutex::new([Says::Replica { timeline: 1 }; 3]);
        let (scheduled, tls) = (Mutex::default(), tls.is_some().into());
        let patroni = Patroni { prefix: prefix.to_owned(), members, say, scheduled, tls, paused: false.into() };
        patroni.switchover("pg1", 1);
        Ok(patroni)
    }

    /// Base URLs of all members.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| self.url(member)).collect()
    }

    /// From the next connection on all members speak this TLS.
    pub fn speak(&self, tls: ServerConfig) {
        self.tls.store(true, Ordering::SeqCst);
        self.members.iter().for_each(|member| member.speaks(tls.clone()));
        // Their list says how they are reached.
        self.tell(&lock(&self.say));
    }

    /// From now on the members list this switchover as scheduled, or none any more: `{"at": …, "from": "pg1", "to": "pg3"}`.
    pub fn announce(&self, scheduled: Option<Value>) {
        *lock(&self.scheduled) = scheduled;
        self.tell(&lock(&self.say));
    }

    /// From now on the members say that Patroni is paused.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
        self.tell(&lock(&self.say));
    }

    /// `primary` is the primary now, on `timeline`, and the others follow it. As Patroni does, it forgets what was scheduled.
    pub fn switchover(&self, primary: &str, timeline: u64) {
        *lock(&self.scheduled) = None;
        let primary = index_of(primary);
        self.change(|say| {
            for (index, says) in say.iter_mut().enumerate() {
                *says = if index == primary { Says::Primary { timeline } } else { Says::Replica { timeline } };
            }
        });
    }

    /// From now on `member` says this.
    pub fn let_say(&self, member: &str, says: Says) {
        self.change(|say| say[index_of(member)] = says);
    }

    pub fn let_all_say(&self, says: Says) {
        self.change(|say| say.fill(says));
    }

    fn change(&self, change: impl FnOnce(&mut [Says; 3])) {
        let mut say = lock(&self.say);
        change(&mut say);
        self.tell(&say);
    }

    fn tell(&self, say: &[Says; 3]) {
        let list = self.list(say);
        let paused = self.paused.load(Ordering::SeqCst);
        let itself = |name: &str, status: u16, role: &str, timeline: u64| {
            let body = Server::body(name, &format!("running {role} {timeline}"));
            Reply::Json(status, if paused { body.replacen('{', r#"{"pause": true, "#, 1) } else { body })
        };
        for ((member, name), says) in self.members.iter().zip(NAMES).zip(say) {
            let [cluster, primary] = match says {
                Says::Hangs => [Reply::Hang, Reply::Hang],
                Says::Down => [Reply::Close, Reply::Close],
                Says::Primary { timeline } => [list.clone(), itself(name, 200, "primary", *timeline)],
                Says::Replica { timeline } => [list.clone(), itself(name, 503, "replica", *timeline)],
            };
            member.says("/cluster", cluster);
            member.says("/primary", primary);
        }
    }

    fn list(&self, say: &[Says; 3]) -> Reply {
        let member = |((member, name), says): ((&Server, &str), &Says)| {
            let leads = matches!(says, Says::Primary { .. });
            json!({
                "name": name,
                "role": if leads { "leader" } else { "replica" },
                "state": if leads { "running" } else { "streaming" },
                "api_url": format!("{}/patroni", self.url(member)),
                "host": host(&self.prefix, name),
                "port": 5432,
            })
        };
        let members: Vec<Value> = self.members.iter().zip(NAMES).zip(say).map(member).collect();
        let mut list = json!({ "members": members, "scope": self.prefix });
        if let Some(scheduled) = &*lock(&self.scheduled) {
            list["scheduled_switchover"] = scheduled.clone();
        }
        Reply::Json(200, list.to_string())
    }

    fn url(&self, member: &Server) -> String {
        let (_, address) = member.url.split_once("://").unwrap_or_default();
        let scheme = if self.tls.load(Ordering::SeqCst) { "https" } else { "http" };
        format!("{scheme}://{address}")
    }
}

fn index_of(member: &str) -> usize {
    NAMES.iter().position(|name| *name == member).expect("pg1, pg2 or pg3")
}

/// The host that `member` of the database with this prefix states, as agents measure it.
pub fn host(prefix: &str, member: &str) -> String {
    format!("{prefix}-{member}.example.com")
}
