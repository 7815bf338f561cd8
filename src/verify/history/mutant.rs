//! Mutants of clients: bugs around the lock and the transaction, each of which a checker must refuse.
//!
//! Invariant: a mutant works on a real file with real transactions, and answers as a program with that bug would.
//! Does not depend on: how histories are checked.

use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use rusqlite::{Connection, named_params};
use serde::{Deserialize, Serialize};

use crate::history::journal::{Journal, pause, run_correctly};
use crate::history::record::{CommitPlace, HistoryAnswer, HistoryChance, JournalLine, clock_ns};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{StatementId as Sql, Statements, Store, Undone, execute};

/// A mutant of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryMutant {
    /// A transaction begins as a reader and becomes a writer on the way.
    BeginsAsAReader,
    /// A claim looks in one transaction, and takes what it saw in another.
    ClaimsInTwo,
    /// A settlement does not ask for the current token.
    SettlesWithAnyToken,
    /// A send whose commit was said to be busy is sent again.
    SendsTwice,
    /// The answer comes before the commit.
    AnswersBeforeTheCommit,
    /// A poll looks at the cursor's lease in one transaction, and takes the cursor in another.
    LooksAtTheLeaseBefore,
}

/// The store with the statements of this mutant.
pub(super) fn statements(mutant: HistoryMutant, store: Store) -> Store {
    let (statement, from, to) = match mutant {
        HistoryMutant::BeginsAsAReader => (Sql::Begin, "BEGIN IMMEDIATE", "BEGIN"),
        HistoryMutant::SettlesWithAnyToken => {
            (Sql::CommandAck, "token = :token", "(token = :token OR token > 0)")
        }
        _ => return store,
    };
    let standard = Statements::standard();
    let text = standard.get(statement).replacen(from, to, 1);
    store.with_statements(standard.replaced(statement, text))
}

/// The time between two transactions where one would be right, in microseconds.
const BETWEEN_US: u64 = 400;

/// The same for a cursor, which is seldom free.
const BETWEEN_POLLS_US: u64 = 5_000;

/// Does an operation as a mutant does it.
pub(super) fn run_mutant(
    mutant: HistoryMutant,
    store: &mut Store,
    journal: &mut Journal,
    chance: &mut HistoryChance,
    now: Timestamp,
    op: &Op,
) -> Result<HistoryAnswer> {
    match (mutant, op) {
        (HistoryMutant::ClaimsInTwo, Op::Claim { .. }) => claim_in_two(store, now, op),
        (HistoryMutant::LooksAtTheLeaseBefore, Op::Poll { token: None, .. }) => poll_in_two(store, now, op),
        (HistoryMutant::SendsTwice, Op::Send { message, .. }) if message.id.is_none() && chance.one_in(6) => {
            store.apply(now, op)?;
            run_correctly(store, now, op)
        }
        (HistoryMutant::AnswersBeforeTheCommit, _) if chance.one_in(20) => {
            let reply = store.rehearse(now, op)?;
            let changed = !matches!(reply, Reply::Refused(_));
            let commit_seq = store.commit_seq()? + u64::from(changed);
            let answer = HistoryAnswer::Replied { reply, place: Some(CommitPlace { commit_seq, changed }) };
            journal.write(&JournalLine::Answered { at_ns: clock_ns(), answer })?;
            die()
        }
        _ => run_correctly(store, now, op),
    }
}

/// Is killed, here and now.
fn die() -> Result<HistoryAnswer> {
    #[cfg(unix)]
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

/// A transaction of the mutant's own, with the number that it takes.
fn alone(
    store: &mut Store,
    work: impl FnOnce(&Connection, &Statements) -> Result<Reply>,
) -> Result<HistoryAnswer> {
    let done = store.transact(Timestamp::ZERO, None, |conn, sql| {
        let before: i64 = conn.query_row("SELECT commit_seq FROM store", [], |row| row.get(0))?;
        Ok((work(conn, sql)?, u64::try_from(before).unwrap_or_default() + 1))
    });
    match done {
        Ok((_, (reply, commit_seq))) => {
            Ok(HistoryAnswer::Replied { reply, place: Some(CommitPlace { commit_seq, changed: true }) })
        }
        Err(Undone::Work(error) | Undone::Store(error)) => Err(error),
        Err(Undone::Panicked(_)) => Err(Error::TransactionEnded),
    }
}

fn int(number: impl Into<u64>) -> i64 {
    i64::try_from(number.into()).unwrap_or(i64::MAX)
}

fn claim_in_two(store: &mut Store, now: Timestamp, op: &Op) -> Result<HistoryAnswer> {
    let seen = store.rehearse(now, op)?;
    let (Reply::HandedOut { deliveries, dead_lettered }, Op::Claim { attempts_max, .. }) = (&seen, op) else {
        return run_correctly(store, now, op);
    };
    if deliveries.is_empty() || !dead_lettered.is_empty() {
        return run_correctly(store, now, op);
    }
    pause(BETWEEN_US);
    alone(store, |conn, _| {
        for delivery in deliveries {
            conn.execute(
                "UPDATE queue SET due_at = :due_at, attempts = attempts + 1, token = :token, \
                 attempts_max = :attempts_max WHERE seq = :seq",
                named_params! {
                    ":due_at": int(delivery.lease_until),
                    ":token": int(delivery.token),
                    ":attempts_max": attempts_max.get(),
                    ":seq": int(delivery.seq),
                },
            )?;
            conn.execute(
                "UPDATE store SET token_last = max(token_last, :token)",
                named_params! {":token": int(delivery.token)},
            )?;
        }
        Ok(seen.clone())
    })
}

fn poll_in_two(store: &mut Store, now: Timestamp, op: &Op) -> Result<HistoryAnswer> {
    let Op::Poll { group, .. } = op else { return run_correctly(store, now, op) };
    match store.rehearse(now, op)? {
        Reply::HandedOut { deliveries, .. } if !deliveries.is_empty() => {}
        _ => return run_correctly(store, now, op),
    }
    pause(BETWEEN_POLLS_US);
    alone(store, |conn, sql| {
        let free = "UPDATE cursors SET due_at = 0 WHERE group_name = :group";
        conn.execute(free, named_params! {":group": group.as_str()})?;
        execute(conn, sql, now, op)
    })
}
