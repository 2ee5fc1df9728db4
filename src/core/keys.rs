//! Every label, annotation and taint key that switchover reads or writes, in one place.

/// Namespace label (opt-in) and pod or namespace annotation (override): the names of the databases to follow,
/// separated by commas (annotations only), or `none`.
pub const FOLLOW: &str = "switchover.dev/follow";
/// The value of [`FOLLOW`] that opts out.
pub const FOLLOW_NONE: &str = "none";
/// Annotation: `preferred`, `avoid-far` or `required`.
pub const AFFINITY: &str = "switchover.dev/affinity";
/// Annotation: the weight of the preferred terms, 1 to 100.
pub const WEIGHT: &str = "switchover.dev/weight";
/// Annotation: `auto`, `evict`, `restart` or `never`.
pub const MOVE: &str = "switchover.dev/move";
/// Annotation of a namespace, workload, pod or DatabaseCluster: nothing of it is moved. A reason, or `true`.
pub const PAUSED: &str = "switchover.dev/paused";
/// Annotation beside [`PAUSED`]: who paused it.
pub const PAUSED_BY: &str = "switchover.dev/paused-by";
/// Annotation beside [`PAUSED`] or in its place: when that ends (RFC 3339).
pub const PAUSED_UNTIL: &str = "switchover.dev/paused-until";
/// Annotation of a workload: when somebody asked that it be moved now (RFC 3339).
pub const MOVE_NOW: &str = "switchover.dev/move-now";
/// By this label everything of an installation is selected.
pub const PART_OF_US: &str = "app.kubernetes.io/part-of=switchover";
/// What every key of ours begins with that people write on objects of theirs.
pub const DOMAIN: &str = "switchover.dev/";
/// Annotation that admission writes: what was injected, and for which database epoch.
pub const INJECTED: &str = "switchover.dev/injected";
/// Annotation of a workload's pod template, and so of its pods: the database and epoch that it was restarted for, and which
/// time that was (`core::restart`). Changing it is what starts the rollout. Of a Rollout of Argo's it stands on the object itself, beside
/// `spec.restartAt`: in its template it would be a new version.
pub const RESTARTED_FOR: &str = "switchover.dev/restarted-for";
/// Node annotation: `"false"` keeps switchover's hands off the node's label and taint.
pub const MANAGE: &str = "switchover.dev/manage";

/// Annotation of a DatabaseCluster: a person's decision on who is primary, as `switchover resume --primary` writes it.
pub const DECISION: &str = "switchover.dev/decision";
/// Finalizer of a DatabaseCluster that has labelled nodes: it goes when the labels have gone.
pub const FINALIZER: &str = "switchover.dev/nodes";

/// Node label of the database that is named [`DEFAULT_DATABASE`].
pub const DEFAULT_NODE_LABEL: &str = "switchover";
/// What the node labels of the other databases begin with, unless they name their own.
pub const NODE_LABEL_PREFIX: &str = "switchover.dev/";
/// The database whose node label is [`DEFAULT_NODE_LABEL`].
pub const DEFAULT_DATABASE: &str = "default";

/// The node label (and taint) key of a database that names none of its own.
#[must_use]
pub fn default_node_label(database: &str) -> String {
    if database == DEFAULT_DATABASE { DEFAULT_NODE_LABEL.to_owned() } else { format!("{NODE_LABEL_PREFIX}{database}") }
}

/// The field manager of everything that the controller writes.
pub const FIELD_MANAGER: &str = "switchover";

/// Annotation of the webhook's Secret and configuration that the controller writes: since when this certificate is
/// served, or these authorities are trusted (RFC 3339).
pub const SINCE: &str = "switchover.dev/since";
