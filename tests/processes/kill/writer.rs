//! The role of the one process that works on a file until it is killed. It knows no model, and checks nothing.

use fencepost::internals::sqlite::{Durability, OpenOptions, Store};
use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::Timestamp;
use serde::{Deserialize, Serialize};

use crate::kill::course::{Task, gist};
use crate::kill::{Fault, pause, rest, say, told};

/// What it is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Whether each commit is synced.
    pub(crate) synced: bool,
    /// After how many pages of the WAL it is copied into the file.
    pub(crate) checkpoint_pages: u32,
    pub(crate) tasks: Vec<Task>,
    pub(crate) fault: Option<Fault>,
    /// The number of this life: it decides which operation a fault hits.
    pub(crate) life: u32,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Line {
    Opened,
    /// It is about to do the next task.
    Begins,
    /// It has done it: the gist of the answer.
    Done(u64),
}

/// How both sides open a file. No opening is that of another boot, so none changes anything.
pub(crate) fn options(synced: bool) -> OpenOptions {
    let durability = if synced { Durability::PowerLoss } else { Durability::ProcessCrash };
    OpenOptions { durability, boot_id: Some("one boot".to_owned()), ..OpenOptions::default() }
}

/// Plays the role.
pub(crate) fn play() {
    let (file, part) = told::<Part>();
    let open = || {
        let store = Store::open(&file, &options(part.synced)).unwrap();
        store.connection().pragma_update(None, "wal_autocheckpoint", part.checkpoint_pages).unwrap();
        store
    };
    let mut store = open();
    say(&Line::Opened);
    for (index, task) in (0..).zip(&part.tasks) {
        say(&Line::Begins);
        let reply = match task {
            Task::Reopen => {
                store.close().unwrap();
                store = open();
                None
            }
            Task::Apply(now, op) => Some(match part.fault {
                None => store.apply(*now, op).unwrap(),
                Some(fault) => wrongly(&mut store, *now, op, fault, part.life * 37 + index),
            }),
        };
        if part.fault != Some(Fault::SaysDoneTooEarly) || reply.is_none() {
            say(&Line::Done(gist(reply.as_ref())));
        }
    }
    rest();
}

/// Does an operation with a fault.
fn wrongly(store: &mut Store, now: Timestamp, op: &Op, fault: Fault, number: u32) -> Reply {
    let answer = |store: &mut Store| store.rehearse(now, op).unwrap();
    match (fault, op) {
        (Fault::SaysDoneTooEarly, _) => {
            say(&Line::Done(gist(Some(&answer(store)))));
            store.apply(now, op).unwrap()
        }
        (Fault::ForgetsACommit, _) if number % 100 == 99 => answer(store),
        (Fault::CommitsInTwo, Op::Atomic(parts)) => match answer(store) {
            refused @ Reply::Refused(_) => refused,
            _ => Reply::Done(parts.iter().map(|part| later(store, now, part)).collect()),
        },
        _ => store.apply(now, op).unwrap(),
    }
}

/// Applies one part of what belongs together on its own.
fn later(store: &mut Store, now: Timestamp, part: &Op) -> Reply {
    pause(100);
    store.apply(now, part).unwrap()
}
