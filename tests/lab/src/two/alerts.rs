//! What monitoring in each data centre would be told while nobody can be asked anything: the controllers' own metrics, at their own addresses.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::bed::{Bed, SYSTEM, site_of};
use crate::{net, site::Site};

/// Where every role tells its metrics.
const PORT: u16 = 8080;
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Bed {
    /// Where the controllers of each data centre tell their metrics.
    pub(super) fn controller_addresses(&self) -> Result<Vec<(Site, SocketAddr)>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let role = ListParams::default().labels("app.kubernetes.io/component=controller");
        let address = |pod: &Pod| {
            let address: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
            Some((site_of(pod)?, SocketAddr::new(address, PORT)))
        };
        Ok(self.runtime.block_on(pods.list(&role))?.items.iter().filter_map(address).collect())
    }

    /// Whether each of these says in its own data centre that it doesn't lead: what the alert SwitchoverNoLeader goes by.
    pub(super) fn nobody_leads(&self, controllers: &[(Site, SocketAddr)]) -> bool {
        let follows = |(site, address): &(Site, SocketAddr)| {
            let metrics = self.metrics(*site, *address).unwrap_or_default();
            metrics.lines().any(|line| line == "switchover_leader 0")
        };
        !controllers.is_empty() && controllers.iter().all(follows)
    }

    fn metrics(&self, site: Site, address: SocketAddr) -> Result<String> {
        // From a node of the same data centre.
        let node = if site == Site::Dc1 { "n1" } else { "n3" };
        let request = "GET /metrics HTTP/1.0\r\nHost: controller\r\n\r\n".to_owned();
        net::exchange(&self.lab.netns(node), address, request, ANSWER_WITHIN)
    }
}
