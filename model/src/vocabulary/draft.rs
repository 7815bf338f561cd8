//! Builds messages: `Message::command("place.bet").json(&bet)?.id("bet-17")`.
//!
//! Invariant: a draft that breaks a rule never becomes a message. [`Draft::build`] returns the first rule that it broke.
//! Does not depend on: where messages go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::vocabulary::{ContentType, Kind, Message, MessageId, Name, TextRule};

/// A message under construction, with its delay. [`Message::command`] and [`Message::event`] create one.
#[derive(Clone, Debug)]
#[must_use = "a draft does nothing until it is sent or published"]
pub struct Draft {
    kind: Kind,
    name: Result<Name, DraftError>,
    id: Option<MessageId>,
    payload: Arc<[u8]>,
    content_type: ContentType,
    metadata: Vec<(Arc<str>, Arc<str>)>,
    delay_ms: u64,
}

/// The rule that a draft breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DraftError {
    /// The name breaks a rule.
    Name(TextRule),
    /// The id breaks a rule.
    Id(TextRule),
    /// The content type breaks a rule.
    ContentType(TextRule),
    /// An event has a delay. Events cannot wait, because the log is ordered.
    DelayedEvent,
    /// The value cannot be written as JSON.
    Json {
        /// The error of the serializer.
        source: JsonError,
    },
}

/// The error of a JSON serializer, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(Arc<str>);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(rule) => write!(f, "a name {rule}"),
            Self::Id(rule) => write!(f, "an id {rule}"),
            Self::ContentType(rule) => write!(f, "a content type {rule}"),
            Self::DelayedEvent => f.write_str("an event cannot be delayed"),
            Self::Json { .. } => f.write_str("the payload cannot be written as JSON"),
        }
    }
}

impl std::error::Error for DraftError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json { source } => Some(source),
            _ => None,
        }
    }
}

impl Draft {
    pub(super) fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: Name::new(name).map_err(DraftError::Name),
            id: None,
            payload: Arc::from([]),
            content_type: ContentType::octet_stream(),
            metadata: Vec::new(),
            delay_ms: 0,
        }
    }

    /// Keeps the first rule that was broken.
    fn broken(mut self, error: DraftError) -> Self {
        if self.name.is_ok() {
            self.name = Err(error);
        }
        self
    }

    /// Sets the payload to these bytes. The content type stays as it is; it begins as `application/octet-stream`.
    pub fn payload(mut self, payload: impl Into<Arc<[u8]>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets the payload to this text, as `text/plain; charset=utf-8`.
    pub fn text(self, text: impl AsRef<str>) -> Self {
        self.payload(text.as_ref().as_bytes()).content_type("text/plain; charset=utf-8")
    }

    /// Sets the payload to this value, encoded as `application/json`.
    ///
    /// # Errors
    /// [`DraftError::Json`] if the value cannot be encoded, or the rule that the draft broke before.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<Self, DraftError> {
        let json = serde_json::to_vec(value)
            .map_err(|error| DraftError::Json { source: JsonError(error.to_string().into()) })?;
        let draft = self.payload(json).content_type("application/json");
        match draft.name {
            Ok(_) => Ok(draft),
            Err(error) => Err(error),
        }
    }

    /// Sets the media type of the payload, such as `application/json`.
    pub fn content_type(mut self, content_type: &str) -> Self {
        match ContentType::new(content_type) {
            Ok(content_type) => self.content_type = content_type,
            Err(rule) => return self.broken(DraftError::ContentType(rule)),
        }
        self
    }

    /// Sets the sender's id. A retry under the same id adds nothing (G10).
    pub fn id(mut self, id: &str) -> Self {
        match MessageId::new(id) {
            Ok(id) => self.id = Some(id),
            Err(rule) => return self.broken(DraftError::Id(rule)),
        }
        self
    }

    /// Adds a pair of metadata. Keys may repeat, and the order is kept.
    pub fn metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Whether it has metadata under this key.
    pub fn has_metadata(&self, key: &str) -> bool {
        self.metadata.iter().any(|(known, _)| known.as_ref() == key)
    }

    /// Sets the time until the command may be claimed, rounded up to milliseconds. Events cannot have a delay.
    pub fn delay(mut self, delay: Duration) -> Self {
        if self.kind == Kind::Event && !delay.is_zero() {
            return self.broken(DraftError::DelayedEvent);
        }
        self.delay_ms = u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self
    }

    /// The message, and its delay in milliseconds.
    ///
    /// # Errors
    /// The first rule that the draft broke.
    pub fn build(self) -> Result<(Message, u64), DraftError> {
        let Self { kind, name, id, payload, content_type, metadata, delay_ms } = self;
        Ok((Message { id, name: name?, kind, payload, content_type, metadata }, delay_ms))
    }
}

impl From<Message> for Draft {
    fn from(message: Message) -> Self {
        let Message { id, name, kind, payload, content_type, metadata } = message;
        Self { kind, name: Ok(name), id, payload, content_type, metadata, delay_ms: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_names_the_first_rule_that_it_broke() {
        let of = |draft: Draft| draft.build().unwrap_err();
        assert_eq!(of(Message::command("").id(" ")), DraftError::Name(TextRule::Empty));
        assert_eq!(of(Message::command("a").id(" x")), DraftError::Id(TextRule::SurroundingSpace));
        assert_eq!(of(Message::event("a.*")), DraftError::Name(TextRule::Wildcard));
        assert_eq!(of(Message::event("a").content_type("")), DraftError::ContentType(TextRule::Empty));
        assert_eq!(of(Message::event("a").delay(Duration::from_secs(1))), DraftError::DelayedEvent);
    }

    #[test]
    fn a_delay_is_rounded_up() {
        let delay = |nanos| Message::command("a").delay(Duration::from_nanos(nanos)).build().unwrap().1;
        assert_eq!([delay(0), delay(1), delay(1_000_000), delay(1_000_001)], [0, 1, 1, 2]);
    }

    #[cfg(feature = "json")]
    #[test]
    fn a_value_that_cannot_be_encoded_as_json_is_an_error() {
        let unwritable = std::collections::BTreeMap::from([(vec![1], 2)]);
        let error = Message::command("a").json(&unwritable).unwrap_err();
        assert!(matches!(error, DraftError::Json { .. }), "{error:?}");
        assert!(std::error::Error::source(&error).is_some(), "the error of serde_json is lost");
        let (message, _) = Message::command("a").json(&[1, 2]).unwrap().build().unwrap();
        assert_eq!(
            (&message.payload[..], message.content_type.as_str()),
            (&b"[1,2]"[..], "application/json")
        );
        assert_eq!(Message::command(" ").json(&1).unwrap_err(), DraftError::Name(TextRule::SurroundingSpace));
    }
}
