//! A store in a file of its own, with any bytes: it is opened, and every operation is done to it.
//!
//! Invariant: whatever the bytes, only the file, its WAL, the index of the WAL and a journal are there afterwards, and
//! the files beside it are unchanged.
//! Does not depend on: where the bytes come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fencepost_model::op::{Delivery, Op, Refusal, Reply, Settlement};
use fencepost_model::state::Body;
use fencepost_model::vocabulary::{Epoch, Group, Kind, Names, RecordId, Seq, Timestamp};

use super::furnished::{LATE, Sent, claim, furnish, group, name, names, poll};
use fencepost::check::{CheckReport, RepairReport, check, repair};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Durability, OpenOptions, RecordFilter, Store, overview, records};

/// The bytes of a store: of its file and of its WAL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFiles {
    /// The database file.
    pub file: Vec<u8>,
    /// Its WAL; none if it is empty.
    pub wal: Vec<u8>,
}

/// A directory for one store at a time.
#[derive(Debug)]
pub struct FileBench {
    directory: tempfile::TempDir,
}

const FILE: &str = "bus.db";
const NEIGHBOUR: &str = "neighbour.db";
const NEIGHBOURS: &[u8] = b"this is another file";

/// What came of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What opening it answered, if that was an error.
    pub refused: Option<String>,
    /// What else was answered with an error.
    pub errors: BTreeSet<String>,
    /// What was delivered, by whom it was asked for.
    pub delivered: BTreeSet<(Option<Group>, Kind, Seq)>,
    /// How many deliveries said that they are corrupt, or were moved to the dead on the way.
    pub corrupt: u32,
    /// What was delivered and is not what was sent.
    pub invented: Vec<String>,
}

impl FileBench {
    /// # Errors
    /// Whatever the operating system reports.
    pub fn new() -> Result<Self> {
        let shared = Path::new("/dev/shm");
        let directory = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }?;
        fs::write(directory.path().join(NEIGHBOUR), NEIGHBOURS)?;
        Ok(Self { directory })
    }

    /// The path of the store.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(FILE)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("{FILE}{suffix}"))
    }

    /// Puts a store there, in place of what was.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn put(&self, files: &StoreFiles) -> Result<()> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            match fs::remove_file(self.beside(suffix)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        fs::write(self.path(), &files.file)?;
        if !files.wal.is_empty() {
            fs::write(self.beside("-wal"), &files.wal)?;
        }
        Ok(())
    }

    /// What is there, as a process leaves it that is killed now.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn files(&self) -> Result<StoreFiles> {
        let wal = fs::read(self.beside("-wal")).unwrap_or_default();
        Ok(StoreFiles { file: fs::read(self.path())?, wal })
    }

    /// # Panics
    /// If something was written that is not the store's.
    fn look_around(&self) -> Result<()> {
        for entry in fs::read_dir(self.directory.path())? {
            let name = entry?.file_name();
            let ours =
                ["", "-wal", "-shm", "-journal"].iter().any(|suffix| *name == *format!("{FILE}{suffix}"));
            assert!(ours || name == NEIGHBOUR, "{name:?} was written");
        }
        let neighbours = fs::read(self.directory.path().join(NEIGHBOUR))?;
        assert_eq!(neighbours, NEIGHBOURS, "the neighbour was written to");
        Ok(())
    }

    /// Opens what is there and does everything to it that is done to a store. With what was sent, it is also said what
    /// was delivered and never sent.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    ///
    /// # Panics
    /// If something was written that is not the store's.
    pub fn take(&self, sent: Option<&Sent>) -> Result<Taken> {
        let mut taken = Taken::default();
        match Store::open(self.path(), &options()) {
            Ok(mut store) => {
                taken.work(&mut store, sent);
                let closed = store.close();
                taken.note(closed);
            }
            Err(error) => taken.refused = Some(one_sentence(&error)),
        }
        self.look_around()?;
        Ok(taken)
    }

    /// Checks what is there.
    ///
    /// # Errors
    /// What a check answers.
    ///
    /// # Panics
    /// If something was written that is not the store's.
    pub fn check(&self) -> Result<CheckReport> {
        let report = check(self.path());
        self.look_around()?;
        report
    }

    /// Repairs what is there.
    ///
    /// # Errors
    /// What a repair answers.
    ///
    /// # Panics
    /// If something was written that is not the store's.
    pub fn repair(&self) -> Result<RepairReport> {
        let report = repair(self.path(), LATE);
        self.look_around()?;
        report
    }
}

/// How the stores here are opened.
fn options() -> OpenOptions {
    OpenOptions {
        durability: Durability::ProcessCrash,
        create: false,
        busy_timeout_ms: 0,
        boot_id: Some("fuzz".to_owned()),
        ..OpenOptions::default()
    }
}

