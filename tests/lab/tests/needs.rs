//! What somebody is told whose machine lacks something: `tests/lab/needs` with machines that are folders of programs.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What is on every Debian.
const BASE: [&str; 7] = ["bash", "sh", "sed", "sort", "head", "dirname", "uname"];

const GET_RUST: &str = "install rustup (https://rustup.rs), which takes the version from rust-toolchain.toml";
const GET_GO: &str = "install Go 1.24 or newer (https://go.dev/dl)";

/// A machine: what is on its PATH, and who works there.
struct Machine {
    folder: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("switchover-needs-{}-{name}", std::process::id()));
        let machine = Self { folder };
        fs::create_dir_all(&machine.folder).unwrap();
        for program in BASE {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {program}"));
            symlink(found, machine.folder.join(program)).unwrap();
        }
        machine.says("id", "0").says("apt-get", "")
    }

    /// A program that prints this, whatever it is asked.
    fn says(self, program: &str, printed: &str) -> Self {
        self.does(program, &format!("echo '{printed}'"))
    }

    fn does(self, program: &str, script: &str) -> Self {
        let path = self.folder.join(program);
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn without(self, program: &str) -> Self {
        fs::remove_file(self.folder.join(program)).unwrap();
        self
    }

    fn with_rust(self) -> Self {
        self.says("cargo", "cargo 1.97.1 (abc 2026-09-01)").says("rustc", "rustc 1.97.1 (abc 2026-09-01)")
    }

    /// All that `make quick` needs.
    fn for_quick(self) -> Self {
        self.with_rust().says("cc", "")
    }

    /// Whether it will do, and what is said.
    fn told(&self, loop_: &str, environment: &[(&str, &str)]) -> (bool, Vec<String>) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("needs");
        let output = Command::new(script)
            .arg(loop_)
            .env_clear()
            .env("PATH", &self.folder)
            .env("HOME", &self.folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said.lines().map(str::to_owned).collect())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn what_is_missing_is_said_in_one_sentence_with_what_to_run() {
    let compiler = "make: this machine lacks a C compiler with its headers";
    let rows = [
        ("all-there", "quick", Machine::new("all-there").for_quick(), vec![]),
        (
            "bare",
            "quick",
            Machine::new("bare"),
            vec![
                format!("make: Rust is missing: {GET_RUST}"),
                format!("{compiler}: apt-get install gcc libc6-dev (or say INSTALL=1, and make does it)"),
            ],
        ),
        (
            "old Rust",
            "quick",
            Machine::new("old-rust").for_quick().says("rustc", "rustc 1.63.0"),
            vec![format!("make: Rust 1.63.0 is too old, 1.95 is the oldest that will do: {GET_RUST}")],
        ),
        ("just new enough", "quick", Machine::new("new").for_quick().says("rustc", "rustc 1.95.0 (a)"), vec![]),
        (
            "a compiler without headers",
            "quick",
            Machine::new("headers").for_quick().does("cc", "exit 1"),
            vec![format!("{compiler}: apt-get install gcc libc6-dev (or say INSTALL=1, and make does it)")],
        ),
        (
            "not root",
            "quick",
            Machine::new("person").with_rust().says("id", "1000"),
            vec![format!("{compiler}: apt-get install gcc libc6-dev")],
        ),
        (
            "not root, with sudo",
            "quick",
            Machine::new("sudo").with_rust().says("id", "1000").says("sudo", ""),
            vec![format!("{compiler}: sudo apt-get install gcc libc6-dev")],
        ),
        (
            "no Debian",
            "quick",
            Machine::new("fedora").with_rust().without("apt-get"),
            vec![format!("{compiler}: install it (on Debian: apt-get install gcc libc6-dev)")],
        ),
        (
            "no Go",
            "light",
            Machine::new("go").for_quick(),
            vec![format!("make: Go is missing, which builds Kubernetes once: {GET_GO}")],
        ),
        (
            "Debian's Go",
            "light",
            Machine::new("old-go").for_quick().says("go", "go version go1.19.8 linux/amd64"),
            vec![format!("make: Go 1.19.8 is too old: {GET_GO}")],
        ),
        ("a newer Go", "light", Machine::new("new-go").for_quick().says("go", "go version go1.26 linux/amd64"), vec![]),
        (
            "no C++",
            "fuzz",
            Machine::new("fuzz").for_quick(),
            vec![
                "make: this machine lacks a C++ compiler: apt-get install g++ (or say INSTALL=1, and make does it)"
                    .into(),
            ],
        ),
        (
            "no release yet",
            "release",
            Machine::new("release").for_quick().says("go", "go version go1.26 linux/amd64").says("uname", "x86_64"),
            vec![
                "make: this machine lacks a C compiler for arm64, openssl, rpm, lintian, git: apt-get install \
                 gcc-aarch64-linux-gnu libc6-dev-arm64-cross openssl rpm lintian git (or say INSTALL=1, and make does it)"
                    .into(),
            ],
        ),
    ];
    for (name, loop_, machine, expected) in rows {
        assert_eq!(machine.told(loop_, &[]), (expected.is_empty(), expected), "{name}");
    }
}

#[test]
fn the_lab_wants_root_and_says_what_there_is_without() {
    let person = Machine::new("lab").for_quick().says("id", "1000").says("go", "go version go1.26.8 linux/amd64");
    let (enough, said) = person.told("demo", &[]);
    assert!(!enough);
    assert_eq!(
        said[0],
        "make: the lab makes network namespaces, which needs root: run it with sudo; without root there are make quick \
         and make test-light"
    );
    let lacks = said.iter().find(|line| line.starts_with("make: this machine lacks ip, nsenter, setpriv"));
    assert!(lacks.is_some_and(|line| line.contains("apt-get install iproute2 util-linux")), "{said:?}");
}

#[test]
fn rustups_own_cargo_fetches_what_it_needs_and_is_not_asked() {
    let machine = Machine::new("rustup").for_quick().says("rustc", "rustc 1.63.0").without("cargo");
    let machine = machine.does("rustup", "exit 1");
    symlink(machine.folder.join("rustup"), machine.folder.join("cargo")).unwrap();
    assert_eq!(machine.told("quick", &[]), (true, vec![]));
}

#[test]
fn what_debian_has_is_installed_by_root_who_says_so() {
    let machine = Machine::new("install").with_rust();
    let asked = machine.folder.join("asked");
    let machine = machine.does("apt-get", &format!("echo \"$@\" >> {}", asked.display()));
    assert_eq!(machine.told("quick", &[("INSTALL", "1")]), (true, vec![]));
    assert_eq!(fs::read_to_string(asked).unwrap(), "install -y -qq --no-install-recommends gcc libc6-dev\n");
}

#[test]
fn a_machine_without_package_lists_fetches_them_first_and_a_failure_is_said() {
    let machine = Machine::new("lists").with_rust();
    let lists = machine.folder.join("lists");
    let fails = format!("[ \"$1\" = update ] && : > {0}; [ -e {0} ] || exit 100", lists.display());
    let machine = machine.does("apt-get", &fails);
    assert_eq!(machine.told("quick", &[("INSTALL", "1")]), (true, vec![]));

    let machine = machine.does("apt-get", "exit 100");
    let failed = vec!["make: it could not be installed: apt-get install gcc libc6-dev".to_owned()];
    assert_eq!(machine.told("quick", &[("INSTALL", "1")]), (false, failed));
}
