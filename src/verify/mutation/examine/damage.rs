//! Stores with damage: what can be read is checked against the model, and what cannot be read must fail.

use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::op::{Lease, Op, Reply, Settlement, Start, Target};
use fencepost_model::state::State;
use fencepost_model::step;
use fencepost_model::vocabulary::{
    Epoch, Kind, Message, MessageId, RawValue, RecordId, Seq, Timestamp, Token,
};
use rusqlite::Connection;

use super::ExaminationResult;
use crate::fuzz::furnished::{LATE, claim, furnish, group, name, names, poll};
use crate::readers;
use crate::system::compare;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{
    Statements, Store, execute, next_due_commands, next_due_group, overview, overview_of, plant, snapshot,
    snapshot_by,
};

const MANY: NonZeroU32 = NonZeroU32::MAX;

pub(super) fn send(kind: Kind) -> Op {
    let message = Arc::new(Message::new(kind, name(0), *b"x"));
    match kind {
        Kind::Command => Op::Send { message, delay_ms: 0 },
        Kind::Event => Op::Publish { message },
    }
}

pub(super) fn park() -> Settlement {
    Settlement::Park { reason: "x".into() }
}

/// All rows of all tables, one text each, with the name of its table.
fn rows(conn: &Connection) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for table in [
        "store",
        "epochs_retired",
        "ids",
        "queue",
        "log",
        "tombstones",
        "cursors",
        "subscriptions",
        "entries",
        "records",
    ] {
        let mut statement = conn.prepare_cached(&format!("SELECT * FROM {table}"))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|index| Ok(format!("{:?}", row.get_ref(index)?)));
            found.push(format!("{table} {}", values.collect::<Result<Vec<_>>>()?.join(" ")));
        }
    }
    Ok(found)
}

/// How many of these rows have a message in them, or a number that is kept for one.
fn messages(rows: &[String]) -> usize {
    let of = ["queue ", "log ", "tombstones ", "entries ", "records "];
    rows.iter().filter(|row| of.iter().any(|table| row.starts_with(table))).count()
}

/// What needs a number that cannot be read fails and changes nothing; in a batch, what fails is taken back alone.
pub(super) fn batches(sql: &Statements) -> Result<ExaminationResult> {
    let park = Op::Settle { target: Target::Command(Seq::from(1)), token: Token::from(1), how: park() };
    // Hands out what was never handed out, and sets aside what was.
    let exhaust = Op::Claim { names: names(), max: MANY, lease_ms: 1_000, attempts_max: NonZeroU32::MIN };
    let cases = [
        ("queue_last", send(Kind::Command), Some(send(Kind::Event))),
        ("log_head", send(Kind::Event), Some(send(Kind::Command))),
        ("token_last", claim(names(), 9), Some(send(Kind::Command))),
        ("record_last", park, Some(send(Kind::Command))),
        ("record_last", exhaust, Some(send(Kind::Command))),
        ("commit_seq", send(Kind::Command), None),
    ];
    for (column, needs, other) in cases {
        for value in [RawValue::Null, RawValue::Text(b"7".to_vec()), RawValue::Real(1.5_f64.to_bits())] {
            let mut store = Store::in_memory()?.with_statements(sql.clone());
            furnish(&mut store, false)?;
            plant(store.connection_mut(), "store", Seq::from(1), column, &value)?;
            let before = rows(store.connection())?;
            let told = |what: &str| Ok(Err(format!("{column} is {value:?}, and {what}: {needs:?}")));
            if !matches!(store.apply(LATE, &needs), Err(Error::Corrupt { .. })) {
                return told("it is counted on from");
            }
            if rows(store.connection())? != before {
                return told("something was written");
            }
            // Without its number no transaction ends.
            let Some(other) = &other else { continue };
            let done = store.apply_all(|| LATE, &[other, &needs, other]);
            let done: Vec<bool> = done.iter().map(Result::is_ok).collect();
            let mut expected = Store::in_memory()?;
            furnish(&mut expected, false)?;
            plant(expected.connection_mut(), "store", Seq::from(1), column, &value)?;
            expected.apply_all(|| LATE, &[other, other]);
            if done != [true, false, true] || rows(store.connection())? != rows(expected.connection())? {
                return told("a batch beside it is another");
            }
        }
    }
    Ok(Ok(()))
}

