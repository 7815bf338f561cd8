//! Mutants with the defects of incidents: each was released in another project and reported in public.
//!
//! The catalogue of incidents in `docs/` links the reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::mutant::{Mutant, contract};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Body, Command, LogRow, Progress, State};
use crate::vocabulary::{Group, Seq, Timestamp, Token};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_late_failure_frees_the_lock",
        rationale: "A failure clears the lock of its command without checking the owner. A late one clears \
                the lock of the next worker.",
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
        rationale: "Claiming an expired lease again is taken for a renewal, so its token stays the same.",
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
        rationale: "The ack deletes the row and does not check that a row was deleted.",
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
        rationale: "A retry is a new row, written by the worker that failed. The shutdown had already \
                released the first row.",
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
        rationale: "A release clears the end of the lease but not its owner, and a lease without an end \
                never expires.",
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
        rationale: "The failure path checks the limit on attempts, and the claim does not. A killed worker \
                reports no failure.",
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
        rationale: "`INTEGER PRIMARY KEY` without `AUTOINCREMENT`: the next number is one more than the \
                largest number in the table.",
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
        rationale: "The lock on the id ends with the run, also when the run failed. A command that waits \
                for its next attempt has none.",
        breaks: "a_remembered_id_is_accepted_once",
        scope: "set-aside",
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
        rationale: "The dead letter keeps the message but not the error, which only the code that moved it \
                knew.",
        breaks: "every_accepted_command_is_in_exactly_one_place",
        scope: "set-aside",
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
        rationale: "A transaction gets its number when it writes, and becomes visible when it commits. A \
                higher number may become visible first.",
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
        rationale: "A poll saves the offset of what it read. An event that was read and not handled is \
                passed.",
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
        rationale: "Until a group settles its first event, its start is not stored. The next holder of the \
                cursor starts at the head.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "groups",
        apply: |state, now, op| {
            let head = state.head;
            // The group with one name is the one that subscribed at the head of an empty log.
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
        rationale: "The extension names the group and not the owner of its cursor, so it succeeds after \
                another replica took over.",
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
        rationale: "The owner of a lease is a host name and a process number. In containers these are \
                equal, so every replica is the owner.",
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
        rationale: "The log is truncated to a length, without reading the positions of the groups.",
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
