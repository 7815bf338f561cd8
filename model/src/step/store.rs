//! The store as a whole: reset, reboot, restore.
//!
//! Invariant: sequence numbers and tokens never go back (G4, G15).

use crate::op::{Refusal, Reply};
use crate::state::{Cause, Origin, Place, Progress, State};
use crate::step::records::return_entry;
use crate::vocabulary::{Epoch, RecordId, Timestamp, Token};

/// How many tokens a reboot skips: more than a store mints between two syncs.
pub const TOKENS_SKIPPED: u64 = 1 << 32;

/// How many tokens each restored epoch has of its own. A fixed step would not be enough: the original may have taken the
/// same step since the copy was made, and so may another restore of the same copy. Their epochs differ.
pub const TOKENS_PER_EPOCH: u64 = 1 << 48;

/// Ends the epoch of the log and begins another (G11). Events, positions and event ids are deleted. Records stay. Groups
/// stay subscribed, from the start of the new epoch. Holders of cursors are fenced.
pub(super) fn reset(
    state: &mut State,
    now: Timestamp,
    expected: Epoch,
    next: Epoch,
) -> Result<Reply, Refusal> {
    if expected != state.epoch {
        return Err(Refusal::EpochMismatch { current: state.epoch });
    }
    check_unused(state, next)?;
    let returned = return_all_entries(state, now);
    state.log.clear();
    state.event_ids.clear();
    state.first = state.head.plus(1);
    for cursor in state.groups.values_mut() {
        cursor.lease = None;
        cursor.due_at = now;
        for progress in cursor.names.values_mut() {
            *progress = Progress { position: state.head, ..Progress::default() };
        }
    }
    begin(state, next);
    Ok(Reply::EpochBegun { returned })
}

pub(super) fn reboot(state: &mut State) -> Reply {
    state.token_last = state.token_last.plus(TOKENS_SKIPPED);
    Reply::Rebooted
}

/// Begins a new epoch in a restored copy. The epoch is later than every epoch of the copy, and has a range of tokens that
/// neither the original nor another restored copy mints (G4). Messages stay, records and entries follow into the new
/// epoch, and holders of cursors are fenced.
pub(super) fn restore(state: &mut State, now: Timestamp, next: Epoch) -> Result<Reply, Refusal> {
    if next <= state.epoch || state.epochs_retired.iter().any(|epoch| next <= *epoch) {
        return Err(Refusal::EpochRetired);
    }
    let ended = state.epoch;
    for record in state.records.values_mut() {
        if let Origin::Log { epoch, .. } = &mut record.origin
            && *epoch == ended
        {
            *epoch = next;
        }
    }
    for cursor in state.groups.values_mut().filter(|cursor| cursor.lease.is_some()) {
        cursor.lease = None;
        cursor.due_at = now;
    }
    reboot(state);
    state.token_last = state.token_last.max(Token::ZERO.plus(next.get() * TOKENS_PER_EPOCH));
    begin(state, next);
    Ok(Reply::EpochBegun { returned: Vec::new() })
}

fn check_unused(state: &State, next: Epoch) -> Result<(), Refusal> {
    if next == state.epoch || state.epochs_retired.contains(&next) {
        return Err(Refusal::EpochRetired);
    }
    Ok(())
}

fn begin(state: &mut State, next: Epoch) {
    state.epochs_retired.insert(state.epoch);
    state.epoch = next;
}

fn return_all_entries(state: &mut State, now: Timestamp) -> Vec<RecordId> {
    let mut returned = Vec::new();
    let groups: Vec<_> = state.groups.keys().cloned().collect();
    for group in groups {
        let Some(cursor) = state.groups.get_mut(&group) else { continue };
        for (id, entry) in std::mem::take(&mut cursor.entries) {
            returned.push(return_entry(state, now, &group, id, entry, Place::Dead, Cause::EpochEnded, None));
        }
    }
    returned.sort_unstable();
    returned
}
