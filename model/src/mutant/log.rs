//! Mutants of the log and its groups.

use crate::mutant::{Mutant, contract};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Start, Target};
use crate::state::{Body, Cursor, LogRow, Progress, State};
use crate::vocabulary::{Group, Token};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_stale_token_acks_an_event",
        rationale: "The commit of a group's offset does not check who holds the cursor.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "groups",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Settle { target: Target::Event { group, .. }, token, .. } = &mut op
                && let Some(current) = current(state, group)
            {
                *token = current;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "one_offset_for_all_names_of_a_group",
        rationale: "A group keeps one number for all its names. A name that is added later is read from \
                that number on, and its earlier events are skipped.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "groups",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Settle { target: Target::Event { group, seq }, .. }, Reply::Settled(Settled::Acked)) =
                (op, &reply)
                && let Some(cursor) = state.groups.get_mut(group)
            {
                for progress in cursor.names.values_mut() {
                    progress.position = *seq;
                }
            }
            reply
        },
    },
    Mutant {
        name: "an_ack_for_a_group_moves_another",
        rationale: "`UPDATE positions SET .. WHERE name = ?`: the group is missing.",
        breaks: "groups_do_not_see_each_other",
        scope: "events-set-aside",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Settle { target: Target::Event { seq, .. }, .. }, Reply::Settled(Settled::Acked)) =
                (op, &reply)
            {
                for progress in state.groups.values_mut().flat_map(|cursor| cursor.names.values_mut()) {
                    progress.position = progress.position.max(*seq);
                }
            }
            reply
        },
    },
    Mutant {
        name: "events_are_acked_out_of_order",
        rationale: "The highest acked number becomes the position, so unsettled events before it are \
                skipped.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "batches-of-events",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (
                Op::Settle { target: Target::Event { group, seq }, how: Settlement::Ack, .. },
                Reply::Refused(Refusal::NotNext { next: Some(next) }),
            ) = (op, &reply)
                && seq > next
                && let Some(LogRow::Event(body)) = state.log.get(seq)
                && let Some(name) = body.name().cloned()
                && let Some(progress) =
                    state.groups.get_mut(group).and_then(|cursor| cursor.names.get_mut(&name))
            {
                *progress = Progress { position: *seq, ..Progress::default() };
                return Reply::Settled(Settled::Acked);
            }
            reply
        },
    },
    Mutant {
        name: "an_event_is_acked_before_it_was_handed_out",
        rationale: "The position may be set to any event of the log, so a consumer that miscounts skips \
                events.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "exhausted-events",
        apply: |state, now, op| {
            if let Op::Settle { target: Target::Event { group, .. }, .. } = op
                && let Some(lease) = state.groups.get_mut(group).and_then(|cursor| cursor.lease.as_mut())
            {
                lease.handed_through = state.head;
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "two_replicas_read_at_once",
        rationale: "One transaction looks up the lease of the cursor, and another one takes it.",
        breaks: "at_most_one_lease_is_current_for_a_delivery",
        scope: "groups",
        apply: |state, now, op| {
            if let Op::Poll { group, token: None, .. } = op
                && let Some(cursor) = state.groups.get_mut(group)
            {
                cursor.due_at = cursor.due_at.min(now);
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_dead_replica_keeps_the_cursor",
        rationale: "The lock on the group is advisory, and only its owner can end it.",
        breaks: "every_group_reaches_every_head_that_was",
        scope: "groups",
        apply: |state, now, op| {
            if let Op::Poll { group, token: None, .. } = op
                && let Some(cursor) = state.groups.get(group)
                && cursor.lease.is_some()
            {
                return Reply::Refused(Refusal::Held { until: cursor.due_at });
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_killer_event_is_never_counted",
        rationale: "Attempts are counted by the nack. A dead worker never sends one.",
        breaks: "a_poison_message_holds_up_others_only_for_a_bounded_number_of_attempts",
        scope: "exhausted-events",
        apply: |state, now, op| {
            if let Op::Poll { group, token: None, .. } = op
                && let Some(cursor) = state.groups.get_mut(group)
            {
                for progress in cursor.names.values_mut() {
                    progress.attempts = 0;
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_poison_event_blocks_its_group",
        rationale: "The group keeps its order by retrying the same event for ever.",
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        scope: "exhausted-events",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Poll { attempts_max, .. } = &mut op {
                *attempts_max = std::num::NonZeroU32::MAX;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "every_poll_of_the_holder_counts",
        rationale: "A replica that polls again while it works uses up the attempts of the event that it \
                works on.",
        breaks: "a_claim_with_maximum_m_never_hands_out_a_command_with_m_attempts",
        scope: "groups",
        apply: |state, now, op| {
            if let Op::Poll { group, token: Some(_), .. } = op
                && let Some(cursor) = state.groups.get_mut(group)
            {
                for progress in cursor.names.values_mut().filter(|progress| progress.attempts > 0) {
                    progress.attempts += 1;
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_poll_skips_what_it_handed_out",
        rationale: "The next poll continues after the last one, whether or not its events were settled.",
        breaks: "each_poll_hands_out_the_lowest_unsettled_numbers",
        scope: "batches-of-events",
        apply: |state, now, op| {
            let Op::Poll { group, token: Some(_), .. } = op else { return contract(state, now, op) };
            let through = state.groups.get(group).and_then(|cursor| cursor.lease).map(|l| l.handed_through);
            let before = state.log.clone();
            if let Some(through) = through {
                state.log.retain(|seq, _| *seq > through);
            }
            let reply = contract(state, now, op);
            state.log = before;
            reply
        },
    },
    Mutant {
        name: "a_new_name_rewinds_the_others",
        rationale: "The subscription is written anew with all its names, and all of them start over.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "names-added",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Subscribe { group, .. }, Reply::Subscribed { position, fresh: true }) = (op, &reply)
                && let Some(cursor) = state.groups.get_mut(group)
            {
                for progress in cursor.names.values_mut() {
                    progress.position = *position;
                }
            }
            reply
        },
    },
    Mutant {
        name: "a_new_name_starts_at_the_head",
        rationale: "A subscription ignores its start and reads new events only.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "names-added",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Subscribe { start: start @ Start::Earliest, .. } = &mut op {
                *start = Start::Latest;
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "an_old_replica_reads_for_the_new_name",
        rationale: "In a rolling deployment the old version polls, does not know the new name, and passes \
                its events.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "names-added",
        apply: |state, now, op| {
            let mut op = op.clone();
            if let Op::Poll { group, names, .. } = &mut op
                && let Some(cursor) = state.groups.get(group)
            {
                names.extend(cursor.names.keys().cloned());
            }
            contract(state, now, &op)
        },
    },
    Mutant {
        name: "an_event_is_dead_lettered_for_all_groups",
        rationale: "An event that one group cannot handle is removed from the log, and the other groups \
                never read it.",
        breaks: "groups_do_not_see_each_other",
        scope: "events-set-aside",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (
                Op::Settle { target: Target::Event { seq, .. }, .. },
                Reply::Settled(Settled::DeadLettered { .. }),
            ) = (op, &reply)
            {
                for progress in state.groups.values_mut().flat_map(|cursor| cursor.names.values_mut()) {
                    progress.position = progress.position.max(*seq);
                }
            }
            reply
        },
    },
    Mutant {
        name: "a_redriven_event_rewinds_its_group",
        rationale: "To deliver one event again, the position is set back, and every later event is \
                delivered again.",
        breaks: "redrive_moves_and_never_copies",
        scope: "entries",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Redrive { .. }, Reply::Redriven(Target::Entry { group, record })) = (op, &reply)
                && let Some(cursor) = state.groups.get_mut(group)
                && let Some(entry) = cursor.entries.remove(record)
                && let Some(name) = entry.body.name()
                && let Some(progress) = cursor.names.get_mut(name)
            {
                progress.position = entry.seq.before();
            }
            reply
        },
    },
    Mutant {
        name: "an_unsubscription_forgets_redriven_events",
        rationale: "Deleting the group's row deletes every row that refers to it.",
        breaks: "every_accepted_command_is_in_exactly_one_place",
        scope: "entries",
        apply: |state, now, op| {
            let reply = contract(state, now, op);
            if let (Op::Unsubscribe { .. }, Reply::Unsubscribed { returned }) = (op, &reply) {
                state.records.retain(|id, _| !returned.contains(id));
            }
            reply
        },
    },
    Mutant {
        name: "a_corrupt_event_is_passed_over",
        rationale: "An event that cannot be decoded is logged and skipped, so that the group is not \
                blocked.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "damaged-events",
        apply: |state, now, op| {
            if let Op::Poll { group, .. } = op {
                let corrupt: Vec<_> = state.log.iter().filter_map(corrupt_name).collect();
                let cursor = state.groups.get_mut(group);
                for ((seq, name), cursor) in corrupt.into_iter().zip(cursor) {
                    if let Some(progress) = cursor.names.get_mut(&name) {
                        progress.position = progress.position.max(seq);
                    }
                }
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "prune_looks_at_one_group",
        rationale: "The log is pruned to the position of one group.",
        breaks: "prune_keeps_what_a_group_still_needs",
        scope: "pruning",
        apply: |state, now, op| {
            let Op::Prune { .. } = op else { return contract(state, now, op) };
            let groups = state.groups.clone();
            let first: Vec<Group> = groups.keys().take(1).cloned().collect();
            state.groups.retain(|group, _| first.contains(group));
            let reply = contract(state, now, op);
            state.groups = groups;
            reply
        },
    },
    Mutant {
        name: "prune_takes_what_is_young",
        rationale: "Events that every group has passed are deleted at once, so a new group that starts at \
                the earliest event misses them.",
        breaks: "prune_keeps_what_a_group_still_needs",
        scope: "pruning",
        apply: |state, now, op| {
            let op = if let Op::Prune { .. } = op { &Op::Prune { retention_ms: 0 } } else { op };
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_number_is_used_again_after_pruning",
        rationale: "The next number is `max(seq) + 1` over the rows of the log.",
        breaks: "sequence_numbers_are_dense_and_never_reused",
        scope: "pruning",
        apply: |state, now, op| {
            if let Op::Publish { .. } = op
                && state.log.is_empty()
            {
                state.head = state.head.before();
                state.first = state.head.plus(1);
            }
            contract(state, now, op)
        },
    },
    Mutant {
        name: "a_seek_does_not_fence",
        rationale: "The position moves while a replica goes on settling from the old one.",
        breaks: "a_position_passes_an_event_only_by_its_settlement",
        scope: "seeking",
        apply: |state, now, op| {
            let Op::Seek { group, .. } = op else { return contract(state, now, op) };
            let lease = state.groups.get(group).and_then(|cursor| cursor.lease);
            let reply = contract(state, now, op);
            if let Some(cursor) = state.groups.get_mut(group) {
                cursor.lease = lease;
            }
            reply
        },
    },
    Mutant {
        name: "a_nack_keeps_the_cursor",
        rationale: "The replica that failed keeps the cursor during its back-off.",
        breaks: "a_stale_token_changes_nothing_and_is_told_so",
        scope: "groups",
        apply: |state, now, op| {
            let lease = |state: &State| match op {
                Op::Settle { target: Target::Event { group, .. }, how: Settlement::Nack { .. }, .. } => {
                    state.groups.get(group).and_then(|cursor: &Cursor| cursor.lease)
                }
                Op::Release { lease: Lease::Cursor(_), .. } => None,
                _ => None,
            };
            let held = lease(state);
            let reply = contract(state, now, op);
            if let (
                Op::Settle { target: Target::Event { group, .. }, .. },
                Reply::Settled(Settled::Requeued { .. }),
            ) = (op, &reply)
                && let Some(cursor) = state.groups.get_mut(group)
            {
                cursor.lease = held;
            }
            reply
        },
    },
];

fn current(state: &State, group: &Group) -> Option<Token> {
    state.groups.get(group)?.lease.map(|lease| lease.token)
}

fn corrupt_name(
    (seq, row): (&crate::vocabulary::Seq, &LogRow),
) -> Option<(crate::vocabulary::Seq, crate::vocabulary::Name)> {
    match row {
        LogRow::Event(Body::Corrupt { name, .. }) => Some((*seq, name.clone())),
        _ => None,
    }
}
