//! What the database and its clients lean on is gone: Patroni's store, a host's way to the others, names.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use lab::{
    control::{PatroniAction, StoreAction},
    site::Site,
};
use serde_json::json;
use switchover::api::{DatabaseCluster, DatabaseClusterStatus};

use super::{
    names::{NameServer, name_of},
    stage::{Stage, condition, known, picture, scene},
};

/// Patroni's ttl in the lab: what lasts longer ends every lease.
const TTL: Duration = Duration::from_secs(20);

/// The store of Patroni, not that of Kubernetes.
fn store(stage: &Stage, action: StoreAction) -> Result<()> {
    ["pg1", "pg2", "pg3"]
        .into_iter()
        .try_for_each(|member| stage.patroni(PatroniAction::Store { member: member.into(), action }).map(drop))
}

#[test]
#[ignore = "needs root and the lab"]
fn while_patronis_store_is_gone_or_hangs_nothing_changes_and_then_the_primary_is_followed_once() {
    scene(|stage| {
        for (down, up) in [(StoreAction::Kill, StoreAction::Start), (StoreAction::Freeze, StoreAction::Thaw)] {
            let (load, witness) = (stage.load()?, stage.witness()?);
            let epoch = stage.status()?.epoch;
            let (labels, pods) = picture(&stage.scene.seen());
            let lost = store(stage, down).and_then(|()| {
                stage.wait("nobody is primary", |seen| condition(seen, "PrimaryKnown") == Some("False"))?;
                stage.stays("labels, pods and epoch", TTL, |seen| (picture(seen), seen.epoch()))?;
                ensure!(picture(&stage.scene.seen()) == (labels, pods), "something changed before");
                let split = condition(&stage.scene.seen(), "SplitBrain").map(str::to_owned);
                ensure!(split.as_deref() != Some("True"), "{down:?} is no split brain");
                ensure!(witness.seen().evicted.is_empty(), "{:?} were evicted", witness.seen().evicted);
                load.unharmed(stage)
            });
            store(stage, up)?;
            lost?;
            let primary = stage.primary()?;
            stage.not_far_from(&primary)?;
            let now = stage.status()?.epoch;
            ensure!(now - epoch == u64::from(primary != "pg1"), "{primary} is primary, epochs {epoch} and {now}");
            stage.stays("the primary and its epoch", Duration::from_secs(3), |seen| {
                (known(seen).map(str::to_owned), seen.epoch())
            })?;
            if primary != "pg1" {
                stage.switch("pg1")?;
                stage.at("pg1")?;
            }
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_primary_whose_host_alone_is_cut_off_the_other_data_centres_is_succeeded_and_comes_back_as_a_replica() {
    scene(|stage| {
        let (load, epoch) = (stage.load()?, stage.status()?.epoch);
        let others = [Site::Dc2, Site::Dc3];
        let cut = |cut: bool| others.into_iter().try_for_each(|site| stage.lab.sever("pg1", site, cut));
        let succeeded = cut(true).and_then(|()| {
            let split = std::cell::Cell::new(false);
            stage.wait("another primary", |seen| {
                split.set(split.get() || condition(seen, "SplitBrain") == Some("True"));
                known(seen).is_some_and(|primary| primary != "pg1")
            })?;
            ensure!(!split.get(), "a member out of sight is no split brain");
            let primary = stage.primary()?;
            ensure!(primary != "pg1", "pg1 is the primary without the others");
            stage.not_far_from(&primary)?;
            Ok(primary)
        });
        cut(false)?;
        let primary = succeeded?;
        stage.until("pg1 streams from the new primary", || {
            Ok(stage.lab.members()?.iter().any(|member| member.name == "pg1" && member.is_streaming()))
        })?;
        ensure!(stage.primary()? == primary, "pg1 took the primary back");
        stage.not_far_from(&primary)?;
        ensure!(
            stage.status()?.epoch == epoch + 1,
            "one change of primary, and the epoch is {}",
            stage.status()?.epoch
        );
        load.unharmed(stage)
    });
}

/// A second DatabaseCluster for the same database, which knows the members by names only.
struct Named<'a> {
    stage: &'a Stage,
    api: Api<DatabaseCluster>,
}

const NAMED: &str = "named";

impl Named<'_> {
    fn create(stage: &Stage) -> Result<Named<'_>> {
        let api: Api<DatabaseCluster> = Api::all(stage.client.clone());
        let urls = Site::DATA_CENTRES.map(|site| format!("http://{}:8008", name_of(site)));
        let named = json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": { "name": NAMED },
            "spec": { "discovery": { "patroni": { "urls": urls } }, "tiers": { "window": "5ms" } },
        });
        stage.runtime.block_on(api.create(&PostParams::default(), &serde_json::from_value(named)?))?;
        Ok(Named { stage, api })
    }

    fn status(&self) -> Result<DatabaseClusterStatus> {
        Ok(self.stage.runtime.block_on(self.api.get(NAMED))?.status.unwrap_or_default())
    }

    fn says(&self) -> Result<String> {
        Ok(self.status()?.message.unwrap_or_default())
    }

    fn until_known(&self, primary: &str) -> Result<()> {
        self.stage.until(&format!("{NAMED} knows {primary}"), || {
            let status = self.status()?;
            let known = status.conditions.iter().any(|it| it.type_ == "PrimaryKnown" && it.status == "True");
            Ok(known && status.primary.as_deref() == Some(primary))
        })
    }

    fn until_near(&self, nodes: [&str; 2]) -> Result<()> {
        let all: Api<Node> = Api::all(self.stage.client.clone());
        self.stage.until(&format!("{nodes:?} are labelled as near"), || {
            let all = self.stage.runtime.block_on(all.list(&Default::default()))?.items;
            let label = format!("switchover.dev/{NAMED}");
            let near = all.iter().filter(|node| node.labels().get(&label).is_some_and(|it| it == "closely"));
            Ok(near.map(ResourceExt::name_any).collect::<Vec<_>>() == nodes)
        })
    }

    fn delete(self) -> Result<()> {
        self.stage.runtime.block_on(self.api.delete(NAMED, &DeleteParams::default()))?;
        self.stage.until(&format!("{NAMED} and its labels are gone"), || {
            Ok(self.stage.runtime.block_on(self.api.get_opt(NAMED))?.is_none())
        })
    }
}

