//! G1, G5 and G14: no message is lost, no corrupt row is handled, no message is copied.

use crate::description;
use crate::ghost::Ghost;
use crate::invariant::repairs;
use crate::invariant::transition::{CheckResult, Transition, ensure};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Body, Cause, Command, Entry, LogRow, Origin, Place, State};
use crate::vocabulary::{Group, Message, Raw, RecordId, Seq};

/// G1: a command is ready, leased, dead or parked, or has ended; and it is the message that was sent.
pub fn every_accepted_command_is_in_exactly_one_place(state: &State, ghost: &Ghost) -> CheckResult {
    for (seq, message) in &ghost.sent {
        let set_aside = state.records.values().filter(|record| record.origin == Origin::Queue { seq: *seq });
        let bodies: Vec<&Body> = state.queue.get(seq).map(|command| &command.body).into_iter().collect();
        let bodies: Vec<&Body> = bodies.into_iter().chain(set_aside.map(|record| &record.body)).collect();
        let ended = usize::from(ghost.ended.contains(seq));
        let places = bodies.len() + usize::from(state.unreadable.contains_key(seq)) + ended;
        ensure!(places == 1, "command {seq} is in {places} places");
        for body in bodies {
            let Body::Sound { message: is, .. } = body else { continue };
            ensure!(is == message, "command {seq} is not what was sent");
        }
    }
    for seq in state.queue.keys() {
        ensure!(ghost.sent.contains_key(seq), "command {seq} was never sent");
    }
    if ghost.sent.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}

