//! Mutants of the queue.

use std::collections::BTreeMap;

use crate::mutant::{Mutant, contract};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Command, State};
use crate::vocabulary::{Seq, Timestamp};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_stale_token_settles",
        rationale: "The settlement checks that the command is leased, but not which lease it is.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "leases",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Settle { target: Target::Command(seq), token, .. } = &mut op
                && let Some(lease) = state.queue.get(seq).and_then(|command| command.lease)
            {
                *token = lease.token;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "a_stale_token_extends",
        rationale: "The heartbeat names the command only, so the heartbeat of a dead worker keeps the \
                lease alive.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "releases",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Extend { lease: Lease::Command(seq), token, .. } = &mut op
                && let Some(lease) = state.queue.get(seq).and_then(|command| command.lease)
            {
                *token = lease.token;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "a_lease_that_ran_out_cannot_be_settled",
        rationale: "The settlement checks the time as well as the token, so the finished work of a slow \
                worker is thrown away although no other worker has claimed the command.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "leases",
        apply: |state, now, op| {
            if let Op::Settle { target: Target::Command(seq), .. } = op
                && state.queue.get(seq).is_some_and(|command| command.due_at <= now)
            {
                return Reply::Refused(Refusal::LeaseLost);
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "expiry_clears_the_attempt_count",
        rationale: "The reaper of expired leases puts the rows back as if they were new.",
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        scope: "leases",
        apply: |state, now, op| {
            if matches!(op, Op::Claim { .. }) {
                for command in state.queue.values_mut().filter(|command| lapsed(command, now)) {
                    command.attempts = 0;
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_running_lease_is_claimed",
        rationale: "The claim compares the time that the command was sent for, and not the end of its \
                lease.",
        breaks: "at_most_one_lease_is_current_for_a_delivery",
        scope: "leases",
        apply: |state, now, op| {
            if matches!(op, Op::Claim { .. }) {
                for command in state.queue.values_mut().filter(|command| command.lease.is_some()) {
                    command.due_at = command.due_at.min(now);
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "an_abandoned_lease_is_kept_for_ever",
        rationale: "A row that is marked as leased is never looked at again: there is no reaper.",
        breaks: "an_abandoned_lease_is_claimed_again",
        scope: "leases",
        apply: |state, now, op| hiding(state, now, op, |command| command.lease.is_some()),
    },
    Mutant {
        name: "an_exhausted_command_stays_in_the_queue",
        rationale: "The claim selects `attempts < max` and dead-letters nothing, so exhausted commands \
                stay in the queue unseen.",
        breaks: "every_command_comes_to_rest",
        scope: "leases",
        apply: |state, now, op| hiding(state, now, op, |command| command.attempts >= 2),
    },
    Mutant {
        name: "the_newest_is_claimed_first",
        rationale: "`ORDER BY seq DESC` makes the queue a stack. Under load the oldest command waits for \
                ever.",
        breaks: "claims_come_oldest_due_first",
        scope: "leases",
        apply: |state, now, op| {
            let Op::Claim { .. } = op else { return contract(state, now, op) };
            let due = state.queue.iter().filter(|(_, command)| command.due_at <= now);
            let last = due.map(|(seq, _)| *seq).next_back();
            let mut rest = match last {
                Some(last) => state.queue.iter().filter(|(seq, _)| **seq != last).map(cloned).collect(),
                None => BTreeMap::new(),
            };
            state.queue.retain(|seq, _| !rest.contains_key(seq));
            let reply = contract(state, now, op);
            state.queue.append(&mut rest);
            reply
        },
    },
    Mutant {
        name: "nack_keeps_its_place_at_the_front",
        rationale: "A failed command keeps its old due time, so it is claimed first again and again.",
        breaks: "claims_come_oldest_due_first",
        scope: "leases",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Settle { target: Target::Command(seq), .. }, Reply::Settled(Settled::Requeued { .. })) =
                (op, &reply)
                && let Some(command) = state.queue.get_mut(seq)
            {
                command.due_at = Timestamp::ZERO;
            }
            reply
        },
    },
    Mutant {
        name: "nothing_due_is_said_while_something_is",
        rationale: "A claim that dead-letters its only candidate answers with an empty list, and the \
                consumer sleeps beside a full queue.",
        breaks: "claims_come_oldest_due_first",
        scope: "batches",
        apply: |state, now, op| {
            let Op::Claim { names, lease_ms, attempts_max, .. } = op else { return contract(state, now, op) };
            let exhausted = |command: &Command| {
                command.due_at <= now
                    && command.attempts >= attempts_max.get()
                    && command.body.name().is_some_and(|name| names.contains(name))
            };
            let Some(seq) = state.queue.iter().find(|(_, c)| exhausted(c)).map(|(seq, _)| *seq) else {
                return contract(state, now, op);
            };
            let mut rest: BTreeMap<_, _> =
                state.queue.iter().filter(|(other, _)| **other != seq).map(cloned).collect();
            state.queue.retain(|other, _| *other == seq);
            let max = std::num::NonZeroU32::MIN;
            let one =
                Op::Claim { names: names.clone(), max, lease_ms: *lease_ms, attempts_max: *attempts_max };
            let reply = contract(state, now, &one);
            state.queue.append(&mut rest);
            reply
        },
    },
    Mutant {
        name: "a_killer_is_handed_out_with_its_neighbours",
        rationale: "A command whose last worker died is handed out in a batch. When it kills the next \
                worker, all commands of the batch lose an attempt.",
        breaks: "claims_come_oldest_due_first",
        scope: "batches",
        apply: |state, now, op| {
            if matches!(op, Op::Claim { .. }) {
                for command in state.queue.values_mut().filter(|command| lapsed(command, now)) {
                    command.lease = None;
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_batch_shares_one_token",
        rationale: "One token for each claim looks cheaper than one for each command. Then the token of \
                one command settles another.",
        breaks: "tokens_only_grow",
        scope: "batches",
        apply: |state, now, op| {
            let mut reply = contract(state, now, op);
            if let (Op::Claim { .. }, Reply::HandedOut { deliveries, .. }) = (op, &mut reply) {
                let first = deliveries.first().map(|delivery| delivery.token);
                for delivery in deliveries {
                    let lease = state.queue.get_mut(&delivery.seq).and_then(|command| command.lease.as_mut());
                    if let (Some(lease), Some(first)) = (lease, first) {
                        lease.token = first;
                        delivery.token = first;
                    }
                }
            }
            reply
        },
    },
    Mutant {
        name: "a_release_counts_as_an_attempt",
        rationale: "A command that was claimed and never handled loses an attempt at each deployment.",
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        scope: "releases",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Release { lease: Lease::Command(seq), .. }, Reply::Released) = (op, &reply)
                && let Some(command) = state.queue.get_mut(seq)
            {
                command.attempts += 1;
            }
            reply
        },
    },
    Mutant {
        name: "the_last_nack_requeues",
        rationale: "Only the claim checks the limit on attempts, so a command that always fails waits for \
                one more back-off.",
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        scope: "leases",
        apply: |state, now, op| {
            if let Op::Settle { target: Target::Command(seq), how: Settlement::Nack { .. }, .. } = op
                && let Some(lease) = state.queue.get_mut(seq).and_then(|command| command.lease.as_mut())
            {
                lease.attempts_max = u32::MAX;
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_nack_forgets_why",
        rationale: "The worker logs the error, and the message does not keep it. Later the worker's logs \
                are gone.",
        breaks: "every_accepted_command_is_in_exactly_one_place",
        scope: "leases",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Settle { target: Target::Command(seq), .. }, Reply::Settled(Settled::Requeued { .. })) =
                (op, &reply)
                && let Some(command) = state.queue.get_mut(seq)
            {
                command.reason = None;
            }
            reply
        },
    },
    Mutant {
        name: "an_ack_only_hides",
        rationale: "The ack clears the lease and leaves the row.",
        breaks: "every_accepted_command_is_in_exactly_one_place",
        scope: "leases",
        apply: |state, now, op| {
            let before = state.queue.clone();
            let reply = contract(state, now, op);
            if let (Op::Settle { target: Target::Command(seq), .. }, Reply::Settled(Settled::Acked)) =
                (op, &reply)
                && let Some(mut command) = before.get(seq).cloned()
            {
                command.lease = None;
                state.queue.insert(*seq, command);
            }
            reply
        },
    },
    Mutant {
        name: "a_held_command_is_cancelled",
        rationale: "The cancellation deletes the row while a worker handles it.",
        breaks: "at_most_one_lease_is_current_for_a_delivery",
        scope: "releases",
        apply: |state, now, op| {
            if let Op::Cancel { seq } = op
                && let Some(command) = state.queue.get_mut(seq)
            {
                command.due_at = command.due_at.min(now);
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "dead_letter_deletes",
        rationale: "One transaction deletes the row, and a second one would insert the dead letter. The \
                second one never runs.",
        breaks: "every_accepted_command_is_in_exactly_one_place",
        scope: "set-aside",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let Reply::Settled(Settled::DeadLettered { record }) = &reply {
                state.records.remove(record);
            }
            reply
        },
    },
    Mutant {
        name: "redrive_copies",
        rationale: "The message returns to the queue, but its record stays dead and can be redriven again.",
        breaks: "redrive_moves_and_never_copies",
        scope: "set-aside",
        apply: |state, now, op| {
            let before = state.records.clone();
            let reply = contract(state, now, op);
            if let (Op::Redrive { record }, Reply::Redriven(_)) = (op, &reply)
                && let Some(kept) = before.get(record)
            {
                state.records.insert(*record, kept.clone());
            }
            reply
        },
    },
    Mutant {
        name: "a_corrupt_command_is_deleted",
        rationale: "A row that cannot be decoded is logged and deleted, so that it does not block the \
                queue.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "damaged-commands",
        apply: |state, now, op| {
            if matches!(op, Op::Claim { .. }) {
                state.queue.retain(|_, command| command.body.is_sound());
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "an_unreadable_command_is_never_seen",
        rationale: "No claim asks for a name that cannot be read, so the row is never reported.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "damaged-commands",
        apply: |state, now, op| {
            if !matches!(op, Op::Claim { .. }) {
                return contract(state, now, op);
            }
            let unreadable = std::mem::take(&mut state.unreadable);
            let reply = contract(state, now, op);
            state.unreadable = unreadable;
            reply
        },
    },
    Mutant {
        name: "a_corrupt_delivery_can_be_acked",
        rationale: "The consumer acks a row that it could not decode, and the bus accepts the ack.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "damaged-commands",
        apply: |state, now, op| {
            if let Op::Settle { target: Target::Command(seq), how: Settlement::Ack, .. } = op
                && let Some(lease) = state.queue.get_mut(seq).and_then(|command| command.lease.as_mut())
            {
                lease.corrupt = false;
            }
            contract(state, now, op)
        },
    },
];

fn lapsed(command: &Command, now: Timestamp) -> bool {
    command.lease.is_some() && command.due_at <= now
}

fn cloned((seq, command): (&Seq, &Command)) -> (Seq, Command) {
    (*seq, command.clone())
}

/// A claim that does not see the commands for which `hide` is true.
fn hiding(state: &mut State, now: Timestamp, op: &Op, hide: impl Fn(&Command) -> bool) -> Reply {
    let Op::Claim { .. } = op else { return contract(state, now, op) };
    let mut hidden: BTreeMap<_, _> =
        state.queue.iter().filter(|(_, command)| hide(command)).map(cloned).collect();
    state.queue.retain(|seq, _| !hidden.contains_key(seq));
    let reply = contract(state, now, op);
    state.queue.append(&mut hidden);
    reply
}
