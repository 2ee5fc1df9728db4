//! The few fields of a pod that admission decides on, borrowed from the text of the request.
//!
//! Everything else of the pod is skipped unread, so that a pod with a hundred kilobytes of environment costs no
//! allocation. `null` counts as absent everywhere, as it does for the API server.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{annotations::PodAnnotations, unread::Unread};
use crate::core::{follow::Annotations, taints::Tolerated};

/// Text borrowed from the request where it has no escapes, else owned. (serde's own `Option<Cow<str>>` always owns.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A string-to-string map as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl Pairs<'_> {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| &**k == key).map(|(_, value)| &**value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// A pod, as far as admission looks at it.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod<'a> {
    #[serde(borrow)]
    pub metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    pub spec: Option<Spec<'a>>,
}

/// `metadata` of a pod.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata<'a> {
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub generate_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub annotations: Option<PodAnnotations<'a>>,
    #[serde(borrow)]
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
}

/// Who made the pod.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference<'a> {
    #[serde(borrow)]
    pub api_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub uid: Option<Text<'a>>,
    pub controller: Option<bool>,
}

/// `spec` of a pod.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec<'a> {
    #[serde(borrow)]
    pub node_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub node_selector: Option<Pairs<'a>>,
    #[serde(borrow)]
    pub affinity: Option<Affinity<'a>>,
    #[serde(borrow)]
    pub scheduler_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub os: Option<PodOs<'a>>,
    /// A list of [`Toleration`].
    #[serde(borrow)]
    pub tolerations: Option<Unread<'a>>,
}

/// One of `spec.tolerations`.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Toleration<'a> {
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
    #[serde(borrow)]
    pub operator: Option<Text<'a>>,
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
    #[serde(borrow)]
    pub effect: Option<Text<'a>>,
}

impl Toleration<'_> {
    /// What it tolerates. `None` if its operator is one that isn't known here.
    #[must_use]
    pub fn tolerated(&self) -> Option<Tolerated<'_>> {
        fn text<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
            text.as_deref().filter(|text| !text.is_empty())
        }
        let exists = match text(&self.operator) {
            None | Some("Equal") => false,
            Some("Exists") => true,
            Some(_) => return None,
        };
        let [key, value, effect] = [&self.key, &self.value, &self.effect].map(text);
        Some(Tolerated { key, exists, value: value.unwrap_or_default(), effect })
    }
}

/// `spec.os`.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct PodOs<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
}

/// `spec.affinity`.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity<'a> {
    #[serde(borrow)]
    pub node_affinity: Option<NodeAffinity<'a>>,
}

/// `spec.affinity.nodeAffinity`.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct NodeAffinity<'a> {
    #[serde(borrow, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector<'a>>,
    #[serde(borrow, rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub preferred: Option<Vec<PreferredTerm<'a>>>,
}

/// `requiredDuringSchedulingIgnoredDuringExecution`: terms of which a node must meet one.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector<'a> {
    #[serde(borrow)]
    pub node_selector_terms: Option<Vec<Term<'a>>>,
}

/// One of `preferredDuringSchedulingIgnoredDuringExecution`.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct PreferredTerm<'a> {
    #[serde(borrow)]
    pub preference: Option<Term<'a>>,
}

/// Requirements that must all hold. A term without any matches no node.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Term<'a> {
    #[serde(borrow)]
    pub match_expressions: Option<Vec<Requirement<'a>>>,
    #[serde(borrow)]
    pub match_fields: Option<Vec<Requirement<'a>>>,
}

impl<'a> Term<'a> {
    #[must_use]
    pub fn expressions(&self) -> &[Requirement<'a>] {
        self.match_expressions.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn fields(&self) -> &[Requirement<'a>] {
        self.match_fields.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expressions().is_empty() && self.fields().is_empty()
    }
}

/// What a node's label or field must say.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Requirement<'a> {
    #[serde(borrow)]
    pub key: Text<'a>,
    #[serde(borrow)]
    pub operator: Text<'a>,
    #[serde(borrow)]
    pub values: Option<Vec<Text<'a>>>,
}

impl<'a> Requirement<'a> {
    #[must_use]
    pub fn values(&self) -> &[Text<'a>] {
        self.values.as_deref().unwrap_or_default()
    }
}

impl<'a> Pod<'a> {
    /// What the pod's annotations say about following.
    #[must_use]
    pub fn says(&self) -> Annotations<'_> {
        let Some(annotations) = self.annotations() else { return Annotations::default() };
        Annotations {
            follow: annotations.follow.as_deref(),
            affinity: annotations.affinity.as_deref(),
            weight: annotations.weight.as_deref(),
            move_: annotations.move_.as_deref(),
        }
    }

    #[must_use]
    pub fn annotations(&self) -> Option<&PodAnnotations<'a>> {
        self.metadata.as_ref()?.annotations.as_ref()
    }

    #[must_use]
    pub fn owners(&self) -> &[OwnerReference<'a>] {
        self.metadata.as_ref().and_then(|metadata| metadata.owner_references.as_deref()).unwrap_or_default()
    }
}

impl<'a> Spec<'a> {
    #[must_use]
    pub fn node_affinity(&self) -> Option<&NodeAffinity<'a>> {
        self.affinity.as_ref()?.node_affinity.as_ref()
    }

    #[must_use]
    pub fn required(&self) -> Option<&NodeSelector<'a>> {
        self.node_affinity()?.required.as_ref()
    }
}

impl<'a> NodeSelector<'a> {
    #[must_use]
    pub fn terms(&self) -> &[Term<'a>] {
        self.node_selector_terms.as_deref().unwrap_or_default()
    }
}
