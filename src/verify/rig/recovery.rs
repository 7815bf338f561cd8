//! Opens a crash image: SQLite recovers it, and it is checked, read and worked on.
//!
//! There are two ways. A *fresh process after a reboot* opens the image as a program opens a store. The *quick* way
//! keeps a connection open while the disk is exchanged under it and its shared memory is cleared, so that SQLite
//! recovers the WAL anew; it is for images of a store in WAL mode without a rollback journal. A sample of images goes
//! both ways, and both must find the same.
//!
//! Does not depend on: what should be found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::{Remembered, State};
use fencepost_model::vocabulary::{MessageId, Timestamp};
use rusqlite::Connection;

use crate::disk::{Disk, DiskImage, DurableContent, Event, FileContent, Mounted, Profile, seed_salts};
use crate::rig::act::effects;
use crate::rig::recorder::{BOOT, COPY, FILE, alone_with_salts, beside_others, options};
use crate::rig::setting::{Level, RigMutant, Setting};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{SCHEMA_VERSION, Store, digest, snapshot};

/// The boot in which everything happens that comes after the cut.
pub const NEXT_BOOT: &str = "the boot after the cut";

/// The contents of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The state, ids with the digests of their contents.
    pub state: State,
    /// The caller's effects.
    pub effects: BTreeSet<i64>,
    /// Whether the schema is the one after the newest.
    pub migrated: bool,
    /// Whether the opening was one after a boot, and moved the tokens on, and by a program with the newer schema, if
    /// such a one had opened it before.
    pub booted: bool,
}

/// What became of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It is sound, and holds this.
    Sound(Box<Contents>),
    /// SQLite or the store finds it malformed, in these words.
    Broken(String),
}

/// A state as the store shows it: of what ids stand for, it keeps digests.
pub fn digested(state: &State) -> State {
    let mut state = state.clone();
    let all = |ids: &mut BTreeMap<MessageId, Remembered>| {
        for known in ids.values_mut() {
            known.content = digest(&known.content);
        }
    };
    all(&mut state.command_ids);
    all(&mut state.event_ids);
    state
}

/// Two disks to recover images on.
#[derive(Debug)]
pub struct Recovery {
    setting: Setting,
    boot: &'static str,
    quick: Option<Store>,
    /// Databases that were recovered, checked and read, the last one first: what is byte for byte the same is not
    /// checked again.
    known: Vec<(Vec<u8>, Rc<Recovered>)>,
    /// The copy that was opened last.
    copy: Option<(u64, Rc<Recovered>)>,
    quick_disk: Mounted,
    reboot_disk: Mounted,
}

/// How many databases are remembered.
const KNOWN_MAX: usize = 32;

const WAL: &str = "/bus.db-wal";

impl Recovery {
    /// Disks for images of this setting. The boot after the cut is not noticed if that is its mutant.
    ///
    /// # Errors
    /// If SQLite refuses a disk.
    pub fn new(of: Setting) -> Result<Self> {
        let mount = || Mounted::new(Disk::new(Profile::UNIX)).ok_or(Error::Closed);
        let setting = Setting::honest(Level::PowerLoss, Profile::UNIX);
        let boot = if of.mutant == Some(RigMutant::BootUnnoticed) { BOOT } else { NEXT_BOOT };
        Ok(Self {
            setting,
            boot,
            quick: None,
            known: Vec::new(),
            copy: None,
            quick_disk: mount()?,
            reboot_disk: mount()?,
        })
    }

    /// Recovers an image the quick way, if it is one that can be.
    pub fn quickly(&mut self, image: &DiskImage) -> Option<Rc<Recovered>> {
        if !is_in_wal_mode(image) {
            return None;
        }
        let found = self.try_quickly(image);
        if found.is_err() {
            // The connection may be in any state, so it is opened anew for the next image; a fresh process opens this
            // one.
            self.quick = None;
        }
        found.ok()
    }

