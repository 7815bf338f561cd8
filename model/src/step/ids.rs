//! The ids of senders: recognising a repetition, and forgetting ids (G10).
//!
//! Invariant: an id is remembered while its message is in the bus, and then for the retention of the owner.

use std::collections::BTreeMap;

use crate::op::{Refusal, Reply};
use crate::state::{Origin, Remembered, State};
use crate::vocabulary::{Content, Message, MessageId, Seq, Timestamp};

/// The number of the first message under a remembered id, or a conflict. `None` if the id is new (G10).
pub(super) fn recall(
    ids: &BTreeMap<MessageId, Remembered>,
    message: &Message,
) -> Result<Option<Seq>, Refusal> {
    match message.id.as_ref().and_then(|id| ids.get(id)) {
        None => Ok(None),
        Some(known) if known.content == Content::of(message) => Ok(Some(known.seq)),
        Some(known) => Err(Refusal::Conflict { seq: known.seq }),
    }
}

pub(super) fn remember(ids: &mut BTreeMap<MessageId, Remembered>, message: &Message, seq: Seq) {
    if let Some(id) = &message.id {
        let content = Content::of(message);
        ids.insert(id.clone(), Remembered { seq, content, ended_at: None });
    }
}

/// The message of this number has ended: the owner's retention of its id begins now.
pub(super) fn end(ids: &mut BTreeMap<MessageId, Remembered>, seq: Seq, now: Timestamp) {
    for known in ids.values_mut().filter(|known| known.seq == seq) {
        known.ended_at = Some(now);
    }
}

/// Forgets the ids whose message ended at least this long ago. The id of an event stays while a record or an entry holds
/// a copy of the event.
pub(super) fn forget_ids(state: &mut State, now: Timestamp, retention_ms: u64) -> Reply {
    let before = state.command_ids.len() + state.event_ids.len();
    let over = |ended_at: Option<Timestamp>| ended_at.is_some_and(|at| at.plus(retention_ms) <= now);
    let copied: Vec<Seq> = event_copies(state).collect();
    state.command_ids.retain(|_, known| !over(known.ended_at));
    state.event_ids.retain(|_, known| !over(known.ended_at) || copied.contains(&known.seq));
    let after = state.command_ids.len() + state.event_ids.len();
    Reply::Forgotten { ids: (before - after) as u64 }
}

/// The numbers of the events of this epoch that have a copy in a record or an entry.
fn event_copies(state: &State) -> impl Iterator<Item = Seq> {
    let set_aside = state.records.values().filter_map(|record| match record.origin {
        Origin::Log { epoch, seq, .. } if epoch == state.epoch => Some(seq),
        _ => None,
    });
    let redriven = state.groups.values().flat_map(|cursor| cursor.entries.values().map(|entry| entry.seq));
    set_aside.chain(redriven)
}
