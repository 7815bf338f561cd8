//! Mutants of ids, epochs, transactions, power cuts and restores.

use crate::mutant::{Mutant, contract};
use crate::op::{Op, Refusal, Reply, Settled, Target};
use crate::state::Origin;

/// The one mutant that applies transactions in its own way.
pub(super) const IN_PARTS: &str = "a_transaction_is_done_in_parts";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_retry_adds_a_copy",
        rationale: "The sender's id is stored but never compared.",
        breaks: "a_remembered_id_is_accepted_once",
        scope: "ids",
        apply: |state, now, op| {
            let Op::Send { message, .. } = op else { return contract(state, now, op) };
            let known = message.id.as_ref().and_then(|id| state.command_ids.remove_entry(id));
            let reply = contract(state, now, op);
            if let Some((id, known)) = known {
                state.command_ids.insert(id, known);
            }
            reply
        },
    },
    Mutant {
        name: "other_content_under_an_id_is_accepted",
        rationale: "`INSERT OR IGNORE`: the second message differs, is answered as accepted, and is lost.",
        breaks: "a_remembered_id_is_accepted_once",
        scope: "ids",
        apply: |state, now, op| match contract(state, now, op) {
            Reply::Refused(Refusal::Conflict { seq }) => Reply::Accepted { seq, fresh: false },
            reply => reply,
        },
    },
    Mutant {
        name: "an_id_is_forgotten_with_its_message",
        rationale: "The id is a unique column of the queue's row. After the row is deleted, a late retry \
                is accepted as new.",
        breaks: "a_remembered_id_is_accepted_once",
        scope: "ids",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Settle { target: Target::Command(seq), .. }, Reply::Settled(Settled::Acked)) =
                (op, &reply)
            {
                state.command_ids.retain(|_, known| known.seq != *seq);
            }
            reply
        },
    },
    Mutant {
        name: "a_dead_message_gives_its_id_away",
        rationale: "The id is forgotten when the message is dead-lettered. After a redrive there are two \
                messages with one id.",
        breaks: "a_remembered_id_is_accepted_once",
        scope: "set-aside",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (
                Op::Settle { target: Target::Command(seq), .. },
                Reply::Settled(Settled::DeadLettered { .. }),
            ) = (op, &reply)
            {
                state.command_ids.retain(|_, known| known.seq != *seq);
            }
            reply
        },
    },
    Mutant {
        name: IN_PARTS,
        rationale: "Each operation commits on its own. The stale token is refused, but the effects stay.",
        breaks: "effects_settled_in_one_transaction_happen_exactly_once",
        scope: "transactions",
        apply: |state, now, op| {
            let Op::Atomic(ops) = op else { return contract(state, now, op) };
            let mut replies = Vec::new();
            for (index, op) in (0..).zip(ops) {
                match contract(state, now, op) {
                    Reply::Refused(refusal) => {
                        return Reply::Refused(Refusal::Aborted { index, refusal: Box::new(refusal) });
                    }
                    reply => replies.push(reply),
                }
            }
            Reply::Done(replies)
        },
    },
    Mutant {
        name: "tokens_begin_again_after_a_power_cut",
        rationale: "The counter is read from the file, which lost its last writes: a token that is in use \
                is minted a second time.",
        breaks: "tokens_only_grow",
        scope: "falling-back",
        apply: |state, now, op| match op {
            Op::Reboot => Reply::Rebooted,
            _ => contract(state, now, op),
        },
    },
    Mutant {
        name: "a_restore_moves_the_counter_on_by_a_fixed_step",
        rationale: "A restore skips 2^32 tokens, as a boot does. But the original may have booted since \
                the copy was made, or the same copy may be restored twice.",
        breaks: "tokens_only_grow",
        scope: "falling-back",
        apply: |state, now, op| {
            let before = state.token_last;
            let reply = contract(state, now, op);
            if let (Op::Restore { .. }, Reply::EpochBegun { .. }) = (op, &reply) {
                state.token_last = before.plus(1 << 32);
            }
            reply
        },
    },
    Mutant {
        name: "a_restored_copy_keeps_its_epoch",
        rationale: "After a restore, numbers are assigned a second time in the same epoch.",
        breaks: "a_retired_epoch_moves_nothing",
        scope: "epochs",
        apply: |state, now, op| {
            let (epoch, retired) = (state.epoch, state.epochs_retired.clone());
            let reply = contract(state, now, op);
            if let (Op::Restore { .. }, Reply::EpochBegun { .. }) = (op, &reply) {
                (state.epoch, state.epochs_retired) = (epoch, retired);
            }
            reply
        },
    },
    Mutant {
        name: "a_reset_does_not_fence",
        rationale: "The log is emptied while a subscriber runs, and its settlements apply to the new epoch.",
        breaks: "a_retired_epoch_moves_nothing",
        scope: "epochs",
        apply: |state, now, op| {
            let leases: Vec<_> =
                state.groups.iter().map(|(group, cursor)| (group.clone(), cursor.lease)).collect();
            let reply = contract(state, now, op);
            if let (Op::Reset { .. }, Reply::EpochBegun { .. }) = (op, &reply) {
                for (group, lease) in leases {
                    if let Some(cursor) = state.groups.get_mut(&group) {
                        cursor.lease = lease;
                    }
                }
            }
            reply
        },
    },
    Mutant {
        name: "a_reset_is_done_twice",
        rationale: "Two operators reset at the same time. The second reset names the epoch that it means \
                to end, and the store does not compare it with the current one.",
        breaks: "a_retired_epoch_moves_nothing",
        scope: "epochs",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Reset { expected, .. } = &mut op {
                *expected = state.epoch;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "an_epoch_begins_twice",
        rationale: "An epoch is used again, so records of its first life are taken for current ones.",
        breaks: "a_retired_epoch_moves_nothing",
        scope: "epochs",
        apply: |state, now, op| {
            if matches!(op, Op::Reset { expected, .. } if *expected == state.epoch) {
                state.epochs_retired.clear();
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_dead_letter_of_a_retired_epoch_is_redriven",
        rationale: "An event of the old epoch is delivered in the new one, under a number that another \
                event has.",
        breaks: "a_retired_epoch_moves_nothing",
        scope: "epochs",
        apply: |state, now, op| {
            let current = state.epoch;
            if let Op::Redrive { record } = op
                && let Some(record) = state.records.get_mut(record)
                && let Origin::Log { epoch, .. } = &mut record.origin
            {
                *epoch = current;
            }
            contract(state, now, op)
        },
    },
];
