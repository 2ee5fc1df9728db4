//! Which nodes a pod's own rules allow: `nodeSelector` and required node affinity, as the scheduler reads them
//! (component-helpers/scheduling/corev1/nodeaffinity).

use std::cmp::Ordering;

use super::pod::{Requirement, Spec, Term};
use crate::core::{distance::tier::Tier, taints::Taint};

/// What admission knows of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: Box<str>,
    /// Ready, and not closed to new pods.
    pub usable: bool,
    labels: Box<[(Box<str>, Box<str>)]>,
    taints: Box<[Taint]>,
}

impl Node {
    pub fn new<K: Into<Box<str>>, V: Into<Box<str>>>(
        name: &str,
        usable: bool,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut labels: Box<[(Box<str>, Box<str>)]> = labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        labels.sort_unstable();
        Self { name: name.into(), usable, labels, taints: Box::default() }
    }

    /// With these taints.
    #[must_use]
    pub fn tainted(self, taints: impl IntoIterator<Item = Taint>) -> Self {
        Self { taints: taints.into_iter().collect(), ..self }
    }

    #[must_use]
    pub fn taints(&self) -> &[Taint] {
        &self.taints
    }

    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// The tier that the node's label of this key says.
    #[must_use]
    pub fn tier(&self, node_label: &str) -> Tier {
        Tier::from_label(self.label(node_label))
    }
}

/// Whether the pod's own rules let it run on the node. `charge` is told how many labels and values are looked at, before
/// they are.
///
/// # Errors
/// What `charge` says.
pub fn allow<E>(spec: &Spec<'_>, node: &Node, charge: &mut impl FnMut(usize) -> Result<(), E>) -> Result<bool, E> {
    for (key, value) in spec.node_selector.iter().flat_map(|selector| &selector.0) {
        charge(1)?;
        if node.label(key) != Some(&**value) {
            return Ok(false);
        }
    }
    // The terms are ORed. No list at all allows every node, an empty one allows none.
    let Some(required) = spec.required() else { return Ok(true) };
    for term in required.terms() {
        charge(1)?;
        if matches(term, node, charge)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn matches<E>(term: &Term<'_>, node: &Node, charge: &mut impl FnMut(usize) -> Result<(), E>) -> Result<bool, E> {
    for requirement in term.expressions() {
        charge(1 + requirement.values().len())?;
        if !holds(requirement, node.label(&requirement.key)) {
            return Ok(false);
        }
    }
    for requirement in term.fields() {
        charge(1 + requirement.values().len())?;
        // The one field that Kubernetes supports here.
        if &*requirement.key != "metadata.name" || !holds(requirement, Some(&node.name)) {
            return Ok(false);
        }
    }
    Ok(!term.is_empty())
}

/// Whether a label with this value (`None`: the node has no such label) satisfies the requirement.
#[must_use]
pub fn holds(requirement: &Requirement<'_>, label: Option<&str>) -> bool {
    let listed = |label: &str| requirement.values().iter().any(|value| &**value == label);
    match &*requirement.operator {
        "In" => label.is_some_and(listed),
        "NotIn" => !label.is_some_and(listed),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        "Gt" => compares(requirement, label, Ordering::Greater),
        "Lt" => compares(requirement, label, Ordering::Less),
        // The scheduler takes a term that it can't read for one that matches nothing.
        _ => false,
    }
}

fn compares(requirement: &Requirement<'_>, label: Option<&str>, expected: Ordering) -> bool {
    let number = |text: &str| text.parse::<i64>().ok();
    match (label.and_then(number), requirement.values()) {
        (Some(label), [value]) => number(value).is_some_and(|value| label.cmp(&value) == expected),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn a_pod_may_run_where_its_selector_and_one_of_its_terms_match() {
        let node = Node::new("n1", true, [("zone", "a"), ("cpus", "8"), ("switchover", "closely")]);
        let required = |terms: &str| {
            format!(
                r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":{terms}}}}}}}}}"#
            )
        };
        let expression = |text: &str| required(&format!(r#"[{{"matchExpressions":[{text}]}}]"#));
        let rows = [
            ("{}".to_owned(), true),
            (r#"{"nodeSelector":null,"affinity":null}"#.to_owned(), true),
            (r#"{"nodeSelector":{"zone":"a"}}"#.to_owned(), true),
            (r#"{"nodeSelector":{"zone":"a","disk":"ssd"}}"#.to_owned(), false),
            (required("[]"), false),
            (required("[{}]"), false),
            (required(r#"[{"matchExpressions":[],"matchFields":null}]"#), false),
            (required(r#"[{},{"matchExpressions":[{"key":"zone","operator":"Exists"}]}]"#), true),
            (required(r#"[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}]"#), true),
            (required(r#"[{"matchFields":[{"key":"metadata.name","operator":"NotIn","values":["n1"]}]}]"#), false),
            (required(r#"[{"matchFields":[{"key":"spec.x","operator":"In","values":["n1"]}]}]"#), false),
            (expression(r#"{"key":"zone","operator":"In","values":["b","a"]}"#), true),
            (expression(r#"{"key":"zone","operator":"NotIn","values":["b"]}"#), true),
            (expression(r#"{"key":"zone","operator":"NotIn","values":["a"]}"#), false),
            (expression(r#"{"key":"disk","operator":"NotIn","values":["ssd"]}"#), true),
            (expression(r#"{"key":"disk","operator":"In","values":["ssd"]}"#), false),
            (expression(r#"{"key":"disk","operator":"DoesNotExist"}"#), true),
            (expression(r#"{"key":"zone","operator":"DoesNotExist"}"#), false),
            (expression(r#"{"key":"cpus","operator":"Gt","values":["4"]}"#), true),
            (expression(r#"{"key":"cpus","operator":"Lt","values":["8"]}"#), false),
            (expression(r#"{"key":"zone","operator":"Gt","values":["4"]}"#), false),
            (expression(r#"{"key":"zone","operator":"Near","values":["a"]}"#), false),
            (expression(r#"{"key":"zone","operator":"Exists"},{"key":"disk","operator":"Exists"}"#), false),
        ];
        check_rows(rows, |(spec, expected)| {
            let mut free = |_| Ok::<(), ()>(());
            assert_eq!(allow(&serde_json::from_str(&spec).unwrap(), &node, &mut free), Ok(expected), "{spec}");
        });
    }
}