/// G1: a message that is set aside keeps its attempts and its last reason. Only a purge or a redrive removes a record, and
/// only a repair changes one (G5 checks how).
pub fn nothing_is_lost_on_the_way(t: &Transition<'_>) -> CheckResult {
    let mut checked = false;
    for id in named_records(t.reply) {
        checked = true;
        let Some(record) = t.after.records.get(&id) else {
            return CheckResult::Violated(format!("record {id} was named but is not there"));
        };
        ensure!(record.at == t.now, "record {id} was not moved now");
    }
    let made: Vec<RecordId> =
        t.after.records.keys().filter(|id| !t.before.records.contains_key(*id)).copied().collect();
    let mut named = named_records(t.reply);
    named.sort();
    ensure!(named == made, "records {made:?} were made, but the reply names {named:?}");
    for (id, before) in &t.before.records {
        let gone = matches!(t.op, Op::Purge { record } | Op::Redrive { record } if record == id)
            && !matches!(t.reply, Reply::Refused(_));
        let repaired =
            matches!((t.op, t.reply), (Op::Repair { record, .. }, Reply::Repaired { .. }) if record == id);
        let restored = matches!((t.op, t.reply), (Op::Restore { .. }, Reply::EpochBegun { .. }));
        let same = t.after.records.get(id).is_some_and(|after| {
            let mut expected = before.clone();
            // What may be another after these, they are checked by.
            if repaired && !before.body.is_sound() {
                expected.body = after.body.clone();
            }
            if restored {
                expected.origin = after.origin.clone();
            }
            *after == expected
        });
        ensure!(same || gone, "record {id} was changed or lost by \"{}\"", description::operation(t.op));
    }
    if let (Op::Settle { target, how, .. }, Reply::Settled(settled)) = (t.op, t.reply) {
        checked = true;
        let result = settlement_keeps_everything(t, target, how, settled);
        if let CheckResult::Violated(_) = result {
            return result;
        }
    }
    if let (Op::Purge { record }, Reply::Purged) = (t.op, t.reply) {
        ensure!(!t.after.records.contains_key(record), "record {record} was purged but is there");
        checked = true;
    }
    let result = entries_and_events_keep_everything(t);
    if let CheckResult::Violated(_) = result {
        return result;
    }
    for seq in t.before.unreadable.keys().filter(|seq| !t.after.unreadable.contains_key(seq)) {
        let origin = Origin::Queue { seq: *seq };
        let set_aside = t.after.records.values().find(|record| record.origin == origin);
        let right =
            set_aside.is_some_and(|record| record.place == Place::Dead && record.cause == Cause::Corrupt);
        ensure!(right, "command {seq} could not be read, and was not moved to the dead as corrupt");
    }
    for (seq, before) in &t.before.queue {
        if let Some(after) = t.after.queue.get(seq) {
            let nacked = matches!(t.op, Op::Settle { target: Target::Command(of), .. } if of == seq);
            ensure!(after.body == before.body, "command {seq} became another message");
            ensure!(nacked || after.reason == before.reason, "the reason of command {seq} was changed");
            continue;
        }
        checked = true;
        let origin = Origin::Queue { seq: *seq };
        let set_aside = t.after.records.values().find(|record| record.origin == origin);
        let Some(record) = set_aside else { continue };
        let reason = reason_of(t.op).or(before.reason.clone());
        ensure!(record.body == before.body, "command {seq} was set aside as another message");
        ensure!(record.attempts == before.attempts, "command {seq} lost its attempts on the way");
        ensure!(record.reason == reason, "command {seq} was set aside for {:?}", record.reason);
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// An entry that leaves its group unhandled, and an event that is set aside for a group, keep their attempts and their last
/// reason. The reason of a nack stays with its own event.
fn entries_and_events_keep_everything(t: &Transition<'_>) -> CheckResult {
    for (group, before) in &t.before.groups {
        let after = t.after.groups.get(group);
        for (id, entry) in &before.entries {
            if let Some(is) = after.and_then(|after| after.entries.get(id)) {
                let allowed = may_change(t, group, *id);
                ensure!(
                    allowed || is == entry,
                    "entry {id} of {group} was changed by \"{}\"",
                    description::operation(t.op)
                );
                let nacked = matches!(t.op, Op::Settle { .. });
                ensure!(
                    is.body == entry.body && is.seq == entry.seq && (nacked || is.reason == entry.reason),
                    "entry {id} of {group} became another"
                );
            }
            let Some(record) = t.after.records.get(id) else {
                let stays = after.is_some_and(|after| after.entries.contains_key(id));
                let handled = matches!(
                    (t.op, t.reply),
                    (Op::Settle { target: Target::Entry { group: by, record }, .. }, Reply::Settled(Settled::Acked | Settled::Dropped))
                        if by == group && record == id
                );
                ensure!(
                    stays || handled,
                    "entry {id} of {group} was lost by \"{}\"",
                    description::operation(t.op)
                );
                continue;
            };
            let reason = reason_of(t.op).or(entry.reason.clone());
            ensure!(record.attempts == entry.attempts, "entry {id} of {group} lost its attempts on the way");
            ensure!(record.reason == reason, "entry {id} of {group} was set aside for {:?}", record.reason);
            ensure!(record.body == entry.body, "entry {id} of {group} was set aside as another message");
            let origin = Origin::Log { epoch: t.before.epoch, seq: entry.seq, group: Some(group.clone()) };
            ensure!(record.origin == origin, "entry {id} of {group} was set aside as {:?}", record.origin);
        }
        if let (Op::Unsubscribe { group: left, name }, Reply::Unsubscribed { returned }) = (t.op, t.reply)
            && left == group
        {
            let ends = before.names.len() == 1;
            let leaves = before.entries.iter().filter(|(_, entry)| ends || entry.body.name() == Some(name));
            ensure!(leaves.map(|(id, _)| id).eq(returned), "{group} returned {returned:?} with {name}");
        }
        for (name, was) in &before.names {
            let Some(is) = after.and_then(|after| after.names.get(name)) else { continue };
            let nacked = matches!(
                (t.op, t.reply),
                (Op::Settle { target: Target::Event { group: by, seq }, .. }, Reply::Settled(Settled::Requeued { .. }))
                    if by == group && matches!(t.before.log.get(seq), Some(LogRow::Event(body)) if body.name() == Some(name))
            );
            let sought = matches!((t.op, t.reply), (Op::Seek { group: by, name: of, .. }, Reply::Sought) if by == group && of == name);
            let anew = is.position != was.position || sought;
            let reset = matches!((t.op, t.reply), (Op::Reset { .. }, Reply::EpochBegun { .. }));
            ensure!(
                is.reason == was.reason || nacked || anew || reset,
                "the reason of {group} for {name} was changed"
            );
            ensure!(
                !(anew || reset) || is.reason.is_none(),
                "{group} keeps the reason of the last {name} for the next one"
            );
        }
    }
    for (group, after) in &t.after.groups {
        let before = t.before.groups.get(group);
        for id in
            after.entries.keys().filter(|id| before.is_none_or(|before| !before.entries.contains_key(id)))
        {
            let redriven = matches!(
                (t.op, t.reply),
                (Op::Redrive { record: of }, Reply::Redriven(Target::Entry { group: to, record }))
                    if of == id && record == id && to == group
            );
            ensure!(redriven, "entry {id} of {group} was added by \"{}\"", description::operation(t.op));
        }
    }
    for (id, record) in &t.after.records {
        let Origin::Log { seq, group: Some(group), .. } = &record.origin else { continue };
        let known = t.before.records.contains_key(id);
        let was_entry = t.before.groups.get(group).is_some_and(|cursor| cursor.entries.contains_key(id));
        let Some(LogRow::Event(body)) = t.before.log.get(seq).filter(|_| !known && !was_entry) else {
            continue;
        };
        let progress = t.before.groups.get(group).and_then(|cursor| cursor.names.get(body.name()?));
        let next = progress.is_some_and(|progress| is_next(t, progress.position, *seq, body));
        if let Some(progress) = progress.filter(|_| next) {
            let reason = reason_of(t.op).or(progress.reason.clone());
            let attempts = record.attempts;
            ensure!(
                attempts == progress.attempts,
                "event {seq} of {group} was set aside with {attempts} attempts"
            );
            ensure!(record.reason == reason, "event {seq} of {group} was set aside for {:?}", record.reason);
        }
    }
    CheckResult::Held
}

/// Whether this operation may change this entry in place.
fn may_change(t: &Transition<'_>, group: &Group, id: RecordId) -> bool {
    let this = |target: &Target| matches!(target, Target::Entry { group: by, record } if by == group && *record == id);
    match (t.op, t.reply) {
        (Op::Poll { .. }, Reply::HandedOut { deliveries, .. }) => {
            deliveries.iter().any(|delivery| this(&delivery.target))
        }
        (Op::Settle { target, .. }, Reply::Settled(_)) => this(target),
        (Op::Release { lease, .. }, Reply::Released) => *lease == Lease::Cursor(group.clone()),
        _ => false,
    }
}

/// Whether an event is the next of its name for a group at this position.
fn is_next(t: &Transition<'_>, position: Seq, seq: Seq, body: &Body) -> bool {
    let named = |row: &LogRow| matches!(row, LogRow::Event(other) if other.name() == body.name());
    let first = t.before.log.range(position.plus(1)..).find(|(_, row)| named(row));
    first.is_some_and(|(first, _)| *first == seq)
}

/// The reason that a settlement gives.
fn reason_of(op: &Op) -> Option<crate::vocabulary::Reason> {
    match op {
        Op::Settle { how, .. } => match how {
            Settlement::Nack { reason, .. }
            | Settlement::DeadLetter { reason }
            | Settlement::Park { reason } => Some(reason.clone()),
            Settlement::Ack | Settlement::Drop => None,
        },
        _ => None,
    }
}

/// The records that a reply names as made or returned.
fn named_records(reply: &Reply) -> Vec<RecordId> {
    match reply {
        Reply::HandedOut { dead_lettered, .. } | Reply::Pruned { dead_lettered, .. } => dead_lettered.clone(),
        Reply::Settled(Settled::DeadLettered { record } | Settled::Parked { record }) => vec![*record],
        Reply::Unsubscribed { returned } | Reply::EpochBegun { returned } => returned.clone(),
        _ => Vec::new(),
    }
}

fn settlement_keeps_everything(
    t: &Transition<'_>,
    target: &Target,
    how: &Settlement,
    settled: &Settled,
) -> CheckResult {
    let (record, place) = match settled {
        Settled::DeadLettered { record } => (record, Place::Dead),
        Settled::Parked { record } => (record, Place::Parked),
        Settled::Requeued { .. } => {
            let kept = match target {
                Target::Command(seq) => t.after.queue.get(seq).and_then(|command| command.reason.clone()),
                Target::Entry { group, record } => {
                    t.after.groups.get(group).and_then(|cursor| cursor.entries.get(record)?.reason.clone())
                }
                Target::Event { group, seq } => t.after.groups.get(group).and_then(|cursor| {
                    let LogRow::Event(body) = t.after.log.get(seq)? else { return None };
                    cursor.names.get(body.name()?)?.reason.clone()
                }),
            };
            ensure!(kept == reason_of(t.op), "the nack's reason was not kept: {kept:?}");
            return CheckResult::Held;
        }
        Settled::Acked | Settled::Dropped => {
            let fits = matches!(
                (how, settled),
                (Settlement::Ack, Settled::Acked) | (Settlement::Drop, Settled::Dropped)
            );
            ensure!(fits, "{how:?} was answered {settled:?}");
            let gone = match target {
                Target::Command(seq) => !t.after.queue.contains_key(seq),
                Target::Entry { group, record } => {
                    t.after.groups.get(group).is_some_and(|cursor| !cursor.entries.contains_key(record))
                }
                Target::Event { .. } => true,
            };
            ensure!(gone, "{target:?} was settled as {settled:?} but is still there");
            return CheckResult::Held;
        }
    };
    let Some(record) = t.after.records.get(record) else { return CheckResult::Vacuous };
    let cause = match how {
        Settlement::Nack { .. } => Cause::AttemptsExhausted,
        _ => Cause::Settled,
    };
    ensure!(record.place == place, "{target:?} was settled as {settled:?} but is {:?}", record.place);
    ensure!(
        record.cause == cause,
        "{target:?} was set aside by {how:?}, but its cause is {:?}",
        record.cause
    );
    ensure!(record.reason == reason_of(t.op), "{target:?} was set aside for {:?}", record.reason);
    CheckResult::Held
}

/// G5: a sound delivery is the message that was sent. A damaged row is delivered as corrupt, and cannot be acked, dropped
/// or cancelled.
pub fn a_corrupt_row_never_reaches_a_handler(t: &Transition<'_>) -> CheckResult {
    if let Op::Repair { .. } = t.op {
        return repairs::a_repair_replaces_only_what_cannot_be_read(t);
    }
    let mut checked = false;
    if let Reply::HandedOut { deliveries, .. } = t.reply {
        for delivery in deliveries {
            let (sent, damaged) = match &delivery.target {
                Target::Command(seq) => (t.ghost.sent.get(seq), t.ghost.damaged_commands.get(seq)),
                of_group => (
                    repaired(t.ghost, of_group)
                        .or_else(|| t.ghost.published.get(&(t.before.epoch, delivery.seq))),
                    t.ghost.damaged_events.get(&delivery.seq),
                ),
            };
            let is_entry = matches!(delivery.target, Target::Entry { .. });
            ensure!(
                row_of(t.after, &delivery.target) == Some((delivery.seq, &delivery.body)),
                "what was delivered as {:?} differs from its row",
                delivery.target
            );
            if let Target::Command(seq) = &delivery.target {
                let noted = t.after.queue.get(seq).and_then(|command| Some(command.lease?.corrupt));
                ensure!(
                    noted == Some(!delivery.body.is_sound()),
                    "the lease of {seq} does not say whether its delivery was corrupt"
                );
            }
            match &delivery.body {
                Body::Sound { message, .. } => {
                    ensure!(sent == Some(message), "{} was delivered but not sent", delivery.seq);
                    ensure!(damaged.is_none() || is_entry, "{} is damaged but was delivered", delivery.seq);
                }
                Body::Corrupt { raw, .. } => {
                    checked = true;
                    ensure!(
                        damaged == Some(raw),
                        "{} was delivered with the columns of another row",
                        delivery.seq
                    );
                }
                Body::Unreadable { .. } => {
                    return CheckResult::Violated(format!(
                        "{} cannot be read but was delivered",
                        delivery.seq
                    ));
                }
            }
        }
    }
    if let (Op::Claim { max, .. }, Reply::HandedOut { dead_lettered, .. }) = (t.op, t.reply) {
        let surfaced = t.before.unreadable.len().saturating_sub(t.after.unreadable.len());
        let expected = t.before.unreadable.len().min(max.get() as usize);
        ensure!(surfaced == expected, "{surfaced} unreadable commands were dead-lettered, not {expected}");
        ensure!(
            dead_lettered.len() >= surfaced,
            "unreadable commands were dead-lettered, but the reply lacks their records"
        );
        checked |= expected > 0;
    }
    if let (Op::Poll { max, .. }, Reply::HandedOut { dead_lettered, .. }) = (t.op, t.reply)
        && polls(t)
    {
        let count = |state: &State| state.log.values().filter(|row| is_unreadable(row)).count();
        let (before, after) = (count(t.before), count(t.after));
        let expected = before - before.min(max.get() as usize);
        ensure!(after == expected, "{after} unreadable events are left, not {expected}");
        ensure!(
            dead_lettered.len() >= before - after,
            "unreadable events were dead-lettered, but the reply lacks their records"
        );
        checked |= before > 0;
    }
    match (t.op, t.reply) {
        (Op::Settle { target, .. }, Reply::Settled(Settled::Acked | Settled::Dropped)) => {
            ensure!(
                !handed_corrupt(t.before, target),
                "{target:?} could not be decoded but was acked or dropped"
            );
        }
        (
            Op::Settle { target, how: Settlement::Ack | Settlement::Drop, .. },
            Reply::Refused(Refusal::Corrupt),
        ) => {
            checked = true;
            let known = handed_corrupt(t.before, target)
                || matches!(target, Target::Command(seq) if t.before.unreadable.contains_key(seq));
            ensure!(known, "{target:?} was handed out as sound but cannot be acked");
        }
        (Op::Cancel { seq }, Reply::Cancelled) => {
            ensure!(!t.ghost.damaged_commands.contains_key(seq), "{seq} is damaged but was cancelled");
        }
        _ => {}
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// The number and the content of the row of a delivery.
fn row_of<'a>(state: &'a State, target: &Target) -> Option<(Seq, &'a Body)> {
    match target {
        Target::Command(seq) => Some((*seq, &state.queue.get(seq)?.body)),
        Target::Event { seq, .. } => match state.log.get(seq)? {
            LogRow::Event(body) => Some((*seq, body)),
            LogRow::Tombstone => None,
        },
        Target::Entry { group, record } => {
            let entry = state.groups.get(group)?.entries.get(record)?;
            Some((entry.seq, &entry.body))
        }
    }
}

/// The message that repaired a group's copy of an event.
fn repaired<'a>(ghost: &'a Ghost, target: &Target) -> Option<&'a std::sync::Arc<Message>> {
    match target {
        Target::Entry { record, .. } => ghost.repaired_events.get(record),
        _ => None,
    }
}

/// Whether a poll read the log.
fn polls(t: &Transition<'_>) -> bool {
    let Op::Poll { group, token, .. } = t.op else { return false };
    t.before.groups.get(group).is_some_and(|cursor| token.is_some() || cursor.due_at <= t.now)
}

pub(super) fn is_unreadable(row: &LogRow) -> bool {
    matches!(row, LogRow::Event(Body::Unreadable { .. }))
}

/// Whether the delivery under the current lease was corrupt.
fn handed_corrupt(state: &State, target: &Target) -> bool {
    match target {
        Target::Command(seq) => {
            state.queue.get(seq).and_then(|command| command.lease).is_some_and(|lease| lease.corrupt)
        }
        Target::Event { group, seq } => state
            .groups
            .get(group)
            .and_then(|cursor| cursor.lease)
            .is_some_and(|lease| lease.corrupt == Some(*seq)),
        Target::Entry { group, record } => state
            .groups
            .get(group)
            .and_then(|cursor| cursor.entries.get(record))
            .is_some_and(|entry| !entry.body.is_sound()),
    }
}

/// G5: every damaged row is in the queue, the log or the records, with every byte that was left.
pub fn a_corrupt_row_never_vanishes(state: &State, ghost: &Ghost) -> CheckResult {
    let keeps = |raw: &Raw, body: &Body| matches!(body, Body::Corrupt { raw: kept, .. } | Body::Unreadable { raw: kept } if kept == raw);
    let set_aside = |raw: &Raw, of: &dyn Fn(&Origin) -> bool| {
        state.records.values().any(|record| of(&record.origin) && keeps(raw, &record.body))
    };
    for (seq, raw) in &ghost.damaged_commands {
        let waits = state.queue.get(seq).is_some_and(|command| keeps(raw, &command.body))
            || state.unreadable.get(seq) == Some(raw);
        let origin = |origin: &Origin| *origin == Origin::Queue { seq: *seq };
        ensure!(waits || set_aside(raw, &origin), "what was left of command {seq} has vanished");
    }
    for (seq, raw) in &ghost.damaged_events {
        let stands = matches!(state.log.get(seq), Some(LogRow::Event(body)) if keeps(raw, body));
        let origin = |origin: &Origin| matches!(origin, Origin::Log { seq: of, .. } if of == seq);
        ensure!(stands || set_aside(raw, &origin), "what was left of event {seq} has vanished");
    }
    let checked = !ghost.damaged_commands.is_empty() || !ghost.damaged_events.is_empty();
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// G14: a redrive removes the record, and puts the message, without attempts, into the one place that the reply names.
/// Nothing else changes.
pub fn redrive_moves_and_never_copies(t: &Transition<'_>) -> CheckResult {
    let Op::Redrive { record: id } = t.op else { return CheckResult::Vacuous };
    let Some(record) = t.before.records.get(id) else {
        ensure!(
            *t.reply == Reply::Refused(Refusal::NotFound),
            "there is no record {id}, but its redrive was answered {:?}",
            t.reply
        );
        return CheckResult::Vacuous;
    };
    if !record.body.is_sound() {
        ensure!(*t.reply == Reply::Refused(Refusal::Corrupt), "a corrupt record was redriven: {:?}", t.reply);
    }
    if let Reply::Refused(refusal) = t.reply {
        ensure!(t.before == t.after, "a refused redrive changed the state");
        let may = match (&record.origin, refusal) {
            (_, Refusal::Corrupt) => !record.body.is_sound(),
            (Origin::Log { epoch, .. }, Refusal::EpochRetired) => *epoch != t.before.epoch,
            (Origin::Log { group, .. }, Refusal::NotSubscribed) => {
                let cursor = group.as_ref().and_then(|group| t.before.groups.get(group));
                let reads = |name| cursor.is_some_and(|cursor| cursor.names.contains_key(name));
                !record.body.name().is_some_and(reads)
            }
            _ => false,
        };
        ensure!(may, "record {id} could be redriven but was refused: {refusal:?}");
        return CheckResult::Held;
    }
    ensure!(!t.after.records.contains_key(id), "record {id} was redriven but is still there");
    let others = |state: &State| -> usize {
        let entries: usize = state.groups.values().map(|cursor| cursor.entries.len()).sum();
        state.queue.len() + state.records.len() + entries
    };
    ensure!(others(t.before) == others(t.after), "a redrive made or lost a message");
    let before = record;
    let back = match (&record.origin, t.reply) {
        (Origin::Queue { seq }, Reply::Redriven(Target::Command(to))) if to == seq => {
            fresh_command(t.after, *seq, &record.body)
        }
        (Origin::Log { seq, group, epoch }, Reply::Redriven(Target::Entry { group: to, record })) => {
            let entry = t.after.groups.get(to).and_then(|cursor| cursor.entries.get(record));
            let moved = t.before.groups.get(to).map(|cursor| &cursor.names);
            ensure!(
                moved == t.after.groups.get(to).map(|cursor| &cursor.names),
                "a redrive moved a position of {to}"
            );
            ensure!(*epoch == t.before.epoch, "a record of epoch {epoch} was redriven in {}", t.before.epoch);
            Some(to) == group.as_ref()
                && record == id
                && entry.is_some_and(|entry| {
                    *entry
                        == Entry {
                            seq: *seq,
                            body: before.body.clone(),
                            due_at: t.now,
                            attempts: 0,
                            counted: None,
                            reason: None,
                        }
                })
        }
        _ => false,
    };
    ensure!(back, "record {id} was redriven to the wrong place: {:?}", t.reply);
    CheckResult::Held
}

/// Whether a command has no attempt, no lease and no reason.
pub(super) fn is_fresh(command: &Command) -> bool {
    command.attempts == 0 && command.lease.is_none() && command.reason.is_none()
}

fn fresh_command(state: &State, seq: Seq, body: &Body) -> bool {
    state.queue.get(&seq).is_some_and(|command| is_fresh(command) && command.body == *body)
}
