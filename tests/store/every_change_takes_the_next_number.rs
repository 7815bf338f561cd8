//! Each transaction that changes something takes the next commit number inside itself, whichever connection commits it.
//! A transaction that changes nothing takes none. So the order of all changes is known (`Store::commit_seq`).

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use fencepost::clock::{Clock, ManualClock};
use fencepost::internals::sqlite::{OpenOptions, Store, snapshot};
use fencepost::{Message, SqliteBus};
use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Kind, Message as Stored, MessageId, Name, Names, Seq, Timestamp};
use rusqlite::{Connection, TransactionBehavior};

fn name() -> Name {
    Name::new("a").unwrap()
}

fn send(id: Option<&str>) -> Op {
    let message = Stored::new(Kind::Command, name(), *b"x");
    let id = id.map(|id| MessageId::new(id).unwrap());
    Op::Send { message: Arc::new(Stored { id, ..message }), delay_ms: 0 }
}

fn claim() -> Op {
    let one = NonZeroU32::MIN;
    Op::Claim { names: Names::from([name()]), max: one, lease_ms: 1_000, attempts_max: one }
}

fn open(path: &Path, boot: &str) -> Store {
    Store::open(path, &OpenOptions { boot_id: Some(boot.to_owned()), ..OpenOptions::default() }).unwrap()
}

fn committed(conn: &Connection) -> u64 {
    let number: i64 = conn.query_row("SELECT commit_seq FROM store", [], |row| row.get(0)).unwrap();
    u64::try_from(number).unwrap()
}

#[test]
fn a_number_goes_with_each_change_of_the_state_and_with_nothing_else() {
    for seed in 1..=3 {
        let mut walk = crate::walk::Walk::new(seed, Store::in_memory().unwrap());
        let (mut changed, mut same) = (0, 0);
        for _ in 0..1_500 {
            let (state, number) = (walk.store.snapshot().ok(), walk.store.commit_seq().unwrap());
            walk.step();
            let (later, next) = (walk.store.snapshot().ok(), walk.store.commit_seq().unwrap());
            let grown = next - number;
            assert!(grown <= 1);
            // An operation may write what was there before, and damage is planted past all this.
            changed += u32::from(later != state && grown == 1);
            same += u32::from(later == state && grown == 0);
        }
        assert!(changed > 200 && same > 200, "{changed} {same}");
    }
}

#[test]
fn connections_and_boots_share_one_line_of_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let mut one = open(&path, "first");
    assert_eq!(one.commit_seq().unwrap(), 0);
    let mut two = open(&path, "first");
    for (store, number) in [(&mut one, 1), (&mut two, 2)] {
        store.apply(Timestamp::ZERO, &send(None)).unwrap();
        assert_eq!(store.commit_seq().unwrap(), number);
    }
    // A rollback, a rehearsal, an operation that finds nothing and a refused one take none.
    one.rehearse(Timestamp::ZERO, &claim()).unwrap();
    one.transact(Timestamp::ZERO, Some(&send(None)), |_, _| Err::<(), _>(())).unwrap_err();
    let nothing = Op::Claim {
        names: Names::from([Name::new("b").unwrap()]),
        max: NonZeroU32::MIN,
        lease_ms: 1,
        attempts_max: NonZeroU32::MIN,
    };
    one.apply(Timestamp::ZERO, &nothing).unwrap();
    one.apply(Timestamp::ZERO, &send(Some("x"))).unwrap();
    assert_eq!(one.commit_seq().unwrap(), 3);
    assert!(matches!(
        two.apply(Timestamp::ZERO, &send(Some("x"))).unwrap(),
        Reply::Accepted { fresh: false, .. }
    ));
    assert_eq!(two.commit_seq().unwrap(), 3);
    // A batch is one transaction, whatever it holds.
    let ops = [send(None), nothing, send(None)];
    two.apply_all(|| Timestamp::ZERO, &ops.iter().collect::<Vec<_>>());
    assert_eq!(one.commit_seq().unwrap(), 4);
    drop((one, two));
    assert_eq!(open(&path, "second").commit_seq().unwrap(), 5, "the boot moved the tokens on");
    assert_eq!(open(&path, "second").commit_seq().unwrap(), 5);
}

#[test]
fn an_operation_is_told_its_number_or_the_last_one_before_it() {
    let mut store = Store::in_memory().unwrap();
    let mut numbered = |op: &Op| {
        let numbered = store.apply_numbered(Timestamp::ZERO, op).unwrap();
        assert_eq!(numbered.commit_seq, store.commit_seq().unwrap());
        (numbered.commit_seq, numbered.changed)
    };
    assert_eq!(numbered(&claim()), (0, false), "nothing was due");
    assert_eq!(numbered(&send(Some("x"))), (1, true));
    assert_eq!(numbered(&send(Some("x"))), (1, false), "its id was known");
    assert_eq!(numbered(&claim()), (2, true));
    assert_eq!(numbered(&Op::Cancel { seq: Seq::MAX }), (2, false), "it was refused");
}

#[tokio::test]
async fn an_operation_in_a_transaction_of_the_callers_own_takes_one_if_that_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from(1_000)));
    let bus = SqliteBus::builder(&path).clock(clock).open().await.unwrap();
    let mut own = Connection::open(&path).unwrap();
    let before = committed(&own);
    for (commit, grown) in [(false, 0), (true, 2)] {
        let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let tx = bus.within(&transaction).unwrap();
        tx.send(Message::command("a").text("1")).unwrap();
        tx.send(Message::command("a").text("2").id("two")).unwrap();
        tx.send(Message::command("a").text("2").id("two")).unwrap();
        drop(tx);
        if commit {
            transaction.commit().unwrap()
        } else {
            transaction.rollback().unwrap()
        }
        assert_eq!(committed(&own) - before, grown);
    }
    assert_eq!(snapshot(&own).unwrap().queue.len(), 2);
    bus.close().await.unwrap();
}
