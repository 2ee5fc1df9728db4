//! What each program of the control plane is started with.

use super::{Settings, State};
use crate::site::SERVICE_RANGE;

/// The usual limits of 20 and 50 requests a second make the controllers take 6 s to start.
const FASTER: [&str; 2] = ["--kube-api-qps=500", "--kube-api-burst=1000"];

impl Settings {
    pub(super) fn etcd(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        vec![
            format!("--data-dir={}", self.directory.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".into(),
            // The page cache survives a killed process, and nobody keeps a test bed over a power cut.
            "--unsafe-no-fsync".into(),
        ]
    }

    pub(super) fn kine(&self) -> Vec<String> {
        let State::Kine { endpoint } = &self.state else { return Vec::new() };
        let mut arguments = vec![
            format!("--endpoint={endpoint}"),
            format!("--listen-address=http://127.0.0.1:{}", self.etcd_port),
            "--metrics-bind-address=0".into(),
            // A connection to a member that was demoted stays open as long as it may.
            "--datastore-connection-max-lifetime=30s".into(),
            // An API server that starts lists everything at once, and each list holds a connection until it was read. PostgreSQL has to
            // take as many from every Kine.
            "--datastore-max-open-connections=100".into(),
        ];
        if !self.others.is_empty() {
            // Not the newest thousand: what the scenes write is less.
            arguments.push("--compact-min-retain=50".into());
        }
        arguments
    }

    fn leader_election(&self) -> String {
        format!("--leader-elect={}", !self.others.is_empty())
    }

    pub(super) fn api_server(&self) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.pki(name).display());
        // A loopback address is refused as an endpoint of the Service `kubernetes`.
        let reconciler = if self.address.is_loopback() { "none" } else { "lease" };
        let mut arguments = vec![
            format!("--endpoint-reconciler-type={reconciler}"),
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--bind-address={}", self.bind),
            format!("--advertise-address={}", self.address),
            format!("--secure-port={}", self.port),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            file("tls-cert-file", "apiserver.crt"),
            file("tls-private-key-file", "apiserver.key"),
            file("client-ca-file", "ca.crt"),
            file("kubelet-client-certificate", "admin.crt"),
            file("kubelet-client-key", "admin.key"),
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            file("service-account-key-file", "token.pub"),
            file("service-account-signing-key-file", "token.key"),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            file("admission-control-config-file", "admission.json"),
            "--allow-privileged=true".into(),
            // Webhook Services are dialled at the addresses of their pods: no kube-proxy runs here.
            "--enable-aggregator-routing=true".into(),
        ];
        if let State::Kine { .. } = self.state {
            // A list by watching waits for a revision of which Kine doesn't tell it where another Kine writes, too.
            arguments.push("--feature-gates=WatchList=false".into());
        }
        if !self.others.is_empty() {
            // Not every five minutes, so that whatever befalls several API servers befalls a history that is compacted now and then.
            arguments.push("--etcd-compaction-interval=30s".into());
        }
        arguments
    }

    pub(super) fn controller_manager(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--kubeconfig={}", self.kubeconfig("kube-controller-manager").display()),
            format!("--root-ca-file={}", self.pki("ca.crt").display()),
            format!("--service-account-private-key-file={}", self.pki("token.key").display()),
            // Without it the controllers lack the rights to create what they manage.
            "--use-service-account-credentials=true".into(),
            self.leader_election(),
            "--secure-port=0".into(),
        ];
        arguments.extend(FASTER.map(str::to_owned));
        arguments.extend(self.controller_manager.iter().cloned());
        arguments
    }

    pub(super) fn scheduler(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--kubeconfig={}", self.kubeconfig("kube-scheduler").display()),
            self.leader_election(),
            "--secure-port=0".into(),
        ];
        arguments.extend(FASTER.map(str::to_owned));
        arguments
    }
}
