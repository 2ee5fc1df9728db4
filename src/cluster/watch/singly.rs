//! Objects that are read one by one as soon as one of them can't be read, so that it stops no other.
//!
//! An API server and this program may be of different versions, and a field of one object may have a type that this one
//! doesn't expect. Parsed as a list such an object fails the whole list, and its watch for ever. Reading one by one takes
//! more memory and time (kube buffers each object), so that it begins only when it has to.

use std::{collections::BTreeSet, fmt::Debug, future::ready};

use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::watcher::{Error, Event},
};
use serde::de::DeserializeOwned;

use super::Health;

/// All objects of a kind, or those of a namespace.
#[derive(Debug, Clone)]
pub struct Objects<K> {
    pub(super) together: Api<K>,
    pub(super) singly: Api<DeserializeGuard<K>>,
}

impl<K> Objects<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    #[must_use]
    pub fn all(client: &Client) -> Self {
        Self { together: Api::all(client.clone()), singly: Api::all(client.clone()) }
    }

    #[must_use]
    pub fn namespaced(client: &Client, namespace: &str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        Self {
            together: Api::namespaced(client.clone(), namespace),
            singly: Api::namespaced(client.clone(), namespace),
        }
    }
}

/// The events up to an object that can't be read.
pub(super) fn until_unreadable<K>(
    events: impl Stream<Item = Result<Event<K>, Error>>,
    kind: &'static str,
) -> impl Stream<Item = Result<Event<K>, Error>> {
    events.take_while(move |event| {
        let unreadable = event.as_ref().err().filter(|error| is_unreadable(error));
        if let Some(error) = unreadable {
            tracing::warn!(
                kind,
                error = error as &dyn std::error::Error,
                "an object can't be read; reading one by one"
            );
        }
        ready(unreadable.is_none())
    })
}

fn is_unreadable(error: &Error) -> bool {
    let cause = match error {
        Error::InitialListFailed(cause) | Error::WatchStartFailed(cause) | Error::WatchFailed(cause) => cause,
        Error::WatchError(_) | Error::NoResourceVersion => return false,
    };
    matches!(cause, kube::Error::SerdeError(_))
}

/// The events of objects that can be read; of one that can't, what was known before stays. Ends when such a one is deleted,
/// because what is gone shows in a new list.
pub(super) fn readable<K: Resource<DynamicType = ()>>(
    events: impl Stream<Item = Result<Event<DeserializeGuard<K>>, Error>>,
    health: Health,
) -> impl Stream<Item = Result<Event<K>, Error>> {
    let mut unreadable = BTreeSet::new();
    let read = move |event| {
        let read = read(event, &mut unreadable, health.kind);
        health.set_unreadable(unreadable.len());
        read
    };
    events.map_ok(read).take_while(|read| ready(!matches!(read, Ok(Read::Gone)))).try_filter_map(|read| {
        ready(Ok(match read {
            Read::Event(event) => Some(event),
            Read::Nothing | Read::Gone => None,
        }))
    })
}

enum Read<K> {
    Event(Event<K>),
    Nothing,
    Gone,
}

fn read<K: Resource<DynamicType = ()>>(
    event: Event<DeserializeGuard<K>>,
    unreadable: &mut BTreeSet<String>,
    kind: &'static str,
) -> Read<K> {
    let (object, to): (_, fn(K) -> Event<K>) = match event {
        Event::Init => {
            unreadable.clear();
            return Read::Event(Event::Init);
        }
        Event::InitDone => return Read::Event(Event::InitDone),
        Event::Apply(object) => (object, Event::Apply),
        Event::InitApply(object) => (object, Event::InitApply),
        Event::Delete(object) => {
            unreadable.remove(&name(&object));
            return object.0.map_or(Read::Gone, |object| Read::Event(Event::Delete(object)));
        }
    };
    let name = name(&object);
    match object.0 {
        Ok(object) => {
            unreadable.remove(&name);
            Read::Event(to(object))
        }
        Err(invalid) => {
            if unreadable.insert(name.clone()) {
                tracing::warn!(kind, name, error = invalid.error, "this object can't be read; going on without it");
            }
            Read::Nothing
        }
    }
}

