//! G1, G5 and G14: nothing is lost, nothing corrupt is handled, nothing is copied.

use crate::ghost::Ghost;
use crate::invariant::{Transition, Verdict, ensure, repairs};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Body, Cause, Command, Entry, LogRow, Origin, Place, State};
use crate::story::describe;
use crate::vocabulary::{Group, Message, Raw, RecordId, Seq};

/// G1: ready, leased, dead, parked, or ended by someone who said so; and what is there is what was sent.
pub(super) fn every_accepted_command_is_in_exactly_one_place(state: &State, ghost: &Ghost) -> Verdict {
    for (seq, message) in &ghost.sent {
        let aside = state.records.values().filter(|record| record.origin == Origin::Queue { seq: *seq });
        let bodies: Vec<&Body> = state.queue.get(seq).map(|command| &command.body).into_iter().collect();
        let bodies: Vec<&Body> = bodies.into_iter().chain(aside.map(|record| &record.body)).collect();
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
    if ghost.sent.is_empty() { Verdict::Vacuous } else { Verdict::Held }
}

/// G1: whatever is moved aside keeps its message, its attempts, and the last that was said of it; a record goes by a
/// purge or a redrive only, and what is not a message any more may be repaired (G5 judges how).
pub(super) fn nothing_is_lost_on_the_way(t: &Transition<'_>) -> Verdict {
    let mut judged = false;
    for id in named_records(t.reply) {
        judged = true;
        let Some(record) = t.after.records.get(&id) else {
            return Verdict::Broken(format!("record {id} was named but is not there"));
        };
        ensure!(record.at == t.now, "record {id} was not moved now");
    }
    let made: Vec<RecordId> =
        t.after.records.keys().filter(|id| !t.before.records.contains_key(*id)).copied().collect();
    let mut told = named_records(t.reply);
    told.sort();
    ensure!(told == made, "records {made:?} were made, but {told:?} are told of");
    for (id, before) in &t.before.records {
        let gone = matches!(t.op, Op::Purge { record } | Op::Redrive { record } if record == id)
            && !matches!(t.reply, Reply::Refused(_));
        let repaired =
            matches!((t.op, t.reply), (Op::Repair { record, .. }, Reply::Repaired { .. }) if record == id);
        let restored = matches!((t.op, t.reply), (Op::Restore { .. }, Reply::EpochBegun { .. }));
        let same = t.after.records.get(id).is_some_and(|after| {
            let mut expected = before.clone();
            // What may be another after these, they are judged by.
            if repaired && !before.body.is_sound() {
                expected.body = after.body.clone();
            }
            if restored {
                expected.origin = after.origin.clone();
            }
            *after == expected
        });
        ensure!(same || gone, "record {id} was changed or lost by \"{}\"", describe(t.op));
    }
    if let (Op::Settle { target, how, .. }, Reply::Settled(settled)) = (t.op, t.reply) {
        judged = true;
        let verdict = settlement_keeps_everything(t, target, how, settled);
        if let Verdict::Broken(_) = verdict {
            return verdict;
        }
    }
    if let (Op::Purge { record }, Reply::Purged) = (t.op, t.reply) {
        ensure!(!t.after.records.contains_key(record), "record {record} was purged but is there");
        judged = true;
    }
    let verdict = entries_and_events_keep_everything(t);
    if let Verdict::Broken(_) = verdict {
        return verdict;
    }
    for seq in t.before.unreadable.keys().filter(|seq| !t.after.unreadable.contains_key(seq)) {
        let origin = Origin::Queue { seq: *seq };
        let aside = t.after.records.values().find(|record| record.origin == origin);
        let right = aside.is_some_and(|record| record.place == Place::Dead && record.cause == Cause::Corrupt);
        ensure!(right, "command {seq} could not be read, and was not moved to the dead as corrupt");
    }
    for (seq, before) in &t.before.queue {
        if let Some(after) = t.after.queue.get(seq) {
            let nacked = matches!(t.op, Op::Settle { target: Target::Command(of), .. } if of == seq);
            ensure!(after.body == before.body, "command {seq} became another message");
            ensure!(nacked || after.reason == before.reason, "the reason of command {seq} was changed");
            continue;
        }
        judged = true;
        let origin = Origin::Queue { seq: *seq };
        let aside = t.after.records.values().find(|record| record.origin == origin);
        let Some(record) = aside else { continue };
        let reason = said(t.op).or(before.reason.clone());
        ensure!(record.body == before.body, "command {seq} was moved aside as another message");
        ensure!(record.attempts == before.attempts, "command {seq} lost its attempts on the way");
        ensure!(record.reason == reason, "command {seq} was moved aside for {:?}", record.reason);
    }
    if judged { Verdict::Held } else { Verdict::Vacuous }
}

/// An entry that leaves its group without being handled, and an event that is moved aside for a group, keep their
/// attempts and the last reason; a nack's reason is kept for the event that it was about and for no other.
fn entries_and_events_keep_everything(t: &Transition<'_>) -> Verdict {
    for (group, before) in &t.before.groups {
        let after = t.after.groups.get(group);
        for (id, entry) in &before.entries {
            if let Some(is) = after.and_then(|after| after.entries.get(id)) {
                let touched = may_touch(t, group, *id);
                ensure!(
                    touched || is == entry,
                    "entry {id} of {group} was changed by \"{}\"",
                    describe(t.op)
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
                ensure!(stays || handled, "entry {id} of {group} was lost by \"{}\"", describe(t.op));
                continue;
            };
            let reason = said(t.op).or(entry.reason.clone());
            ensure!(record.attempts == entry.attempts, "entry {id} of {group} lost its attempts on the way");
            ensure!(record.reason == reason, "entry {id} of {group} was moved aside for {:?}", record.reason);
            ensure!(record.body == entry.body, "entry {id} of {group} was moved aside as another message");
            let origin = Origin::Log { epoch: t.before.epoch, seq: entry.seq, group: Some(group.clone()) };
            ensure!(record.origin == origin, "entry {id} of {group} was moved aside as {:?}", record.origin);
        }
        if let (Op::Unsubscribe { group: left, name }, Reply::Unsubscribed { returned }) = (t.op, t.reply)
            && left == group
        {
            let ends = before.names.len() == 1;
            let leaves = before.entries.iter().filter(|(_, entry)| ends || entry.body.name() == Some(name));
            ensure!(leaves.map(|(id, _)| id).eq(returned), "{group} gave back {returned:?} with {name}");
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
                "{group} blames the next {name} for the last one"
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
            ensure!(redriven, "entry {id} of {group} came by \"{}\"", describe(t.op));
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
            let reason = said(t.op).or(progress.reason.clone());
            let attempts = record.attempts;
            ensure!(
                attempts == progress.attempts,
                "event {seq} of {group} was moved aside with {attempts} attempts"
            );
            ensure!(
                record.reason == reason,
                "event {seq} of {group} was moved aside for {:?}",
                record.reason
            );
        }
    }
    Verdict::Held
}

/// Whether this operation may change this entry in its place.
fn may_touch(t: &Transition<'_>, group: &Group, id: RecordId) -> bool {
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

fn said(op: &Op) -> Option<crate::vocabulary::Reason> {
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

/// The records that a reply says were made or given back.
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
) -> Verdict {
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
            ensure!(kept == said(t.op), "the nack's reason was not kept: {kept:?}");
            return Verdict::Held;
        }
        Settled::Acked | Settled::Dropped => {
            let says = matches!(
                (how, settled),
                (Settlement::Ack, Settled::Acked) | (Settlement::Drop, Settled::Dropped)
            );
            ensure!(says, "{how:?} was answered {settled:?}");
            let gone = match target {
                Target::Command(seq) => !t.after.queue.contains_key(seq),
                Target::Entry { group, record } => {
                    t.after.groups.get(group).is_some_and(|cursor| !cursor.entries.contains_key(record))
                }
                Target::Event { .. } => true,
            };
            ensure!(gone, "{target:?} was settled as {settled:?} but is still there");
            return Verdict::Held;
        }
    };
    let Some(record) = t.after.records.get(record) else { return Verdict::Vacuous };
    let cause = match how {
        Settlement::Nack { .. } => Cause::AttemptsExhausted,
        _ => Cause::Settled,
    };
    ensure!(record.place == place, "{target:?} was settled as {settled:?} but is {:?}", record.place);
    ensure!(record.cause == cause, "{target:?} was moved aside by {how:?} but says {:?}", record.cause);
    ensure!(record.reason == said(t.op), "{target:?} was moved aside for {:?}", record.reason);
    Verdict::Held
}

/// G5: what is delivered as sound is what was sent; what is damaged is delivered as such, and is not acked, dropped
/// or cancelled away.
pub(super) fn a_corrupt_row_never_reaches_a_handler(t: &Transition<'_>) -> Verdict {
    if let Op::Repair { .. } = t.op {
        return repairs::a_repair_replaces_only_what_cannot_be_read(t);
    }
    let mut judged = false;
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
                "what was delivered as {:?} is not what is there",
                delivery.target
            );
            if let Target::Command(seq) = &delivery.target {
                let noted = t.after.queue.get(seq).and_then(|command| Some(command.lease?.corrupt));
                ensure!(noted == Some(!delivery.body.is_sound()), "how {seq} was handed out is not noted");
            }
            match &delivery.body {
                Body::Sound { message, .. } => {
                    ensure!(sent == Some(message), "{} was delivered but not sent", delivery.seq);
                    ensure!(damaged.is_none() || is_entry, "{} is damaged but was delivered", delivery.seq);
                }
                Body::Corrupt { raw, .. } => {
                    judged = true;
                    ensure!(damaged == Some(raw), "{} was delivered with columns not its own", delivery.seq);
                }
                Body::Unreadable { .. } => {
                    return Verdict::Broken(format!("{} cannot be read but was delivered", delivery.seq));
                }
            }
        }
    }
    if let (Op::Claim { max, .. }, Reply::HandedOut { dead_lettered, .. }) = (t.op, t.reply) {
        let surfaced = t.before.unreadable.len().saturating_sub(t.after.unreadable.len());
        let expected = t.before.unreadable.len().min(max.get() as usize);
        ensure!(surfaced == expected, "{surfaced} unreadable commands were surfaced, not {expected}");
        ensure!(dead_lettered.len() >= surfaced, "unreadable commands were surfaced without a word");
        judged |= expected > 0;
    }
    if let (Op::Poll { max, .. }, Reply::HandedOut { dead_lettered, .. }) = (t.op, t.reply)
        && polls(t)
    {
        let count = |state: &State| state.log.values().filter(|row| is_unreadable(row)).count();
        let (before, after) = (count(t.before), count(t.after));
        let expected = before - before.min(max.get() as usize);
        ensure!(after == expected, "{after} unreadable events are left, not {expected}");
        ensure!(dead_lettered.len() >= before - after, "unreadable events were surfaced without a word");
        judged |= before > 0;
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
            judged = true;
            let known = handed_corrupt(t.before, target)
                || matches!(target, Target::Command(seq) if t.before.unreadable.contains_key(seq));
            ensure!(known, "{target:?} was handed out whole but may not be acked");
        }
        (Op::Cancel { seq }, Reply::Cancelled) => {
            ensure!(!t.ghost.damaged_commands.contains_key(seq), "{seq} is damaged but was cancelled");
        }
        _ => {}
    }
    if judged { Verdict::Held } else { Verdict::Vacuous }
}

