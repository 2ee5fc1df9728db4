//! The file: a gzipped tar with one folder, written part by part, and read for one of them.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use jiff::Timestamp;

/// What `plan` is made from.
pub(in crate::commands) const SNAPSHOT: &str = "snapshot.json";
/// The folder with a file for each database, for `replay`.
pub(super) const RECORDINGS: &str = "recordings";
/// No part is larger; whoever sends a report can't fill the memory of who reads it.
const LARGEST: u64 = 1 << 30;

/// A report that is being written.
pub(super) struct Archive<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    root: String,
    at: Timestamp,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W, root: &str, at: Timestamp) -> Self {
        let tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        Self { tar, root: root.to_owned(), at }
    }

    pub(super) fn add(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.at.as_second()).unwrap_or_default());
        self.tar.append_data(&mut header, format!("{}/{path}", self.root), content)
    }

    /// What it was written to.
    pub(super) fn finish(self) -> io::Result<W> {
        self.tar.into_inner()?.finish()
    }
}

/// Whether these are the first bytes of a gzipped file (RFC 1952, 2.3.1).
pub(in crate::commands) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// The part at this path within the report's folder.
///
/// # Errors
/// It is no report, or has no such part.
pub(in crate::commands) fn part(bytes: &[u8], path: &str) -> io::Result<Vec<u8>> {
    let found = find(bytes, |it| it == path)?.into_iter().next();
    found.map(|(_, content)| content).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("the report has no {path}: its README.md says why"))
    })
}

/// The recording of this database; of the only one, if none is named.
///
/// # Errors
/// It is no report, has no such recording, or several and none is named.
pub(in crate::commands) fn recording(bytes: &[u8], database: Option<&str>) -> io::Result<Vec<u8>> {
    let name = |path: &str| Some(path.strip_prefix(RECORDINGS)?.strip_prefix('/')?.strip_suffix(".jsonl")?.to_owned());
    let found = find(bytes, |path| name(path).is_some())?;
    let named: Vec<(String, Vec<u8>)> =
        found.into_iter().filter_map(|(path, content)| Some((name(&path)?, content))).collect();
    let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let mut wanted = named.into_iter().filter(|(name, _)| database.is_none_or(|database| database == name));
    match (wanted.next(), wanted.next()) {
        (Some((_, content)), None) => Ok(content),
        (Some(_), Some(_)) => {
            Err(io::Error::other(format!("the report has several recordings: write --database with one of {there}")))
        }
        (None, _) => {
            let of = database.map(|name| format!(" of {name}")).unwrap_or_default();
            Err(io::Error::new(io::ErrorKind::NotFound, format!("the report has no recording{of}; it has: {there}")))
        }
    }
}

/// Paths within the folder, and what lies there.
fn find(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes));
    let mut found = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let inside: PathBuf = entry.path()?.components().skip(1).collect();
        let path = inside.to_string_lossy().into_owned();
        if !wanted(&path) {
            continue;
        }
        let mut content = Vec::new();
        entry.take(LARGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST {
            return Err(io::Error::other(format!("{path} is larger than {LARGEST} bytes")));
        }
        found.push((path, content));
    }
    Ok(found)
}
