//! The descheduler, by the affinity that admission injects: what people had before, and may still run.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;
use lab::{
    prepare::prepare_program,
    process::{Place, Process},
    tools::{Cache, DESCHEDULER},
};
use serde_json::json;

use super::World;

/// Looks every `interval_s` seconds at the pods of one namespace until it is dropped.
pub(crate) struct Descheduler(Process);

impl Descheduler {
    /// Builds it, which takes minutes the first time. Returns where it lies.
    pub(crate) fn prepare() -> Result<PathBuf> {
        prepare_program(&Cache::from_environment()?, &DESCHEDULER, &|line| println!("{line}"))
    }

    pub(crate) fn start(world: &World, namespace: &str, interval_s: u32) -> Result<Descheduler> {
        let program = Self::prepare()?;
        let directory = world.bed.directory();
        let policy = json!({
            "apiVersion": "descheduler/v1alpha2",
            "kind": "DeschedulerPolicy",
            "profiles": [{
                "name": "follow",
                "pluginConfig": [
                    {"name": "DefaultEvictor", "args": {"nodeFit": true}},
                    {
                        "name": "RemovePodsViolatingNodeAffinity",
                        "args": {
                            "nodeAffinityType": ["preferredDuringSchedulingIgnoredDuringExecution"],
                            "namespaces": {"include": [namespace]},
                        },
                    },
                ],
                "plugins": {"deschedule": {"enabled": ["RemovePodsViolatingNodeAffinity"]}},
            }],
        });
        let path = directory.join(format!("descheduler-{namespace}.json"));
        fs::write(&path, policy.to_string())?;
        let mut command = Command::new(program.join("descheduler"));
        command
            .arg(format!("--policy-config-file={}", path.display()))
            .arg(format!("--kubeconfig={}", world.bed.kubeconfig().display()))
            .arg(format!("--descheduling-interval={interval_s}s"))
            .args(["--secure-port=0", "--v=1"])
            .env("HOME", directory);
        let place = Place { die_with_thread: true, ..Place::default() };
        let log = directory.join(format!("logs/descheduler-{namespace}.log"));
        Ok(Descheduler(Process::start("descheduler", command, &log, &place)?))
    }
}

impl Drop for Descheduler {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}
