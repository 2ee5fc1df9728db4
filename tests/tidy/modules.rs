//! The modules of every program and library here, as `mod` names them, and the paths that they write.

use std::collections::BTreeSet;

use crate::{
    files::{Files, folder, join},
    tokens::{Kind, Token, attribute, closing, product, tokens},
};

/// A file that a `mod` names.
#[derive(Debug)]
pub(crate) struct Module {
    /// From the root of its library or program, which itself has none.
    pub name: Vec<String>,
    pub file: String,
    /// Its tokens without what only tests build.
    pub product: Vec<Token>,
    /// Whether only tests build it.
    pub test: bool,
}

/// The modules of one library or program, and what is wrong with how they are named.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub modules: Vec<Module>,
    pub findings: Vec<String>,
}

/// The tree that begins in this file.
pub(crate) fn tree(files: &Files, root: &str) -> Tree {
    let mut tree = Tree::default();
    grow(&mut tree, files, Place { name: Vec::new(), file: root.to_owned(), below: folder(root).to_owned() }, false);
    tree
}

struct Place {
    name: Vec<String>,
    file: String,
    /// The folder of its children.
    below: String,
}

fn grow(tree: &mut Tree, files: &Files, place: Place, test: bool) {
    let Some(text) = files.text(&place.file) else { return };
    let all = tokens(text);
    let product = product(&all);
    let in_product: BTreeSet<String> = declarations(&product).into_iter().map(|child| child.name).collect();
    for child in declarations(&all) {
        let within = child.inline.iter().fold(place.below.clone(), |within, (name, path)| match path {
            Some(path) => join(folder(&place.file), path),
            None => join(&within, name),
        });
        let places = [format!("{}.rs", child.name), format!("{}/mod.rs", child.name)].map(|path| join(&within, &path));
        let usual = places.iter().position(|path| files.has(path));
        let (file, below) = match &child.path {
            Some(path) => {
                let file = join(folder(&place.file), path);
                if places.contains(&file) {
                    tree.findings.push(format!("{}:{}: #[path] says what is usual", place.file, child.line));
                }
                (file.clone(), folder(&file).to_owned())
            }
            None => {
                let Some(at) = usual else {
                    tree.findings.push(format!("{}:{}: mod {} has no file", place.file, child.line, child.name));
                    continue;
                };
                (places[at].clone(), join(&within, &child.name))
            }
        };
        let test = test || !in_product.contains(&child.name);
        let inline: Vec<String> = child.inline.into_iter().map(|(name, _)| name).collect();
        let name = [&place.name[..], &inline, &[child.name]].concat();
        grow(tree, files, Place { name, file, below }, test);
    }
    tree.modules.push(Module { name: place.name, file: place.file, product, test });
}

/// `mod name;`, with what its attribute says of its path.
struct Declaration {
    name: String,
    /// The inline modules around it, each with its path.
    inline: Vec<(String, Option<String>)>,
    path: Option<String>,
    line: usize,
}

fn declarations(tokens: &[Token]) -> Vec<Declaration> {
    let mut found = Vec::new();
    // The inline modules around this token, with the token that closes each.
    let mut inline: Vec<(String, Option<String>, usize)> = Vec::new();
    let mut path = None;
    let mut at = 0;
    while at < tokens.len() {
        inline.retain(|(_, _, end)| at <= *end);
        if let Some((end, _)) = attribute(tokens, at) {
            if tokens[at + 2].word() == Some("path") {
                path = tokens[at..end].iter().find_map(Token::text).map(str::to_owned);
            }
            at = end;
            continue;
        }
        let name = tokens.get(at + 1).and_then(Token::word);
        if let (Some("mod"), Some(name)) = (tokens[at].word(), name) {
            let name = name.to_owned();
            if tokens.get(at + 2).is_some_and(|token| token.is(';')) {
                let inline = inline.iter().map(|(name, path, _)| (name.clone(), path.clone())).collect();
                found.push(Declaration { name, inline, path: path.take(), line: tokens[at].line });
            } else if let Some(end) = closing(tokens, at + 2) {
                inline.push((name, path.take(), end));
            }
        }
        if tokens[at].is(';') || tokens[at].is('{') {
            path = None;
        }
        at += 1;
    }
    found
}

/// A path in a module's text, with its segments from the root, and the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub segments: Vec<String>,
    pub line: usize,
}

impl Module {
    /// The paths from `crate`, `self` and `super`, counted from the root; and those from other words as they are.
    pub(crate) fn paths(&self) -> Vec<Written> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.product.len() {
            let inside = at > 0 && (follows(&self.product, at.saturating_sub(2)));
            if self.product[at].word().is_some() && follows(&self.product, at + 1) && !inside {
                let line = self.product[at].line;
                let mut paths = Vec::new();
                at = collect(&self.product, at, &[], &mut paths);
                found.extend(paths.into_iter().map(|path| Written { segments: self.absolute(path), line }));
            } else {
                at += 1;
            }
        }
        found
    }

    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let supers = path.iter().take_while(|it| *it == "super").count();
        match path[0].as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [&self.name[..], &path[1..]].concat(),
            "super" => [&self.name[..self.name.len().saturating_sub(supers)], &path[supers..]].concat(),
            // Another crate's, or a name that was imported.
            _ => [&["".to_owned()], &path[..]].concat(),
        }
    }
}

