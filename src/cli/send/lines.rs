//! One message a line: many under way at once, so that they are committed together.
//!
//! What always holds: the answers come in the order of the lines, so what was accepted is the first so many lines and
//! perhaps some after a line that failed; the count says how many. After a failure or Ctrl-C no further line is read,
//! and the answers of those under way are waited for.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use fencepost_model::vocabulary::{Draft, Kind};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::{What, accept};
use crate::SqliteBus;
use crate::bus::operations::Receipt;
use crate::cli::ended::{Ended, Failed};
use crate::cli::out::{Out, say};
use crate::cli::signals::Signals;

/// How many messages are under way at once.
const UNDER_WAY: usize = 1_024;

/// What was accepted so far.
#[derive(Debug, Default, Serialize)]
struct Accepted {
    accepted: u64,
    fresh: u64,
    last_seq: Option<u64>,
}

pub(super) async fn run(what: &What, kind: Kind, draft: Draft) -> Result<Ended, Failed> {
    let bus = what.open().await?;
    let mut signals = Signals::new().map_err(Failed::System)?;
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
    let mut under_way = FuturesOrdered::new();
    let mut buffer = Vec::new();
    while reading || !under_way.is_empty() {
        tokio::select! {
            biased;
            () = signals.next(), if reading => (reading, stopped) = (false, true),
            Some((line, answer)) = under_way.next(), if !under_way.is_empty() => match answer {
                Ok(receipt) => {
                    accepted.add(receipt);
                    if let Some(bar) = bar {
                        bar.set_position(accepted.accepted);
                    }
                }
                Err(error) => {
                    reading = false;
                    wrong = wrong.or(Some(Failed::Line { line, why: Box::new(what.bus.failed(error)) }));
                }
            },
            read = next_line(&mut reader, &mut buffer, what.payload_bytes_max),
                if reading && under_way.len() < UNDER_WAY =>
            {
                match read {
                    Ok(false) => reading = false,
                    Ok(true) if buffer.len() > what.payload_bytes_max => {
                        reading = false;
                        let why = Failed::InputTooLarge { bytes_max: what.payload_bytes_max };
                        unread = Some(Failed::Line { line: line + 1, why: Box::new(why) });
                    }
                    Ok(true) => {
                        line += 1;
                        let mut draft = draft.clone().payload(std::mem::take(&mut buffer));
                        if let Some(id) = &what.id {
                            draft = draft.id(&format!("{id}-{line}"));
                        }
                        let bus = bus.clone();
                        let asked = tokio::spawn(async move { accept(&bus, kind, draft).await });
                        under_way.push_back(async move {
                            (line, asked.await.unwrap_or(Err(crate::Error::Closed)))
                        });
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
