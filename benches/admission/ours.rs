//! The product: its handler, its listener, a view filled by hand.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use switchover::{
    admission::View,
    core::{
        affinity::{Database, Namespace, Node, PrimaryBelief, TierSummary},
        follow::{AffinityMode, DatabaseDefaults, MoveMode, Weight},
        label_key::LabelKey,
    },
    serve::{self, ConnectionMetrics},
    webhook::{Handler, WebhookConfig, WebhookMetrics},
};

/// The name of the opted-in namespace of this number.
pub(crate) fn namespace(number: usize) -> String {
    format!("team-{number}")
}

/// The database that it follows.
fn database(number: usize) -> String {
    if number == 0 { "default".to_owned() } else { format!("database-{number}") }
}

pub(crate) fn view(namespaces: usize, databases: usize) -> View {
    let opted_in = (0..namespaces).map(|number| {
        let namespace_facts = Namespace { label: Some(database(number % databases).into()), ..Namespace::default() };
        (namespace(number).into(), namespace_facts)
    });
    let known = (0..databases).map(|number| {
        let name = database(number);
        let node_label = LabelKey::of_database(&name).expect("a key");
        (name.into(), facts(&node_label))
    });
    View {
        namespaces: Arc::new(opted_in.collect::<HashMap<_, _>>()),
        databases: Arc::new(known.collect::<HashMap<_, _>>()),
        own_namespace: "switchover-system".into(),
        ..View::default()
    }
}

/// A database as 100 nodes see it.
fn facts(node_label: &LabelKey) -> Database {
    let tiers = ["closely", "intermediate", "far"];
    let nodes: Vec<_> =
        (0..100).map(|n| Arc::new(Node::new(&format!("node-{n}"), true, [(&**node_label, tiers[n % 3])]))).collect();
    Database {
        defaults: DatabaseDefaults {
            node_label: node_label.clone(),
            mode: AffinityMode::Preferred,
            weight: Weight::default(),
            move_mode: MoveMode::Evict,
        },
        primary: PrimaryBelief::Known,
        epoch: 1,
        fresh_until: Instant::now() + Duration::from_secs(86_400),
        nodes: TierSummary::new(&nodes, node_label).into(),
    }
}

pub(crate) async fn serve(tls: Arc<ServerConfig>, view: View) -> anyhow::Result<SocketAddr> {
    let config = WebhookConfig::default();
    let mut registry = switchover::metrics::registry();
    let metrics = WebhookMetrics::register(&mut registry);
    let connections = ConnectionMetrics::register(&mut registry);
    let handler = Handler::new(Arc::new(ArcSwap::from_pointee(view)), metrics, &config);
    let (address, _) = serve::serve_tls(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        tls,
        handler,
        config.limits,
        connections,
        serve::Ending::default(),
    )
    .await?;
    Ok(address)
}
