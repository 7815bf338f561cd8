//! Any bytes as the database file and as its WAL, and hostile schemas.
//!
//! The file is opened, checked, repaired, claimed from, polled and settled.
//!
//! Invariant: the results are typed errors, quarantine or messages; nothing is written outside of the file, and what
//! does not end is ended by its steps.

use std::cell::RefCell;

use super::bytes::{ByteSource, ByteWriter};
use super::file::{FileBench, SHAPES, Shape, StoreFiles, healthy};
use super::hostile::{HOSTILE, inflict};
use super::on_harness;
use super::page_flip::changed;
use fencepost::error::Result;

struct OpenHarness {
    bench: FileBench,
    healthy: std::collections::BTreeMap<Shape, StoreFiles>,
}

thread_local! {
    static HARNESS: RefCell<Option<OpenHarness>> = const { RefCell::new(None) };
}

fn harness() -> Result<OpenHarness> {
    let bench = FileBench::new()?;
    let (healthy, _) = healthy(&bench)?;
    Ok(OpenHarness { bench, healthy })
}

/// Runs on bytes: the first says in which way the others become a file.
pub(super) fn run(data: &[u8]) {
    on_harness(&HARNESS, harness, |harness| within(harness, ByteSource(data)));
}

fn within(harness: &OpenHarness, mut bytes: ByteSource<'_>) -> Result<()> {
    let kind = bytes.u8();
    match kind % 3 {
        0 => {
            let wal = bytes.piece().to_vec();
            harness.bench.put(&StoreFiles { file: bytes.0.to_vec(), wal })?;
        }
        1 => {
            let files = harness.healthy[&bytes.one_of(&SHAPES)].clone();
            harness.bench.put(&changed(files, &mut bytes, 16))?;
        }
        _ => {
            harness.bench.put(&harness.healthy[&Shape::Closed])?;
            for _ in 0..bytes.u8() % 4 {
                // One thing that was done may make another impossible.
                let _ = inflict(&harness.bench.path(), &bytes.one_of(HOSTILE));
            }
            let files = harness.bench.files()?;
            harness.bench.put(&changed(files, &mut bytes, 4))?;
        }
    }
    // What these answer is typed, whatever it is; that they answer is the point. Two are seldom done one after the
    // other.
    match kind / 3 % 4 {
        0 => drop(harness.bench.check()),
        1 => drop(harness.bench.take(None)?),
        2 => drop(harness.bench.repair()),
        _ => {
            harness.bench.take(None)?;
            drop(harness.bench.check());
        }
    }
    Ok(())
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let raw = |file: &[u8]| {
        ByteWriter::default().u8(0).piece(b"").0.into_iter().chain(file.iter().copied()).collect()
    };
    let mut header = [0_u8; 512];
    header[..16].copy_from_slice(b"SQLite format 3\0");
    header[16..24].copy_from_slice(&[2, 0, 1, 1, 0, 64, 32, 32]);
    header[28..32].copy_from_slice(&[0xff, 0xff, 0xff, 0xfe]);
    header[68..72].copy_from_slice(b"FncP");
    header[100] = 0x0d;
    let mut seeds = vec![
        ("nothing".to_owned(), raw(b"")),
        (
            "no-database".to_owned(),
            raw(b"this is no database, and longer than the header of one is: a letter, perhaps"),
        ),
        ("a-header-of-ours".to_owned(), raw(&header)),
    ];
    let base = |shape: u8| ByteWriter::default().u8(10).u8(shape);
    let pages = [0xff, 0xff, 0xff, 0xfe];
    seeds.extend([
        ("enormous-page-count".to_owned(), base(0).u8(2).u32(28).piece(&pages).0),
        (
            "enormous-freelist".to_owned(),
            base(0).u8(2).u32(32).piece(&[0, 0, 0, 2, 0x7f, 0xff, 0xff, 0xff]).0,
        ),
        ("other-page-size".to_owned(), base(0).u8(2).u32(16).piece(&[0x02, 0x00]).0),
        ("a-text-encoding".to_owned(), base(0).u8(2).u32(56).piece(&[0, 0, 0, 2]).0),
        ("a-wal-of-others".to_owned(), base(1).u8(0x82).u32(8).piece(&[0, 0, 2, 0]).0),
    ]);
    for (which, hostile) in (0_u8..).zip(HOSTILE) {
        // Checked, and taken from.
        for (kind, how) in [(2, "checked"), (5, "taken"), (8, "repaired")] {
            seeds.push((format!("{}-{how}", hostile.name), ByteWriter::default().u8(kind).u8(1).u8(which).0));
        }
    }
    seeds
}
