//! How long files are, what must not be left in them, and what two files must say alike.

use crate::{files::Files, tokens::tokens};

/// Lines of a Rust file, at most: what is longer is split by noun.
const MOST_LINES: usize = 450;
/// Longer files, each with the reason why it is one file.
const LONG: [(&str, &str); 0] = [];

/// Files that are too long, and exceptions that are none any more.
pub fn lengths(files: &Files) -> Vec<String> {
    lengths_but(files, &LONG)
}

fn lengths_but(files: &Files, exceptions: &[(&str, &str)]) -> Vec<String> {
    let long =
        files.ending(".rs").map(|(path, text)| (path, text.lines().count())).filter(|(_, lines)| *lines > MOST_LINES);
    let (known, new): (Vec<_>, Vec<_>) = long.partition(|(path, _)| exceptions.iter().any(|(it, _)| it == path));
    let mut findings: Vec<String> = new
        .into_iter()
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {MOST_LINES} are good to read"))
        .collect();
    let idle = exceptions.iter().filter(|(path, _)| !known.iter().any(|(it, _)| it == path));
    findings.extend(idle.map(|(path, _)| format!("{path}: it is not long: drop the exception")));
    findings
}

/// What one leaves while one works, and lints that are silenced for good: `expect` says when there is nothing left to silence.
pub fn leftovers(files: &Files) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in files.ending(".rs") {
        let tokens = tokens(text);
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1);
            let what = match token.word() {
                Some(name @ ("dbg" | "todo" | "unimplemented")) if next.is_some_and(|token| token.is('!')) => {
                    format!("{name}!")
                }
                // `#[allow` and `#![allow`.
                Some("allow") if at > 0 && tokens[at - 1].is('[') => "allow: write expect".to_owned(),
                _ => continue,
            };
            findings.push(format!("{path}:{}: {what}", token.line));
        }
    }
    findings
}

/// Cargo.toml promises the compiler that rust-toolchain.toml builds with, because no other one is tried.
pub fn compiler(files: &Files) -> Vec<String> {
    let says = |path: &str, key: &str| {
        let lines = files.text(path).unwrap_or_default().lines();
        let mut values =
            lines.filter_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= \"")?.split('"').next());
        values.next().unwrap_or_default().to_owned()
    };
    let (promised, built) = (says("Cargo.toml", "rust-version"), says("rust-toolchain.toml", "channel"));
    let same = !built.is_empty() && (built == promised || built == format!("{promised}.0"));
    let told = format!("Cargo.toml promises Rust {promised:?}, rust-toolchain.toml builds with {built:?}");
    (!same).then_some(told).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_idle_exceptions_are_found() {
        let long = "//\n".repeat(MOST_LINES + 1);
        let fine = "//\n".repeat(MOST_LINES);
        let files = Files::from([("a.rs", &*long), ("b.rs", &*long), ("c.rs", &*fine), ("d.md", &*long)]);
        assert_eq!(
            lengths_but(&files, &[("b.rs", "a table"), ("c.rs", "a table")]),
            ["a.rs: 451 lines, at most 450 are good to read", "c.rs: it is not long: drop the exception"]
        );
    }

    #[test]
    fn leftovers_are_found() {
        let rust = "#![allow(x)]\n#[allow(y)] #[expect(z)] fn f() { dbg!(1); \"todo!()\"; todo }\nfn allow() { todo!() } // dbg!";
        assert_eq!(
            leftovers(&Files::from([("a.rs", rust)])),
            ["a.rs:1: allow: write expect", "a.rs:2: allow: write expect", "a.rs:2: dbg!", "a.rs:3: todo!"]
        );
    }

    #[test]
    fn another_compiler_than_the_promised_one_is_told() {
        let check = |promised: &str, built: &str| {
            compiler(&Files::from([
                ("Cargo.toml", &*format!("[workspace.package]\nrust-version = \"{promised}\"\n")),
                ("rust-toolchain.toml", &*format!("[toolchain]\nchannel = \"{built}\"\n")),
            ]))
        };
        assert_eq!(check("1.95", "1.95.0"), [""; 0]);
        assert_eq!(
            check("1.89", "1.95.0"),
            ["Cargo.toml promises Rust \"1.89\", rust-toolchain.toml builds with \"1.95.0\""]
        );
        assert_eq!(compiler(&Files::default()).len(), 1);
    }
}
