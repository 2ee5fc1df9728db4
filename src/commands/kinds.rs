//! Kinds of objects, as people type them.

/// Short names, as kubectl knows them.
const SHORT: [(&str, &str); 8] = [
    ("deploy", "deployment"),
    ("sts", "statefulset"),
    ("rs", "replicaset"),
    ("ds", "daemonset"),
    ("cj", "cronjob"),
    ("po", "pod"),
    ("no", "node"),
    ("ro", "rollout"),
];

/// What was typed, in small letters and not short.
pub(super) fn in_full(typed: &str) -> String {
    let typed = typed.to_lowercase();
    SHORT.iter().find(|(short, _)| *short == typed).map_or(typed, |(_, kind)| (*kind).to_owned())
}

/// Whether a kind is meant by what was typed: its name, or its plural.
pub(super) fn is_called(kind: &str, typed: &str) -> bool {
    let kind = kind.to_lowercase();
    kind == typed || format!("{kind}s") == typed || format!("{kind}es") == typed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_by_its_name_its_plural_or_its_short_name() {
        assert!(
            is_called("Deployment", "deployments") && is_called("Proxy", "proxy") && !is_called("Pod", "deployment")
        );
        assert!(is_called("StatefulSet", &in_full("STS")) && in_full("Certificates") == "certificates");
    }
}
