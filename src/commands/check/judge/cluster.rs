//! The cluster itself, and whether switchover could be installed there.

use kube::ResourceExt;

use crate::{
    api::keys,
    commands::check::{
        facts::Facts,
        found::{Found, Mark},
        shipped::{self, Right},
    },
    core::distance::tier::Tier,
};

pub(in crate::commands::check) fn version(facts: &Facts) -> Found {
    let (server, oldest) = (&facts.server, shipped::oldest_minor());
    match server.minor {
        None => Found::default().and(Mark::Unclear, format!("the API server calls its version {}", server.version)),
        Some(minor) if minor < oldest => {
            Found::wrong(format!("it is {}; switchover needs 1.{oldest} or newer", server.version))
        }
        Some(_) => Found::right(server.version.clone()),
    }
}

pub(in crate::commands::check) fn features(facts: &Facts) -> Found {
    let served = match &facts.served {
        Ok(served) => served,
        Err(unseen) => return Found::unclear(unseen),
    };
    let missing: Vec<&str> = shipped::SERVED.into_iter().filter(|it| !served.contains(*it)).collect();
    let mut found = Found::default();
    found.tell_of(Mark::Wrong, &missing, |missing| format!("it doesn't serve {missing}"));
    found
}

/// Seconds by which two clocks may differ before anybody needs to know.
const CLOCKS_DIFFER_S: i64 = 10;
/// And before what is signed here isn't valid there.
const CLOCKS_ARE_WRONG_S: i64 = 3600;

pub(in crate::commands::check) fn clocks(facts: &Facts) -> Found {
    let Some(ahead_s) = facts.server.ahead_s else {
        return Found::default().and(Mark::Unclear, "the API server doesn't say what time it is there");
    };
    let (by, way) = (ahead_s.abs(), if ahead_s > 0 { "ahead of" } else { "behind" });
    let told = format!("the API server's clock is {by} s {way} this machine's");
    match by {
        CLOCKS_ARE_WRONG_S.. => Found::wrong(told),
        by if by > CLOCKS_DIFFER_S => Found::default().and(Mark::Warning, told),
        _ => Found::right(format!("{by} s apart")),
    }
}

const ZONE: &str = "topology.kubernetes.io/zone";

pub(in crate::commands::check) fn zones(facts: &Facts) -> Found {
    let nodes = match &facts.nodes {
        Ok(nodes) => nodes,
        Err(unseen) => return Found::unclear(unseen),
    };
    let mut names: Vec<&str> = nodes.iter().filter_map(|node| node.labels().get(ZONE)).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let without: Vec<String> =
        nodes.iter().filter(|it| !it.labels().contains_key(ZONE)).map(|it| it.name_any()).collect();
    let mut found = Found::right(format!("{} nodes in {}", nodes.len(), names.join(", ")));
    if !nodes.is_empty() && without.len() == nodes.len() {
        found.tell(Mark::Warning, format!("no node bears the label {ZONE}"));
    } else {
        let (some, all) = (without.len(), nodes.len());
        found.tell_of(Mark::Warning, &without, |names| {
            format!("{some} of {all} nodes don't bear the label {ZONE}: {names}")
        });
    }
    found
}

/// Whoever may escalate may write roles that may do more than he does.
pub(in crate::commands::check) fn may_install(facts: &Facts) -> Found {
    let mine = || facts.rights.iter().filter(|asked| asked.role.is_none());
    let escalates = mine().any(|asked| asked.right.verb == "escalate" && asked.allowed == Ok(true));
    let needed = |right: &Right| right.verb != "escalate" && (right.by.is_empty() || !escalates);
    let mut found = Found::default();
    let (mut missing, mut unknown) = (Vec::new(), Vec::new());
    for asked in mine().filter(|asked| needed(&asked.right)) {
        match &asked.allowed {
            Ok(true) => {}
            Ok(false) => missing.push(&asked.right),
            Err(unseen) => unknown.push(&*unseen.0),
        }
    }
    let (to_create, to_grant): (Vec<&Right>, Vec<&Right>) = missing.into_iter().partition(|right| right.by.is_empty());
    found.tell_of(Mark::Wrong, &to_create, |rights| format!("you may not {rights}"));
    found.tell_of(Mark::Wrong, &to_grant, |rights| {
        format!("you may not grant what the roles need (escalate clusterroles, or have it yourself): {rights}")
    });
    if let Some(why) = unknown.first() {
        found.tell(Mark::Unclear, *why);
    }
    found
}

