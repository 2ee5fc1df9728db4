//! Finds out what is judged: many looks at once, each bounded. What can't be seen is a fact, too.

mod followers;
mod served;
mod tried;

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use axum::http::{Request, header::DATE};
use futures::{StreamExt, stream};
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    core::v1::{Event, Namespace, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    client::Body,
    core::{NamespaceResourceScope, PartialObjectMeta},
};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::{
    facts::{Accounts, Asked, Facts, Injecting, Reached, Seen, Server, Unseen, Workloads},
    judge::roles::COMPONENT,
    shipped::{self, Right},
};
use crate::{
    api::{custom_resource_definitions, keys, read},
    cluster::{self, EffectError},
    commands::status::look_at_controller,
    discover::{self, patroni},
};

/// Time for one call.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls at the same time.
const AT_ONCE: usize = 16;

fn unseen(what: &str, error: &EffectError) -> Unseen {
    Unseen(format!("{what} can't be seen: {error}"))
}

/// Everything. `before`: what an installation needs to know.
///
/// # Errors
/// The API server gives no answer at all.
pub(super) async fn gather(client: &Client, namespace: &str, before: bool) -> Result<Facts, EffectError> {
    // Whoever can't even learn the version learns nothing.
    let server = server(client).await?;
    let all = || client.clone();
    let (served, nodes, namespaces, definitions, configurations, databases) = tokio::join!(
        served_kinds(client),
        listed("Nodes", Api::all(all()), ListParams::default()),
        listed("Namespaces", Api::all(all()), ListParams::default()),
        definitions(client),
        listed("MutatingWebhookConfigurations", Api::all(all()), ListParams::default().labels(keys::PART_OF_US)),
        databases(client),
    );
    let stays = |it: &PartialObjectMeta<Namespace>| it.metadata.deletion_timestamp.is_none();
    let mut facts = Facts {
        namespace: namespace.to_owned(),
        now: Timestamp::now(),
        server,
        served,
        nodes,
        // One that is being deleted is nobody's any more.
        namespaces: namespaces.map(|all| all.into_iter().filter(stays).collect()),
        definitions,
        configurations,
        policies: Ok(Vec::new()),
        bindings: Ok(Vec::new()),
        injecting: Ok(Injecting::default()),
        accounts: Accounts::default(),
        rights: Vec::new(),
        workloads: Ok(Workloads::default()),
        lease: Err(Unseen("nobody looked at the Lease".to_owned())),
        certificates: Vec::new(),
        tried: Vec::new(),
        followers: Ok(Vec::new()),
        latencies: Ok(Vec::new()),
        databases,
        reached: Vec::new(),
    };
    if before {
        facts.rights =
            ask(client, namespace, shipped::rights_to_install().into_iter().map(|it| (None, it)).collect()).await;
        return Ok(facts);
    }
    facts.accounts = accounts(client, namespace).await;
    let of_roles = |role: &'static str| shipped::rights_of(role).into_iter().chain(shipped::too_much_for(role));
    let rights = facts.accounts.each().into_iter().flat_map(|(role, account)| {
        let account = format!("system:serviceaccount:{namespace}:{account}");
        of_roles(role).map(move |right| (Some((role, account.clone())), right)).collect::<Vec<_>>()
    });
    let rights = named(rights.collect(), &facts);
    let (policies, bindings, injecting, rights, workloads, lease, certificates, tried, followers, latencies, reached) = tokio::join!(
        listed("ValidatingAdmissionPolicies", Api::all(all()), ListParams::default().labels(keys::PART_OF_US)),
        listed("ValidatingAdmissionPolicyBindings", Api::all(all()), ListParams::default().labels(keys::PART_OF_US)),
        injecting(client),
        ask(client, namespace, rights),
        workloads(client, namespace),
        look_at_controller(client, namespace, || ()),
        served::look(client, &facts),
        tried::try_all(client, &facts),
        followers::look(client, &facts),
        listed("NodeLatencies", Api::all(all()), ListParams::default()),
        reach(&facts),
    );
    facts.lease = lease.ok_or_else(|| Unseen(format!("the Lease in {namespace} can't be seen")));
    (facts.policies, facts.bindings, facts.injecting) = (policies, bindings, injecting);
    (facts.rights, facts.workloads) = (rights, workloads);
    (facts.certificates, facts.tried, facts.followers) = (certificates, tried, followers);
    (facts.latencies, facts.reached) = (latencies, reached);
    facts.now = Timestamp::now();
    Ok(facts)
}

