//! Whole sites that lose their power, and programs that are started again.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Supervisor, execute::done, plan::CLIENT_HOST};
use crate::{control::SiteAction, patroni::Patroni, process::Power, site::Site};

/// As service managers wait, so that what fails at once doesn't fail all the time.
const REVIVED_AFTER: Duration = Duration::from_secs(1);

/// Rounds of that between two looks whether an API server is ready.
const PROBED_EVERY: u64 = 5;

impl Supervisor {
    pub(super) fn site(&self, site: Site, action: SiteAction) -> Result<Value> {
        ensure!(
            self.kine.is_some(),
            "only a lab with two data centres has sites that can be switched off; start it with --two"
        );
        // The client stands for everybody outside.
        let hosts: Vec<String> = self.network.hosts_of(site).into_iter().filter(|host| host != CLIENT_HOST).collect();
        ensure!(!hosts.is_empty(), "nothing is at {site} in this lab");
        match action {
            SiteAction::Kill => {
                hosts.iter().try_for_each(|host| self.network.cut(host))?;
                self.each(&hosts, |host| self.power_off(host))?;
            }
            SiteAction::Start => {
                hosts.iter().try_for_each(|host| self.network.heal(host))?;
                self.each(&hosts, |host| self.power_on(host))?;
            }
        }
        done()
    }

    /// Does it to all hosts at once.
    fn each(&self, hosts: &[String], work: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
        thread::scope(|scope| {
            let workers: Vec<_> = hosts.iter().map(|host| scope.spawn(|| work(host))).collect();
            workers.into_iter().try_for_each(super::join)
        })
    }

    fn power_off(&self, host: &str) -> Result<()> {
        if let Some(machine) = self.machines.get(host) {
            let mut machine = machine.lock().expect("no holder panics");
            return if machine.power() == Power::On { machine.power_off() } else { Ok(()) };
        }
        if let Some(control_plane) = self.control_planes.get(host) {
            control_plane.lock().expect("no holder panics").stop();
            return Ok(());
        }
        self.databases_of(host).try_for_each(|database| database.power_off(host))
    }

    fn power_on(&self, host: &str) -> Result<()> {
        if let Some(machine) = self.machines.get(host) {
            let mut machine = machine.lock().expect("no holder panics");
            machine.boot()?;
            return machine.start_kubelet();
        }
        if let Some(control_plane) = self.control_planes.get(host) {
            return control_plane.lock().expect("no holder panics").power_on();
        }
        self.databases_of(host).try_for_each(|database| database.power_on(host))
    }

    fn databases_of(&self, host: &str) -> impl Iterator<Item = &Patroni> {
        [&self.patroni, &self.kine].into_iter().flatten().filter(move |database| database.has(host))
    }

    /// Starts again for ever what has ended by itself, and what is stuck.
    pub(super) fn revive(&self) {
        for round in 0_u64.. {
            thread::sleep(REVIVED_AFTER);
            for (host, control_plane) in &self.control_planes {
                let mut control_plane = control_plane.lock().expect("no holder panics");
                let probe = round.is_multiple_of(PROBED_EVERY);
                let probed = if probe { control_plane.restart_if_stuck() } else { Ok(()) };
                if let Err(error) = control_plane.revive().and(probed) {
                    tracing::warn!("a program of {host} can't be started again: {error:#}");
                }
            }
        }
    }
}
