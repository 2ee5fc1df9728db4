//! 6 and 7. What Kine's own ways do to Kubernetes, and what the product makes of it: a Kine that hangs while its history is compacted, and a
//! failover that lost what had been answered.

use std::{cell::Cell, collections::BTreeSet, process::Stdio, thread};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use super::{
    bed::{Bed, REPLICAS},
    course::{Course, Goal},
    report::Figures,
    story::{AFTERWARDS, Story},
};
use crate::{
    control::{NodeAction, ProcessAction, SiteAction},
    control_plane::Component,
    site::{
        self,
        Site::{self, Dc1, Dc2},
    },
};

impl Story<'_> {
    /// 6. Kine of dc1 hangs, and while its API server isn't ready pods move, and what was before is compacted. Then it goes on.
    pub fn kine_hangs_while_pods_move(&self) -> Result<Figures> {
        self.tell("6", "Kine of dc1 hangs, and the service's primary moves meanwhile");
        let before = self.bed.newest_version()?;
        let kine = |action| self.bed.lab.process_of("cp1", Component::Kine, action);
        let hangs = Course::of(self.bed, &Site::TWO, || kine(ProcessAction::Freeze))?;
        hangs.until(&[("the API server of dc1 is not ready", self.is_frozen(Dc1)), hangs.writes(), hangs.led()])?;
        let to = self.shop_site().other_of_two();
        let course = Course::of(self.bed, &Site::TWO, || self.bed.switch_service(to))?;
        let mut goals = Vec::from(course.all_follow());
        goals.push(("what was before is compacted", Box::new(|| self.bed.is_compacted(before))));
        let times = course.until(&goals)?;
        self.tell("6", "Kine of dc1 goes on");
        let back = Course::of(self.bed, &Site::TWO, || kine(ProcessAction::Thaw))?;
        let mut whole = self.whole(&back, Dc1);
        whole.push(self.tells_what_is_new(Dc1));
        back.until(&whole)?;
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((6, "Kine of dc1 hangs amid a movement"), &times, true);
        figures.api_away_s = self.bed.clients.away(hangs.at).as_secs_f64();
        let failures = figures.transport_failures;
        figures.check(failures == 0, format!("{failures} requests failed"));
        figures.check(figures.moved <= REPLICAS as u64, format!("{} pods were evicted", figures.moved));
        figures.check(figures.held == 0, format!("{} pods were held", figures.held));
        Ok(figures)
    }

    /// 7. Without synchronous replication: what was answered last is lost with the data centre whose database answered it.
    pub fn kubernetes_forgets_its_last_writes(&self) -> Result<Figures> {
        let lab = &self.bed.lab;
        let here = if self.bed.clients.kine_primary().as_deref() == Some("kine1") { Dc1 } else { Dc2 };
        let there = here.other_of_two();
        if self.shop_site() != here {
            self.tell("7", &format!("the service's primary moves to {here}, where that of Kubernetes is"));
            let course = Course::of(self.bed, &Site::TWO, || self.bed.switch_service(here))?;
            course.until(&self.whole(&course, there))?;
        }
        self.tell("7", &format!("the replica in {there} hears nothing any more of the database under Kubernetes, and the service's primary moves there"));
        let replica = format!("kine{}", there.index());
        lab.sever(&replica, here, true)?;
        let lost = Course::of(self.bed, &Site::TWO, || self.bed.switch_service(there))?;
        lost.until(&[lost.known(), lost.labels(), lost.near()])?;
        let newest = self.bed.newest_version()?;

        self.tell("7", &format!("{here} loses its power, and with it whatever its database alone had"));
        let mut course = Course::of(self.bed, &[there], || lab.site(here, SiteAction::Kill))?;
        lab.sever(&replica, here, false)?;
        let promoted = "the database under Kubernetes has its primary there";
        let first: [Goal<'_>; 3] = [(promoted, self.primaries_in(there)), course.writes(), course.led()];
        let times = course.until(&first)?;
        drop(first);
        let oldest = self.bed.newest_version()?;
        let (pods, labels) = self.bed.ghosts(there)?;
        self.bed.clock.say(&format!(
            "  resource versions were at {newest} and are at {oldest}; the API server tells of {pods} pods and {labels} labels that its store has not"
        ));
        if pods + labels > 0 {
            self.bed.clock.say(
                "  it is started anew, with its Kine and with all of Kubernetes that watches it, as a person would",
            );
            self.bed.begin_anew(there)?;
        }
        // It had been told of what is lost, too.
        course.until(&[("the onlooker sees the pods that there are", Box::new(|| self.bed.onlooker_is_right()))])?;
        let mut goals = Vec::from(course.all_follow());
        goals.push(course.ready_nodes(&[there]));
        let more = course.until(&goals)?;
        drop(goals);
        // Until here labels went back to what they had been, and nobody had written that.
        course.forget_labels();
        thread::sleep(AFTERWARDS);
        let mut figures = course.figures((7, "Kubernetes forgets its last writes"), &more, true);
        figures.promoted_s = times.get(promoted).copied();
        let (pods, labels) = self.bed.ghosts(there)?;
        figures.check(pods + labels == 0, format!("{pods} pods and {labels} labels are told that there are not"));
        figures.check(figures.held == 0, format!("{} pods were held", figures.held));

        self.tell("7", &format!("{here} has power again"));
        let after = self.returns(7, "it returns", here, there)?;
        figures.add_faults(after);
        Ok(figures)
    }

    /// Where the demo service's primary is.
    fn shop_site(&self) -> Site {
        if self.bed.clients.shop_primary().as_deref() == Some("pg1") { Dc1 } else { Dc2 }
    }

    /// The API server of a data centre has in its cache what its store had when this was asked for first.
    fn tells_what_is_new(&self, site: Site) -> Goal<'_> {
        let stored = Cell::new(None);
        let told = move || {
            if stored.get().is_none() {
                stored.set(self.bed.number(site, ""));
            }
            stored.get().is_some() && self.bed.number(site, "?resourceVersion=0") >= stored.get()
        };
        ("its API server tells what is new", Box::new(told))
    }
}

