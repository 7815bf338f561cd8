//! The file of a recording: a head, and frames, each with its length and a checksum that covers all bytes before it.
//!
//! `docs/format.md` describes every byte.
//!
//! Invariant: the reader returns what this version wrote, or an error that says what is wrong. A length is compared with the
//! rest of the file before memory of that size is allocated.
//! Does not depend on: the bus; what operations do.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::{NUMBER_MAX, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 2;

/// The first bytes of a recording.
pub(crate) const MAGIC: [u8; 16] = *b"fencepost-record";

/// The length of the head, in bytes: the magic and the version.
const HEAD_BYTES: usize = MAGIC.len() + 4;

/// The length of what stands before each frame, in bytes: its length and its checksum.
const PREFIX_BYTES: usize = 8;

/// How many bytes of a digest are written.
pub(crate) const DIGEST_BYTES: usize = 16;

/// The first bytes of a digest.
pub(crate) type ShortDigest = [u8; DIGEST_BYTES];

/// The part of the first frame before the state, which can be read without the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The commit number of the state.
    pub(crate) commit_seq: u64,
    /// Whether payloads and metadata are whole, and not digests.
    pub(crate) whole_contents: bool,
}

/// A frame after the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// One transaction.
    Transaction {
        /// Its place in the file; the first is 1.
        place: u64,
        /// The number that the transaction took if it changed something, or else the number of the last one before it that did.
        commit_seq: u64,
        /// Whether it changed something.
        changed: bool,
        /// The operations in it, in order.
        ops: Vec<Recorded>,
    },
    /// The end of the file: no transaction is missing before it.
    End {
        /// How many transactions are in the file.
        transactions: u64,
        /// Whether the recording goes on in another file.
        continued: bool,
    },
}

/// One operation of a recorded transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// Its time.
    pub(crate) now: Timestamp,
    /// The operation.
    pub(crate) op: Op,
    /// Its reply.
    pub(crate) reply: Reply,
    /// For each message with an id in the operation, in order, the digest that a store remembers of its content.
    pub(crate) contents: Vec<ShortDigest>,
}

/// The head of a file.
pub(crate) fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    head
}

/// The checksum of a frame. It covers all frames before through their last checksum.
fn checksum(before: u32, length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// The checksum before the first frame.
fn first_checksum() -> u32 {
    crc32fast::hash(&head())
}

/// Writes frames one after the other.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    checksum: u32,
}

impl FrameWriter {
    pub(crate) fn new() -> Self {
        Self { checksum: first_checksum() }
    }

    /// Adds a frame with this body.
    ///
    /// # Errors
    /// The body is longer than a frame can be; nothing is added then.
    pub(crate) fn add(&mut self, to: &mut Vec<u8>, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let length = length.to_le_bytes();
        self.checksum = checksum(self.checksum, length, body);
        to.extend_from_slice(&length);
        to.extend_from_slice(&self.checksum.to_le_bytes());
        to.extend_from_slice(body);
        Ok(())
    }
}

/// Why a recording cannot be read any further.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unreadable {
    /// The file does not begin as a recording does.
    NotARecording,
    /// The file was written in another version of the format.
    OtherVersion {
        /// The version of the file.
        found: u32,
    },
    /// The file ends without a frame that ends it.
    Cut,
    /// The file was changed after it was written.
    Damaged {
        /// The offset of the frame, in bytes.
        at_bytes: u64,
    },
    /// The operating system reported an error.
    Io {
        /// The error.
        source: io::Error,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("is not a recording of a bus"),
            Self::OtherVersion { found } => {
                write!(f, "has version {found} of the format, and this program reads version {VERSION}")
            }
            Self::Cut => {
                f.write_str("ends without an end: it was cut, or its bus is still at work or was killed")
            }
            Self::Damaged { at_bytes } => {
                write!(f, "was damaged or altered in or before the frame at byte {at_bytes}")
            }
            Self::Io { source } => write!(f, "cannot be read: {source}"),
        }
    }
}

impl std::error::Error for Unreadable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source } => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(source: io::Error) -> Self {
        Self::Io { source }
    }
}

/// Reads a recording from its beginning to its end, one frame after the other.
#[derive(Debug)]
pub(crate) struct FrameReader {
    file: BufReader<File>,
    /// The length of the file when it was opened, in bytes.
    bytes: u64,
    at_bytes: u64,
    checksum: u32,
    transactions: u64,
    body: Vec<u8>,
    /// The beginning of the first frame.
    beginning: Beginning,
}

