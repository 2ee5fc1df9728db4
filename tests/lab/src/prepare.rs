//! `lab prepare`: builds and fetches the tools into the cache. Instant when everything is there.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::{
    image::{self, Image},
    patroni::Patroni,
    tools::{self, BASE_PACKAGES, Cache, ETCD, GoModule, HELM, KUBE, KWOK, NODE_PACKAGES, PAUSE, Packages},
};

/// Lines for the person who waits.
pub type Progress<'a> = &'a dyn Fn(&str);

/// How often a long build says that it is still alive.
const REPORT_EVERY: Duration = Duration::from_secs(15);

/// What to prepare for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Lab,
    /// Control plane, kwok and Helm only.
    Light,
}

/// Builds and fetches everything that is missing.
pub fn prepare(cache: &Cache, scope: Scope, progress: Progress<'_>) -> Result<()> {
    let _lock = lock(cache)?;
    // Helm is made of parts of Kubernetes, which Go keeps: last.
    let mut modules = vec![&ETCD, &KWOK, &PAUSE, &KUBE, &HELM];
    let chosen = tools::control_plane()?;
    if chosen.name != KUBE.name {
        modules.push(chosen);
    }
    if modules.iter().any(|module| !cache.go(module).exists()) {
        require_go()?;
        progress("building Kubernetes and its companions with Go: about 10 minutes the first time on two processors");
    }
    for module in modules {
        build_once(cache, module, progress)?;
    }
    if scope == Scope::Light {
        return Ok(());
    }
    for packages in [&NODE_PACKAGES, &BASE_PACKAGES] {
        fetch(cache, packages, progress)?;
    }
    fs::create_dir_all(cache.directory.join("images"))?;
    if !cache.base_layer().exists() {
        image::write_base_layer(&cache.debian(&BASE_PACKAGES), &cache.base_layer())?;
    }
    if !cache.pause_image().exists() {
        let pause = Image {
            base: None,
            binaries: vec![(cache.go(&PAUSE).join("pause"), "/pause".to_owned())],
            reference: PAUSE_REFERENCE.to_owned(),
            entrypoint: vec!["/pause".to_owned()],
            user: "65535:65535".to_owned(),
        };
        pause.write(&cache.pause_image())?;
    }
    Patroni::prepare(&cache.directory, progress)
}

/// The image that holds a pod's namespaces.
pub const PAUSE_REFERENCE: &str = "switchover.dev/lab-pause:1";

/// Fetches Debian packages, if that wasn't done yet, and returns the directory that they are unpacked in.
pub fn prepare_packages(cache: &Cache, packages: &Packages, progress: Progress<'_>) -> Result<PathBuf> {
    let _lock = lock(cache)?;
    fetch(cache, packages, progress)
}

/// Builds a program that only some need, if that wasn't done yet, and returns the directory that it lies in.
pub fn prepare_program(cache: &Cache, module: &GoModule, progress: Progress<'_>) -> Result<PathBuf> {
    let _lock = lock(cache)?;
    if !cache.go(module).exists() {
        require_go()?;
    }
    build_once(cache, module, progress)?;
    Ok(cache.go(module))
}

fn build_once(cache: &Cache, module: &GoModule, progress: Progress<'_>) -> Result<()> {
    let label = format!("{} ({})", module.name, module.programs.join(", "));
    step(progress, &label, &cache.go(module), |directory| build(module, directory, progress))
}

/// Two at once would build the same thing twice on the same processors; the second waits and then finds it done.
fn lock(cache: &Cache) -> Result<Flock<fs::File>> {
    let lock = fs::File::create(cache.directory.join("prepare.lock")).context("cannot write to the cache")?;
    Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
}

fn fetch(cache: &Cache, packages: &Packages, progress: Progress<'_>) -> Result<PathBuf> {
    let label = format!("Debian packages {}", packages.packages.join(", "));
    let directory = cache.debian(packages);
    fs::create_dir_all(directory.parent().context("a cache path has a parent")?)?;
    step(progress, &label, &directory, |directory| unpack(packages, directory))?;
    Ok(directory)
}

fn step(progress: Progress<'_>, label: &str, target: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    progress(&format!("{label} …"));
    let start = Instant::now();
    tools::make_once(target, make)?;
    progress(&format!("{label}: done in {} s", start.elapsed().as_secs()));
    Ok(())
}

fn require_go() -> Result<()> {
    tools::require_programs(&[("go", "golang-go")]).context(
        "Go is needed once, to build Kubernetes, etcd, kwok and Helm from their published modules; \
         install Go 1.24 or newer (https://go.dev/dl), which fetches the exact version that the modules ask for",
    )
}

