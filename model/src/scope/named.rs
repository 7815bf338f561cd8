//! The named scopes. Each says in one line what it is about; the numbers of states are pinned. Here are the list and
//! the words that scopes are written in; the scopes themselves stand in the leaves.

mod of_log;
mod of_queue;
mod of_store;

use std::sync::Arc;

use crate::op::{Op, Settlement, Start};
use crate::scope::{Scope, count};
use crate::vocabulary::{Epoch, Group, Kind, Message, MessageId, Name, Names, Reason, Seq};

/// All named scopes.
pub fn all() -> Vec<Scope> {
    vec![
        of_queue::leases(),
        of_queue::releases(),
        of_queue::batches(),
        of_queue::ids(),
        of_queue::aside(),
        of_queue::damaged_commands(),
        of_queue::repaired_commands(),
        of_log::groups(),
        of_log::batches_of_events(),
        of_log::names_added(),
        of_log::events_aside(),
        of_log::entries(),
        of_log::entry_settlements(),
        of_log::two_entries(),
        of_log::damaged_events(),
        of_log::one_damaged_event(),
        of_log::repaired_events(),
        of_log::exhausted_events(),
        of_store::pruning(),
        of_store::seeking(),
        of_store::epochs(),
        of_store::transactions(),
        of_store::falling_back(),
        of_store::answers_lost(),
    ]
}

/// The scope of this name; `wide`, which is walked, and those of power cuts are never explored to their ends.
pub fn by_name(name: &str) -> Option<Scope> {
    let others = [super::cuts::cuts_with_damage(), super::wide::wide()];
    all().into_iter().chain(super::cuts::cuts()).chain(others).find(|scope| scope.name == name)
}

/// The names of all scopes.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|scope| scope.name).collect()
}

/// A name from a text that is one.
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

fn claim(of: &[&str], max: u32) -> Op {
    Op::Claim { names: names_of(of), max: count(max), lease_ms: 1, attempts_max: count(2) }
}

fn poll(by: &str, of: &[&str], max: u32) -> Op {
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
