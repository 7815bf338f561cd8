//! A healthy store whose pages and WAL frames were changed or torn.
//!
//! Invariant: what is still delivered was sent, unchanged, under its own number, and asked for; everything else is a
//! typed error or says that it is corrupt.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::bytes::{ByteSource, ByteWriter};
use super::file::{FileBench, SHAPES, Shape, StoreFiles, healthy};
use super::furnished::Sent;
use super::on_harness;
use fencepost::error::Result;

/// The bytes of a page; this program lets SQLite choose.
pub const PAGE_BYTES: usize = 4_096;

const WAL_HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = PAGE_BYTES + 24;

struct FlipHarness {
    bench: FileBench,
    healthy: BTreeMap<Shape, StoreFiles>,
    sent: Sent,
}

thread_local! {
    static HARNESS: RefCell<Option<FlipHarness>> = const { RefCell::new(None) };
}

fn harness() -> Result<FlipHarness> {
    let bench = FileBench::new()?;
    let (healthy, sent) = healthy(&bench)?;
    Ok(FlipHarness { bench, healthy, sent })
}

/// Runs on bytes: the shape of the store, and up to sixteen changes.
pub(super) fn run(data: &[u8]) {
    on_harness(&HARNESS, harness, |harness| within(harness, ByteSource(data)));
}

fn within(harness: &FlipHarness, mut bytes: ByteSource<'_>) -> Result<()> {
    let shape = bytes.one_of(&SHAPES);
    let checked = bytes.u8().is_multiple_of(4);
    harness.bench.put(&changed(harness.healthy[&shape].clone(), &mut bytes, 16))?;
    if checked {
        // A check of what cannot be opened answers with the same error.
        if let Ok(report) = harness.bench.check() {
            for finding in report.findings {
                assert!(finding.to_string().ends_with('.'), "{finding:?}");
            }
        }
        // What a repair moves is damaged; the rest is checked as it was.
        let _ = harness.bench.repair();
    }
    let taken = harness.bench.take(Some(&harness.sent))?;
    assert!(taken.invented.is_empty(), "{shape:?}: {:#?}", taken.invented);
    Ok(())
}

/// The same with so many changes, or as many as there are bytes for.
pub(super) fn changed(mut files: StoreFiles, bytes: &mut ByteSource<'_>, count: u8) -> StoreFiles {
    for _ in 0..count {
        if bytes.is_empty() {
            break;
        }
        change(&mut files, bytes);
    }
    files
}

/// Makes one change to the file or to its WAL.
fn change(files: &mut StoreFiles, bytes: &mut ByteSource<'_>) {
    let kind = bytes.u8();
    let in_wal = kind >= 0x80 && !files.wal.is_empty();
    let content = if in_wal { &mut files.wal } else { &mut files.file };
    let at = bytes.u32() as usize % content.len().max(1);
    let (from, len) = match in_wal {
        true => (WAL_HEADER_BYTES, FRAME_BYTES),
        false => (0, PAGE_BYTES),
    };
    let page = |at: usize| from + at.saturating_sub(from) / len * len;
    match kind % 8 {
        0 => set(content, at, &[bytes.u8()]),
        1 => {
            let mask = 1 << (bytes.u8() % 8);
            if let Some(byte) = content.get_mut(at) {
                *byte ^= mask;
            }
        }
        2 => set(content, at, bytes.piece()),
        3 => set(content, page(at), &vec![bytes.u8(); len]),
        4 => {
            let other = page(bytes.u32() as usize % content.len().max(1));
            let copied = content.get(other..other + len).map(<[u8]>::to_vec).unwrap_or_default();
            set(content, page(at), &copied);
        }
        5 => content.truncate(at),
        // A torn page: a sector of it was never written.
        6 => set(content, at / 512 * 512, &[0; 512]),
        _ => {
            let delta = bytes.u16();
            if let Some(two) = content.get(at..at + 2) {
                let number = u16::from_be_bytes([two[0], two[1]]).wrapping_add(delta);
                set(content, at, &number.to_be_bytes());
            }
        }
    }
}

/// Writes over bytes as far as there are any.
fn set(content: &mut [u8], at: usize, bytes: &[u8]) {
    let left = content.get_mut(at..).unwrap_or_default();
    let count = left.len().min(bytes.len());
    left[..count].copy_from_slice(&bytes[..count]);
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (which, shape) in (0_u8..).zip(["closed", "wal", "both"]) {
        let begin = || ByteWriter::default().u8(which).u8(0);
        let wal = if which == 0 { 0 } else { 0x80 };
        seeds.extend([
            (format!("{shape}-unchanged"), begin().0),
            (format!("{shape}-byte"), begin().u8(wal).u32(9_000).u8(0xff).0),
            (format!("{shape}-bit"), begin().u8(wal | 1).u32(40_000).u8(3).0),
            (format!("{shape}-run"), begin().u8(wal | 2).u32(28).piece(&[0xff, 0xff, 0xff, 0xfe]).0),
            (format!("{shape}-page-filled"), begin().u8(wal | 3).u32(30_000).u8(0xa5).0),
            (format!("{shape}-page-copied"), begin().u8(wal | 4).u32(20_000).u32(45_000).0),
            (format!("{shape}-cut"), begin().u8(wal | 5).u32(50_000).0),
            (format!("{shape}-torn"), begin().u8(wal | 6).u32(10_000).0),
            (format!("{shape}-count"), begin().u8(wal | 7).u32(20_483).u16(1).0),
        ]);
    }
    seeds
}
