//! The store as a whole: forgetting ids, a new life of the log, a reboot, a restore.
//!
//! Sequence numbers and tokens only go on, whatever ends here (G4, G15).

use crate::op::{Refusal, Reply};
use crate::state::{Cause, Origin, Place, State};
use crate::step::log::return_entry;
use crate::step::{TOKENS_PER_EPOCH, TOKENS_SKIPPED};
use crate::vocabulary::{Epoch, RecordId, Seq, Timestamp, Token};

/// Forgets ids whose message ended at least this long ago. An event's id stays while a record or an entry holds a
/// copy of the event.
pub(super) fn forget_ids(state: &mut State, now: Timestamp, retention_ms: u64) -> Reply {
    let before = state.command_ids.len() + state.event_ids.len();
    let over = |ended_at: Option<Timestamp>| ended_at.is_some_and(|at| at.plus(retention_ms) <= now);
    let copied: Vec<Seq> = event_copies(state).collect();
    state.command_ids.retain(|_, known| !over(known.ended_at));
    state.event_ids.retain(|_, known| !over(known.ended_at) || copied.contains(&known.seq));
    let after = state.command_ids.len() + state.event_ids.len();
    Reply::Forgotten { ids: (before - after) as u64 }
}

/// The numbers of events of this epoch of which a copy is kept aside or was redriven.
fn event_copies(state: &State) -> impl Iterator<Item = Seq> {
    let aside = state.records.values().filter_map(|record| match record.origin {
        Origin::Log { epoch, seq, .. } if epoch == state.epoch => Some(seq),
        _ => None,
    });
    let redriven = state.groups.values().flat_map(|cursor| cursor.entries.values().map(|entry| entry.seq));
    aside.chain(redriven)
}

/// Ends the log's life and begins another: events, positions and event ids end; records stay; groups stay
/// subscribed from the start of the new life; holders are fenced (G11).
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
            *progress = crate::state::Progress { position: state.head, ..Default::default() };
        }
    }
    begin(state, next);
    Ok(Reply::EpochBegun { returned })
}

pub(super) fn reboot(state: &mut State) -> Reply {
    state.token_last = state.token_last.plus(TOKENS_SKIPPED);
    Reply::Rebooted
}

/// A copy begins a new epoch, later than all that it knows, and mints from that epoch's own tokens, which neither the
/// original nor another restored copy ever mints (G4). What it holds stays, and its records and entries follow into
/// the new epoch; holders of cursors are fenced.
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
