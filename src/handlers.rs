//! Handlers: which function handles which name, how a payload becomes a value, and how an error is meant.
//!
//! Invariant: a payload that cannot be decoded never reaches a handler, and is a permanent failure.
//! Does not depend on: how handlers are run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fencepost_model::policy::HandlerOutcome;
use fencepost_model::vocabulary::{Kind, Message, Name, Names, Reason};
use futures_core::future::BoxFuture;

use crate::bus::request;
use crate::delivery::Delivery;
use crate::error::Result;

/// What a handler returns.
pub type HandlerResult = Result<(), HandlerError>;

/// How a handler failed. `?` turns any error into a retryable one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError(pub(crate) HandlerOutcome);

impl HandlerError {
    /// What the handler asks for: a retry, with or without a delay of its own, the failure policy, or parking.
    pub fn outcome(&self) -> &HandlerOutcome {
        &self.0
    }

    /// A failure that may pass: the message is retried after the back-off of the run.
    pub fn retryable(reason: impl fmt::Display) -> Self {
        Self(HandlerOutcome::Retryable { delay_ms: None, reason: text(reason) })
    }

    /// A failure that may pass: the message is retried after this delay, to the millisecond.
    pub fn retry_after(delay: Duration, reason: impl fmt::Display) -> Self {
        Self(HandlerOutcome::Retryable { delay_ms: Some(request::ms(delay)), reason: text(reason) })
    }

    /// A failure that will not pass: the failure policy of the run decides.
    pub fn permanent(reason: impl fmt::Display) -> Self {
        Self(HandlerOutcome::Permanent { reason: text(reason) })
    }

    /// Parks the message until a person redrives it.
    pub fn park(reason: impl fmt::Display) -> Self {
        Self(HandlerOutcome::Park { reason: text(reason) })
    }
}

fn text(reason: impl fmt::Display) -> Reason {
    reason.to_string().into()
}

/// An error with its causes, the outermost first.
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retryable(reason)
    }
}

/// A type that the payload of a message can be decoded into.
pub trait Payload: Sized + Send + 'static {
    /// The error of a payload that cannot be decoded.
    type Error: fmt::Display;

    /// Decodes the payload of a message.
    ///
    /// # Errors
    /// The payload cannot be decoded; the message then fails permanently.
    fn decode(message: &Message) -> Result<Self, Self::Error>;
}

/// The bytes as they are.
impl Payload for Arc<[u8]> {
    type Error = std::convert::Infallible;

    fn decode(message: &Message) -> Result<Self, Self::Error> {
        Ok(Arc::clone(&message.payload))
    }
}

/// Text, if it is UTF-8.
impl Payload for String {
    type Error = std::str::Utf8Error;

    fn decode(message: &Message) -> Result<Self, Self::Error> {
        std::str::from_utf8(&message.payload).map(str::to_owned)
    }
}

/// A payload written as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T: serde::de::DeserializeOwned + Send + 'static> Payload for Json<T> {
    type Error = serde_json::Error;

    fn decode(message: &Message) -> Result<Self, Self::Error> {
        serde_json::from_slice(&message.payload).map(Json)
    }
}

type Handler = Arc<dyn Fn(Delivery) -> BoxFuture<'static, HandlerResult> + Send + Sync>;

/// Which function handles which name. A handler is a plain `async fn` of a [`Delivery`].
///
/// ```
/// use fencepost::{Delivery, HandlerError, HandlerResult, Handlers, Json};
///
/// #[derive(serde::Deserialize)]
/// struct Bet { amount: u32 }
///
/// async fn place_bet(delivery: Delivery<Json<Bet>>) -> HandlerResult {
///     match delivery.payload.0.amount {
///         0 => Err(HandlerError::permanent("a bet of nothing")),
///         _ => Ok(()),
///     }
/// }
///
/// let handlers = Handlers::new().named("bets").on_command("place.bet", place_bet);
/// ```
#[derive(Clone, Default)]
pub struct Handlers {
    group: Option<String>,
    commands: HashMap<String, Handler>,
    events: HashMap<String, Handler>,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field("group", &self.group)
            .field("commands", &self.commands.keys())
            .field("events", &self.events.keys())
            .finish()
    }
}

impl Handlers {
    /// No handlers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of the service: the consumer group that its events are read for.
    #[must_use]
    pub fn named(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Handles commands of this name. A second handler for a name replaces the first.
    #[must_use]
    pub fn on_command<P, H, F>(mut self, name: &str, handler: H) -> Self
    where
        P: Payload,
        H: Fn(Delivery<P>) -> F + Send + Sync + 'static,
        F: Future<Output = HandlerResult> + Send + 'static,
    {
        self.commands.insert(name.to_owned(), erased(handler));
        self
    }

    /// Handles events of this name, in order. A second handler for a name replaces the first.
    #[must_use]
    pub fn on_event<P, H, F>(mut self, name: &str, handler: H) -> Self
    where
        P: Payload,
        H: Fn(Delivery<P>) -> F + Send + Sync + 'static,
        F: Future<Output = HandlerResult> + Send + 'static,
    {
        self.events.insert(name.to_owned(), erased(handler));
        self
    }

    pub(crate) fn commands_only(mut self) -> Self {
        self.events.clear();
        self
    }

    pub(crate) fn events_only(mut self) -> Self {
        self.commands.clear();
        self
    }

    pub(crate) fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    pub(crate) fn names(&self, kind: Kind) -> Result<Names> {
        let handlers = if kind == Kind::Command { &self.commands } else { &self.events };
        handlers.keys().map(|name| request::name(name)).collect()
    }

    /// The handler of a message. There is one for every name that was claimed.
    pub(crate) fn of(&self, kind: Kind, name: &Name) -> Option<&Handler> {
        if kind == Kind::Command { &self.commands } else { &self.events }.get(name.as_str())
    }
}

/// The delivery with its payload decoded.
fn decoded<P: Payload>(delivery: Delivery) -> Result<Delivery<P>, HandlerError> {
    let payload = P::decode(delivery.message()).map_err(HandlerError::permanent)?;
    Ok(delivery.with_payload(payload))
}

/// A handler without the type of its payload.
fn erased<P, H, F>(handler: H) -> Handler
where
    P: Payload,
    H: Fn(Delivery<P>) -> F + Send + Sync + 'static,
    F: Future<Output = HandlerResult> + Send + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |delivery: Delivery| {
        let decoded = decoded::<P>(delivery);
        let handler = Arc::clone(&handler);
        Box::pin(async move { handler(decoded?).await })
    })
}
