//! How the vocabulary is encoded and decoded with serde.
//!
//! Invariant: decoded values pass their constructors, and nest no deeper than [`NESTING_MAX`]. A format for people gets
//! text where it can, and a compact format gets plain bytes.
//! Does not depend on: a format.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::vocabulary::TextRule;

/// Operations and refusals nest to this depth. The limit protects the stack from a hostile file.
pub(crate) const NESTING_MAX: u32 = 32;

/// Decodes a text through its constructor.
pub(super) struct Text<T>(pub(super) PhantomData<T>);

impl<'de, T: for<'a> TryFrom<&'a str, Error = TextRule>> Visitor<'de> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::try_from(text).map_err(E::custom)
    }
}

/// Encodes a text as it is, and decodes it through its constructor.
macro_rules! text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(written::Text(std::marker::PhantomData))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = TextRule;
            fn try_from(text: &str) -> Result<Self, TextRule> {
                Self::new(text)
            }
        }
    };
}
pub(super) use text;

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Arc<[u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Arc<[u8]>, E> {
        Ok(bytes.into())
    }
}

/// Bytes: a list of numbers in a format for people, and plain bytes in a compact format.
pub(super) mod bytes {
    use super::{Arc, Bytes, Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { bytes.serialize(to) } else { to.serialize_bytes(bytes) }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
        if from.is_human_readable() { Arc::deserialize(from) } else { from.deserialize_bytes(Bytes) }
    }
}

/// A payload: text in a format for people if it is UTF-8, else a list of numbers; plain bytes in a compact format.
pub(super) mod payload {
    use super::{Arc, Bytes, Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Payload<'a> {
        Text(std::borrow::Cow<'a, str>),
        Bytes(std::borrow::Cow<'a, [u8]>),
    }

    pub(in super::super) fn serialize<S: Serializer>(payload: &Arc<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return to.serialize_bytes(payload);
        }
        match std::str::from_utf8(payload) {
            Ok(text) => Payload::Text(text.into()).serialize(to),
            Err(_) => Payload::Bytes(payload.as_ref().into()).serialize(to),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
        if !from.is_human_readable() {
            return from.deserialize_bytes(Bytes);
        }
        Ok(match Payload::deserialize(from)? {
            Payload::Text(text) => text.as_bytes().into(),
            Payload::Bytes(bytes) => bytes.into(),
        })
    }
}

thread_local! {
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// Decodes a value that may contain values of its own type, to a bounded depth.
pub(crate) fn nested<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let depth = NESTING.get();
    if depth >= NESTING_MAX {
        return Err(D::Error::custom("nested too deeply"));
    }
    NESTING.set(depth + 1);
    let read = T::deserialize(from);
    NESTING.set(depth);
    read
}

#[cfg(test)]
mod tests {
    use crate::vocabulary::Name;

    #[test]
    fn a_text_that_breaks_a_rule_is_not_decoded() {
        assert_eq!(serde_json::from_str::<Name>("\"a.b\"").unwrap().as_str(), "a.b");
        assert_eq!(serde_json::to_string(&Name::new("a").unwrap()).unwrap(), "\"a\"");
        assert!(serde_json::from_str::<Name>("\"a b\"").unwrap_err().to_string().contains("may contain"));
    }
}
