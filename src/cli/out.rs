//! Printing to standard output and standard error, and the formats of times, spans and bytes.
//!
//! Invariant: a closed pipe is not an error. Output after it is discarded, and the exit status of the command stays the same.
//! Control characters in reasons, payloads and metadata never reach a terminal.
//! Does not depend on: any command.

use std::fmt::{Display, Write as _};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, StdoutLock, Write as _};
use std::time::Duration;

use fencepost_model::vocabulary::Timestamp;
use serde::Serialize;

use crate::ended::Failed;

/// Prints a sentence on standard error. If standard error is closed, the sentence is lost.
pub(super) fn say(sentence: &dyn Display) {
    let _ = writeln!(io::stderr(), "fencepost: {sentence}");
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Out {
    to: BufWriter<StdoutLock<'static>>,
    closed: bool,
}

impl Out {
    pub(super) fn new() -> Self {
        Self { to: BufWriter::new(io::stdout().lock()), closed: false }
    }

    pub(super) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether the reader closed the pipe.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn text(&mut self, text: &dyn Display) -> Result<(), Failed> {
        if self.closed {
            return Ok(());
        }
        let written = write!(self.to, "{text}");
        self.unless_closed(written)
    }

    pub(super) fn line(&mut self, line: &dyn Display) -> Result<(), Failed> {
        self.text(&format_args!("{line}\n"))
    }

    /// Prints one JSON object on one line.
    pub(super) fn json(&mut self, object: &impl Serialize) -> Result<(), Failed> {
        let line = serde_json::to_string(object).map_err(Failed::Json)?;
        self.line(&line)
    }

    /// Writes what was printed so far.
    pub(super) fn flush(&mut self) -> Result<(), Failed> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.unless_closed(flushed)
    }

    fn unless_closed(&mut self, written: io::Result<()>) -> Result<(), Failed> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.map_err(Failed::Output),
        }
    }
}

/// A time in RFC 3339, or in milliseconds after the year 9999.
pub(super) fn time(at: Timestamp) -> String {
    let since = Duration::from_millis(at.get());
    // RFC 3339 has no text for a later year.
    match std::time::UNIX_EPOCH.checked_add(since).filter(|_| since.as_secs() < 253_402_300_800) {
        Some(at) => humantime::format_rfc3339_millis(at).to_string(),
        None => format!("{at} ms"),
    }
}

/// A span of time, cut to whole seconds if it is longer than one second.
pub(super) fn span(ms: u64) -> String {
    let ms = if ms < 1_000 { ms } else { ms / 1_000 * 1_000 };
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

/// Bytes as text if all characters are printable, else as a hex dump. Each line is indented.
pub(super) fn dump(bytes: &[u8]) -> String {
    let readable = |text: &&str| text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t');
    let mut shown = String::new();
    match std::str::from_utf8(bytes).ok().filter(readable) {
        Some(text) => text.lines().for_each(|line| {
            let _ = writeln!(shown, "  {line}");
        }),
        None => bytes.chunks(16).enumerate().for_each(|(row, chunk)| {
            let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let plain = |byte: &u8| if (32..127).contains(byte) { char::from(*byte) } else { '.' };
            let text: String = chunk.iter().map(plain).collect();
            let _ = writeln!(shown, "  {:08x}  {:47}  {text}", row * 16, hex.join(" "));
        }),
    }
    shown
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(crate::plain::Plain("a\u{1b}[2Jb\nü").to_string(), "a\\u{1b}[2Jb\\nü");
        assert_eq!(dump(b"one\ntwo"), "  one\n  two\n");
        let shown = dump(b"\x1b[2J");
        assert!(shown.contains("1b 5b 32 4a") && !shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn any_time_can_be_printed() {
        assert_eq!(time(Timestamp::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(Timestamp::MAX), "9223372036854775807 ms");
        assert_eq!((span(999), span(61_500)), ("999ms".to_owned(), "1m 1s".to_owned()));
    }
}
