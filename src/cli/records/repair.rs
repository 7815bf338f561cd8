//! Putting a message in the place of what cannot be decoded in a record.
//!
//! What always holds: what is replaced was printed before, since the store does not have it afterwards; and where it could
//! not be printed, nothing is replaced.

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
    /// Its number.
    #[arg(value_parser = number::<RecordId>)]
    id: RecordId,
    /// What the message is about; where that can still be read, it is not needed and cannot be another.
    #[arg(long)]
    name: Option<Name>,
    /// The payload; `-`, or none, for standard input.
    #[arg(long, default_value = "-", allow_hyphen_values = true)]
    payload: String,
    /// The id that it was sent under. It is known without this, and cannot be another.
    #[arg(long)]
    message_id: Option<MessageId>,
    /// A pair of metadata; again for more.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// How to read the payload, such as `application/json`.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<ContentType>,
    /// The largest payload to accept, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    payload_bytes_max: usize,
    /// Print one JSON object on a line for what is replaced, as `show` does, and one with `id` and `repaired`.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Repaired {
    id: u64,
    repaired: bool,
}

pub(super) fn run(bus: &BusFile, place: Place, what: &Repair, out: &mut Out) -> Result<Ended, Failed> {
    let payload = payload(&what.payload, what.payload_bytes_max)?;
    let mut store = bus.store()?;
    let listed = found(bus, store.connection(), place, what.id)?;
    let op = Op::Repair { record: what.id, message: what.message(&listed, payload)?.into() };
    let printed = raw(&listed);
    if printed.is_some() {
        what.print(&listed, out)?;
        if out.is_closed() {
            return Err(Failed::NobodyReads);
        }
    }
    let reply = store.apply(now(), &op).map_err(|error| bus.failed(error))?;
    let repaired = match reply {
        Reply::Repaired { replaced } => {
            // Damage goes on while one looks: what was replaced is what counts.
            if printed != Some(&replaced) {
                match what.json {
                    true => out.json(&show::object(what.id, &Listed::Damaged(replaced)))?,
                    false => out.text(&show::columns_of(&replaced))?,
                }
            }
            true
        }
        Reply::Refused(refusal) => {
            say(&format_args!("record {} stays as it is: {refusal}", what.id));
            false
        }
        other => unreachable!("a repair was answered with another operation's reply: {other:?}"),
    };
    let id = what.id;
    match what.json {
        true => out.json(&Repaired { id: id.get(), repaired })?,
        false if repaired => {
            out.line(&format_args!("record {id} is repaired; what it was stands above alone"))?
        }
        false => {}
    }
    bus.close(store)?;
    Ok(if repaired { Ended::Done } else { Ended::No })
}

impl Repair {
    /// The message, with the name that can still be read unless one is given.
    fn message(&self, listed: &Listed, payload: Vec<u8>) -> Result<Message, Failed> {
        let record = listed.sound();
        let known = record.and_then(|record| record.body.name());
        let name = self.name.as_ref().or(known).ok_or(Failed::NameNeeded(self.id))?;
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