pub(in crate::commands::check) fn nothing_in_the_way(facts: &Facts) -> Found {
    let mut found = Found::default();
    match &facts.configurations {
        Err(unseen) => found.tell(Mark::Unclear, &*unseen.0),
        Ok(configurations) => {
            for (configuration, namespace) in super::roles::called(configurations) {
                if namespace == facts.namespace {
                    found.detail =
                        format!("{configuration} is there already, for this namespace: this would be an upgrade");
                } else {
                    found.tell(
                        Mark::Wrong,
                        format!("switchover is installed already, in the namespace {namespace} ({configuration})"),
                    );
                }
            }
        }
    }
    match &facts.definitions {
        Err(unseen) => found.tell(Mark::Unclear, &*unseen.0),
        Ok(definitions) => {
            let going: Vec<String> = definitions
                .iter()
                .filter(|it| it.metadata.deletion_timestamp.is_some())
                .map(ResourceExt::name_any)
                .collect();
            found
                .tell_of(Mark::Wrong, &going, |names| format!("a definition is being deleted and doesn't go: {names}"));
        }
    }
    if let Ok(namespaces) = &facts.namespaces {
        let going =
            namespaces.iter().find(|it| it.name_any() == facts.namespace && it.metadata.deletion_timestamp.is_some());
        if going.is_some() {
            found.tell(Mark::Wrong, format!("the namespace {} is being deleted", facts.namespace));
        }
    }
    match &facts.nodes {
        Err(unseen) => found.tell(Mark::Unclear, &*unseen.0),
        Ok(nodes) => {
            let label = keys::DEFAULT_NODE_LABEL;
            let is_tier = |value: &str| Tier::from_label(Some(value)) != Tier::Unknown;
            let theirs: Vec<String> = nodes
                .iter()
                .filter(|node| node.labels().get(label).is_some_and(|value| !is_tier(value)))
                .map(|node| node.name_any())
                .collect();
            found.tell_of(Mark::Wrong, &theirs, |names| {
                format!("somebody else uses the label {label}, which the database named default would need: {names}")
            });
            let installed = facts.definitions.as_ref().is_ok_and(|it| !it.is_empty());
            let is_left =
                |key: &str, value: &str| (key == label || key.starts_with(keys::NODE_LABEL_PREFIX)) && is_tier(value);
            let left: Vec<String> = nodes
                .iter()
                .filter(|node| !installed && node.labels().iter().any(|(key, value)| is_left(key, value)))
                .map(|node| node.name_any())
                .collect();
            found.tell_of(Mark::Warning, &left, |names| {
                format!("nodes bear labels of an installation that is gone: {names}")
            });
        }
    }
    found
}

pub(in crate::commands::check) fn definitions(facts: &Facts) -> Found {
    let definitions = match &facts.definitions {
        Ok(definitions) => definitions,
        // Whoever may read the objects sees that they are served.
        Err(unseen) => return Found::unclear(unseen),
    };
    let mut found = Found::right(format!("those of switchover {}", env!("CARGO_PKG_VERSION")));
    for ours in crate::api::custom_resource_definitions() {
        let name = ours.name_any();
        let Some(theirs) = definitions.iter().find(|it| it.name_any() == name) else {
            found.tell(Mark::Wrong, format!("{name} is missing"));
            continue;
        };
        let conditions = theirs.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        if !conditions.iter().any(|it| it.type_ == "Established" && it.status == "True") {
            let why = conditions.iter().find(|it| it.status == "False").and_then(|it| it.message.clone());
            found.tell(Mark::Wrong, format!("{name} isn't established: {}", why.unwrap_or_default()));
        } else if theirs.metadata.deletion_timestamp.is_some() {
            found.tell(Mark::Wrong, format!("{name} is being deleted"));
        } else if !same_schema(&ours, theirs) {
            let version = env!("CARGO_PKG_VERSION");
            found.tell(Mark::Wrong, format!("{name} isn't that of this program, switchover {version}"));
        }
    }
    found
}

/// By what is served, as the API server tells it again.
fn same_schema(
    ours: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    theirs: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> bool {
    ours.spec
        .versions
        .iter()
        .all(|own| theirs.spec.versions.iter().any(|it| it.name == own.name && it.served && it.schema == own.schema))
}
