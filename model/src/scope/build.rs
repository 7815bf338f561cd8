//! The words that scopes are written in: short constructors for messages, operations and settlements.
//!
//! Does not depend on: scopes.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::op::{Op, Settlement, Start};
use crate::vocabulary::{Epoch, Group, Kind, Message, MessageId, Name, Names, Reason, Seq};

/// A name from a text that keeps the rules of names.
pub(super) fn name(text: &str) -> Name {
    match Name::new(text) {
        Ok(name) => name,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

pub(super) fn group(text: &str) -> Group {
    match Group::new(text) {
        Ok(group) => group,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

pub(super) fn id(text: &str) -> MessageId {
    match MessageId::new(text) {
        Ok(id) => id,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

pub(super) fn names_of(texts: &[&str]) -> Names {
    texts.iter().map(|text| name(text)).collect()
}

pub(super) fn command(of: &str, payload: &str) -> Message {
    Message::new(Kind::Command, name(of), payload.as_bytes())
}

pub(super) fn event(of: &str, payload: &str) -> Message {
    Message::new(Kind::Event, name(of), payload.as_bytes())
}

pub(super) fn send(message: Message, delay_ms: u64) -> Op {
    Op::Send { message: Arc::new(message), delay_ms }
}

pub(super) fn publish(message: Message) -> Op {
    Op::Publish { message: Arc::new(message) }
}

pub(super) fn claim(of: &[&str], max: u32) -> Op {
    Op::Claim { names: names_of(of), max: count(max), lease_ms: 1, attempts_max: count(2) }
}

pub(super) fn poll(by: &str, of: &[&str], max: u32) -> Op {
    Op::Poll {
        group: group(by),
        names: names_of(of),
        token: None,
        max: count(max),
        lease_ms: 1,
        attempts_max: count(2),
    }
}

pub(super) fn subscribe(by: &str, of: &str, start: Start) -> Op {
    Op::Subscribe { group: group(by), name: name(of), start }
}

pub(super) fn unsubscribe(by: &str, of: &str) -> Op {
    Op::Unsubscribe { group: group(by), name: name(of) }
}

pub(super) fn seek(by: &str, of: &str, position: u32) -> Op {
    Op::Seek { group: group(by), name: name(of), position: Seq::from(position) }
}

pub(super) fn reset(expected: u32, next: u32) -> Op {
    Op::Reset { expected: Epoch::from(expected), next: Epoch::from(next) }
}

pub(super) fn nack(delay_ms: u64) -> Settlement {
    Settlement::Nack { delay_ms, reason: Reason::from("failed") }
}

pub(super) fn dead_letter() -> Settlement {
    Settlement::DeadLetter { reason: Reason::from("poison") }
}

pub(super) fn park() -> Settlement {
    Settlement::Park { reason: Reason::from("later") }
}

pub(super) fn repairs(messages: impl IntoIterator<Item = Message>) -> Vec<Arc<Message>> {
    messages.into_iter().map(Arc::new).collect()
}

pub(super) fn offers(ops: impl IntoIterator<Item = Op>) -> Vec<Arc<Op>> {
    ops.into_iter().map(Arc::new).collect()
}

/// A count of at least one. Zero counts as one.
pub(super) fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}
