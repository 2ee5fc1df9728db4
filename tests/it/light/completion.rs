//! What TAB offers, asked as kubectl and bash ask it.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::task::block_in_place;

use super::support::{Patroni, Scene, scene};

/// A folder with the program under the names that it is installed by, beside kubectl.
struct Installed {
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl Installed {
    fn new(scene: &Scene) -> Result<Self> {
        let folder = scene.world.bed.directory().join("completion");
        fs::create_dir_all(&folder)?;
        let product = Path::new(env!("CARGO_BIN_EXE_switchover"));
        symlink(product, folder.join("switchover"))?;
        symlink(product, folder.join("kubectl-switchover"))?;
        symlink(lab::tools::kubectl()?, folder.join("kubectl"))?;
        let asks = folder.join("kubectl_complete-switchover");
        fs::write(&asks, scene.world.switchover(&["completion", "kubectl"])?)?;
        fs::set_permissions(&asks, fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, kubeconfig: scene.world.bed.kubeconfig() })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.folder.display()));
        let output = block_in_place(|| command.output())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Of `kubectl switchover WORDS<TAB>`, without what stands beside them.
    fn by_kubectl(&self, words: &[&str]) -> Result<BTreeSet<String>> {
        let told = self.run("kubectl", &[&["__complete", "switchover"], words].concat())?;
        let words = told.lines().filter(|line| !line.starts_with(':'));
        Ok(words.map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect())
    }

    /// Of `switchover WORDS<TAB>`.
    fn by_bash(&self, words: &[&str]) -> Result<BTreeSet<String>> {
        let script = format!(
            "source <(switchover completion bash); COMP_WORDS=(switchover \"$@\"); COMP_CWORD={}; \
             _clap_complete_switchover switchover \"${{@: -1}}\" '' 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len()
        );
        let told = self.run("bash", &[&["-c", &*script, "bash"], words].concat())?;
        Ok(told.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

#[test]
fn tab_offers_what_there_is_in_the_cluster() {
    scene("completion", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled("dc1-1=closely dc3-1=far").await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
        let web = scene.workload(&namespace, "web");
        web.deployment(1).await?;
        let pod = web.pod_names().await?.pop().context("no pod")?;
        let (near, far) = (scene.node("dc1-1"), scene.node("dc3-1"));
        let installed = Installed::new(scene)?;

        let one = |name: &str| BTreeSet::from([name.to_owned()]);
        let members = ["pg1", "pg2", "pg3"].map(str::to_owned);
        let rows: [(&[&str], BTreeSet<String>); 11] = [
            (&["status", scene.name], one(scene.name)),
            (&["pause", "--namespace", &namespace], one(&namespace)),
            (&["plan", scene.name, "--to", "pg"], members.clone().into()),
            (&["resume", scene.name, "--primary", "pg2"], one("pg2")),
            (&["plan", "--without", &format!("{near},{far}")], one(&format!("{near},{far}"))),
            (&["explain", "-n", &namespace, &pod[..4]], one(&pod)),
            (&["explain", "-n", &namespace, "sta"], one("statefulset/")),
            (&["explain", "-n", &namespace, "deploy/"], one("deploy/web")),
            (&["explain", &format!("no/{far}")], one(&format!("no/{far}"))),
            (&["move", &namespace], one(&format!("{namespace}/"))),
            (&["move", &format!("{namespace}/")], one(&format!("{namespace}/deployment/web"))),
        ];
        for (words, expected) in rows {
            assert_eq!(installed.by_kubectl(words)?, expected, "kubectl: {words:?}");
            assert_eq!(installed.by_bash(words)?, expected, "bash: {words:?}");
        }
        Ok(())
    });
}

#[test]
fn tab_says_nothing_of_a_cluster_that_gives_no_answer() {
    scene("completion-silent", async |scene| {
        // It takes connections, and says nothing on them.
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let kubeconfig = scene.world.bed.directory().join("silent.kubeconfig");
        let server = format!("http://{}", silent.local_addr()?);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "silent",
            "clusters": [{"name": "silent", "cluster": {"server": server}}],
            "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "nobody"}}],
            "users": [{"name": "nobody", "user": {}}],
        });
        fs::write(&kubeconfig, config.to_string())?;
        let nothing = (0, ":4\n".to_owned(), String::new());
        for kubeconfig in [&*kubeconfig, Path::new("/nonexistent/kubeconfig")] {
            let told = block_in_place(|| scene.world.switchover_as(kubeconfig, &["__complete", "--", "status", "x"]))?;
            assert_eq!(told, nothing, "{}", kubeconfig.display());
        }
        let contexts = ["__complete", "--", "status", "--context", ""];
        let told = block_in_place(|| scene.world.switchover_as(&kubeconfig, &contexts))?;
        assert_eq!(told.1, "silent\n:4\n", "contexts are in the file");
        Ok(())
    });
}
