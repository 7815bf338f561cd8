//! Rows to values and back: encoding, decoding, the checksum, and raw columns.
//!
//! Invariant: nothing is guessed. A message with any damage is a corrupt body with its columns as they are (G5); a damaged
//! number elsewhere is a typed error.
//! Does not depend on: statements.

use std::sync::Arc;

use fencepost_model::state::Body;
use fencepost_model::vocabulary::{
    ContentType, Kind, Message, MessageId, NUMBER_MAX, Name, OutOfRange, Raw, RawValue, Reason, Timestamp,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::error::{Error, Result};

/// The immutable columns of a message, in their canonical order.
pub const BODY_COLUMNS: [&str; 7] = ["id", "name", "content_type", "payload", "metadata", "at", "checksum"];

/// The columns of the queue that claim relies on besides the name.
pub const BOOKKEEPING_COLUMNS: [&str; 6] =
    ["due_at", "attempts", "token", "attempts_max", "corrupt", "reason"];

/// A number of the bus as a column holds it.
pub(super) fn int(number: impl Into<u64>) -> i64 {
    i64::try_from(number.into()).unwrap_or(i64::MAX)
}

/// A column that must hold a number of the bus.
pub(super) fn number<T>(row: &Row<'_>, index: usize, of: (&'static str, &'static str)) -> Result<T>
where
    T: TryFrom<u64, Error = OutOfRange>,
{
    maybe_number(row, index, of)?.ok_or(Error::column(of.0, of.1))
}

/// A column that must hold a number of the bus or nothing.
pub(super) fn maybe_number<T>(
    row: &Row<'_>,
    index: usize,
    of: (&'static str, &'static str),
) -> Result<Option<T>>
where
    T: TryFrom<u64, Error = OutOfRange>,
{
    let damaged = || Error::column(of.0, of.1);
    match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(value) => {
            let value = u64::try_from(value).map_err(|_| damaged())?;
            T::try_from(value).map(Some).map_err(|_| damaged())
        }
        _ => Err(damaged()),
    }
}

/// A column that must hold a count.
pub(super) fn count(row: &Row<'_>, index: usize, of: (&'static str, &'static str)) -> Result<u32> {
    match row.get_ref(index)? {
        ValueRef::Integer(value) => u32::try_from(value).map_err(|_| Error::column(of.0, of.1)),
        _ => Err(Error::column(of.0, of.1)),
    }
}

/// A column that must hold a text which keeps the rules of its type.
pub(super) fn text<T: std::str::FromStr>(
    row: &Row<'_>,
    index: usize,
    of: (&'static str, &'static str),
) -> Result<T> {
    let text = row.get_ref(index)?.as_str().map_err(|_| Error::column(of.0, of.1))?;
    text.parse().map_err(|_| Error::column(of.0, of.1))
}

/// A column that must hold a reason or nothing. SQL cannot check UTF-8, so a reason that is not UTF-8 moves unchanged
/// with its row, and is an error where it is read.
pub(super) fn reason(
    row: &Row<'_>,
    index: usize,
    of: (&'static str, &'static str),
) -> Result<Option<Reason>> {
    match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Error::column(of.0, of.1))?;
            Ok(Some(text.into()))
        }
        _ => Err(Error::column(of.0, of.1)),
    }
}

/// The word of a kind in the tables.
pub(super) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => "command",
        Kind::Event => "event",
    }
}

/// A message as its columns hold it.
pub(super) struct Encoded {
    pub(super) metadata: String,
    pub(super) checksum: i64,
}

/// Encodes what of a message is not a column as it is.
pub(super) fn encode(message: &Message, seq: u64, at: Timestamp) -> Encoded {
    let pairs: Vec<(&str, &str)> = message.metadata.iter().map(|(k, v)| (k.as_ref(), v.as_ref())).collect();
    let metadata = metadata_text(&pairs);
    let checksum = checksum(&Parts {
        kind: message.kind,
        seq,
        id: message.id.as_ref().map(MessageId::as_str),
        name: message.name.as_str(),
        content_type: message.content_type.as_str(),
        payload: &message.payload,
        metadata: &metadata,
        at: at.get(),
    });
    Encoded { metadata, checksum }
}

/// The [`BODY_COLUMNS`] of a message, as this program writes them.
#[cfg(feature = "unstable-internals")]
pub fn columns_of(message: &Message, seq: fencepost_model::vocabulary::Seq, at: Timestamp) -> Raw {
    let encoded = encode(message, seq.get(), at);
    let text = |text: &str| RawValue::Text(text.as_bytes().to_vec());
    let values = [
        message.id.as_ref().map_or(RawValue::Null, |id| text(id.as_str())),
        text(message.name.as_str()),
        text(message.content_type.as_str()),
        RawValue::Blob(message.payload.to_vec()),
        text(&encoded.metadata),
        RawValue::Integer(int(at)),
        RawValue::Integer(encoded.checksum),
    ];
    Raw(BODY_COLUMNS.iter().map(|name| Arc::from(*name)).zip(values).collect())
}

