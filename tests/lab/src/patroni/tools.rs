//! The programs that the database needs: Patroni in a Python environment of its own in the cache, and PostgreSQL.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{User, geteuid},
};
use sha2::{Digest, Sha256};

use crate::tools::{hex, make_once};

const REQUIREMENTS: &str = include_str!("../../python/requirements.txt");

/// The system's Python, because the database's user must be able to read it: one below a home directory is not.
const PYTHON: &str = "/usr/bin/python3";

/// Where Debian puts the programs of PostgreSQL 15.
pub const POSTGRES_BIN: &str = "/usr/lib/postgresql/15/bin";

/// The user that everything of the database runs as: PostgreSQL refuses root. Debian's packages create it.
pub(super) const USER: &str = "postgres";

/// Makes sure that Patroni and PostgreSQL are there.
pub(super) fn prepare(cache: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let path = cache.join("patroni.lock");
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    prepare_postgres(progress)?;
    let environment = environment(cache)?;
    if !environment.exists() {
        progress("Patroni: installing it into a Python environment of its own …");
        fs::create_dir_all(environment.parent().context("a cache path has a parent")?)?;
        make_once(&environment, install_patroni)?;
        progress("Patroni: done");
    }
    Ok(())
}

/// The Python of the prepared environment, or a sentence that says how to get it.
pub(super) fn python(cache: &Path) -> Result<PathBuf> {
    let python = environment(cache)?.join("bin/python");
    ensure!(python.exists(), "Patroni is not installed in the cache ({}); run `lab prepare`", python.display());
    Ok(python)
}

/// Found by a key that covers what it was made from, so it never goes stale.
fn environment(cache: &Path) -> Result<PathBuf> {
    let output = Command::new(PYTHON).arg("--version").output().with_context(|| {
        format!("the lab runs Patroni with {PYTHON}, which is not there; install it (Debian package python3-venv)")
    })?;
    let mut hash = Sha256::new();
    hash.update(REQUIREMENTS);
    hash.update(&output.stdout);
    Ok(cache.join("patroni").join(&hex(&hash.finalize())[..12]))
}

fn install_patroni(directory: &Path) -> Result<()> {
    let requirements = directory.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let target = directory.to_string_lossy();
    if run(&[PYTHON, "-m", "venv", "--clear", &target]).is_err() {
        // Debian's Python comes without venv until its package is there.
        apt_install(&["python3-venv"])?;
        run(&[PYTHON, "-m", "venv", "--clear", &target])?;
    }
    // --clear has emptied the directory.
    fs::write(&requirements, REQUIREMENTS)?;
    let python = directory.join("bin/python");
    run(&[
        &python.to_string_lossy(),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--requirement",
        &requirements.to_string_lossy(),
    ])
    .context("Patroni could not be installed; this needs the network (PyPI) once")
}

/// Makes sure that PostgreSQL is there.
pub fn prepare_postgres(progress: &dyn Fn(&str)) -> Result<()> {
    let postgres = Path::new(POSTGRES_BIN).join("postgres");
    if !postgres.exists() {
        progress("PostgreSQL 15: installing Debian's packages …");
        install_postgres().with_context(|| {
            format!("the lab needs PostgreSQL 15 in {POSTGRES_BIN}; install it by hand (Debian package postgresql-15)")
        })?;
        progress("PostgreSQL 15: done");
    }
    user().map(drop)
}

/// The database's user.
pub(super) fn user() -> Result<User> {
    User::from_name(USER)?.with_context(|| {
        format!("there is no user {USER}, as whom PostgreSQL runs; create it with `useradd --system {USER}`")
    })
}

fn install_postgres() -> Result<()> {
    apt_install(&["postgresql-common"])?;
    // Otherwise Debian's package starts a cluster of its own, which nobody asked for.
    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    let text = fs::read_to_string(settings).unwrap_or_default();
    if !text.lines().any(|line| line.trim_start().starts_with("create_main_cluster")) {
        fs::write(settings, format!("{text}\ncreate_main_cluster = false\n"))
            .with_context(|| format!("cannot write {}", settings.display()))?;
    }
    apt_install(&["postgresql-15"])
}

fn apt_install(packages: &[&str]) -> Result<()> {
    ensure!(geteuid().is_root(), "installing {} needs root", packages.join(" "));
    let command = [
        &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--no-install-recommends"],
        packages,
    ]
    .concat();
    if run(&command).is_err() {
        // A fresh machine has no package lists yet.
        run(&["apt-get", "update"])?;
        run(&command)?;
    }
    Ok(())
}

/// Runs a command to its end, with files that everybody may read whatever the caller's umask is.
fn run(command: &[&str]) -> Result<()> {
    let output = Command::new("sh")
        .args(["-c", "umask 022; exec \"$@\"", "sh"])
        .args(command)
        .output()
        .with_context(|| format!("cannot run `{}`", command.join(" ")))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(8)..].join("\n");
        bail!("`{}` failed ({}):\n{end}", command.join(" "), output.status);
    }
    Ok(())
}
