//! Polling: taking the cursor of a group and handing out its next events.
//!
//! Invariant: the order is the merge of one range read for each name and of the due entries of the group (G9), and nothing is
//! written before every reason to refuse was checked.
//! Does not depend on: how events are settled.

use fencepost_model::op::{Delivery, Refusal, Reply, Target};
use fencepost_model::state::{Body, Cause, CursorLease};
use fencepost_model::vocabulary::{Group, Kind, Names, RecordId, Seq, Timestamp, Token};
use rusqlite::named_params;

use crate::error::{Damage, Error, Result};
use crate::sqlite::cursor::{CursorRow, Front, check_log_end, cursor, events_of, fronts, mint, take};
use crate::sqlite::log::{bury_for_all, move_position, put_aside, return_entry};
use crate::sqlite::records::Aside;
use crate::sqlite::rows::{body, count, int, maybe_number, number};
use crate::sqlite::session::{Answer, Session};
use crate::sqlite::statements::StatementId as Sql;

/// What a poll says of the replica that polls.
pub(super) struct Replica<'a> {
    pub(super) names: &'a Names,
    pub(super) token: Option<Token>,
    pub(super) max: u32,
    pub(super) lease_ms: u64,
    pub(super) attempts_max: u32,
}

pub(super) fn poll(s: &Session<'_>, group: &Group, replica: &Replica<'_>) -> Answer<Reply> {
    let before = cursor(s, group)?.ok_or(Refusal::NotSubscribed)?;
    let mut fronts = fronts(s, group)?;
    let names = fronts.iter().map(|front| &front.name);
    let missing: Names = names.filter(|name| !replica.names.contains(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Refusal::NamesMissing { missing }.into());
    }
    let current = before.lease.map(|lease| lease.token);
    if replica.token.is_some() && replica.token != current {
        return Err(Refusal::LeaseLost.into());
    }
    if replica.token.is_none() && before.due_at > s.now {
        return match current {
            Some(_) => Err(Refusal::Held { until: before.due_at }.into()),
            None => Ok(Reply::HandedOut { deliveries: Vec::new(), dead_lettered: Vec::new() }),
        };
    }
    check_log_end(s)?;
    let mut dead_lettered = sweep(s, replica.max)?;
    bury_exhausted(s, group, replica, &mut fronts, &mut dead_lettered)?;
    let room = replica.max - u32::try_from(dead_lettered.len()).unwrap_or(u32::MAX).min(replica.max);
    let deliveries = match next(s, group, &fronts)? {
        Some(first) if room > 0 => hand_out(s, group, replica, &before, &fronts, &first, room)?,
        _ => Vec::new(),
    };
    Ok(Reply::HandedOut { deliveries, dead_lettered })
}

/// Moves events whose name cannot be read to the dead, once for all groups, and leaves tombstones (G5).
fn sweep(s: &Session<'_>, max: u32) -> Result<Vec<RecordId>> {
    let found: Vec<Seq> =
        s.all(Sql::EventsUnreadable, named_params! {":max": max}, |row| number(row, 0, ("log", "seq")))?;
    let bury = |seq: &Seq| {
        let record = bury_for_all(s, *seq)?;
        s.run(Sql::EventRemove, named_params! {":seq": int(*seq)})?;
        s.run(Sql::TombstoneInsert, named_params! {":seq": int(*seq)})?;
        Ok(record)
    };
    found.iter().map(bury).collect()
}

/// What stands next in line for a group.
enum Next {
    Entry(RecordId, Entry),
    /// An event, and which of the group's names it has.
    Event(Seq, usize),
}

/// A redriven entry.
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) attempts: u32,
    pub(super) counted: Option<Token>,
    pub(super) body: Body,
}

/// Reads an entry of a group.
pub(super) fn entry(s: &Session<'_>, group: &Group, record: RecordId) -> Result<Option<Entry>> {
    let params = named_params! {":record": int(record), ":group": group.as_str()};
    s.first(Sql::EntryRead, params, |row| {
        let seq: Seq = number(row, 0, ("entries", "seq"))?;
        Ok(Entry {
            seq,
            attempts: count(row, 1, ("entries", "attempts"))?,
            counted: maybe_number(row, 2, ("entries", "counted"))?,
            body: body(row, 3, Kind::Event, seq.get())?,
        })
    })
}