/// The number and the content of the row that a delivery is of.
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

/// The message that a person gave a group's copy of an event.
fn repaired<'a>(ghost: &'a Ghost, target: &Target) -> Option<&'a std::sync::Arc<Message>> {
    match target {
        Target::Entry { record, .. } => ghost.repaired_events.get(record),
        _ => None,
    }
}

/// Whether a poll got as far as to look at the log.
fn polls(t: &Transition<'_>) -> bool {
    let Op::Poll { group, token, .. } = t.op else { return false };
    t.before.groups.get(group).is_some_and(|cursor| token.is_some() || cursor.due_at <= t.now)
}

pub(super) fn is_unreadable(row: &LogRow) -> bool {
    matches!(row, LogRow::Event(Body::Unreadable { .. }))
}

/// Whether what was handed out under the current lease could not be decoded.
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

/// G5: every damaged row is still there, in the queue or the log or among the records, with every byte that was left.
pub(super) fn a_corrupt_row_never_vanishes(state: &State, ghost: &Ghost) -> Verdict {
    let keeps = |raw: &Raw, body: &Body| matches!(body, Body::Corrupt { raw: kept, .. } | Body::Unreadable { raw: kept } if kept == raw);
    let aside = |raw: &Raw, of: &dyn Fn(&Origin) -> bool| {
        state.records.values().any(|record| of(&record.origin) && keeps(raw, &record.body))
    };
    for (seq, raw) in &ghost.damaged_commands {
        let waits = state.queue.get(seq).is_some_and(|command| keeps(raw, &command.body))
            || state.unreadable.get(seq) == Some(raw);
        let origin = |origin: &Origin| *origin == Origin::Queue { seq: *seq };
        ensure!(waits || aside(raw, &origin), "what was left of command {seq} has vanished");
    }
    for (seq, raw) in &ghost.damaged_events {
        let stands = matches!(state.log.get(seq), Some(LogRow::Event(body)) if keeps(raw, body));
        let origin = |origin: &Origin| matches!(origin, Origin::Log { seq: of, .. } if of == seq);
        ensure!(stands || aside(raw, &origin), "what was left of event {seq} has vanished");
    }
    let judged = !ghost.damaged_commands.is_empty() || !ghost.damaged_events.is_empty();
    if judged { Verdict::Held } else { Verdict::Vacuous }
}

/// G14: a redriven message is in the one place that the reply names, with no attempts, and no more among the
/// records; nothing else changes.
pub(super) fn redrive_moves_and_never_copies(t: &Transition<'_>) -> Verdict {
    let Op::Redrive { record: id } = t.op else { return Verdict::Vacuous };
    let Some(record) = t.before.records.get(id) else {
        ensure!(*t.reply == Reply::Refused(Refusal::NotFound), "nothing was redriven: {:?}", t.reply);
        return Verdict::Vacuous;
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
        return Verdict::Held;
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
    Verdict::Held
}

/// Whether a command has no past.
pub(super) fn is_fresh(command: &Command) -> bool {
    command.attempts == 0 && command.lease.is_none() && command.reason.is_none()
}

fn fresh_command(state: &State, seq: Seq, body: &Body) -> bool {
    state.queue.get(&seq).is_some_and(|command| is_fresh(command) && command.body == *body)
}
