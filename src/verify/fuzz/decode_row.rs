//! Any values in any columns of every table, through the real statements.
//!
//! Invariant: nothing panics. What is delivered encodes to the same row again, or says that it is corrupt and carries
//! the raw columns unchanged; anything else is a typed error that says what is damaged; no command vanishes. What was
//! planted is put back afterwards, and what was done is taken back.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use fencepost_model::op::{Delivery, Op, Reply, Settlement, Start, Target};
use fencepost_model::state::{Body, Origin};
use fencepost_model::vocabulary::{
    Epoch, Kind, Message, MessageId, Names, Raw, RawValue, RecordId, Seq, Timestamp,
};
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

use super::bytes::{ByteSource, ByteWriter};
use super::furnished::{LATE, claim, furnish, group, name, names, poll};
use super::mended::mend;
use super::on_harness;
use fencepost::check::report;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{
    BODY_COLUMNS, BOOKKEEPING_COLUMNS, Inspection, Listed, RecordFilter, Statements, Store, columns_of,
    execute, next_due_commands, next_due_group, overview, raw_columns, record, records, snapshot, survey,
};

/// A table: what names one of its rows, and its columns.
struct Table {
    name: &'static str,
    key: &'static str,
    /// Whether its rows carry a message; then its columns stand before the others.
    carries: bool,
    own: &'static [&'static str],
}

impl Table {
    fn columns(&self) -> Vec<&'static str> {
        let body: &[&str] = if self.carries { &BODY_COLUMNS } else { &[] };
        body.iter().chain(self.own).copied().collect()
    }
}

const fn table(name: &'static str, key: &'static str, own: &'static [&'static str]) -> Table {
    Table { name, key, carries: false, own }
}

const fn carrying(name: &'static str, own: &'static [&'static str]) -> Table {
    Table { name, key: "rowid", carries: true, own }
}

const TABLES: [Table; 10] = [
    carrying("queue", &["due_at", "attempts", "token", "attempts_max", "corrupt", "reason", "seq"]),
    carrying("log", &["seq"]),
    carrying("entries", &["group_name", "seq", "due_at", "attempts", "counted", "reason", "record"]),
    carrying(
        "records",
        &[
            "kind",
            "seq",
            "epoch",
            "group_name",
            "place",
            "cause",
            "reason",
            "attempts",
            "moved_at",
            "unreadable",
            "raw_due_at",
            "raw_attempts",
            "raw_token",
            "raw_attempts_max",
            "raw_corrupt",
            "raw_reason",
            "record",
        ],
    ),
    table(
        "cursors",
        "group_name",
        &["group_name", "due_at", "token", "attempts_max", "handed_through", "corrupt_seq"],
    ),
    table(
        "subscriptions",
        "group_name, name",
        &["group_name", "name", "position", "attempts", "counted", "reason"],
    ),
    table("ids", "kind, id", &["kind", "id", "seq", "digest", "ended_at"]),
    table(
        "store",
        "rowid",
        &[
            "queue_last",
            "record_last",
            "token_last",
            "log_first",
            "log_head",
            "epoch",
            "commit_seq",
            "boot_id",
        ],
    ),
    table("tombstones", "rowid", &["seq"]),
    table("epochs_retired", "rowid", &["epoch"]),
];

/// Of which rows single columns are changed: the first, the second where there is one, and the head of the log.
fn rows_of(table: &Table) -> &'static [u8] {
    match table.name {
        "store" | "tombstones" | "epochs_retired" => &[0],
        "log" => &[0, 1, 4],
        _ => &[0, 1],
    }
}

/// A furnished store, and beside it the connection that plants: it alone ignores the checks of tables. (To switch them
/// off and on for one connection has SQLite prepare every statement anew.)
struct RowHarness {
    store: Store,
    planter: Connection,
}

thread_local! {
    static HARNESS: RefCell<Option<RowHarness>> = const { RefCell::new(None) };
}

/// Runs on bytes: each change is a table, a row, a column and a value, or a sound message in place of a row's.
pub(super) fn run(data: &[u8]) {
    on_harness(&HARNESS, || harness(&Statements::standard()), |harness| within(harness, ByteSource(data)));
}

/// Runs all seeds on a store that runs these statements, which panics if a promise is broken.
///
/// # Errors
/// What has no typed answer.
pub(crate) fn run_seeds(sql: &Statements) -> Result<()> {
    let mut harness = harness(sql)?;
    seeds().iter().try_for_each(|(_, seed)| within(&mut harness, ByteSource(seed)))
}

