//! Hostile schemas over a store that was healthy.
//!
//! Invariant: each is made by SQL that can be run on any file, and says whether the store must refuse it.
//! Does not depend on: how the store finds out.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use fencepost::error::Result;

/// Something that was done to a file.
#[derive(Clone, Copy, Debug)]
pub struct Hostile {
    /// What it is.
    pub name: &'static str,
    /// The SQL that does it.
    pub sql: &'static str,
    /// Whether a store must not be opened that has it.
    pub refused: bool,
}

const fn refused(name: &'static str, sql: &'static str) -> Hostile {
    Hostile { name, sql, refused: true }
}

const fn harmless(name: &'static str, sql: &'static str) -> Hostile {
    Hostile { name, sql, refused: false }
}

/// Rows without end.
macro_rules! endless {
    () => {
        "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    };
}

/// Changes what the file says of its schema, and lets SQLite read it anew.
macro_rules! schema {
    ($change:literal) => {
        concat!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET ",
            $change,
            "; PRAGMA writable_schema = OFF"
        )
    };
}

/// All of them.
pub const HOSTILE: &[Hostile] = &[
    refused(
        "a-trigger-without-end",
        concat!("CREATE TRIGGER t AFTER UPDATE ON store BEGIN SELECT * FROM (", endless!(), "); END"),
    ),
    refused("a-trigger-that-deletes", "CREATE TRIGGER t AFTER INSERT ON queue BEGIN DELETE FROM queue; END"),
    refused(
        "a-trigger-that-prevents",
        "CREATE TRIGGER t BEFORE DELETE ON queue BEGIN SELECT RAISE(IGNORE); END",
    ),
    refused(
        "a-trigger-that-lies",
        concat!(
            "CREATE TABLE bets (x); CREATE TRIGGER t BEFORE DELETE ON queue BEGIN SELECT RAISE(IGNORE); END; ",
            schema!("tbl_name = 'bets' WHERE name = 't'")
        ),
    ),
    refused(
        "a-view-without-end",
        concat!(
            "DROP TABLE subscriptions; CREATE VIEW subscriptions AS SELECT 'audit' AS group_name, 'pay' AS name, \
             0 AS position, 0 AS attempts, NULL AS counted, NULL AS reason FROM (",
            endless!(),
            ")"
        ),
    ),
    refused("a-view-of-the-store", "DROP TABLE store; CREATE VIEW store AS SELECT 1 AS one"),
    refused(
        "a-generated-column",
        "DROP TABLE tombstones; CREATE TABLE tombstones (seq INTEGER PRIMARY KEY, \
         g AS (hex(zeroblob(400000000))))",
    ),
    refused(
        "a-check-that-calls",
        "DROP TABLE tombstones; CREATE TABLE tombstones (seq INTEGER PRIMARY KEY \
         CHECK (length(hex(zeroblob(400000000))) > 0))",
    ),
    refused(
        "a-default-that-calls",
        schema!(
            "sql = replace(sql, 'boot_id     ANY', 'boot_id ANY DEFAULT (load_extension(''x''))') \
                 WHERE name = 'store'"
        ),
    ),
    refused(
        "a-virtual-table",
        "DROP TABLE ids; CREATE VIRTUAL TABLE ids USING fts5(kind, id, seq, digest, ended_at)",
    ),
    refused("an-index-that-calls", "CREATE INDEX i ON records (length(hex(zeroblob(record * 1000))))"),
    refused("an-index-of-others", "CREATE INDEX i ON queue (payload)"),
    refused("a-unique-index", "CREATE UNIQUE INDEX i ON queue (name) WHERE seq > 100"),
    refused("a-missing-index", "DROP INDEX queue_unreadable"),
    refused("another-index", "DROP INDEX queue_due; CREATE INDEX queue_due ON queue (name, seq)"),
    refused("a-missing-table", "DROP TABLE entries"),
    refused("a-column-more", "ALTER TABLE queue ADD COLUMN more ANY"),
    refused("a-garbled-text", schema!("sql = 'CREATE TABLE log (' WHERE name = 'log'")),
    refused("an-empty-schema", "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema"),
    refused("a-reference", "CREATE TABLE bets (command REFERENCES queue (seq) ON DELETE CASCADE)"),
    refused("a-newer-version", "PRAGMA user_version = 99"),
    refused("an-impossible-version", "PRAGMA user_version = -7"),
    refused("another-application", "PRAGMA application_id = 7"),
    harmless(
        "a-shared-root",
        schema!("rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'queue') WHERE name = 'log'"),
    ),
    harmless("the-first-page-as-root", schema!("rootpage = 1 WHERE name = 'records'")),
    harmless("a-root-far-away", schema!("rootpage = 2147483646 WHERE name = 'ids'")),
    harmless("a-negative-root", schema!("rootpage = -3 WHERE name = 'ids_seq'")),
    harmless("an-index-as-a-table", schema!("rootpage = 2 WHERE name = 'queue_due'")),
    harmless(
        "tables-of-the-caller",
        "CREATE TABLE bets (id INTEGER PRIMARY KEY, queue); CREATE INDEX bets_queue ON bets (queue); \
         CREATE TRIGGER bets_t AFTER INSERT ON bets BEGIN DELETE FROM bets WHERE queue IS NULL; END",
    ),
    harmless("a-view-that-nobody-asks", concat!("CREATE VIEW v AS ", endless!())),
    harmless(
        "a-full-text-index",
        "CREATE VIRTUAL TABLE texts USING fts5(x); INSERT INTO texts VALUES ('a b c')",
    ),
    harmless("damaged-statistics", "ANALYZE; UPDATE sqlite_stat1 SET stat = '99999999999 x -1 0'"),
];

/// Does it to a file.
///
/// # Errors
/// If this cannot be done to that file, which then may be left half done.
pub fn inflict(path: &Path, hostile: &Hostile) -> Result<()> {
    let conn = Connection::open(path)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.execute_batch(hostile.sql)?;
    Ok(())
}
