//! The thread that writes a recording, and what the thread of the bus hands to it.
//!
//! What always holds: the bus never waits for this and never fails by it. What cannot be written in time, or at all, ends
//! the recording with a warning; its file then lacks an end, which says so. The two files of a recording together are no
//! larger than its limit. This module must not know what operations do.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::{Body, State};
use fencepost_model::vocabulary::Timestamp;

use crate::bus::sqlite::witness::{Done, Transaction, Witness};
use crate::error::{Error, Result};
use crate::record::contents;
use crate::record::format::{Beginning, Frame, FrameWriter, MAGIC, Recorded, head};
use crate::record::{Recording, previous};
use crate::sqlite::{OpenOptions, Store, numbered_snapshot, open_reader};
use crate::telemetry;

/// No more than about this waits to be written. A disk that is further behind ends the recording.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// About how much an operation takes while it waits, beside its payloads.
const OPERATION_BYTES: usize = 512;

/// So much is gathered before it is written to the file, unless nothing more waits.
const WRITE_BYTES: usize = 256 << 10;

/// What the writing thread is told.
enum Told {
    Transaction(Transaction, usize),
    End,
}

/// The side of the bus.
pub(crate) struct Recorder {
    told: Sender<Told>,
    waiting_bytes: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Recorder {
    /// Begins a recording with the state that a store has now.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if its file cannot be made or the state cannot be read, or takes too much of the limit.
    pub(crate) fn begin(
        recording: &Recording,
        path: &Path,
        options: &OpenOptions,
        store: &Store,
    ) -> Result<Self> {
        let not_recorded = |source: Error| Error::NotRecorded { source: Box::new(source) };
        let mut writer = RecordWriter {
            recording: recording.clone(),
            store: (path.to_owned(), options.clone()),
            frames: FrameWriter::new(),
            file: None,
            buffer: Vec::new(),
            bytes: 0,
            transactions: 0,
            body: Vec::new(),
        };
        let (state, commit_seq) = numbered_snapshot(store.connection()).map_err(not_recorded)?;
        writer.begin(state, commit_seq).map_err(not_recorded)?;
        if let Some(commit_seq) = store.booted() {
            let done = vec![Done { now: Timestamp::ZERO, op: Op::Reboot, reply: Reply::Rebooted }];
            writer.add(Transaction { commit_seq, changed: true, done }).map_err(not_recorded)?;
        }
        let (told, line) = channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&waiting_bytes);
        let thread = std::thread::Builder::new()
            .name("fencepost-recorder".to_owned())
            .spawn(move || writer.run(&line, &written))
            .map_err(|source| not_recorded(source.into()))?;
        Ok(Self { told, waiting_bytes, thread })
    }
}

impl Witness for Recorder {
    fn committed(&mut self, transaction: Transaction) -> bool {
        let bytes = weight(&transaction);
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting > WAITING_BYTES_MAX {
            stopped(&"it is written more slowly than the bus works");
            return false;
        }
        // The thread is gone if it could not write; it has said so.
        self.told.send(Told::Transaction(transaction, bytes)).is_ok()
    }

    fn ended(self: Box<Self>) {
        let _ = self.told.send(Told::End);
        // A panic there has been said by its thread, and is no failure of the bus.
        let _ = self.thread.join();
    }
}

/// Says that a recording goes no further.
fn stopped(why: &dyn std::fmt::Display) {
    tracing::warn!(%why, "the recording of the bus ends here; the bus goes on without it");
    telemetry::recording_stopped();
}

/// About how much a transaction takes while it waits.
fn weight(transaction: &Transaction) -> usize {
    let of_body = |body: &Body| match body {
        Body::Sound { message, .. } => message.payload.len() + OPERATION_BYTES,
        _ => OPERATION_BYTES,
    };
    let of = |done: &Done| {
        let sent = match &done.op {
            Op::Send { message, .. } | Op::Publish { message } => message.payload.len(),
            _ => 0,
        };
        let handed_out = match &done.reply {
            Reply::HandedOut { deliveries, .. } => deliveries.iter().map(|one| of_body(&one.body)).sum(),
            _ => 0,
        };
        OPERATION_BYTES + sent + handed_out
    };
    OPERATION_BYTES + transaction.done.iter().map(of).sum::<usize>()
}

/// The side of the file.
struct RecordWriter {
    recording: Recording,
    /// The store, to read its state where a new file begins.
    store: (PathBuf, OpenOptions),
    frames: FrameWriter,
    file: Option<File>,
    /// What was framed and not written yet.
    buffer: Vec<u8>,
    /// How large the file is, with what is in the buffer.
    bytes: u64,
    transactions: u64,
    body: Vec<u8>,
}