/// Builds one module into `directory`.
fn build(module: &GoModule, directory: &Path, progress: Progress<'_>) -> Result<()> {
    let source = directory.join("source");
    fs::create_dir(&source)?;
    for (name, content) in module.files {
        fs::write(source.join(name), content)?;
    }
    // With a final slash Go names each program by itself; `server` of etcd needs its name told.
    let out = match module.programs {
        [program] => directory.join(program).into_os_string(),
        _ => directory.join("").into_os_string(),
    };
    let mut command = Command::new("go");
    command
        .args([
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            "-tags",
            module.tags.unwrap_or_default(),
            "-ldflags",
            &module.linker_flags(),
            "-o",
        ])
        .arg(out)
        .arg(module.package)
        .current_dir(&source)
        .env("CGO_ENABLED", "0");
    watch(command, &format!("go build of {}", module.name), progress)?;
    for program in module.programs {
        ensure!(directory.join(program).exists(), "go build of {} made no {program}", module.name);
    }
    if module.name == KWOK.name {
        fs::write(directory.join("stages.yaml"), stages(&source)?)?;
    }
    fs::remove_dir_all(&source).context("cannot remove the build's source directory")
}

/// Runs a build that names each compiled package on stderr, and reports how far it is.
fn watch(mut command: Command, label: &str, progress: Progress<'_>) -> Result<()> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start the {label}"))?;
    let stderr = child.stderr.take().context("the build has a stderr")?;
    let (mut packages, mut reported, mut last) = (0, start, Vec::new());
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        packages += usize::from(!line.starts_with("go: "));
        last.push(line);
        if last.len() > 20 {
            last.remove(0);
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            progress(&format!("  {packages} packages compiled, {} s", start.elapsed().as_secs()));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the {label} failed ({status}); its last lines:\n{}", last.join("\n"));
    Ok(())
}

/// The stages that kwok's own "fast" set consists of, out of the module that was just built.
fn stages(module: &Path) -> Result<String> {
    let found = output(
        Command::new("go").args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]).current_dir(module),
        "go list of kwok",
    )?;
    let stage = Path::new(found.trim()).join("kustomize/stage");
    let read = |file: &str| {
        fs::read_to_string(stage.join(file)).with_context(|| format!("kwok's module has no kustomize/stage/{file}"))
    };
    Ok([
        read("node/fast/node-initialize.yaml")?,
        read("node/heartbeat-with-lease/node-heartbeat-with-lease.yaml")?,
        with_delay(&read("pod/fast/pod-ready.yaml")?, "pod-ready")?,
        read("pod/fast/pod-complete.yaml")?,
        with_delay(&read("pod/fast/pod-delete.yaml")?, "pod-delete")?,
    ]
    .join("---\n"))
}

/// Lets an annotation of the pod delay a stage, under the same name as in kwok's slower set of stages.
fn with_delay(stage: &str, name: &str) -> Result<String> {
    let delay = format!(
        "  delay:\n    durationMilliseconds: 0\n    durationFrom:\n      expressionFrom: \
         '.metadata.annotations[\"{name}.stage.kwok.x-k8s.io/delay\"]'\n  next:\n"
    );
    ensure!(stage.matches("  next:\n").count() == 1, "kwok's stage {name} has changed its shape");
    Ok(stage.replacen("  next:\n", &delay, 1))
}

/// Downloads packages and unpacks them into `directory`. Nothing is installed.
fn unpack(packages: &Packages, directory: &Path) -> Result<()> {
    tools::require_programs(&[("apt-get", "apt"), ("dpkg", "dpkg")])?;
    let archives = directory.join("archives");
    fs::create_dir(&archives)?;
    if download(packages, &archives).is_err() {
        // Most likely the package lists are missing or old.
        output(Command::new("apt-get").args(["-qq", "update"]), "apt-get update")?;
        download(packages, &archives)?;
    }
    for archive in fs::read_dir(&archives)? {
        output(Command::new("dpkg").arg("-x").arg(archive?.path()).arg(directory), "dpkg -x")?;
    }
    fs::remove_dir_all(&archives).context("cannot remove the downloaded packages")
}

fn download(packages: &Packages, archives: &Path) -> Result<()> {
    // The sandbox user of apt may not write to the cache, which usually lies in somebody's home.
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(packages.packages).current_dir(archives);
    output(&mut command, &format!("apt-get download {}", packages.packages.join(" "))).map(drop)
}

/// Runs a short command and returns what it printed.
pub(crate) fn output(command: &mut Command, label: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {label}"))?;
    if !output.status.success() {
        bail!("{label} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_gets_a_delay_that_an_annotation_sets() {
        let stage = with_delay("spec:\n  next:\n    delete: true\n", "pod-delete").unwrap();
        assert!(stage.starts_with("spec:\n  delay:\n    durationMilliseconds: 0\n"), "{stage}");
        assert!(stage.contains("annotations[\"pod-delete.stage.kwok.x-k8s.io/delay\"]"), "{stage}");
        assert!(stage.ends_with("  next:\n    delete: true\n"), "{stage}");
        assert!(with_delay("spec: {}\n", "pod-delete").is_err());
    }
}
