//! G10 to G13 and G15: ids, epochs, transactions, pruning, sequence numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::description;
use crate::ghost::Ghost;
use crate::invariant::records::{is_fresh, is_unreadable};
use crate::invariant::transition::{CheckResult, Transition, ensure};
use crate::op::{Op, Refusal, Reply};
use crate::state::{Body, LogRow, Origin, Remembered, State};
use crate::vocabulary::{Content, Message, MessageId, Seq};

type Ids = BTreeMap<MessageId, Remembered>;

/// G10: under a remembered id, the same content gets the first number, other content is a conflict, and nothing is added.
/// An id is forgotten only after its retention.
pub fn a_remembered_id_is_accepted_once(t: &Transition<'_>) -> CheckResult {
    let mut checked = false;
    let sent = match t.op {
        Op::Send { message, .. } => Some((message, &t.before.command_ids, &t.after.command_ids)),
        Op::Publish { message } => Some((message, &t.before.event_ids, &t.after.event_ids)),
        _ => None,
    };
    if let Some((message, before, after)) = sent
        && *t.reply != Reply::Refused(Refusal::WrongKind)
    {
        checked = message.id.is_some();
        let result = accepts_once(t, message, before, after);
        if let CheckResult::Violated(_) = result {
            return result;
        }
    }
    for (before, after, of_events) in [
        (&t.before.command_ids, &t.after.command_ids, false),
        (&t.before.event_ids, &t.after.event_ids, true),
    ] {
        for (id, known) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
            let accepted = matches!(
                (t.op, t.reply),
                (Op::Send { message, .. } | Op::Publish { message }, Reply::Accepted { seq, fresh: true })
                    if message.id.as_ref() == Some(id) && *seq == known.seq
            );
            ensure!(accepted, "the id {id} was added by \"{}\"", description::operation(t.op));
        }
        for (id, known) in before {
            if let Some(ended_at) = after.get(id).map(|after| after.ended_at) {
                let ends = known.ended_at.is_none() && ended_at == Some(t.now);
                ensure!(
                    ends || ended_at == known.ended_at,
                    "the end of the id {id} changed from {:?} to {ended_at:?}",
                    known.ended_at
                );
            }
            if after.get(id).is_some_and(|after| after.seq == known.seq && after.content == known.content) {
                continue;
            }
            let may = match t.op {
                Op::ForgetIds { retention_ms } => {
                    known.ended_at.is_some_and(|at| at.plus(*retention_ms) <= t.now)
                        && !(of_events && copied(t.before, known.seq))
                }
                Op::Reset { .. } => of_events,
                _ => false,
            };
            ensure!(may, "the id {id} was forgotten or changed by \"{}\"", description::operation(t.op));
            checked = true;
        }
    }
    if let (Op::ForgetIds { retention_ms }, Reply::Forgotten { ids }) = (t.op, t.reply) {
        let size = |state: &State| (state.command_ids.len() + state.event_ids.len()) as u64;
        let forgotten = size(t.before).checked_sub(size(t.after));
        ensure!(
            forgotten == Some(*ids),
            "the reply says that {ids} ids were forgotten, which is another number"
        );
        let over = |known: &Remembered| known.ended_at.is_some_and(|at| at.plus(*retention_ms) <= t.now);
        let left = t.after.command_ids.values().filter(|known| over(known)).count();
        ensure!(left == 0, "{left} ids are remembered after their retention");
        let held = |known: &Remembered| over(known) && !copied(t.after, known.seq);
        ensure!(!t.after.event_ids.values().any(held), "an event's id is remembered after its retention");
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

fn accepts_once(t: &Transition<'_>, message: &Message, before: &Ids, after: &Ids) -> CheckResult {
    let known = message.id.as_ref().and_then(|id| before.get(id));
    match known {
        Some(known) => {
            let same = known.content == Content::of(message);
            let expected = if same {
                Reply::Accepted { seq: known.seq, fresh: false }
            } else {
                Reply::Refused(Refusal::Conflict { seq: known.seq })
            };
            ensure!(*t.reply == expected, "{} was answered {:?} and not {expected:?}", message.name, t.reply);
            ensure!(t.before == t.after, "a remembered id changed the state");
        }
        None => {
            let Reply::Accepted { seq, fresh: true } = t.reply else {
                return CheckResult::Violated(format!("a new message was answered {:?}", t.reply));
            };
            if let Some(id) = &message.id {
                let is = after.get(id).is_some_and(|known| {
                    known.seq == *seq && known.content == Content::of(message) && known.ended_at.is_none()
                });
                ensure!(is, "the id {id} was accepted but is not remembered");
            }
        }
    }
    CheckResult::Held
}

/// Whether a record or an entry holds a copy of this event.
fn copied(state: &State, seq: Seq) -> bool {
    let set_aside = |origin: &Origin| matches!(origin, Origin::Log { epoch, seq: of, .. } if *epoch == state.epoch && *of == seq);
    state.records.values().any(|record| set_aside(&record.origin))
        || state.groups.values().any(|cursor| cursor.entries.values().any(|entry| entry.seq == seq))
}

/// G10: the id of a message that is ready, leased, dead, parked or in the log is remembered without an end.
pub fn the_id_of_what_is_there_is_remembered(state: &State, ghost: &Ghost) -> CheckResult {
    let mut checked = false;
    for (seq, message) in &ghost.sent {
        let Some(id) = &message.id else { continue };
        if ghost.ended.contains(seq) {
            let ended =
                state.command_ids.get(id).is_none_or(|known| known.seq != *seq || known.ended_at.is_some());
            ensure!(ended, "command {seq} has ended, but its id {id} will never be forgotten");
            continue;
        }
        checked = true;
        let known = state.command_ids.get(id);
        ensure!(
            known.is_some_and(|known| known.seq == *seq && known.ended_at.is_none()),
            "command {seq} is there, but its id {id} is not remembered"
        );
    }
    for (seq, row) in &state.log {
        let Some(message) = ghost.published.get(&(state.epoch, *seq)) else { continue };
        let (Some(id), LogRow::Event(_)) = (&message.id, row) else { continue };
        checked = true;
        let known = state.event_ids.get(id);
        ensure!(
            known.is_some_and(|known| known.seq == *seq && known.ended_at.is_none()),
            "event {seq} is there, but its id {id} is not remembered"
        );
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// G11: an epoch begins by a compare-and-swap or a restore, and never twice. Holders are fenced, and records stay.
pub fn a_retired_epoch_moves_nothing(t: &Transition<'_>) -> CheckResult {
    let (next, is_reset) = match t.op {
        Op::Reset { next, .. } => (*next, true),
        Op::Restore { next } => (*next, false),
        _ => {
            ensure!(
                t.before.epoch == t.after.epoch,
                "the epoch was changed by \"{}\"",
                description::operation(t.op)
            );
            let kept = t.before.epochs_retired == t.after.epochs_retired;
            ensure!(kept, "the retired epochs were changed by \"{}\"", description::operation(t.op));
            return redrive_of_a_retired_epoch(t);
        }
    };
    let expected = match t.op {
        Op::Reset { expected, .. } if *expected != t.before.epoch => {
            Some(Refusal::EpochMismatch { current: t.before.epoch })
        }
        Op::Restore { .. } if t.ghost.epochs.iter().any(|used| next <= *used) => Some(Refusal::EpochRetired),
        _ if t.ghost.epochs.contains(&next) => Some(Refusal::EpochRetired),
        _ => None,
    };
    if let Some(refusal) = expected {
        ensure!(
            *t.reply == Reply::Refused(refusal.clone()),
            "\"{}\" was answered {}",
            description::operation(t.op),
            description::reply(t.reply)
        );
        ensure!(t.before == t.after, "a refused epoch changed the state");
        return CheckResult::Held;
    }
    ensure!(
        matches!(t.reply, Reply::EpochBegun { .. }),
        "\"{}\" was answered {}",
        description::operation(t.op),
        description::reply(t.reply)
    );
    ensure!(t.after.epoch == next, "the epoch is {} and not {next}", t.after.epoch);
    ensure!(t.after.epochs_retired.contains(&t.before.epoch), "epoch {} was not retired", t.before.epoch);
    ensure!(t.after.head == t.before.head, "a new epoch moved the head");
    for (group, cursor) in &t.after.groups {
        ensure!(cursor.lease.is_none(), "the holder of {group} was not fenced");
        ensure!(!is_reset || cursor.entries.is_empty(), "{group} keeps entries of a retired epoch");
        let begins = cursor.names.values().all(|progress| progress.position == t.after.head);
        ensure!(!is_reset || begins, "{group} does not begin where the new epoch does");
    }
    let names = |state: &State| -> Vec<_> {
        let of = |(group, cursor): (&crate::vocabulary::Group, &crate::state::Cursor)| {
            (group.clone(), cursor.names.keys().cloned().collect::<Vec<_>>())
        };
        state.groups.iter().map(of).collect()
    };
    ensure!(names(t.before) == names(t.after), "a new epoch changed what groups read");
    ensure!(t.before.queue == t.after.queue, "a new epoch of the log changed the queue");
    if is_reset {
        ensure!(t.after.log.is_empty(), "events of a retired epoch are kept");
        ensure!(t.after.event_ids.is_empty(), "event ids of a retired epoch are remembered");
        ensure!(entries(t.before) + t.before.records.len() == t.after.records.len(), "a reset lost records");
    } else {
        ensure!(t.before.log == t.after.log, "a restore changed the log");
        ensure!(t.before.event_ids == t.after.event_ids, "a restore changed the event ids");
        ensure!(entries(t.before) == entries(t.after), "a restore lost entries");
        for (id, record) in &t.before.records {
            let Origin::Log { epoch, seq, group } = &record.origin else { continue };
            let epoch = if *epoch == t.before.epoch { next } else { *epoch };
            let origin = Origin::Log { epoch, seq: *seq, group: group.clone() };
            let follows = t.after.records.get(id).is_some_and(|after| after.origin == origin);
            ensure!(follows, "record {id} did not follow into epoch {epoch}");
        }
    }
    CheckResult::Held
}

fn entries(state: &State) -> usize {
    state.groups.values().map(|cursor| cursor.entries.len()).sum()
}

fn redrive_of_a_retired_epoch(t: &Transition<'_>) -> CheckResult {
    let Op::Redrive { record } = t.op else { return CheckResult::Vacuous };
    let Some(record) = t.before.records.get(record) else { return CheckResult::Vacuous };
    match &record.origin {
        Origin::Log { epoch, .. } if *epoch != t.before.epoch && record.body.is_sound() => {
            let refused = *t.reply == Reply::Refused(Refusal::EpochRetired);
            ensure!(
                refused,
                "the redrive of a record of the retired epoch {epoch} was answered {:?}",
                t.reply
            );
            ensure!(t.before == t.after, "a record of a retired epoch changed the state");
            CheckResult::Held
        }
        _ => CheckResult::Vacuous,
    }
}

/// G12, from outside: a transaction that is refused leaves nothing behind. That one which is not does what its parts
/// do one by one is checked where one can look inside.
pub fn a_refused_transaction_leaves_nothing(t: &Transition<'_>) -> CheckResult {
    let Op::Atomic(_) = t.op else { return CheckResult::Vacuous };
    let aborted = matches!(t.reply, Reply::Refused(Refusal::Aborted { .. }));
    ensure!(aborted, "a transaction was answered {:?}", t.reply);
    ensure!(t.before == t.after, "a transaction was refused, but a part of it took effect");
    CheckResult::Held
}

/// G13: pruning removes from the front only, and only events that are old and that no subscribed group needs. It stops at
/// the first event that is young or needed.
pub fn prune_keeps_what_a_group_still_needs(t: &Transition<'_>) -> CheckResult {
    let Op::Prune { retention_ms } = t.op else {
        let may = matches!(t.op, Op::Reset { .. });
        ensure!(
            may || t.before.first == t.after.first,
            "the front of the log was moved by \"{}\"",
            description::operation(t.op)
        );
        return CheckResult::Vacuous;
    };
    let Reply::Pruned { first, removed, .. } = t.reply else {
        return CheckResult::Violated(format!("prune was answered {:?}", t.reply));
    };
    ensure!(*first == t.after.first, "the reply says that {first} is the first number, which is not so");
    ensure!(
        t.before.first.plus(*removed) == *first,
        "the reply says that {removed} numbers were removed, which is not so"
    );
    let may_go = |seq: Seq, row: &LogRow| {
        let LogRow::Event(body) = row else { return true };
        let old = match body {
            Body::Sound { at, .. } => at.plus(*retention_ms) <= t.now,
            _ => true,
        };
        let needs = t.before.groups.values().any(|cursor| {
            let progress = body.name().and_then(|name| cursor.names.get(name));
            progress.is_some_and(|progress| progress.position < seq)
        });
        old && !needs
    };
    for (seq, row) in t.before.log.range(..*first) {
        ensure!(may_go(*seq, row), "event {seq} was pruned but is still needed or young");
    }
    if let Some((seq, row)) = t.before.log.range(*first..).next() {
        ensure!(!may_go(*seq, row), "event {seq} was kept, although it is old and no group needs it");
    }
    for (seq, row) in &t.before.log {
        let kept = t.after.log.get(seq) == Some(row);
        ensure!(kept || seq < first, "event {seq} was changed by prune");
    }
    if t.before.log.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}

/// G15: a new message gets the next number. Nothing else moves the counters.
pub fn numbers_go_on_one_by_one(t: &Transition<'_>) -> CheckResult {
    let (queue_last, head) = match (t.op, t.reply) {
        (Op::Send { .. }, Reply::Accepted { seq, fresh: true }) => (Some(*seq), None),
        (Op::Publish { .. }, Reply::Accepted { seq, fresh: true }) => (None, Some(*seq)),
        _ => (None, None),
    };
    for (of, new, before, after) in [
        ("queue", queue_last, t.before.queue_last, t.after.queue_last),
        ("log", head, t.before.head, t.after.head),
    ] {
        let expected = if new.is_some() { before.plus(1) } else { before };
        ensure!(new.is_none_or(|new| new == expected), "the {of} gave number {new:?} after {before}");
        ensure!(after == expected, "the last number of the {of} went from {before} to {after}");
    }
    for (seq, before) in &t.before.log {
        let Some(after) = t.after.log.get(seq).filter(|after| *after != before) else { continue };
        let surfaced = *after == LogRow::Tombstone && is_unreadable(before);
        ensure!(surfaced, "the event of number {seq} was changed by \"{}\"", description::operation(t.op));
    }
    let fresh = match t.op {
        Op::Send { message, .. } => {
            let fresh = |seq| t.after.queue.get(&seq).filter(|command| is_fresh(command));
            queue_last.map(|seq| (seq, message, fresh(seq).map(|command| &command.body)))
        }
        Op::Publish { message } => head.map(|seq| {
            let body = t.after.log.get(&seq).and_then(|row| match row {
                LogRow::Event(body) => Some(body),
                LogRow::Tombstone => None,
            });
            (seq, message, body)
        }),
        _ => None,
    };
    if let Some((seq, message, body)) = fresh {
        let is = body == Some(&Body::Sound { message: Arc::clone(message), at: t.now });
        ensure!(is, "the message that was accepted as {seq} is not stored as it was sent");
    }
    if let Some(seq) = head {
        let reused = t.ghost.published.contains_key(&(t.before.epoch, seq));
        ensure!(!reused, "number {seq} of epoch {} was used before", t.before.epoch);
    }
    let (last, now_last) = (t.before.record_last, t.after.record_last);
    ensure!(now_last >= last, "the record counter went back");
    for id in t.after.records.keys().filter(|id| !t.before.records.contains_key(*id)) {
        let was_entry = t.before.groups.values().any(|cursor| cursor.entries.contains_key(id));
        ensure!(was_entry || *id > last, "record {id} is new, and {last} was the last number before it");
        ensure!(*id <= now_last, "record {id} is new, and {now_last} is the last number");
    }
    if queue_last.or(head).is_some() { CheckResult::Held } else { CheckResult::Vacuous }
}

/// G15: the log has a row for every number from its first to its head.
pub fn the_log_is_complete(state: &State, _: &Ghost) -> CheckResult {
    let mut expected = state.first;
    for seq in state.log.keys() {
        ensure!(*seq == expected, "the log has {seq} where {expected} should be");
        expected = expected.plus(1);
    }
    ensure!(expected == state.head.plus(1), "the log ends before its head {}", state.head);
    if state.log.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}
