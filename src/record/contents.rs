//! The contents in a recording: digests in place of payloads, of the values of metadata, and of the columns of damaged rows.
//!
//! Names, ids, groups, content types and reasons are written as they are.
//!
//! Invariant: equal contents have equal digests and different contents different ones, in an operation, a reply and a state
//! alike, so that a check can tell whether the right message came back.
//! Does not depend on: the file of a recording.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::{Body, LogRow, Remembered, State};
use fencepost_model::vocabulary::{Content, Message, MessageId, Raw, RawValue};
use sha2::{Digest as _, Sha256};

use crate::record::format::{DIGEST_BYTES, ShortDigest};
use crate::sqlite::digest;

/// The first bytes of the digest of these bytes.
fn short(bytes: &[u8]) -> ShortDigest {
    let mut short = [0; DIGEST_BYTES];
    short.copy_from_slice(&Sha256::digest(bytes)[..DIGEST_BYTES]);
    short
}

/// The first bytes of the digest that a store remembers of a message.
pub(crate) fn remembered(message: &Message) -> ShortDigest {
    cut_short(&digest(&Content::of(message)))
}

/// The first bytes of a remembered digest.
pub(crate) fn cut_short(content: &Content) -> ShortDigest {
    let mut short = [0; DIGEST_BYTES];
    let bytes = content.0.len().min(DIGEST_BYTES);
    short[..bytes].copy_from_slice(&content.0[..bytes]);
    short
}

/// The messages with an id in an operation whose contents are remembered or compared, in order.
pub(crate) fn with_id(op: &Op, to: &mut Vec<Arc<Message>>) {
    match op {
        Op::Send { message, .. } | Op::Publish { message } if message.id.is_some() => {
            to.push(Arc::clone(message));
        }
        Op::Atomic(ops) => ops.iter().for_each(|op| with_id(op, to)),
        _ => {}
    }
}

fn of_message(message: &Message) -> Arc<Message> {
    let hex = |value: &str| {
        short(value.as_bytes()).iter().fold(String::with_capacity(2 * DIGEST_BYTES), |mut hex, byte| {
            // Writing into a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    let metadata = message.metadata.iter().map(|(key, value)| (Arc::clone(key), hex(value).into())).collect();
    Arc::new(Message {
        id: message.id.clone(),
        name: message.name.clone(),
        kind: message.kind,
        payload: short(&message.payload).into(),
        content_type: message.content_type.clone(),
        metadata,
    })
}

fn of_raw(raw: &Raw) -> Raw {
    let columns = raw.0.iter().map(|(column, value)| {
        let value = match value {
            RawValue::Text(text) => RawValue::Text(short(text).into()),
            RawValue::Blob(bytes) => RawValue::Blob(short(bytes).into()),
            other => other.clone(),
        };
        (Arc::clone(column), value)
    });
    Raw(columns.collect())
}

fn of_body(body: &mut Body) {
    match body {
        Body::Sound { message, .. } => *message = of_message(message),
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => *raw = of_raw(raw),
    }
}

/// Puts digests in place of the contents in an operation.
pub(crate) fn of_op(op: &mut Op) {
    match op {
        Op::Send { message, .. } | Op::Publish { message } | Op::Repair { message, .. } => {
            *message = of_message(message);
        }
        Op::Atomic(ops) => ops.iter_mut().for_each(of_op),
        _ => {}
    }
}

/// Puts digests in place of the contents in a reply.
pub(crate) fn of_reply(reply: &mut Reply) {
    match reply {
        Reply::HandedOut { deliveries, .. } => {
            deliveries.iter_mut().for_each(|delivery| of_body(&mut delivery.body));
        }
        Reply::Repaired { replaced } => *replaced = of_raw(replaced),
        Reply::Done(replies) => replies.iter_mut().for_each(of_reply),
        _ => {}
    }
}

/// Shortens the digests that a state remembers under ids.
pub(crate) fn shorten_ids(state: &mut State) {
    let shorten = |ids: &mut BTreeMap<MessageId, Remembered>| {
        for known in ids.values_mut() {
            known.content = Content(cut_short(&known.content).into());
        }
    };
    shorten(&mut state.command_ids);
    shorten(&mut state.event_ids);
}

/// Puts digests in place of the contents in a state.
pub(crate) fn of_state(state: &mut State) {
    state.queue.values_mut().for_each(|command| of_body(&mut command.body));
    state.unreadable.values_mut().for_each(|raw| *raw = of_raw(raw));
    for row in state.log.values_mut() {
        if let LogRow::Event(body) = row {
            of_body(body);
        }
    }
    for cursor in state.groups.values_mut() {
        cursor.entries.values_mut().for_each(|entry| of_body(&mut entry.body));
    }
    state.records.values_mut().for_each(|record| of_body(&mut record.body));
}
