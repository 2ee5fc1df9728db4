//! A store whose other votes are gone for good, and how it gets votes again: what a person does by etcd's own means.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    Patroni,
    config::{STORE_CLIENT_PORT, STORE_PEER_PORT},
    member::Member,
    rest::{HEALTH_TIMEOUT, request, store_is_ready},
    tools::user,
};

impl Patroni {
    /// Begins a new store of this member alone, with the data that it has.
    pub(super) fn start_store_alone(&self, name: &str) -> Result<()> {
        let itself = [(name.to_owned(), self.with(name, |member| Ok(member.host.address))?)];
        self.with(name, |member| {
            member.kill_store()?;
            member.start_store(&self.context.bin.join("etcd"), &itself, &["--force-new-cluster"])
        })
    }

    /// Adds this member anew to the store that there is.
    pub(super) fn join_store(&self, name: &str) -> Result<()> {
        self.with(name, Member::kill_store)?;
        let there = self.context.stores().into_iter().find(|host| host.name != name && store_is_ready(host));
        let there = there.context("no member of the store answers, so that none can join")?;
        let address = self.with(name, |member| Ok(member.host.address))?;
        let body = json!({"peerURLs": [format!("http://{address}:{STORE_PEER_PORT}")]});
        let client = SocketAddr::from((there.address, STORE_CLIENT_PORT));
        let (status, answer) =
            request(there, client, "POST", "/v3/cluster/member/add", Some(&body), HEALTH_TIMEOUT * 4)?;
        ensure!(status == 200, "etcd of {} lets {name} not join ({status}): {answer}", there.name);
        let members = members(&serde_json::from_str(&answer)?, name);
        self.with(name, |member| {
            let data = member.files.store_data();
            fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
            member.files.write(&member.host, &self.context.cluster, &self.context.store_addresses(), &user()?)?;
            member.start_store(&self.context.bin.join("etcd"), &members, &["--initial-cluster-state", "existing"])
        })
    }
}

/// Those that etcd names, and the one that has no name yet.
fn members(answer: &Value, new: &str) -> Vec<(String, Ipv4Addr)> {
    let member = |member: &Value| {
        let name = member["name"].as_str().filter(|name| !name.is_empty()).unwrap_or(new).to_owned();
        let url = member["peerURLs"][0].as_str()?.strip_prefix("http://")?;
        Some((name, url.rsplit_once(':')?.0.parse().ok()?))
    };
    answer["members"].as_array().into_iter().flatten().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_is_the_one_without_a_name() {
        let answer = json!({"members": [
            {"ID": "1", "name": "kine2", "peerURLs": ["http://10.77.2.4:2380"]},
            {"ID": "2", "peerURLs": ["http://10.77.1.4:2380"]},
        ]});
        let expected = [("kine2", Ipv4Addr::new(10, 77, 2, 4)), ("kine1", Ipv4Addr::new(10, 77, 1, 4))];
        assert_eq!(members(&answer, "kine1"), expected.map(|(name, address)| (name.to_owned(), address)));
    }
}
