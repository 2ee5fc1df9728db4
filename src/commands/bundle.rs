//! `switchover report`: a bundle for whoever helps, who has no access: objects, events, logs, metrics, a recording of the members, a
//! snapshot. It works with whatever rights there are, and says what it lacks. (`commands/report.rs` is what `status` shows.)

pub(super) mod archive;
mod clean;
mod collect;

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use self::{archive::Archive, collect::Part};
use crate::{
    cli::ReportArgs,
    cluster::{self, ClusterError},
    core::words::printable,
};

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("can't write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Writes it, and says on stderr what isn't in it.
///
/// # Errors
/// No cluster, or a file that can't be written.
pub async fn run(args: &ReportArgs) -> Result<(), BundleError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let now = Timestamp::now();
    let root = format!("switchover-report-{}", now.strftime("%Y%m%d-%H%M%S"));
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{root}.tar.gz")));
    // Before it is gathered, so that nobody waits in vain.
    let file = create(&path).map_err(|source| BundleError::File { path: path.clone(), source })?;
    let parts = collect::all(&client, args).await;
    let written = write(Archive::new(file, &root, now), &parts, now);
    let bytes = written.map_err(|source| BundleError::File { path: path.clone(), source })?;
    for (part, why) in missing(&parts) {
        eprintln!("missing: {}: {}", part.what, printable(why));
    }
    let there = parts.iter().filter(|part| part.content.is_ok()).count();
    eprintln!(
        "{}: {there} parts, {} kB. Look through it before you hand it on: names of yours are in it.",
        path.display(),
        bytes / 1024
    );
    eprintln!("Read it on another machine: switchover plan -f {0}; switchover replay {0}", path.display());
    Ok(())
}

/// For its owner alone.
fn create(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// So many bytes.
fn write(mut archive: Archive<std::fs::File>, parts: &[Part], now: Timestamp) -> io::Result<u64> {
    archive.add("README.md", readme(parts, now).as_bytes())?;
    for part in parts {
        if let Ok(content) = &part.content {
            archive.add(&part.path, content)?;
        }
    }
    archive.finish()?.metadata().map(|meta| meta.len())
}

fn missing(parts: &[Part]) -> impl Iterator<Item = (&Part, &str)> {
    parts.iter().filter_map(|part| Some((part, &**part.content.as_ref().err()?)))
}

/// What is in it, what isn't, and why.
fn readme(parts: &[Part], now: Timestamp) -> String {
    let mut text = format!(
        "# A report of switchover\n\nMade at {now} by switchover {}.\n\nNo Secret was read for it but those with the credentials that members are \
         shown while they are recorded, and none of their content is in it. Annotations of others than switchover are left out, values \
         of environment variables too, and logins in URLs are cut.\n\nOn another machine: `switchover plan -f FILE`, \
         `switchover replay FILE`.\n\n| file | what | bytes |\n|---|---|---|\n",
        env!("CARGO_PKG_VERSION")
    );
    for Part { path, what, content } in parts {
        if let Ok(content) = content {
            // Writing into a String does not fail.
            let _ = writeln!(text, "| {path} | {what} | {} |", content.len());
        }
    }
    text.push_str("\n## What is missing\n\n");
    let mut all = missing(parts).peekable();
    if all.peek().is_none() {
        text.push_str("Nothing.\n");
    }
    for (part, why) in all {
        let _ = writeln!(text, "- {}: {}", part.what, printable(why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_says_what_it_lacks_and_gives_back_what_it_has() {
        let part = |path: &str, content: Result<&str, &str>| Part {
            path: path.into(),
            what: format!("what is in {path}"),
            content: content.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned),
        };
        let parts = [
            part("snapshot.json", Ok("{}")),
            part("recordings/orders.jsonl", Ok("one")),
            part("logs/agent.txt", Err("pods is forbidden")),
        ];
        let path = std::env::temp_dir().join(format!("switchover-bundle-{}.tar.gz", std::process::id()));
        let archive = Archive::new(create(&path).unwrap(), "report", Timestamp::UNIX_EPOCH);
        assert!(write(archive, &parts, Timestamp::UNIX_EPOCH).unwrap() > 0);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(archive::is_one(&bytes));
        assert_eq!(archive::part(&bytes, archive::SNAPSHOT).unwrap(), b"{}");
        assert_eq!(archive::recording(&bytes, None).unwrap(), b"one");
        assert_eq!(archive::recording(&bytes, Some("orders")).unwrap(), b"one");
        let refused = archive::recording(&bytes, Some("default")).unwrap_err().to_string();
        assert_eq!(refused, "the report has no recording of default; it has: orders");
        let readme = String::from_utf8(archive::part(&bytes, "README.md").unwrap()).unwrap();
        assert!(readme.ends_with("## What is missing\n\n- what is in logs/agent.txt: pods is forbidden\n"), "{readme}");
    }
}