/// Whether `::` stands here.
fn follows(tokens: &[Token], at: usize) -> bool {
    [0, 1].iter().all(|ahead| tokens.get(at + ahead).is_some_and(|token| token.is(':')))
}

/// Collects the paths of a tree such as `a::{b, c::*}`. Returns the token after it.
fn collect(tokens: &[Token], start: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = start;
    while let Some(Kind::Word(word)) = tokens.get(at).map(|token| &token.kind) {
        path.push(word.clone());
        at += 1;
        if !follows(tokens, at) {
            break;
        }
        at += 2;
        if tokens.get(at).is_some_and(|token| token.is('{')) {
            let end = closing(tokens, at).unwrap_or(tokens.len());
            at += 1;
            while at < end {
                at = if tokens[at].word().is_some() { collect(tokens, at, &path, found) } else { at + 1 };
            }
            return end + 1;
        }
    }
    found.push(path);
    at
}

/// The files in which libraries, programs, tests and benches begin, by Cargo's own rules.
pub(crate) fn roots(files: &Files) -> Vec<String> {
    let packages = files.ending("Cargo.toml").map(|(path, _)| folder(path));
    packages.flat_map(|package| roots_of(files, package)).collect()
}

fn roots_of<'a>(files: &'a Files, package: &'a str) -> impl Iterator<Item = String> + 'a {
    let one = ["src/lib.rs", "src/main.rs", "build.rs"].map(|path| join(package, path));
    let many = ["src/bin", "tests", "benches", "examples", "fuzz_targets"].map(|path| join(package, path));
    let in_folders = move |path: &str| {
        many.iter().any(|below| {
            let Some(rest) = path.strip_prefix(&format!("{below}/")) else { return false };
            !rest.contains('/') || rest.ends_with("/main.rs") && rest.matches('/').count() == 1
        })
    };
    files
        .ending(".rs")
        .map(|(path, _)| path)
        .filter(move |path| one.iter().any(|it| it == path) || in_folders(path))
        .map(str::to_owned)
}

/// Files that no `mod` names, `mod`s without a file, and `#[path]`s that say what is usual.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let trees: Vec<Tree> = roots(files).iter().map(|root| tree(files, root)).collect();
    let named: BTreeSet<&str> =
        trees.iter().flat_map(|tree| &tree.modules).map(|module| module.file.as_str()).collect();
    let lost = files.ending(".rs").filter(|(path, _)| !named.contains(path));
    let mut findings: Vec<String> = trees.iter().flat_map(|tree| tree.findings.clone()).collect();
    findings.extend(lost.map(|(path, _)| format!("{path}: no mod names it")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_no_mod_names_are_found() {
        let files = Files::from([
            ("Cargo.toml", ""),
            ("src/lib.rs", "mod a; mod b { mod c; } #[path = \"elsewhere.rs\"] mod d; mod gone;"),
            ("src/a.rs", "#[cfg(test)] #[path = \"a/tests.rs\"] mod tests;"),
            ("src/a/tests.rs", ""),
            ("src/b/c.rs", ""),
            ("src/elsewhere.rs", ""),
            ("src/c.rs", "// mod lib;"),
            ("src/bin/tool.rs", ""),
            ("tests/it/main.rs", "mod deep; #[path = \"../borrowed\"] mod near { mod by; }"),
            ("tests/borrowed/by.rs", ""),
            ("tests/it/deep/mod.rs", "mod deeper;"),
            ("tests/it/deep/deeper.rs", ""),
            ("tests/it/lost.rs", ""),
        ]);
        assert_eq!(
            findings(&files),
            [
                "src/a.rs:1: #[path] says what is usual",
                "src/lib.rs:1: mod gone has no file",
                "src/c.rs: no mod names it",
                "tests/it/lost.rs: no mod names it",
            ]
        );
    }

    #[test]
    fn paths_are_counted_from_the_root() {
        let rust = "use crate::{api::X, core::{self, y::*}}; use super::{z::Z, super::w}; fn f() { self::g(); serde_json::from(a::b::<C>()) }";
        let files = Files::from([("src/lib.rs", "mod m { mod n; }"), ("src/m/n.rs", rust)]);
        let tree = tree(&files, "src/lib.rs");
        let module = tree.modules.iter().find(|module| module.file == "src/m/n.rs").unwrap();
        let paths: Vec<String> = module.paths().into_iter().map(|path| path.segments.join("::")).collect();
        assert_eq!(
            paths,
            ["api::X", "core::self", "core::y", "m::z::Z", "w", "m::n::g", "::serde_json::from", "::a::b"]
        );
    }

    #[test]
    fn modules_of_tests_alone_are_known() {
        let files = Files::from([
            ("src/lib.rs", "mod a; #[cfg(test)] mod b;"),
            ("src/a.rs", ""),
            ("src/b.rs", "mod c;"),
            ("src/b/c.rs", ""),
        ]);
        let tests: Vec<_> = tree(&files, "src/lib.rs")
            .modules
            .into_iter()
            .filter(|module| module.test)
            .map(|module| module.file)
            .collect();
        assert_eq!(tests, ["src/b/c.rs", "src/b.rs"]);
    }
}
