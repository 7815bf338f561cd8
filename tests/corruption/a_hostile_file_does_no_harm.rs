//! A file that was made on purpose is refused in one sentence, or does no harm. Nothing runs that others wrote into its
//! schema, nothing runs without end, and nothing is read that is larger than the file.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use fencepost::Error;
use fencepost::check::{CheckReport, Finding};
use fencepost::error::Damage;
use fencepost::internals::sqlite::{OpenOptions, Store, open_reader};
use fencepost_verify::fuzz::file::{FileBench as Bench, Shape, StoreFiles as Files, healthy};
use fencepost_verify::fuzz::hostile::{HOSTILE, inflict};

const PAGE_BYTES: usize = 4_096;

fn options() -> OpenOptions {
    OpenOptions { create: false, busy_timeout_ms: 0, boot_id: Some("fuzz".into()), ..OpenOptions::default() }
}

#[test]
fn a_schema_that_somebody_made_on_purpose_is_refused_or_does_no_harm() {
    let bench = Bench::new().unwrap();
    let (healthy, sent) = healthy(&bench).unwrap();
    for hostile in HOSTILE {
        bench.put(&healthy[&Shape::Closed]).unwrap();
        inflict(&bench.path(), hostile).unwrap_or_else(|error| panic!("{}: {error:?}", hostile.name));
        let before = bench.files().unwrap();
        let found = bench.check();
        let reader = open_reader(&bench.path(), &options());
        let taken = bench.take(Some(&sent)).unwrap();
        assert_eq!(taken.invented, [""; 0], "{}", hostile.name);
        if hostile.refused {
            assert!(taken.refused.is_some(), "{} was opened", hostile.name);
            assert!(reader.is_err(), "{} was opened to be read", hostile.name);
            assert!(!found.is_ok_and(|found| found.is_sound()), "{} was found sound", hostile.name);
            assert!(bench.files().unwrap().file == before.file, "{} was written to", hostile.name);
        }
    }
}

#[test]
fn the_callers_own_tables_are_no_reason_to_refuse_a_file() {
    let bench = Bench::new().unwrap();
    let (healthy, sent) = healthy(&bench).unwrap();
    bench.put(&healthy[&Shape::Closed]).unwrap();
    let whole = bench.take(Some(&sent)).unwrap();
    for name in ["tables-of-the-caller", "a-view-that-nobody-asks", "a-full-text-index", "damaged-statistics"]
    {
        bench.put(&healthy[&Shape::Closed]).unwrap();
        inflict(&bench.path(), HOSTILE.iter().find(|hostile| hostile.name == name).unwrap()).unwrap();
        assert!(bench.check().unwrap().is_sound(), "{name}");
        assert_eq!(bench.take(Some(&sent)).unwrap(), whole, "{name}");
    }
}

#[test]
fn what_hangs_on_a_table_is_named() {
    let bench = Bench::new().unwrap();
    let (healthy, _) = healthy(&bench).unwrap();
    for (name, kind, what, table) in [
        ("a-trigger-that-deletes", "trigger", "t", "queue"),
        ("an-index-of-others", "index", "i", "queue"),
        ("a-reference", "table", "bets", "queue"),
    ] {
        bench.put(&healthy[&Shape::Closed]).unwrap();
        inflict(&bench.path(), HOSTILE.iter().find(|hostile| hostile.name == name).unwrap()).unwrap();
        let expected = Finding::ForeignOnOurs { kind: kind.into(), name: what.into(), table: table.into() };
        assert_eq!(bench.check().unwrap().findings, [expected], "{name}");
        let refused = Store::open(bench.path(), &options()).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { what: Damage::Schema }), "{name}: {refused:?}");
    }
}

/// The page on which a table begins.
fn root(bench: &Bench, table: &str) -> usize {
    let conn = rusqlite::Connection::open(bench.path()).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    conn.query_row(sql, [table], |row| row.get::<_, u32>(0)).unwrap() as usize
}

fn endless(report: &CheckReport) -> bool {
    let line = Damage::Endless.to_string();
    report.findings.contains(&Finding::Malformed { line })
}

