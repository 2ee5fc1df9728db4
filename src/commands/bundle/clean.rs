//! What must not be in a bundle is taken out here, of every part: what others annotate, values of environment variables, logins.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;
use serde_json::Value;

use crate::api::keys;

/// Annotations of Kubernetes and of ours that decide something. Others may hold whole objects (kubectl's last-applied-configuration), or
/// whatever people write there.
const KEPT: [&str; 4] =
    [keys::DOMAIN, "deployment.kubernetes.io/", "deprecated.daemonset.template.generation", "cert-manager.io/"];
/// Our own flags.
const OUR_VARIABLES: &str = "SWITCHOVER_";

/// Takes out of an object, whatever it is, what may be secret.
pub(super) fn object(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(object),
        Value::Object(fields) => {
            fields.remove("managedFields");
            if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
                annotations.retain(|key, _| KEPT.iter().any(|kept| key.starts_with(kept)));
            }
            if let Some(Value::Array(variables)) = fields.get_mut("env") {
                for variable in variables.iter_mut().filter_map(Value::as_object_mut) {
                    let ours =
                        variable.get("name").and_then(Value::as_str).is_some_and(|it| it.starts_with(OUR_VARIABLES));
                    if !ours {
                        variable.remove("value");
                    }
                }
            }
            if fields.get("kind").is_some_and(|kind| kind == "Secret") {
                ["data", "stringData"].iter().for_each(|field| drop(fields.remove(*field)));
            }
            fields.values_mut().for_each(object);
        }
        _ => {}
    }
}

/// A login in a URL; and what follows a word that announces a secret.
static LOGIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)[^/@ \t\r\n"'<>]*@"#).ok());
static ANNOUNCED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word =
        r#"((?i-u:password|passwd|pgpassword|secret|token|authorization|api[-_]?key)\\?["']?[ \t]*[:=][ \t]*\\?["']?)"#;
    Regex::new(&format!(r#"{word}((?i-u:basic|bearer)[ \t]+)?[^ \t\r\n"',;&\\]+"#)).ok()
});

/// Cuts logins out of a text, and what calls itself a secret.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    let (Some(login), Some(announced)) = (&*LOGIN, &*ANNOUNCED) else { return Cow::Borrowed("") };
    match login.replace_all(text, "${1}***@") {
        Cow::Borrowed(text) => announced.replace_all(text, "${1}***"),
        Cow::Owned(text) => Cow::Owned(announced.replace_all(&text, "${1}***").into_owned()),
    }
}

/// The same of bytes that are text.
pub(super) fn bytes(bytes: &[u8]) -> Vec<u8> {
    text(&String::from_utf8_lossy(bytes)).into_owned().into_bytes()
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_secret_is_taken_out_of_objects() {
        let mut pod = json!({
            "kind": "Pod",
            "metadata": {
                "name": "w1", "managedFields": [{"x": 1}],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "switchover.dev/move": "evict", "note": "hunter2"},
            },
            "spec": {"containers": [{"env": [
                {"name": "PGPASSWORD", "value": "hunter2"}, {"name": "SWITCHOVER_TICK", "value": "1s"},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ]}]},
        });
        object(&mut pod);
        assert_eq!(
            pod,
            json!({
                "kind": "Pod",
                "metadata": {"name": "w1", "annotations": {"switchover.dev/move": "evict"}},
                "spec": {"containers": [{"env": [
                    {"name": "PGPASSWORD"}, {"name": "SWITCHOVER_TICK", "value": "1s"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ]}]},
            })
        );
        let mut secret = json!({"items": [{"kind": "Secret", "data": {"a": "aHVudGVyMg=="}}]});
        object(&mut secret);
        assert_eq!(secret, json!({"items": [{"kind": "Secret"}]}));
    }

    #[test]
    fn logins_are_cut_out_of_texts() {
        let rows = [
            (
                "GET https://ann:hunter2@db.example:8008/primary failed",
                "GET https://***@db.example:8008/primary failed",
            ),
            (r#"{"urls":["http://ann@h:1","http://h:2"]}"#, r#"{"urls":["http://***@h:1","http://h:2"]}"#),
            ("password=hunter2 host=h", "password=*** host=h"),
            (r#"{"Password": "hunter2", "user": "ann"}"#, r#"{"Password": "***", "user": "ann"}"#),
            ("Authorization: Basic YW5uOmh1bnRlcjI=", "Authorization: ***"),
            ("Authorization: Bearer abc.def", "Authorization: ***"),
            ("mail ann@example.org about http://h/p", "mail ann@example.org about http://h/p"),
            ("the token ran out", "the token ran out"),
        ];
        check_rows(rows, |(written, expected)| assert_eq!(text(written), expected));
    }
}