impl RecordWriter {
    /// Writes what it is told, until there is no more.
    fn run(mut self, line: &Receiver<Told>, waiting_bytes: &AtomicUsize) {
        let mut write = || loop {
            let told = match line.try_recv() {
                Ok(told) => Ok(told),
                Err(TryRecvError::Empty) => {
                    self.flush()?;
                    line.recv()
                }
                Err(TryRecvError::Disconnected) => line.recv(),
            };
            match told {
                Ok(Told::Transaction(transaction, bytes)) => {
                    self.add(transaction)?;
                    waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                Ok(Told::End) => return self.end(false),
                // Nobody said that this is the end, so the file gets none.
                Err(_) => return self.flush(),
            }
        };
        if let Err(error) = write() {
            stopped(&error);
        }
    }

    /// Ends the file, if there is one, makes another in place of it, and begins that with a state. If the state is too large,
    /// the file is not ended.
    fn begin(&mut self, mut state: State, commit_seq: u64) -> Result<()> {
        let whole_contents = self.recording.whole_contents;
        contents::shorten_ids(&mut state);
        if !whole_contents {
            contents::of_state(&mut state);
        }
        self.body.clear();
        let body = std::mem::take(&mut self.body);
        let body =
            postcard::to_extend(&Beginning { commit_seq, whole_contents }, body).map_err(unwritable)?;
        self.body = postcard::to_extend(&state, body).map_err(unwritable)?;
        drop(state);
        // A beginning that leaves little room would be written again and again.
        if self.body.len() as u64 > self.recording.file_bytes_max() / 2 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE).into());
        }
        if self.file.is_some() {
            let beginning = std::mem::take(&mut self.body);
            self.end(true)?;
            self.body = beginning;
        }
        let path = &self.recording.path;
        make_way(path)?;
        self.file = Some(File::options().write(true).create_new(true).open(path)?);
        self.frames = FrameWriter::new();
        self.transactions = 0;
        self.buffer.clear();
        self.buffer.extend_from_slice(&head());
        self.frames.add(&mut self.buffer, &self.body)?;
        self.bytes = self.buffer.len() as u64;
        self.flush()
    }

    /// Adds a transaction; in a new file, if this one would grow too large.
    fn add(&mut self, transaction: Transaction) -> Result<()> {
        let Transaction { commit_seq, changed, done } = transaction;
        let done = done.into_iter().map(|done| self.recorded(done)).collect();
        let frame = |place| Frame::Transaction { place, commit_seq, changed, done };
        let frame = frame(self.transactions + 1);
        self.encode(&frame)?;
        if self.bytes + self.body.len() as u64 + ROOM_AT_END_BYTES > self.recording.file_bytes_max() {
            let reader = open_reader(&self.store.0, &self.store.1)?;
            let (state, commit_seq) = numbered_snapshot(&reader)?;
            drop(reader);
            self.begin(state, commit_seq)?;
            let Frame::Transaction { commit_seq, changed, done, .. } = frame else { return Ok(()) };
            self.encode(&Frame::Transaction { place: 1, commit_seq, changed, done })?;
            if self.bytes + self.body.len() as u64 + ROOM_AT_END_BYTES > self.recording.file_bytes_max() {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE).into());
            }
        }
        self.put()?;
        self.transactions += 1;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// An operation as it is written.
    fn recorded(&self, mut done: Done) -> Recorded {
        let mut messages = Vec::new();
        contents::with_id(&done.op, &mut messages);
        let remembered = messages.iter().map(|message| contents::remembered(message)).collect();
        if !self.recording.whole_contents {
            contents::of_op(&mut done.op);
            contents::of_reply(&mut done.reply);
        }
        Recorded { done, contents: remembered }
    }

    fn end(&mut self, continued: bool) -> Result<()> {
        self.encode(&Frame::End { transactions: self.transactions, continued })?;
        self.put()?;
        self.flush()?;
        if let Some(file) = &self.file {
            file.sync_all()?;
        }
        Ok(())
    }

    fn encode(&mut self, frame: &Frame) -> Result<()> {
        self.body.clear();
        self.body = postcard::to_extend(frame, std::mem::take(&mut self.body)).map_err(unwritable)?;
        Ok(())
    }

    /// Frames the body.
    fn put(&mut self) -> Result<()> {
        let before = self.buffer.len();
        self.frames.add(&mut self.buffer, &self.body)?;
        self.bytes += (self.buffer.len() - before) as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }
}

/// More than the frame of an end and the prefix of another take.
const ROOM_AT_END_BYTES: u64 = 64;

const TOO_LARGE: &str = "the state of the bus takes too much of what the recording may take";

fn unwritable(error: postcard::Error) -> Error {
    io::Error::other(error).into()
}

/// Moves an earlier recording out of the way, over the one before that; what is no recording stays where it is.
fn make_way(path: &Path) -> Result<()> {
    let before = previous(path);
    let there = |path: &Path| match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::from(error)),
        Ok(file) => {
            let mut start = Vec::new();
            file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
            if start == MAGIC || start.is_empty() { Ok(true) } else { Err(Error::Exists) }
        }
    };
    if there(path)? {
        there(&before)?;
        fs::rename(path, before)?;
    }
    Ok(())
}
