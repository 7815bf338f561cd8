//! The totals of a store: what waits where, who reads how far, what was moved aside.
//!
//! What always holds: everything in an [`Overview`] belongs to one state of the file, and [`overview`] (in SQL) and
//! [`overview_of`] (over a state of the model) come to the same. A damaged message breaks nothing here, nor does a
//! command that cannot be read; a damaged counter, cursor or position is a typed error, as it is everywhere. This
//! module only reads, and must not know who asks: a dashboard, metrics, or a person.

use std::collections::BTreeMap;

use fencepost_model::state::{Cursor, LogRow, Place, State};
use fencepost_model::vocabulary::{Epoch, Group, Name, Seq, Timestamp};
use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sqlite::cursor::{cursor_row, store};
use crate::sqlite::plain;
use crate::sqlite::rows::{count, int, number, text};
use crate::sqlite::session::{Session, reading};
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// The totals of a store at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Overview {
    /// The time that the totals are for: the caller's, in milliseconds since the Unix epoch.
    #[serde(with = "plain::number")]
    pub now: Timestamp,
    /// The commands that wait or are held.
    pub queue: QueueOverview,
    /// How many records are dead letters.
    pub dead: u64,
    /// How many records are parked.
    pub parked: u64,
    /// The log.
    pub log: LogOverview,
    /// Each name of each consumer group, by group and name.
    pub groups: Vec<GroupOverview>,
    /// How many ids of commands and events are remembered.
    pub ids_remembered: u64,
}

/// The commands that wait or are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueOverview {
    /// How many may be claimed now, those whose lease ran out included.
    pub ready: u64,
    /// How many wait for their time, and nobody holds them.
    pub delayed: u64,
    /// How many are held under a lease that has not run out.
    pub leased: u64,
    /// For how long the oldest ready command has been due, in milliseconds; none if none is ready.
    pub oldest_due_age_ms: Option<u64>,
    /// The same by name, for each name of which there is a command, in the order of names.
    pub names: Vec<NameOverview>,
    /// How many have a name or bookkeeping that cannot be read. They are in none of the other totals; the next claim,
    /// whatever it asks for, moves them to the dead (G5).
    pub unreadable: u64,
}

/// The commands of one name that wait or are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NameOverview {
    /// The name.
    #[serde(with = "plain::text")]
    pub name: Name,
    /// How many may be claimed now.
    pub ready: u64,
    /// How many wait for their time, and nobody holds them.
    pub delayed: u64,
    /// How many are held under a lease that has not run out.
    pub leased: u64,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogOverview {
    /// The current epoch.
    #[serde(with = "plain::number")]
    pub epoch: Epoch,
    /// The first number that is kept; `head` + 1 if none is.
    #[serde(with = "plain::number")]
    pub first: Seq,
    /// The number of the last event that was published.
    #[serde(with = "plain::number")]
    pub head: Seq,
    /// How many events are kept: the numbers from `first` to `head`, but for those whose event nobody could read and
    /// which was moved to the dead.
    pub events: u64,
}

/// Where a consumer group stands in one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupOverview {
    /// The group.
    #[serde(with = "plain::text")]
    pub group: Group,
    /// The name.
    #[serde(with = "plain::text")]
    pub name: Name,
    /// The number of the last event of the name that the group has settled, or where it started.
    #[serde(with = "plain::number")]
    pub position: Seq,
    /// How many events of the name lie past the position.
    pub lag: u64,
    /// How many times the next event of the name was handed out as first in line.
    pub attempts: u32,
    /// Until when somebody holds the group's cursor, in milliseconds since the Unix epoch; none if nobody does, or if
    /// the lease has run out. The cursor is one for all names of the group.
    #[serde(with = "plain::maybe_number")]
    pub held_until: Option<Timestamp>,
    /// How many redriven events of the name wait in the group as entries.
    pub entries: u64,
}

/// Reads the totals of a store at the time `now`, all from one state of the file: within the transaction that is open
/// on the connection, or else within a reading one of its own. Its cost grows with what is in the queue, among the
/// records and ids, and with the lag of groups; payloads are not read.
///
/// # Errors
/// [`Error::Corrupt`] if a counter of the store, a cursor or a position is damaged, and whatever SQLite reports.
pub fn overview(conn: &Connection, sql: &Statements, now: Timestamp) -> Result<Overview> {
    reading(conn, sql, || read(&Session::new(conn, sql, now)))
}

fn read(s: &Session<'_>) -> Result<Overview> {
    let counters = store(s)?;
    let (dead, parked, ids_remembered, tombstones) = s
        .first(Sql::OverviewTotals, &[], |row| {
            Ok((total(row, 0)?, total(row, 1)?, total(row, 2)?, total(row, 3)?))
        })?
        .unwrap_or_default();
    let kept = counters.head.plus(1).get().saturating_sub(counters.first.get());
    Ok(Overview {
        now: s.now,
        queue: queue(s)?,
        dead,
        parked,
        log: LogOverview {
            epoch: counters.epoch,
            first: counters.first,
            head: counters.head,
            events: kept.saturating_sub(tombstones),
        },
        groups: groups(s)?,
        ids_remembered,
    })
}

/// A column that SQL counted.
fn total(row: &Row<'_>, index: usize) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or_default())
}

