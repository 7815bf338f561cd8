//! The file of a recording: a head, and frames, each with its length and a checksum that covers all before it.
//!
//! What always holds: what is read was written by this version and not damaged since, or the reader says that it was not;
//! a length is held against what is left of the file before anything is made of that size. The page `docs/format.md`
//! describes every byte. This module knows nothing of buses, and of the model only its words.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use fencepost_model::state::State;
use fencepost_model::vocabulary::NUMBER_MAX;
use serde::{Deserialize, Serialize};

use crate::bus::sqlite::witness::Done;

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 2;

/// What a recording begins with.
pub(crate) const MAGIC: [u8; 16] = *b"fencepost-record";

/// How many bytes the head has: the magic and the version.
const HEAD_BYTES: usize = MAGIC.len() + 4;

/// How many bytes stand before each frame: its length and its checksum.
const PREFIX_BYTES: usize = 8;

/// How many bytes of a digest are kept.
pub(crate) const DIGEST_BYTES: usize = 16;

/// A digest of the content under an id, as the store remembers it, cut short.
pub(crate) type ShortDigest = [u8; DIGEST_BYTES];

/// What stands before the state in the first frame, so that the state need not be read to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The number of the last transaction that is in the state.
    pub(crate) commit_seq: u64,
    /// Whether payloads and metadata stand there as they were, and not as digests.
    pub(crate) whole_contents: bool,
}

/// A frame after the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// One transaction.
    Transaction {
        /// Its place in the file, from 1.
        place: u64,
        /// The number that it took if it changed something, or else that of the last one before it that did.
        commit_seq: u64,
        /// Whether it changed something.
        changed: bool,
        /// The operations in it, in order.
        done: Vec<Recorded>,
    },
    /// Nothing was left out before this, and nothing comes after it.
    End {
        /// How many transactions came before.
        transactions: u64,
        /// Whether the recording goes on in another file.
        continued: bool,
    },
}

/// One operation as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The operation, when it was done, and its reply.
    pub(crate) done: Done,
    /// For each message with an id in the operation, in order, what a store remembers of its content.
    pub(crate) contents: Vec<ShortDigest>,
}

/// The head of a file.
pub(crate) fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    head
}

/// The checksum of a frame, which covers what came before it by that one's checksum.
fn checksum(before: u32, length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// The checksum from which the first frame goes on.
fn first_checksum() -> u32 {
    crc32fast::hash(&head())
}

/// Puts frames one after the other.
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
    /// If it is longer than a frame can be; nothing is added then.
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

/// Why no more can be read of a recording.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unreadable {
    /// It does not begin as a recording does.
    NotARecording,
    /// It was written in another version of the format.
    OtherVersion {
        /// Which one.
        found: u32,
    },
    /// It ends in the middle, or without an end.
    Cut,
    /// What stands at this place is not what was written there.
    Damaged {
        /// How many bytes into the file.
        at_bytes: u64,
    },
    /// The operating system does not let it be read.
    Io {
        /// What it says.
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
    /// How long the file was when it was opened.
    bytes: u64,
    at_bytes: u64,
    checksum: u32,
    transactions: u64,
    body: Vec<u8>,
    /// Where the first frame's body begins.
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

    /// How far it was read.
    pub(crate) fn at_bytes(&self) -> u64 {
        self.at_bytes
    }

    /// How it begins.
    pub(crate) fn beginning(&self) -> Beginning {
        self.beginning
    }

    /// The state that a recording begins with.
    ///
    /// # Errors
    /// As [`FrameReader::open`]; and it may have been damaged since that.
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
            // A length that was altered looks the same as a file that was cut; either way there is no more to read.
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

    /// Reads so many bytes. The file may have been cut since it was opened.
    fn read_exactly(&mut self, to: &mut [u8]) -> Result<(), Unreadable> {
        self.file.read_exact(to).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Unreadable::Cut,
            _ => error.into(),
        })
    }
}
