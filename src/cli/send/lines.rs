//! One message a line: those that were read while others are committed are committed together.
//!
//! What always holds: lines keep their order. What was accepted is the first so many lines, and perhaps some that were
//! to be committed together with one that failed; the count says how many. After a failure or Ctrl-C no further line
//! is read, and the answers of those under way are waited for.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Draft, Kind};
use futures_core::future::BoxFuture;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::What;
use crate::ended::{Ended, Failed};
use crate::out::{Out, say};
use crate::signals::Signals;
use fencepost::internals::bus::request::{self, Receipt};
use fencepost::{Bus as _, SqliteBus};

/// How many messages are committed together at most.
const TOGETHER: usize = 1_024;

/// What was accepted so far.
#[derive(Debug, Default, Serialize)]
struct Accepted {
    accepted: u64,
    fresh: u64,
    last_seq: Option<u64>,
}

pub(super) async fn run(what: &What, kind: Kind, draft: Draft) -> Result<Ended, Failed> {
    let mut signals = Signals::new().map_err(Failed::System)?;
    let bus = what.open().await?;
    let mut accepted = Accepted::default();
    let bar = progress();
    let ended = {
        let all = all(what, kind, draft, &bus, &mut signals, &mut accepted, bar.as_ref());
        all.await
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let closed = bus.close().await.map_err(|error| what.bus.failed(error));
    let mut out = Out::new();
    match what.json {
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
    what: &What,
    kind: Kind,
    draft: Draft,
    bus: &SqliteBus,
    signals: &mut Signals,
    accepted: &mut Accepted,
    bar: Option<&ProgressBar>,
) -> Result<Ended, Failed> {
    let mut reader = input(what);
    let (mut line, mut reading, mut stopped) = (0_u64, true, false);
    let (mut wrong, mut unread) = (None, None);
    let (mut waiting, mut buffer) = (Vec::new(), Vec::new());
    let mut under_way: Option<BoxFuture<'static, Vec<fencepost::Result<Reply>>>> = None;
    let mut answered = 0_u64;
    loop {
        // What was read while the lines before it were committed goes together.
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
                            let why = Box::new(what.bus.failed(error));
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
            read = next_line(&mut reader, &mut buffer, what.payload_bytes_max),
                if reading && waiting.len() < TOGETHER =>
            {
                match read {
                    Ok(false) => reading = false,
                    Ok(true) => {
                        line += 1;
                        match op(what, kind, &draft, line, std::mem::take(&mut buffer), bus) {
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
    // A line that was under way comes before the one that could not be read.
    match wrong.or(unread) {
        Some(failed) => Err(failed),
        None if stopped => {
            say(&format_args!("stopped: no line after line {line} was read"));
            Ok(Ended::No)
        }
        None => Ok(Ended::Done),
    }
}

/// The operation for a line.
fn op(
    what: &What,
    kind: Kind,
    draft: &Draft,
    line: u64,
    payload: Vec<u8>,
    bus: &SqliteBus,
) -> Result<Op, Failed> {
    if payload.len() > what.payload_bytes_max {
        return Err(Failed::InputTooLarge { bytes_max: what.payload_bytes_max });
    }
    let mut draft = draft.clone().payload(payload);
    if let Some(id) = &what.id {
        draft = draft.id(&format!("{id}-{line}"));
    }
    let limits = bus.backend().limits();
    Ok(match kind {
        Kind::Command => request::send(draft, &limits)?,
        Kind::Event => request::publish(draft, &limits)?,
    })
}

impl Accepted {
    fn add(&mut self, receipt: Receipt) {
        self.accepted += 1;
        self.fresh += u64::from(receipt.fresh);
        self.last_seq = Some(receipt.seq.get());
    }
}

fn input(what: &What) -> Box<dyn AsyncBufRead + Unpin + '_> {
    match what.payload.as_str() {
        "-" => Box::new(BufReader::new(tokio::io::stdin())),
        payload => Box::new(payload.as_bytes()),
    }
}

/// Reads the next line without its end into the buffer; false after the last one. A line that is too long is read so
/// far that it is found to be. What was read stays in the buffer if this is dropped half-way.
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
