//! docs/reference.md's metrics, read against the names that the code registers.

use std::collections::BTreeSet;

use crate::{
    files::Files,
    modules::tree,
    tokens::{Kind, Token, closing},
};

/// Metrics that one of the two doesn't know.
pub(crate) fn metrics(files: &Files) -> Vec<String> {
    let documented: BTreeSet<String> =
        first_column(files.text("docs/reference.md").unwrap_or_default(), "## Metrics").into_iter().collect();
    let mut findings = Vec::new();
    let mut registered = BTreeSet::new();
    for module in tree(files, "src/lib.rs").modules.iter().filter(|module| !module.test) {
        for (line, name) in registrations(&module.product) {
            let Some(name) = name else {
                findings.push(format!(
                    "{}:{line}: a metric's name isn't written here, so that no document can be held to it",
                    module.file
                ));
                continue;
            };
            // Counters end in _total where they are read, and what is said once in _info.
            let read = ["", "_total", "_info"].map(|ending| format!("{name}{ending}"));
            if !read.iter().any(|name| documented.contains(name)) {
                findings.push(format!("{}:{line}: docs/reference.md doesn't say what {name} is", module.file));
            }
            registered.extend(read);
        }
    }
    findings
        .extend(documented.difference(&registered).map(|name| format!("docs/reference.md: no code registers {name}")));
    findings
}

/// The words between backticks in the first column of the table after this heading.
fn first_column(page: &str, heading: &str) -> Vec<String> {
    let section = page.split_once(&format!("\n{heading}\n")).map_or("", |(_, section)| section);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The names that are registered here as they are read, with the unit at their end; none where it isn't a literal.
fn registrations(tokens: &[Token]) -> Vec<(usize, Option<String>)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let call = matches!(token.word(), Some("register" | "register_with_unit"));
        if !call || at == 0 || !tokens[at - 1].is('.') || !tokens.get(at + 1).is_some_and(|token| token.is('(')) {
            continue;
        }
        let arguments = &tokens[at + 2..closing(tokens, at + 1).unwrap_or(tokens.len())];
        let unit = arguments.windows(4).find_map(|window| match window {
            [unit, first, second, name] if unit.word() == Some("Unit") && first.is(':') && second.is(':') => {
                name.word()
            }
            _ => None,
        });
        let unit = unit.map(|unit| format!("_{}", unit.to_lowercase())).unwrap_or_default();
        let name = match arguments.first().map(|token| &token.kind) {
            Some(Kind::Text(name)) => Some(format!("switchover_{name}{unit}")),
            _ => None,
        };
        found.push((token.line, name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_one_doesnt_know_are_found() {
        let page = "# R\n\n## Metrics\n\n| metric | role |\n|---|---|\n| `switchover_a_total` | `x` |\n| `switchover_b_seconds` | |\n\
                    | `switchover_gone` | |\n\n## Events\n\n| reason |\n|---|\n| `C` |\n";
        let rust = "fn f() { r.register(\"a\", \"A\", m); r.register_with_unit(\"b\", \"B\", Unit::Seconds, m);\n\
                    r.register(name, \"\", m); r.register(\"new\", \"N\", m); X::register(r); }\n\
                    #[cfg(test)] mod tests { fn g() { r.register(\"t\", \"T\", m) } }";
        let files = Files::from([("docs/reference.md", page), ("src/lib.rs", rust)]);
        assert_eq!(
            metrics(&files),
            [
                "src/lib.rs:2: a metric's name isn't written here, so that no document can be held to it",
                "src/lib.rs:2: docs/reference.md doesn't say what switchover_new is",
                "docs/reference.md: no code registers switchover_gone",
            ]
        );
    }
}
