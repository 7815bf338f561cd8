//! G5, where a person gives what cannot be decoded a message again.

use std::sync::Arc;

use crate::ghost::remembered_id;
use crate::invariant::{Transition, Verdict, ensure};
use crate::op::{Op, Refusal, Reply};
use crate::state::{Body, Origin, Record};
use crate::vocabulary::{Kind, Message};

/// A repair replaces what could not be decoded and nothing else, tells what it replaced, and puts in its place what was
/// given, under the name and the id that are known. Whatever can still be read is not replaced by something else.
pub(super) fn a_repair_replaces_only_what_cannot_be_read(t: &Transition<'_>) -> Verdict {
    let Op::Repair { record: id, message } = t.op else { return Verdict::Vacuous };
    if let Reply::Refused(_) = t.reply {
        ensure!(t.before == t.after, "a refused repair changed the state");
    }
    let Some(record) = t.before.records.get(id) else {
        ensure!(*t.reply == Reply::Refused(Refusal::NotFound), "nothing was repaired: {:?}", t.reply);
        return Verdict::Vacuous;
    };
    let raw = match &record.body {
        Body::Sound { .. } => {
            let told = *t.reply == Reply::Refused(Refusal::Legible);
            ensure!(told, "record {id} can be decoded, and its repair was answered {:?}", t.reply);
            return Verdict::Held;
        }
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => raw,
    };
    let known = remembered_id(t.before, &record.origin);
    if let Some(refusal) = at_odds(record, message, known.is_some() && message.id == known) {
        let told = *t.reply == Reply::Refused(refusal);
        ensure!(told, "the repair of record {id} was answered {:?}", t.reply);
        return Verdict::Held;
    }
    let Reply::Repaired { replaced } = t.reply else {
        return Verdict::Broken(format!("record {id} could be repaired but was answered {:?}", t.reply));
    };
    ensure!(replaced == raw, "record {id} was repaired, and what it was is not told");
    let message = Arc::new(Message { id: known, ..(**message).clone() });
    let mut expected = t.before.clone();
    if let Some(record) = expected.records.get_mut(id) {
        record.body = Body::Sound { message, at: t.now };
    }
    ensure!(expected == *t.after, "the repair of record {id} did not do that alone");
    Verdict::Held
}

/// In what a message contradicts what is known of the record.
fn at_odds(record: &Record, message: &Message, own_id: bool) -> Option<Refusal> {
    let kind = match record.origin {
        Origin::Queue { .. } => Kind::Command,
        Origin::Log { .. } => Kind::Event,
    };
    if message.kind != kind {
        return Some(Refusal::WrongKind);
    }
    let another_name = record.body.name().is_some_and(|name| *name != message.name);
    let another_id = message.id.is_some() && !own_id;
    (another_name || another_id).then_some(Refusal::Legible)
}
