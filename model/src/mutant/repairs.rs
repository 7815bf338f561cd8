//! Mutants of repairs.

use std::sync::Arc;

use crate::mutant::{Mutant, contract};
use crate::op::{Op, Refusal, Reply};
use crate::state::Body;
use crate::vocabulary::Raw;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_repair_overwrites_what_can_be_read",
        rationale: "The UPDATE selects by number alone, so the repair of a damaged record can overwrite a \
                sound one.",
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
        rationale: "The columns of the damaged record are overwritten and not returned, although the \
                operator may need them.",
        breaks: "a_corrupt_row_never_reaches_a_handler_and_never_vanishes",
        scope: "repaired-commands",
        apply: |state, now, op| match contract(state, now, op) {
            Reply::Repaired { .. } => Reply::Repaired { replaced: Raw([].into()) },
            reply => reply,
        },
    },
    Mutant {
        name: "a_repaired_command_loses_its_id",
        rationale: "The operator does not know the id that the command was sent under, so a handler that \
                compares ids handles it twice.",
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