/// A closed store one of whose tables has levels of pages, each of which names the next two hundred times.
fn lattice(bench: &Bench, closed: &Files, table: &str) -> Files {
    bench.put(closed).unwrap();
    let root = root(bench, table);
    let mut file = closed.file.clone();
    let leaf = file[(root - 1) * PAGE_BYTES..root * PAGE_BYTES].to_vec();
    let pages = file.len() / PAGE_BYTES;
    let interior = |child: usize| {
        let child = u32::try_from(child).unwrap().to_be_bytes();
        let mut page = vec![0; PAGE_BYTES];
        let cells = 200_u16;
        page[0] = 0x05;
        page[3..5].copy_from_slice(&cells.to_be_bytes());
        page[8..12].copy_from_slice(&child);
        for cell in 0..cells {
            let at = PAGE_BYTES - 5 * (usize::from(cell) + 1);
            page[at..at + 4].copy_from_slice(&child);
            page[at + 4] = 1;
            let pointer = 12 + 2 * usize::from(cell);
            page[pointer..pointer + 2].copy_from_slice(&u16::try_from(at).unwrap().to_be_bytes());
            page[5..7].copy_from_slice(&u16::try_from(at).unwrap().to_be_bytes());
        }
        page
    };
    let levels = 8;
    file[(root - 1) * PAGE_BYTES..root * PAGE_BYTES].copy_from_slice(&interior(pages + 1));
    for level in 1..levels {
        file.extend(interior(pages + level + 1));
    }
    file.extend(leaf);
    let count = u32::try_from(file.len() / PAGE_BYTES).unwrap().to_be_bytes();
    file[28..32].copy_from_slice(&count);
    Files { file, wal: Vec::new() }
}

#[test]
fn a_table_whose_pages_lead_in_a_circle_comes_to_an_end() {
    let bench = Bench::new().unwrap();
    let (healthy, sent) = healthy(&bench).unwrap();
    for table in ["queue", "records", "epochs_retired"] {
        let files = lattice(&bench, &healthy[&Shape::Closed], table);
        bench.put(&files).unwrap();
        let report = bench.check().unwrap();
        assert!(endless(&report), "{table}: {:?}", report.findings);
        let taken = bench.take(Some(&sent)).unwrap();
        assert_eq!(taken.invented, [""; 0]);
        // The table of epochs is seldom read.
        let said = taken.errors.iter().chain(&taken.refused).any(|error| error.contains("Endless"));
        assert!(said, "{table}: {:?} {:?}", taken.refused, taken.errors);
    }
}

#[test]
fn a_row_that_a_page_names_a_thousand_times_is_not_read_a_thousand_times() {
    let bench = Bench::new().unwrap();
    let (healthy, _) = healthy(&bench).unwrap();
    let closed = &healthy[&Shape::Closed];
    bench.put(closed).unwrap();
    let mut file = closed.file.clone();
    let mut changed = 0;
    for page in file.chunks_mut(PAGE_BYTES).filter(|page| page[0] == 0x0d) {
        let two = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
        // A row of more than 4,500 bytes goes on in other pages: its size is a number of two bytes.
        let cells = (0..two(3)).map(|index| two(8 + 2 * index));
        let long = |at: &usize| {
            page[*at] >= 0x80 && (usize::from(page[*at] & 0x7f) << 7 | usize::from(page[at + 1])) > 4_500
        };
        let Some(cell) = cells.filter(|at| at + 1 < PAGE_BYTES).find(long) else { continue };
        // More cells than this are too many for any page.
        let count = u16::try_from(((two(5) - 8) / 2).min((PAGE_BYTES - 8) / 6)).unwrap();
        page[3..5].copy_from_slice(&count.to_be_bytes());
        for index in 0..usize::from(count) {
            page[8 + 2 * index..10 + 2 * index].copy_from_slice(&u16::try_from(cell).unwrap().to_be_bytes());
        }
        changed += 1;
    }
    assert!(changed > 0, "there is a long row");
    bench.put(&Files { file, wal: Vec::new() }).unwrap();
    let report = bench.check().unwrap();
    assert!(endless(&report), "{:?}", report.findings);
}
