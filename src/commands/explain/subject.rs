//! What is to be explained, as people name it: `web-1`, `node/n1`, `deployment/web`.

use std::str::FromStr;

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

/// Short names, as kubectl knows them.
const SHORT: [(&str, &str); 7] = [
    ("deploy", "deployment"),
    ("sts", "statefulset"),
    ("rs", "replicaset"),
    ("ds", "daemonset"),
    ("po", "pod"),
    ("no", "node"),
    ("ro", "rollout"),
];

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
        let kind = kind.split('.').next().unwrap_or(kind).to_lowercase();
        let kind = SHORT.iter().find(|(short, _)| *short == kind).map_or(kind, |(_, kind)| (*kind).to_owned());
        Ok(match kind.as_str() {
            "pod" | "pods" => Self::Pod(name),
            "node" | "nodes" => Self::Node(name),
            _ => Self::Workload { kind, name },
        })
    }
}

/// Whether a kind is meant by what was typed: its name, or its plural.
pub(super) fn is_called(kind: &str, typed: &str) -> bool {
    let kind = kind.to_lowercase();
    kind == typed || format!("{kind}s") == typed || format!("{kind}es") == typed
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
        assert!(
            is_called("Deployment", "deployments") && is_called("Proxy", "proxy") && !is_called("Pod", "deployment")
        );
        let told = "orders/deployment/web".parse::<Subject>().unwrap_err();
        assert_eq!(
            told,
            "\"orders/deployment/web\": write the name of a pod, node/NAME, or KIND/NAME such as deployment/web"
        );
    }
}
