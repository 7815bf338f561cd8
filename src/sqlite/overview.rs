//! The totals of a store: what waits where, how far each group has read, what was dead-lettered or parked.
//!
//! Invariant: everything in an [`Overview`] belongs to one state of the file, and [`overview`] (in SQL) and [`overview_of`]
//! (over a state of the model) agree. A damaged message or an unreadable command is no error; a damaged counter, cursor or
//! position is a typed one.
//! Does not depend on: the reader: a dashboard, metrics, or a person. Nothing is written.

use std::collections::BTreeMap;

use fencepost_model::state::{Command, Cursor, LogRow, Place, State};
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
    /// How many may be claimed now, those with an expired lease included.
    pub ready: u64,
    /// How many are not due yet and not held.
    pub delayed: u64,
    /// How many are held under a lease that has not expired.
    pub leased: u64,
    /// For how long the oldest ready command has been due, in milliseconds; none if none is ready.
    pub oldest_due_age_ms: Option<u64>,
    /// The same by name, for each name of which there is a command, in the order of names.
    pub names: Vec<NameOverview>,
    /// How many have a name or bookkeeping that cannot be read. They are in none of the other totals; the next claim of any name
    /// moves them to the dead letters (G5).
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
    /// How many are not due yet and not held.
    pub delayed: u64,
    /// How many are held under a lease that has not expired.
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
    /// How many events are kept: the numbers from `first` to `head`, without the unreadable events that were moved to the dead
    /// letters.
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
    /// Until when the group's cursor is held, in milliseconds since the Unix epoch; none if it is not held, or if the lease has
    /// expired. The cursor is one for all names of the group.
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
/// [`Error::Corrupt`] if a counter of the store, a cursor or a position is damaged, and errors of SQLite.
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
        queue.ready += name.ready;
        queue.delayed += name.delayed;
        queue.leased += name.leased;
        if let Some(age_ms) = s.now.get().checked_sub(due_at.get()) {
            queue.oldest_due_age_ms = queue.oldest_due_age_ms.max(Some(age_ms));
        }
        queue.names.push(name);
    }
    queue.unreadable = s.first(Sql::OverviewUnreadable, &[], |row| total(row, 0))?.unwrap_or_default();
    Ok(queue)
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
            held_until: (cursor.lease.is_some() && cursor.due_at > s.now).then_some(cursor.due_at),
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

/// Works out the totals of a state of the model at the time `now`: the same as [`overview`] of a store that holds
/// this state. Nothing here is shared with that, so that each can be held against the other.
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
    let mut of_names: BTreeMap<&Name, Vec<&Command>> = BTreeMap::new();
    // A command in the queue has a name; what has none is among the unreadable.
    for (name, command) in state.queue.values().filter_map(|command| Some((command.body.name()?, command))) {
        of_names.entry(name).or_default().push(command);
    }
    let all: Vec<&Command> = of_names.values().flatten().copied().collect();
    let [ready, delayed, leased] = counted(&all, now);
    let first = all.iter().map(|command| command.due_at).filter(|due_at| *due_at <= now).min();
    let names = of_names.into_iter().map(|(name, commands)| {
        let [ready, delayed, leased] = counted(&commands, now);
        NameOverview { name: name.clone(), ready, delayed, leased }
    });
    QueueOverview {
        ready,
        delayed,
        leased,
        unreadable: state.unreadable.len() as u64,
        oldest_due_age_ms: first.map(|due_at| now.get() - due_at.get()),
        names: names.collect(),
    }
}

/// How many of these commands are ready, delayed and leased.
fn counted(commands: &[&Command], now: Timestamp) -> [u64; 3] {
    let waiting = |leased: bool| {
        commands.iter().filter(|command| command.due_at > now && command.lease.is_some() == leased).count()
            as u64
    };
    let ready = commands.iter().filter(|command| command.due_at <= now).count() as u64;
    [ready, waiting(false), waiting(true)]
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
                held_until: cursor.lease.as_ref().map(|_| cursor.due_at).filter(|until| *until > now),
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
