//! The part of docs/getting-started.md that is played on a lab: what a new user types and sees, from nothing to nothing. `make
//! getting-started` writes it of this scene; whenever it is played, its commands are compared with those in the page, and those that the
//! README's first screen names are among them. A lab of its own, because an installation begins where there is none.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{Lab, Options, supervisor::CONTROL_PLANE_HOST, wait};

use crate::told::Told;

const PATIENCE: Duration = Duration::from_secs(180);
const MARKS: (&str, &str) = ("<!-- lab: written by make getting-started -->\n", "<!-- end of lab -->");

/// Without a warning, too.
const ALL_GREEN: &str = "√ nothing is wrong\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The part of the page as far as it has been played.
struct Page {
    lab: Lab,
    told: Told,
}

impl Page {
    /// How a command of the lab's shell ended, and what it printed.
    fn typed(&self, typed: &str) -> Result<(bool, String)> {
        let mut shell = self.lab.shell(CONTROL_PLANE_HOST, "bash -s")?;
        shell.current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn()?;
        let script = format!("set -o pipefail\nexec 2>&1\n{typed}\n");
        std::io::Write::write_all(&mut child.stdin.take().context("a shell reads")?, script.as_bytes())?;
        let output = child.wait_with_output()?;
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ok((output.status.success(), printed))
    }

    /// What it printed, if it did what it should.
    fn ask(&self, typed: &str) -> Result<String> {
        let (done, printed) = self.typed(typed)?;
        ensure!(done, "{typed}:\n{printed}");
        Ok(printed)
    }

    /// Runs it, and writes down what it printed, which has this in it.
    fn run(&mut self, typed: &str, expected: &str) -> Result<()> {
        let printed = self.ask(typed)?;
        println!("$ {typed}\n{printed}");
        ensure!(printed.contains(expected), "{typed}: {expected:?} isn't in:\n{printed}");
        self.told.shows(typed, &printed);
        Ok(())
    }

    /// The same, once it has this in it.
    fn run_until(&mut self, typed: &str, expected: &str) -> Result<()> {
        let mut last = String::new();
        let found = wait::block_until(PATIENCE, &format!("{typed}: {expected}"), || {
            let (done, printed) = self.typed(typed)?;
            last.clone_from(&printed);
            Ok((done && printed.contains(expected)).then_some(printed))
        });
        let printed = found.with_context(|| format!("it printed:\n{last}"))?;
        println!("$ {typed}\n{printed}");
        self.told.shows(typed, &printed);
        Ok(())
    }
}

/// What the README's first screen has people type.
fn typed_in_the_readme() -> Result<Vec<String>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let first = readme.split("\n## ").next().unwrap_or_default();
    let block = first.split("\n\n").find(|block| block.trim_start().starts_with("make lab-up"));
    let lines = block.context("the README's first screen has no lab")?.lines();
    Ok(lines.map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned()).collect())
}

#[test]
#[ignore = "needs root and the lab"]
fn a_new_user_installs_the_chart_sees_a_failover_and_leaves_nothing_behind() -> Result<()> {
    let target = lab::target_directory();
    let images = ["switchover", "shop"].map(|name| target.join(format!("images/{name}.tar"))).to_vec();
    let state = target.join("lab-getting-started");
    let mut steps = String::new();
    let said = std::sync::Mutex::new(&mut steps);
    let lab = Lab::up(&Options { state, images, ..Options::default() }, &|step| {
        let mut said = said.lock().expect("nobody panics with it");
        said.push_str(step);
        said.push('\n');
    })?;
    lab.end_with_this_process()?;
    let mut page = Page { lab, told: Told::default() };
    play(&mut page, &steps).inspect_err(|_| {
        for look in ["kubectl get pods -A -o wide", "switchover status", "kubectl get events -A | tail -n 40"] {
            println!("$ {look}\n{}", page.ask(look).unwrap_or_else(|error| format!("{error:#}")));
        }
    })?;
    for command in typed_in_the_readme()? {
        assert!(page.told.has(&command), "the README's first screen has {command:?}, the page hasn't");
    }
    let file = root().join("docs/getting-started.md");
    page.told.close(&file, Some(MARKS), "WRITE_GETTING_STARTED", "make getting-started")?;
    Lab::down(page.lab.state())
}

