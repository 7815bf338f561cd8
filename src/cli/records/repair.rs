//! `repair`: replaces the message of a record that cannot be decoded.
//!
//! Invariant: the old columns are printed before they are replaced, because the store loses them. If they cannot be printed,
//! nothing is replaced.

use clap::Args;
use fencepost_model::op::{Op, Reply};
use fencepost_model::state::{Body, Origin, Place};
use fencepost_model::vocabulary::{ContentType, Draft, Kind, Message, MessageId, Name, Raw, RecordId};
use serde::Serialize;

use super::{found, show};
use crate::ended::{Ended, Failed};
use crate::opening::{BusFile, now};
use crate::out::{Out, say};
use crate::parse::{number, pair};
use crate::send::payload;
use fencepost::internals::sqlite::Listed;

#[derive(Debug, Args)]
pub(super) struct Repair {
    /// The number of the record.
    #[arg(value_parser = number::<RecordId>)]
    id: RecordId,
    /// The name of the message. Needed only if the old name cannot be read; else it must be the old name.
    #[arg(long)]
    name: Option<Name>,
    /// The payload. `-`, or no value: standard input.
    #[arg(long, default_value = "-", allow_hyphen_values = true)]
    payload: String,
    /// The id of the message. Not needed, because the store remembers the id; it must be that id.
    #[arg(long)]
    message_id: Option<MessageId>,
    /// A metadata pair. Can be repeated.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// The content type of the payload, such as `application/json`.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<ContentType>,
    /// The maximum size of the payload, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    payload_bytes_max: usize,
    /// Print the old record as one line of JSON, as `show --json` does, and a line with `id` and `repaired`.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Repaired {
    id: u64,
    repaired: bool,
}

pub(super) fn run(bus: &BusFile, place: Place, arguments: &Repair, out: &mut Out) -> Result<Ended, Failed> {
    let payload = payload(&arguments.payload, arguments.payload_bytes_max)?;
    let mut store = bus.store()?;
    let listed = found(bus, store.connection(), place, arguments.id)?;
    let op = Op::Repair { record: arguments.id, message: arguments.message(&listed, payload)?.into() };
    let printed = raw(&listed);
    if printed.is_some() {
        arguments.print(&listed, out)?;
        if out.is_closed() {
            return Err(Failed::OutputClosed);
        }
    }
    let reply = store.apply(now(), &op).map_err(|error| bus.failed(error))?;
    let repaired = match reply {
        Reply::Repaired { replaced } => {
            // The columns may have changed since they were printed. The reply has those that were replaced.
            if printed != Some(&replaced) {
                match arguments.json {
                    true => out.json(&show::object(arguments.id, &Listed::Damaged(replaced)))?,
                    false => out.text(&show::columns_of(&replaced))?,
                }
            }
            true
        }
        Reply::Refused(refusal) => {
            say(&format_args!("record {} was not changed: {refusal}", arguments.id));
            false
        }
        other => unreachable!("a repair was answered with another operation's reply: {other:?}"),
    };
    let id = arguments.id;
    match arguments.json {
        true => out.json(&Repaired { id: id.get(), repaired })?,
        false if repaired => {
            out.line(&format_args!("record {id} is repaired; only the output above has its old columns"))?
        }
        false => {}
    }
    bus.close(store)?;
    Ok(if repaired { Ended::Done } else { Ended::Negative })
}

impl Repair {
    /// The new message. Without `--name` it has the old name, if that can be read.
    fn message(&self, listed: &Listed, payload: Vec<u8>) -> Result<Message, Failed> {
        let record = listed.sound();
        let known = record.and_then(|record| record.body.name());
        let name = self.name.as_ref().or(known).ok_or(Failed::NameMissing(self.id))?;
        let kind = match record.map(|record| &record.origin) {
            Some(Origin::Log { .. }) => Kind::Event,
            _ => Kind::Command,
        };
        let mut draft = Draft::from(Message::new(kind, name.clone(), payload));
        for (key, value) in &self.metadata {
            draft = draft.metadata(key.as_str(), value.as_str());
        }
        if let Some(id) = &self.message_id {
            draft = draft.id(id.as_str());
        }
        if let Some(content_type) = &self.content_type {
            draft = draft.content_type(content_type.as_str());
        }
        let (message, _) = draft.build().map_err(fencepost::Error::from)?;
        Ok(message)
    }

    fn print(&self, listed: &Listed, out: &mut Out) -> Result<(), Failed> {
        match self.json {
            true => out.json(&show::object(self.id, listed))?,
            false => out.text(&show::text(self.id, listed))?,
        }
        out.flush()
    }
}

/// The columns of a message that cannot be decoded.
fn raw(listed: &Listed) -> Option<&Raw> {
    match &listed.sound()?.body {
        Body::Sound { .. } => None,
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => Some(raw),
    }
}
