//! A part of a request that is read when somebody asks for it, and most often nobody does.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// The name by which a reader is asked for the text of a value as bytes. One that doesn't know it reads the value.
pub const UNREAD: &str = "$switchover::Unread";

/// The text of a value, borrowed where the reader can lend it.
#[derive(Clone, Debug, Default)]
pub struct Unread<'a>(Cow<'a, [u8]>);

impl Unread<'_> {
    /// Its value, unless it is of another type.
    #[must_use]
    pub fn read<'s, T: Deserialize<'s>>(&'s self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }

    /// Bytes of its text, which are no fewer than those of the string that it may be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Two texts are the same if they say the same.
impl PartialEq for Unread<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.read::<serde_json::Value>() == other.read::<serde_json::Value>()
    }
}

impl Eq for Unread<'_> {}

impl<'de: 'a, 'a> Deserialize<'de> for Unread<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Unread<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_borrowed_bytes<E>(self, text: &'de [u8]) -> Result<Unread<'de>, E> {
                Ok(Unread(Cow::Borrowed(text)))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Unread<'de>, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                serde_json::to_vec(&value).map(|text| Unread(Cow::Owned(text))).map_err(D::Error::custom)
            }
        }
        deserializer.deserialize_newtype_struct(UNREAD, TextVisitor)
    }
}
