//! What is added to a pod, as JSON patch operations (RFC 6902).
//!
//! Only `add` is used, and never under a parent that is missing: a patch that does not apply would fail the pod's
//! creation even under `failurePolicy: Ignore`.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    pod::{Metadata, NodeAffinity, PreferredTerm, Requirement, Spec, Term},
    rules,
};
use crate::core::{distance::tier::Tier, follow::FollowedDatabase, keys, label_key::LabelKey, selector};

/// No patch has more bytes.
pub const MOST: usize = 64 * 1024;
/// No requirements take more bytes of it: what is left is more than sixteen preferences and a record of eight databases
/// take.
pub const MOST_REQUIRED: usize = 48 * 1024;
/// No object has more bytes of annotations, keys and values together (`TotalAnnotationSizeLimitB`).
pub const MOST_ANNOTATIONS: usize = 256 * 1024;

/// One `add`.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    op: &'static str,
    pub path: Cow<'static, str>,
    pub value: Addition,
}

/// What one operation adds.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum Addition {
    #[serde(rename_all = "camelCase")]
    Affinity {
        node_affinity: NewNodeAffinity,
    },
    NodeAffinity(NewNodeAffinity),
    Required(NewNodeSelector),
    Expressions(Vec<Expression>),
    Expression(Expression),
    Preferences(Vec<Preference>),
    Preference(Preference),
    Metadata {
        annotations: NewAnnotations,
    },
    Annotations(NewAnnotations),
    Text(String),
}

/// `spec.affinity.nodeAffinity` as it is written.
#[derive(Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NewNodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Option::is_none")]
    required: Option<NewNodeSelector>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Vec::is_empty")]
    preferred: Vec<Preference>,
}

/// Terms of which a node must meet one.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NewNodeSelector {
    node_selector_terms: [NewTerm; 1],
}

/// One of these terms.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NewTerm {
    match_expressions: Vec<Expression>,
}

/// The annotations that are added.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct NewAnnotations {
    #[serde(rename = "switchover.dev/injected")]
    injected: String,
}

/// One weighted term of the preferred node affinity.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    weight: u8,
    preference: PreferenceTerm,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct PreferenceTerm {
    match_expressions: [Expression; 1],
}

/// One requirement on a database's node label.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    key: LabelKey,
    operator: &'static str,
    values: [&'static str; 1],
}

const CLOSELY: &str = "closely";
const INTERMEDIATE: &str = "intermediate";
const FAR: &str = "far";

impl Expression {
    /// The node must be closely.
    #[must_use]
    pub fn closely(node_label: &LabelKey) -> Self {
        Self { key: node_label.clone(), operator: "In", values: [CLOSELY] }
    }

    fn intermediate(node_label: &LabelKey) -> Self {
        Self { key: node_label.clone(), operator: "In", values: [INTERMEDIATE] }
    }

    /// The node must not be far. A node without the label was never measured and is not far.
    #[must_use]
    pub fn not_far(node_label: &LabelKey) -> Self {
        Self { key: node_label.clone(), operator: "NotIn", values: [FAR] }
    }

    /// The same, for whoever compares it with a pod's own rules.
    #[must_use]
    pub fn plain(&self) -> selector::Expression {
        let operator = if self.operator == "In" { selector::Operator::In } else { selector::Operator::NotIn };
        let values = self.values.iter().map(ToString::to_string).collect();
        selector::Expression { key: self.key.to_string(), operator, values }
    }

    /// Whether a node satisfies it.
    #[must_use]
    pub fn admits(&self, node: &rules::Node) -> bool {
        let tier = node.tier(&self.key);
        if self.values == [FAR] { tier != Tier::Far } else { tier.label() == Some(self.values[0]) }
    }

    /// Whether whatever satisfies the pod's own requirement also satisfies this.
    fn follows_from(&self, own: &Requirement<'_>) -> bool {
        *own.key == *self.key
            && match (&*own.operator, self.operator) {
                ("In", _) => !own.values().is_empty() && own.values().iter().all(|value| self.takes(value)),
                ("NotIn", "NotIn") => own.values().iter().any(|value| **value == *self.values[0]),
                _ => false,
            }
    }

    fn takes(&self, value: &str) -> bool {
        (value == self.values[0]) == (self.operator == "In")
    }

    /// The most bytes that it takes in the patch of this pod, or some number above [`MOST_REQUIRED`].
    #[must_use]
    pub fn bytes_in(&self, spec: &Spec<'_>) -> usize {
        // The operation with its path, and the expression without its key.
        let once = 256 + self.key.len();
        if self.holds_by_selector(spec) {
            return 0;
        }
        let Some(own) = spec.required() else { return once };
        let lacking = own.terms().iter().filter(|term| !term.is_empty() && !self.holds_in_term(term));
        lacking.take(1 + MOST_REQUIRED / once).count() * once
    }

    fn holds_in_term(&self, term: &Term<'_>) -> bool {
        term.expressions().iter().any(|own| self.follows_from(own))
    }

    /// Whether the pod's own rules already say it, wherever the pod goes.
    fn holds_by_selector(&self, spec: &Spec<'_>) -> bool {
        let selected = spec.node_selector.as_ref().and_then(|selector| selector.get(&self.key));
        selected.is_some_and(|value| self.takes(value))
    }

