//! A fresh process after a reboot, which opens a file in which something failed before; nothing fails any more.
//!
//! Invariant: an image is opened once.
//! Does not depend on: what failed, and which state should be found.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::rc::Rc;

use fencepost_model::op::{Op, Reply};
use fencepost_model::state::State;
use fencepost_model::vocabulary::{Name, Names, Timestamp};
use fencepost_model::world::{Contract, Rules as _};

use crate::disk::{Disk, DiskImage, Mounted, Profile};
use crate::faults::answers;
use crate::faults::answers::{LEASES, SOUND, WORKS};
use crate::rig::act::{Act, Moment, routine};
use crate::rig::promises::{GOES_ON, Violation};
use crate::rig::recorder::FILE;
use crate::rig::recovery::{Contents, NEXT_BOOT, contents, digested, in_words};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Durability, OpenOptions, Store, snapshot};

/// A disk to open images on.
#[derive(Debug)]
pub struct RebootedProcess {
    known: HashMap<u64, Rc<OpenedImage>>,
    mounted: Mounted,
}

/// What was found, and whether it could be worked on, if that was tried.
#[derive(Debug)]
struct OpenedImage {
    contents: Result<Contents, String>,
    worked: std::cell::Cell<bool>,
}

/// The options that a store on a simulated disk is opened with.
pub fn options(mounted: &Mounted, durability: Durability, boot: &str) -> OpenOptions {
    OpenOptions {
        durability,
        boot_id: Some(boot.to_owned()),
        vfs: Some(mounted.name().to_owned()),
        busy_timeout_ms: 0,
        ..OpenOptions::default()
    }
}

/// A moment after a boot.
pub fn booted(moment: &Moment) -> Moment {
    let mut moment = moment.clone();
    moment.perform(&Act::Boot);
    moment
}

impl RebootedProcess {
    /// # Errors
    /// If SQLite refuses the disk.
    pub fn new() -> Result<Self> {
        let mounted = Mounted::new(Disk::new(Profile::UNIX)).ok_or(Error::Closed)?;
        Ok(Self { known: HashMap::new(), mounted })
    }

    /// Opens an image, and works on what is there. Says at which of these moments, which are after the boot, it is.
    ///
    /// # Errors
    /// The broken promise: `property` is broken if it is at none of them.
    pub fn find(
        &mut self,
        image: &DiskImage,
        moments: &[Moment],
        property: &'static str,
    ) -> Result<usize, Violation> {
        let digest = image.digest();
        let known = self.known.get(&digest).cloned();
        let (found, store) = match known {
            Some(found) if found.worked.get() => (found, None),
            _ => {
                let (contents, store) = self.open(image);
                let found = Rc::new(OpenedImage { contents, worked: std::cell::Cell::new(false) });
                self.known.insert(digest, Rc::clone(&found));
                (found, store)
            }
        };
        let contents = match &found.contents {
            Ok(contents) => contents,
            Err(why) => return Err(Violation { property: SOUND, why: why.clone() }),
        };
        let index = which(contents, moments, property)?;
        if let Some(mut store) = store {
            leases_end(&mut store, &moments[index])?;
            work(&mut store, &mut moments[index].clone())?;
            found.worked.set(true);
        }
        Ok(index)
    }

    /// Opens an image, and looks only whether it is sound.
    ///
    /// # Errors
    /// If it is not.
    pub fn sound(&mut self, image: &DiskImage) -> Result<(), Violation> {
        self.open(image).0.map(drop).map_err(|why| Violation { property: SOUND, why })
    }

    fn open(&mut self, image: &DiskImage) -> (Result<Contents, String>, Option<Store>) {
        self.mounted.disk().exchange(image);
        let opened = Store::open(Path::new(FILE), &options(&self.mounted, Durability::PowerLoss, NEXT_BOOT));
        let looked =
            opened.and_then(|store| contents(store.connection(), true).map(|contents| (store, contents)));
        match looked {
            Ok((store, contents)) => (Ok(contents), Some(store)),
            Err(error) => (Err(in_words(&error)), None),
        }
    }
}

