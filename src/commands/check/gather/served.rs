//! What each replica of the webhook serves. With least rights: through the API server, at the port of the replica's health, which needs
//! `get` of `pods/proxy`; where the API server calls a URL, from there; and where nobody can be asked, by the Secret that replicas mount.

use axum::http::Request;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{AT_ONCE, COMPONENT, PATIENCE, listed, unseen};
use crate::{
    certificates::{
        install::SECRET,
        served::{self, Chain},
    },
    cluster,
    commands::check::facts::{Facts, Seen, Shown, Unseen},
    discover::patroni,
    webhook::CERTIFICATE,
};

/// The port of a pod at which it tells of its health.
const HEALTH: &str = "health";

pub(super) async fn look(client: &Client, facts: &Facts) -> Vec<Shown> {
    let configurations = facts.configurations.iter().flatten();
    let webhook = configurations.flat_map(|it| it.webhooks.iter().flatten()).next();
    if let Some(url) = webhook.and_then(|webhook| webhook.client_config.url.as_deref()) {
        return vec![Shown { by: url.to_owned(), chain: at(url).await }];
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &facts.namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name=switchover,{COMPONENT}=webhook"));
    let pods = match listed("the webhook's Pods", pods, ours).await {
        Ok(pods) => pods,
        Err(unseen) => return vec![Shown { by: "the webhook".to_owned(), chain: Err(unseen) }],
    };
    let running =
        pods.into_iter().filter(|pod| pod.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Running")));
    let shown: Vec<Shown> = stream::iter(running)
        .map(|pod| async move {
            let by = format!("pod {}", pod.name_any());
            Shown { by, chain: through_the_api_server(client, &facts.namespace, &pod).await }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    if !shown.is_empty()
        && shown.iter().all(|it| it.chain.is_err())
        && let Ok(chain) = in_the_secret(client, &facts.namespace).await
    {
        return vec![Shown { by: format!("the Secret {SECRET}"), chain: Ok(chain) }];
    }
    shown
}

async fn at(url: &str) -> Seen<Chain> {
    let host = patroni::host_of(url).ok_or_else(|| Unseen("it is no URL".to_owned()))?;
    served::look(&host, super::port_of(url), PATIENCE).await.map_err(|error| Unseen(error.to_string()))
}

async fn through_the_api_server(client: &Client, namespace: &str, pod: &Pod) -> Seen<Chain> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port =
        ports.into_iter().find(|port| port.name.as_deref() == Some(HEALTH)).map_or(8080, |port| port.container_port);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}:{port}/proxy{CERTIFICATE}", pod.name_any());
    let request = Request::get(path).body(Vec::new()).map_err(|error| Unseen(error.to_string()))?;
    let pem =
        cluster::bounded(client.request_text(request)).await.map_err(|error| unseen("its certificate", &error))?;
    Chain::read(pem.as_bytes()).ok_or_else(|| Unseen("it shows no certificate".to_owned()))
}

async fn in_the_secret(client: &Client, namespace: &str) -> Seen<Chain> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = cluster::bounded(api.get(SECRET)).await.map_err(|error| unseen("the Secret", &error))?;
    let pem = secret.data.and_then(|mut data| data.remove("tls.crt"));
    pem.and_then(|pem| Chain::read(&pem.0)).ok_or_else(|| Unseen("it holds no certificate".to_owned()))
}
