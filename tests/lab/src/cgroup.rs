//! Control groups: where a node's processes are put, and what is left to remove afterwards.
//!
//! Control groups are the only thing of the lab that outlives its processes, so all of them lie below one directory
//! `switchover-lab` per hierarchy, nested under the group the lab was started from.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// One mounted hierarchy: one per controller set in version 1, a single one in version 2.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hierarchy {
    pub version: u8,
    /// What to pass to mount(2) for the same hierarchy, e.g. `cpu,cpuacct` or `none,name=systemd`. Empty in version 2.
    pub options: String,
    /// The directory below /sys/fs/cgroup that programs look for, e.g. `cpu,cpuacct` or `systemd`. Empty in version 2.
    pub name: String,
    /// The group that the lab's own groups are nested in.
    pub base: PathBuf,
}

/// Container runtimes can't work without these.
const CONTROLLERS_NEEDED: [&str; 6] = ["cpu", "cpuset", "devices", "freezer", "memory", "pids"];

/// The directory that all of the lab's groups lie in, in every hierarchy.
const SUBTREE: &str = "switchover-lab";

/// The hierarchies of this machine as this process sees them.
pub fn hierarchies() -> Result<Vec<Hierarchy>> {
    let own = fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    parse(&own, &mounts)
}

fn parse(own: &str, mounts: &str) -> Result<Vec<Hierarchy>> {
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let mut version_1 = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            continue; // version 2
        }
        let Some(mount) = mounts.iter().find(|mount| mount.version == 1 && mount.holds(controllers)) else { continue };
        let name = controllers.strip_prefix("name=");
        version_1.push(Hierarchy {
            version: 1,
            options: name.map_or_else(|| controllers.to_owned(), |_| format!("none,{controllers}")),
            name: name.unwrap_or(controllers).to_owned(),
            base: mount.directory(path),
        });
    }
    let held = |controller: &str| version_1.iter().any(|h| h.options.split(',').any(|option| option == controller));
    if CONTROLLERS_NEEDED.into_iter().all(held) {
        return Ok(version_1);
    }
    // The root of version 2 may hold processes and still hand out controllers; any other group may not. So the lab's
    // groups go to the root.
    if let Some(mount) = mounts.iter().find(|mount| mount.version == 2)
        && version_1.iter().all(|hierarchy| hierarchy.options.starts_with("none,"))
    {
        let base = PathBuf::from(&mount.point);
        return Ok(vec![Hierarchy { version: 2, options: String::new(), name: String::new(), base }]);
    }
    let missing: Vec<_> = CONTROLLERS_NEEDED.into_iter().filter(|controller| !held(controller)).collect();
    bail!(
        "the lab's nodes need control groups, and /sys/fs/cgroup offers neither version 2 nor all of version 1 \
         (missing: {}); mount them or use another machine",
        missing.join(", ")
    )
}

/// One line of /proc/self/mountinfo that mounts control groups.
struct Mount {
    version: u8,
    root: String,
    point: String,
    options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let version = match *right.first()? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        Some(Mount {
            version,
            root: (*left.get(3)?).to_owned(),
            point: (*left.get(4)?).to_owned(),
            options: right.get(2)?.split(',').map(str::to_owned).collect(),
        })
    }

    fn holds(&self, controllers: &str) -> bool {
        controllers.split(',').all(|controller| self.options.iter().any(|option| option == controller))
    }

    /// Where the group `path` lies under this mount, which may show only a part of the hierarchy.
    fn directory(&self, path: &str) -> PathBuf {
        let relative = Path::new(path).strip_prefix(&self.root).unwrap_or(Path::new(path));
        Path::new(&self.point).join(relative.strip_prefix("/").unwrap_or(relative))
    }
}

impl Hierarchy {
    /// The group `member` of the lab `id`.
    pub fn group(&self, id: &str, member: &str) -> PathBuf {
        self.base.join(SUBTREE).join(id).join(member)
    }
}