/// Which of some moments is found.
///
/// # Errors
/// `property` is broken if it is none of them.
pub fn which(found: &Contents, moments: &[Moment], property: &'static str) -> Result<usize, Violation> {
    let is_at = |moment: &Moment| {
        let expected = answers::contents(moment);
        expected.state == found.state && expected.effects == found.effects
    };
    moments.iter().position(is_at).ok_or_else(|| {
        let expected: Vec<&State> = moments.iter().map(Moment::state).collect();
        let why = format!(
            "what is found is none of {} states that may be: {found:#?}\nwhat may be: {expected:#?}",
            moments.len()
        );
        Violation { property, why }
    })
}

/// Looks whether all that is leased can be had by another as soon as the last lease has ended. Changes nothing.
///
/// # Errors
/// If something cannot.
pub fn leases_end(store: &mut Store, moment: &Moment) -> Result<(), Violation> {
    let state = moment.state();
    let cursors = state.groups.values();
    let due = state.queue.values().map(|command| command.due_at);
    let due = due.chain(cursors.clone().map(|cursor| cursor.due_at));
    let due = due.chain(cursors.flat_map(|cursor| cursor.entries.values().map(|entry| entry.due_at)));
    let now = due.max().unwrap_or(Timestamp::ZERO).max(moment.next_time());
    let names: Names = state.queue.values().filter_map(|command| command.body.name().cloned()).collect();
    let (max, attempts_max, lease_ms) = (NonZeroU32::MAX, NonZeroU32::MAX, 1);
    let mut ops = vec![Op::Claim { names, max, lease_ms, attempts_max }];
    for (group, cursor) in &state.groups {
        let (group, names) =
            (group.clone(), cursor.names.keys().cloned().collect::<std::collections::BTreeSet<Name>>());
        ops.push(Op::Poll { group, names, token: None, max, lease_ms, attempts_max });
    }
    for op in ops {
        let expected = Contract.apply(&mut state.clone(), now, &op);
        match store.rehearse(now, &op) {
            Ok(actual) if actual == expected => {}
            Ok(actual) => {
                let why = format!("{op:?} at {now}: the model answers {expected:?}, the store {actual:?}");
                return Err(Violation { property: LEASES, why });
            }
            Err(error) => {
                let why = format!("{op:?} fails: {}", in_words(&error));
                return Err(Violation { property: WORKS, why });
            }
        }
    }
    Ok(())
}

/// How many leases from before are tried.
const SETTLED_MAX: usize = 6;

/// Works on a store side by side with the model, long after every lease has ended: settlements under every token that
/// was handed out, what is due, and new messages.
///
/// # Errors
/// What differs from the model, or fails.
pub fn work(store: &mut Store, moment: &mut Moment) -> Result<(), Violation> {
    use fencepost_model::op::Settlement;
    let settle = |(target, token): &(_, _)| Op::Settle {
        target: fencepost_model::op::Target::clone(target),
        token: *token,
        how: Settlement::Ack,
    };
    let settlements = moment.handed.iter().take(SETTLED_MAX).map(settle);
    let ops: Vec<Op> = settlements.chain(routine(moment)).collect();
    let now = Timestamp::from(1_000);
    for op in ops {
        let expected: Reply = Contract.apply(&mut moment.world.state, now, &op);
        match store.apply(now, &op) {
            Ok(actual) if actual == expected => {}
            Ok(actual) => {
                let why = format!("{op:?}: the model answers {expected:?}, the store {actual:?}");
                return Err(Violation { property: GOES_ON, why });
            }
            Err(error) => {
                return Err(Violation {
                    property: WORKS,
                    why: format!("{op:?} fails: {}", in_words(&error)),
                });
            }
        }
    }
    match snapshot(store.connection()) {
        Ok(found) if found == digested(moment.state()) => Ok(()),
        Ok(_) => {
            Err(Violation { property: GOES_ON, why: "the state after it is not the model's".to_owned() })
        }
        Err(error) => Err(Violation { property: WORKS, why: in_words(&error) }),
    }
}
