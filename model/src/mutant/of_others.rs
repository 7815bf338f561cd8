//! Mistakes that others made, and that were not among ours: each was built once, and told of where anyone can read it.
//!
//! The threads and what happened there stand in `docs/museum.md`. A mutant here knows only the mistake.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::mutant::{Mutant, contract};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Body, Command, LogRow, Progress, State};
use crate::vocabulary::{Group, Seq, Timestamp, Token};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_late_failure_frees_the_lock",
        story: "Whoever is done with a command clears its lock. One that comes too late clears the lock of the next.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "leases",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (
                Op::Settle {
                    target: Target::Command(seq), how: Settlement::Nack { delay_ms, reason }, ..
                },
                Reply::Refused(Refusal::LeaseLost),
            ) = (op, &reply)
                && let Some(command) = state.queue.get_mut(seq)
            {
                (command.lease, command.due_at) = (None, now.plus(*delay_ms));
                command.reason = Some(Arc::clone(reason));
                return Reply::Settled(Settled::Requeued { due_at: command.due_at });
            }
            reply
        },
    },
    Mutant {
        name: "a_lease_that_ran_out_goes_on_under_its_token",
        story: "Who takes a lease again that ran out only renews it, and nobody else was there; so its token stays.",
        breaks: "tokens_only_grow",
        scope: "leases",
        apply: |state, now, op| {
            let leased = |(seq, command): (&Seq, &Command)| Some((*seq, command.lease?.token));
            let before: BTreeMap<Seq, Token> = state.queue.iter().filter_map(leased).collect();
            let mut reply = contract(state, now, op);
            if let (Op::Claim { .. }, Reply::HandedOut { deliveries, .. }) = (op, &mut reply) {
                for delivery in deliveries {
                    let lease = state.queue.get_mut(&delivery.seq).and_then(|command| command.lease.as_mut());
                    if let (Some(lease), Some(token)) = (lease, before.get(&delivery.seq)) {
                        (lease.token, delivery.token) = (*token, *token);
                    }
                }
            }
            reply
        },
    },
    Mutant {
        name: "an_ack_of_what_is_gone_is_believed",
        story: "The ack deletes the row and does not look whether a row was deleted.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "leases",
        apply: |state, now, op| match (op, contract(state, now, op)) {
            (
                Op::Settle { target: Target::Command(seq), how: Settlement::Ack, .. },
                Reply::Refused(Refusal::LeaseLost),
            ) if !state.queue.contains_key(seq) => Reply::Settled(Settled::Acked),
            (_, reply) => reply,
        },
    },
    Mutant {
        name: "a_failure_after_the_release_leaves_a_copy",
        story: "A retry is a row of its own, written by whoever failed. A shutdown has put the first row back already.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "damaged-commands",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (
                Op::Settle {
                    target: Target::Command(seq), how: Settlement::Nack { delay_ms, reason }, ..
                },
                Reply::Refused(Refusal::LeaseLost),
            ) = (op, &reply)
                && let Some(command) = state.queue.get(seq).filter(|command| command.lease.is_none())
            {
                let due_at = now.plus(*delay_ms);
                let copy = Command { due_at, reason: Some(Arc::clone(reason)), ..command.clone() };
                state.queue_last = state.queue_last.plus(1);
                state.queue.insert(state.queue_last, copy);
                return Reply::Settled(Settled::Requeued { due_at });
            }
            reply
        },
    },
    Mutant {
        name: "a_release_clears_half_of_the_lock",
        story: "What is given back loses the end of its lease and not its mark, and leases without an end never end.",
        breaks: "claims_come_oldest_due_first",
        scope: "releases",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Release { lease: Lease::Command(seq), .. }, Reply::Released) = (op, &reply)
                && let Some(command) = state.queue.get_mut(seq)
            {
                command.due_at = Timestamp::MAX;
            }
            reply
        },
    },
    Mutant {
        name: "attempts_are_counted_and_not_looked_at",
        story: "The failure asks how many attempts there were, and the claim does not; a killed worker reports no failure.",
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        scope: "leases",
        apply: |state, now, op| {
            let mut op = op.clone();
            let mut limit = None;
            if let Op::Claim { attempts_max, .. } = &mut op {
                limit = Some(attempts_max.get());
                *attempts_max = std::num::NonZeroU32::MAX;
            }
            let reply = contract(state, now, &op);
            if let (Some(limit), Reply::HandedOut { deliveries, .. }) = (limit, &reply) {
                for delivery in deliveries {
                    let command = state.queue.get_mut(&delivery.seq);
                    if let Some(lease) = command.and_then(|command| command.lease.as_mut()) {
                        lease.attempts_max = limit;
                    }
                }
            }
            reply
        },
    },
    Mutant {
        name: "a_number_is_used_again_when_the_queue_is_empty",
        story: "`INTEGER PRIMARY KEY` without `AUTOINCREMENT`: the next number is one more than the largest that is there.",
        breaks: "sequence_numbers_are_dense_and_never_reused",
        scope: "leases",
        apply: |state, now, op| {
            if matches!(op, Op::Send { .. }) {
                state.queue_last = state.queue.keys().next_back().copied().unwrap_or(Seq::ZERO);
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_failed_command_frees_its_id",
        story: "The lock on the id ends with the run, however that ended; a command that waits for its next attempt has none.",
        breaks: "a_remembered_id_is_accepted_once",
        scope: "aside",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (
                Op::Settle { target: Target::Command(seq), .. },
                Reply::Settled(Settled::Requeued { .. }),
            ) = (op, &reply)
            {
                state.command_ids.retain(|_, known| known.seq != *seq);
            }
            reply
        },
    },
    Mutant {
        name: "a_dead_letter_forgets_why",
        story: "The message is moved aside as it came; what went wrong was known to the code that moved it.",
        breaks: "every_accepted_command_is_in_exactly_one_place",
        scope: "aside",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let Reply::Settled(Settled::DeadLettered { record }) = &reply
                && let Some(record) = state.records.get_mut(record)
            {
                record.reason = None;
            }
            reply
        },
    },
    Mutant {
        name: "events_become_visible_out_of_order",
        story: "A number is drawn when a transaction writes, and seen when it commits: a later number may be there first.",
        breaks: "each_poll_hands_out_the_lowest_unsettled_numbers",
        scope: "batches-of-events",
        apply: |state, now, op| {
            let Op::Poll { .. } = op else { return contract(state, now, op) };
            let head = state.head;
            let open = |seq: &Seq, row: &LogRow| {
                *seq < head && matches!(row, LogRow::Event(Body::Sound { at, .. }) if *at >= now)
            };
            let before = state.log.clone();
            state.log.retain(|seq, row| !open(seq, row));
            let reply = contract(state, now, op);
            state.log = before;
            reply
        },
    },
    Mutant {
        name: "a_poll_moves_the_position",
        story: "Offsets are saved as they are read. What is read and not handled yet is passed all the same.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "groups",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Poll { group, .. }, Reply::HandedOut { deliveries, .. }) = (op, &reply)
                && let Some(cursor) = state.groups.get_mut(group)
            {
                for delivery in deliveries {
                    let name = delivery.body.name();
                    if let Some(progress) = name.and_then(|name| cursor.names.get_mut(name)) {
                        *progress = Progress { position: delivery.seq, ..Progress::default() };
                    }
                }
            }
            reply
        },
    },
    Mutant {
        name: "a_start_is_worked_out_again",
        story: "As long as a group has settled nothing, its start is not written down, and whoever takes the cursor over \
                begins at the head.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "groups",
        apply: |state, now, op| {
            let head = state.head;
            // The group of one name is the one that was to begin at the head of an empty log.
            if let Op::Poll { group, token: None, .. } = op
                && let Some(cursor) = state.groups.get_mut(group).filter(|cursor| cursor.due_at <= now)
                && cursor.names.len() == 1
                && cursor.names.values().all(|progress| progress.position == Seq::ZERO)
            {
                for progress in cursor.names.values_mut() {
                    progress.position = head;
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_stale_token_extends_the_cursor",
        story: "The extension of a claim names the group and not its owner, so it succeeds after somebody else took over.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "batches-of-events",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Extend { lease: Lease::Cursor(group), token, .. } = &mut op
                && let Some(current) = current(state, group)
            {
                *token = current;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "a_namesake_renews_the_lease",
        story: "The owner of a lease is a host name and a process number. In containers both are the same everywhere, so \
                everyone is the owner.",
        breaks: "at_most_one_lease_is_current_for_a_delivery",
        scope: "groups",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Poll { group, token, .. } = &mut op
                && let Some(current) = current(state, group)
            {
                *token = Some(current);
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "prune_asks_no_group",
        story: "The log is cut to its length. Who has read what is somebody else's table.",
        breaks: "prune_keeps_what_a_group_still_needs",
        scope: "pruning",
        apply: |state, now, op| {
            let Op::Prune { .. } = op else { return contract(state, now, op) };
            let groups = std::mem::take(&mut state.groups);
            let reply = contract(state, now, op);
            state.groups = groups;
            reply
        },
    },
];

fn current(state: &State, group: &Group) -> Option<Token> {
    state.groups.get(group)?.lease.map(|lease| lease.token)
}
