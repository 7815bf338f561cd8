//! The bytes of a file, in blocks that copies share until one of them writes.
//!
//! Invariant: bytes past the end within the last block are zero, so that equal contents have equal digests. A block's
//! digest is computed once however many copies share it.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, LazyLock, OnceLock};

const BLOCK_BYTES: usize = 4_096;

#[derive(Debug)]
struct Block {
    bytes: [u8; BLOCK_BYTES],
    digest: OnceLock<u64>,
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes, digest: OnceLock::new() }
    }
}

impl Block {
    fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&self.bytes);
            hasher.finish()
        })
    }
}

static ZEROS: LazyLock<Arc<Block>> =
    LazyLock::new(|| Arc::new(Block { bytes: [0; BLOCK_BYTES], digest: OnceLock::new() }));

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub struct FileContent {
    blocks: Vec<Arc<Block>>,
    bytes: usize,
}

impl FileContent {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Copies bytes out, from an offset on; says how many there were. The rest of `into` becomes zero.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let there = self.bytes.saturating_sub(offset).min(into.len());
        let mut done = 0;
        while done < there {
            let at = offset + done;
            let (block, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let count = (BLOCK_BYTES - within).min(there - done);
            into[done..done + count].copy_from_slice(&self.blocks[block].bytes[within..within + count]);
            done += count;
        }
        into[there..].fill(0);
        there
    }

    /// All bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        self.read(0, &mut bytes);
        bytes
    }

    /// Writes bytes at an offset. What is between the end and a later offset becomes zero.
    pub fn write(&mut self, offset: usize, from: &[u8]) {
        if from.is_empty() {
            return;
        }
        if offset + from.len() > self.bytes {
            self.resize(offset + from.len());
        }
        let mut done = 0;
        while done < from.len() {
            let at = offset + done;
            let within = at % BLOCK_BYTES;
            let count = (BLOCK_BYTES - within).min(from.len() - done);
            let block = Arc::make_mut(&mut self.blocks[at / BLOCK_BYTES]);
            block.digest = OnceLock::new();
            block.bytes[within..within + count].copy_from_slice(&from[done..done + count]);
            done += count;
        }
    }

    /// Cuts the file, or makes it longer by zeros.
    pub fn resize(&mut self, bytes: usize) {
        self.blocks.resize(bytes.div_ceil(BLOCK_BYTES), Arc::clone(&ZEROS));
        let within = bytes % BLOCK_BYTES;
        if bytes < self.bytes
            && within > 0
            && let Some(last) = self.blocks.last_mut()
        {
            let block = Arc::make_mut(last);
            block.digest = OnceLock::new();
            block.bytes[within..].fill(0);
        }
        self.bytes = bytes;
    }

    /// A number that differs for different contents, as far as 64 bits can tell.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_usize(self.bytes);
        for block in &self.blocks {
            hasher.write_u64(block.digest());
        }
        hasher.finish()
    }
}

impl From<&[u8]> for FileContent {
    fn from(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum ContentStep {
        Write(usize, Vec<u8>),
        Resize(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<ContentStep>> {
        let write = (0..20_000_usize, proptest::collection::vec(1..=255_u8, 0..9_000));
        let step = prop_oneof![
            write.prop_map(|(offset, bytes)| ContentStep::Write(offset, bytes)),
            (0..20_000_usize).prop_map(ContentStep::Resize),
        ];
        proptest::collection::vec(step, 0..12)
    }

    proptest! {
        #[test]
        fn it_is_a_vector_of_bytes_whose_copies_do_not_see_each_other(steps in steps()) {
            let (mut content, mut bytes) = (FileContent::default(), Vec::new());
            let mut copies: Vec<(FileContent, Vec<u8>)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                // A block that is not shared is changed in place, and its digest has to go all the same.
                if number % 3 == 0 {
                    copies.push((content.clone(), bytes.clone()));
                }
                match step {
                    ContentStep::Write(_, from) if from.is_empty() => content.write(7, &from),
                    ContentStep::Write(offset, from) => {
                        content.write(offset, &from);
                        let end = bytes.len().max(offset + from.len());
                        bytes.resize(end, 0);
                        bytes[offset..offset + from.len()].copy_from_slice(&from);
                    }
                    ContentStep::Resize(len) => {
                        content.resize(len);
                        bytes.resize(len, 0);
                    }
                }
                prop_assert_eq!(content.to_vec(), bytes.clone());
                prop_assert_eq!(content.digest(), FileContent::from(&bytes[..]).digest());
                let mut into = [9; 100];
                let there = content.read(4_050, &mut into);
                let from = bytes.get(4_050..).unwrap_or_default();
                prop_assert_eq!(there, from.len().min(100));
                prop_assert_eq!(&into[..there], &from[..there]);
                prop_assert!(into[there..].iter().all(|byte| *byte == 0));
            }
            for (copy, bytes) in copies {
                prop_assert_eq!(copy.to_vec(), bytes);
            }
        }
    }
}
