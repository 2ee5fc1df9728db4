//! 8. A service whose database nobody watches over but a script: it is promoted by plan, after a crash, and two take writes by mistake.

use std::{collections::BTreeMap, thread};

use anyhow::Result;
use serde_json::Value;

use super::{
    bed::SYSTEM,
    course::{Course, Goal},
    mariadb::MariaDb,
    report::Figures,
    story::{AFTERWARDS, Story},
};
use crate::{
    install::{self, kubectl},
    site::{
        Site::{self, Dc1, Dc2},
        of_node,
    },
};

const MANIFEST: &str = include_str!("../../manifests/ledger.yaml");
const LABEL: &str = "switchover.dev/ledger";
const REPLICAS: usize = 3;

impl Story<'_> {
    /// Follows a MariaDB wherever the script has it go.
    pub fn a_mariadb_is_promoted_by_a_script(&self) -> Result<Figures> {
        self.tell("8", "a MariaDB, a master and its replica: dc1 has the master");
        let lab = &self.bed.lab;
        let mariadb = MariaDb::start(lab)?;
        let login = ["--from-literal=username=switchover", "--from-literal=password=switchover"];
        kubectl(lab, ["-n", SYSTEM, "create", "secret", "generic", "ledger-login"].into_iter().chain(login))?;
        install::apply(lab, MANIFEST)?;
        let begin = Course::of(self.bed, &Site::TWO, || mariadb.write(Dc1))?;
        begin.until(&self.follows(Dc1))?;

        self.tell("8", "the script promotes dc2's, by plan");
        let planned = Course::of(self.bed, &Site::TWO, || mariadb.promote(Dc2))?;
        let times = planned.until(&self.follows(Dc2))?;
        let mut figures = planned.figures((8, "a script promotes MariaDB, by plan and after a crash"), &times, true);
        figures.promoted_s = times.get(BELIEVED).copied();
        figures.labels_s = times.get(LABELLED).copied();
        figures.near_s = times.get(NEAR).copied();
        mariadb.write(Dc2)?;
        let copied = Course::of(self.bed, &Site::TWO, || Ok(()))?;
        copied
            .until(&[("the replica has what the master wrote", Box::new(|| mariadb.entries(Dc1).ok() == Some(2)))])?;

        self.tell("8", "dc2's crashes, and the script promotes dc1's");
        mariadb.kill(Dc2)?;
        let crash = Course::of(self.bed, &Site::TWO, || mariadb.promote(Dc1))?;
        crash.until(&self.follows(Dc1))?;

        self.tell("8", "dc2's is started again by mistake, and takes writes, too");
        let labels = self.ledger_labels()?;
        let mistake = Course::of(self.bed, &Site::TWO, || mariadb.start_server(Dc2, false))?;
        mistake.until(&[(
            "nobody is believed",
            Box::new(|| self.ledger_is_believed() == Some("SplitBrain".to_owned())),
        )])?;
        thread::sleep(AFTERWARDS);
        let same = self.ledger_labels()? == labels && self.ledger_zones()? == BTreeMap::from([(Dc1, REPLICAS)]);
        figures.check(same, "something changed while two took writes");

        self.tell("8", "the script makes dc2's a replica");
        let settled = Course::of(self.bed, &Site::TWO, || mariadb.promote(Dc1))?;
        settled.until(&self.follows(Dc1))?;
        thread::sleep(AFTERWARDS);
        let epoch = self.ledger()?["status"]["epoch"].as_u64();
        figures.check(epoch == Some(3), format!("three primaries after another are epoch {epoch:?}"));
        Ok(figures)
    }

    /// The product believes this data centre's server, and has done what follows from it.
    fn follows(&self, primary: Site) -> Vec<Goal<'_>> {
        let member = format!("db{}", primary.index());
        let believed = move || {
            let primary = self.ledger().is_ok_and(|ledger| ledger["status"]["primary"] == member.as_str());
            primary && self.ledger_is_believed() == Some("Known".to_owned())
        };
        let labelled = move || {
            let right = |(node, label): (&String, &String)| {
                *label == if of_node(node) == Some(primary) { "closely" } else { "far" }
            };
            self.ledger_labels().is_ok_and(|labels| labels.len() == 4 && labels.iter().all(right))
        };
        let near = move || self.ledger_zones().is_ok_and(|zones| zones == BTreeMap::from([(primary, REPLICAS)]));
        vec![(BELIEVED, Box::new(believed)), (LABELLED, Box::new(labelled)), (NEAR, Box::new(near))]
    }

    /// What `kubectl get` tells.
    fn told(&self, what: &[&str]) -> Result<Value> {
        let arguments = ["get", "-o", "json"].into_iter().chain(what.iter().copied());
        Ok(serde_json::from_str(&kubectl(&self.bed.lab, arguments)?)?)
    }

    fn ledger(&self) -> Result<Value> {
        self.told(&["databasecluster", "ledger"])
    }

    /// The reason of its condition.
    fn ledger_is_believed(&self) -> Option<String> {
        let ledger = self.ledger().ok()?;
        let conditions = ledger["status"]["conditions"].as_array()?;
        let known = conditions.iter().find(|condition| condition["type"] == "PrimaryKnown")?;
        Some(known["reason"].as_str()?.to_owned())
    }

    /// By node.
    fn ledger_labels(&self) -> Result<BTreeMap<String, String>> {
        let nodes = self.told(&["nodes"])?;
        let label = |node: &Value| {
            let name = node["metadata"]["name"].as_str()?.to_owned();
            Some((name, node["metadata"]["labels"][LABEL].as_str()?.to_owned()))
        };
        Ok(nodes["items"].as_array().into_iter().flatten().filter_map(label).collect())
    }

    /// How many of its pods run in each data centre; one that ends counts, too.
    fn ledger_zones(&self) -> Result<BTreeMap<Site, usize>> {
        let pods = self.told(&["pods", "-n", "ledger"])?;
        let mut zones = BTreeMap::new();
        for pod in pods["items"].as_array().into_iter().flatten() {
            if let Some(site) = pod["spec"]["nodeName"].as_str().and_then(of_node) {
                *zones.entry(site).or_default() += 1;
            }
        }
        Ok(zones)
    }
}

const BELIEVED: &str = "switchover believes the server that takes writes";
const LABELLED: &str = "labels are right for it";
const NEAR: &str = "every pod is beside it";
