//! The programs of the test beds: what is built or fetched, and where it lies in the cache.
//!
//! Everything is found by a key that covers what it was made from. So a finished directory never goes stale, and a
//! changed pin makes a new one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// Programs built from one Go module. The module's files are part of this binary, so that it works from anywhere.
#[derive(Debug)]
pub struct GoModule {
    pub name: &'static str,
    /// (file name, content) of go.mod, go.sum and sources.
    pub files: &'static [(&'static str, &'static str)],
    /// What `go build` is asked for.
    pub package: &'static str,
    pub programs: &'static [&'static str],
    /// Build tags, separated by commas.
    pub tags: Option<&'static str>,
}

/// A module of which there is nothing but what it pins, in the folder of its name.
macro_rules! go_module {
    ($name:literal, $package:expr, $programs:expr) => {
        GoModule {
            name: $name,
            files: &[
                ("go.mod", include_str!(concat!("../go/", $name, "/go.mod"))),
                ("go.sum", include_str!(concat!("../go/", $name, "/go.sum"))),
            ],
            package: $package,
            programs: $programs,
            tags: None,
        }
    };
}

/// The programs of Kubernetes.
pub const KUBE: GoModule =
    go_module!("kube", "tool", &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"]);

/// Control planes of other minor versions than the one that the beds have, oldest first: what is promised is tried on them.
pub static OTHER_KUBES: [GoModule; 3] = [
    go_module!("kube-1.34", "tool", &CONTROL_PLANE),
    go_module!("kube-1.35", "tool", &CONTROL_PLANE),
    go_module!("kube-1.36", "tool", &CONTROL_PLANE),
];

const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// What control planes are made of: `SWITCHOVER_LAB_KUBERNETES=1.36` has the light bed take another minor version.
pub fn control_plane() -> Result<&'static GoModule> {
    let wanted = env::var("SWITCHOVER_LAB_KUBERNETES").unwrap_or_default();
    let pinned = KUBE.kubernetes_version().unwrap_or_default();
    if wanted.is_empty() || pinned.strip_prefix(&wanted).is_some_and(|patch| patch.starts_with('.')) {
        return Ok(&KUBE);
    }
    let other = OTHER_KUBES.iter().find(|module| module.name.strip_prefix("kube-") == Some(wanted.as_str()));
    other.with_context(|| {
        let names = OTHER_KUBES.iter().filter_map(|module| module.name.strip_prefix("kube-"));
        format!(
            "SWITCHOVER_LAB_KUBERNETES: there is no {wanted}; there are {} and {pinned}",
            names.collect::<Vec<_>>().join(", ")
        )
    })
}

/// The store of Kubernetes and of Patroni.
pub const ETCD: GoModule = go_module!("etcd", "go.etcd.io/etcd/server/v3", &["etcd"]);

/// Fake nodes.
pub const KWOK: GoModule = go_module!("kwok", "sigs.k8s.io/kwok/cmd/kwok", &["kwok"]);

/// What installs deploy/chart.
pub const HELM: GoModule = go_module!("helm", "helm.sh/helm/v4/cmd/helm", &["helm"]);

/// The Helm that many still have. One scene alone uses it.
pub const HELM_3: GoModule = go_module!("helm-3", "helm.sh/helm/v3/cmd/helm", &["helm"]);

/// What Flux, Helm and others make of a status. One scene alone uses it.
pub const KSTATUS: GoModule = GoModule {
    name: "kstatus",
    files: &[
        ("go.mod", include_str!("../go/kstatus/go.mod")),
        ("go.sum", include_str!("../go/kstatus/go.sum")),
        ("main.go", include_str!("../go/kstatus/main.go")),
    ],
    package: ".",
    programs: &["kstatus"],
    tags: None,
};

/// What the movement is compared with. Benches alone use it.
pub const DESCHEDULER: GoModule =
    go_module!("descheduler", "sigs.k8s.io/descheduler/cmd/descheduler", &["descheduler"]);

/// What scrapes the product and goes by its alerts. One scene alone uses it, without the clouds that it would find its targets in.
pub const PROMETHEUS: GoModule = GoModule {
    tags: Some("remove_all_sd,enable_kubernetes_sd"),
    ..go_module!("prometheus", "github.com/prometheus/prometheus/cmd/prometheus", &["prometheus"])
};

