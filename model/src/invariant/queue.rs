//! G2, G3, G4, G8 and the part of G9 about the queue: leases, tokens, attempts, order of claims.

use std::collections::BTreeSet;

use crate::ghost::Ghost;
use crate::invariant::replies;
use crate::invariant::transition::{CheckResult, Transition, current, ensure, holds, presented};
use crate::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use crate::state::{Cause, Command, Cursor, CursorLease, Origin, Progress, State};
use crate::vocabulary::{Names, Seq, Timestamp, Token};

/// G2: a delivery is handed out only if no lease on it runs, or to the poll that holds the lease. Only a settlement, a
/// release or an operation of the owner ends a lease. A leased command cannot be cancelled.
pub fn at_most_one_lease_is_current_for_a_delivery(t: &Transition<'_>) -> CheckResult {
    let mut checked = false;
    if let Reply::HandedOut { deliveries, .. } = t.reply {
        for delivery in deliveries {
            checked = true;
            let lease = delivery.target.lease();
            let own = presented(t.op).is_some_and(|(_, token)| token == delivery.token);
            ensure!(own || !runs(t, &lease), "{lease:?} was handed out while its lease ran");
            ensure!(
                current(t.after, &lease) == Some(delivery.token),
                "{lease:?} was handed out under token {}, which is not its current one",
                delivery.token
            );
            let (said, ends) = (delivery.lease_until, ends_at(t.after, &lease));
            ensure!(ends == Some(said), "{lease:?} was handed out until {said}, but ends at {ends:?}");
        }
        if deliveries.is_empty()
            && let Op::Poll { group, .. } = t.op
        {
            let lease = Lease::Cursor(group.clone());
            ensure!(
                current(t.before, &lease) == current(t.after, &lease),
                "a poll without a hand-out changed the cursor's lease"
            );
        }
    }
    let said = match (t.op, t.reply) {
        (Op::Extend { lease, .. }, Reply::Extended { until }) => {
            Some((lease.clone(), ends_at(t.after, lease), *until))
        }
        (Op::Poll { group, .. }, Reply::Refused(Refusal::Held { until })) => {
            let lease = Lease::Cursor(group.clone());
            Some((lease.clone(), ends_at(t.before, &lease), *until))
        }
        (Op::Cancel { seq }, Reply::Refused(Refusal::Held { until })) => {
            Some((Lease::Command(*seq), ends_at(t.before, &Lease::Command(*seq)), *until))
        }
        _ => None,
    };
    if let Some((lease, ends, said)) = said {
        checked = true;
        ensure!(ends == Some(said), "the reply says that {lease:?} ends at {said}, but it ends at {ends:?}");
    }
    if let (Op::Cancel { seq }, Reply::Cancelled) = (t.op, t.reply) {
        checked = true;
        ensure!(!runs(t, &Lease::Command(*seq)), "command {seq} was cancelled while its lease ran");
    }
    if let Op::Poll { group, token: None, .. } = t.op {
        let runs = runs(t, &Lease::Cursor(group.clone()));
        let held = matches!(t.reply, Reply::Refused(Refusal::Held { .. } | Refusal::NamesMissing { .. }));
        ensure!(!runs || held, "a cursor was polled by another while its lease ran: {:?}", t.reply);
    }
    for (seq, command) in &t.before.queue {
        let Some(after) = t.after.queue.get(seq) else { continue };
        checked |= command.lease.is_some();
        ensure!(
            command.lease == after.lease || may_change_lease(t, &Lease::Command(*seq)),
            "the lease of command {seq} changed from {:?} to {:?}",
            command.lease,
            after.lease
        );
    }
    for (group, cursor) in &t.before.groups {
        let Some(after) = t.after.groups.get(group) else { continue };
        let (was, is) = (cursor.lease.map(|lease| lease.token), after.lease.map(|lease| lease.token));
        ensure!(
            was == is || may_change_lease(t, &Lease::Cursor(group.clone())),
            "the cursor of {group} changed from token {was:?} to {is:?}"
        );
        let polled = matches!(t.op, Op::Poll { group: by, .. } if by == group);
        if let (Some(was), Some(is), false) = (cursor.lease, after.lease, polled) {
            ensure!(
                is == CursorLease { token: is.token, handed_through: is.handed_through, ..was },
                "the lease of {group} changed from {was:?} to {is:?}"
            );
        }
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// When a lease ends, if there is one.
fn ends_at(state: &State, lease: &Lease) -> Option<Timestamp> {
    match lease {
        Lease::Command(seq) => {
            state.queue.get(seq).filter(|command| command.lease.is_some()).map(|of| of.due_at)
        }
        Lease::Cursor(group) => {
            state.groups.get(group).filter(|cursor| cursor.lease.is_some()).map(|of| of.due_at)
        }
    }
}

/// Whether a lease has an owner and has not expired.
fn runs(t: &Transition<'_>, lease: &Lease) -> bool {
    match lease {
        Lease::Command(seq) => {
            t.before.queue.get(seq).is_some_and(|command| command.lease.is_some() && command.due_at > t.now)
        }
        Lease::Cursor(group) => {
            t.before.groups.get(group).is_some_and(|cursor| cursor.lease.is_some() && cursor.due_at > t.now)
        }
    }
}

/// Whether this operation may change or remove the token of this lease.
fn may_change_lease(t: &Transition<'_>, lease: &Lease) -> bool {
    match (t.op, t.reply) {
        (_, Reply::Refused(_)) => false,
        (Op::Claim { .. } | Op::Poll { .. }, Reply::HandedOut { deliveries, .. }) => {
            deliveries.iter().any(|delivery| delivery.target.lease() == *lease)
        }
        (Op::Release { lease: released, .. }, _) => released == lease,
        (Op::Settle { target: Target::Entry { .. }, .. }, _) => false,
        (Op::Settle { target, .. }, Reply::Settled(Settled::Requeued { .. })) => target.lease() == *lease,
        (Op::Seek { group, .. }, _) => *lease == Lease::Cursor(group.clone()),
        (Op::Reset { .. } | Op::Restore { .. }, _) => matches!(lease, Lease::Cursor(_)),
        _ => false,
    }
}

/// G2: two leases never share a token.
pub fn current_tokens_are_distinct(state: &State, _: &Ghost) -> CheckResult {
    let commands = state.queue.values().filter_map(|command| command.lease.map(|lease| lease.token));
    let cursors = state.groups.values().filter_map(|cursor| cursor.lease.map(|lease| lease.token));
    let mut seen = BTreeSet::new();
    for token in commands.chain(cursors) {
        ensure!(seen.insert(token), "token {token} is current for two leases");
        ensure!(token <= state.token_last, "token {token} is current but was not minted");
    }
    if seen.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}

/// G3: a reply is true. A token that is not the current one is refused as `LeaseLost` (or because its target is gone or
/// unreadable), and the state does not change. A current token is never refused as `LeaseLost`.
pub fn a_stale_token_changes_nothing_and_is_told_so(t: &Transition<'_>) -> CheckResult {
    if let violated @ CheckResult::Violated(_) = replies::the_reply_fits_the_operation(t) {
        return violated;
    }
    let Some((lease, token)) = presented(t.op) else { return CheckResult::Vacuous };
    if holds(t) {
        let given = matches!(t.op, Op::Release { .. } | Op::Extend { .. });
        let refused = matches!(t.reply, Reply::Refused(_));
        ensure!(!(given && refused), "token {token} is current for {lease:?} but was answered {:?}", t.reply);
        let foreign_entry = matches!(t.op, Op::Settle { target: Target::Entry { .. }, .. });
        let lost = *t.reply == Reply::Refused(Refusal::LeaseLost);
        ensure!(!lost || foreign_entry, "token {token} is current for {lease:?} but was refused as lost");
        ensure_ends(t, &lease)
    } else {
        let refused = match t.reply {
            Reply::Refused(Refusal::LeaseLost) => true,
            Reply::Refused(Refusal::Corrupt) => {
                matches!(lease, Lease::Command(seq) if t.before.unreadable.contains_key(&seq))
            }
            Reply::Refused(Refusal::NotSubscribed) => {
                matches!(&lease, Lease::Cursor(group) if !t.before.groups.contains_key(group))
            }
            Reply::Refused(Refusal::NamesMissing { .. }) => matches!(t.op, Op::Poll { .. }),
            _ => false,
        };
        ensure!(refused, "token {token} is stale for {lease:?} but was answered {:?}", t.reply);
        ensure!(t.before == t.after, "token {token} is stale for {lease:?} but changed the state");
        CheckResult::Held
    }
}

/// An operation that ends a lease ends its token.
fn ensure_ends(t: &Transition<'_>, lease: &Lease) -> CheckResult {
    let is_entry = matches!(t.op, Op::Settle { target: Target::Entry { .. }, .. });
    let ends = match t.reply {
        Reply::Released => true,
        Reply::Settled(Settled::Requeued { .. }) => !is_entry,
        _ => false,
    };
    ensure!(!ends || current(t.after, lease).is_none(), "{lease:?} was released but its token is current");
    if let (
        Op::Settle { target: Target::Entry { group, record }, .. },
        Reply::Settled(Settled::Requeued { .. }),
    ) = (t.op, t.reply)
    {
        let entry = t.after.groups.get(group).and_then(|cursor| cursor.entries.get(record));
        let ended = entry.is_some_and(|entry| entry.counted.is_none());
        ensure!(ended, "entry {record} of {group} was nacked but can be settled again");
    }
    CheckResult::Held
}

/// G4: a new token is larger than every token that was ever handed out, and the counter never goes back.
pub fn tokens_only_grow(t: &Transition<'_>) -> CheckResult {
    let (before, after) = (t.before.token_last, t.after.token_last);
    ensure!(after >= before, "the token counter went back from {before} to {after}");
    // Before the first token, a power cut can lose none.
    let minted = t.ghost.token_max > Token::ZERO;
    if minted && matches!(t.op, Op::Reboot | Op::Restore { .. }) && !matches!(t.reply, Reply::Refused(_)) {
        let step = after.get() - before.get();
        ensure!(
            step >= 1 << 32,
            "the token counter moved by {step} and not by 2^32: tokens that a power cut lost may be minted again"
        );
    }
    let Reply::HandedOut { deliveries, .. } = t.reply else { return CheckResult::Vacuous };
    let mut minted = t.ghost.token_max;
    let own = presented(t.op).map(|(_, token)| token);
    for (index, delivery) in deliveries.iter().enumerate() {
        let shared = matches!(t.op, Op::Poll { .. }) && index > 0;
        if own == Some(delivery.token) {
            continue;
        }
        if shared {
            ensure!(delivery.token == deliveries[0].token, "one poll handed out two tokens");
        } else {
            ensure!(delivery.token > minted, "token {} was minted after token {minted}", delivery.token);
            minted = delivery.token;
        }
        ensure!(delivery.token <= after, "token {} is beyond the counter {after}", delivery.token);
    }
    if deliveries.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}

/// G8: a message with exhausted attempts is not handed out, and no message is dead-lettered as exhausted too early. Only a
/// hand-out, a release, a settlement or a redrive changes attempts.
pub fn attempts_are_counted_and_limited(t: &Transition<'_>) -> CheckResult {
    let mut checked = false;
    if let (Reply::HandedOut { deliveries, dead_lettered }, Some(max)) = (t.reply, attempts_max(t.op)) {
        for delivery in deliveries {
            checked = true;
            let (seq, attempt) = (delivery.seq, delivery.attempt);
            ensure!(attempt >= 1, "{seq} was handed out as attempt 0");
            ensure!(attempt <= max, "{seq} was handed out for attempt {attempt} of at most {max}");
            if let Target::Command(seq) = &delivery.target {
                let command = t.after.queue.get(seq);
                let kept = command.and_then(|command| Some((command.attempts, command.lease?.attempts_max)));
                ensure!(
                    kept == Some((attempt, max)),
                    "{seq} was handed out for attempt {attempt} of {max}, not {kept:?}"
                );
            }
        }
        for record in dead_lettered.iter().filter_map(|id| t.after.records.get(id)) {
            let early = record.cause == Cause::AttemptsExhausted && record.attempts < max;
            ensure!(!early, "{:?} was exhausted after {} of {max}", record.origin, record.attempts);
        }
    }
    for (seq, before) in &t.before.queue {
        let Some(after) = t.after.queue.get(seq) else { continue };
        let expected = expected_attempts(t, *seq, before);
        ensure!(
            after.attempts == expected,
            "command {seq} has {} attempts and not {expected}",
            after.attempts
        );
    }
    match last_nack(t) {
        Some(CheckResult::Held) => checked = true,
        Some(violated @ CheckResult::Violated(_)) => return violated,
        _ => {}
    }
    match attempts_of_groups(t) {
        CheckResult::Held => checked = true,
        violated @ CheckResult::Violated(_) => return violated,
        CheckResult::Vacuous => {}
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

fn attempts_max(op: &Op) -> Option<u32> {
    match op {
        Op::Claim { attempts_max, .. } | Op::Poll { attempts_max, .. } => Some(attempts_max.get()),
        _ => None,
    }
}

fn expected_attempts(t: &Transition<'_>, seq: Seq, before: &Command) -> u32 {
    match (t.op, t.reply) {
        (Op::Claim { .. }, Reply::HandedOut { deliveries, .. }) => {
            let handed = deliveries.iter().any(|delivery| delivery.target == Target::Command(seq));
            before.attempts + u32::from(handed)
        }
        (Op::Release { lease: Lease::Command(released), .. }, Reply::Released) if *released == seq => {
            before.attempts.saturating_sub(1)
        }
        _ => before.attempts,
    }
}

/// The nack of the last attempt dead-letters at once, and no other nack does.
fn last_nack(t: &Transition<'_>) -> Option<CheckResult> {
    let Op::Settle { target, how: Settlement::Nack { .. }, .. } = t.op else { return None };
    let Reply::Settled(settled) = t.reply else { return None };
    let (attempts, max) = match target {
        Target::Command(seq) => {
            let command = t.before.queue.get(seq)?;
            (command.attempts, command.lease?.attempts_max)
        }
        Target::Event { group, seq } => {
            let cursor = t.before.groups.get(group)?;
            (front(t.before, cursor, *seq)?.attempts, cursor.lease?.attempts_max)
        }
        Target::Entry { group, record } => {
            let cursor = t.before.groups.get(group)?;
            (cursor.entries.get(record)?.attempts, cursor.lease?.attempts_max)
        }
    };
    let expected = if attempts < max { "requeued" } else { "dead-lettered" };
    let right = match settled {
        Settled::Requeued { .. } => attempts < max,
        Settled::DeadLettered { .. } => attempts >= max,
        _ => false,
    };
    let why = format!("the nack of attempt {attempts} of {max} was not {expected}: {settled:?}");
    Some(if right { CheckResult::Held } else { CheckResult::Violated(why) })
}

fn front<'a>(state: &State, cursor: &'a Cursor, seq: Seq) -> Option<&'a Progress> {
    let crate::state::LogRow::Event(body) = state.log.get(&seq)? else { return None };
    cursor.names.get(body.name()?)
}

/// An event counts an attempt only while it is first in line, and once under each token. A position that moves resets the
/// attempts.
fn attempts_of_groups(t: &Transition<'_>) -> CheckResult {
    let mut checked = false;
    for (group, before) in &t.before.groups {
        let Some(after) = t.after.groups.get(group) else { continue };
        let token = after.lease.map(|lease| lease.token);
        for (name, is) in &after.names {
            let same = before.names.get(name).is_some_and(|was| was.position == is.position);
            let first = is.attempts == 0 || (is.attempts == 1 && is.counted.is_some() && is.counted == token);
            ensure!(
                same || first,
                "{group} counts {} attempts for the next {name}, which is another event",
                is.attempts
            );
        }
        for (name, was) in &before.names {
            let Some(is) = after.names.get(name).filter(|is| is.position == was.position) else { continue };
            let anew = matches!(t.op, Op::Reset { .. } | Op::Seek { .. }) && is.attempts == 0;
            let counted = is.attempts == was.attempts + 1 && was.counted != is.counted && is.counted == token;
            let released =
                matches!(t.op, Op::Release { .. }) && is.attempts + 1 == was.attempts && is.counted.is_none();
            let same = is.attempts == was.attempts;
            checked |= counted || released;
            let (from, to) = (was.attempts, is.attempts);
            ensure!(
                same || counted || released || anew,
                "{group} counts {to} attempts for the next {name} after {from}"
            );
        }
        let Reply::HandedOut { deliveries, .. } = t.reply else { continue };
        let Some(first) =
            deliveries.first().filter(|first| first.target.lease() == Lease::Cursor(group.clone()))
        else {
            continue;
        };
        let counted = match &first.target {
            Target::Event { seq, .. } => front(t.after, after, *seq).map(|is| (is.attempts, is.counted)),
            Target::Entry { record, .. } => {
                after.entries.get(record).map(|entry| (entry.attempts, entry.counted))
            }
            Target::Command(_) => None,
        };
        checked = true;
        ensure!(
            counted == Some((first.attempt, Some(first.token))),
            "{:?} was first in line for attempt {} but counts {counted:?}",
            first.target,
            first.attempt
        );
    }
    if checked { CheckResult::Held } else { CheckResult::Vacuous }
}

/// G9 for the queue: only operations change `due_at`, each in one defined way. A claim takes the due commands of its names
/// in order, without skipping one.
pub fn claims_come_oldest_due_first(t: &Transition<'_>) -> CheckResult {
    for (seq, after) in &t.after.queue {
        let expected = expected_due_at(t, *seq);
        ensure!(
            expected.is_none_or(|due_at| due_at == after.due_at),
            "command {seq} is due at {} and not at {}",
            after.due_at,
            expected.unwrap_or_default()
        );
    }
    if let (Op::Settle { target: Target::Command(seq), .. }, Reply::Settled(Settled::Requeued { due_at })) =
        (t.op, t.reply)
    {
        let is = t.after.queue.get(seq).map(|command| command.due_at);
        ensure!(
            is == Some(*due_at),
            "the reply says that command {seq} is due at {due_at}, but it is due at {is:?}"
        );
    }
    let (Op::Claim { names, max, attempts_max, .. }, Reply::HandedOut { deliveries, dead_lettered }) =
        (t.op, t.reply)
    else {
        return CheckResult::Vacuous;
    };
    let unreadable = t.before.unreadable.len().min(max.get() as usize);
    let room = max.get() as usize - unreadable;
    let line = line(t.before, t.now, names);
    let mut expected_dead = Vec::new();
    let mut expected = Vec::new();
    for (seq, command) in &line {
        if expected_dead.len() + expected.len() == room {
            break;
        }
        if command.attempts >= attempts_max.get() {
            expected_dead.push(*seq);
            continue;
        }
        let lapsed = command.lease.is_some();
        if !lapsed || expected.is_empty() {
            expected.push(*seq);
        }
        if lapsed {
            break;
        }
    }
    let handed: Vec<Seq> = deliveries.iter().map(|delivery: &Delivery| delivery.seq).collect();
    ensure!(handed == expected, "a claim handed out {handed:?}, but due are, in order, {expected:?}");
    let dead: Vec<Seq> = dead_lettered
        .iter()
        .filter_map(|id| t.after.records.get(id))
        .filter(|record| record.cause == Cause::AttemptsExhausted)
        .filter_map(|record| match record.origin {
            Origin::Queue { seq } => Some(seq),
            Origin::Log { .. } => None,
        })
        .collect();
    ensure!(dead == expected_dead, "a claim dead-lettered {dead:?}, but exhausted are {expected_dead:?}");
    if line.is_empty() { CheckResult::Vacuous } else { CheckResult::Held }
}

/// The due commands of these names, oldest first.
fn line<'a>(state: &'a State, now: Timestamp, names: &Names) -> Vec<(Seq, &'a Command)> {
    let mut line: Vec<_> = state
        .queue
        .iter()
        .filter(|(_, command)| command.due_at <= now)
        .filter(|(_, command)| command.body.name().is_some_and(|name| names.contains(name)))
        .map(|(seq, command)| (*seq, command))
        .collect();
    line.sort_by_key(|(seq, command)| (command.due_at, *seq));
    line
}

fn expected_due_at(t: &Transition<'_>, seq: Seq) -> Option<Timestamp> {
    let unchanged = t.before.queue.get(&seq).map(|command| command.due_at);
    let this = |lease: &Lease| *lease == Lease::Command(seq);
    match (t.op, t.reply) {
        (Op::Send { delay_ms, .. }, Reply::Accepted { seq: sent, fresh: true }) if *sent == seq => {
            Some(t.now.plus(*delay_ms))
        }
        (Op::Claim { lease_ms, .. }, Reply::HandedOut { deliveries, .. }) => {
            let handed = deliveries.iter().any(|delivery| delivery.seq == seq);
            if handed { Some(t.now.plus(*lease_ms)) } else { unchanged }
        }
        (Op::Settle { target, how: Settlement::Nack { delay_ms, .. }, .. }, Reply::Settled(_))
            if this(&target.lease()) =>
        {
            Some(t.now.plus(*delay_ms))
        }
        (Op::Release { lease, .. }, Reply::Released) if this(lease) => Some(t.now),
        (Op::Extend { lease, lease_ms, .. }, Reply::Extended { .. }) if this(lease) => {
            Some(t.now.plus(*lease_ms))
        }
        (Op::Redrive { .. }, Reply::Redriven(target)) if this(&target.lease()) => Some(t.now),
        _ => unchanged,
    }
}
