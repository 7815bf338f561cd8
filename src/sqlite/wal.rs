//! A look at a WAL for commits behind damage.
//!
//! SQLite reads a WAL up to the first frame with a wrong checksum, since a power cut may have torn the last commit. If more
//! than that one commit lies behind the frame, commits that had happened were lost.
//!
//! Invariant: nothing is written, and the database file is not touched.
//! Does not depend on: the content of the pages.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use crate::error::Result;

/// A WAL with commits behind damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedWal {
    /// The first frame that is damaged, counted from 1; 0 for the header.
    pub frame: u64,
    /// How many commits lie behind it or begin with it. The first of them may have been torn by a power cut.
    pub commits: u64,
}

/// What a WAL holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wal {
    /// How many commits SQLite reads in it.
    pub(super) commits: u64,
    /// The commits behind damage, which it does not read.
    pub(super) damaged: Option<DamagedWal>,
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The magic number of a WAL whose checksums are over little-endian numbers; one more for big-endian ones.
const MAGIC: u32 = 0x377f_0682;

/// Looks at the WAL beside a file; a file without a WAL has no commits in it. Writers may go on: a WAL that was begun anew
/// meanwhile is not reported as damaged.
///
/// # Errors
/// Errors of the operating system.
pub(super) fn look(path: &Path) -> Result<Wal> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    Ok(look_at(|| match File::open(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    })?)
}

/// Looks at what can be opened, if it is there, as often as it takes.
fn look_at<R: Read>(mut open: impl FnMut() -> std::io::Result<Option<R>>) -> std::io::Result<Wal> {
    let Some(wal) = open()? else { return Ok(Wal::default()) };
    let (header, mut found) = find(BufReader::new(wal))?;
    // A writer that begins the WAL anew writes its header first.
    if found.damaged.is_some() {
        let mut now = [0; HEADER_BYTES];
        let same =
            open()?.is_some_and(|mut wal| matches!(fill(&mut wal, &mut now), Ok(true)) && now == header);
        found.damaged = found.damaged.filter(|_| same);
    }
    Ok(found)
}

