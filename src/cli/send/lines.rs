//! `--lines`: one message for each line. Lines that are read during a commit share the next commit.
//!
//! Invariant: lines keep their order. After an error or Ctrl-C no further line is read, and the command waits for the commit
//! that is running. The accepted lines are those before the one that failed, and perhaps some after it from the same
//! commit. The count includes them.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Draft, Kind};
use futures_core::future::BoxFuture;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::MessageArguments;
use crate::ended::{Ended, Failed};
use crate::out::{Out, say};
use crate::signals::Signals;
use fencepost::internals::bus::request::{self, Receipt};
use fencepost::{Bus as _, SqliteBus};

/// The maximum number of messages in one commit.
const BATCH_MAX: usize = 1_024;

/// The lines that were accepted so far.
#[derive(Debug, Default, Serialize)]
struct AcceptedLines {
    accepted: u64,
    fresh: u64,
    last_seq: Option<u64>,
}

pub(super) async fn run(arguments: &MessageArguments, kind: Kind, draft: Draft) -> Result<Ended, Failed> {
    let mut signals = Signals::new().map_err(Failed::System)?;
    let bus = arguments.open().await?;
    let mut accepted = AcceptedLines::default();
    let bar = progress();
    let ended = {
        let all = all(arguments, kind, draft, &bus, &mut signals, &mut accepted, bar.as_ref());
        all.await
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let closed = bus.close().await.map_err(|error| arguments.bus.failed(error));
    let mut out = Out::new();
    match arguments.json {
        true => out.json(&accepted)?,
        false => {
            let again = accepted.accepted - accepted.fresh;
            let again = if again > 0 { format!(", {again} of them again") } else { String::new() };
            out.line(&format_args!("{} lines accepted{again}", accepted.accepted))?;
        }
    }
    out.flush()?;
    let ended = ended?;
    closed?;
    Ok(ended)
}

async fn all(
    arguments: &MessageArguments,
    kind: Kind,
    draft: Draft,
    bus: &SqliteBus,
    signals: &mut Signals,
    accepted: &mut AcceptedLines,
    bar: Option<&ProgressBar>,
) -> Result<Ended, Failed> {
    let mut reader = input(arguments);
    let (mut line, mut reading, mut stopped) = (0_u64, true, false);
    let (mut wrong, mut unread) = (None, None);
    let (mut waiting, mut buffer) = (Vec::new(), Vec::new());
    let mut under_way: Option<BoxFuture<'static, Vec<fencepost::Result<Reply>>>> = None;
    let mut answered = 0_u64;
    loop {
        // Lines that were read during the last commit share the next one.
        if under_way.is_none() && !waiting.is_empty() {
            under_way = Some(bus.backend().apply_all(std::mem::take(&mut waiting)));
        }
        if under_way.is_none() && !reading {
            break;
        }
        tokio::select! {
            biased;
            () = signals.next(), if reading => (reading, stopped) = (false, true),
            answers = async {
                match &mut under_way {
                    Some(answers) => answers.await,
                    None => std::future::pending().await,
                }
            } => {
                under_way = None;
                for answer in answers {
                    answered += 1;
                    match answer.and_then(request::accepted) {
                        Ok(receipt) => accepted.add(receipt),
                        Err(error) => {
                            let why = Box::new(arguments.bus.failed(error));
                            wrong = wrong.or(Some(Failed::Line { line: answered, why }));
                        }
                    }
                }
                if wrong.is_some() {
                    reading = false;
                    waiting.clear();
                }
                if let Some(bar) = bar {
                    bar.set_position(accepted.accepted);
                }
            }
            read = next_line(&mut reader, &mut buffer, arguments.payload_bytes_max),
                if reading && waiting.len() < BATCH_MAX =>
            {
                match read {
                    Ok(false) => reading = false,
                    Ok(true) => {
                        line += 1;
                        match op(arguments, kind, &draft, line, std::mem::take(&mut buffer), bus) {
                            Ok(op) => waiting.push(op),
                            Err(why) => {
                                reading = false;
                                unread = Some(Failed::Line { line, why: Box::new(why) });
                            }
                        }
                    }
                    Err(source) => {
                        reading = false;
                        unread = Some(Failed::File { path: PathBuf::from("standard input"), source });
                    }
                }
            }
        }
    }
    // A line of the running commit comes before a line that could not be read.
    match wrong.or(unread) {
        Some(failed) => Err(failed),
        None if stopped => {
            say(&format_args!("stopped: no line after line {line} was read"));
            Ok(Ended::Negative)
        }
        None => Ok(Ended::Done),
    }
}

/// The operation for a line.
fn op(
    arguments: &MessageArguments,
    kind: Kind,
    draft: &Draft,
    line: u64,
    payload: Vec<u8>,
    bus: &SqliteBus,
) -> Result<Op, Failed> {
    if payload.len() > arguments.payload_bytes_max {
        return Err(Failed::InputTooLarge { bytes_max: arguments.payload_bytes_max });
    }
    let mut draft = draft.clone().payload(payload);
    if let Some(id) = &arguments.id {
        draft = draft.id(&format!("{id}-{line}"));
    }
    let limits = bus.backend().limits();
    Ok(match kind {
        Kind::Command => request::send(draft, &limits)?,
        Kind::Event => request::publish(draft, &limits)?,
    })
}

impl AcceptedLines {
    fn add(&mut self, receipt: Receipt) {
        self.accepted += 1;
        self.fresh += u64::from(receipt.fresh);
        self.last_seq = Some(receipt.seq.get());
    }
}

fn input(arguments: &MessageArguments) -> Box<dyn AsyncBufRead + Unpin + '_> {
    match arguments.payload.as_str() {
        "-" => Box::new(BufReader::new(tokio::io::stdin())),
        payload => Box::new(payload.as_bytes()),
    }
}

/// Reads the next line into the buffer, without its line feed. Returns false after the last line. A line that is too long is
/// read until that is certain. If this future is dropped, the bytes that it read stay in the buffer.
async fn next_line(
    reader: &mut (dyn AsyncBufRead + Unpin + '_),
    buffer: &mut Vec<u8>,
    bytes_max: usize,
) -> std::io::Result<bool> {
    let room = bytes_max.saturating_add(2).saturating_sub(buffer.len());
    let mut limited = reader.take(u64::try_from(room).unwrap_or(u64::MAX));
    limited.read_until(b'\n', buffer).await?;
    if buffer.is_empty() {
        return Ok(false);
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
    }
    Ok(true)
}

fn progress() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {pos} lines accepted, {per_sec}, {elapsed}");
        let bar =
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        bar
    })
}
