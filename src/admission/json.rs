//! A reader of JSON for requests of which little is looked at.
//!
//! serde_json checks every byte that it skips, and nine tenths of a request are skipped. This reader steps over what
//! nobody asked for in blocks, and looks for its end alone: quotes and brackets. What is asked for is read as strictly as
//! serde_json reads it, except that a list is never taken for an object.
//!
//! JSON is read the same by both. Of text that is no JSON it depends on where the fault lies: in what is skipped, it may
//! go unnoticed. That harms nobody, because the text is the API server's own writing of what it has parsed.

mod skip;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Unexpected, Visitor, value::Error},
    forward_to_deserialize_any,
};

use crate::core::affinity::UNREAD;

/// Reads one value, which is all that the text holds.
///
/// # Errors
/// The text is no JSON, or not of this type. Types with numbers can't be read: nothing here is decided on one.
pub fn from_slice<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Error> {
    let mut reader = Reader { text, at: 0 };
    let value = T::deserialize(&mut reader)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.unexpected("the end")),
    }
}

struct Reader<'de> {
    text: &'de [u8],
    at: usize,
}

impl<'de> Reader<'de> {
    fn unexpected(&self, expected: &str) -> Error {
        Error::custom(format_args!("expected {expected} at byte {}", self.at))
    }

    fn rest(&self) -> &'de [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The first byte of what comes next, past white space.
    fn peek(&mut self) -> Option<u8> {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        self.at += self.rest().iter().take_while(blank).count();
        self.text.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> Result<(), Error> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.unexpected(word));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip(&mut self) -> Result<(), Error> {
        let length = match self.peek() {
            Some(b'"') => skip::string(self.rest()).map(|(length, _)| length),
            Some(b'{' | b'[') => skip::nest(self.rest()),
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Some(skip::scalar(self.rest())),
            _ => None,
        };
        self.at += length.ok_or_else(|| self.unexpected("a value"))?;
        Ok(())
    }

    /// The string that begins here, with its quotes, and whether it has escapes.
    fn quoted(&mut self) -> Result<(&'de [u8], bool), Error> {
        let rest = self.rest();
        let (length, escapes) = skip::string(rest).ok_or_else(|| self.unexpected("a string that ends"))?;
        self.at += length;
        Ok((&rest[..length], escapes))
    }

    /// Steps over what stands before the next member of an object or list: nothing before the first, else a comma.
    /// Says whether there is another.
    fn another(&mut self, first: &mut bool, end: u8) -> Result<bool, Error> {
        let next = self.peek();
        if next == Some(end) {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.take(",")?;
        }
        Ok(true)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => visit_text(self.quoted()?, visitor),
            Some(b'{') => {
                self.at += 1;
                visitor.visit_map(Members { reader: self, first: true })
            }
            Some(b'[') => {
                self.at += 1;
                visitor.visit_seq(Members { reader: self, first: true })
            }
            Some(b'n') => self.take("null").and_then(|()| visitor.visit_unit()),
            Some(b't') => self.take("true").and_then(|()| visitor.visit_bool(true)),
            Some(b'f') => self.take("false").and_then(|()| visitor.visit_bool(false)),
            Some(b'-' | b'0'..=b'9') => Err(Error::invalid_type(Unexpected::Other("number"), &visitor)),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'n') => self.take("null").and_then(|()| visitor.visit_none()),
            _ => visitor.visit_some(self),
        }
    }

    /// An object. What serde derives would take a list, too, and a patch to it would not apply.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'[') => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    /// What is to stay unread is lent as text.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name != UNREAD {
            return self.deserialize_any(visitor);
        }
        self.peek();
        let from = self.at;
        self.skip()?;
        visitor.visit_borrowed_bytes(&self.text[from..self.at])
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip().and_then(|()| visitor.visit_unit())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map enum identifier
    }
}

fn visit_text<'de, V: Visitor<'de>>((quoted, escapes): (&'de [u8], bool), visitor: V) -> Result<V::Value, Error> {
    let text = inside(quoted);
    if escapes || text.iter().any(|&byte| byte < b' ') {
        // serde_json knows escapes, and refuses control characters.
        return visitor.visit_string(serde_json::from_slice(quoted).map_err(Error::custom)?);
    }
    visitor.visit_borrowed_str(std::str::from_utf8(text).map_err(Error::custom)?)
}

fn inside(quoted: &[u8]) -> &[u8] {
    &quoted[1..quoted.len() - 1]
}

/// What is left of an object or a list.
struct Members<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.reader.another(&mut self.first, b'}')? {
            return Ok(None);
        }
        match self.reader.peek() {
            Some(b'"') => seed.deserialize(Key(self.reader)).map(Some),
            _ => Err(self.reader.unexpected("a key")),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        self.reader.peek();
        self.reader.take(":")?;
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for Members<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        match self.reader.another(&mut self.first, b']')? {
            true => seed.deserialize(&mut *self.reader).map(Some),
            false => Ok(None),
        }
    }
}

struct Key<'r, 'de>(&'r mut Reader<'de>);

impl<'de> Deserializer<'de> for Key<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visit_text(self.0.quoted()?, visitor)
    }

    /// The name of a field, to be compared and no more: as bytes, whatever they are.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.quoted()? {
            (quoted, false) => visitor.visit_borrowed_bytes(inside(quoted)),
            escaped => visit_text(escaped, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum ignored_any
    }
}

#[cfg(test)]
mod tests;