    fn try_quickly(&mut self, image: &DiskImage) -> Result<Rc<Recovered>> {
        if self.quick.is_none() {
            // The connection is opened on a store of its own, so that opening it changes nothing in the image.
            let _beside = beside_others();
            self.quick_disk.disk().exchange(&DiskImage::default());
            let options = options(&self.quick_disk, &self.setting, NEXT_BOOT, false);
            self.quick = Some(Store::open(Path::new(FILE), &options)?);
        }
        // The open connection has a WAL; to SQLite, one that is not there is as good as an empty one.
        let mut image = image.clone();
        image.files.entry(Arc::from(WAL)).or_default();
        self.quick_disk.disk().exchange(&image);
        let conn = self.quick.as_mut().ok_or(Error::Closed)?.connection_mut();
        // The whole database as SQLite sees it past its WAL, read in one transaction.
        let pages = {
            let pages = conn.serialize(rusqlite::MAIN_DB)?;
            if let Some(known) = self.known.iter().position(|(known, _)| known[..] == pages[..]) {
                self.known[..=known].rotate_right(1);
                return Ok(Rc::clone(&self.known[0].1));
            }
            pages.to_vec()
        };
        let found = Rc::new(Recovered::Sound(Box::new(contents(conn, false)?)));
        self.known.truncate(KNOWN_MAX);
        self.known.insert(0, (pages, Rc::clone(&found)));
        Ok(found)
    }

    /// The store in which the last image that was recovered quickly is open.
    pub fn quick_store(&mut self) -> Option<&mut Store> {
        self.quick.as_mut()
    }

    /// Recovers an image as a fresh process does, after a boot, and then works on it.
    pub fn after_reboot<T>(
        &mut self,
        image: &DiskImage,
        migrating: bool,
        work: impl FnOnce(&mut Store) -> T,
    ) -> (Recovered, Option<T>) {
        let _beside = beside_others();
        self.reboot_disk.disk().exchange(image);
        let options = options(&self.reboot_disk, &self.setting, self.boot, migrating);
        let booted = self.boot == NEXT_BOOT;
        let opened = Store::open(Path::new(FILE), &options);
        let looked =
            opened.and_then(|store| contents(store.connection(), booted).map(|contents| (store, contents)));
        match looked {
            Ok((mut store, contents)) => {
                let worked = work(&mut store);
                (Recovered::Sound(Box::new(contents)), Some(worked))
            }
            Err(error) => (Recovered::Broken(in_words(&error)), None),
        }
    }

    /// The contents of the copy on an image, if there is one there: opened as a fresh process does.
    pub fn copy(&mut self, image: &DiskImage) -> Option<Rc<Recovered>> {
        let content = image.files.get(COPY)?;
        let digest = content.digest();
        if let Some((known, recovered)) = &self.copy
            && *known == digest
        {
            return Some(Rc::clone(recovered));
        }
        let renamed = |(name, content): (&Arc<str>, &FileContent)| {
            let rest = name.strip_prefix(COPY)?;
            Some((Arc::from(format!("{FILE}{rest}")), content.clone()))
        };
        let alone = DiskImage { files: image.files.iter().filter_map(renamed).collect() };
        let recovered = Rc::new(self.after_reboot(&alone, true, |_| ()).0);
        self.copy = Some((digest, Rc::clone(&recovered)));
        Some(recovered)
    }

    /// What happens on the disk while a fresh process recovers an image.
    pub fn events_of_recovery(&mut self, image: &DiskImage, migrating: bool) -> (DurableContent, Vec<Event>) {
        let _alone = alone_with_salts();
        seed_salts(3);
        self.reboot_disk.disk().exchange(image);
        let base = DurableContent::settled(&self.reboot_disk.disk());
        self.reboot_disk.disk().record();
        let options = options(&self.reboot_disk, &self.setting, self.boot, migrating);
        // How that went is seen without a journal; here it only leaves its traces.
        let opened = Store::open(Path::new(FILE), &options);
        let events = self.reboot_disk.disk().take_journal();
        drop(opened);
        (base, events)
    }
}