fn harness(sql: &Statements) -> Result<RowHarness> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let uri = format!("file:/decode-row-{}?vfs=memdb", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut store = Store::over(Connection::open(&uri)?)?.with_statements(sql.clone());
    furnish(&mut store, true)?;
    let planter = Connection::open(&uri)?;
    planter.pragma_update(None, "ignore_check_constraints", true)?;
    for Table { name, .. } in &TABLES {
        planter.execute_batch(&format!("CREATE TEMP TABLE kept_{name} AS SELECT * FROM main.{name}"))?;
    }
    Ok(RowHarness { store, planter })
}

fn within(harness: &mut RowHarness, mut bytes: ByteSource<'_>) -> Result<()> {
    let which = bytes.u8();
    let mut touched = BTreeSet::new();
    harness.planter.execute_batch("BEGIN IMMEDIATE")?;
    for _ in 0..8 {
        if bytes.is_empty() {
            break;
        }
        touched.insert(change(&harness.planter, &mut bytes)?);
    }
    harness.planter.execute_batch("COMMIT")?;
    harness.store.connection().execute_batch("BEGIN IMMEDIATE")?;
    look(&harness.store)?;
    work(&mut harness.store, which)?;
    harness.store.connection().execute_batch("ROLLBACK")?;
    harness.planter.execute_batch("BEGIN IMMEDIATE")?;
    for name in touched {
        for sql in
            [format!("DELETE FROM main.{name}"), format!("INSERT INTO main.{name} SELECT * FROM kept_{name}")]
        {
            harness.planter.prepare_cached(&sql)?.execute([])?;
        }
    }
    harness.planter.execute_batch("COMMIT")?;
    Ok(())
}

