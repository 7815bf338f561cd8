//! What is done before a power cut or during a fault: operations of the contract, and what else changes the disk.
//!
//! Each act is done twice, on the model's world and on a store, and the answers are compared.
//!
//! Does not depend on: disks.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost_model::coverage::{Tally, kind};
use fencepost_model::op::{Op, Reply, Settlement, Target};
use fencepost_model::scope::{STEP_MS, Scope};
use fencepost_model::state::State;
use fencepost_model::vocabulary::{Kind, Message, Name, Names, Seq, Timestamp, Token};
use fencepost_model::world::{Contract, Move, OpOutcome, World};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::rig::setting::Level;
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Store, Undone};

/// One thing that is done, and answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The store is opened where there was none.
    Create,
    /// One operation, as one transaction.
    Apply(Arc<Op>),
    /// Several operations, each for itself, in one commit.
    Batch(Vec<Op>),
    /// An operation and an effect of the caller's own, in one transaction.
    Effect(Arc<Op>),
    /// One operation of another process, which opens the store beside the first and closes it again.
    Beside(Arc<Op>),
    /// The WAL is copied into the file, as far as readers allow.
    Checkpoint,
    /// The store is closed, which empties the WAL, and opened again.
    Reopen,
    /// The store is closed, and opened again after a boot of the machine.
    Boot,
    /// The store is closed and opened by a program whose schema is one version newer.
    Migrate,
    /// The store is copied into another file.
    Backup,
}

/// The effects of a caller: a table of its own in the same file.
pub const EFFECTS: &str = "CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY) STRICT";

/// What the version after the newest adds, where an act is a migration.
pub const NEXT_VERSION: &str = "CREATE TABLE later (one INTEGER PRIMARY KEY CHECK (one = 1)) STRICT;
    INSERT INTO later (one) VALUES (1);
    CREATE INDEX queue_later ON queue (attempts, seq)";

