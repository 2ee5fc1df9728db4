//! The repository's text files by path, read once; in tests a few lines of them.

use std::{collections::BTreeMap, fs, path::Path};

/// Text files by their path from the repository's root, with `/` between names.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, String>);

impl Files {
    /// Every Rust source, Markdown page and manifest of the repository.
    pub(crate) fn read() -> Self {
        let mut files = Self::default();
        files.add(Path::new(env!("CARGO_MANIFEST_DIR")), "");
        files
    }

    fn add(&mut self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).expect("the repository can be read") {
            let entry = entry.expect("the repository can be read");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("the repository can be read");
            if kind.is_dir() {
                // What Cargo builds, and folders of tools.
                if name != "target" && !name.starts_with('.') {
                    self.add(&entry.path(), &format!("{path}/"));
                }
            } else if kind.is_file() {
                let text = fs::read(entry.path()).expect("the repository can be read");
                // What isn't text is still there to be linked to.
                self.0.insert(path, String::from_utf8(text).unwrap_or_default());
            }
        }
    }

    /// The file's text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether there is such a file, or a folder with files.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty() || self.0.contains_key(path) || self.0.keys().any(|it| it.starts_with(&folder))
    }

    /// Paths and texts of the files with this ending, in order.
    pub(crate) fn ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(move |(path, _)| path.ends_with(ending)).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Files {
    fn from(files: [(&str, &str); N]) -> Self {
        files.into_iter().collect()
    }
}

impl<P: Into<String>, T: Into<String>> FromIterator<(P, T)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }
}

/// The path that `link` means in a file of `folder`: `.` and `..` are walked.
pub(crate) fn join(folder: &str, link: &str) -> String {
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in link.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

/// The folder of a file, without the last `/`.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[test]
fn a_link_is_walked_from_its_folder() {
    assert_eq!(join("docs/decisions", "../../src/./lib.rs"), "src/lib.rs");
    assert_eq!(folder("docs/a.md"), "docs");
    assert_eq!(folder("README.md"), "");
}