/// Makes the group `member` of the lab `id` in every hierarchy and returns the files to write a process id to.
pub fn create(hierarchies: &[Hierarchy], id: &str, member: &str) -> Result<Vec<PathBuf>> {
    hierarchies
        .iter()
        .map(|hierarchy| {
            let mut directory = hierarchy.base.clone();
            for part in [SUBTREE, id, member] {
                if hierarchy.version == 2 {
                    hand_out_controllers(&directory);
                }
                directory.push(part);
                fs::create_dir_all(&directory)
                    .with_context(|| format!("cannot create the control group {}", directory.display()))?;
                if hierarchy.name.split(',').any(|controller| controller == "cpuset") {
                    inherit_cpuset(&directory)?;
                }
            }
            Ok(directory.join("cgroup.procs"))
        })
        .collect()
}

/// Lets the groups below `directory` (version 2) use every controller that it has itself.
pub fn hand_out_controllers(directory: &Path) {
    let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        // One by one: a controller that can't be handed out must not keep the others back.
        let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// A new cpuset (version 1) is empty and takes no process until it is told which processors it has.
fn inherit_cpuset(directory: &Path) -> Result<()> {
    for file in ["cpuset.mems", "cpuset.cpus"] {
        let target = directory.join(file);
        if fs::read_to_string(&target)?.trim().is_empty() {
            let parent = directory.parent().context("a control group has a parent")?;
            fs::write(&target, fs::read_to_string(parent.join(file))?)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

/// Removes every group of the lab `id`. Waits for the last processes in them to be gone.
pub fn remove(hierarchies: &[Hierarchy], id: &str, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    for hierarchy in hierarchies {
        let subtree = hierarchy.base.join(SUBTREE);
        loop {
            match remove_tree(&subtree.join(id)) {
                Ok(()) => break,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                Err(error) => {
                    bail!("cannot remove the control groups below {}: {error}", subtree.join(id).display())
                }
            }
        }
        // Another lab may still use it.
        let _ = fs::remove_dir(&subtree);
    }
    Ok(())
}

/// Removes what containers left below the group of one node, and keeps the node's own group.
pub fn clear(hierarchies: &[Hierarchy], id: &str, member: &str) {
    for hierarchy in hierarchies {
        let Ok(entries) = fs::read_dir(hierarchy.group(id, member)) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            // Best effort: what is still busy is removed when the lab goes down.
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Groups are removed with rmdir(2), children first; the files in them are not ours to delete.
fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_1: &str =
        "9:name=systemd:/\n6:pids,freezer,devices:/\n4:memory:/session/7\n3:cpuset:/\n2:cpu,cpuacct:/\n0::/\n";

    fn mount(point: &str, kind: &str, options: &str) -> String {
        format!("30 20 0:26 / {point} rw,relatime - {kind} cgroup rw,{options}\n")
    }

    #[test]
    fn version_1_nests_below_the_group_we_were_started_in() {
        let mounts = [
            mount("/sys/fs/cgroup/systemd", "cgroup", "name=systemd"),
            mount("/sys/fs/cgroup/rest", "cgroup", "pids,freezer,devices"),
            mount("/sys/fs/cgroup/memory", "cgroup", "memory"),
            mount("/sys/fs/cgroup/cpuset", "cgroup", "cpuset"),
            mount("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
        ]
        .concat();
        let found = parse(VERSION_1, &mounts).unwrap();
        let memory = found.iter().find(|hierarchy| hierarchy.name == "memory").unwrap();
        assert_eq!(memory.group("a", "n1"), Path::new("/sys/fs/cgroup/memory/session/7/switchover-lab/a/n1"));
        assert_eq!(found.iter().find(|hierarchy| hierarchy.name == "systemd").unwrap().options, "none,name=systemd");
    }

    #[test]
    fn version_2_alone_is_taken_at_its_root() {
        let found = parse("0::/user.slice\n", &mount("/sys/fs/cgroup", "cgroup2", "nsdelegate")).unwrap();
        assert_eq!((found.len(), found[0].version, found[0].base.as_path()), (1, 2, Path::new("/sys/fs/cgroup")));
    }

    #[test]
    fn a_machine_without_control_groups_is_refused_with_what_is_missing() {
        let refusal = parse("1:cpu:/\n", &mount("/sys/fs/cgroup/cpu", "cgroup", "cpu")).unwrap_err().to_string();
        assert!(refusal.contains("missing: cpuset, devices, freezer, memory, pids"), "{refusal}");
    }
}
