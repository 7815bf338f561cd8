//! The query plan of every statement. No hot statement scans a table or sorts: on an empty store, on a full one, and on
//! one that ANALYZE has looked at.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fmt::Write as _;
use std::num::NonZeroU32;

use fencepost::internals::sqlite::{Path, StatementId, Statements, Store};
use fencepost_model::op::{Op, Settlement, Start, Target};
use fencepost_model::vocabulary::{Group, Kind, Message, MessageId, Name, RecordId, Seq, Timestamp, Token};
use rusqlite::{Connection, StatementStatus};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect()
}

fn plans(conn: &Connection) -> String {
    let sql = Statements::standard();
    let mut text = String::new();
    for id in StatementId::ALL {
        let mark = if id.path() == Path::Listing { " (listing)" } else { "" };
        writeln!(text, "{id:?}{mark}").unwrap();
        // Statements that control transactions have no plan.
        let words = ["SELECT", "INSERT", "UPDATE", "DELETE"];
        if !words.iter().any(|word| sql.get(*id).starts_with(word)) {
            continue;
        }
        for line in plan(conn, sql.get(*id)) {
            writeln!(text, "    {line}").unwrap();
        }
    }
    text
}

fn apply(store: &mut Store, now: u32, op: &Op) {
    store.apply(Timestamp::from(now), op).unwrap();
}

/// Thousands of commands, events, ids, records and entries, in the shapes that a store has after a while.
fn populate(store: &mut Store) {
    let one = NonZeroU32::MIN;
    let group = Group::new("risk").unwrap();
    apply(store, 0, &Op::Subscribe { group: group.clone(), name: name("a"), start: Start::Earliest });
    for n in 0..600_u32 {
        let topic = name(["a", "b", "c"][n as usize % 3]);
        let id = MessageId::new(format!("id-{n}")).unwrap();
        let command = Message::new(Kind::Command, topic.clone(), *b"payload").with_id(id.clone());
        apply(store, n, &Op::Send { message: command.into(), delay_ms: 5 });
        let event = Message::new(Kind::Event, topic.clone(), *b"payload").with_id(id);
        apply(store, n, &Op::Publish { message: event.into() });
        let names = [topic].into();
        apply(store, n, &Op::Claim { names, max: one, lease_ms: 9, attempts_max: one });
        let names = [name("a")].into();
        let (token, max) = (None, one);
        apply(
            store,
            n,
            &Op::Poll { group: group.clone(), names, token, max, lease_ms: 0, attempts_max: one },
        );
        let how = if n % 2 == 0 { Settlement::Ack } else { Settlement::Park { reason: "x".into() } };
        let target = Target::Command(Seq::from(n / 2));
        apply(store, n, &Op::Settle { target, token: Token::from(n), how });
        apply(store, n, &Op::Redrive { record: RecordId::from(n / 3) });
    }
}

fn offences(plans: &str) -> Vec<String> {
    let mut offences = Vec::new();
    let mut heading = "";
    for line in plans.lines() {
        if !line.starts_with(' ') {
            heading = line;
        } else if !heading.ends_with("(listing)") && (line.contains("SCAN") || line.contains("TEMP B-TREE")) {
            // The row of constants that an INSERT or SELECT without a table reads.
            if !line.contains("SCAN CONSTANT ROW") {
                offences.push(format!("{heading}: {}", line.trim()));
            }
        }
    }
    offences
}

#[test]
fn no_hot_statement_scans_or_sorts_whatever_the_store_holds() {
    let mut store = Store::in_memory().unwrap();
    let empty = plans(store.connection());
    assert_eq!(offences(&empty), Vec::<String>::new());
    insta::assert_snapshot!("plans", empty);
    store.connection().execute_batch("ANALYZE").unwrap();
    assert_eq!(offences(&plans(store.connection())), Vec::<String>::new());
    populate(&mut store);
    assert_eq!(plans(store.connection()), empty);
    store.connection().execute_batch("ANALYZE").unwrap();
    store.connection().execute_batch("PRAGMA optimize").unwrap();
    let analyzed = plans(store.connection());
    assert_eq!(offences(&analyzed), Vec::<String>::new());
    insta::assert_snapshot!("plans_after_analyze", analyzed);
}

#[test]
fn the_checker_of_plans_rejects_a_scan_and_a_sort() {
    let store = Store::in_memory().unwrap();
    let lines = plan(store.connection(), "SELECT seq FROM queue WHERE attempts = 1 ORDER BY reason");
    let text = lines.iter().fold("Mutant\n".to_owned(), |text, line| format!("{text}    {line}\n"));
    assert_eq!(offences(&text).len(), 2, "{text}");
}

#[test]
fn a_claim_costs_the_same_however_many_commands_wait_elsewhere() {
    let work = |others: u32| {
        let mut store = Store::in_memory().unwrap();
        for n in 0..others {
            let delayed = Message::new(Kind::Command, name("a"), *b"later");
            apply(&mut store, n, &Op::Send { message: delayed.into(), delay_ms: 1_000_000 });
            let foreign = Message::new(Kind::Command, name("b"), *b"foreign");
            apply(&mut store, n, &Op::Send { message: foreign.into(), delay_ms: 0 });
        }
        let sql = Statements::standard();
        let mut steps = 0;
        for id in [StatementId::CommandsDue, StatementId::CommandsUnreadable] {
            let mut statement = store.connection().prepare(sql.get(id)).unwrap();
            for (parameter, value) in [(":name", 0), (":now", 5), (":max", 10)] {
                if let Some(index) = statement.parameter_index(parameter).unwrap() {
                    let value: &dyn rusqlite::ToSql = if parameter == ":name" { &"a" } else { &value };
                    statement.raw_bind_parameter(index, value).unwrap();
                }
            }
            assert_eq!(statement.raw_query().mapped(|_| Ok(())).count(), 0);
            steps += statement.get_status(StatementStatus::VmStep);
        }
        steps
    };
    assert_eq!(work(3), work(2_000));
}
