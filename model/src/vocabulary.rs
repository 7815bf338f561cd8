//! The vocabulary of the bus: messages, names, numbers and times. The model, every implementation and every test share it.
//!
//! Invariant: constructors validate, so every value is valid.
//! Does not depend on: queues, logs, storage, delivery.

mod draft;
#[cfg(feature = "serde")]
pub(crate) mod written;

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use draft::{Draft, DraftError, JsonError};

/// The largest value of any number of the bus: what a signed 64-bit column can hold.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

/// The largest epoch: the bits of a number that remain beside 48 bits of tokens.
pub const EPOCH_MAX: u64 = NUMBER_MAX >> 48;

/// The number is larger than the maximum of its type, or negative in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("number is out of range")
    }
}

impl std::error::Error for OutOfRange {}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        number! { $(#[$doc])* $name, NUMBER_MAX }
    };
    ($(#[$doc:meta])* $name:ident, $max:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(into = "u64", try_from = "u64"))]
        pub struct $name(u64);

        impl $name {
            /// The number zero: before the first.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self($max);

            /// The number, if it is within `0..=`[`Self::MAX`].
            pub const fn new(number: u64) -> Result<Self, OutOfRange> {
                if number > $max { Err(OutOfRange) } else { Ok(Self(number)) }
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// This number plus `n`; stays at [`Self::MAX`] when it would leave the range.
            #[must_use]
            pub const fn plus(self, n: u64) -> Self {
                let sum = self.0.saturating_add(n);
                Self(if sum > $max { $max } else { sum })
            }

            /// The number before this one; zero stays zero.
            #[must_use]
            pub const fn before(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                Self::ZERO.plus(u64::from(number))
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> u64 {
                number.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = OutOfRange;
            fn try_from(number: u64) -> Result<Self, OutOfRange> {
                Self::new(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A sequence number: the place of a command in the order of sending, or of an event in the log. The first is 1.
    /// The queue and the log count separately.
    Seq
}
number! {
    /// A fencing token. It identifies a lease, grows with every new lease of a store, and is never used twice (G4).
    Token
}
number! {
    /// The number of a dead-lettered or parked record.
    RecordId
}
number! {
    /// The identity of one life of the log. A reset or a restore begins a new epoch, never used before. At most
    /// [`EPOCH_MAX`], so that each epoch has its own range of tokens.
    Epoch, EPOCH_MAX
}
number! {
    /// A point in time, in milliseconds since the Unix epoch. The caller passes it; the model reads no clock.
    Timestamp
}

/// The rule that a name, group, id or content type breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextRule {
    /// It is empty.
    Empty,
    /// It is longer than [`TEXT_BYTES_MAX`] bytes.
    TooLong,
    /// It contains a control character.
    ControlCharacter,
    /// It begins or ends with white space.
    SurroundingSpace,
    /// It contains `*`, `?`, `#` or `>`, which other buses take for wildcards.
    Wildcard,
    /// It contains a character other than ASCII letters, digits and `. _ - : /`.
    OtherCharacter(char),
}

/// The length limit of names, groups, ids and content types: 255 bytes.
pub const TEXT_BYTES_MAX: usize = 255;

impl fmt::Display for TextRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong => write!(f, "must not be longer than {TEXT_BYTES_MAX} bytes"),
            Self::ControlCharacter => f.write_str("must not contain control characters"),
            Self::SurroundingSpace => f.write_str("must not begin or end with white space"),
            Self::Wildcard => f.write_str("must not contain the wildcards * ? # >"),
            Self::OtherCharacter(c) => {
                write!(f, "may contain ASCII letters, digits and . _ - : / only, not {c:?}")
            }
        }
    }
}

impl std::error::Error for TextRule {}

fn check_text(text: &str) -> Result<(), TextRule> {
    if text.is_empty() {
        Err(TextRule::Empty)
    } else if text.len() > TEXT_BYTES_MAX {
        Err(TextRule::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(TextRule::ControlCharacter)
    } else if text.trim() != text {
        Err(TextRule::SurroundingSpace)
    } else {
        Ok(())
    }
}

/// Names and groups have a small alphabet, so that a store can recognise a damaged name with its own means (see
/// docs/decisions).
fn check_name(text: &str) -> Result<(), TextRule> {
    check_text(text)?;
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !".-_:/".contains(*c)) {
        None => Ok(()),
        Some('*' | '?' | '#' | '>') => Err(TextRule::Wildcard),
        Some(c) => Err(TextRule::OtherCharacter(c)),
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        #[cfg(feature = "serde")]
        written::text!($name);

        impl $name {
            /// The text, if it keeps the rules.
            ///
            /// # Errors
            /// The first [`TextRule`] that it breaks.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, TextRule> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The plain text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextRule;
            fn try_from(text: String) -> Result<Self, TextRule> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = TextRule;
            fn from_str(text: &str) -> Result<Self, TextRule> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text! {
    /// The name of a message, such as `place.bet`. Consumers claim and subscribe by name. 1 to 255 ASCII letters, digits
    /// and `. _ - : /`.
    Name, check_name
}
text! {
    /// A consumer group: consumers that share one progress through the log. The same alphabet as [`Name`].
    Group, check_name
}
text! {
    /// A sender's id for a message, by which the bus recognises a retry (G10). 1 to 255 bytes of text without control
    /// characters and surrounding space.
    MessageId, check_text
}
text! {
    /// The media type of a payload, such as `application/json`. The same rules as [`MessageId`].
    ContentType, check_text
}

impl ContentType {
    /// `application/octet-stream`: bytes of an unknown type.
    pub fn octet_stream() -> Self {
        Self(Arc::from("application/octet-stream"))
    }
}

/// A set of names, as in a claim or a poll.
pub type Names = BTreeSet<Name>;

/// The reason of a settlement, as free text of any length.
pub type Reason = Arc<str>;

/// The metadata key whose value must agree when an id is sent again. Other metadata may differ.
pub const CAUSATION_ID: &str = "causation_id";

/// Whether a message is a command or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Kind {
    /// Sent to the queue, and handled by one consumer.
    Command,
    /// Published to the log, and handled by every group that subscribes to its name.
    Event,
}

/// A message, as it is sent or published. The bus never changes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The sender's id, if the bus shall recognise a retry.
    pub id: Option<MessageId>,
    /// The name.
    pub name: Name,
    /// Command or event.
    pub kind: Kind,
    /// The bytes. The bus does not interpret them.
    #[cfg_attr(feature = "serde", serde(with = "written::payload"))]
    pub payload: Arc<[u8]>,
    /// The media type of the payload.
    pub content_type: ContentType,
    /// Ordered pairs of strings. Keys may repeat.
    pub metadata: Vec<(Arc<str>, Arc<str>)>,
}

impl Message {
    /// A draft of a command with this name. Building or sending it reports the first rule that it breaks.
    pub fn command(name: &str) -> Draft {
        Draft::new(Kind::Command, name)
    }

    /// A draft of an event with this name. Building or publishing it reports the first rule that it breaks.
    pub fn event(name: &str) -> Draft {
        Draft::new(Kind::Event, name)
    }

    /// A message with this name and payload, `application/octet-stream`, no id and no metadata.
    pub fn new(kind: Kind, name: Name, payload: impl Into<Arc<[u8]>>) -> Self {
        let (payload, content_type) = (payload.into(), ContentType::octet_stream());
        Self { id: None, name, kind, payload, content_type, metadata: Vec::new() }
    }

    /// The value of the first pair of metadata with this key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(known, _)| known.as_ref() == key).map(|(_, value)| value.as_ref())
    }

    /// The same message under a sender's id.
    #[must_use]
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.id = Some(id);
        self
    }

    /// The same message with one more pair of metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }
}

/// The parts in which two messages under the same id must agree (name, content type, payload, and the metadata
/// `causation_id`), encoded as bytes. The bytes are equal exactly when the parts are equal.
///
/// A store may keep a digest of these bytes instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Content(#[cfg_attr(feature = "serde", serde(with = "written::bytes"))] pub Arc<[u8]>);

impl Content {
    /// The content of a message: each part after its length.
    pub fn of(message: &Message) -> Self {
        let mut bytes = Vec::with_capacity(message.payload.len() + 96);
        let mut part = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        part(message.name.as_str().as_bytes());
        part(message.content_type.as_str().as_bytes());
        part(&message.payload);
        for (_, value) in message.metadata.iter().filter(|(key, _)| key.as_ref() == CAUSATION_ID) {
            part(value.as_bytes());
        }
        Self(bytes.into())
    }
}

/// One column of a row that cannot be decoded: its value with its storage class, unchanged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RawValue {
    /// No value.
    Null,
    /// A signed integer.
    Integer(i64),
    /// A floating point number, as its bits.
    Real(u64),
    /// Text; perhaps not UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

/// The raw columns of a row that cannot be decoded, by name: kept for a person to look at, never guessed at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Raw(pub Arc<[(Arc<str>, RawValue)]>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_rule_it_breaks() {
        let rule = |text: &str| Name::new(text).unwrap_err();
        assert_eq!(rule(""), TextRule::Empty);
        assert_eq!(rule(&"a".repeat(256)), TextRule::TooLong);
        assert_eq!(rule("a\u{7}b"), TextRule::ControlCharacter);
        assert_eq!(rule(" a"), TextRule::SurroundingSpace);
        assert_eq!(rule("orders.*"), TextRule::Wildcard);
        assert_eq!(rule("a b"), TextRule::OtherCharacter(' '));
        assert_eq!(Name::new("place.bet/v1:x_y-Z").unwrap().as_str(), "place.bet/v1:x_y-Z");
    }

    #[test]
    fn a_number_beyond_a_signed_column_is_out_of_range() {
        assert_eq!(Seq::new(NUMBER_MAX + 1), Err(OutOfRange));
        assert_eq!(Timestamp::MAX.plus(1), Timestamp::MAX);
        assert_eq!(Token::ZERO.before(), Token::ZERO);
    }

    #[test]
    fn content_differs_where_only_the_concatenated_bytes_agree() {
        let name = |text: &str| Name::new(text).unwrap();
        let one = Message::new(Kind::Command, name("ab"), *b"c");
        let other = Message::new(Kind::Command, name("a"), *b"bc");
        assert_ne!(Content::of(&one), Content::of(&other));
        let traced = one.clone().with_metadata("traceparent", "00-1");
        assert_eq!(Content::of(&one), Content::of(&traced));
        let caused = one.clone().with_metadata(CAUSATION_ID, "bet-17");
        assert_ne!(Content::of(&one), Content::of(&caused));
    }
}
