//! Installs the product and the demo service in a lab, as a user would: `kubectl apply -k`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{Lab, tools};

/// Where the product's parts lie.
#[derive(Debug, Clone)]
pub struct Product {
    /// The checkout, with deploy/ in it.
    pub root: PathBuf,
    /// The `switchover` program, for its tools.
    pub program: PathBuf,
}

impl Product {
    /// The release build of this workspace.
    pub fn of_workspace() -> Product {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_default();
        Product { program: root.join("target/release/switchover"), root }
    }

    /// Applies the lab overlay, and waits until every role is ready; the controller makes the webhook's certificate.
    pub fn install(&self, lab: &Lab) -> Result<()> {
        let overlay = self.root.join("deploy/overlays/lab");
        // The definitions first: the DatabaseCluster of the overlay needs them to be served.
        kubectl(lab, ["apply", "-f", &path(&self.root.join("deploy/base/crds.yaml"))])?;
        kubectl(lab, ["wait", "--for=condition=Established", "crd/databaseclusters.switchover.dev", "--timeout=30s"])?;
        kubectl(lab, ["apply", "-k", &path(&overlay)])?;
        for workload in
            ["deployment/switchover-controller", "deployment/switchover-webhook", "daemonset/switchover-agent"]
        {
            kubectl(lab, ["-n", "switchover-system", "rollout", "status", workload, "--timeout=90s"])?;
        }
        Ok(())
    }

    /// Runs one of the product's tools against the lab.
    pub fn run<'a>(&self, lab: &Lab, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", lab.kubeconfig());
        output(command, None)
    }

    /// The same of `switchover plan`, which ends with 3 where something wouldn't fit.
    pub fn plan<'a>(&self, lab: &Lab, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("plan").args(arguments).env("KUBECONFIG", lab.kubeconfig());
        let output = command.output().context("switchover plan can't be run")?;
        let told = matches!(output.status.code(), Some(0 | 3));
        ensure!(told, "switchover plan: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Applies the demo service, which opts its namespace in, and waits until all its replicas are available.
pub fn shop(lab: &Lab) -> Result<()> {
    apply(lab, &shop_manifest(lab)?)?;
    kubectl(lab, ["-n", "orders", "rollout", "status", "deployment/shop", "--timeout=90s"]).map(drop)
}

/// The demo service as it is applied.
pub fn shop_manifest(lab: &Lab) -> Result<String> {
    Ok(include_str!("../manifests/shop.yaml").replace("@DATABASE_URL@", &lab.database_url()?))
}

/// `kubectl apply` of a text.
pub fn apply(lab: &Lab, manifest: &str) -> Result<String> {
    let mut command = Command::new(tools::kubectl()?);
    command.args(["apply", "-f", "-"]).env("KUBECONFIG", lab.kubeconfig());
    output(command, Some(manifest))
}

/// Runs kubectl as administrator and returns what it printed.
pub fn kubectl<'a>(lab: &Lab, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    let mut command = Command::new(tools::kubectl()?);
    command.args(arguments).env("KUBECONFIG", lab.kubeconfig());
    output(command, None)
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn output(mut command: Command, input: Option<&str>) -> Result<String> {
    let shown = format!("{command:?}");
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {shown}"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes())?;
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    ensure!(status.success(), "{shown}: {status}: {}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
