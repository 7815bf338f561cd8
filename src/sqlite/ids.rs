//! The ids of senders and publishers: what is remembered of them, and for how long (G10).
//!
//! Invariant: only a digest of the compared content is kept; queue and log have separate ids.
//! Does not depend on: what was sent under an id.

use fencepost_model::op::{Refusal, Reply};
use fencepost_model::vocabulary::{Content, Kind, Message, MessageId, Seq, Timestamp};
use rusqlite::named_params;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::sqlite::cursor::store;
use crate::sqlite::rows::{int, kind_word, number, text};
use crate::sqlite::session::{Answer, Session};
use crate::sqlite::statements::StatementId as Sql;

/// What the store remembers instead of a content: its SHA-256 digest.
pub fn digest(content: &Content) -> Content {
    Content(Sha256::digest(&content.0).as_slice().into())
}

/// What is known of a message's id.
pub(super) enum Recalled {
    /// It has no id, or a new one; with the digest to remember it by.
    Fresh(Option<Content>),
    /// It was accepted before, under this number.
    Known(Seq),
}

/// Looks a message up by its id: other content under it is a conflict.
pub(super) fn recall(s: &Session<'_>, message: &Message) -> Answer<Recalled> {
    let Some(id) = &message.id else { return Ok(Recalled::Fresh(None)) };
    let ours = digest(&Content::of(message));
    let params = named_params! {":kind": kind_word(message.kind), ":id": id.as_str()};
    let known = s.first(Sql::IdRecall, params, |row| {
        let seq: Seq = number(row, 0, ("ids", "seq"))?;
        let theirs = row.get_ref(1)?.as_blob().map_err(|_| Error::column("ids", "digest"))?;
        Ok((seq, *theirs == *ours.0))
    })?;
    match known {
        None => Ok(Recalled::Fresh(Some(ours))),
        Some((seq, true)) => Ok(Recalled::Known(seq)),
        Some((seq, false)) => Err(Refusal::Conflict { seq }.into()),
    }
}

/// Remembers the id of a message that was accepted.
pub(super) fn remember(s: &Session<'_>, message: &Message, digest: Option<&Content>, seq: i64) -> Result<()> {
    let (Some(id), Some(digest)) = (&message.id, digest) else { return Ok(()) };
    let digest: &[u8] = &digest.0;
    let kind = kind_word(message.kind);
    s.run(
        Sql::IdRemember,
        named_params! {":kind": kind, ":id": id.as_str(), ":seq": seq, ":digest": digest},
    )?;
    Ok(())
}

/// The id that is remembered for a number.
pub(super) fn of_number(s: &Session<'_>, kind: Kind, seq: Seq) -> Result<Option<MessageId>> {
    let params = named_params! {":kind": kind_word(kind), ":seq": int(seq)};
    s.first(Sql::IdOfNumber, params, |row| text(row, 0, ("ids", "id")))
}

/// The message of this number has ended: its id is remembered for the owner's retention from now on.
pub(super) fn end(s: &Session<'_>, kind: Kind, seq: Seq) -> Result<()> {
    let params = named_params! {":kind": kind_word(kind), ":seq": int(seq), ":now": int(s.now)};
    s.run(Sql::IdEnd, params)?;
    Ok(())
}

/// Forgets the ids of messages that ended at least this long ago.
pub(super) fn forget(s: &Session<'_>, retention_ms: u64) -> Result<Reply> {
    let Some(cutoff) = cutoff(s.now, retention_ms) else { return Ok(Reply::Forgotten { ids: 0 }) };
    let epoch = int(store(s)?.epoch);
    let commands = s.run(Sql::IdsForgetCommands, named_params! {":cutoff": int(cutoff)})?;
    let events = s.run(Sql::IdsForgetEvents, named_params! {":cutoff": int(cutoff), ":epoch": epoch})?;
    Ok(Reply::Forgotten { ids: (commands + events) as u64 })
}

/// The latest time at which something may have ended to be older than the retention now; none if nothing can be.
/// Times do not go beyond their largest value, and at that one everything is old.
pub(super) fn cutoff(now: Timestamp, retention_ms: u64) -> Option<Timestamp> {
    if now == Timestamp::MAX {
        return Some(now);
    }
    now.get().checked_sub(retention_ms).map(|at| Timestamp::ZERO.plus(at))
}
