//! `fencepost send` and `fencepost publish`.
//!
//! Invariant: every message that is reported as accepted is committed, also if the command ends early. Invalid arguments are
//! an error before the file is opened.

mod lines;

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fencepost_model::vocabulary::{ContentType, Draft, Kind, Message, MessageId, Name};
use serde::Serialize;

use crate::ended::{Ended, Failed};
use crate::opening::{BusFile, RecordArguments};
use crate::out::Out;
use crate::parse::{duration, pair};
use fencepost::internals::bus::request::Receipt;
use fencepost::{Bus as _, SqliteBus};

const AFTER_SEND: &str = "\
Examples:
  fencepost send bus.db place.bet '17 on red'
  fencepost send bus.db place.bet --id bet-17 --delay 5s --content-type application/json '{\"amount\":17}'
  jq -c '.[]' bets.json | fencepost send bus.db place.bet --lines --id monday

Prints the sequence number, and `again` beside it if the id was remembered and nothing was added. With --lines and --id
each line has the id ID-LINENUMBER. After a run that was cut short, repeat the command: it adds only the missing lines.";

const AFTER_PUBLISH: &str = "\
Examples:
  fencepost publish bus.db bet.placed '17 on red'
  jq -c '.[]' bets.json | fencepost publish bus.db bet.placed --lines --id monday

Prints the sequence number, and `again` beside it if the id was remembered and nothing was added. With --lines and --id
each line has the id ID-LINENUMBER. After a run that was cut short, repeat the command: it adds only the missing lines.";

/// Send a command to the queue.
#[derive(Debug, Args)]
#[command(after_help = AFTER_SEND)]
pub(super) struct Send {
    #[command(flatten)]
    message: MessageArguments,
    /// The time until the command may be claimed.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    delay: Option<Duration>,
}

/// Publish an event: append it to the log.
#[derive(Debug, Args)]
#[command(after_help = AFTER_PUBLISH)]
pub(super) struct Publish {
    #[command(flatten)]
    message: MessageArguments,
}

#[derive(Debug, Args)]
struct MessageArguments {
    #[command(flatten)]
    bus: BusFile,
    #[command(flatten)]
    record: RecordArguments,
    /// The name of the message, such as `place.bet`.
    name: Name,
    /// The payload. `-`, or no value: standard input.
    #[arg(default_value = "-", allow_negative_numbers = true)]
    payload: String,
    /// The sender's id for the message. Sending it again with the same id adds nothing.
    #[arg(long)]
    id: Option<MessageId>,
    /// A metadata pair. Can be repeated.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// The content type of the payload, such as `application/json`.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<ContentType>,
    /// Send each line of standard input, or of the payload, as a separate message.
    #[arg(long)]
    lines: bool,
    /// The maximum size of a payload, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    payload_bytes_max: usize,
    /// Print one JSON object: `seq` and `fresh`. With --lines: `accepted`, `fresh` and `last_seq`.
    #[arg(long)]
    json: bool,
}

pub(super) fn send(arguments: &Send) -> Result<Ended, Failed> {
    run(&arguments.message, Kind::Command, arguments.delay.unwrap_or_default())
}

pub(super) fn publish(arguments: &Publish) -> Result<Ended, Failed> {
    run(&arguments.message, Kind::Event, Duration::ZERO)
}

impl MessageArguments {
    /// The message, without payload and id.
    fn draft(&self, kind: Kind, delay: Duration) -> Draft {
        let message = Message::new(kind, self.name.clone(), *b"");
        let mut draft = Draft::from(message).delay(delay);
        for (key, value) in &self.metadata {
            draft = draft.metadata(key.as_str(), value.as_str());
        }
        match &self.content_type {
            Some(content_type) => draft.content_type(content_type.as_str()),
            None => draft,
        }
    }

    async fn open(&self) -> Result<SqliteBus, Failed> {
        let builder = self.bus.builder().payload_bytes_max(self.payload_bytes_max);
        let opened = self.record.with(builder).open().await;
        opened.map_err(|error| self.bus.failed(error))
    }
}

#[derive(Serialize)]
struct Accepted {
    seq: u64,
    fresh: bool,
}

fn run(arguments: &MessageArguments, kind: Kind, delay: Duration) -> Result<Ended, Failed> {
    let draft = arguments.draft(kind, delay);
    if arguments.lines {
        return super::block_on(lines::run(arguments, kind, draft));
    }
    let mut draft = draft.payload(payload(&arguments.payload, arguments.payload_bytes_max)?);
    if let Some(id) = &arguments.id {
        draft = draft.id(id.as_str());
    }
    let receipt = super::block_on(async {
        let bus = arguments.open().await?;
        let accepted = accept(&bus, kind, draft).await;
        // The file is closed also after a refusal; otherwise the WAL would stay beside it.
        let closed = bus.close().await;
        let both = accepted.and_then(|receipt| closed.map(|()| receipt));
        both.map_err(|error| arguments.bus.failed(error))
    })?;
    let mut out = Out::new();
    let Receipt { seq, fresh } = receipt;
    match arguments.json {
        true => out.json(&Accepted { seq: seq.get(), fresh })?,
        false if fresh => out.line(&seq)?,
        false => out.line(&format_args!("{seq} again"))?,
    }
    out.flush()?;
    Ok(Ended::Done)
}

async fn accept(bus: &SqliteBus, kind: Kind, draft: Draft) -> fencepost::Result<Receipt> {
    match kind {
        Kind::Command => bus.send(draft).await,
        Kind::Event => bus.publish(draft).await,
    }
}

/// The payload from the arguments, or standard input for `-`.
pub(super) fn payload(typed: &str, bytes_max: usize) -> Result<Vec<u8>, Failed> {
    let payload = match typed {
        "-" => stdin(bytes_max)?,
        typed => typed.as_bytes().to_vec(),
    };
    let bytes = payload.len();
    if bytes > bytes_max {
        return Err(fencepost::Error::PayloadTooLarge { bytes, bytes_max }.into());
    }
    Ok(payload)
}

/// Reads standard input. It stops one byte after the maximum, which shows that the input is too long.
fn stdin(bytes_max: usize) -> Result<Vec<u8>, Failed> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|source| Failed::File { path: PathBuf::from("standard input"), source })?;
    match bytes.len() > bytes_max {
        true => Err(Failed::InputTooLarge { bytes_max }),
        false => Ok(bytes),
    }
}
