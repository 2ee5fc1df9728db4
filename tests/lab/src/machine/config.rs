//! The configuration files of a node's programs.

use serde_json::json;

use super::Settings;
use crate::{
    prepare::PAUSE_REFERENCE,
    site,
    tools::{Cache, NODE_PACKAGES},
};

/// containerd with runc and nothing else. Paths are as seen inside the machine.
pub(crate) fn containerd(cache: &Cache) -> String {
    let root = cache.debian(&NODE_PACKAGES);
    let root = root.display();
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.native", "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_REFERENCE}"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE runc may not lower a process's OOM score, and dies trying.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{root}/usr/sbin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{root}/usr/lib/cni"
    conf_dir = "/run/cni/net.d"
"#
    )
}

/// Pods on a bridge, without masquerading: the lab routes pod addresses everywhere.
pub(crate) fn pod_network(node: usize) -> String {
    let network = json!({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni/addresses",
                "ranges": [[{"subnet": site::pod_range(node)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    format!("{network:#}\n")
}

/// The kubelet, kept from changing anything of the machine that the lab runs on.
pub(crate) fn kubelet(settings: &Settings) -> String {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        "makeIPTablesUtilChains": false,
        "protectKernelDefaults": false,
        "resolvConf": "",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": settings.pki.join("ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        // All nodes share one disk and one memory: none of them may act on how full those are.
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "maxPods": 110,
        // With the controller manager's flags these make a dead node NotReady within 12 s instead of 50 s.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "2s",
    });
    format!("{config:#}\n")
}

/// The controller manager's half of noticing a dead node soon.
pub(crate) const CONTROLLER_MANAGER: [&str; 2] = ["--node-monitor-grace-period=12s", "--node-monitor-period=1s"];