/// What keeps Kubernetes' state in a database of SQL, in place of etcd. Two data centres alone use it.
pub const KINE: GoModule = go_module!("kine", "github.com/k3s-io/kine", &["kine"]);

/// What holds a pod's namespaces.
pub const PAUSE: GoModule = GoModule {
    name: "pause",
    files: &[("go.mod", include_str!("../go/pause/go.mod")), ("main.go", include_str!("../go/pause/main.go"))],
    package: ".",
    programs: &["pause"],
    tags: None,
};

/// Debian packages that are unpacked together, and never installed.
#[derive(Debug)]
pub struct Packages {
    pub name: &'static str,
    pub packages: &'static [&'static str],
}

/// What a node runs beside the kubelet.
pub const NODE_PACKAGES: Packages =
    Packages { name: "node", packages: &["containerd", "runc", "containernetworking-plugins"] };

/// What a dynamically linked Rust program needs in its image.
pub const BASE_PACKAGES: Packages = Packages { name: "base", packages: &["libc6", "libgcc-s1"] };

/// A MariaDB server, its client, and the libraries that a Debian without it doesn't have.
pub const MARIADB_PACKAGES: Packages = Packages {
    name: "mariadb",
    packages: &["mariadb-server-core", "mariadb-client-core", "libaio1", "libnuma1", "liburing2"],
};

/// Prometheus' tool that checks and tests rules of alerts.
pub const PROMTOOL_PACKAGES: Packages = Packages { name: "promtool", packages: &["prometheus"] };

impl GoModule {
    /// The linker flags. The version strings are all that distinguishes a build from Kubernetes' own.
    pub fn linker_flags(&self) -> String {
        let Some(version) = self.kubernetes_version() else { return "-s -w".to_owned() };
        let mut parts = version.split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let package = "k8s.io/component-base/version";
        format!("-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
    }

    /// The release of Kubernetes that go.mod pins, without the v, if this module builds Kubernetes.
    pub fn kubernetes_version(&self) -> Option<&'static str> {
        let (_, go_mod) = self.files.iter().find(|_| self.name.starts_with("kube"))?;
        go_mod.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v")?.split_whitespace().next())
    }

    fn key(&self) -> String {
        let mut parts: Vec<&str> = self.files.iter().flat_map(|(name, content)| [*name, *content]).collect();
        let flags = self.linker_flags();
        parts.extend([self.package, &flags, env::consts::ARCH]);
        parts.extend(self.tags);
        key(&parts)
    }
}

impl Packages {
    fn key(&self) -> String {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let mut parts = self.packages.to_vec();
        parts.extend([release.as_str(), env::consts::ARCH]);
        key(&parts)
    }
}

/// The directory that holds all built and fetched tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    pub directory: PathBuf,
}

