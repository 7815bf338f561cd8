//! The recorder: a commit observer that hands transactions to a thread, and the thread that writes them to the file.
//!
//! Invariant: the bus never waits for the recorder and never fails because of it. A recording that cannot be written, or not
//! in time, ends with a warning, and its file has no frame that ends it. The two files of a recording together are no larger
//! than its limit.
//! Does not depend on: what operations do.

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

use crate::bus::sqlite::observer::{CommitObserver, MakeObserver, ObservedOp, ObservedTransaction};
use crate::error::{Error, Result};
use crate::record::contents;
use crate::record::format::{Beginning, Frame, FrameWriter, MAGIC, Recorded, head};
use crate::record::{Recording, previous};
use crate::sqlite::{OpenOptions, Store, numbered_snapshot, open_reader};
use crate::telemetry;

/// About how many bytes may wait to be written. A recording that falls further behind ends.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// About how many bytes an operation takes while it waits, without its payloads.
const OPERATION_BYTES: usize = 512;

/// How many bytes are gathered before a write to the file, while more transactions wait.
const WRITE_BYTES: usize = 256 << 10;

/// What the observer hands to the thread.
enum Told {
    /// A transaction, and about how many bytes it takes.
    Transaction(ObservedTransaction, usize),
    /// The bus is closed.
    End,
}

/// The observer: the side of the bus.
struct Recorder {
    told: Sender<Told>,
    waiting_bytes: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl MakeObserver for Recording {
    /// Begins a recording with the state that the store has now.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the file cannot be made, the state cannot be read, or the state takes too much of the limit.
    fn observe(&self, path: &Path, options: &OpenOptions, store: &Store) -> Result<Box<dyn CommitObserver>> {
        let not_recorded = |source: Error| Error::NotRecorded { source: Box::new(source) };
        let mut writer = RecordWriter {
            recording: self.clone(),
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
            let ops = vec![ObservedOp { now: Timestamp::ZERO, op: Op::Reboot, reply: Reply::Rebooted }];
            writer.add(ObservedTransaction { commit_seq, changed: true, ops }).map_err(not_recorded)?;
        }
        let (told, line) = channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&waiting_bytes);
        let thread = std::thread::Builder::new()
            .name("fencepost-recorder".to_owned())
            .spawn(move || writer.run(&line, &written))
            .map_err(|source| not_recorded(source.into()))?;
        Ok(Box::new(Recorder { told, waiting_bytes, thread }))
    }
}

impl CommitObserver for Recorder {
    fn committed(&mut self, transaction: ObservedTransaction) -> bool {
        let bytes = weight(&transaction);
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting > WAITING_BYTES_MAX {
            stopped(&"it is written more slowly than the bus works");
            return false;
        }
        // A thread that could not write has ended with a warning.
        self.told.send(Told::Transaction(transaction, bytes)).is_ok()
    }

    fn ended(self: Box<Self>) {
        let _ = self.told.send(Told::End);
        // A panic of the thread was printed there, and is no failure of the bus.
        let _ = self.thread.join();
    }
}

/// Warns that the recording ends.
fn stopped(why: &dyn std::fmt::Display) {
    tracing::warn!(%why, "the recording of the bus ends here; the bus goes on without it");
    telemetry::recording_stopped();
}

/// About how many bytes a transaction takes while it waits.
fn weight(transaction: &ObservedTransaction) -> usize {
    let of_body = |body: &Body| match body {
        Body::Sound { message, .. } => message.payload.len() + OPERATION_BYTES,
        _ => OPERATION_BYTES,
    };
    let of = |observed: &ObservedOp| {
        let sent = match &observed.op {
            Op::Send { message, .. } | Op::Publish { message } => message.payload.len(),
            _ => 0,
        };
        let handed_out = match &observed.reply {
            Reply::HandedOut { deliveries, .. } => deliveries.iter().map(|one| of_body(&one.body)).sum(),
            _ => 0,
        };
        OPERATION_BYTES + sent + handed_out
    };
    OPERATION_BYTES + transaction.ops.iter().map(of).sum::<usize>()
}

/// The writer: the side of the file.
struct RecordWriter {
    recording: Recording,
    /// The store, whose state a new file begins with.
    store: (PathBuf, OpenOptions),
    frames: FrameWriter,
    file: Option<File>,
    /// Frames that are not written yet.
    buffer: Vec<u8>,
    /// The length of the file with the buffer, in bytes.
    bytes: u64,
    transactions: u64,
    body: Vec<u8>,
}

impl RecordWriter {
    /// Writes what the observer hands over, to the end.
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
                // The observer was dropped without `ended`, so the file gets no frame that ends it.
                Err(_) => return self.flush(),
            }
        };
        if let Err(error) = write() {
            stopped(&error);
        }
    }

    /// Ends the file, if there is one, and begins a new one with this state. If the state is too large, the file is not ended.
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
        // A state that leaves little room for transactions would be written again and again.
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

    /// Adds a transaction; to a new file, if this one would grow too large.
    fn add(&mut self, transaction: ObservedTransaction) -> Result<()> {
        let ObservedTransaction { commit_seq, changed, ops } = transaction;
        let ops = ops.into_iter().map(|observed| self.recorded(observed)).collect();
        let frame = Frame::Transaction { place: self.transactions + 1, commit_seq, changed, ops };
        self.encode(&frame)?;
        if self.bytes + self.body.len() as u64 + ROOM_AT_END_BYTES > self.recording.file_bytes_max() {
            let reader = open_reader(&self.store.0, &self.store.1)?;
            let (state, commit_seq) = numbered_snapshot(&reader)?;
            drop(reader);
            self.begin(state, commit_seq)?;
            let Frame::Transaction { commit_seq, changed, ops, .. } = frame else { return Ok(()) };
            self.encode(&Frame::Transaction { place: 1, commit_seq, changed, ops })?;
            if self.bytes + self.body.len() as u64 + ROOM_AT_END_BYTES > self.recording.file_bytes_max() {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE).into());
            }
        }
        self.put()?;
        self.transactions += 1;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// An operation as it is written to the file.
    fn recorded(&self, observed: ObservedOp) -> Recorded {
        let ObservedOp { now, mut op, mut reply } = observed;
        let mut messages = Vec::new();
        contents::with_id(&op, &mut messages);
        let remembered = messages.iter().map(|message| contents::remembered(message)).collect();
        if !self.recording.whole_contents {
            contents::of_op(&mut op);
            contents::of_reply(&mut reply);
        }
        Recorded { now, op, reply, contents: remembered }
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

    /// Adds the body to the buffer as a frame.
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

/// More bytes than the frame that ends a file and the prefix of one more frame take.
const ROOM_AT_END_BYTES: u64 = 64;

const TOO_LARGE: &str = "the state of the bus takes too much of what the recording may take";

fn unwritable(error: postcard::Error) -> Error {
    io::Error::other(error).into()
}

/// Renames an earlier recording to the name of its predecessor, which is replaced. A file that is no recording is not moved:
/// that is an error.
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
