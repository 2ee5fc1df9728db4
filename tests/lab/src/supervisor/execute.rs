//! Carries out requests.

use std::{collections::BTreeMap, path::Path, sync::Mutex, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::Supervisor;
use crate::{
    control::{NodeAction, NodeStatus, PatroniAction, ProcessAction, Request, Severed, Status},
    control_plane::Component,
    image,
    machine::Machine,
    net,
    patroni::{self, Patroni},
    process::Power,
    site::Site,
    wan::LinkChange,
};

impl Supervisor {
    pub(crate) fn execute(&self, request: Request) -> Result<Value> {
        match request {
            Request::Status => Ok(serde_json::to_value(self.status()?)?),
            Request::Links => Ok(serde_json::to_value(self.wan.links())?),
            Request::Wan { a, b, args } => {
                self.wan.set(a, b, LinkChange::parse(&args)?);
                done()
            }
            Request::Sever { host, site, cut } => {
                self.wan.sever(self.network.address(&host)?, site, cut);
                done()
            }
            Request::Severed => Ok(serde_json::to_value(self.severed())?),
            Request::Node { name, action } => self.node(&name, action),
            Request::Process { name, host, action } => self.process(name, host.as_deref(), action),
            Request::Patroni(action) => {
                let missing = "this lab was started with --no-patroni; start it again without";
                self.patroni(self.patroni.as_ref().context(missing)?, action)
            }
            Request::KineDatabase(action) => {
                let missing = "Kubernetes keeps its state in etcd here; start the lab with --two";
                self.patroni(self.kine.as_ref().context(missing)?, action)
            }
            Request::Site { site, action } => self.site(site, action),
            Request::AddHost { name, site, address } => {
                self.network.add_host(site, &name, address, &[])?;
                done()
            }
            Request::RemoveHost { name } => {
                ensure!(!self.machines.contains_key(&name), "{name} is a node; only other hosts can be removed");
                self.network.remove_host(&name)?;
                done()
            }
            Request::LoadImage { archive } => self.load_image(&archive),
            Request::Down => {
                std::thread::spawn(|| {
                    // After the answer is out; the kernel ends everything else with us.
                    std::thread::sleep(Duration::from_millis(50));
                    std::process::exit(0);
                });
                done()
            }
        }
    }

    fn status(&self) -> Result<Status> {
        let cut = self.cut.lock().expect("no holder panics").clone();
        let node = |machine: &Mutex<Machine>| {
            let mut machine = machine.lock().expect("no holder panics");
            let (power, kubelet) = (machine.power(), machine.kubelet());
            let settings = machine.settings();
            NodeStatus {
                name: settings.name.clone(),
                site: settings.site,
                address: settings.address,
                power,
                kubelet,
                cut: cut.contains(&settings.name),
            }
        };
        Ok(Status {
            uptime_s: self.start.elapsed().as_secs(),
            nodes: self.machines.values().map(node).collect(),
            processes: self.processes(),
            members: self.patroni.as_ref().map(Patroni::list).unwrap_or_default(),
        })
    }

    /// Of several control planes with their hosts.
    fn processes(&self) -> BTreeMap<String, Power> {
        let alone = self.control_planes.len() == 1;
        let all = self.control_planes.iter().flat_map(|(host, control_plane)| {
            let status = control_plane.lock().expect("no holder panics").status();
            status.into_iter().map(move |(name, power)| (if alone { name } else { format!("{host} {name}") }, power))
        });
        all.collect()
    }

    fn severed(&self) -> Vec<Severed> {
        let named = |(address, site)| Some(Severed { host: self.network.name_of(address)?, site });
        self.wan.severed().into_iter().filter_map(named).collect()
    }

    fn node(&self, name: &str, action: NodeAction) -> Result<Value> {
        let Some(machine) = self.machines.get(name) else {
            let known: Vec<_> = self.machines.keys().map(String::as_str).collect();
            bail!("the lab has no node {name:?}; it has {}", known.join(", "));
        };
        let machine = || machine.lock().expect("no holder panics");
        match action {
            NodeAction::Kill => machine().power_off()?,
            NodeAction::Start => {
                let mut machine = machine();
                machine.boot()?;
                machine.start_kubelet()?;
            }
            NodeAction::StopKubelet => machine().stop_kubelet()?,
            NodeAction::StartKubelet => machine().start_kubelet()?,
            NodeAction::Cut => {
                self.network.cut(name)?;
                self.cut.lock().expect("no holder panics").insert(name.to_owned());
            }
            NodeAction::Heal => {
                self.network.heal(name)?;
                self.cut.lock().expect("no holder panics").remove(name);
            }
        }
        done()
    }

    fn process(&self, name: Component, host: Option<&str>, action: ProcessAction) -> Result<Value> {
        let known: Vec<&str> = self.control_planes.keys().map(String::as_str).collect();
        ensure!(
            host.is_none_or(|host| known.contains(&host)),
            "there is no control plane on {}; there is one on {}",
            host.unwrap_or_default(),
            known.join(", ")
        );
        for (_, control_plane) in self.control_planes.iter().filter(|(it, _)| host.is_none_or(|host| it == &host)) {
            let mut control_plane = control_plane.lock().expect("no holder panics");
            match action {
                ProcessAction::Kill => control_plane.kill_component(name)?,
                ProcessAction::Start => control_plane.start_component(name)?,
                ProcessAction::Restart => control_plane.restart_component(name)?,
                ProcessAction::Freeze => control_plane.signal_component(name, Signal::SIGSTOP)?,
                ProcessAction::Thaw => control_plane.signal_component(name, Signal::SIGCONT)?,
            }
        }
        done()
    }

    fn patroni(&self, patroni: &Patroni, action: PatroniAction) -> Result<Value> {
        match action {
            PatroniAction::List => return Ok(serde_json::to_value(patroni.list())?),
            PatroniAction::DatabaseUrl => return Ok(patroni.database_url().into()),
            PatroniAction::Switchover { candidate } => {
                return Ok(serde_json::to_value(patroni.switchover(candidate.as_deref())?)?);
            }
            PatroniAction::Kill { member } => patroni.kill9(&member)?,
            PatroniAction::Start { member } => patroni.start_member(&member)?,
            PatroniAction::Freeze { member } => patroni.freeze(&member)?,
            PatroniAction::Thaw { member } => patroni.thaw(&member)?,
            PatroniAction::Store { member, action } => patroni.store(&member, action)?,
            PatroniAction::Rest { member, fault } => patroni.rest(&member, fault)?,
            PatroniAction::Pause => patroni.pause()?,
            PatroniAction::Resume => patroni.resume()?,
            PatroniAction::Add { name, site } => self.add_member(patroni, name, site)?,
            PatroniAction::Remove { member } => {
                patroni.remove_member(&member)?;
                self.network.remove_host(&member)?;
            }
        }
        done()
    }

    fn add_member(&self, patroni: &Patroni, name: String, site: Site) -> Result<()> {
        // The members of a site are its hosts 5 to 9.
        let address = (5..=9).map(|last| site.host(last)).find(|address| self.network.is_free(*address));
        let address = address.with_context(|| format!("the site {site} has no room for another member"))?;
        self.network.add_host(site, &name, address, &[])?;
        let netns = net::namespace(&name);
        patroni.add_member(patroni::Host { name: name.clone(), site, address, netns }).inspect_err(|_| {
            // Processes of a member that did not start keep its namespace; the name is free again.
            let _ = self.network.remove_host(&name);
        })
    }

    fn load_image(&self, archive: &Path) -> Result<Value> {
        let reference = image::reference_of(archive).context("the image can't be loaded")?;
        super::on_every_machine(&self.machines, |machine| match machine.power() {
            Power::On => machine.import(archive),
            Power::Off => Ok(()),
        })?;
        Ok(json!({ "reference": reference }))
    }
}

pub(super) fn done() -> Result<Value> {
    Ok(Value::Null)
}