/// Version and clock in one answer, so that the way there and back is known.
async fn server(client: &Client) -> Result<Server, EffectError> {
    let request = Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError);
    let (sent, request) = (Timestamp::now(), request?);
    let answer = cluster::bounded(async {
        let answer = client.send(request).await?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        Ok((date, client.apiserver_version().await?))
    });
    let (date, info) = answer.await?;
    // The header has whole seconds, and what is asked of clocks is coarser.
    let date = date.and_then(|date| Some(rfc2822::parse(&date).ok()?.timestamp()));
    let digits: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
    Ok(Server {
        version: info.git_version,
        minor: digits.parse().ok(),
        ahead_s: date.map(|date| date.duration_since(sent).as_secs()),
    })
}

async fn served_kinds(client: &Client) -> Seen<BTreeSet<String>> {
    let versions: BTreeSet<&str> = shipped::SERVED.iter().filter_map(|it| it.split(' ').next()).collect();
    let ask = |version: &'static str| async move {
        match cluster::bounded(client.list_api_group_resources(version)).await {
            Ok(list) => Ok(list.resources.into_iter().map(|it| format!("{version} {}", it.name)).collect()),
            Err(error) if error.says_gone() => Ok(Vec::new()),
            Err(error) => Err(unseen(version, &error)),
        }
    };
    let answers: Vec<Seen<Vec<String>>> = stream::iter(versions).map(ask).buffer_unordered(AT_ONCE).collect().await;
    Ok(answers.into_iter().collect::<Seen<Vec<_>>>()?.into_iter().flatten().collect())
}

async fn listed<K>(what: &str, api: Api<K>, params: ListParams) -> Seen<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let list = cluster::list_matching(&api, params);
    list.await.map_err(|error| unseen(what, &error))
}

async fn definitions(
    client: &Client,
) -> Seen<Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>> {
    let api = Api::all(client.clone());
    let mut found = Vec::new();
    for own in custom_resource_definitions() {
        let definition = cluster::bounded(api.get_opt(&own.name_any())).await;
        found.extend(definition.map_err(|error| unseen("CustomResourceDefinitions", &error))?);
    }
    Ok(found)
}

/// None, where the API server is older than they are.
async fn injecting(client: &Client) -> Seen<Injecting> {
    let list = async |kind: &str| cluster::injecting(client, kind).await.map_err(|error| unseen(kind, &error));
    let policies = list("MutatingAdmissionPolicy").await?;
    Ok(Injecting { policies, bindings: list("MutatingAdmissionPolicyBinding").await? })
}

/// None, where they have no definition.
async fn databases(client: &Client) -> Seen<Vec<kube::core::DynamicObject>> {
    cluster::databases_if_any(client).await.map_err(|error| unseen("DatabaseClusters", &error))
}

/// As they are called here; where nobody may list them, as they are shipped.
async fn accounts(client: &Client, namespace: &str) -> Accounts {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let names = listed("ServiceAccounts", api, ListParams::default().labels(keys::PART_OF_US)).await;
    let names: Vec<String> = names.iter().flatten().map(ResourceExt::name_any).collect();
    let of = |shipped: String| names.iter().find(|name| shipped::is_named(name, &shipped)).cloned().unwrap_or(shipped);
    let Accounts { controller, webhook, agent } = Accounts::default();
    Accounts { controller: of(controller), webhook: of(webhook), agent: of(agent) }
}

