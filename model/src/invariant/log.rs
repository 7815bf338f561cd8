//! G6, G7 and the part of G9 about the log: positions, isolation of groups, order of polls.

use crate::description;
use crate::invariant::transition::{CheckResult, Transition, ensure};
use crate::op::{Lease, Op, Refusal, Reply, Settled, Settlement, Start, Target};
use crate::state::{Body, Cursor, LogRow, Origin, Place, State};
use crate::vocabulary::{Group, Name, Seq, Timestamp};

/// The unsettled events of a group, lowest first.
fn unsettled<'a>(state: &'a State, cursor: &'a Cursor) -> impl Iterator<Item = (Seq, &'a Body)> {
    state.log.iter().filter_map(|(seq, row)| {
        let LogRow::Event(body) = row else { return None };
        let progress = cursor.names.get(body.name()?)?;
        (progress.position < *seq).then_some((*seq, body))
    })
}

/// G6: a position passes an event when that event is settled in order, or dead-lettered as exhausted by a poll, or by a seek
/// or a reset. Only subscribing and unsubscribing change the names of a group, and a name starts where it is said.
pub fn a_position_passes_an_event_only_by_its_settlement(t: &Transition<'_>) -> CheckResult {
    let mut checked = false;
    for (group, before) in &t.before.groups {
        let Some(after) = t.after.groups.get(group) else {
            let unsubscribed = matches!((t.op, t.reply), (Op::Unsubscribe { group: left, .. }, Reply::Unsubscribed { .. }) if left == group);
            ensure!(unsubscribed && before.names.len() == 1, "group {group} vanished");
            continue;
        };
        for (name, was) in &before.names {
            let Some(is) = after.names.get(name) else {
                let unsubscribed = matches!((t.op, t.reply), (Op::Unsubscribe { group: left, name: gone }, Reply::Unsubscribed { .. }) if left == group && gone == name);
                ensure!(unsubscribed, "{group} no longer reads {name}");
                continue;
            };
            if was.position != is.position {
                checked = true;
                let result = may_move(t, group, name, was.position, is.position);
                if result != CheckResult::Held {
                    return result;
                }
            }
        }
    }
    match (t.op, t.reply) {
        (Op::Subscribe { group, name, start }, reply) => {
            let result = starts(t, group, name, *start, reply);
            if let CheckResult::Violated(_) = result {
                return result;
            }
            checked = true;
        }
        (Op::Settle { target: Target::Event { group, seq }, how, .. }, Reply::Settled(settled)) => {
            checked = true;
            let result = settles_in_turn(t, group, *seq, how, settled);
            if let CheckResult::Violated(_) = result {
                return result;
            }
        }
        (Op::Poll { group, names, .. }, Reply::HandedOut { .. }) => {
            let lacks = t.before.groups.get(group).into_iter().flat_map(|cursor| cursor.names.keys());
            for name in lacks {
                ensure!(names.contains(name), "a replica without {name} polled for {group}");
            }
        }
        (Op::Unsubscribe { group, name }, Reply::Unsubscribed { .. }) => {
            let is = t.after.groups.get(group).is_some_and(|cursor| cursor.names.contains_key(name));
            ensure!(!is, "{group} was unsubscribed from {name}, but reads it");
            checked = true;
        }
        (Op::Seek { group, name, position }, Reply::Sought) => {
            let is = t.after.groups.get(group).and_then(|cursor| cursor.names.get(name));
            ensure!(is.is_some_and(|is| is.position == *position), "{group} did not seek to {position}");
            let lease = t.after.groups.get(group).and_then(|cursor| cursor.lease);
            ensure!(lease.is_none(), "a seek did not fence the holder of {group}");
            checked = true;
        }
        (
            Op::Settle { target: Target::Event { group, .. }, .. },
            Reply::Refused(Refusal::NotNext { next }),
        ) => {
            let expected = t.before.groups.get(group).and_then(|cursor| {
                let (first, _) = unsettled(t.before, cursor).next()?;
                (first <= cursor.lease?.handed_through).then_some(first)
            });
            ensure!(
                *next == expected,
                "the refusal says that {next:?} is next for {group}, but {expected:?} is"
            );
        }
        _ => {}
    }
    for (group, after) in &t.after.groups {
        for name in after.names.keys() {
            let was = t.before.groups.get(group).is_some_and(|cursor| cursor.names.contains_key(name));
            let subscribed =
                matches!(t.op, Op::Subscribe { group: by, name: new, .. } if by == group && new == name);
            ensure!(was || subscribed, "{group} reads {name} without a subscription");
        }
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// Checks whether this operation may move this position.
fn may_move(t: &Transition<'_>, group: &Group, name: &Name, from: Seq, to: Seq) -> CheckResult {
    let between = || -> Vec<Seq> {
        let named = |row: &LogRow| matches!(row, LogRow::Event(body) if body.name() == Some(name));
        let past = t.before.log.range(from.plus(1)..);
        past.filter(|(seq, row)| **seq <= to && named(row)).map(|(seq, _)| *seq).collect()
    };
    match (t.op, t.reply) {
        (Op::Seek { group: by, name: of, position }, Reply::Sought) => {
            ensure!(by == group && of == name && *position == to, "a seek moved another position");
        }
        (Op::Reset { .. }, Reply::EpochBegun { .. }) => {
            ensure!(to == t.after.head, "a reset moved {group} to {to} and not to the head");
        }
        (Op::Settle { target: Target::Event { group: by, seq }, .. }, Reply::Settled(settled)) => {
            ensure!(by == group, "a settlement for {by} moved {group}");
            ensure!(!matches!(settled, Settled::Requeued { .. }), "a nack moved {group}");
            ensure!(to == *seq, "the settlement of {seq} moved {group} to {to} for {name}");
            let passed = between();
            ensure!(passed == [*seq], "the settlement of {seq} moved {group} over {passed:?} of {name}");
        }
        (Op::Poll { group: by, .. }, Reply::HandedOut { dead_lettered, .. }) => {
            ensure!(by == group, "a poll for {by} moved {group}");
            let recorded = |seq: &Seq| {
                dead_lettered.iter().filter_map(|id| t.after.records.get(id)).any(|record| {
                    matches!(&record.origin, Origin::Log { seq: of, group: Some(by), .. } if of == seq && by == group)
                })
            };
            let passed = between();
            ensure!(!passed.is_empty(), "a poll moved {group} from {from} to {to} over nothing of {name}");
            let lost: Vec<Seq> = passed.into_iter().filter(|seq| !recorded(seq)).collect();
            ensure!(lost.is_empty(), "a poll moved {group} over {lost:?} of {name} without a record");
        }
        (op, _) => {
            return CheckResult::Violated(format!(
                "{group} moved from {from} to {to} for {name} by \"{}\"",
                description::operation(op)
            ));
        }
    }
    CheckResult::Held
}

/// A subscription starts where it says, does not change a known name, and is refused for a position outside of the log.
fn starts(t: &Transition<'_>, group: &Group, name: &Name, start: Start, reply: &Reply) -> CheckResult {
    let known = t.before.groups.get(group).and_then(|cursor| cursor.names.get(name));
    let kept = t.before.first.before()..=t.before.head;
    let wanted = match (known, start) {
        (Some(known), _) => known.position,
        (None, Start::Earliest) => *kept.start(),
        (None, Start::Latest) => *kept.end(),
        (None, Start::After(position)) => position,
    };
    match reply {
        Reply::Subscribed { position, fresh } => {
            ensure!(
                *fresh == known.is_none(),
                "the reply to the subscription of {group} to {name} says fresh: {fresh}"
            );
            ensure!(
                *position == wanted,
                "the reply says that {group} starts {name} past {position}, not {wanted}"
            );
            ensure!(known.is_some() || kept.contains(&wanted), "{group} starts {name} outside of the log");
            let is = t.after.groups.get(group).and_then(|cursor| cursor.names.get(name));
            ensure!(
                is.is_some_and(|is| is.position == wanted),
                "{group} does not start {name} past {wanted}"
            );
        }
        refused => {
            ensure!(known.is_none() && !kept.contains(&wanted), "a subscription was answered {refused:?}");
            ensure!(t.before == t.after, "a refused subscription changed the state");
        }
    }
    CheckResult::Held
}

/// A settlement takes effect only for the lowest unsettled event of its group, if that was handed out under this token. It
/// does what its reply says.
fn settles_in_turn(
    t: &Transition<'_>,
    group: &Group,
    seq: Seq,
    how: &Settlement,
    settled: &Settled,
) -> CheckResult {
    let Some(cursor) = t.before.groups.get(group) else {
        return CheckResult::Violated(format!("{seq} was settled for {group}, which does not exist"));
    };
    let Some((first, body)) = unsettled(t.before, cursor).next() else {
        return CheckResult::Violated(format!("{seq} was settled for {group}, which has nothing unsettled"));
    };
    ensure!(first == seq, "{group} settled {seq} before {first}");
    let handed = t.ghost.handed.get(group).is_some_and(|(_, handed)| handed.contains(&seq));
    ensure!(handed, "{group} settled {seq}, which was never handed out under this token");
    let position = body.name().and_then(|name| t.after.groups.get(group)?.names.get(name));
    let Some(position) = position.map(|progress| progress.position) else {
        return CheckResult::Violated(format!("the settlement of {seq} lost the position of {group}"));
    };
    let record = match settled {
        Settled::Requeued { due_at } => {
            ensure!(position < seq, "a nack of {seq} moved {group}");
            let delayed = t.after.groups.get(group).is_some_and(|cursor| cursor.due_at == *due_at);
            ensure!(delayed, "a nack of {seq} did not delay {group}");
            return CheckResult::Held;
        }
        Settled::Acked | Settled::Dropped => None,
        Settled::DeadLettered { record } => Some((record, Place::Dead)),
        Settled::Parked { record } => Some((record, Place::Parked)),
    };
    ensure!(position == seq, "{group} settled {seq} as {settled:?} but stands at {position}");
    let fits = matches!(
        (how, settled),
        (Settlement::Ack, Settled::Acked)
            | (Settlement::Drop, Settled::Dropped)
            | (Settlement::DeadLetter { .. } | Settlement::Nack { .. }, Settled::DeadLettered { .. })
            | (Settlement::Park { .. }, Settled::Parked { .. })
    );
    ensure!(fits, "{how:?} was answered {settled:?}");
    if let Some((record, place)) = record {
        let kept = t.after.records.get(record).is_some_and(|record| {
            let origin = Origin::Log { epoch: t.before.epoch, seq, group: Some(group.clone()) };
            record.body == *body && record.origin == origin && record.place == place
        });
        ensure!(kept, "{group} passed {seq} as {settled:?}, but no such record is kept");
    }
    CheckResult::Held
}

/// G7: an operation that names one group changes no other group. An operation of the queue changes no group.
pub fn groups_do_not_see_each_other(t: &Transition<'_>) -> CheckResult {
    let named = match t.op {
        Op::Reset { .. } | Op::Restore { .. } => return CheckResult::Vacuous,
        Op::Subscribe { group, .. }
        | Op::Unsubscribe { group, .. }
        | Op::Poll { group, .. }
        | Op::Seek { group, .. }
        | Op::Settle { target: Target::Event { group, .. } | Target::Entry { group, .. }, .. }
        | Op::Release { lease: Lease::Cursor(group), .. }
        | Op::Extend { lease: Lease::Cursor(group), .. } => Some(group),
        Op::Redrive { .. } => match t.reply {
            Reply::Redriven(Target::Entry { group, .. }) => Some(group),
            _ => None,
        },
        _ => None,
    };
    let mut checked = false;
    for (group, before) in t.before.groups.iter().filter(|(group, _)| Some(*group) != named) {
        checked = true;
        ensure!(
            t.after.groups.get(group) == Some(before),
            "{group} was changed by \"{}\"",
            description::operation(t.op)
        );
    }
    for (id, record) in &t.before.records {
        let Origin::Log { group: Some(group), .. } = &record.origin else { continue };
        let own = named == Some(group)
            || matches!(t.op, Op::Purge { record } | Op::Repair { record, .. } if record == id);
        ensure!(own || t.after.records.get(id) == Some(record), "record {id} of {group} was changed");
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// G9 for the log: a poll hands out the lowest unsettled events and due entries in order, without skipping one. Only
/// operations change the due time of a cursor, and each in one defined way.
pub fn each_poll_hands_out_the_lowest_unsettled_numbers(t: &Transition<'_>) -> CheckResult {
    for (group, after) in &t.after.groups {
        let expected = expected_due_at(t, group);
        ensure!(
            expected.is_none_or(|due_at| due_at == after.due_at),
            "the cursor of {group} is due at {} and not at {}",
            after.due_at,
            expected.unwrap_or_default()
        );
    }
    if let (
        Op::Settle { target: Target::Entry { group, record }, .. },
        Reply::Settled(Settled::Requeued { due_at }),
    ) = (t.op, t.reply)
    {
        let is = t.after.groups.get(group).and_then(|cursor| Some(cursor.entries.get(record)?.due_at));
        ensure!(
            is == Some(*due_at),
            "the reply says that entry {record} of {group} is due at {due_at}, but it is due at {is:?}"
        );
    }
    let Op::Poll { group, names, token, max, attempts_max, .. } = t.op else { return CheckResult::Vacuous };
    let Some(before) = t.before.groups.get(group) else {
        ensure!(
            *t.reply == Reply::Refused(Refusal::NotSubscribed),
            "a poll for a group that does not exist was answered {:?}",
            t.reply
        );
        return CheckResult::Vacuous;
    };
    if let Reply::Refused(Refusal::NamesMissing { missing }) = t.reply {
        let lacks = before.names.keys().filter(|name| !names.contains(*name));
        ensure!(missing.iter().eq(lacks), "the refusal says that {group} lacks {missing:?}");
        ensure!(!missing.is_empty(), "{group} was refused although no names are missing");
    }
    let Reply::HandedOut { deliveries, dead_lettered } = t.reply else { return CheckResult::Vacuous };
    if token.is_none() && before.due_at > t.now {
        ensure!(deliveries.is_empty(), "events were handed out to {group} during its back-off");
        return CheckResult::Vacuous;
    }
    let Some(after) = t.after.groups.get(group) else { return CheckResult::Vacuous };
    let line = line(t, after);
    let room = (max.get() as usize).saturating_sub(dead_lettered.len());
    ensure!(deliveries.len() <= room, "a poll for at most {} handed out more", max);
    for (delivery, (seq, target, _)) in deliveries.iter().zip(&line) {
        ensure!(
            delivery.target == *target,
            "{group} was handed {:?} before {target:?} ({seq})",
            delivery.target
        );
    }
    ensure!(deliveries.len() <= line.len(), "{group} was handed out what is not in its line");
    if deliveries.len() < room.min(line.len()) {
        let ends =
            |(_, target, sound): &(Seq, Target, bool)| matches!(target, Target::Entry { .. }) || !sound;
        let next = &line[deliveries.len()];
        let last = deliveries.len().checked_sub(1).map(|index| &line[index]);
        let used_up = attempts_of(t, after, &next.1) >= attempts_max.get();
        let alone = matches!(next.1, Target::Entry { .. }) || used_up;
        ensure!(
            last.is_some_and(|last| ends(last) || alone),
            "{group} was handed {} of {} although {:?} is next in line",
            deliveries.len(),
            room,
            next.1
        );
    }
    if line.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}

/// The line of a group after a poll: unsettled events and due entries by number, an entry before its own event.
fn line(t: &Transition<'_>, cursor: &Cursor) -> Vec<(Seq, Target, bool)> {
    let Op::Poll { group, .. } = t.op else { return Vec::new() };
    let mut line: Vec<(Seq, u8, Target, bool)> = Vec::new();
    for (id, entry) in cursor.entries.iter().filter(|(_, entry)| entry.due_at <= t.now) {
        let target = Target::Entry { group: group.clone(), record: *id };
        line.push((entry.seq, 0, target, entry.body.is_sound()));
    }
    for (seq, body) in unsettled(t.after, cursor) {
        line.push((seq, 1, Target::Event { group: group.clone(), seq }, body.is_sound()));
    }
    line.sort();
    line.into_iter().map(|(seq, _, target, sound)| (seq, target, sound)).collect()
}

/// How many attempts of an event or entry were counted.
fn attempts_of(t: &Transition<'_>, cursor: &Cursor, target: &Target) -> u32 {
    match target {
        Target::Entry { record, .. } => cursor.entries.get(record).map_or(0, |entry| entry.attempts),
        Target::Event { seq, .. } => {
            let Some(LogRow::Event(body)) = t.after.log.get(seq) else { return 0 };
            body.name().and_then(|name| cursor.names.get(name)).map_or(0, |progress| progress.attempts)
        }
        Target::Command(_) => 0,
    }
}

fn expected_due_at(t: &Transition<'_>, group: &Group) -> Option<Timestamp> {
    let before = t.before.groups.get(group)?;
    let this = |by: &Group| by == group;
    match (t.op, t.reply) {
        (_, Reply::Refused(_)) => Some(before.due_at),
        (Op::Poll { group: by, lease_ms, .. }, Reply::HandedOut { deliveries, .. })
            if this(by) && !deliveries.is_empty() =>
        {
            Some(t.now.plus(*lease_ms))
        }
        (
            Op::Settle {
                target: Target::Event { group: by, .. },
                how: Settlement::Nack { delay_ms, .. },
                ..
            },
            Reply::Settled(Settled::Requeued { .. }),
        ) if this(by) => Some(t.now.plus(*delay_ms)),
        (Op::Release { lease: Lease::Cursor(by), .. }, _) | (Op::Seek { group: by, .. }, _) if this(by) => {
            Some(t.now)
        }
        (Op::Extend { lease: Lease::Cursor(by), lease_ms, .. }, _) if this(by) => Some(t.now.plus(*lease_ms)),
        (Op::Reset { .. }, _) => Some(t.now),
        (Op::Restore { .. }, _) if before.lease.is_some() => Some(t.now),
        _ => Some(before.due_at),
    }
}
