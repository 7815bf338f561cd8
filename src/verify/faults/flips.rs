//! A bit that flips at rest: in each page of a file, and in each header and frame of its WAL.
//!
//! The result may be an error, a delivery that says that it is corrupt, an earlier state, or a change of the
//! bookkeeping that no checksum covers.
//!
//! Invariant: a message that is delivered is one that was sent.
//! Does not depend on: the layout of a file, except where SQLite's pages and frames begin.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use fencepost_model::op::{Delivery, Op, Reply};
use fencepost_model::state::{Body, State};
use fencepost_model::vocabulary::{Message, Timestamp};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, DiskImage, Mounted, Profile};
use crate::faults::answers::{PANIC, SENT};
use crate::faults::harness::{FaultStart, said};
use crate::faults::reboot::options;
use crate::rig::act::{Act, Moment, routine};
use crate::rig::promises::{Violation, WHOLE};
use crate::rig::recorder::{BOOT, FILE};
use crate::rig::recovery::digested;
use crate::rig::seed::mix;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Durability, Store};

/// One bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// The file.
    pub file: Arc<str>,
    /// Which byte of it.
    pub byte: usize,
    /// Which bit of that.
    pub bit: u8,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlipOutcome {
    /// The store could not be opened, read or worked with, and said so.
    Refused,
    /// Something was delivered as corrupt, or moved to the dead.
    Corrupt,
    /// All is as it was.
    Same,
    /// It is an earlier moment.
    Earlier,
    /// What was handed out is what was sent, and the bookkeeping says something else.
    Bookkeeping,
}

const PAGE_BYTES: usize = 4_096;
const WAL_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The bits that are flipped in an image, some in each of its pieces.
pub fn flips(image: &DiskImage, each: u64, seed: u64) -> Vec<Flip> {
    let mut flips = Vec::new();
    for (number, (file, content)) in (0_u64..).zip(&image.files) {
        let mut pieces: Vec<(usize, usize)> = Vec::new();
        if file.ends_with("-wal") {
            pieces.push((0, WAL_HEADER_BYTES.min(content.len())));
            let mut at = WAL_HEADER_BYTES;
            while at + FRAME_HEADER_BYTES + PAGE_BYTES <= content.len() {
                pieces.push((at, FRAME_HEADER_BYTES));
                pieces.push((at + FRAME_HEADER_BYTES, PAGE_BYTES));
                at += FRAME_HEADER_BYTES + PAGE_BYTES;
            }
        } else {
            pieces.extend((0..content.len() / PAGE_BYTES).map(|page| (page * PAGE_BYTES, PAGE_BYTES)));
        }
        for (from, bytes) in pieces.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let mut read = vec![0; bytes];
            content.read(from, &mut read);
            let all: Vec<usize> = (from..from + bytes).collect();
            let used: Vec<usize> = all.iter().copied().filter(|byte| read[byte - from] != 0).collect();
            for index in 0..each {
                let chance = mix(seed, &[number, from as u64, index]);
                let which = usize::try_from(chance >> 8).unwrap_or(0);
                // Most of a page is empty: every other bit is one in what is there.
                let there = if index % 2 == 1 { &used } else { &all };
                let Some(byte) = there.get(which % there.len().max(1)).copied() else { continue };
                flips.push(Flip { file: Arc::clone(file), byte, bit: (chance % 8) as u8 });
            }
        }
    }
    flips
}

/// A disk for files with a flipped bit.
#[derive(Debug)]
pub struct Flipped {
    mounted: Mounted,
    /// A mutant that a check must notice: the payload of what is delivered is changed.
    pub changes_a_payload: bool,
}

impl Flipped {
    /// # Errors
    /// If SQLite refuses the disk.
    pub fn new() -> Result<Self> {
        let mounted = Mounted::new(Disk::new(Profile::UNIX)).ok_or(Error::Closed)?;
        Ok(Self { mounted, changes_a_payload: false })
    }

