//! Mistakes with records that a person repairs.

use std::sync::Arc;

use crate::mutant::{Mutant, contract};
use crate::op::{Op, Refusal, Reply};
use crate::state::Body;
use crate::vocabulary::Raw;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_repair_overwrites_what_can_be_read",
        story: "An UPDATE with the number in its WHERE: the record beside the damaged one can be written over too.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "repaired-commands",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Repair { record, message }, Reply::Refused(Refusal::Legible)) = (op, &reply)
                && let Some(record) = state.records.get_mut(record)
            {
                record.body = Body::Sound { message: Arc::clone(message), at: now };
                return Reply::Repaired { replaced: Raw([].into()) };
            }
            reply
        },
    },
    Mutant {
        name: "a_repair_tells_nothing",
        story: "What was left of the message is overwritten, and whoever repairs finds out later that it was needed.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "repaired-commands",
        apply: |state, now, op| match contract(state, now, op) {
            Reply::Repaired { .. } => Reply::Repaired { replaced: Raw([].into()) },
            reply => reply,
        },
    },
    Mutant {
        name: "a_repaired_command_loses_its_id",
        story: "The person does not know the id that it was sent under, so the handler's own memory of ids is of no use.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "repaired-commands",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Repair { record, message }, Reply::Repaired { .. }) = (op, &reply)
                && let Some(record) = state.records.get_mut(record)
            {
                record.body = Body::Sound { message: Arc::clone(message), at: now };
            }
            reply
        },
    },
];
