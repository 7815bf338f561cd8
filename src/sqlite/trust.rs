//! Whether the tables of a file are this program's, and whether a foreign object hangs on them.
//!
//! Invariant: the check compares the text of each object of the schema as SQLite reads it. The column that names the table of a
//! trigger is not believed.
//! Does not depend on: tables of the caller's own and what hangs on them; rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use rusqlite::Connection;

use crate::error::{Damage, Error, Result};
use crate::sqlite::migrate::migrate;
use crate::sqlite::statements::{StatementId as Sql, Statements};

/// What the schema holds: the kind, the table and the text of each object by its name.
type Objects = BTreeMap<String, (String, String, String)>;

/// Fails unless every object of this program is there and unchanged, and no foreign object hangs on its tables: a foreign
/// trigger or index would run whenever a row changes, and a foreign reference would keep rows from being deleted.
///
/// # Errors
/// [`Damage::Schema`] in an [`Error::Corrupt`], and errors of SQLite.
pub(super) fn check_schema(conn: &Connection, sql: &Statements, next: Option<&str>) -> Result<()> {
    static OURS: OnceLock<Objects> = OnceLock::new();
    let ours = match (next, OURS.get()) {
        (None, Some(ours)) => Cow::Borrowed(ours),
        (None, None) => {
            let made = made(sql, None)?;
            Cow::Borrowed(OURS.get_or_init(|| made))
        }
        (Some(_), _) => Cow::Owned(made(sql, next)?),
    };
    let tables = || ours.iter().filter(|(_, (kind, ..))| kind == "table").map(|(name, _)| name.as_str());
    let mut statement = conn.prepare_cached(sql.get(Sql::SchemaLook))?;
    let mut rows = statement.query([])?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let text =
            |index| Ok::<_, Error>(row.get_ref(index)?.as_str_or_null().unwrap_or_default().unwrap_or(""));
        let (kind, name, table, text) = (text(0)?, text(1)?, text(2)?, text(3)?);
        match ours.get(name) {
            Some(our) if (our.0.as_str(), our.1.as_str(), our.2.as_str()) == (kind, table, text) => seen += 1,
            Some(_) => return Err(Damage::Schema.into()),
            None if hangs_on(kind, table, text, tables()).is_some() => return Err(Damage::Schema.into()),
            None => {}
        }
    }
    if seen == ours.len() { Ok(()) } else { Err(Damage::Schema.into()) }
}

/// What this program makes.
fn made(sql: &Statements, next: Option<&str>) -> Result<Objects> {
    let conn = Connection::open_in_memory()?;
    migrate(&conn, 0, next)?;
    let mut statement = conn.prepare(sql.get(Sql::SchemaLook))?;
    let read = |row: &rusqlite::Row<'_>| {
        let text = row.get::<_, Option<String>>(3)?.unwrap_or_default();
        Ok((row.get(1)?, (row.get(0)?, row.get(2)?, text)))
    };
    Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}

/// On which of these tables an object of others hangs: as its trigger or index, or by a reference to it.
pub(super) fn hangs_on<'a>(
    kind: &str,
    table: &str,
    text: &str,
    tables: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let words = words(text);
    let before = |end: &str| words.iter().take_while(|word| *word != end).collect::<Vec<_>>();
    let is_ours = |word: &str| tables.clone().find(|ours| ours.eq_ignore_ascii_case(word));
    match kind {
        // What is created on which table stands before what it does; the name of it is no table.
        "trigger" => is_ours(table).or_else(|| before("begin").iter().find_map(|word| is_ours(word))),
        "index" => is_ours(table).or_else(|| before("(").iter().find_map(|word| is_ours(word))),
        "table" => words.windows(2).find_map(|pair| is_ours(&pair[1]).filter(|_| pair[0] == "references")),
        _ => None,
    }
}