/// What is there under a number already is never written over, and never passed by.
pub(super) fn twice(sql: &Statements) -> Result<ExaminationResult> {
    let body = "id, name, content_type, payload, metadata, at, checksum";
    let queued = format!(
        "INSERT INTO queue (seq, due_at, attempts, corrupt, {body}) SELECT seq, 0, 0, 0, {body} FROM records \
         WHERE kind = 'command'"
    );
    let entered = format!(
        "INSERT INTO entries (record, group_name, seq, due_at, attempts, {body}) \
         SELECT record, group_name, seq, 0, 0, {body} FROM records WHERE kind = 'event' AND group_name IS NOT NULL"
    );
    let recorded = format!(
        "INSERT INTO records (record, kind, seq, epoch, group_name, place, cause, attempts, moved_at, unreadable, {body}) \
         SELECT record, 'event', seq, 2, group_name, 'dead', 'exhausted', 1, 0, 0, {body} FROM entries"
    );
    let nameless = "UPDATE queue SET name = x'ff'; UPDATE store SET record_last = record_last - 1";
    let redrives: Vec<Op> = (1..9_u32).map(|record| Op::Redrive { record: RecordId::from(record) }).collect();
    let reset = Op::Reset { expected: Epoch::from(2), next: Epoch::from(7) };
    let takes = vec![claim(names(), 9), poll(group(0), 9), poll(group(1), 9)];
    let cases: Vec<(&str, Vec<Op>)> = vec![
        ("UPDATE store SET queue_last = queue_last - 2", vec![send(Kind::Command)]),
        ("UPDATE store SET log_head = log_head - 1", vec![send(Kind::Event)]),
        ("UPDATE store SET record_last = record_last - 1", takes.clone()),
        (nameless, takes.clone()),
        (&queued, redrives.clone()),
        (&entered, redrives),
        (&recorded, takes),
        ("INSERT INTO epochs_retired SELECT epoch FROM store", vec![reset]),
    ];
    for (planted, ops) in cases {
        let mut store = Store::in_memory()?.with_statements(sql.clone());
        furnish(&mut store, false)?;
        let conn = store.connection();
        conn.pragma_update(None, "ignore_check_constraints", true)?;
        conn.execute_batch(planted)?;
        conn.pragma_update(None, "ignore_check_constraints", false)?;
        for op in ops {
            let reply = match keeps(&mut store, &op)? {
                Ok(reply) => reply,
                Err(why) => return Ok(Err(format!("{planted}: {why}"))),
            };
            let Some(Reply::HandedOut { deliveries, .. }) = reply else { continue };
            for delivery in deliveries {
                let settle = Op::Settle { target: delivery.target, token: delivery.token, how: park() };
                if let Err(why) = keeps(&mut store, &settle)? {
                    return Ok(Err(format!("{planted}: {why}")));
                }
            }
        }
    }
    Ok(Ok(()))
}

/// What an operation leaves: as many messages as there ought to be, or all as it was and an error that reports the
/// damage.
fn keeps(store: &mut Store, op: &Op) -> Result<std::result::Result<Option<Reply>, String>> {
    let before = rows(store.connection())?;
    let done = store.apply(LATE, op);
    let after = rows(store.connection())?;
    Ok(match done {
        Err(Error::Corrupt { .. }) if after == before => Ok(None),
        Err(Error::Corrupt { .. }) => Err(format!("{op:?} failed and left something")),
        Err(error) => return Err(error),
        Ok(Reply::EpochBegun { .. }) => Err("an epoch ended twice".to_owned()),
        Ok(reply) => {
            let new = match op {
                Op::Send { .. } | Op::Publish { .. } => 1,
                // An event stays in the log when a group has set it aside.
                Op::Settle { target: Target::Event { .. }, .. } => {
                    usize::from(matches!(reply, Reply::Settled(_)))
                }
                _ => 0,
            };
            match messages(&after) == messages(&before) + new {
                true => Ok(Some(reply)),
                false => Err(format!("{op:?} wrote over something, or passed it by")),
            }
        }
    })
}

/// Tables, and columns with bookkeeping or a part of a message in them.
const PLANTED: &[(&str, &[&str])] = &[
    ("queue", &["name", "payload", "due_at", "attempts", "token", "attempts_max", "corrupt", "reason"]),
    ("entries", &["name", "payload", "due_at", "attempts", "counted", "reason"]),
    ("log", &["name", "payload"]),
    ("records", &["name", "payload", "reason", "attempts"]),
];