/// An error, and that it is one of ours: a sentence in which nothing is left out.
fn one_sentence(error: &Error) -> String {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{error:?}");
    format!("{error:?}")
}

impl Taken {
    fn note<T>(&mut self, done: Result<T>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                self.errors.insert(one_sentence(&error));
                None
            }
        }
    }

    fn work(&mut self, store: &mut Store, sent: Option<&Sent>) {
        let look = |store: &Store| {
            store.snapshot()?;
            let filter = RecordFilter { place: None, name: None, after: RecordId::ZERO, limit: 20 };
            records(store.connection(), store.statements(), &filter)?;
            overview(store.connection(), store.statements(), LATE)
        };
        self.note(look(store));
        let one = |which| Names::from([name(which)]);
        let ops =
            [claim(one(0), 9), claim(one(1), 9), poll(group(0), 2), poll(group(1), 9), poll(group(0), 9)];
        for op in ops {
            self.ask(store, LATE, &op, sent);
        }
        for record in 1..6_u32 {
            let redrive = Op::Redrive { record: RecordId::from(record) };
            // A record of which the message cannot be decoded says so here.
            let refused = self.note(store.apply(LATE, &redrive));
            self.corrupt += u32::from(refused == Some(Reply::Refused(Refusal::Corrupt)));
        }
        let later = LATE.plus(10_000);
        for op in [claim(names(), 9), poll(group(0), 9), poll(group(1), 9)] {
            self.ask(store, later, &op, sent);
        }
        let purge = Op::Purge { record: RecordId::from(1) };
        let reset = Op::Reset { expected: Epoch::from(2), next: Epoch::from(3) };
        for op in [purge, Op::Prune { retention_ms: 0 }, Op::ForgetIds { retention_ms: 0 }, reset] {
            self.note(store.apply(later, &op));
        }
    }

    /// Claims or polls, and settles what comes.
    fn ask(&mut self, store: &mut Store, now: Timestamp, op: &Op, sent: Option<&Sent>) {
        let Some(Reply::HandedOut { deliveries, dead_lettered }) = self.note(store.apply(now, op)) else {
            return;
        };
        self.corrupt += u32::try_from(dead_lettered.len()).unwrap_or(u32::MAX);
        for delivery in deliveries {
            let group = match op {
                Op::Poll { group, .. } => Some(group.clone()),
                _ => None,
            };
            self.check(op, group, &delivery, sent);
            let how = match delivery.body.is_sound() {
                true => Settlement::Ack,
                false => Settlement::DeadLetter { reason: "corrupt".into() },
            };
            let settle = Op::Settle { target: delivery.target, token: delivery.token, how };
            self.note(store.apply(now, &settle));
        }
    }

    fn check(&mut self, op: &Op, group: Option<Group>, delivery: &Delivery, sent: Option<&Sent>) {
        let kind = if group.is_some() { Kind::Event } else { Kind::Command };
        let Body::Sound { message, .. } = &delivery.body else {
            self.corrupt += 1;
            return;
        };
        if let Some(sent) = sent
            && sent.get(&(kind, delivery.seq)) != Some(message)
        {
            self.invented.push(format!("{delivery:?} was never sent"));
        }
        let (Op::Claim { names, .. } | Op::Poll { names, .. }) = op else { return };
        if !names.contains(&message.name) {
            self.invented.push(format!("{delivery:?} was not asked for"));
        }
        self.delivered.insert((group, kind, delivery.seq));
    }
}

/// The healthy store of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Closed: all in the file.
    Closed,
    /// As a killed process left it: nearly all in the WAL.
    Wal,
    /// A part in the file and a part in the WAL.
    Both,
}

/// Every shape.
pub const SHAPES: [Shape; 3] = [Shape::Closed, Shape::Wal, Shape::Both];

/// A healthy store in each shape, and what was sent to it.
///
/// # Errors
/// Whatever the store answers.
pub fn healthy(bench: &FileBench) -> Result<(BTreeMap<Shape, StoreFiles>, Sent)> {
    let mut files = BTreeMap::new();
    let mut known = Sent::new();
    for shape in SHAPES {
        bench.put(&StoreFiles::default())?;
        fs::remove_file(bench.path())?;
        let mut store = Store::open(bench.path(), &OpenOptions { create: true, ..options() })?;
        known = furnish(&mut store, false)?;
        if shape == Shape::Both {
            store.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            let more = Op::Extend {
                lease: fencepost_model::op::Lease::Command(Seq::from(1)),
                token: fencepost_model::vocabulary::Token::from(1),
                lease_ms: 2_000,
            };
            store.apply(super::furnished::THEN, &more)?;
        }
        if shape == Shape::Closed {
            store.close()?;
            files.insert(shape, bench.files()?);
        } else {
            files.insert(shape, bench.files()?);
            store.close()?;
        }
    }
    Ok((files, known))
}