/// Decodes a row whose columns from `first` on are [`BODY_COLUMNS`].
pub(super) fn body(row: &Row<'_>, first: usize, kind: Kind, seq: u64) -> Result<Body> {
    if let Some((message, at)) = sound(row, first, kind, seq)? {
        return Ok(Body::Sound { message: Arc::new(message), at });
    }
    let raw = raw(row, first, &BODY_COLUMNS)?;
    let name = row.get_ref(first + 1)?.as_str().ok().and_then(|name| Name::new(name).ok());
    Ok(match name {
        Some(name) => Body::Corrupt { name, raw },
        None => Body::Unreadable { raw },
    })
}

/// Columns as they are, with their storage classes.
pub(super) fn raw(row: &Row<'_>, first: usize, columns: &[&str]) -> Result<Raw> {
    let column = |(index, name): (usize, &&str)| Ok((Arc::from(*name), raw_value(row.get_ref(index)?)));
    Ok(Raw((first..).zip(columns).map(column).collect::<Result<_>>()?))
}

/// The raw columns of an unreadable command: what it carries, then its bookkeeping.
pub(super) fn unreadable(row: &Row<'_>, first: usize, rest: usize) -> Result<Raw> {
    let (carried, kept) = (raw(row, first, &BODY_COLUMNS)?, raw(row, rest, &BOOKKEEPING_COLUMNS)?);
    Ok(Raw(carried.0.iter().chain(kept.0.iter()).cloned().collect()))
}

/// One value as it is.
pub(super) fn raw_value(value: ValueRef<'_>) -> RawValue {
    match value {
        ValueRef::Null => RawValue::Null,
        ValueRef::Integer(value) => RawValue::Integer(value),
        ValueRef::Real(value) => RawValue::Real(value.to_bits()),
        ValueRef::Text(bytes) => RawValue::Text(bytes.to_vec()),
        ValueRef::Blob(bytes) => RawValue::Blob(bytes.to_vec()),
    }
}

/// The message of a row, if every column is exactly what this program writes.
fn sound(row: &Row<'_>, first: usize, kind: Kind, seq: u64) -> Result<Option<(Message, Timestamp)>> {
    let id = match row.get_ref(first)? {
        ValueRef::Null => None,
        value => Some(value),
    };
    let values = (row.get_ref(first + 1)?, row.get_ref(first + 2)?, row.get_ref(first + 3)?);
    let (ValueRef::Text(name), ValueRef::Text(content_type), ValueRef::Blob(payload)) = values else {
        return Ok(None);
    };
    let values = (row.get_ref(first + 4)?, row.get_ref(first + 5)?, row.get_ref(first + 6)?);
    let (ValueRef::Text(metadata), ValueRef::Integer(at), ValueRef::Integer(written)) = values else {
        return Ok(None);
    };
    Ok((|| {
        let id = id.map(|id| id.as_str()).transpose().ok()?;
        let name = std::str::from_utf8(name).ok()?;
        let content_type = std::str::from_utf8(content_type).ok()?;
        let metadata = std::str::from_utf8(metadata).ok()?;
        let at = u64::try_from(at).ok().filter(|at| *at <= NUMBER_MAX)?;
        let parts = Parts { kind, seq, id, name, content_type, payload, metadata, at };
        if checksum(&parts) != written {
            return None;
        }
        let message = Message {
            id: id.map(MessageId::new).transpose().ok()?,
            name: Name::new(name).ok()?,
            kind,
            payload: payload.into(),
            content_type: ContentType::new(content_type).ok()?,
            metadata: metadata_pairs(metadata)?,
        };
        Some((message, Timestamp::new(at).ok()?))
    })())
}

/// Metadata as canonical JSON: an array of pairs, without spaces.
pub fn metadata_text(pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return "[]".to_owned();
    }
    // Strings always serialize; an empty text would be found out at decoding.
    serde_json::to_string(pairs).unwrap_or_default()
}

/// The pairs of metadata, if the text is what [`metadata_text`] writes.
pub fn metadata_pairs(text: &str) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    if text == "[]" {
        return Some(Vec::new());
    }
    let pairs: Vec<(String, String)> = serde_json::from_str(text).ok()?;
    let borrowed: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    (metadata_text(&borrowed) == text)
        .then(|| pairs.into_iter().map(|(k, v)| (Arc::from(k), Arc::from(v))).collect())
}

/// What the checksum covers: everything about a message that never changes, its number included.
struct Parts<'a> {
    kind: Kind,
    seq: u64,
    id: Option<&'a str>,
    name: &'a str,
    content_type: &'a str,
    payload: &'a [u8],
    metadata: &'a str,
    at: u64,
}

/// CRC-32 over the parts, each with its length before it.
fn checksum(parts: &Parts<'_>) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[u8::from(parts.kind == Kind::Event), u8::from(parts.id.is_some())]);
    hasher.update(&parts.seq.to_be_bytes());
    hasher.update(&parts.at.to_be_bytes());
    let texts = [parts.id.unwrap_or_default(), parts.name, parts.content_type, parts.metadata];
    for part in texts.map(str::as_bytes).into_iter().chain([parts.payload]) {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    i64::from(hasher.finalize())
}
