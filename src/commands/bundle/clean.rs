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

/// Words that announce a secret, in a text or as a field's name.
const ANNOUNCING: &str = "(?i-u:password|passwd|pgpassword|secret|token|authorization|api[-_]?key)";
/// A login in a URL; and what follows a word that announces a secret.
static LOGIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"([A-Za-z][A-Za-z0-9+.-]*://)[^/@ \t\r\n"'<>]*@"#).ok());
static ANNOUNCED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let word = format!(r#"({ANNOUNCING}\\?["']?[ \t]*[:=][ \t]*\\?["']?)"#);
    Regex::new(&format!(r#"{word}((?i-u:basic|bearer)[ \t]+)?[^ \t\r\n"',;&\\{{}}\[\]]+"#)).ok()
});

/// Cuts logins out of a text, and what calls itself a secret.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    let (Some(login), Some(announced)) = (&*LOGIN, &*ANNOUNCED) else { return Cow::Borrowed("") };
    match login.replace_all(text, "${1}***@") {
        Cow::Borrowed(text) => announced.replace_all(text, "${1}***"),
        Cow::Owned(text) => Cow::Owned(announced.replace_all(&text, "${1}***").into_owned()),
    }
}

/// A field's name that announces a secret.
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("^{ANNOUNCING}$")).ok());

/// The same of every text in a value, which stays one.
fn texts(value: &mut Value) {
    match value {
        Value::String(said) => *said = text(said).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(texts),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| {
            let announces = NAME.as_ref().is_none_or(|it| it.is_match(name));
            if announces && value.is_string() { *value = "***".into() } else { texts(value) }
        }),
        _ => {}
    }
}

/// The same of a part, whatever it is: JSON, lines of JSON, or text.
pub(super) fn bytes(bytes: &[u8]) -> Vec<u8> {
    let json = |bytes: &[u8]| {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        texts(&mut value);
        serde_json::to_vec(&value).ok()
    };
    if let Some(value) = json(bytes) {
        return value;
    }
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (content, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |content| (content, &b"\n"[..]));
        let cleaned =
            json(content).unwrap_or_else(|| text(&String::from_utf8_lossy(content)).into_owned().into_bytes());
        out.extend(cleaned.into_iter().chain(end.iter().copied()));
    }
    out
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
            (r#"{"secret": {"name": "x"}}"#, r#"{"secret": {"name": "x"}}"#),
            ("Authorization: Basic YW5uOmh1bnRlcjI=", "Authorization: ***"),
            ("Authorization: Bearer abc.def", "Authorization: ***"),
            ("mail ann@example.org about http://h/p", "mail ann@example.org about http://h/p"),
            ("the token ran out", "the token ran out"),
        ];
        check_rows(rows, |(written, expected)| assert_eq!(text(written), expected));
    }

    #[test]
    fn what_is_json_stays_json() {
        let lines = "{\"t\":0.5,\"error\":\"http://a:b@h\"}\nno json: token=abc\n{\"token\":\"abc\",\"secret\":null}\n";
        let expected =
            "{\"error\":\"http://***@h\",\"t\":0.5}\nno json: token=***\n{\"secret\":null,\"token\":\"***\"}\n";
        assert_eq!(String::from_utf8(bytes(lines.as_bytes())).unwrap(), expected);
        assert_eq!(bytes(br#"{"api_key":"abc","API-Key":"abc"}"#), br#"{"API-Key":"***","api_key":"***"}"#);
        assert_eq!(bytes(br#"[{"secret": {"name": "token: x"}}]"#), br#"[{"secret":{"name":"token: ***"}}]"#);
    }
}