/// Values at the edges of what a column takes, and of other classes.
fn values(column: &str) -> Vec<RawValue> {
    let text = |text: &str| RawValue::Text(text.as_bytes().to_vec());
    let mut values = vec![
        RawValue::Null,
        RawValue::Real(1.5_f64.to_bits()),
        RawValue::Text(vec![b'a', 0xff]),
        RawValue::Blob(b"place.bet".to_vec()),
    ];
    match column {
        "name" => {
            let long = |count: usize| text(&"a".repeat(count));
            values.extend([text(""), text("a"), text("pl\u{e4}ce"), text("a b"), long(255), long(256)]);
            // As many characters as may be, and more bytes; and the other way round there are no such.
            values.push(text(&"\u{e4}".repeat(200)));
            values.push(RawValue::Text(b"place.bet\0".to_vec()));
        }
        "payload" | "reason" => values.push(RawValue::Integer(2)),
        _ => {
            let edges = [-1, 0, 1, 2, 4_294_967_294, 4_294_967_295, 4_294_967_296];
            values.extend(edges.map(RawValue::Integer));
            values.push(text("1"));
        }
    }
    values
}

/// Every operation on a sound store, and on one with each value in each column: as the model has it, wherever a
/// snapshot can be read.
pub(super) fn damaged(sql: &Statements) -> Result<ExaminationResult> {
    let mut store = Store::in_memory()?.with_statements(sql.clone());
    furnish(&mut store, false)?;
    store.apply(LATE, &claim(names(), 2))?;
    for which in 0..2 {
        store.apply(LATE, &poll(group(which), 9))?;
    }
    let state = store.snapshot()?;
    let (of_queue, of_log) = (of_queue(&state), of_log(&state));
    let all: Vec<Op> = of_queue.iter().chain(&of_log).cloned().collect();
    for now in [LATE, LATE.plus(10_000)] {
        if let Err(why) = each(&store, now, &all)? {
            return Ok(Err(why));
        }
    }
    for (table, columns) in PLANTED {
        // Of the queue a row that is leased and one that is not.
        let (keys, ops) = match *table {
            "queue" => ("SELECT min(rowid) FROM queue GROUP BY token IS NULL".to_owned(), &of_queue),
            table => (format!("SELECT rowid FROM {table} LIMIT 2"), &of_log),
        };
        let keys: Vec<i64> = {
            let mut statement = store.connection().prepare(&keys)?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        for (key, column) in keys.iter().flat_map(|key| columns.iter().map(move |column| (key, column))) {
            if let Err(why) = with_values(&mut store, LATE, table, *key, column, ops)? {
                return Ok(Err(why));
            }
        }
    }
    Ok(Ok(()))
}

/// Each operation, with each value in a column of a row.
pub(super) fn with_values(
    store: &mut Store,
    now: Timestamp,
    table: &str,
    key: i64,
    column: &str,
    ops: &[Op],
) -> Result<ExaminationResult> {
    for value in values(column) {
        let row = Seq::ZERO.plus(key.unsigned_abs());
        store.connection().execute_batch("SAVEPOINT planted")?;
        plant(store.connection_mut(), table, row, column, &value)?;
        let seen = each(store, now, ops);
        store.connection().execute_batch("ROLLBACK TO planted; RELEASE planted")?;
        if let Err(why) = seen? {
            return Ok(Err(format!("{table} {key}, {column} is {value:?}: {why}")));
        }
    }
    Ok(Ok(()))
}

/// A store with more of a history: an event and an entry that were nacked, a corrupt event that is leased, an id of an
/// event, a number without one; and then an epoch after others of which a later one has ended.
pub(super) fn later(sql: &Statements) -> Result<ExaminationResult> {
    let mut store = Store::in_memory()?.with_statements(sql.clone());
    furnish(&mut store, true)?;
    let event = Message::new(Kind::Event, name(0), *b"last");
    let id = MessageId::new("e-1").unwrap_or_else(|rule| unreachable!("e-1 {rule}"));
    store.apply(LATE, &Op::Publish { message: Arc::new(event.with_id(id)) })?;
    plant(store.connection_mut(), "log", Seq::from(5), "payload", &RawValue::Null)?;
    for which in [0, 1, 0, 1] {
        let Reply::HandedOut { deliveries, .. } = store.apply(LATE, &poll(group(which), 9))? else {
            continue;
        };
        let Some(last) = deliveries.last() else { continue };
        let corrupt = deliveries.iter().find(|delivery| !delivery.body.is_sound()).unwrap_or(last);
        let state = store.snapshot()?;
        if let Err(why) = each(&store, LATE, &of_log(&state))? {
            return Ok(Err(why));
        }
        let nacked = if corrupt.body.is_sound() { &deliveries[0] } else { corrupt };
        let how = Settlement::Nack { delay_ms: 0, reason: "not now".into() };
        store.apply(LATE, &Op::Settle { target: nacked.target.clone(), token: nacked.token, how })?;
    }
    for (expected, next) in [(2, 9), (9, 3)] {
        let state = store.snapshot()?;
        if let Err(why) = each(&store, LATE, &of_log(&state))? {
            return Ok(Err(why));
        }
        store.apply(LATE, &Op::Reset { expected: Epoch::from(expected), next: Epoch::from(next) })?;
    }
    let state = store.snapshot()?;
    each(&store, LATE, &of_log(&state))
}

/// What is kept of a command whose bookkeeping cannot be read is shown by all that reads records.
pub(super) fn bookkeeping(sql: &Statements) -> Result<ExaminationResult> {
    for (column, value) in [
        ("due_at", RawValue::Text(b"5".to_vec())),
        ("attempts", RawValue::Integer(-1)),
        ("token", RawValue::Blob(vec![1])),
        ("attempts_max", RawValue::Text(b"5".to_vec())),
        ("corrupt", RawValue::Real(1.5_f64.to_bits())),
        ("reason", RawValue::Integer(7)),
    ] {
        let mut store = Store::in_memory()?.with_statements(sql.clone());
        store.apply(LATE, &send(Kind::Command))?;
        plant(store.connection_mut(), "queue", Seq::from(1), column, &value)?;
        store.apply(LATE, &claim(names(), 9))?;
        if let Err(why) = readers::agree(&store, &store.snapshot()?, LATE) {
            return Ok(Err(format!("{column} was {value:?}: {why}")));
        }
    }
    Ok(Ok(()))
}

/// The end of the log is missing, or a group's place in it cannot be read: nothing is taken, given or deleted.
pub(super) fn log_short(sql: &Statements) -> Result<ExaminationResult> {
    for (events, furnished) in [(1, false), (3, false), (0, true)] {
        let mut store = Store::in_memory()?.with_statements(sql.clone());
        if furnished {
            furnish(&mut store, true)?;
        }
        let subscribe = Op::Subscribe { group: group(1), name: name(0), start: Start::Earliest };
        store.apply(LATE, &subscribe)?;
        for _ in 0..events {
            store.apply(LATE, &send(Kind::Event))?;
        }
        store.connection().execute_batch("DELETE FROM log WHERE seq = (SELECT log_head FROM store)")?;
        for op in [send(Kind::Event), poll(group(1), 9)] {
            if !matches!(store.apply(LATE, &op), Err(Error::Corrupt { .. })) {
                return Ok(Err(format!("the log ends before its head, and this is not noticed: {op:?}")));
            }
        }
    }
    // A number is missing, and another is kept.
    let mut store = Store::in_memory()?.with_statements(sql.clone());
    furnish(&mut store, true)?;
    store.connection().execute_batch("DELETE FROM log WHERE seq = 1; DELETE FROM subscriptions")?;
    if !matches!(store.apply(LATE, &Op::Prune { retention_ms: 0 }), Err(Error::Corrupt { .. })) {
        return Ok(Err("the log has a gap, and prune does not mind".to_owned()));
    }
    let mut store = Store::in_memory()?.with_statements(sql.clone());
    furnish(&mut store, false)?;
    let conn = store.connection();
    conn.pragma_update(None, "ignore_check_constraints", true)?;
    conn.execute_batch("UPDATE subscriptions SET position = 'x'")?;
    conn.pragma_update(None, "ignore_check_constraints", false)?;
    let reply = store.apply(LATE, &Op::Prune { retention_ms: 0 })?;
    Ok(match reply {
        Reply::Pruned { removed: 0, .. } => Ok(()),
        reply => Err(format!("what a group may need is deleted: {reply:?}")),
    })
}

/// What can be done with the commands of a state, by the workers that hold them and by others.
fn of_queue(state: &State) -> Vec<Op> {
    let mut ops = vec![claim(names(), 9), claim([name(0)].into(), 1), Op::ForgetIds { retention_ms: 0 }];
    for (seq, command) in state.queue.iter().take(3) {
        let token = command.lease.map_or(Token::from(1), |lease| lease.token);
        let (target, lease) = (Target::Command(*seq), Lease::Command(*seq));
        for how in [Settlement::Ack, Settlement::Nack { delay_ms: 5, reason: "x".into() }, park()] {
            ops.push(Op::Settle { target: target.clone(), token, how });
        }
        ops.push(Op::Release { lease: lease.clone(), token });
        ops.push(Op::Extend { lease, token, lease_ms: 5_000 });
        ops.push(Op::Cancel { seq: *seq });
    }
    ops
}

/// What can be done with the log, groups and records of a state.
pub(super) fn of_log(state: &State) -> Vec<Op> {
    let nack = || Settlement::Nack { delay_ms: 5, reason: "x".into() };
    let mut ops = vec![Op::Prune { retention_ms: 0 }, Op::ForgetIds { retention_ms: 0 }, Op::Reboot];
    for (group, cursor) in &state.groups {
        let names = || cursor.names.keys().cloned();
        ops.extend([MANY, NonZeroU32::MIN].map(|attempts_max| Op::Poll {
            group: group.clone(),
            names: names().collect(),
            token: cursor.lease.map(|lease| lease.token),
            max: MANY,
            lease_ms: 1_000,
            attempts_max,
        }));
        for name in names() {
            ops.push(Op::Unsubscribe { group: group.clone(), name: name.clone() });
            ops.push(Op::Seek { group: group.clone(), name, position: Seq::ZERO });
        }
        let Some(token) = cursor.lease.map(|lease| lease.token) else { continue };
        ops.push(Op::Release { lease: Lease::Cursor(group.clone()), token });
        ops.push(Op::Extend { lease: Lease::Cursor(group.clone()), token, lease_ms: 5_000 });
        // Those that there are, and one that there is not.
        let missing = RecordId::from(99);
        let entries = cursor.entries.keys().chain([&missing]);
        let entries = entries.map(|record| Target::Entry { group: group.clone(), record: *record });
        let events = (1..6_u32).map(|seq| Target::Event { group: group.clone(), seq: Seq::from(seq) });
        for target in entries.chain(events) {
            for how in [Settlement::Ack, nack(), park(), Settlement::DeadLetter { reason: "y".into() }] {
                ops.push(Op::Settle { target: target.clone(), token, how });
            }
        }
    }
    for record in (1..6_u32).map(RecordId::from) {
        ops.extend([Op::Redrive { record }, Op::Purge { record }]);
    }
    let (now, other) = (state.epoch, |number: u32| Epoch::from(number));
    for next in [other(1), other(2), other(3), other(9), other(10)] {
        ops.extend([Op::Reset { expected: now, next }, Op::Restore { next }]);
    }
    ops
}

/// Whether something was counted, and never. The model has no such state, and says nothing of it.
fn contradicts_itself(state: &State) -> bool {
    state.groups.values().any(|cursor| {
        cursor.names.values().any(|progress| progress.counted.is_some() && progress.attempts == 0)
            || cursor.entries.values().any(|entry| entry.counted.is_some() && entry.attempts == 0)
    })
}

/// What only reads, and each operation for itself, taken back.
pub(super) fn each(store: &Store, now: Timestamp, ops: &[Op]) -> Result<ExaminationResult> {
    let (conn, sql) = (store.connection(), store.statements());
    let before = match (snapshot(conn), snapshot_by(conn, sql)) {
        (Ok(before), Ok(same)) if before == same => before,
        (Err(Error::Corrupt { .. }), Err(Error::Corrupt { .. })) => return Ok(Ok(())),
        _ => return Ok(Err("another snapshot".to_owned())),
    };
    if contradicts_itself(&before) {
        return Ok(Ok(()));
    }
    if overview(conn, sql, now)? != overview_of(&before, now) {
        return Ok(Err("another overview".to_owned()));
    }
    if next_due_commands(conn, sql, &names())? != readers::due_commands(&before, &names()) {
        return Ok(Err("another due time".to_owned()));
    }
    for group in before.groups.keys() {
        if next_due_group(conn, sql, group, now)? != readers::due_group(&before, group, now) {
            return Ok(Err(format!("another due time of {group}")));
        }
    }
    for op in ops {
        let mut expected = before.clone();
        let reply = step::apply(&mut expected, now, op);
        conn.execute_batch("SAVEPOINT operation")?;
        let actual = execute(conn, sql, now, op);
        let actual = actual.and_then(|reply| Ok((Some(reply), snapshot(conn)?)));
        conn.execute_batch("ROLLBACK TO operation; RELEASE operation")?;
        if let Some(difference) = compare((Some(&reply), &expected), &actual) {
            return Ok(Err(format!("{op:?}: {}", difference.what)));
        }
    }
    Ok(Ok(()))
}
