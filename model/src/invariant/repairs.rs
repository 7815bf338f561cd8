//! The part of G5 about repairs.

use std::sync::Arc;

use crate::ghost::remembered_id;
use crate::invariant::transition::{CheckResult, Transition, ensure};
use crate::op::{Op, Refusal, Reply};
use crate::state::{Body, Origin, Record};
use crate::vocabulary::{Kind, Message};

/// A repair replaces only what cannot be decoded, returns the replaced columns, and keeps the name and the id that are
/// known. A repair of what can be read is refused.
pub fn a_repair_replaces_only_what_cannot_be_read(t: &Transition<'_>) -> CheckResult {
    let Op::Repair { record: id, message } = t.op else { return CheckResult::Vacuous };
    if let Reply::Refused(_) = t.reply {
        ensure!(t.before == t.after, "a refused repair changed the state");
    }
    let Some(record) = t.before.records.get(id) else {
        ensure!(
            *t.reply == Reply::Refused(Refusal::NotFound),
            "there is no record {id}, but its repair was answered {:?}",
            t.reply
        );
        return CheckResult::Vacuous;
    };
    let raw = match &record.body {
        Body::Sound { .. } => {
            let expected = *t.reply == Reply::Refused(Refusal::Legible);
            ensure!(expected, "record {id} can be decoded, and its repair was answered {:?}", t.reply);
            return CheckResult::Held;
        }
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => raw,
    };
    let known = remembered_id(t.before, &record.origin);
    if let Some(refusal) = contradiction(record, message, known.is_some() && message.id == known) {
        let expected = *t.reply == Reply::Refused(refusal);
        ensure!(expected, "the repair of record {id} was answered {:?}", t.reply);
        return CheckResult::Held;
    }
    let Reply::Repaired { replaced } = t.reply else {
        return CheckResult::Violated(format!(
            "record {id} could be repaired but was answered {:?}",
            t.reply
        ));
    };
    ensure!(replaced == raw, "record {id} was repaired, but the reply lacks the replaced columns");
    let message = Arc::new(Message { id: known, ..(**message).clone() });
    let mut expected = t.before.clone();
    if let Some(record) = expected.records.get_mut(id) {
        record.body = Body::Sound { message, at: t.now };
    }
    ensure!(expected == *t.after, "the repair of record {id} changed something else");
    CheckResult::Held
}

/// The refusal of a message that contradicts what is known of the record.
fn contradiction(record: &Record, message: &Message, own_id: bool) -> Option<Refusal> {
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
