//! What can be done to the running cluster: orderly switchovers, crashes, freezes, maintenance.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Host, Patroni, RestFault, power,
    rest::{HEALTH_TIMEOUT, MemberState, ask},
};
use crate::control::StoreAction;

/// Patroni answers when the switchover is done.
const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(40);

/// The new primary writes at the end of its promotion, a moment after Patroni's answer.
const PROMOTED_WITHIN: Duration = Duration::from_secs(30);

/// A rewind and some seconds of streaming.
const REJOINED_WITHIN: Duration = Duration::from_secs(60);

/// A change of the cluster's settings reaches a member at its next loop, every 2 s.
const SETTINGS_WITHIN: Duration = Duration::from_secs(20);

/// A switchover that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Switchover {
    pub from: String,
    pub to: String,
    /// From the request until the new primary was writable.
    pub took_ms: u64,
}

impl Patroni {
    /// What every member says, all asked at once. A member that does not answer is shown as such.
    pub fn list(&self) -> Vec<MemberState> {
        let known: Vec<(Host, MemberState)> = {
            let mut members = self.members();
            let state = |member: &mut super::Member| {
                let host = member.host.clone();
                let state = MemberState {
                    name: host.name.clone(),
                    site: host.site,
                    address: host.address,
                    patroni: power(member.patroni_runs()),
                    frozen: member.frozen,
                    postgres: power(member.postmaster().is_some()),
                    primary_status: None,
                    role: None,
                    state: None,
                    timeline: None,
                    replication: None,
                    pause: false,
                };
                (host, state)
            };
            members.values_mut().filter(|member| !self.is_witness(member)).map(state).collect()
        };
        thread::scope(|scope| {
            let asked: Vec<_> = known
                .into_iter()
                .map(|(host, mut state)| {
                    scope.spawn(move || {
                        let answer = ask(&host, "GET", "/primary", None, HEALTH_TIMEOUT);
                        if let Ok((status, body)) = answer
                            && let Ok(body) = serde_json::from_str(&body)
                        {
                            state.learn(status, &body);
                        }
                        state
                    })
                })
                .collect();
            asked.into_iter().map(|thread| thread.join().expect("asking does not panic")).collect()
        })
    }

    /// The writable primary; of several the one with the highest timeline.
    pub fn primary(&self) -> Option<String> {
        let members = self.list().into_iter().filter(MemberState::is_primary);
        members.max_by_key(|member| member.timeline).map(|member| member.name)
    }

    /// Moves the primary in order; without a candidate Patroni chooses. Returns when the new primary is writable.
    pub fn switchover(&self, candidate: Option<&str>) -> Result<Switchover> {
        let from = self.primary().context("there is no primary now, so nothing can be switched over; wait for one")?;
        if let Some(candidate) = candidate {
            self.host(candidate)?;
            ensure!(candidate != from, "{candidate} is the primary already");
        }
        let start = Instant::now();
        let mut body = json!({ "leader": from });
        if let Some(candidate) = candidate {
            body["candidate"] = json!(candidate);
        }
        let (status, answer) = ask(&self.host(&from)?, "POST", "/switchover", Some(&body), SWITCHOVER_TIMEOUT)?;
        ensure!(status == 200, "Patroni refused the switchover from {from} ({status}): {answer}");
        let mut to = None;
        let deadline = Instant::now() + PROMOTED_WITHIN;
        while to.is_none() && Instant::now() < deadline {
            to = self.primary().filter(|primary| *primary != from);
        }
        let to = to.with_context(|| format!("Patroni said {answer:?}, but no member but {from} became a primary"))?;
        Ok(Switchover { from, to, took_ms: start.elapsed().as_millis() as u64 })
    }

    /// Crashes a member: SIGKILL to Patroni and all of PostgreSQL. Its etcd and everybody else go on.
    pub fn kill9(&self, name: &str) -> Result<()> {
        self.with(name, |member| member.kill_database())
    }

    /// Cuts the power of the host `name`: a member of the database, one of the store, or both.
    pub fn power_off(&self, name: &str) -> Result<()> {
        self.with(name, |member| member.kill_database().and_then(|()| member.kill_store()))
    }

    /// Starts what ran on the host `name`, and waits for nothing of it.
    pub fn power_on(&self, name: &str) -> Result<()> {
        if self.context.stores().iter().any(|host| host.name == name) {
            self.start_store(name)?;
        }
        self.with(name, |member| match self.is_witness(member) {
            true => Ok(()),
            false => member.start_patroni(&self.python),
        })
    }

    /// Whether something of this cluster runs on the host `name`.
    pub fn has(&self, name: &str) -> bool {
        self.members().contains_key(name)
    }

    /// Starts a member that was killed; returns when it is back as a primary or streams (after a rewind if needed).
    pub fn start_member(&self, name: &str) -> Result<()> {
        self.with(name, |member| member.start_patroni(&self.python))?;
        self.wait_for(REJOINED_WITHIN, &format!("{name} to come back"), |members| {
            members.iter().any(|member| member.name == name && (member.is_primary() || member.is_streaming()))
        })
    }

    /// Stops Patroni's process of a member where it is; PostgreSQL goes on without it.
    pub fn freeze(&self, name: &str) -> Result<()> {
        self.with(name, |member| member.freeze())
    }

    /// Lets a frozen Patroni go on.
    pub fn thaw(&self, name: &str) -> Result<()> {
        self.with(name, |member| member.thaw())
    }

    /// Does something to the store's member beside a member of the database.
    pub fn store(&self, name: &str, action: StoreAction) -> Result<()> {
        match action {
            StoreAction::Kill => self.with(name, |member| member.kill_store()),
            StoreAction::Start => self.start_store(name),
            StoreAction::Alone => self.start_store_alone(name),
            StoreAction::Join => self.join_store(name),
            StoreAction::Freeze => self.with(name, |member| member.signal_store(Signal::SIGSTOP)),
            StoreAction::Thaw => self.with(name, |member| member.signal_store(Signal::SIGCONT)),
        }
    }

    /// Lets a member's REST API answer like this, to everybody but the lab itself.
    pub fn rest(&self, name: &str, fault: RestFault) -> Result<()> {
        self.with(name, |member| member.rest(fault))
    }

    /// Maintenance mode: Patroni does no failover until [`Patroni::resume`].
    pub fn pause(&self) -> Result<()> {
        self.set_pause(true)
    }

    pub fn resume(&self) -> Result<()> {
        self.set_pause(false)
    }

    fn set_pause(&self, pause: bool) -> Result<()> {
        // Null removes the setting, as `patronictl resume` does.
        let body = if pause { json!({"pause": true}) } else { json!({"pause": null}) };
        let members = self.list();
        let member = members.iter().find(|member| member.primary_status.is_some());
        let member = member.context("no member answers, so the cluster cannot be told to pause or to resume")?;
        let (status, answer) = ask(&self.host(&member.name)?, "PATCH", "/config", Some(&body), HEALTH_TIMEOUT * 4)?;
        ensure!(status == 200, "Patroni of {} refused to change the pause ({status}): {answer}", member.name);
        self.wait_for(SETTINGS_WITHIN, "every member to see the pause change", |members| {
            members.iter().filter(|member| member.primary_status.is_some()).all(|member| member.pause == pause)
        })
    }

    fn host(&self, name: &str) -> Result<Host> {
        self.with(name, |member| Ok(member.host.clone()))
    }
}