    fn is_preferred_by(&self, own: &PreferredTerm<'_>) -> bool {
        let Some(term) = &own.preference else { return false };
        match (term.expressions(), term.fields()) {
            ([own], []) => {
                *own.key == *self.key
                    && &*own.operator == self.operator
                    && own.values().len() == 1
                    && &*own.values()[0] == self.values[0]
            }
            _ => false,
        }
    }
}

/// The two weighted terms of one database.
#[must_use]
pub fn preferences(database: &FollowedDatabase) -> [Preference; 2] {
    let term =
        |weight, expression| Preference { weight, preference: PreferenceTerm { match_expressions: [expression] } };
    [
        term(database.weight.closely(), Expression::closely(&database.node_label)),
        term(database.weight.intermediate(), Expression::intermediate(&database.node_label)),
    ]
}

/// The operations that give the pod these requirements and preferences, less what it has already. Its own rules are
/// only ever narrowed: its required terms are ORed, so each requirement goes into every one of them.
#[must_use]
pub fn additions(spec: &Spec<'_>, required: &[Expression], preferred: Vec<Preference>) -> Vec<Operation> {
    let required: Vec<&Expression> = required.iter().filter(|expression| !expression.holds_by_selector(spec)).collect();
    let own = spec.node_affinity();
    let own_preferred = own.and_then(|own| own.preferred.as_deref());
    let preferred: Vec<Preference> = preferred
        .into_iter()
        .filter(|new| {
            let [expression] = &new.preference.match_expressions;
            !own_preferred.unwrap_or_default().iter().any(|own| expression.is_preferred_by(own))
        })
        .collect();

    let mut operations = Vec::new();
    match own {
        None => add_node_affinity(spec, &required, preferred, &mut operations),
        Some(own) => {
            add_required(own, &required, &mut operations);
            add_preferred(own, preferred, &mut operations);
        }
    }
    operations
}

const NODE_AFFINITY: &str = "/spec/affinity/nodeAffinity";
const REQUIRED: &str = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution";
/// Where [`crate::core::keys::INJECTED`] stands; `/` in a key is written `~1` in a path (RFC 6901).
const INJECTED: &str = "/metadata/annotations/switchover.dev~1injected";
const PREFERRED_END: &str = "/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution/-";

fn add(path: impl Into<Cow<'static, str>>, value: Addition) -> Operation {
    Operation { op: "add", path: path.into(), value }
}

fn selector(required: &[&Expression]) -> Option<NewNodeSelector> {
    let match_expressions: Vec<Expression> = required.iter().map(|&expression| expression.clone()).collect();
    (!match_expressions.is_empty()).then_some(NewNodeSelector { node_selector_terms: [NewTerm { match_expressions }] })
}

fn add_node_affinity(
    spec: &Spec<'_>,
    required: &[&Expression],
    preferred: Vec<Preference>,
    operations: &mut Vec<Operation>,
) {
    let node_affinity = NewNodeAffinity { required: selector(required), preferred };
    if node_affinity == NewNodeAffinity::default() {
        return;
    }
    operations.push(if spec.affinity.is_none() {
        add("/spec/affinity", Addition::Affinity { node_affinity })
    } else {
        add(NODE_AFFINITY, Addition::NodeAffinity(node_affinity))
    });
}

fn add_required(own: &NodeAffinity<'_>, required: &[&Expression], operations: &mut Vec<Operation>) {
    let Some(own) = &own.required else {
        operations.extend(selector(required).map(|selector| add(REQUIRED, Addition::Required(selector))));
        return;
    };
    if required.is_empty() {
        return;
    }
    // An empty list and an empty term match no node: adding anything to them would let the pod run somewhere.
    for (index, term) in own.terms().iter().enumerate().filter(|(_, term)| !term.is_empty()) {
        let missing: Vec<Expression> = required
            .iter()
            .filter(|expression| !expression.holds_in_term(term))
            .map(|&expression| expression.clone())
            .collect();
        if missing.is_empty() {
            continue;
        }
        let path = format!("{REQUIRED}/nodeSelectorTerms/{index}/matchExpressions");
        if term.match_expressions.is_none() {
            operations.push(add(path, Addition::Expressions(missing)));
        } else {
            let end = format!("{path}/-");
            operations.extend(missing.into_iter().map(|one| add(end.clone(), Addition::Expression(one))));
        }
    }
}

fn add_preferred(own: &NodeAffinity<'_>, preferred: Vec<Preference>, operations: &mut Vec<Operation>) {
    if own.preferred.is_some() {
        operations.extend(preferred.into_iter().map(|one| add(PREFERRED_END, Addition::Preference(one))));
    } else if !preferred.is_empty() {
        operations.push(add(PREFERRED, Addition::Preferences(preferred)));
    }
}

/// The operation that records in [`crate::core::keys::INJECTED`] what was injected. `None` where the pod has so many other
/// annotations that it would be refused for one more.
#[must_use]
pub fn record(metadata: Option<&Metadata<'_>>, injected: String) -> Option<Operation> {
    let Some(metadata) = metadata else {
        return Some(add("/metadata", Addition::Metadata { annotations: NewAnnotations { injected } }));
    };
    let Some(annotations) = &metadata.annotations else {
        return Some(add("/metadata/annotations", Addition::Annotations(NewAnnotations { injected })));
    };
    let bytes = annotations.bytes + keys::INJECTED.len() + injected.len();
    (bytes <= MOST_ANNOTATIONS).then(|| add(INJECTED, Addition::Text(injected)))
}