impl FrameReader {
    /// Opens a recording and reads how it begins.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(crate) fn open(path: &Path) -> Result<Self, Unreadable> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(Unreadable::NotARecording);
        }
        let bytes = found.len();
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut start = Vec::with_capacity(HEAD_BYTES);
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut start)?;
        let is_cut_head = start.len() < HEAD_BYTES && !start.is_empty() && head().starts_with(&start);
        if is_cut_head || (start.len() < HEAD_BYTES && start.starts_with(&MAGIC)) {
            return Err(Unreadable::Cut);
        }
        let Some((magic, version)) = start.split_first_chunk::<16>().filter(|_| start.len() == HEAD_BYTES)
        else {
            return Err(Unreadable::NotARecording);
        };
        if *magic != MAGIC {
            return Err(Unreadable::NotARecording);
        }
        let found = u32::from_le_bytes(version.try_into().map_err(|_| Unreadable::NotARecording)?);
        if found != VERSION {
            return Err(Unreadable::OtherVersion { found });
        }
        let beginning = Beginning { commit_seq: 0, whole_contents: false };
        let at_bytes = HEAD_BYTES as u64;
        let (checksum, body) = (first_checksum(), Vec::new());
        let mut reader = Self { file, bytes, at_bytes, checksum, transactions: 0, body, beginning };
        reader.read_frame()?;
        let (beginning, _) = postcard::take_from_bytes::<Beginning>(&reader.body)
            .ok()
            .filter(|(beginning, _)| beginning.commit_seq <= NUMBER_MAX)
            .ok_or(Unreadable::Damaged { at_bytes })?;
        reader.beginning = beginning;
        reader.body = Vec::new();
        Ok(reader)
    }

    /// The offset up to which the file was read, in bytes.
    pub(crate) fn at_bytes(&self) -> u64 {
        self.at_bytes
    }

    /// The beginning of the first frame.
    pub(crate) fn beginning(&self) -> Beginning {
        self.beginning
    }

    /// The state that a recording begins with.
    ///
    /// # Errors
    /// As [`FrameReader::open`]; the file may have been damaged since that.
    pub(crate) fn state(path: &Path) -> Result<State, Unreadable> {
        let mut reader = Self::open(path)?;
        reader.file.seek(SeekFrom::Start(HEAD_BYTES as u64))?;
        (reader.at_bytes, reader.checksum) = (HEAD_BYTES as u64, first_checksum());
        reader.read_frame()?;
        let damaged = || Unreadable::Damaged { at_bytes: HEAD_BYTES as u64 };
        let (_, rest) = postcard::take_from_bytes::<Beginning>(&reader.body).map_err(|_| damaged())?;
        match postcard::take_from_bytes::<State>(rest) {
            Ok((state, [])) => Ok(state),
            _ => Err(damaged()),
        }
    }

    /// The next frame; none after the end.
    ///
    /// # Errors
    /// [`Unreadable`]; nothing more can be read then.
    pub(crate) fn next(&mut self) -> Result<Frame, Unreadable> {
        let at_bytes = self.at_bytes;
        self.read_frame()?;
        let damaged = || Unreadable::Damaged { at_bytes };
        let (frame, rest) = postcard::take_from_bytes::<Frame>(&self.body).map_err(|_| damaged())?;
        let in_order = match &frame {
            Frame::Transaction { place, commit_seq, .. } => {
                self.transactions += 1;
                *place == self.transactions && *commit_seq <= NUMBER_MAX
            }
            Frame::End { transactions, .. } => {
                *transactions == self.transactions && self.at_bytes == self.bytes
            }
        };
        if rest.is_empty() && in_order { Ok(frame) } else { Err(damaged()) }
    }

    /// Reads the body of the next frame.
    fn read_frame(&mut self) -> Result<(), Unreadable> {
        let at_bytes = self.at_bytes;
        let left = self.bytes - at_bytes;
        if left < PREFIX_BYTES as u64 {
            return Err(Unreadable::Cut);
        }
        let mut prefix = [0; PREFIX_BYTES];
        self.read_exactly(&mut prefix)?;
        let [length @ .., a, b, c, d] = prefix;
        let body_bytes = u64::from(u32::from_le_bytes(length));
        if body_bytes > left - PREFIX_BYTES as u64 {
            // An altered length looks like a file that was cut. Nothing more can be read in either case.
            return Err(Unreadable::Cut);
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(usize::try_from(body_bytes).map_err(|_| Unreadable::Damaged { at_bytes })?, 0);
        self.read_exactly(&mut body)?;
        self.body = body;
        let found = checksum(self.checksum, length, &self.body);
        if found != u32::from_le_bytes([a, b, c, d]) {
            return Err(Unreadable::Damaged { at_bytes });
        }
        self.checksum = found;
        self.at_bytes = at_bytes + PREFIX_BYTES as u64 + body_bytes;
        Ok(())
    }

    /// Reads as many bytes as there is room for. The file may have been cut since it was opened.
    fn read_exactly(&mut self, to: &mut [u8]) -> Result<(), Unreadable> {
        self.file.read_exact(to).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Unreadable::Cut,
            _ => error.into(),
        })
    }
}