/// Makes one change, unless a row of the same key is there already, and says to which table.
fn change(planter: &Connection, bytes: &mut ByteSource<'_>) -> Result<&'static str> {
    let at = usize::from(bytes.u8());
    let table = &TABLES[at % TABLES.len()];
    let row = i64::from(bytes.u8() % 8);
    if at >= 0xf0 && at % TABLES.len() < 2 {
        sound(planter, table, row, bytes)?;
    } else {
        let column = bytes.one_of(&table.columns());
        put(planter, table, row, column, bytes.value())?;
    }
    Ok(table.name)
}

/// Puts a value into a column of the row that comes at this place.
fn put(planter: &Connection, table: &Table, row: i64, column: &str, value: RawValue) -> Result<()> {
    let Table { name, key, .. } = table;
    // SQL makes a text of bytes that are none.
    let (value, as_text) = match value {
        RawValue::Null => (Value::Null, false),
        RawValue::Integer(value) => (Value::Integer(value), false),
        RawValue::Real(bits) => (Value::Real(f64::from_bits(bits)), false),
        RawValue::Text(bytes) => (Value::Blob(bytes), true),
        RawValue::Blob(bytes) => (Value::Blob(bytes), false),
    };
    let value_sql = if as_text { "CAST(?1 AS TEXT)" } else { "?1" };
    let sql = format!(
        "UPDATE OR IGNORE main.{name} SET {column} = {value_sql} \
         WHERE ({key}) IN (SELECT {key} FROM main.{name} LIMIT 1 OFFSET ?2)"
    );
    let mut statement = planter.prepare_cached(&sql)?;
    match statement.execute(rusqlite::params![value, row]).map_err(Error::from) {
        // An integer key takes nothing but integers.
        Ok(_) | Err(Error::Corrupt { .. } | Error::Sqlite { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts a message of any bytes in place of a row's, as this program would have written it.
fn sound(planter: &Connection, table: &Table, row: i64, bytes: &mut ByteSource<'_>) -> Result<()> {
    let kind = if table.name == "log" { Kind::Event } else { Kind::Command };
    let sql = format!("SELECT rowid FROM main.{} LIMIT 1 OFFSET ?1", table.name);
    let found = planter.prepare_cached(&sql)?.query_row([row], |row| row.get::<_, i64>(0));
    let Ok(seq) = found else { return Ok(()) };
    let Some(number) = u64::try_from(seq).ok().and_then(|seq| Seq::new(seq).ok()) else { return Ok(()) };
    let mut message = Message::new(kind, name(bytes.u8()), bytes.piece());
    if let Ok(id) = MessageId::new(String::from_utf8_lossy(bytes.piece())) {
        message = message.with_id(id);
    }
    let text = |bytes: &mut ByteSource<'_>| String::from_utf8_lossy(bytes.piece()).into_owned();
    message = message.with_metadata(text(bytes), text(bytes));
    let columns = columns_of(&message, number, Timestamp::ZERO.plus(u64::from(bytes.u32())));
    for (column, value) in columns.0.iter() {
        put(planter, table, row, column, value.clone())?;
    }
    Ok(())
}

/// What only reads finds everything, or says what is damaged.
fn look(store: &Store) -> Result<()> {
    let conn = store.connection();
    let found = survey(conn)?;
    let sound = found.damaged.is_empty();
    match snapshot(conn) {
        Ok(state) => assert!(sound && state == found.state, "a snapshot of {:?}", found.damaged),
        Err(Error::Corrupt { .. }) => assert!(!sound, "no snapshot, and nothing damaged"),
        Err(error) => return Err(error),
    }
    let seen = Inspection { survey: Some(found), ..Inspection::default() };
    let said = report(&seen);
    assert!(sound || !said.is_sound());
    for finding in said.findings {
        assert!(!finding.to_string().is_empty());
    }
    typed(overview(conn, store.statements(), LATE))?;
    typed(next_due_commands(conn, store.statements(), &names()))?;
    for which in 0..2 {
        typed(next_due_group(conn, store.statements(), &group(which), LATE))?;
    }
    listing(store)
}

/// Every record is listed, whatever its columns hold, unless it could not be named.
fn listing(store: &Store) -> Result<()> {
    let conn = store.connection();
    let filter = RecordFilter { place: None, name: None, after: RecordId::ZERO, limit: 100 };
    let listed = records(conn, store.statements(), &filter)?;
    let sql = "SELECT count(*) FROM records WHERE record > 0";
    let rows: isize = conn.query_row(sql, [], |row| row.get(0))?;
    assert_eq!(listed.len().cast_signed(), rows, "not every record is listed");
    for (record, listed) in listed {
        let raw = match listed {
            Listed::Damaged(raw) => raw,
            Listed::Sound(record) => match record.body {
                Body::Sound { .. } => continue,
                Body::Corrupt { raw, .. } | Body::Unreadable { raw } => raw,
            },
        };
        unchanged(conn, "records", record.get(), &raw, &|column| match column {
            "due_at" | "attempts" | "token" | "attempts_max" | "corrupt" | "reason" => {
                format!("raw_{column}")
            }
            column => column.to_owned(),
        })?;
    }
    Ok(())
}

/// Raw columns are those of the row.
fn unchanged(
    conn: &Connection,
    table: &str,
    key: u64,
    raw: &Raw,
    column: &dyn Fn(&str) -> String,
) -> Result<()> {
    // A damaged record carries all of its columns under their own names.
    let own = raw.0.iter().any(|(name, _)| &**name == "record");
    let names: Vec<String> =
        raw.0.iter().map(|(name, _)| if own { name.to_string() } else { column(name) }).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let there = raw_columns(conn, table, Seq::ZERO.plus(key), &names)?;
    let values = |raw: &Raw| raw.0.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    assert_eq!(values(raw), values(&there), "raw columns of {table} {key}");
    Ok(())
}

/// A typed answer, or the damage that was found.
fn typed<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Error::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every row of a table with what it carries, before an operation.
fn carried(store: &Store, table: &str) -> Result<BTreeMap<u64, Raw>> {
    let conn = store.connection();
    let mut statement = conn.prepare_cached(&format!("SELECT rowid FROM {table} WHERE rowid >= 0"))?;
    let keys: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    keys.iter()
        .map(|key| {
            let seq = Seq::ZERO.plus(key.unsigned_abs());
            Ok((seq.get(), raw_columns(conn, table, seq, &BODY_COLUMNS)?))
        })
        .collect()
}

/// Does what consumers and owners do, each thing for itself.
fn work(store: &mut Store, which: u8) -> Result<()> {
    let one: Names = [name(which)].into();
    let mut ops = vec![claim(one, 1 + u32::from(which % 4)), claim(Names::new(), 9), claim(names(), 9)];
    ops.extend([poll(group(0), 1 + u32::from(which % 3)), poll(group(1), 9), poll(group(0), 9)]);
    ops.extend((1..6_u32).map(|record| Op::Redrive { record: RecordId::from(record) }));
    ops.push(poll(group(which), 9));
    ops.extend((1..8_u32).map(|seq| Op::Cancel { seq: Seq::from(seq) }));
    ops.push(Op::Purge { record: RecordId::from(1) });
    for (kind, known) in
        [(Kind::Command, "c-1"), (Kind::Command, "new"), (Kind::Event, "e-1"), (Kind::Event, "new")]
    {
        let id = MessageId::new(known).unwrap_or_else(|rule| unreachable!("{known} {rule}"));
        let message = Message::new(kind, name(which), *b"more").with_id(id).into();
        ops.push(match kind {
            Kind::Command => Op::Send { message, delay_ms: 1 },
            Kind::Event => Op::Publish { message },
        });
    }
    ops.push(Op::Subscribe { group: group(1), name: name(1), start: Start::Earliest });
    ops.push(Op::Subscribe { group: group(1), name: name(1), start: Start::Latest });
    ops.push(Op::Seek { group: group(which), name: name(0), position: Seq::from(2) });
    ops.push(Op::ForgetIds { retention_ms: 0 });
    ops.push(Op::Prune { retention_ms: 0 });
    ops.push(Op::Unsubscribe { group: group(which), name: name(0) });
    ops.push(Op::Reset { expected: Epoch::from(2), next: Epoch::from(3) });
    ops.push(Op::Reboot);
    ops.push(Op::Restore { next: Epoch::from(9) });
    for op in ops {
        if !matches!(op, Op::Claim { .. } | Op::Poll { .. }) {
            operate(store, &op)?;
            continue;
        }
        let (queue, log) = (carried(store, "queue")?, carried(store, "log")?);
        let entries = carried(store, "entries")?;
        let commands = commands(store)?;
        let whole = unreadable(store)?;
        let Some(reply) = operate(store, &op)? else { continue };
        let Reply::HandedOut { deliveries, dead_lettered } = reply else { continue };
        for id in dead_lettered {
            kept(store, id, &whole)?;
        }
        assert_eq!(commands, self::commands(store)?, "{op:?}: a command vanished, or one appeared");
        for delivery in deliveries {
            let rows = match &delivery.target {
                Target::Command(seq) => queue.get(&seq.get()),
                Target::Event { seq, .. } => log.get(&seq.get()),
                Target::Entry { record, .. } => entries.get(&record.get()),
            };
            check(&op, &delivery, rows);
            let (lease, token) = (delivery.target.lease(), delivery.token);
            operate(store, &Op::Extend { lease: lease.clone(), token, lease_ms: 2_000 })?;
            let how =
                if which & 0x40 == 0 { Settlement::Ack } else { Settlement::Park { reason: "x".into() } };
            let settle = Op::Settle { target: delivery.target, token: delivery.token, how: how.clone() };
            let settled = operate(store, &settle)?;
            operate(store, &Op::Release { lease, token })?;
            let acked = how == Settlement::Ack && matches!(settled, Some(Reply::Settled(_)));
            assert!(!acked || delivery.body.is_sound(), "what cannot be decoded was acked: {settle:?}");
        }
    }
    mend(store, operate)
}

/// Every command with all of its columns, as a record keeps those of one that cannot be read.
fn unreadable(store: &Store) -> Result<BTreeMap<u64, Raw>> {
    let columns: Vec<&str> = BODY_COLUMNS.iter().chain(&BOOKKEEPING_COLUMNS).copied().collect();
    let keys = carried(store, "queue")?.into_keys();
    keys.map(|key| Ok((key, raw_columns(store.connection(), "queue", Seq::ZERO.plus(key), &columns)?)))
        .collect()
}

/// A command that was set aside because it cannot be read is kept with every column.
fn kept(store: &Store, id: RecordId, whole: &BTreeMap<u64, Raw>) -> Result<()> {
    let Some(Listed::Sound(found)) = record(store.connection(), store.statements(), id)? else {
        return Ok(());
    };
    let (Origin::Queue { seq }, Body::Unreadable { raw }) = (&found.origin, &found.body) else {
        return Ok(());
    };
    assert_eq!(Some(raw), whole.get(&seq.get()), "record {id} does not keep command {seq}");
    Ok(())
}

/// An operation in a part of the transaction that is taken back if it fails.
fn operate(store: &Store, op: &Op) -> Result<Option<Reply>> {
    let conn = store.connection();
    conn.execute_batch("SAVEPOINT fuzz")?;
    let done = typed(execute(conn, store.statements(), LATE, op))?;
    if done.is_none() {
        conn.execute_batch("ROLLBACK TO fuzz")?;
    }
    conn.execute_batch("RELEASE fuzz")?;
    Ok(done)
}

/// How many commands there are, wherever they are.
fn commands(store: &Store) -> Result<i64> {
    let sql = "SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM records WHERE kind = 'command')";
    Ok(store.connection().query_row(sql, [], |row| match row.get_ref(0)? {
        ValueRef::Integer(count) => Ok(count),
        _ => Ok(-1),
    })?)
}

/// A delivery is what its row holds, and was asked for.
fn check(op: &Op, delivery: &Delivery, row: Option<&Raw>) {
    let Some(row) = row else { panic!("{delivery:?} comes from no row") };
    let (Op::Claim { names, .. } | Op::Poll { names, .. }) = op else { return };
    match &delivery.body {
        Body::Sound { message, at } => {
            assert_eq!(columns_of(message, delivery.seq, *at), *row, "encodes to another row");
            assert!(names.contains(&message.name), "{delivery:?} was not asked for by {op:?}");
        }
        Body::Corrupt { raw, .. } | Body::Unreadable { raw } => {
            assert_eq!(raw, row, "the raw columns were changed");
        }
    }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let values = [
        ("null", RawValue::Null),
        ("integer", RawValue::Integer(-1)),
        ("real", RawValue::Real(1.5_f64.to_bits())),
        ("text", RawValue::Text(vec![b'a', 0xff])),
        ("blob", RawValue::Blob(b"place.bet".to_vec())),
    ];
    for (at, table) in (0_u8..).zip(&TABLES) {
        for (class, value) in &values {
            // Each column of the second row, eight at a time; and those of a class that no column has one at a time,
            // for damage further back is not looked at.
            let (count, rows) = (table.columns().len(), rows_of(table));
            let row = *rows.get(1).unwrap_or(&rows[0]);
            let at_once = if *class == "real" { 1 } else { 8 };
            for first in (0..count).step_by(at_once) {
                let columns = (first..count.min(first + at_once)).map(|column| column.to_le_bytes()[0]);
                let changes = columns.fold(ByteWriter::default().u8(at), |to, column| {
                    to.u8(at).u8(row).u8(column).value(value)
                });
                seeds.push((format!("{}-{first}-{class}", table.name), changes.0));
            }
        }
    }
    // The event at the head of the log is another's, and the beginning of the log cannot be read.
    for (class, value) in &values {
        let head = ByteWriter::default().u8(0).u8(1).u8(4).u8(7).value(&RawValue::Integer(77));
        seeds.push((format!("store-first-without-head-{class}"), head.u8(7).u8(0).u8(3).value(value).0));
    }
    for (what, at) in [("command", 0xf0), ("event", 0xf1)] {
        let sound = ByteWriter::default().u8(0).u8(at).u8(0).u8(0).piece(b"payload").piece(b"an id");
        seeds.push((format!("sound-{what}"), sound.piece(b"key").piece("\u{7}\"".as_bytes()).u32(7).0));
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs two changes at a time: a few hundred from `FENCEPOST_SEED` on, or with `FENCEPOST_PAIRS=all` every pair of
    /// places with every pair of values, in some minutes. One answer may stand in front of another, so that it takes
    /// two changes to hear it.
    #[test]
    fn any_two_changes_have_typed_answers() {
        let places: Vec<(u8, u8, u8)> = (0_u8..)
            .zip(&TABLES)
            .flat_map(|(at, table)| {
                let count = table.columns().len().to_le_bytes()[0];
                rows_of(table).iter().flat_map(move |row| (0..count).map(move |column| (at, *row, column)))
            })
            .collect();
        let pairs: Vec<_> = (1..places.len()).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
        let values = [RawValue::Null, RawValue::Integer(77), RawValue::Text(b"a".to_vec())];
        let all = pairs.len() * values.len().pow(2);
        let seed = std::env::var("FENCEPOST_SEED").ok().map_or(1, |seed| seed.parse().expect("a number"));
        let count =
            if std::env::var_os("FENCEPOST_PAIRS").is_some_and(|which| which == "all") { all } else { 400 };
        println!("{count} of {all}, FENCEPOST_SEED={seed}");
        for n in 0..count {
            // A step that is prime leads to each of them once.
            let which = (n + seed) * 15_485_863 % all;
            let (first, second) = pairs[which / values.len().pow(2)];
            let mut input = ByteWriter::default().u8((n + seed).to_le_bytes()[0] & 0x41);
            for (place, value) in [(first, which), (second, which / values.len())] {
                let (table, row, column) = places[place];
                input = input.u8(table).u8(row).u8(column).value(&values[value % values.len()]);
            }
            let ran = std::panic::catch_unwind(|| run(&input.0));
            assert!(ran.is_ok(), "{:?} and {:?}: {:02x?}", places[first], places[second], input.0);
        }
    }
}