#[test]
#[ignore = "needs root and the lab"]
fn without_names_members_are_asked_at_their_addresses_and_a_new_leader_tells_what_it_cannot_resolve() {
    scene(|stage| {
        let names = NameServer::start(&stage.lab)?;
        let named = Named::create(stage)?;
        let played = named_members(stage, &named, names);
        named.delete()?;
        played
    });
}

fn named_members(stage: &Stage, named: &Named<'_>, names: NameServer) -> Result<()> {
    let load = stage.load()?;
    named.until_known("pg1")?;
    named.until_near(["n1", "n2"])?;
    ensure!(Site::DATA_CENTRES.iter().all(|site| names.asked().contains(&name_of(*site))), "{:?}", names.asked());

    drop(names);
    let epoch = named.status()?.epoch;
    stage.stays("the primary, labels and pods", Duration::from_secs(4), |seen| {
        (known(seen).map(str::to_owned), picture(seen))
    })?;
    ensure!(named.says()?.contains("3 of 3 members answer"), "it says: {}", named.says()?);

    // Whoever leads next knows the members' addresses, and nobody behind the names.
    let leader = stage.leader()?;
    stage.kubectl(["-n", super::stage::SYSTEM, "delete", "pod", &leader, "--force", "--grace-period=0"])?;
    stage.until("the names are told of", || {
        let says = named.says()?;
        let told = says.contains("its name can't be looked up");
        Ok(told && Site::DATA_CENTRES.iter().all(|site| says.contains(&name_of(*site))))
    })?;
    named.until_known("pg1")?;
    stage.switch("pg3")?;
    named.until_known("pg3")?;
    named.until_near(["n5", "n6"])?;
    ensure!(named.status()?.epoch == epoch + 1, "one change of primary led to epoch {}", named.status()?.epoch);

    let names = NameServer::start(&stage.lab)?;
    stage.until("nothing is missed any more", || Ok(!named.says()?.contains("no answer")))?;
    ensure!(!names.asked().is_empty(), "nobody looked a name up");
    stage.at("pg3")?;
    load.unharmed(stage)
}
