//! Dependencies that nothing uses, or that only tests use.

use std::collections::BTreeSet;

use crate::{
    files::{Files, folder, join},
    modules::{roots, tree},
    tokens::{Token, tokens},
};

/// Dependencies that no code of their package names.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let manifests: Vec<(&str, &str)> =
        files.ending("Cargo.toml").filter(|(_, text)| text.contains("[package]")).collect();
    let packages: Vec<&str> = manifests.iter().map(|(path, _)| folder(path)).collect();
    let mut findings = Vec::new();
    for (path, text) in manifests {
        let package = folder(path);
        let product = product(files, package);
        let every = every(files, package, &packages);
        for (section, name) in dependencies(text) {
            let word = name.replace('-', "_");
            if section.contains("dev-dependencies") || section.contains("fuzzing") {
                if !every.contains(&word) {
                    findings.push(format!("{path}: nothing uses {name}"));
                }
            } else if !product.contains(&word) {
                let told = if every.contains(&word) { "only tests use" } else { "nothing uses" };
                findings.push(format!("{path}: {told} {name}"));
            }
        }
    }
    findings
}

/// The names of the manifest's dependencies, each with its section.
pub(crate) fn dependencies(manifest: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section.ends_with("dependencies")
            && !section.starts_with("workspace")
            && let Some((name, _)) = line.split_once(['=', '.', ' '])
            && !name.is_empty()
            && !name.starts_with('#')
        {
            found.push((section, name));
        }
    }
    found
}

fn words(tokens: &[Token]) -> impl Iterator<Item = String> {
    tokens.iter().filter_map(Token::word).map(str::to_owned)
}

/// The words of what the package builds for its users.
fn product(files: &Files, package: &str) -> BTreeSet<String> {
    let places = ["src", "fuzz_targets"].map(|place| format!("{}/", join(package, place)));
    let roots = roots(files).into_iter().filter(|root| places.iter().any(|place| root.starts_with(place)));
    let modules = roots.flat_map(|root| tree(files, &root).modules).filter(|module| !module.test);
    modules.flat_map(|module| words(&module.product).collect::<Vec<_>>()).collect()
}

/// The words of every file of the package, but of no other package that lies in its folder.
fn every(files: &Files, package: &str, packages: &[&str]) -> BTreeSet<String> {
    let within = |path: &str, package: &str| package.is_empty() || path.starts_with(&format!("{package}/"));
    let others =
        |path: &str| packages.iter().any(|other| *other != package && within(other, package) && within(path, other));
    let own = files.ending(".rs").filter(|(path, _)| within(path, package) && !others(path));
    own.flat_map(|(_, text)| words(&tokens(text)).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_dependencies_are_found() {
        let manifest = "[package]\n\n[workspace.dependencies]\nlater = \"1\"\n\n[dependencies]\nused-one = \"1\"\nidle.workspace = true\n\
                        tested = { version = \"1\" }\n\n[dev-dependencies]\nfine = \"1\"\nforgotten = \"1\"\nlab = { path = \"lab\" }\n";
        let files = Files::from([
            ("Cargo.toml", manifest),
            ("src/lib.rs", "use used_one::X; #[cfg(test)] mod tests; // idle"),
            ("src/tests.rs", "use tested::Y;"),
            ("tests/it.rs", "use fine::Z; use lab::W;"),
            ("lab/Cargo.toml", "[package]\n[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n"),
            ("lab/src/lib.rs", "use forgotten::V;"),
        ]);
        assert_eq!(
            findings(&files),
            [
                "Cargo.toml: nothing uses idle",
                "Cargo.toml: only tests use tested",
                "Cargo.toml: nothing uses forgotten",
                "lab/Cargo.toml: nothing uses libc",
            ]
        );
    }
}