/// The lowest due entry of a group past a number.
fn next_entry(s: &Session<'_>, group: &Group, past: Seq) -> Result<Option<(Seq, RecordId)>> {
    let params = named_params! {":group": group.as_str(), ":past": int(past), ":now": int(s.now)};
    s.first(Sql::EntryNext, params, |row| {
        let _due_at: Timestamp = number(row, 2, ("entries", "due_at"))?;
        Ok((number(row, 1, ("entries", "seq"))?, number(row, 0, ("entries", "record"))?))
    })
}

/// The lowest event of a group's names.
pub(super) fn next_event(fronts: &[Front]) -> Option<(Seq, usize)> {
    (0..).zip(fronts).filter_map(|(index, front)| Some((front.next?, index))).min()
}

/// The lowest of a group's unsettled events and due entries; an entry before the event itself.
fn next(s: &Session<'_>, group: &Group, fronts: &[Front]) -> Result<Option<Next>> {
    let event = next_event(fronts);
    match next_entry(s, group, Seq::ZERO)? {
        Some((seq, record)) if event.is_none_or(|(event, _)| seq <= event) => {
            let entry = entry(s, group, record)?.ok_or(Error::row_missing("entries"))?;
            Ok(Some(Next::Entry(record, entry)))
        }
        _ => Ok(event.map(|(seq, index)| Next::Event(seq, index))),
    }
}

/// The number that an attempt has: a new one, unless it was counted under the replica's own token already.
fn attempt(replica: &Replica<'_>, attempts: u32, counted: Option<Token>) -> u32 {
    if counted.is_some() && counted == replica.token { attempts } else { attempts.saturating_add(1) }
}

/// While what is first in line has had all its attempts, moves it to the dead for this group (G8).
fn bury_exhausted(
    s: &Session<'_>,
    group: &Group,
    replica: &Replica<'_>,
    fronts: &mut [Front],
    dead_lettered: &mut Vec<RecordId>,
) -> Result<()> {
    let exhausted =
        |attempts, counted: Option<Token>| attempt(replica, attempts, counted) > replica.attempts_max;
    let aside = Aside::dead(Cause::AttemptsExhausted, None);
    while dead_lettered.len() < replica.max as usize {
        match next(s, group, fronts)? {
            Some(Next::Entry(record, entry)) if exhausted(entry.attempts, entry.counted) => {
                return_entry(s, record, &aside)?;
                dead_lettered.push(record);
            }
            Some(Next::Event(seq, index)) if exhausted(fronts[index].attempts, fronts[index].counted) => {
                dead_lettered.push(pass_aside(s, group, &mut fronts[index], seq, &aside)?);
            }
            _ => break,
        }
    }
    Ok(())
}

/// Sets a copy of a group's next event of a name aside, and moves the group's position past it (G6, G7).
pub(super) fn pass_aside(
    s: &Session<'_>,
    group: &Group,
    front: &mut Front,
    seq: Seq,
    aside: &Aside<'_>,
) -> Result<RecordId> {
    let reason = front.reason.as_deref();
    let aside = Aside { reason: aside.reason.or(reason), ..*aside };
    let record = put_aside(s, Some(group), seq, front.attempts, &aside)?;
    pass(s, group, front, seq)?;
    Ok(record)
}

/// Moves a group's position in a name to an event, and looks for the one after it (G6).
pub(super) fn pass(s: &Session<'_>, group: &Group, front: &mut Front, seq: Seq) -> Result<()> {
    move_position(s, group, &front.name, seq)?;
    let next = events_of(s, &front.name, seq, 1)?.pop();
    *front =
        Front { name: front.name.clone(), position: seq, attempts: 0, counted: None, reason: None, next };
    Ok(())
}

