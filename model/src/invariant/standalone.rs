//! Invariants of a single state, for a file whose history is unknown.
//!
//! Invariant: every state that the contract reaches satisfies these, damaged rows included. A violation means that
//! another program wrote to the file.
//! Does not depend on: `step`, a transition, or a history.

use std::collections::BTreeSet;

use crate::ghost::Ghost;
use crate::invariant::transition::{CheckResult, ensure};
use crate::invariant::{maintenance, queue};
use crate::state::{Body, LogRow, Origin, State};
use crate::vocabulary::{Kind, MessageId, Seq, Token};

/// A predicate over one state.
#[derive(Clone, Copy)]
pub struct StateInvariant {
    /// The guarantee of the contract that a violation breaks, such as `G2`.
    pub id: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    /// Checks one state.
    pub of_state: fn(&State) -> CheckResult,
}

/// All state invariants, in the order of the contract.
pub const STATE_INVARIANTS: [StateInvariant; 8] = [
    StateInvariant { id: "G1", name: "a_command_is_in_one_place", of_state: a_command_is_in_one_place },
    StateInvariant {
        id: "G2",
        name: "current_tokens_are_distinct",
        of_state: |state| queue::current_tokens_are_distinct(state, &Ghost::default()),
    },
    StateInvariant { id: "G4", name: "every_token_was_minted", of_state: every_token_was_minted },
    StateInvariant {
        id: "G6",
        name: "no_position_lies_past_the_head",
        of_state: no_position_lies_past_the_head,
    },
    StateInvariant {
        id: "G10",
        name: "the_id_of_what_is_there_is_remembered",
        of_state: the_id_of_what_is_there_is_remembered,
    },
    StateInvariant {
        id: "G11",
        name: "the_current_epoch_has_not_ended",
        of_state: the_current_epoch_has_not_ended,
    },
    StateInvariant { id: "G14", name: "a_record_is_in_one_place", of_state: a_record_is_in_one_place },
    StateInvariant {
        id: "G15",
        name: "the_log_is_complete",
        of_state: |state| maintenance::the_log_is_complete(state, &Ghost::default()),
    },
];

fn held_if(occurred: bool) -> CheckResult {
    if occurred { CheckResult::Held } else { CheckResult::Vacuous }
}

/// A command is in the queue, readable or not, or in one record. Its number was assigned.
fn a_command_is_in_one_place(state: &State) -> CheckResult {
    let set_aside = state.records.values().filter_map(|record| match record.origin {
        Origin::Queue { seq } => Some(seq),
        Origin::Log { .. } => None,
    });
    let mut seen = BTreeSet::new();
    for seq in state.queue.keys().chain(state.unreadable.keys()).copied().chain(set_aside) {
        ensure!(seen.insert(seq), "command {seq} is in two places");
        ensure!(seq <= state.queue_last, "command {seq} is there, but {} was the last", state.queue_last);
    }
    held_if(!seen.is_empty())
}

/// Every token under which an attempt was counted was minted.
fn every_token_was_minted(state: &State) -> CheckResult {
    let names = state.groups.values().flat_map(|cursor| cursor.names.values().map(|name| name.counted));
    let entries = state.groups.values().flat_map(|cursor| cursor.entries.values().map(|entry| entry.counted));
    let counted: Vec<Token> = names.chain(entries).flatten().collect();
    for token in &counted {
        ensure!(
            *token <= state.token_last,
            "an attempt was counted under token {token}, which was not minted"
        );
    }
    held_if(!counted.is_empty())
}

/// A group has settled and holds published events only, and it reads at least one name.
fn no_position_lies_past_the_head(state: &State) -> CheckResult {
    for (group, cursor) in &state.groups {
        ensure!(!cursor.names.is_empty(), "{group} exists but reads no name");
        for (name, progress) in &cursor.names {
            let (position, head) = (progress.position, state.head);
            ensure!(position <= head, "{group} stands at {position} for {name}, past the head {head}");
        }
        for (record, entry) in &cursor.entries {
            ensure!(entry.seq <= state.head, "entry {record} of {group} is of {}, past the head", entry.seq);
        }
    }
    held_if(!state.groups.is_empty())
}

/// The id of a message is remembered, without an end, while the message is in the queue or the log, or is a command
/// that was set aside.
fn the_id_of_what_is_there_is_remembered(state: &State) -> CheckResult {
    let queue = state.queue.iter().map(|(seq, command)| (*seq, &command.body));
    let set_aside = state.records.values().filter_map(|record| match record.origin {
        Origin::Queue { seq } => Some((seq, &record.body)),
        Origin::Log { .. } => None,
    });
    let log = state.log.iter().filter_map(|(seq, row)| match row {
        LogRow::Event(body) => Some((*seq, body)),
        LogRow::Tombstone => None,
    });
    let mut any = false;
    for (seq, body) in queue.chain(set_aside).chain(log) {
        let Some((id, kind)) = id_of(body) else { continue };
        any = true;
        let ids = if kind == Kind::Command { &state.command_ids } else { &state.event_ids };
        let known = ids.get(id).is_some_and(|known| known.seq == seq && known.ended_at.is_none());
        ensure!(known, "{kind:?} {seq} is there, but its id {id} is not remembered");
    }
    held_if(any)
}

fn id_of(body: &Body) -> Option<(&MessageId, Kind)> {
    match body {
        Body::Sound { message, .. } => Some((message.id.as_ref()?, message.kind)),
        _ => None,
    }
}

/// The current epoch has not ended, and every record belongs to an epoch that began.
fn the_current_epoch_has_not_ended(state: &State) -> CheckResult {
    ensure!(!state.epochs_retired.contains(&state.epoch), "epoch {} is current, but has ended", state.epoch);
    for (id, record) in &state.records {
        let Origin::Log { epoch, .. } = &record.origin else { continue };
        let began = *epoch == state.epoch || state.epochs_retired.contains(epoch);
        ensure!(began, "record {id} is of epoch {epoch}, which never began");
    }
    CheckResult::Held
}

/// A record is in the table of records or an entry of one group. Its number was assigned.
fn a_record_is_in_one_place(state: &State) -> CheckResult {
    let entries = state.groups.values().flat_map(|cursor| cursor.entries.keys());
    let mut seen = BTreeSet::new();
    for id in state.records.keys().chain(entries) {
        ensure!(seen.insert(*id), "record {id} is in two places");
        ensure!(*id <= state.record_last, "record {id} is there, but {} was the last", state.record_last);
    }
    for (id, record) in &state.records {
        let Origin::Log { epoch, seq, .. } = &record.origin else { continue };
        let beyond = *epoch == state.epoch && *seq > state.head;
        ensure!(!beyond && *seq > Seq::ZERO, "record {id} is of event {seq}, which was never published");
    }
    held_if(!seen.is_empty())
}
