//! mount(2) in words.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const NONE: Option<&str> = None;

/// Keeps every mount and unmount from here on to this namespace.
pub fn make_private() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).context("cannot make the mounts private")
}

/// Lets mounts below `point` reach the containers that were given it.
pub fn make_shared(point: &str) -> Result<()> {
    mount(NONE, point, NONE, MsFlags::MS_SHARED, NONE).with_context(|| format!("cannot share {point}"))
}

/// A fresh file system of a kernel kind, e.g. proc, sysfs, tmpfs, cgroup.
pub fn fresh(kind: &str, point: impl AsRef<Path>, options: &str) -> Result<()> {
    let point = point.as_ref();
    mount(Some(kind), point, Some(kind), MsFlags::empty(), Some(options))
        .with_context(|| format!("cannot mount {kind} ({options}) on {}", point.display()))
}

/// Shows `source` with everything that is mounted below it at `point` too. Makes the mount point.
pub fn bind(source: impl AsRef<Path>, point: impl AsRef<Path>) -> Result<()> {
    let (source, point) = (source.as_ref(), point.as_ref());
    if source.is_dir() {
        fs::create_dir_all(point)
    } else if point.exists() {
        Ok(())
    } else {
        fs::File::create(point).map(drop)
    }
    .with_context(|| format!("cannot make the mount point {}", point.display()))?;
    mount(Some(source), point, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .with_context(|| format!("cannot show {} at {}", source.display(), point.display()))
}

/// Takes a mount away even if it is in use.
pub fn detach(point: &str) -> Result<()> {
    umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {point}"))
}
