//! `list` and `show`: records as lines, as text and as JSON.
//!
//! Invariant: all columns of a damaged record are printed, each with its storage class.

use std::fmt::Write as _;
use std::sync::Arc;

use fencepost_model::state::{Body, Origin, Record};
use fencepost_model::vocabulary::{Message, Name, Raw, RawValue, RecordId};
use serde::Serialize;

use super::word;
use crate::out::{dump, hex, time};
use crate::plain::Plain;
use fencepost::internals::sqlite::{Listed, cause_word};

/// What `list --json` prints for each record.
#[derive(Debug, Default, Serialize)]
pub(super) struct RecordSummary {
    id: u64,
    place: Option<&'static str>,
    kind: Option<&'static str>,
    name: Option<String>,
    seq: Option<u64>,
    epoch: Option<u64>,
    group: Option<String>,
    cause: Option<&'static str>,
    reason: Option<Arc<str>>,
    attempts: Option<u32>,
    moved_at_ms: Option<u64>,
    /// Whether the message can be decoded.
    decodable: bool,
}

/// What `show --json` prints for each record.
#[derive(Debug, Serialize)]
pub(super) struct RecordObject {
    #[serde(flatten)]
    summary: RecordSummary,
    #[serde(flatten)]
    contents: RecordContents,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RecordContents {
    Sound {
        message_id: Option<String>,
        sent_at_ms: u64,
        content_type: String,
        metadata: Vec<(Arc<str>, Arc<str>)>,
        #[serde(flatten)]
        payload: PrintedPayload,
    },
    Raw {
        columns: Vec<PrintedColumn>,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum PrintedPayload {
    /// UTF-8 text.
    Payload(String),
    /// Any other bytes, in hexadecimal digits.
    PayloadHex(String),
}

#[derive(Debug, Serialize)]
struct PrintedColumn {
    column: Arc<str>,
    class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

pub(super) fn summary(id: RecordId, listed: &Listed) -> RecordSummary {
    let Listed::Sound(record) = listed else {
        return RecordSummary { id: id.get(), ..RecordSummary::default() };
    };
    let Record { place, origin, body, cause, reason, attempts, at } = record;
    let (kind, seq, epoch, group) = from(origin);
    RecordSummary {
        id: id.get(),
        place: Some(word(*place)),
        kind: Some(kind),
        name: body.name().map(ToString::to_string),
        seq: Some(seq),
        epoch,
        group,
        cause: Some(cause_word(*cause)),
        reason: reason.clone(),
        attempts: Some(*attempts),
        moved_at_ms: Some(at.get()),
        decodable: body.is_sound(),
    }
}

pub(super) fn object(id: RecordId, listed: &Listed) -> RecordObject {
    let contents = match listed {
        Listed::Sound(Record { body: Body::Sound { message, at }, .. }) => RecordContents::Sound {
            message_id: message.id.as_ref().map(ToString::to_string),
            sent_at_ms: at.get(),
            content_type: message.content_type.to_string(),
            metadata: message.metadata.clone(),
            payload: match std::str::from_utf8(&message.payload) {
                Ok(text) => PrintedPayload::Payload(text.to_owned()),
                Err(_) => PrintedPayload::PayloadHex(hex(&message.payload)),
            },
        },
        Listed::Sound(Record { body: Body::Corrupt { raw, .. } | Body::Unreadable { raw }, .. })
        | Listed::Damaged(raw) => RecordContents::Raw { columns: raw.0.iter().map(column).collect() },
    };
    RecordObject { summary: summary(id, listed), contents }
}

fn from(origin: &Origin) -> (&'static str, u64, Option<u64>, Option<String>) {
    match origin {
        Origin::Queue { seq } => ("command", seq.get(), None, None),
        Origin::Log { epoch, seq, group } => {
            ("event", seq.get(), Some(epoch.get()), group.as_ref().map(ToString::to_string))
        }
    }
}

fn column((name, value): &(Arc<str>, RawValue)) -> PrintedColumn {
    let (class, value, hex) = match value {
        RawValue::Null => ("null", None, None),
        RawValue::Integer(value) => ("integer", Some((*value).into()), None),
        RawValue::Real(bits) => {
            let value = serde_json::Number::from_f64(f64::from_bits(*bits));
            ("real", value.map(Into::into), Some(format!("{bits:016x}")))
        }
        RawValue::Text(bytes) => {
            let text = std::str::from_utf8(bytes).ok();
            ("text", text.map(Into::into), Some(hex(bytes)))
        }
        RawValue::Blob(bytes) => ("blob", None, Some(hex(bytes))),
    };
    PrintedColumn { column: Arc::clone(name), class, value, hex }
}

/// What `list` prints for each record.
pub(super) fn line(id: RecordId, listed: &Listed) -> String {
    let Listed::Sound(record) = listed else {
        return format!("{id:>6}  (its own columns are damaged; see `show {id}`)");
    };
    let (kind, seq, _, group) = from(&record.origin);
    let name = record.body.name().map_or("(unreadable)", Name::as_str);
    let whose = group.map(|group| format!(" of group {group}")).unwrap_or_default();
    let reason = record.reason.as_deref().unwrap_or_default();
    // A list shows the last line only: most programs name the error there.
    let reason = Plain(reason.lines().next_back().unwrap_or_default());
    format!(
        "{id:>6}  {}  {kind} {seq}{whose}  {name}  {} after {} attempts  {reason}",
        time(record.at),
        cause_word(record.cause),
        record.attempts
    )
}

/// What `show` prints for each record. Writing to a string does not fail.
pub(super) fn text(id: RecordId, listed: &Listed) -> String {
    let mut text = String::new();
    let record = match listed {
        Listed::Sound(record) => record,
        Listed::Damaged(raw) => {
            let _ = writeln!(
                text,
                "record {id}: its own columns are damaged, so it cannot be redriven, repaired or purged"
            );
            columns(&mut text, raw);
            return text;
        }
    };
    let (kind, seq, epoch, group) = from(&record.origin);
    let _ = writeln!(text, "record {id}, {}", word(record.place));
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:12}  {}", Plain(value));
    };
    field("name", record.body.name().map_or("(unreadable)", Name::as_str));
    field(kind, &seq.to_string());
    if let Some(epoch) = epoch {
        field("epoch", &epoch.to_string());
    }
    if let (Some(_), group) = (epoch, group) {
        field("group", group.as_deref().unwrap_or("(all)"));
    }
    field("cause", cause_word(record.cause));
    field("reason", record.reason.as_deref().unwrap_or("(none)"));
    field("attempts", &record.attempts.to_string());
    field("moved at", &time(record.at));
    match &record.body {
        Body::Sound { message, at } => {
            field("sent at", &time(*at));
            sound(&mut text, message);
        }
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => {
            let _ = writeln!(text, "the message cannot be decoded; its columns:");
            columns(&mut text, raw);
        }
    }
    text
}

fn sound(text: &mut String, message: &Message) {
    if let Some(id) = &message.id {
        let _ = writeln!(text, "{:12}  {}", "id", Plain(id.as_str()));
    }
    let _ = writeln!(text, "{:12}  {}", "content type", Plain(message.content_type.as_str()));
    for (key, value) in &message.metadata {
        let _ = writeln!(text, "{:12}  {} = {}", "metadata", Plain(key), Plain(value));
    }
    let _ = writeln!(text, "{:12}  {} bytes", "payload", message.payload.len());
    text.push_str(&dump(&message.payload));
}

/// Columns that cannot be decoded, as text.
pub(super) fn columns_of(raw: &Raw) -> String {
    let mut text = String::new();
    columns(&mut text, raw);
    text
}

fn columns(text: &mut String, raw: &Raw) {
    for (name, value) in raw.0.iter() {
        let _ = match value {
            RawValue::Null => writeln!(text, "{name:12}  null"),
            RawValue::Integer(value) => writeln!(text, "{name:12}  integer {value}"),
            RawValue::Real(bits) => writeln!(text, "{name:12}  real {} ({bits:016x})", f64::from_bits(*bits)),
            RawValue::Text(bytes) | RawValue::Blob(bytes) => {
                let class = if matches!(value, RawValue::Text(_)) { "text" } else { "blob" };
                let _ = writeln!(text, "{name:12}  {class}, {} bytes, {}", bytes.len(), hex(bytes));
                text.push_str(&dump(bytes));
                Ok(())
            }
        };
    }
}