    /// Flips a bit and takes all that is there.
    ///
    /// # Errors
    /// The broken promise.
    pub fn run(
        &mut self,
        beginning: &FaultStart,
        image: &DiskImage,
        flip: &Flip,
    ) -> Result<FlipOutcome, Violation> {
        let mut image = image.clone();
        if let Some(content) = image.files.get_mut(&flip.file) {
            let mut byte = [0];
            content.read(flip.byte, &mut byte);
            content.write(flip.byte, &[byte[0] ^ 1 << flip.bit]);
        }
        self.mounted.disk().exchange(&image);
        let taken = catch_unwind(AssertUnwindSafe(|| self.take(beginning)));
        let taken = taken.map_err(|panic| Violation { property: PANIC, why: said(&*panic) })?;
        let Ok((state, mut replies)) = taken else { return Ok(FlipOutcome::Refused) };
        if self.changes_a_payload {
            replies.iter_mut().for_each(change);
        }
        check(beginning, flip, state, &replies)
    }

    /// Everything that a process can read and take, in the same boot.
    fn take(&self, beginning: &FaultStart) -> Result<(State, Vec<Reply>)> {
        let options = options(&self.mounted, Durability::PowerLoss, BOOT);
        let mut store = Store::open(Path::new(FILE), &options)?;
        let state = store.snapshot();
        let mut replies = Vec::new();
        for op in asked(beginning) {
            // One that fails does not keep the others from being asked.
            if let Ok(reply) = store.apply(late(), &op) {
                replies.push(reply);
            }
        }
        Ok((state?, replies))
    }
}

/// When every lease has ended.
fn late() -> Timestamp {
    Timestamp::from(1_000)
}

fn asked(beginning: &FaultStart) -> Vec<Op> {
    let mut ops = routine(&beginning.moment);
    ops.retain(|op| matches!(op, Op::Claim { .. } | Op::Poll { .. }));
    ops
}

fn change(reply: &mut Reply) {
    let Reply::HandedOut { deliveries, .. } = reply else { return };
    for Delivery { body, .. } in deliveries {
        if let Body::Sound { message, .. } = body {
            Arc::make_mut(message).payload = Arc::from(&b"what no client sent"[..]);
        }
    }
}

/// Checks what was handed out.
fn check(
    beginning: &FaultStart,
    flip: &Flip,
    state: State,
    replies: &[Reply],
) -> Result<FlipOutcome, Violation> {
    use fencepost_model::world::{Contract, Rules as _};
    let mut sent = BTreeSet::new();
    let all = beginning.scope.start.iter();
    all.for_each(|op| collect(op, &mut sent));
    let mut corrupt = false;
    for reply in replies {
        let Reply::HandedOut { deliveries, dead_lettered } = reply else { continue };
        corrupt |= !dead_lettered.is_empty();
        for delivery in deliveries {
            match &delivery.body {
                Body::Sound { message, .. } if !sent.contains(&as_text(message)) => {
                    let why = format!("{delivery:?} was delivered, and was never sent");
                    return Err(Violation { property: SENT, why });
                }
                Body::Sound { .. } => {}
                _ => corrupt = true,
            }
        }
    }
    if corrupt {
        return Ok(FlipOutcome::Corrupt);
    }
    if is_earlier(beginning, &state) {
        return Ok(FlipOutcome::Earlier);
    }
    let mut expected = beginning.moment.state().clone();
    let same = state == digested(&expected);
    let expected: Vec<Reply> =
        asked(beginning).iter().map(|op| Contract.apply(&mut expected, late(), op)).collect();
    if same && expected == replies {
        return Ok(FlipOutcome::Same);
    }
    if flip.file.ends_with("-wal") {
        // SQLite's own checksums cover every frame.
        let why = format!("a WAL with a flipped bit left what the store never held: {state:#?}");
        return Err(Violation { property: WHOLE, why });
    }
    Ok(FlipOutcome::Bookkeeping)
}

/// Whether this is a moment before the last one.
fn is_earlier(beginning: &FaultStart, state: &State) -> bool {
    let FaultStart { scope, moment: last, .. } = beginning;
    let mut moment = Moment::empty(scope.workers);
    let is_at = |moment: &Moment| moment.state() != last.state() && digested(moment.state()) == *state;
    is_at(&moment)
        || scope.start.iter().any(|op| {
            moment.perform(&Act::Apply(Arc::new(op.clone())));
            is_at(&moment)
        })
}

/// A message, in words that differ for different ones.
fn as_text(message: &Message) -> String {
    format!("{message:?}")
}

fn collect(op: &Op, sent: &mut BTreeSet<String>) {
    match op {
        Op::Send { message, .. } | Op::Publish { message } => {
            sent.insert(as_text(message));
        }
        Op::Atomic(ops) => ops.iter().for_each(|op| collect(op, sent)),
        _ => {}
    }
}