/// An error with what is behind it.
pub fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Whether this is a database in WAL mode without a journal beside it.
fn is_in_wal_mode(image: &DiskImage) -> bool {
    let Some(database) = image.files.get(FILE) else { return false };
    let mut header = [0; 20];
    database.read(0, &mut header);
    let journal = image.files.contains_key("/bus.db-journal");
    !journal && header.starts_with(b"SQLite format 3\0") && header[18..] == [2, 2]
}

/// Checks a file and reads all of it.
///
/// # Errors
/// Whatever SQLite reports, and what its check finds as if it had reported it.
pub fn contents(conn: &Connection, booted: bool) -> Result<Contents> {
    let mut check = conn.prepare_cached("PRAGMA integrity_check")?;
    let lines: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
    if lines != ["ok"] {
        return Err(std::io::Error::other(lines.join("; ")).into());
    }
    let effects = match effects(conn) {
        // A store that was just created has no such table yet.
        Err(_) if !conn.table_exists(None, "effects")? => BTreeSet::new(),
        effects => effects?,
    };
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let migrated = conn.table_exists(None, "later")?;
    if (version > SCHEMA_VERSION) != migrated {
        return Err(std::io::Error::other(format!("version {version} with half of its schema")).into());
    }
    Ok(Contents { state: snapshot(conn)?, effects, migrated, booted })
}

/// Works on a recovered store side by side with the model: settlements with every token from before the cut, what is
/// due, and new messages. `earlier` are all tokens that were ever handed out; `rebooted`, whether none may come again.
///
/// # Errors
/// What differs from the model, in words.
pub fn go_on(
    store: &mut Store,
    moment: &super::act::Moment,
    after: &State,
    earlier: &super::act::Moment,
    rebooted: bool,
) -> std::result::Result<(), (&'static str, String)> {
    use fencepost_model::world::{Contract, Rules as _};
    let mut state = after.clone();
    let now = Timestamp::from(1_000);
    let token_max = earlier.handed.iter().map(|(_, token)| *token).max();
    for op in work(moment, earlier) {
        let expected = Contract.apply(&mut state, now, &op);
        let actual = match store.apply(now, &op) {
            Ok(reply) => reply,
            Err(error) => {
                return Err((super::promises::GOES_ON, format!("{op:?} fails: {}", in_words(&error))));
            }
        };
        if let Reply::HandedOut { deliveries, .. } = &actual
            && rebooted
            && let Some(token) = token_max
            && deliveries.iter().any(|delivery| delivery.token <= token)
        {
            let why = format!("token {token} was handed out before the cut, and {op:?} gives {deliveries:?}");
            return Err((super::promises::TOKENS, why));
        }
        if actual != expected {
            let why = format!("{op:?}: the model answers {expected:?}, the store {actual:?}");
            return Err((super::promises::GOES_ON, why));
        }
    }
    match snapshot(store.connection()) {
        Ok(found) if found == digested(&state) => Ok(()),
        Ok(_) => Err((super::promises::GOES_ON, "the state after it is not the model's".to_owned())),
        Err(error) => Err((super::promises::GOES_ON, in_words(&error))),
    }
}

/// How many leases from before the cut are tried.
const SETTLED_MAX: usize = 6;

fn work(moment: &super::act::Moment, earlier: &super::act::Moment) -> Vec<Op> {
    use fencepost_model::op::Settlement;
    let mut ops: Vec<Op> = Vec::new();
    for (target, token) in earlier.handed.iter().take(SETTLED_MAX) {
        ops.push(Op::Settle { target: target.clone(), token: *token, how: Settlement::Ack });
    }
    ops.extend(super::act::routine(moment));
    ops
}

/// A state after a boot.
pub fn rebooted(state: &State) -> State {
    use fencepost_model::op::Op;
    use fencepost_model::vocabulary::Timestamp;
    use fencepost_model::world::{Contract, Rules as _};
    let mut state = state.clone();
    Contract.apply(&mut state, Timestamp::ZERO, &Op::Reboot);
    state
}
