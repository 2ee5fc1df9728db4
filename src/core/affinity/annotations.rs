//! The few annotations of a pod that mean something here, picked while the others are stepped over.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use super::{pod::Text, unread::Unread};
use crate::core::keys;

/// The annotations that mean something here; present but empty when the pod has only others.
#[derive(Clone, Debug, Default)]
pub struct PodAnnotations<'a> {
    pub follow: Option<Text<'a>>,
    pub affinity: Option<Text<'a>>,
    pub weight: Option<Text<'a>>,
    pub move_: Option<Text<'a>>,
    pub injected: Option<Text<'a>>,
    /// Set by a kubelet on the mirror of a static pod.
    pub mirror: Option<Text<'a>>,
    /// Bytes of all keys and values together, or a few more: those of the others are counted with their escapes.
    pub bytes: usize,
}

/// What they say is the same; how many bytes it takes depends on how it is written.
impl PartialEq for PodAnnotations<'_> {
    fn eq(&self, other: &Self) -> bool {
        let said =
            |it: &Self| [&it.follow, &it.affinity, &it.weight, &it.move_, &it.injected, &it.mirror].map(Clone::clone);
        said(self) == said(other)
    }
}

impl Eq for PodAnnotations<'_> {}

const NAMES: [&str; 6] =
    [keys::FOLLOW, keys::AFFINITY, keys::WEIGHT, keys::MOVE, keys::INJECTED, "kubernetes.io/config.mirror"];

impl<'de: 'a, 'a> Deserialize<'de> for PodAnnotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnnotationsVisitor;
        impl<'de> Visitor<'de> for AnnotationsVisitor {
            type Value = PodAnnotations<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PodAnnotations<'de>, A::Error> {
                let mut found: [Option<Option<Text<'de>>>; NAMES.len()] = Default::default();
                let mut bytes = 0;
                while let Some(key) = map.next_key::<Key>()? {
                    bytes += key.bytes;
                    let Some(number) = key.number else {
                        bytes += map.next_value::<Unread<'de>>()?.len();
                        continue;
                    };
                    if found[number].is_some() {
                        return Err(A::Error::duplicate_field(NAMES[number]));
                    }
                    let value: Option<Text<'de>> = map.next_value()?;
                    bytes += value.as_ref().map_or(0, |value| value.len());
                    found[number] = Some(value);
                }
                let [follow, affinity, weight, move_, injected, mirror] = found.map(Option::flatten);
                Ok(PodAnnotations { follow, affinity, weight, move_, injected, mirror, bytes })
            }
        }
        deserializer.deserialize_struct("PodAnnotations", &NAMES, AnnotationsVisitor)
    }
}

/// A key: which of [`NAMES`] it is, and how long.
struct Key {
    number: Option<usize>,
    bytes: usize,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the key of an annotation")
            }

            fn visit_bytes<E>(self, text: &[u8]) -> Result<Key, E> {
                let number = NAMES.iter().position(|name| name.as_bytes() == text);
                Ok(Key { number, bytes: text.len() })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                self.visit_bytes(text.as_bytes())
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
    }
}
