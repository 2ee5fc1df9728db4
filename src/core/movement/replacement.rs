//! What replaces a pod: the pod as it is, with what admission would inject into it now.
//!
//! The running pod shows what came of its template and of everybody's admission. Ours may inject something else by now: the pod was
//! there before its namespace opted in, another mode is asked for, or its database has another key.

mod former;

use std::borrow::Cow;

use crate::core::{
    affinity::requirement,
    distance::tier::Tier,
    follow::{AffinityMode, FollowedDatabase},
    selector::{Expression, NodeTerm, Operator},
    shared::Shared,
    workload::Pod,
};

/// The pod that replaces `pod`, which follows these databases. Where admission softens a hard mode, there is no node that such a pod
/// may go to anyway, or the primary isn't known, and then nothing is moved.
#[must_use]
pub fn replacement<'p>(pod: &'p Pod, databases: &[FollowedDatabase]) -> Cow<'p, Pod> {
    let required: Vec<Expression> = databases.iter().filter_map(requirement).map(|it| it.plain()).collect();
    let counts_nodes = pod.spread.iter().any(|spread| !spread.every_node);
    let mut terms = Cow::Borrowed(&pod.node_terms);
    former::forget(&mut terms, pod, databases);
    narrow(&mut terms, pod, &required);
    let mut replacement = match terms {
        Cow::Borrowed(_) => Cow::Borrowed(pod),
        Cow::Owned(node_terms) => Cow::Owned(Pod { node_terms, ..pod.clone() }),
    };
    // Which nodes count in spreading follows from what is injected: too few of them would be taken for all.
    if counts_nodes && (is_narrower(pod, databases, &required) || required.len() > 1) {
        replacement.to_mut().unforeseen = Some("which nodes count in its topology spread, as admission injects it now");
    }
    replacement
}

/// Puts each requirement into every term that lacks it. An empty list and an empty term match no node, and stay as they are.
fn narrow(terms: &mut Cow<'_, Option<Shared<Vec<NodeTerm>>>>, pod: &Pod, required: &[Expression]) {
    for expression in required {
        let selected = pod.node_selector.get(&expression.key);
        if selected.is_some_and(|value| expression.matches(Some(value))) {
            continue;
        }
        let lacks = |term: &NodeTerm| !is_empty(term) && !term.expressions.contains(expression);
        match terms.as_ref() {
            Some(own) if !own.iter().any(lacks) => {}
            Some(_) => {
                let own = terms.to_mut().iter_mut().flat_map(|own| own.iter_mut()).filter(|term| lacks(term));
                own.for_each(|term| term.expressions.push(expression.clone()));
            }
            None => {
                let term = NodeTerm { expressions: vec![expression.clone()], ..NodeTerm::default() };
                *terms = Cow::Owned(Some(vec![term].into()));
            }
        }
    }
}

fn is_empty(term: &NodeTerm) -> bool {
    term.expressions.is_empty() && term.fields.is_empty()
}

/// Whether an expression says what this mode requires, under whatever key.
fn says(expression: &Expression, mode: AffinityMode) -> bool {
    let values = |tier: Tier| expression.values == [tier.label().unwrap_or_default()];
    match mode {
        AffinityMode::Preferred => false,
        AffinityMode::AvoidFar => expression.operator == Operator::NotIn && values(Tier::Far),
        AffinityMode::Required => expression.operator == Operator::In && values(Tier::Closely),
    }
}

/// Whether admission injected something before that it doesn't inject now, under a key of today.
fn is_narrower(pod: &Pod, databases: &[FollowedDatabase], required: &[Expression]) -> bool {
    let injected_before = |expression: &Expression| {
        let of_ours = databases.iter().any(|database| *database.node_label == *expression.key);
        let said = says(expression, AffinityMode::Required) || says(expression, AffinityMode::AvoidFar);
        of_ours && said && !required.contains(expression)
    };
    pod.injected
        && pod.node_terms.iter().flat_map(|terms| terms.iter()).flat_map(|term| &term.expressions).any(injected_before)
}

#[cfg(test)]
mod tests;