impl Cache {
    /// `$SWITCHOVER_LAB_CACHE`, else `~/.cache/switchover-lab`.
    pub fn from_environment() -> Result<Cache> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = match (set("SWITCHOVER_LAB_CACHE"), set("XDG_CACHE_HOME"), set("HOME")) {
            (Some(directory), _, _) => directory,
            (None, Some(cache), _) => cache.join("switchover-lab"),
            (None, None, Some(home)) => home.join(".cache/switchover-lab"),
            (None, None, None) => bail!("HOME is not set; set SWITCHOVER_LAB_CACHE to a directory for the lab's tools"),
        };
        fs::create_dir_all(&directory).with_context(|| format!("cannot create the cache {}", directory.display()))?;
        let directory = directory.canonicalize().context("cannot resolve the cache's path")?;
        Ok(Cache { directory })
    }

    /// Where the programs of `module` lie once it is built.
    pub fn go(&self, module: &GoModule) -> PathBuf {
        self.directory.join("bin").join(format!("{}-{}", module.name, module.key()))
    }

    /// Where `packages` are unpacked.
    pub fn debian(&self, packages: &Packages) -> PathBuf {
        self.directory.join("debian").join(format!("{}-{}", packages.name, packages.key()))
    }

    /// The image archive of the pause container.
    pub fn pause_image(&self) -> PathBuf {
        self.directory.join("images").join(format!("pause-{}.tar", PAUSE.key()))
    }

    /// The layer with the C library that images of dynamically linked programs start from.
    pub fn base_layer(&self) -> PathBuf {
        self.directory.join("images").join(format!("base-{}.tar", BASE_PACKAGES.key()))
    }

    /// The stages that the light bed's fake nodes and pods go through.
    pub fn stages(&self) -> PathBuf {
        self.go(&KWOK).join("stages.yaml")
    }

    /// What is not yet there of `wanted`, or a sentence that says how to get it.
    pub fn require(&self, wanted: &[PathBuf]) -> Result<()> {
        match wanted.iter().find(|path| !path.exists()) {
            None => Ok(()),
            Some(missing) => bail!(
                "the lab's tools are not all built: {} is missing. Run `lab prepare` (the first time it takes about \
                 10 minutes and needs Go and the network)",
                missing.display()
            ),
        }
    }

    /// Refuses unless everything for the full lab is there.
    pub fn require_lab(&self) -> Result<()> {
        self.require(&[self.go(&KUBE), self.go(&ETCD), self.debian(&NODE_PACKAGES), self.pause_image()])
    }

    /// Refuses unless everything for the light bed is there.
    pub fn require_light(&self) -> Result<()> {
        self.require(&[self.go(&KUBE), self.go(control_plane()?), self.go(&ETCD), self.stages()])
    }
}

/// The kubectl that was built with the cluster.
pub fn kubectl() -> Result<PathBuf> {
    let path = Cache::from_environment()?.go(&KUBE).join("kubectl");
    Cache::from_environment()?.require(std::slice::from_ref(&path))?;
    Ok(path)
}

/// The Helm that installs charts here.
pub fn helm() -> Result<PathBuf> {
    let path = Cache::from_environment()?.go(&HELM).join("helm");
    Cache::from_environment()?.require(std::slice::from_ref(&path))?;
    Ok(path)
}

/// Helm with folders of its own below `home`, so that nothing of this machine's user counts.
pub fn helm_at_home(helm: &Path, home: &Path) -> Command {
    let mut command = Command::new(helm);
    for (variable, folder) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
    {
        command.env(variable, home.join("helm").join(folder));
    }
    command.env("HOME", home);
    command
}

/// Refuses if a program that the lab calls is not installed.
pub fn require_programs(programs: &[(&str, &str)]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = |program: &str| env::split_paths(&path).any(|directory| directory.join(program).is_file());
    match programs.iter().find(|(program, _)| !found(program)) {
        None => Ok(()),
        Some((program, package)) => {
            bail!("the program `{program}` is not installed; install it (Debian package {package})")
        }
    }
}

fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())[..12].to_owned()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fills `target` in one step: `make` writes into a directory beside it, which is renamed when it is complete.
pub(crate) fn make_once(target: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    let parent = target.parent().context("a cache path has a parent")?;
    let name = target.file_name().context("a cache path has a name")?.to_string_lossy();
    let building = parent.join(format!(".building-{name}"));
    let _ = fs::remove_dir_all(&building);
    fs::create_dir_all(&building).with_context(|| format!("cannot create {}", building.display()))?;
    make(&building)?;
    fs::rename(&building, target).with_context(|| format!("cannot move {} into place", building.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_pin_in_go_mod() {
        let version = KUBE.kubernetes_version().unwrap();
        assert!(version.split('.').count() == 3, "{version}");
        assert!(KUBE.linker_flags().contains(&format!("gitVersion=v{version} ")));
        assert_eq!((ETCD.kubernetes_version(), ETCD.linker_flags().as_str()), (None, "-s -w"));
        for other in &OTHER_KUBES {
            let minor = other.name.strip_prefix("kube-").unwrap();
            assert!(other.kubernetes_version().unwrap().starts_with(&format!("{minor}.")), "{}", other.name);
        }
    }

    #[test]
    fn every_module_has_its_own_place() {
        let cache = Cache { directory: "/cache".into() };
        let places: std::collections::BTreeSet<_> = [&KUBE, &ETCD, &KWOK, &PAUSE].map(|module| cache.go(module)).into();
        assert_eq!(places.len(), 4);
    }
}
