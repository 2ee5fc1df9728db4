//! Where measurements are written: docs/performance.md for people, target/bench/report.json for programs. Each bench
//! writes its own part and leaves the others'.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// Replaces one section of docs/performance.md: what stands between `<!-- NAME: … -->` and `<!-- end of NAME -->`.
///
/// # Errors
/// When the page can't be read or written, or has no such section.
pub fn write_section(name: &str, text: &str) -> Result<()> {
    let path = crate::target_directory().join("../docs/performance.md");
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = with_section(&page, name, text)
        .with_context(|| format!("{} has no section {name}: write its two marks", path.display()))?;
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: docs/performance.md, {name}");
    Ok(())
}

fn with_section(page: &str, name: &str, text: &str) -> Option<String> {
    let begin = page.find(&format!("<!-- {name}: "))?;
    let begin = begin + page[begin..].find("-->")? + "-->".len();
    let end = begin + page[begin..].find(&format!("<!-- end of {name} -->"))?;
    Some(format!("{}\n\n{}\n\n{}", &page[..begin], text.trim_matches('\n'), &page[end..]))
}

/// Puts these keys into target/bench/report.json; others stay.
///
/// # Errors
/// When the file can't be read or written.
pub fn write_report(figures: Map<String, Value>) -> Result<()> {
    let directory = crate::target_directory().join("bench");
    let path = directory.join("report.json");
    let before = fs::read_to_string(&path).ok();
    // What can't be read was cut off while it was written.
    let mut report: Map<String, Value> = before.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    report.extend(figures);
    write_json(&path, &report)?;
    println!("written: {}", path.display());
    Ok(())
}

/// Writes figures for programs, into a folder that may not be there yet.
///
/// # Errors
/// When the folder or the file can't be written.
pub fn write_json(path: &Path, figures: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(figures)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Processors, kernel and compilers.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).unwrap_or_default().1;
    let number = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let says = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let (rust, go) = (says("rustc", "--version"), says("go", "version"));
    format!("{number} CPUs ({model}), Linux {}, {rust}, {go}", kernel.trim())
}

/// Of one, five and fifteen minutes.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// In seconds, to a tenth.
pub fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// The middle one; of an even number the greater of the two. Zero of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// What a process has used, and uses.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Time on a CPU, of the threads that it has now, to the nanosecond (`/proc/PID/task/*/schedstat`).
    pub cpu: Duration,
    /// `VmRSS`: its own memory, and what it has touched of the program's text in the page cache.
    pub resident_bytes: u64,
    /// `RssAnon`: its own memory alone.
    pub own_bytes: u64,
}

impl Usage {
    /// Of a process that runs.
    ///
    /// # Errors
    /// When it has ended, or the kernel counts nothing.
    pub fn of(pid: u32) -> Result<Usage> {
        let mut cpu = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let nanoseconds = text.split_whitespace().next().context("an empty schedstat")?;
            cpu += Duration::from_nanos(nanoseconds.parse()?);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |key: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
            let kib: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse()?;
            Ok(kib * 1024)
        };
        Ok(Usage { cpu, resident_bytes: bytes("VmRSS")?, own_bytes: bytes("RssAnon")? })
    }
}

#[cfg(test)]
mod tests {
    use super::with_section;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let page = "# Page\n\n<!-- a: written by x -->\n\nold\n\n<!-- end of a -->\n\n<!-- b: written by y -->\n\nkept\n\n<!-- end of b -->\n";
        let new = with_section(page, "a", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(with_section(&new, "a", "new").as_ref(), Some(&new), "twice is once");
        assert_eq!(with_section(page, "c", ""), None);
    }
}