impl Act {
    /// What this is called in tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Apply(op) => match &**op {
                Op::Settle { how, .. } => match how {
                    Settlement::Ack => "ack",
                    Settlement::Nack { .. } => "nack",
                    Settlement::DeadLetter { .. } => "dead-letter",
                    Settlement::Park { .. } => "park",
                    Settlement::Drop => "drop",
                },
                op => kind(op),
            },
            Self::Batch(_) => "batch",
            Self::Effect(_) => "effect",
            Self::Beside(_) => "send beside",
            Self::Checkpoint => "checkpoint",
            Self::Reopen => "reopen",
            Self::Boot => "boot",
            Self::Migrate => "migrate",
            Self::Backup => "backup",
        }
    }

    /// The operations of it, as the model knows them.
    pub fn ops(&self) -> Vec<&Op> {
        match self {
            Self::Apply(op) | Self::Effect(op) | Self::Beside(op) => vec![op],
            Self::Boot => vec![&Op::Reboot],
            Self::Batch(ops) => ops.iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// A moment of the model: what a cut may leave.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The world.
    pub world: World,
    /// The caller's effects, by number.
    pub effects: BTreeSet<i64>,
    /// Whether the schema is the one after the newest.
    pub migrated: bool,
    /// The state that was copied into another file, if one was.
    pub copy: Option<State>,
    /// Every lease that was ever handed out, whether or not it is current.
    pub handed: BTreeSet<(Target, Token)>,
}

impl Moment {
    /// Nothing yet.
    pub fn empty(workers: u8) -> Self {
        let world = World::new(workers);
        Self { world, effects: BTreeSet::new(), migrated: false, copy: None, handed: BTreeSet::new() }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.world.state
    }

    /// Does an act on the model, and says what it answers.
    pub fn perform(&mut self, act: &Act) -> Vec<Reply> {
        self.world.now = self.next_time();
        match act {
            Act::Migrate => self.migrated = true,
            Act::Backup => self.copy = Some(self.state().clone()),
            _ => {}
        }
        let mut replies = Vec::new();
        for op in act.ops() {
            let action = Move::Do { worker: 0, op: Arc::new(op.clone()), outcome: OpOutcome::Told };
            let Some(reply) = self.world.perform(&action, &Contract, &Tally::new()) else { continue };
            self.hear(&reply);
            if matches!(act, Act::Effect(_)) && !matches!(reply, Reply::Refused(_)) {
                self.effects.insert(self.next_effect());
            }
            replies.push(reply);
        }
        replies
    }

    fn hear(&mut self, reply: &Reply) {
        match reply {
            Reply::HandedOut { deliveries, .. } => {
                let leases = deliveries.iter().map(|delivery| (delivery.target.clone(), delivery.token));
                self.handed.extend(leases);
            }
            Reply::Done(replies) => replies.iter().for_each(|reply| self.hear(reply)),
            _ => {}
        }
    }

    /// When the next act happens.
    pub fn next_time(&self) -> Timestamp {
        self.world.now.plus(STEP_MS)
    }

    /// The number of the next effect.
    pub fn next_effect(&self) -> i64 {
        self.effects.last().map_or(1, |last| last + 1)
    }
}

/// Everything that may be done next: each kind of operation in its first form, and what else changes the disk.
///
/// A restore is always done at `PowerLoss`, and a boot is noticed by opening, so neither is a plain operation here
/// below that level. With `heavy`, also what opens files anew.
pub fn next(scope: &Scope, level: Level, moment: &Moment, heavy: bool) -> Vec<Act> {
    let mut moves = Vec::new();
    scope.moves(&moment.world, &mut moves);
    let mut acts: Vec<Act> = Vec::new();
    let mut kinds = BTreeSet::new();
    for action in moves {
        let Move::Do { op, outcome: OpOutcome::Told, .. } = action else { continue };
        if matches!(*op, Op::Restore { .. }) && level == Level::ProcessCrash {
            continue;
        }
        let of = match &*op {
            Op::Settle { target, .. } => std::mem::discriminant(target),
            _ => std::mem::discriminant(&Target::Command(Seq::from(1))),
        };
        let act = Act::Apply(op);
        if kinds.insert((act.kind(), format!("{of:?}"))) {
            acts.push(act);
        }
    }
    let held = moment.world.workers.iter().flat_map(|worker| worker.holds.iter().next()).next();
    if let Some((target, token)) = held {
        let ack = Op::Settle { target: target.clone(), token: *token, how: Settlement::Ack };
        acts.push(Act::Batch(vec![ack.clone(), extra_send("b1"), extra_send("b2")]));
        acts.push(Act::Effect(Arc::new(ack)));
    } else {
        acts.push(Act::Batch(vec![extra_send("b1"), extra_send("b2"), extra_send("b3")]));
        acts.push(Act::Effect(Arc::new(extra_send("e1"))));
    }
    acts.push(Act::Checkpoint);
    if heavy {
        acts.extend([Act::Reopen, Act::Boot]);
        // A program of this version does not open what is newer.
        if !moment.migrated {
            acts.push(Act::Beside(Arc::new(extra_send("o1"))));
        }
        // A second copy is refused, and of versions there is one more.
        if moment.copy.is_none() && !moment.migrated {
            acts.extend([Act::Migrate, Act::Backup]);
        }
    }
    acts
}

/// What a working store is asked to do after a cut: take all that is due, and accept what is new.
pub fn routine(moment: &Moment) -> Vec<Op> {
    let names: Names = ["bet", "pay", "mail"].into_iter().map(name).collect();
    let (max, attempts_max) = (NonZeroU32::MAX, NonZeroU32::MAX);
    let mut ops = vec![Op::Claim { names: names.clone(), max, lease_ms: 5, attempts_max }];
    for group in moment.state().groups.keys() {
        let (group, names) = (group.clone(), names.clone());
        ops.push(Op::Poll { group, names, token: None, max, lease_ms: 5, attempts_max });
    }
    ops.push(extra_send("after"));
    for (kind, remembered) in
        [(Kind::Command, &moment.state().command_ids), (Kind::Event, &moment.state().event_ids)]
    {
        let Some(id) = remembered.keys().next() else { continue };
        let message = Arc::new(Message::new(kind, name("bet"), &b"again"[..]).with_id(id.clone()));
        ops.push(match kind {
            Kind::Command => Op::Send { message, delay_ms: 0 },
            Kind::Event => Op::Publish { message },
        });
    }
    ops.push(Op::Publish { message: Arc::new(Message::new(Kind::Event, name("bet"), &b"after"[..])) });
    ops
}

fn name(text: &str) -> Name {
    match Name::new(text) {
        Ok(name) => name,
        Err(rule) => unreachable!("{text} {rule}"),
    }
}

/// A command that no scope sends.
pub(crate) fn extra_send(payload: &str) -> Op {
    let message = Message::new(Kind::Command, name("pay"), payload.as_bytes());
    Op::Send { message: Arc::new(message), delay_ms: 0 }
}

/// Does an act that needs nothing but an open store, and says what it answers.
///
/// # Errors
/// Of each operation for itself, as the store answers it.
pub fn perform(store: &mut Store, act: &Act, now: Timestamp, effect: i64) -> Vec<Result<Reply>> {
    match act {
        Act::Apply(op) | Act::Beside(op) => vec![store.apply(now, op)],
        Act::Batch(ops) => store.apply_all(|| now, &ops.iter().collect::<Vec<_>>()),
        Act::Effect(op) => {
            let work = |conn: &Connection, _: &_| {
                conn.execute_batch(EFFECTS)?;
                conn.execute("INSERT INTO effects (number) VALUES (?1)", [effect]).map_err(Error::from)
            };
            vec![match store.transact(now, Some(op), work) {
                Ok((Some(reply), _)) => Ok(reply),
                Ok((None, _)) | Err(Undone::Panicked(_)) => Err(Error::Closed),
                Err(Undone::Store(Error::Refused { refusal })) => Ok(Reply::Refused(refusal)),
                Err(Undone::Store(error) | Undone::Work(error)) => Err(error),
            }]
        }
        Act::Checkpoint => match checkpoint(store) {
            Ok(()) => Vec::new(),
            Err(error) => vec![Err(error)],
        },
        Act::Create | Act::Reopen | Act::Boot | Act::Migrate | Act::Backup => Vec::new(),
    }
}

/// Copies the WAL into the file.
fn checkpoint(store: &Store) -> Result<()> {
    let mut statement = store.connection().prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    let busy: i64 = statement.query_row([], |row| row.get(0))?;
    if busy == 0 { Ok(()) } else { Err(Error::Busy) }
}

/// The effects of a caller, as they are in the file.
///
/// # Errors
/// Whatever SQLite reports.
pub fn effects(conn: &Connection) -> Result<BTreeSet<i64>> {
    let mut statement = conn.prepare_cached("SELECT number FROM effects")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}
