//! The certificates and kubeconfigs of a control plane, and what its API server shows to webhooks.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Settings, kubeconfig_for};
use crate::pki::{self, Authority};

/// The name in the certificate that the API server shows to webhooks; the bed's authority signed it.
pub const WEBHOOK_CLIENT: &str = "kube-apiserver-webhooks";

/// `--admission-control-config-file`: mutating webhooks are called with what this kubeconfig says, and the critical priority classes
/// are for namespaces with a quota for them, as on GKE.
fn admission_configuration(kubeconfig: &Path) -> String {
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{
            "name": "MutatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": kubeconfig.display().to_string(),
            },
        }, {
            "name": "ResourceQuota",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ResourceQuotaConfiguration",
                "limitedResources": [{
                    "resource": "pods",
                    "matchScopes": [{
                        "scopeName": "PriorityClass",
                        "operator": "In",
                        "values": ["system-cluster-critical", "system-node-critical"],
                    }],
                }],
            },
        }],
    });
    format!("{configuration:#}\n")
}

pub(super) fn write(settings: &Settings) -> Result<()> {
    fs::create_dir_all(settings.pki(""))?;
    let authority = Authority::new()?;
    let write = |name: &str, text: &str| pki::write_private(&settings.pki(name), text);
    write("ca.crt", &authority.certificate())?;
    let (private, public) = pki::token_key()?;
    write("token.key", &private)?;
    write("token.pub", &public)?;

    let names = ["127.0.0.1", "10.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let addresses: Vec<String> = settings.others.iter().chain([&settings.address]).map(ToString::to_string).collect();
    let alternatives: Vec<&str> = addresses.iter().map(String::as_str).chain(names).collect();
    let server = authority.issue("kube-apiserver", None, &alternatives)?;
    write("apiserver.crt", &server.certificate)?;
    write("apiserver.key", &server.key)?;

    let admin = authority.issue("admin", Some("system:masters"), &[])?;
    write("admin.crt", &admin.certificate)?;
    write("admin.key", &admin.key)?;
    let kubeconfig = |user: &str, identity: &pki::Identity| {
        pki::write_private(&settings.kubeconfig(user), &authority.kubeconfig(&settings.url(), identity))
    };
    kubeconfig("admin", &admin)?;
    for component in ["kube-controller-manager", "kube-scheduler"] {
        kubeconfig(component, &authority.issue(&format!("system:{component}"), None, &[])?)?;
    }
    // Webhooks may ask who calls them.
    let client = authority.issue(WEBHOOK_CLIENT, None, &[])?;
    write("webhooks.kubeconfig", &pki::webhook_kubeconfig(&client))?;
    write("admission.json", &admission_configuration(&settings.pki("webhooks.kubeconfig")))?;
    let url = settings.url_of_nodes.clone().unwrap_or_else(|| settings.url());
    for node in &settings.nodes {
        let identity = authority.issue(&format!("system:node:{node}"), Some("system:nodes"), &[])?;
        pki::write_private(&settings.kubeconfig(node), &authority.kubeconfig(&url, &identity))?;
    }
    Ok(())
}

/// What another control plane of the same cluster was given; its programs ask their own API server.
pub(super) fn copy(first: &Path, settings: &Settings) -> Result<()> {
    fs::create_dir_all(settings.pki(""))?;
    for entry in fs::read_dir(first.join("pki")).with_context(|| format!("no certificates in {}", first.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), settings.pki("").join(entry.file_name()));
        let own =
            ["admin", "kube-controller-manager", "kube-scheduler"].map(|user| settings.kubeconfig(user)).contains(&to);
        match own {
            true => pki::write_private(&to, &kubeconfig_for(&from, &settings.url())?)?,
            false => drop(fs::copy(&from, &to)?),
        }
    }
    // The first one's files name its own directory.
    pki::write_private(&settings.pki("admission.json"), &admission_configuration(&settings.pki("webhooks.kubeconfig")))
}
