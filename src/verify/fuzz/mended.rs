//! Every record that cannot be decoded is repaired, whatever its columns hold.
//!
//! Invariant: a repair answers with the columns that were there, unchanged, and the record can be decoded then; a
//! record that can be decoded is refused and stays.

use fencepost_model::op::{Op, Refusal, Reply};
use fencepost_model::state::{Body, Origin, Record};
use fencepost_model::vocabulary::{Kind, Message, RecordId};

use super::furnished::name;
use fencepost::error::Result;
use fencepost::internals::sqlite::{Listed, RecordFilter, Store, record, records};

/// Repairs every record with `operate`, which answers nothing where it found damage.
pub(super) fn mend(store: &Store, operate: impl Fn(&Store, &Op) -> Result<Option<Reply>>) -> Result<()> {
    let filter = RecordFilter { place: None, name: None, after: RecordId::ZERO, limit: 100 };
    for (id, listed) in records(store.connection(), store.statements(), &filter)? {
        let Listed::Sound(before) = listed else { continue };
        let message = given(&before);
        let op = Op::Repair { record: id, message: message.clone().into() };
        // What is remembered of ids may be damaged too, and then its id is unknown.
        let Some(reply) = operate(store, &op)? else { continue };
        let after = record(store.connection(), store.statements(), id)?;
        let Some(Listed::Sound(after)) = after else { panic!("record {id} is gone") };
        match (&before.body, &reply) {
            (Body::Sound { .. }, Reply::Refused(Refusal::Legible)) => assert_eq!(after, before),
            (Body::Corrupt { raw, .. } | Body::Unreadable { raw }, Reply::Repaired { replaced }) => {
                assert_eq!(raw, replaced, "the raw columns of record {id} were changed");
                let Body::Sound { message: is, .. } = &after.body else { panic!("record {id}: {after:?}") };
                assert_eq!(Message { id: is.id.clone(), ..message }, **is);
                assert_eq!(Record { body: before.body.clone(), ..after }, before, "more was changed");
            }
            _ => panic!("{op:?} was answered {reply:?}: {before:?}"),
        }
    }
    Ok(())
}

/// A message that fits the record.
fn given(record: &Record) -> Message {
    let kind = match record.origin {
        Origin::Queue { .. } => Kind::Command,
        Origin::Log { .. } => Kind::Event,
    };
    Message::new(kind, record.body.name().cloned().unwrap_or_else(|| name(0)), *b"mended")
}
