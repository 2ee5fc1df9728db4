//! How long files are, what must not be left in them, and what two files must say alike.

use crate::{
    files::Files,
    modules::{roots, tree},
    tokens::tokens,
};

/// Lines of a Rust file, at most: what is longer is split by noun.
const MOST_LINES: usize = 450;
/// Longer files, each with the reason why it is one file.
const LONG: [(&str, &str); 0] = [];

/// Files that are too long, and exceptions that are none any more.
pub(crate) fn lengths(files: &Files) -> Vec<String> {
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
pub(crate) fn leftovers(files: &Files) -> Vec<String> {
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

/// Public items of modules without a word on what they are. Fields, variants and methods may speak for themselves, which the
/// compiler's own lint wouldn't let them.
pub(crate) fn undocumented(files: &Files) -> Vec<String> {
    let mut findings = Vec::new();
    for root in roots(files).iter().filter(|root| root.ends_with("src/lib.rs")) {
        for module in tree(files, root).modules.iter().filter(|module| !module.test) {
            let text = files.text(&module.file).unwrap_or_default();
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines: Vec<&str> = product.lines().collect();
            let bare = (0..lines.len()).filter(|at| is_public_item(lines[*at]) && !is_documented(&lines[..*at]));
            findings.extend(bare.map(|at| format!("{}:{}: what is it? {}", module.file, at + 1, lines[at])));
        }
    }
    findings.sort();
    findings
}

fn is_public_item(line: &str) -> bool {
    const ITEMS: [&str; 9] = ["async", "const", "enum", "fn", "static", "struct", "trait", "type", "unsafe"];
    let word = line.strip_prefix("pub ").and_then(|rest| rest.split(' ').next());
    word.is_some_and(|word| ITEMS.contains(&word))
}

/// Whether what stands above an item's first line ends in its documentation; attributes may stand between.
fn is_documented(above: &[&str]) -> bool {
    let mut above = above.iter().rev();
    while let Some(line) = above.next() {
        // What people type is told by `--help`, whose words a documented struct would replace.
        let typed = line.starts_with("#[derive(") && line.contains("Args");
        if line.starts_with("///") || typed {
            return true;
        }
        // An attribute of several lines is walked up to its first.
        let closes = line.ends_with(']') && !line.starts_with('#') && above.any(|line| line.starts_with("#["));
        if !closes && !line.starts_with("#[") {
            return false;
        }
    }
    false
}

/// Cargo.toml promises the compiler that rust-toolchain.toml builds with, because no other one is tried.
pub(crate) fn compiler(files: &Files) -> Vec<String> {
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
    fn public_items_without_a_word_are_found() {
        let rust = "/// A.\n#[derive(\n    B,\n)]\n#[must_use]\npub struct C {\n    pub d: u8,\n}\nimpl C {\n    #[must_use]\n    pub fn e() {}\n\n\
                    /// F.\n    pub const fn f() {}\n}\npub(crate) fn g() {}\npub mod h;\n// No word for users.\npub enum I {}\npub fn k() {}\n\
                    #[cfg(test)]\nmod tests {\n    pub fn j() {}\n}\n";
        let files = Files::from([
            ("Cargo.toml", ""),
            ("src/lib.rs", rust),
            ("src/h.rs", "pub type K = u8;\n#[derive(Debug, clap::Args)]\npub struct L;"),
        ]);
        assert_eq!(
            undocumented(&files),
            [
                "src/h.rs:1: what is it? pub type K = u8;",
                "src/lib.rs:19: what is it? pub enum I {}",
                "src/lib.rs:20: what is it? pub fn k() {}",
            ]
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