/// Fills a buffer; says whether there were as many bytes.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// What SQLite adds up over a header or a frame, from what it was before.
fn add_up(mut sum: [u32; 2], bytes: &[u8], big_endian: bool) -> [u32; 2] {
    let number = |bytes: &[u8]| {
        let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    for pair in bytes.chunks_exact(8) {
        sum[0] = sum[0].wrapping_add(number(pair)).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(number(&pair[4..])).wrapping_add(sum[0]);
    }
    sum
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

/// The header, and what the WAL holds. However large it is, one frame of it is in memory.
fn find(mut from: impl Read) -> std::io::Result<([u8; HEADER_BYTES], Wal)> {
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut from, &mut header)? {
        return Ok((header, Wal::default()));
    }
    let written = |bytes: &[u8], at| [number(bytes, at), number(bytes, at + 4)];
    let big_endian = number(&header, 0) == MAGIC + 1;
    let mut sum = add_up([0, 0], &header[..24], big_endian);
    let whole = number(&header, 0) & !1 == MAGIC && sum == written(&header, 24);
    let page_bytes = match number(&header, 8) {
        bytes @ 512..=65_536 if bytes.is_power_of_two() => bytes as usize,
        _ => 4_096,
    };
    // What is left of a WAL that was begun anew has other salts.
    let mut salts = whole.then(|| written(&header, 16));
    let mut damaged = (!whole).then_some(0);
    let (mut commits, mut behind) = (0, 0);
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    for count in 1.. {
        if !fill(&mut from, &mut frame)? {
            break;
        }
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        let ours = written(head, 8) == *salts.get_or_insert_with(|| written(head, 8));
        if damaged.is_none() {
            sum = add_up(add_up(sum, &head[..8], big_endian), page, big_endian);
            if !ours || sum != written(head, 16) {
                damaged = Some(count);
            }
        }
        if ours && number(head, 4) != 0 {
            *if damaged.is_some() { &mut behind } else { &mut commits } += 1;
        }
    }
    // The last commit of all may be what a power cut tore.
    let damaged = damaged.filter(|_| behind > 1).map(|frame| DamagedWal { frame, commits: behind });
    Ok((header, Wal { commits, damaged }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use std::fs;

    fn find(bytes: &[u8]) -> Wal {
        super::find(bytes).unwrap().1
    }

    /// A database whose WAL holds twenty commits, that WAL, and the connection that keeps it there.
    fn twenty_commits(page_bytes: i64) -> (tempfile::TempDir, Connection, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let conn = Connection::open(directory.path().join("some.db")).unwrap();
        conn.pragma_update(None, "page_size", page_bytes).unwrap();
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        for n in 0..10 {
            conn.execute_batch(&format!("CREATE TABLE t{n} (x); INSERT INTO t{n} VALUES (1)")).unwrap();
        }
        let wal = fs::read(directory.path().join("some.db-wal")).unwrap();
        (directory, conn, wal)
    }

    #[test]
    fn commits_behind_damage_are_found_and_a_torn_last_one_is_not() {
        let (directory, conn, wal) = twenty_commits(4_096);
        let path = directory.path().join("some.db");
        let whole = Wal { commits: 20, damaged: None };
        assert_eq!((find(&wal), look(&path).unwrap()), (whole, whole));
        let frame = FRAME_HEADER_BYTES + 4_096;
        let frames = (wal.len() - HEADER_BYTES) / frame;
        let changed = |at: usize| {
            let mut wal = wal.clone();
            wal[at] ^= 1;
            let Wal { commits, damaged } = find(&wal);
            (commits, damaged.map(|damaged| (damaged.frame, damaged.commits)))
        };
        assert_eq!(changed(HEADER_BYTES + 30), (0, Some((1, 20))));
        assert_eq!(changed(17), (0, Some((0, 20))));
        let (before, behind) = changed(HEADER_BYTES + 6 * frame + 500);
        assert_eq!(behind, Some((7, 20 - before)));
        assert_eq!(changed(HEADER_BYTES + (frames - 1) * frame + 500), (19, None));
        assert_eq!(find(&wal[..wal.len() - 9]), Wal { commits: 19, damaged: None });
        // Begun anew, with the old frames behind.
        conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        conn.execute_batch("INSERT INTO t1 VALUES (2)").unwrap();
        assert_eq!(look(&path).unwrap(), Wal { commits: 1, damaged: None });
    }

    #[test]
    fn pages_of_any_size_are_found_and_a_size_that_cannot_be_is_not_believed() {
        for page_bytes in [512, 4_096, 65_536] {
            let (_directory, _conn, wal) = twenty_commits(page_bytes);
            assert_eq!(find(&wal), Wal { commits: 20, damaged: None }, "{page_bytes}");
        }
        let (_directory, _conn, mut wal) = twenty_commits(4_096);
        wal[8..12].copy_from_slice(&1_000_u32.to_be_bytes());
        assert_eq!(find(&wal), Wal { commits: 0, damaged: Some(DamagedWal { frame: 0, commits: 20 }) });
    }

    #[test]
    fn checksums_of_either_byte_order_are_those_of_sqlite() {
        let (directory, _conn, mut wal) = twenty_commits(4_096);
        let other = number(&wal, 0) ^ 1;
        wal[..4].copy_from_slice(&other.to_be_bytes());
        let big_endian = other == 0x377f_0683;
        let mut sum = add_up([0, 0], &wal[..24], big_endian);
        let put = |at: &mut [u8], sum: [u32; 2]| {
            at[..4].copy_from_slice(&sum[0].to_be_bytes());
            at[4..8].copy_from_slice(&sum[1].to_be_bytes());
        };
        put(&mut wal[24..32], sum);
        for frame in wal[HEADER_BYTES..].chunks_exact_mut(FRAME_HEADER_BYTES + 4_096) {
            sum = add_up(add_up(sum, &frame[..8], big_endian), &frame[FRAME_HEADER_BYTES..], big_endian);
            put(&mut frame[16..24], sum);
        }
        assert_eq!(find(&wal), Wal { commits: 20, damaged: None });
        let copy = directory.path().join("copy.db");
        fs::copy(directory.path().join("some.db"), &copy).unwrap();
        fs::write(directory.path().join("copy.db-wal"), &wal).unwrap();
        let read = Connection::open(&copy).unwrap();
        let tables: i64 = read.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 10);
    }

    #[test]
    fn damage_is_told_unless_the_wal_was_begun_anew_meanwhile() {
        let (directory, _conn, mut wal) = twenty_commits(4_096);
        wal[HEADER_BYTES + 30] ^= 1;
        let damaged = Wal { commits: 0, damaged: Some(DamagedWal { frame: 1, commits: 20 }) };
        fs::write(directory.path().join("copy.db-wal"), &wal).unwrap();
        assert_eq!(look(&directory.path().join("copy.db")).unwrap(), damaged);
        // What is there when it is looked at again.
        let mut anew = wal.clone();
        anew[16] ^= 1;
        for (again, found) in [
            (Some(&wal[..]), damaged),
            (Some(&anew[..]), Wal { damaged: None, ..damaged }),
            (Some(&wal[..HEADER_BYTES - 1]), Wal { damaged: None, ..damaged }),
            (None, Wal { damaged: None, ..damaged }),
        ] {
            let mut looks = [Some(&wal[..]), again].into_iter();
            assert_eq!(look_at(|| Ok(looks.next().unwrap())).unwrap(), found, "{:?}", again.map(<[u8]>::len));
        }
    }

    #[test]
    fn none_has_no_commits_and_one_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        assert_eq!(look(&path).unwrap(), Wal::default());
        fs::create_dir(directory.path().join("some.db-wal")).unwrap();
        look(&path).unwrap_err();
        // It cannot even be opened: something on the way to it is no directory.
        fs::write(&path, "").unwrap();
        look(&path.join("below")).unwrap_err();
    }
}
