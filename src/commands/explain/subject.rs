//! What is to be explained, as people name it: `web-1`, `node/n1`, `deployment/web`.

use std::str::FromStr;

use crate::commands::kinds::in_full;

/// A pod, a node, or whatever makes pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Pod(String),
    Node(String),
    /// The kind as it was typed, or what its short name stands for.
    Workload {
        kind: String,
        name: String,
    },
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?}: write the name of a pod, node/NAME, or KIND/NAME such as deployment/web");
        let (kind, name) = match text.split('/').collect::<Vec<_>>()[..] {
            [name] => ("pod", name),
            [kind, name] => (kind, name),
            _ => return Err(error()),
        };
        if kind.is_empty() || name.is_empty() || name.contains(char::is_whitespace) {
            return Err(error());
        }
        let name = name.to_owned();
        // `rollouts.argoproj.io/web`, as kubectl takes it.
        let kind = in_full(kind.split('.').next().unwrap_or(kind));
        Ok(match kind.as_str() {
            "pod" | "pods" => Self::Pod(name),
            "node" | "nodes" => Self::Node(name),
            _ => Self::Workload { kind, name },
        })
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn what_is_typed_is_a_pod_a_node_or_a_workload() {
        let workload = |kind: &str| Ok(Subject::Workload { kind: kind.into(), name: "web".into() });
        let rows = [
            ("web-1", Ok(Subject::Pod("web-1".into()))),
            ("pod/web-1", Ok(Subject::Pod("web-1".into()))),
            ("no/n1", Ok(Subject::Node("n1".into()))),
            ("nodes/n1", Ok(Subject::Node("n1".into()))),
            ("deploy/web", workload("deployment")),
            ("Deployments/web", workload("deployments")),
            ("sts/web", workload("statefulset")),
            ("rollouts.argoproj.io/web", workload("rollouts")),
            ("", Err(())),
            ("deployment/", Err(())),
            ("/web", Err(())),
            ("orders/deployment/web", Err(())),
        ];
        check_rows(rows, |(text, expected)| {
            assert_eq!(text.parse::<Subject>().map_err(|_| ()), expected, "{text:?}");
        });
        let told = "orders/deployment/web".parse::<Subject>().unwrap_err();
        assert_eq!(
            told,
            "\"orders/deployment/web\": write the name of a pod, node/NAME, or KIND/NAME such as deployment/web"
        );
    }
}
