//! The key of a node label, as Kubernetes takes it.
//!
//! It goes into pods and onto nodes. The API server refuses a pod that names anything else in its affinity, also where
//! that was injected: so nothing but a key that was read here gets that far.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::keys;

/// A text that is no key, its first characters, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no label key: write a name of at most 63 letters, digits, '-', '_' and '.' that begins and ends with a letter or \
     digit, behind a DNS name and '/' if need be, such as switchover or example.com/distance"
)]
pub struct NoLabelKey(String);

/// A qualified name: a name of at most 63 characters, and perhaps a DNS subdomain of at most 253 and `/` before it
/// (k8s.io/apimachinery/pkg/util/validation, `IsQualifiedName`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(Arc<str>);

impl LabelKey {
    /// What the schema of `spec.nodeLabel` asks for, beside [`LabelKey::PREFIX_MOST`] and [`LabelKey::MOST`].
    pub const PATTERN: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    /// Most characters of a prefix, without its `/`.
    pub const PREFIX_MOST: usize = 253;
    /// Most characters of a name.
    pub const NAME_MOST: usize = 63;
    /// Most characters of a key.
    pub const MOST: usize = Self::PREFIX_MOST + 1 + Self::NAME_MOST;

    /// # Errors
    /// Kubernetes takes no label with this key.
    pub fn read(text: &str) -> Result<Self, NoLabelKey> {
        let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
        let right = is_name(name) && prefix.is_none_or(is_subdomain);
        right.then(|| Self(text.into())).ok_or_else(|| NoLabelKey(text.chars().take(80).collect()))
    }

    /// One that no database has, since no DatabaseCluster's name has a dot.
    #[must_use]
    pub fn nobodys() -> Self {
        Self("switchover.dev/no.database".into())
    }

    /// The key of a database that names none of its own.
    ///
    /// # Errors
    /// The database's name is longer than a key takes. The schema takes no such name; only an object from before the
    /// schema has one.
    pub fn of_database(name: &str) -> Result<Self, NoLabelKey> {
        Self::read(&keys::default_node_label(name))
    }
}

fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= LabelKey::NAME_MOST
        && text.bytes().all(inner)
        && ends.into_iter().all(|end| end.is_some_and(|b| b.is_ascii_alphanumeric()))
}

fn is_subdomain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        label.bytes().all(|b| plain(b) || b == b'-') && ends.into_iter().all(|end| end.is_some_and(plain))
    };
    text.len() <= LabelKey::PREFIX_MOST && text.split('.').all(is_label)
}

impl Deref for LabelKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl Serialize for LabelKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for LabelKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;
    use proptest::{prelude::*, string::string_regex};

    use super::*;

    #[test]
    fn a_key_is_what_kubernetes_takes_for_one() {
        let (most, more) = ("x".repeat(63), "x".repeat(64));
        let long = |last: usize| {
            format!("{}/near", ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(last)].join("."))
        };
        let rows = [
            ("switchover".to_owned(), true),
            ("switchover.dev/orders".to_owned(), true),
            ("node-restriction.kubernetes.io/near".to_owned(), true),
            ("example.com/A_b-c.D9".to_owned(), true),
            ("0".to_owned(), true),
            ("a/0".to_owned(), true),
            (most.clone(), true),
            (format!("example.com/{most}"), true),
            (long(61), true),
            (long(62), false),
            (more.clone(), false),
            (format!("example.com/{more}"), false),
            ("a..b/near".to_owned(), false),
            ("a.-b/x".to_owned(), false),
            ("a-.b/x".to_owned(), false),
            (".a/x".to_owned(), false),
            ("a./x".to_owned(), false),
            ("A.b/x".to_owned(), false),
            ("a_b/x".to_owned(), false),
            ("/x".to_owned(), false),
            ("a/".to_owned(), false),
            ("a/b/c".to_owned(), false),
            (String::new(), false),
            ("-a".to_owned(), false),
            ("a_".to_owned(), false),
            ("far away".to_owned(), false),
            ("fär".to_owned(), false),
            ("near\n".to_owned(), false),
        ];
        check_rows(rows, |(text, expected)| assert_eq!(LabelKey::read(&text).is_ok(), expected, "{text:?}"));
    }

    #[test]
    fn a_database_has_the_key_of_its_name_as_far_as_a_key_takes_it() {
        let key = |name: &str| LabelKey::of_database(name).map(|key| key.to_string());
        assert_eq!(key("default"), Ok("switchover".to_owned()));
        assert_eq!(key("orders-eu"), Ok("switchover.dev/orders-eu".to_owned()));
        let long = LabelKey::of_database(&"x".repeat(64)).unwrap_err().to_string();
        assert!(long.starts_with("\"switchover.dev/xxx") && long.contains("is no label key: write a name"), "{long}");
    }

    proptest! {
        #[test]
        fn every_key_that_the_schema_takes_is_a_qualified_name(
            text in string_regex(LabelKey::PATTERN.trim_matches(['^', '$'])).expect("a pattern"),
        ) {
            prop_assume!(text.len() <= LabelKey::MOST && text.find('/').is_none_or(|at| at <= LabelKey::PREFIX_MOST));
            prop_assert!(LabelKey::read(&text).is_ok(), "{:?}", text);
        }
    }
}
