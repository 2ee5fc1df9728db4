//! Links between the repository's pages, and the files that they name.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{Files, folder, join};

/// Fragments of pages that a bench completes, with the folder of the page that they become part of.
fn place(page: &str) -> &str {
    let fragment = page.starts_with("benches/") || page == "tests/lab/src/reactions.md";
    if fragment { "docs" } else { folder(page) }
}

/// Relative links that lead nowhere, and named files that aren't there.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let mut findings = Vec::new();
    for (page, text) in files.ending(".md") {
        for (line, target) in links(text) {
            if let Some(what) = broken(files, page, &target) {
                findings.push(format!("{page}:{line}: {what}"));
            }
        }
        for (line, target) in loops(text).filter(|(_, target)| !makes(files, target)) {
            findings.push(format!("{page}:{line}: the Makefile has no {target}"));
        }
        // What was decided or changed once is told as it was then.
        if page != "CHANGELOG.md" && !page.starts_with("docs/decisions/") {
            for (line, name) in names(text) {
                let places = ["", "src", "tests", folder(page)];
                if !places.iter().any(|place| files.has(&join(place, &name))) {
                    findings.push(format!("{page}:{line}: there is no {name}"));
                }
            }
        }
    }
    findings
}

fn broken(files: &Files, page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() { page.to_owned() } else { join(place(page), path) };
    if !files.has(&path) {
        return Some(format!("{target} leads nowhere"));
    }
    let anchor = anchor?;
    let missing = !anchors(files.text(&path).unwrap_or_default()).contains(anchor);
    missing.then(|| format!("{target}: {path} has no such heading"))
}

/// The lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((at + 1, line))
    })
}

/// The targets of `[text](target)` and `[text]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in prose(text) {
        // Between backticks nothing is a link.
        let spoken: String = line.split('`').step_by(2).collect::<Vec<_>>().join("·");
        let targets = spoken.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        found.extend(targets.map(|target| (at, target.to_owned())));
        if let Some((label, target)) = spoken.split_once("]: ")
            && label.starts_with('[')
        {
            found.push((at, target.trim().to_owned()));
        }
    }
    found
}

/// Files that are named between backticks, such as `core/held.rs`.
fn names(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in prose(text) {
        let marked = line.split('`').skip(1).step_by(2);
        let paths = marked.filter(|it| it.contains('/') && [".rs", ".md"].iter().any(|ending| it.ends_with(ending)));
        let plain = paths.filter(|it| it.chars().all(|char| char.is_ascii_alphanumeric() || "-_./".contains(char)));
        found.extend(plain.map(|it| (at, it.to_owned())));
    }
    found
}

/// What pages say to make, in code or between backticks.
fn loops(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().flat_map(|(at, line)| {
        let code = line.starts_with("    ") || line.starts_with("make ");
        let whole = code.then_some(line.trim_start());
        let marked = line.split('`').skip(1).step_by(2);
        let commands = whole.into_iter().chain(marked).filter_map(|it| it.strip_prefix("make "));
        let targets: Vec<String> = commands
            .filter_map(|it| it.split([' ', ',', ';']).find(|word| !word.contains('=')))
            .map(str::to_owned)
            .collect();
        targets.into_iter().map(move |target| (at + 1, target))
    })
}

/// Whether the Makefile has this target, or one by a pattern.
fn makes(files: &Files, target: &str) -> bool {
    let makefile = files.text("Makefile").unwrap_or_default();
    let rule = |line: &str| line.split_once(':').is_some_and(|(targets, _)| targets.split(' ').any(|it| it == target));
    makefile.lines().any(rule)
        || target.starts_with("fuzz-") && files.has(&format!("fuzz/fuzz_targets/{}.rs", &target[5..]))
}

/// What GitHub makes of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        for id in line.split(" id=\"").skip(1).chain(line.split(" name=\"").skip(1)) {
            anchors.extend(id.split('"').next().map(str::to_owned));
        }
        let level = line.chars().take_while(|char| *char == '#').count();
        let Some(heading) = line[level..].strip_prefix(' ').filter(|_| (1..=6).contains(&level)) else { continue };
        // Of a link its text is read.
        let heading: String = heading
            .split("](")
            .enumerate()
            .map(|(at, part)| if at == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) })
            .collect();
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|char| match char {
                ' ' => Some('-'),
                '-' | '_' => Some(char),
                char if char.is_alphanumeric() => Some(char),
                _ => None,
            })
            .collect();
        let times = seen.entry(slug.clone()).and_modify(|times| *times += 1).or_default();
        anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let page = "# One\n[a](docs/b.md#two-it-is) [c](docs/b.md#three) [d](gone.md), [e](https://example.org/#x)\n\
                    ```\n[f](gone.md)\n```\n`[g](gone.md)` [h](#one) [i](#zwei) ![j](docs/k.png)\n[l]: docs\n[m]: gone\n";
        let files = Files::from([
            ("README.md", page),
            ("docs/b.md", "## Two: `it` is\n[up](../README.md#one) [wrong](README.md)\n"),
            ("docs/k.png", ""),
            ("benches/n/performance.md", "[o](b.md)"),
        ]);
        assert_eq!(
            findings(&files),
            [
                "README.md:2: docs/b.md#three: docs/b.md has no such heading",
                "README.md:2: gone.md leads nowhere",
                "README.md:6: #zwei: README.md has no such heading",
                "README.md:8: gone leads nowhere",
                "docs/b.md:2: README.md leads nowhere",
            ]
        );
    }

    #[test]
    fn files_that_pages_name_are_there() {
        let files = Files::from([
            ("docs/a.md", "`core/held.rs`, `core/gone.rs`, `b/c.md`, `held.rs`, `<name>/x.rs`\n"),
            ("docs/b/c.md", ""),
            ("docs/decisions/d.md", "`core/gone.rs`"),
            ("src/core/held.rs", ""),
        ]);
        assert_eq!(findings(&files), ["docs/a.md:1: there is no core/gone.rs"]);
    }

    #[test]
    fn what_pages_say_to_make_is_there() {
        let page = "`make quick`, `make KEEP=1 demo`, `make gone`\n    make fuzz-a X=1\n    make fuzz-b   # text\nwe make none\n";
        let files = Files::from([
            ("a.md", page),
            ("Makefile", "help:\nquick demo: lint\n\techo gone\n"),
            ("fuzz/fuzz_targets/a.rs", ""),
        ]);
        assert_eq!(findings(&files), ["a.md:1: the Makefile has no gone", "a.md:3: the Makefile has no fuzz-b"]);
    }

    #[test]
    fn headings_are_named_as_github_names_them() {
        let page = "# A *b*, c_d\n## [Link](x.md) & more\n## Same\n## Same\n```\n# not one\n```\n<a id=\"own\"></a>\n";
        let anchors = anchors(page);
        assert_eq!(Vec::from_iter(&anchors), ["a-b-c_d", "link--more", "own", "same", "same-1"]);
    }
}