/// The words of an SQL text in lower case, and its opening brackets; quotes and comments are left out.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // A comment within a quoted name is one in this reading: then a name of others is read as more or less than it is.
    while let Some(at) = rest.find("/*").into_iter().chain(rest.find("--")).min() {
        plain.push_str(&rest[..at]);
        plain.push(' ');
        let end = if rest[at..].starts_with("--") { "\n" } else { "*/" };
        rest = rest[at + 2..].split_once(end).map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    let plain = plain.to_ascii_lowercase().replace('(', " ( ");
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '(';
    plain.split(|c| !in_word(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(kind: &str, table: &str, text: &str) -> Option<&'static str> {
        hangs_on(kind, table, text, ["queue", "log"].into_iter())
    }

    #[test]
    fn what_hangs_on_ours_is_told_by_its_text() {
        let trigger = "CREATE TRIGGER t AFTER UPDATE OF x ON [Queue] BEGIN SELECT 1; END";
        assert_eq!(on("trigger", "bets", trigger), Some("queue"));
        assert_eq!(on("trigger", "LOG", "CREATE TRIGGER t ..."), Some("log"));
        assert_eq!(on("trigger", "bets", "CREATE TRIGGER t INSERT ON/**/\"queue\" BEGIN"), Some("queue"));
        assert_eq!(on("trigger", "bets", "CREATE TRIGGER t INSERT ON--x\nqueue BEGIN"), Some("queue"));
        // A comment ends behind where it began, and may begin with the text.
        assert_eq!(on("index", "bets", "/**/CREATE INDEX i ON bets(x)"), None);
        assert_eq!(on("index", "bets", "CREATE INDEX i ON/*/queue */bets(x)"), None);
        for other in ["my_queue", "queue2", "log$", "$log"] {
            let trigger = format!("CREATE TRIGGER t INSERT ON {other} BEGIN SELECT 1; END");
            assert_eq!(on("trigger", "bets", &trigger), None, "{other}");
        }
        let theirs = "CREATE TRIGGER t INSERT ON bets BEGIN INSERT INTO queue VALUES (1); END";
        assert_eq!(on("trigger", "bets", theirs), None);
        assert_eq!(on("index", "bets", "CREATE INDEX i ON queue(x)"), Some("queue"));
        assert_eq!(on("index", "bets", "CREATE INDEX i ON bets(queue)"), None);
        assert_eq!(on("table", "bets", "CREATE TABLE bets (queue REFERENCES `queue`(seq))"), Some("queue"));
        assert_eq!(on("table", "bets", "CREATE TABLE bets (queue, log REFERENCES other)"), None);
        assert_eq!(on("view", "v", "CREATE VIEW v AS SELECT * FROM queue"), None);
    }

    #[test]
    fn a_file_of_ours_is_believed_and_one_that_was_changed_is_not() {
        let sql = Statements::standard();
        let store = || {
            let conn = Connection::open_in_memory().unwrap();
            migrate(&conn, 0, None).unwrap();
            conn
        };
        check_schema(&store(), &sql, None).unwrap();
        for (change, believed) in [
            (
                "CREATE TABLE bets (x); CREATE TRIGGER t AFTER INSERT ON bets BEGIN DELETE FROM bets; END",
                true,
            ),
            ("CREATE VIEW v AS SELECT * FROM queue", true),
            ("CREATE TRIGGER t AFTER INSERT ON queue BEGIN SELECT 1; END", false),
            ("CREATE INDEX i ON queue (payload)", false),
            ("CREATE TABLE bets (x REFERENCES queue (seq) ON DELETE CASCADE)", false),
            ("DROP INDEX queue_due", false),
            ("DROP TABLE tombstones", false),
            ("DROP TABLE tombstones; CREATE VIEW tombstones AS SELECT 1 AS seq", false),
            ("DROP INDEX queue_due; CREATE INDEX queue_due ON queue (name, seq, due_at)", false),
        ] {
            let conn = store();
            conn.execute_batch(change).unwrap();
            let found = check_schema(&conn, &sql, None);
            assert_eq!(found.is_ok(), believed, "{change}: {found:?}");
        }
    }
}