/// Of whom a right is asked, and which.
type Question = (Option<(&'static str, String)>, Right);

/// The webhook's configuration may have a prefix to its name.
fn named(rights: Vec<Question>, facts: &Facts) -> Vec<Question> {
    let name = facts.configurations.iter().flatten().map(ResourceExt::name_any).next();
    let own = |(whose, mut right): Question| {
        if right.resource == "mutatingwebhookconfigurations" && right.name.is_some() {
            right.name = name.clone().or(right.name);
        }
        (whose, right)
    };
    rights.into_iter().map(own).collect()
}

async fn ask(client: &Client, namespace: &str, rights: Vec<Question>) -> Vec<Asked> {
    let one = |(whose, right): Question| async move {
        let allowed = allowed(client, namespace, whose.as_ref().map(|(_, user)| &**user), &right).await;
        Asked { role: whose.map(|(role, _)| role), right, allowed }
    };
    stream::iter(rights).map(one).buffered(AT_ONCE).collect().await
}

/// Of whoever asks, or of this account.
async fn allowed(client: &Client, namespace: &str, account: Option<&str>, right: &Right) -> Seen<bool> {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    let attributes = Some(ResourceAttributes {
        group: Some(right.group.clone()),
        name: right.name.clone(),
        namespace: right.own_namespace.then(|| namespace.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        verb: Some(right.verb.clone()),
        ..ResourceAttributes::default()
    });
    let params = PostParams::default();
    let status = match account {
        None => {
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: attributes, ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            cluster::bounded(Api::all(client.clone()).create(&params, &review)).await.map(|it| it.status)
        }
        Some(account) => {
            let groups =
                ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
            let spec = SubjectAccessReviewSpec {
                user: Some(account.to_owned()),
                groups: Some(groups.map(str::to_owned).to_vec()),
                resource_attributes: attributes,
                ..Default::default()
            };
            let review = SubjectAccessReview { spec, ..Default::default() };
            cluster::bounded(Api::all(client.clone()).create(&params, &review)).await.map(|it| it.status)
        }
    };
    let status = status.map_err(|error| unseen("what accounts may do", &error))?;
    Ok(status.is_some_and(|status| status.allowed))
}

async fn workloads(client: &Client, namespace: &str) -> Seen<Workloads> {
    let named = || ListParams::default().labels(&format!("app.kubernetes.io/name=switchover,{COMPONENT}"));
    let refused = ListParams::default().fields("reason=FailedCreate");
    let (deployments, sets, events) = tokio::join!(
        listed::<Deployment>("Deployments", own(client, namespace), named()),
        listed::<DaemonSet>("DaemonSets", own(client, namespace), named()),
        listed::<Event>("Events", own(client, namespace), refused),
    );
    // Without the events it is only not said why.
    let refusals =
        events.unwrap_or_default().into_iter().filter_map(|event| Some((event.involved_object.name?, event.message?)));
    Ok(Workloads { deployments: deployments?, sets: sets?, refusals: refusals.collect() })
}

fn own<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// Whether a connection to each member can be made from here: to its REST API, or to the database.
async fn reach(facts: &Facts) -> Vec<Reached> {
    let mut members = Vec::new();
    for database in facts.databases.iter().flatten() {
        let name = database.name_any();
        let Ok(object) = read::database(database.clone()) else { continue };
        let hosts = discover::host_rules(&object.spec.discovery);
        for member in object.status.unwrap_or_default().members {
            let api = member.api_url.as_deref().and_then(|url| Some((patroni::host_of(url)?, port_of(url))));
            let (host, port) = api.unwrap_or((member.host, member.port));
            // Members list whom they like.
            if hosts.refuse(&host).is_none() {
                members.push((name.clone(), member.name, host, port));
            }
        }
    }
    let one = |(database, member, host, port): (String, String, String, u16)| async move {
        let address = format!("{host}:{port}");
        let reached = match tokio::time::timeout(PATIENCE, TcpStream::connect((&*host, port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        Reached { database, member, address, reached }
    };
    stream::iter(members).map(one).buffered(AT_ONCE).collect().await
}

fn port_of(url: &str) -> u16 {
    reqwest::Url::parse(url).ok().and_then(|url| url.port_or_known_default()).unwrap_or_default()
}