fn play(page: &mut Page, steps: &str) -> Result<()> {
    page.told.says(
        "Every command here was run, and printed what stands below it. What is the lab's alone has its like with you: `lab shop` is a manifest of \
         your\nservice's, `lab patroni switchover` is `patronictl switchover`.",
    );
    page.told.shows("make lab-up INSTALL=1", steps);
    page.told.shows("make lab-shell", "");
    page.told.says("\n### Install\n\nCould there be an installation?");
    page.run("switchover check --pre", ALL_GREEN)?;
    page.run(
        "helm install switchover deploy/chart -n switchover-system --create-namespace -f tests/lab/manifests/values.yaml --wait",
        "STATUS: deployed",
    )?;
    page.run(
        "kubectl label namespace switchover-system --overwrite switchover.dev/system=true \
         pod-security.kubernetes.io/{enforce,warn}=privileged pod-security.kubernetes.io/audit=restricted",
        "labeled",
    )?;
    page.told.says("\n### A database, and a service that follows it");
    page.run("kubectl apply -f deploy/overlays/lab/database.yaml", "created")?;
    page.run("kubectl wait --for=condition=Ready dbc/default --timeout=60s", "condition met")?;
    page.run("kubectl get nodes -L switchover,topology.kubernetes.io/zone", "closely")?;
    page.told.says("\nIts namespace bears the label `switchover.dev/follow: default`:");
    page.run("lab shop | kubectl apply -f -", "deployment.apps/shop created")?;
    page.run("kubectl -n orders rollout status deployment/shop --timeout=90s", "successfully rolled out")?;
    page.run("kubectl get pods -n orders -o wide", "shop-")?;
    page.told.says("\nThey were born near the primary. Is all as it should be?");
    page.run_until("switchover check", ALL_GREEN)?;
    page.told.says("\n### A failover\n\nWhat would come of it?");
    page.run("switchover plan default --to pg3", "6 pods move")?;
    page.run("lab patroni switchover --to pg3", "to pg3")?;
    page.run_until("switchover status default", "Done: every follower is where it should be")?;
    page.run("kubectl get pods -n orders -o wide", "shop-")?;
    let nodes = page.ask("kubectl get pods -n orders -o jsonpath='{.items[*].spec.nodeName}'")?;
    let near = nodes.split_whitespace().filter(|node| ["n3", "n6"].contains(node)).count();
    ensure!((near, nodes.split_whitespace().count()) == (6, 6), "everyone is in dc3, with pg3: {nodes}");
    page.run("switchover history default", "pg1 → pg3")?;
    page.run_until("switchover check", ALL_GREEN)?;
    page.told.says("\n### Leave\n\nThe definitions, and with them your databases, stay until you delete them.");
    page.run("helm uninstall switchover -n switchover-system", "uninstalled")?;
    page.run("kubectl delete crd databaseclusters.switchover.dev nodelatencies.switchover.dev", "deleted")?;
    page.run("kubectl delete namespace switchover-system", "deleted")?;
    page.told.says("\nNothing of it is left, on no node and of no kind; the service runs on.");
    let kinds = "kubectl api-resources --verbs=list -o name | grep -v '^events' | paste -sd,";
    page.run(&format!("kubectl get $({kinds}) -A -o name --ignore-not-found | grep -c switchover || true"), "0")?;
    page.run("kubectl get nodes --show-labels | grep -c switchover || true", "0")?;
    let taints = page.ask("kubectl get nodes -o jsonpath='{.items[*].spec.taints}'")?;
    ensure!(!taints.contains("switchover"), "a taint is left: {taints}");
    page.run("kubectl -n orders get deployment shop", "6/6")?;
    page.told.says("\nThe lab itself goes with `exit` and `make lab-down`.");
    Ok(())
}

/// It is in the tree, so that the shell of the lab finds it.
#[test]
fn the_readme_names_only_files_that_there_are() -> Result<()> {
    for command in typed_in_the_readme()? {
        for word in command.split_whitespace().filter(|word| word.contains('/') && word.ends_with(".yaml")) {
            ensure!(root().join(word).is_file(), "{word} of {command:?}");
        }
    }
    Ok(())
}
