//! Label selectors and node selector terms, as Kubernetes evaluates them.

use std::collections::BTreeMap;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// An operator of a selector expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

impl Operator {
    /// Reads Kubernetes' spelling; `None` for an operator that this version doesn't know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expression {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

impl Expression {
    /// Whether the value under the key (`None`: the key is absent) satisfies this requirement. `NotIn` holds for an
    /// absent key (k8s.io/apimachinery, labels.Requirement.Matches).
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let among = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In => value.is_some_and(among),
            Operator::NotIn => !value.is_some_and(among),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt | Operator::Lt => {
                let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
                match (value.and_then(|v| v.parse::<i64>().ok()), bound) {
                    (Some(value), Some(bound)) if self.operator == Operator::Gt => value > bound,
                    (Some(value), Some(bound)) => value < bound,
                    _ => false,
                }
            }
        }
    }
}

/// A label selector: every requirement must hold. The empty selector matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    pub expressions: Vec<Expression>,
}

impl Selector {
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.expressions.iter().all(|e| e.matches(labels.get(&e.key).map(String::as_str)))
    }
}

/// One term of required node affinity: all expressions and fields must hold. An empty term matches no node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeTerm {
    pub expressions: Vec<Expression>,
    /// Requirements on `metadata.name`.
    pub fields: Vec<Expression>,
}

impl NodeTerm {
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        !(self.expressions.is_empty() && self.fields.is_empty())
            && self.expressions.iter().all(|e| e.matches(labels.get(&e.key).map(String::as_str)))
            && self.fields.iter().all(|e| e.matches((e.key == "metadata.name").then_some(name)))
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    fn labels(text: &str) -> Labels {
        text.split_terminator(',')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Expression {
        Expression {
            key: key.into(),
            operator: Operator::parse(operator).unwrap(),
            values: values.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn expressions_match_as_in_kubernetes() {
        let rows = [
            ("a", "In", &["1", "2"][..], "a=2", true),
            ("a", "In", &["1"], "a=2", false),
            ("a", "In", &["1"], "", false),
            ("a", "NotIn", &["1"], "a=1", false),
            ("a", "NotIn", &["1"], "a=2", true),
            ("a", "NotIn", &["1"], "", true),
            ("a", "Exists", &[], "a=", true),
            ("a", "Exists", &[], "b=1", false),
            ("a", "DoesNotExist", &[], "b=1", true),
            ("a", "Gt", &["5"], "a=6", true),
            ("a", "Gt", &["5"], "a=5", false),
            ("a", "Lt", &["5"], "a=4", true),
            ("a", "Lt", &["5"], "a=x", false),
            ("a", "Lt", &["5"], "", false),
        ];
        check_rows(rows, |(key, operator, values, on, expected)| {
            let selector = Selector { expressions: vec![expression(key, operator, values)] };
            assert_eq!(selector.matches(&labels(on)), expected, "{key} {operator} {values:?} on {on:?}");
        });
    }

    #[test]
    fn an_empty_selector_matches_all_and_an_empty_term_none() {
        assert!(Selector::default().matches(&labels("")));
        assert!(!NodeTerm::default().matches("n1", &labels("a=1")));
        let by_name = NodeTerm { fields: vec![expression("metadata.name", "In", &["n1"])], ..NodeTerm::default() };
        assert!(by_name.matches("n1", &labels("")));
        assert!(!by_name.matches("n2", &labels("")));
    }
}