fn queue(s: &Session<'_>) -> Result<QueueOverview> {
    let mut queue = QueueOverview::default();
    let rows = s.all(Sql::OverviewQueue, named_params! {":now": int(s.now)}, |row| {
        let name = NameOverview {
            name: text(row, 0, ("queue", "name"))?,
            ready: total(row, 1)?,
            delayed: total(row, 2)?,
            leased: total(row, 3)?,
        };
        Ok((name, number::<Timestamp>(row, 4, ("queue", "due_at"))?))
    })?;
    for (name, due_at) in rows {
        queue.add(name, due_at, s.now);
    }
    queue.unreadable = s.first(Sql::OverviewUnreadable, &[], |row| total(row, 0))?.unwrap_or_default();
    Ok(queue)
}

impl QueueOverview {
    /// Counts the commands of one more name, the first of which is due at this time.
    fn add(&mut self, name: NameOverview, due_at: Timestamp, now: Timestamp) {
        self.ready += name.ready;
        self.delayed += name.delayed;
        self.leased += name.leased;
        if let Some(age_ms) = now.get().checked_sub(due_at.get()) {
            self.oldest_due_age_ms = self.oldest_due_age_ms.max(Some(age_ms));
        }
        self.names.push(name);
    }
}

fn groups(s: &Session<'_>) -> Result<Vec<GroupOverview>> {
    let entries = entries(s)?;
    s.all(Sql::OverviewGroups, &[], |row| {
        if !row.get(5)? {
            return Err(Error::row_missing("cursors"));
        }
        let (group, name): (Group, Name) =
            (text(row, 0, ("subscriptions", "group_name"))?, text(row, 1, ("subscriptions", "name"))?);
        let cursor = cursor_row(row, 6)?;
        let key = (group, name);
        Ok(GroupOverview {
            position: number(row, 2, ("subscriptions", "position"))?,
            lag: total(row, 4)?,
            attempts: count(row, 3, ("subscriptions", "attempts"))?,
            held_until: held_until(cursor.lease.is_some(), cursor.due_at, s.now),
            entries: entries.get(&key).copied().unwrap_or_default(),
            group: key.0,
            name: key.1,
        })
    })
}

/// Counts the entries of each group and name. An entry whose name or group cannot be read waits under none.
fn entries(s: &Session<'_>) -> Result<BTreeMap<(Group, Name), u64>> {
    let found = s.all(Sql::OverviewEntries, &[], |row| {
        let group = row.get_ref(0)?.as_str().ok().and_then(|group| Group::new(group).ok());
        let name = row.get_ref(1)?.as_str().ok().and_then(|name| Name::new(name).ok());
        Ok((group.zip(name), total(row, 2)?))
    })?;
    Ok(found.into_iter().filter_map(|(key, count)| Some((key?, count))).collect())
}

/// The end of a lease that has not run out.
fn held_until(leased: bool, due_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (leased && due_at > now).then_some(due_at)
}

/// Works out the totals of a state of the model at the time `now`: the same as [`overview`] of a store that holds
/// this state.
pub fn overview_of(state: &State, now: Timestamp) -> Overview {
    let aside = |place| state.records.values().filter(|record| record.place == place).count() as u64;
    let is_event = |row: &&LogRow| matches!(row, LogRow::Event(_));
    Overview {
        now,
        queue: queue_of(state, now),
        dead: aside(Place::Dead),
        parked: aside(Place::Parked),
        log: LogOverview {
            epoch: state.epoch,
            first: state.first,
            head: state.head,
            events: state.log.values().filter(is_event).count() as u64,
        },
        groups: groups_of(state, now),
        ids_remembered: (state.command_ids.len() + state.event_ids.len()) as u64,
    }
}

fn queue_of(state: &State, now: Timestamp) -> QueueOverview {
    let mut names: BTreeMap<&Name, (NameOverview, Timestamp)> = BTreeMap::new();
    let mut unreadable = state.unreadable.len() as u64;
    for command in state.queue.values() {
        let Some(name) = command.body.name() else {
            unreadable += 1;
            continue;
        };
        let none = || NameOverview { name: name.clone(), ready: 0, delayed: 0, leased: 0 };
        let (of_name, due_at) = names.entry(name).or_insert_with(|| (none(), command.due_at));
        *due_at = command.due_at.min(*due_at);
        if command.due_at <= now {
            of_name.ready += 1;
        } else if command.lease.is_some() {
            of_name.leased += 1;
        } else {
            of_name.delayed += 1;
        }
    }
    let mut queue = QueueOverview { unreadable, ..QueueOverview::default() };
    for (name, due_at) in names.into_values() {
        queue.add(name, due_at, now);
    }
    queue
}

fn groups_of(state: &State, now: Timestamp) -> Vec<GroupOverview> {
    let mut groups = Vec::new();
    for (group, cursor) in &state.groups {
        for (name, progress) in &cursor.names {
            groups.push(GroupOverview {
                group: group.clone(),
                name: name.clone(),
                position: progress.position,
                lag: lag_of(state, name, progress.position),
                attempts: progress.attempts,
                held_until: held_until(cursor.lease.is_some(), cursor.due_at, now),
                entries: entries_of(cursor, name),
            });
        }
    }
    groups
}

/// How many events of a name lie past a position.
fn lag_of(state: &State, name: &Name, position: Seq) -> u64 {
    let named = |row: &LogRow| matches!(row, LogRow::Event(body) if body.name() == Some(name));
    let past = state.log.iter().filter(|(seq, _)| **seq > position);
    past.filter(|(_, row)| named(row)).count() as u64
}

fn entries_of(cursor: &Cursor, name: &Name) -> u64 {
    cursor.entries.values().filter(|entry| entry.body.name() == Some(name)).count() as u64
}
