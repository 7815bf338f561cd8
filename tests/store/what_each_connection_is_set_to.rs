//! Every connection to a store has the same settings, whatever SQLite's defaults are.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use fencepost::internals::sqlite::{Durability, OpenOptions, Store, open_reader};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

fn number(conn: &Connection, pragma: &str) -> i64 {
    conn.pragma_query_value(None, pragma, |row| row.get(0)).unwrap()
}

/// The schema is not trusted, SQLite's own structures cannot be written, text does not pass for a name, plans stay.
fn is_hardened(conn: &Connection) {
    let settings = [
        ("defensive", DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        ("trusted schema", DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        ("text in double quotes", DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        ("text in double quotes in a schema", DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        ("plans that do not depend on values", DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
        ("no checkpoint on closing", DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false),
    ];
    for (what, config, expected) in settings {
        assert_eq!(conn.db_config(config).unwrap(), expected, "{what}");
    }
    assert_eq!(number(conn, "cell_size_check"), 1);
}

#[test]
fn a_store_is_hardened_and_syncs_as_far_as_its_durability_asks() {
    let folder = tempfile::tempdir().unwrap();
    for (durability, synchronous) in [(Durability::PowerLoss, 2), (Durability::ProcessCrash, 1)] {
        let path = folder.path().join(format!("{synchronous}.db"));
        for _ in 0..2 {
            let store = Store::open(&path, &OpenOptions { durability, ..OpenOptions::default() }).unwrap();
            is_hardened(store.connection());
            assert_eq!(number(store.connection(), "synchronous"), synchronous);
            let mode: String =
                store.connection().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            assert_eq!(mode, "wal");
            store.close().unwrap();
        }
    }
}

#[test]
fn a_store_in_memory_is_hardened_as_well() {
    let store = Store::in_memory().unwrap();
    is_hardened(store.connection());
    assert_eq!(number(store.connection(), "synchronous"), 2);
}

#[test]
fn a_reader_is_hardened_and_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus.db");
    let store = Store::open(&path, &OpenOptions::default()).unwrap();
    let reader = open_reader(&path, &OpenOptions::default()).unwrap();
    is_hardened(&reader);
    assert_eq!(number(&reader, "query_only"), 1);
    assert_eq!(number(&reader, "synchronous"), 2);
    assert!(reader.execute("DELETE FROM ids", []).is_err());
    drop(store);
}