fn name<K: Resource<DynamicType = ()>>(object: &DeserializeGuard<K>) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Json, Router, extract::RawQuery, http::StatusCode, response::IntoResponse, routing::get};
    use k8s_openapi::api::core::v1::Node;
    use kube::runtime::watcher;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::{
        super::{Table, run},
        *,
    };

    fn node(name: &str, unschedulable: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "resourceVersion": "5"},
               "spec": {"unschedulable": unschedulable}})
    }

    fn event(kind: &str, object: &Value) -> String {
        // As the API server writes it, the type first.
        format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
    }

    /// Lists the first ones once, and then the others; tells these events of the first watch that is asked for.
    fn server(first: Vec<Value>, told: String, then: Vec<Value>) -> Client {
        let (lists, watches) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let answer = move |RawQuery(query): RawQuery| {
            let next = |of: &AtomicUsize| of.fetch_add(1, Ordering::Relaxed);
            let watch = query.is_some_and(|query| query.contains("watch="));
            let told = (watch && next(&watches) == 0).then(|| told.clone());
            let items = if watch || next(&lists) > 0 { then.clone() } else { first.clone() };
            async move {
                match told {
                    Some(told) => told.into_response(),
                    None if watch => std::future::pending::<StatusCode>().await.into_response(),
                    None => {
                        let metadata = json!({"resourceVersion": "7"});
                        let list =
                            json!({"apiVersion": "v1", "kind": "NodeList", "metadata": metadata, "items": items});
                        Json(list).into_response()
                    }
                }
            }
        };
        Client::new(Router::new().route("/api/v1/nodes", get(answer)), "default")
    }

    /// Names of the nodes that are known when `done` holds, each with `!` if it is closed.
    async fn watched(client: &Client, health: &Health, done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (table, seen) = (Mutex::new(Table::<String, bool>::default()), tokio::sync::Notify::new());
        let known = || {
            let mut known: Vec<_> =
                table.lock().iter().map(|(name, closed)| format!("{name}{}", if *closed { "!" } else { "" })).collect();
            known.sort_unstable();
            known
        };
        let apply = |event| {
            table.lock().apply(event, |node: Node| {
                let closed = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
                (node.name_any(), Some(closed))
            });
            seen.notify_one();
        };
        let follow = run(Objects::all(client), watcher::Config::default(), health.clone(), apply);
        let until = async {
            while !done(&known()) {
                seen.notified().await;
            }
        };
        let bounded = tokio::time::timeout(std::time::Duration::from_secs(20), until);
        tokio::select! {
            () = follow => panic!("the watch ended"),
            ended = bounded => ended.unwrap_or_else(|_| panic!("{:?}", known())),
        }
        known()
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_stops_no_other_and_is_counted() {
        let listed = vec![node("n1", json!(true)), node("n2", json!("perhaps")), node("n3", json!(false))];
        let health = Health::new("Node");
        let client = server(listed.clone(), String::new(), listed);
        let known = watched(&client, &health, |known| known.len() == 2).await;
        assert_eq!((known, health.unreadable()), (vec!["n1!".to_owned(), "n3".to_owned()], 1));
    }

    #[tokio::test]
    async fn a_watch_goes_on_after_an_object_became_unreadable() {
        let first = vec![node("n1", json!(false))];
        let told = event("MODIFIED", &node("n1", json!("perhaps")));
        let then = vec![node("n1", json!("perhaps")), node("n2", json!(false))];
        let health = Health::new("Node");
        let known = watched(&server(first, told, then), &health, |known| known == ["n2"]).await;
        assert_eq!((known, health.unreadable()), (vec!["n2".to_owned()], 1));
    }

    #[test]
    fn an_object_that_becomes_unreadable_stays_as_it_was_until_it_is_gone() {
        let mut unreadable = BTreeSet::new();
        let guarded = |value: Value| serde_json::from_value::<DeserializeGuard<Node>>(value).unwrap();
        let mut kinds = Vec::new();
        for event in [
            Event::Init,
            Event::InitApply(guarded(node("n1", json!(false)))),
            Event::InitApply(guarded(node("n2", json!(1)))),
            Event::InitDone,
            Event::Apply(guarded(node("n2", json!(true)))),
            Event::Apply(guarded(node("n1", json!(1)))),
            Event::Delete(guarded(node("n1", json!(1)))),
        ] {
            let said = match read(event, &mut unreadable, "Node") {
                Read::Event(Event::Init | Event::InitDone) => "list",
                Read::Event(_) => "event",
                Read::Nothing => "nothing",
                Read::Gone => "gone",
            };
            kinds.push((said, unreadable.len()));
        }
        let expected =
            [("list", 0), ("event", 0), ("nothing", 1), ("list", 1), ("event", 0), ("nothing", 1), ("gone", 0)];
        assert_eq!(kinds, expected);
    }
}