/// Hands out from the front of the line, under a lease. A redriven entry and an event that cannot be decoded end the
/// batch; so does an event that may not be handed out once more unless it is first.
fn hand_out(
    s: &Session<'_>,
    group: &Group,
    replica: &Replica<'_>,
    before: &CursorRow,
    fronts: &[Front],
    first: &Next,
    room: u32,
) -> Result<Vec<Delivery>> {
    let token = match replica.token {
        Some(token) => token,
        None => mint(s, 1)?,
    };
    let batch = Batch { group, replica, token, lease_until: s.now.plus(replica.lease_ms) };
    let deliveries = match first {
        Next::Entry(record, entry) => vec![batch.entry(s, *record, entry)?],
        Next::Event(seq, _) => batch.events(s, fronts, *seq, room)?,
    };
    let Some(last) = deliveries.last() else { return Ok(deliveries) };
    let is_event = matches!(last.target, Target::Event { .. });
    let through = if is_event { last.seq } else { Seq::ZERO };
    let corrupt = (is_event && !last.body.is_sound()).then_some(last.seq);
    let held = before.lease.filter(|lease| lease.token == token);
    let lease = CursorLease {
        token,
        attempts_max: replica.attempts_max,
        handed_through: held.map_or(through, |lease| lease.handed_through.max(through)),
        corrupt: corrupt.or(held.and_then(|lease| lease.corrupt)),
    };
    take(s, group, batch.lease_until, &lease)?;
    Ok(deliveries)
}

/// What all deliveries of one poll share.
struct Batch<'a> {
    group: &'a Group,
    replica: &'a Replica<'a>,
    token: Token,
    lease_until: Timestamp,
}

impl Batch<'_> {
    fn entry(&self, s: &Session<'_>, record: RecordId, entry: &Entry) -> Result<Delivery> {
        let attempt = attempt(self.replica, entry.attempts, entry.counted);
        let params = named_params! {
            ":record": int(record), ":attempts": attempt, ":token": int(self.token),
        };
        s.run(Sql::EntryCount, params)?;
        let target = Target::Entry { group: self.group.clone(), record };
        Ok(self.delivery(target, entry.seq, attempt, entry.body.clone()))
    }

    /// Events from the front of the line up to the next redriven entry.
    fn events(&self, s: &Session<'_>, fronts: &[Front], first: Seq, room: u32) -> Result<Vec<Delivery>> {
        let end = next_entry(s, self.group, first)?.map(|(seq, _)| seq);
        let mut handed = vec![false; fronts.len()];
        let mut deliveries = Vec::new();
        for (seq, index) in line(s, fronts, room)? {
            if deliveries.len() >= room as usize || end.is_some_and(|end| end <= seq) {
                break;
            }
            let front = &fronts[index];
            // Behind another event of its name in the batch, it is an event's first attempt.
            let attempt = match handed[index] {
                true => 1,
                false => attempt(self.replica, front.attempts, front.counted),
            };
            if attempt > self.replica.attempts_max {
                break;
            }
            if deliveries.is_empty() {
                count_first(s, self.group, front, attempt, self.token)?;
            }
            let params = named_params! {":seq": int(seq)};
            let body = s.first(Sql::EventRead, params, |row| body(row, 0, Kind::Event, seq.get()))?;
            let body = body.ok_or(Error::row_missing("log"))?;
            // The index led to a row of another name: the group did not ask for it.
            if body.name().is_some_and(|name| *name != front.name) {
                return Err(Damage::Index { table: "log" }.into());
            }
            let last = !body.is_sound();
            handed[index] = true;
            let target = Target::Event { group: self.group.clone(), seq };
            deliveries.push(self.delivery(target, seq, attempt, body));
            if last {
                break;
            }
        }
        Ok(deliveries)
    }

    fn delivery(&self, target: Target, seq: Seq, attempt: u32, body: Body) -> Delivery {
        Delivery { target, seq, token: self.token, attempt, lease_until: self.lease_until, body }
    }
}

/// The lowest events of a group, each name read through its index and merged here (G9).
fn line(s: &Session<'_>, fronts: &[Front], max: u32) -> Result<Vec<(Seq, usize)>> {
    let mut line = Vec::new();
    for (index, front) in (0..).zip(fronts).filter(|(_, front)| front.next.is_some()) {
        let events = events_of(s, &front.name, front.position, max)?;
        line.extend(events.into_iter().map(|seq| (seq, index)));
    }
    line.sort_unstable();
    Ok(line)
}

/// Counts a hand-out as first in line, under its token (G8).
pub(super) fn count_first(
    s: &Session<'_>,
    group: &Group,
    front: &Front,
    attempts: u32,
    token: Token,
) -> Result<()> {
    let params = named_params! {
        ":group": group.as_str(),
        ":name": front.name.as_str(),
        ":attempts": attempts,
        ":token": int(token),
    };
    s.run(Sql::SubscriptionCount, params)?;
    Ok(())
}