impl Bed {
    /// Starts the control plane of a data centre anew, and its kubelets: a watch that goes on from a version that was lost is told nothing of
    /// what has been written in its place, and a kubelet so of no pod that it is to run.
    fn begin_anew(&self, site: Site) -> Result<()> {
        let host = format!("cp{}", site.index());
        for component in
            [Component::Kine, Component::KubeApiserver, Component::KubeControllerManager, Component::KubeScheduler]
        {
            self.lab.process_of(&host, component, ProcessAction::Restart)?;
        }
        let nodes: Vec<String> = self.scene.seen().labels.keys().cloned().collect();
        for node in nodes.iter().filter(|node| site::of_node(node) == Some(site)) {
            self.lab.node(node, NodeAction::StopKubelet)?;
            self.lab.node(node, NodeAction::StartKubelet)?;
        }
        Ok(())
    }

    /// The resource version that a write of now would be later than.
    fn newest_version(&self) -> Result<u64> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), "default");
        let listed = self.runtime.block_on(maps.list(&ListParams::default()))?;
        Ok(listed.metadata.resource_version.unwrap_or_default().parse()?)
    }

    /// Whether nothing is known any more of how it was at this version.
    fn is_compacted(&self, version: u64) -> bool {
        let exactly = ListParams::default().at(&version.to_string()).matching(kube::core::params::VersionMatch::Exact);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), "default");
        let answer = self.runtime.block_on(maps.list(&exactly));
        matches!(answer, Err(kube::Error::Api(status)) if status.code == 410)
    }

    /// Of the ConfigMap that a client writes all the time, as the API server of a data centre tells it.
    fn number(&self, site: Site, query: &str) -> Option<u64> {
        let map = self.raw(site, &format!("/api/v1/namespaces/default/configmaps/client{query}")).ok()?;
        map["data"]["number"].as_str()?.parse().ok()
    }

    /// How many pods of the demo service, and how many nodes' labels, the API server of a data centre has in its cache and not in its store.
    fn ghosts(&self, site: Site) -> Result<(usize, usize)> {
        let mut counts = [0, 0];
        let kinds =
            [("/api/v1/namespaces/orders/pods", "/metadata/uid"), ("/api/v1/nodes", "/metadata/labels/switchover")];
        for (count, (path, what)) in counts.iter_mut().zip(kinds) {
            let cached = self.raw(site, &format!("{path}?resourceVersion=0"))?;
            for object in cached["items"].as_array().into_iter().flatten() {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                // One alone, at no version, comes from the store. What isn't there is an error.
                let stored = self.raw(site, &format!("{path}/{name}")).unwrap_or_default();
                *count += usize::from(stored.pointer(what) != object.pointer(what));
            }
        }
        Ok((counts[0], counts[1]))
    }

    /// Whether the onlooker sees the pods of the demo service that the API server tells of now.
    fn onlooker_is_right(&self) -> bool {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "orders");
        let listed = self.runtime.block_on(pods.list(&ListParams::default()));
        listed.is_ok_and(|listed| {
            let there: BTreeSet<String> = listed.items.iter().map(ResourceExt::name_any).collect();
            there == self.scene.seen().pods.keys().cloned().collect()
        })
    }

    /// What the API server of a data centre answers.
    fn raw(&self, site: Site, path: &str) -> Result<Value> {
        let mut command = self.kubectl_at(site)?;
        let output = command.args(["get", "--raw", path, "--request-timeout=3s"]).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
