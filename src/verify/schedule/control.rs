//! Positive controls: common bugs around a database with one writer, each of which must be caught by the promise named
//! for it.
//!
//! Invariant: the promise is written down before the search; a control that is missed fails the run.

use fencepost_model::scope::cuts;

use crate::rig::recorder::StartPoint;
use crate::schedule::case::acts;
use crate::schedule::case::{ClientAct, ScheduleCase, ScheduledClient, WalAtStart};
use crate::schedule::mutant::ClientMutant;
use crate::schedule::orders::{AN_ORDER, REAL_TIME, WAITS};

/// A mutant, and the promise that must catch it.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleControl {
    /// What the mutant does, a sentence.
    pub name: &'static str,
    mutant: ClientMutant,
    /// The scope that it begins with.
    pub start: &'static str,
    /// The kinds of acts of each client, the mutant first.
    clients: &'static [&'static [&'static str]],
    /// Whether the second client is the mutant too.
    both: bool,
    /// How long clients wait for locks, in milliseconds.
    patience_ms: u32,
    /// The promise that must be found broken.
    pub breaks: &'static str,
}

/// All controls.
pub const ALL: &[ScheduleControl] = &[
    ScheduleControl {
        name: "BEGIN stands where BEGIN IMMEDIATE belongs",
        mutant: ClientMutant::LockTakenLate,
        start: "cuts-queue",
        clients: &[&["send"], &["send"]],
        both: false,
        patience_ms: PATIENCE_MS,
        breaks: WAITS,
    },
    ScheduleControl {
        name: "a claim is a SELECT and then an UPDATE, in two transactions",
        mutant: ClientMutant::ClaimInTwo,
        start: "cuts-queue",
        clients: &[&["claim"], &["claim"]],
        both: true,
        patience_ms: PATIENCE_MS,
        breaks: AN_ORDER,
    },
    ScheduleControl {
        name: "a settlement does not ask for its token",
        mutant: ClientMutant::SettledWithoutToken,
        start: "cuts-queue",
        // A command whose lease ran out goes alone, so what is due before it comes with the first claim.
        clients: &[&["ack"], &["claim", "claim"]],
        both: false,
        patience_ms: PATIENCE_MS,
        breaks: AN_ORDER,
    },
    ScheduleControl {
        name: "what was busy half-way is sent again",
        mutant: ClientMutant::SentAgainAfterBusy,
        start: "cuts-queue",
        clients: &[&["send without an id"], &["read"]],
        both: false,
        patience_ms: 0,
        breaks: AN_ORDER,
    },
    ScheduleControl {
        name: "the answer is given before the commit",
        mutant: ClientMutant::AnsweredBeforeCommit,
        start: "cuts-queue",
        clients: &[&["send"], &["read"]],
        both: false,
        patience_ms: PATIENCE_MS,
        breaks: REAL_TIME,
    },
    ScheduleControl {
        name: "a cursor's lease is looked at outside of the transaction that relies on it",
        mutant: ClientMutant::CursorCheckedOutside,
        start: "cuts-log",
        clients: &[&["ack an event"], &["poll", "seek"]],
        both: false,
        patience_ms: PATIENCE_MS,
        breaks: AN_ORDER,
    },
];

impl ScheduleControl {
    /// The case that it is looked for in. None if its acts are not offered, which fails the run.
    pub fn case(&self, start: &StartPoint) -> Option<ScheduleCase> {
        let acts = acts(start);
        let find = |kind: &str| acts.iter().find(|act| is_called(act, kind)).cloned();
        let clients = self.clients.iter().enumerate().map(|(number, kinds)| {
            let mutant = (number == 0 || self.both).then_some(self.mutant);
            // The second client's clock is far ahead, so that leases have run out for it.
            let late_ms = if number == 0 { 0 } else { LATE_MS };
            let acts = kinds.iter().map(|kind| find(kind)).collect::<Option<_>>()?;
            Some(ScheduledClient { late_ms, acts, patience_ms: self.patience_ms, mutant })
        });
        let clients = clients.collect::<Option<_>>()?;
        Some(ScheduleCase { start: self.start.to_owned(), wal: WalAtStart::Full, clients })
    }

    /// The scope that it begins with.
    pub fn scope(&self) -> Option<fencepost_model::scope::Scope> {
        cuts().into_iter().find(|scope| scope.name == self.start)
    }
}

/// How long clients wait for locks, in milliseconds of a clock that stands still: as many tries as SQLite makes in it.
pub(super) const PATIENCE_MS: u32 = 5_000;
/// How much later the second client's clock is, in milliseconds: past the leases of all scopes.
pub(super) const LATE_MS: u64 = 20;

fn is_called(act: &ClientAct, kind: &str) -> bool {
    use fencepost_model::op::{Op, Target};
    match (kind, act) {
        ("ack an event", ClientAct::Apply(op)) => {
            matches!(&**op, Op::Settle { target: Target::Event { .. }, .. }) && act.kind() == "ack"
        }
        ("ack", ClientAct::Apply(op)) => {
            matches!(&**op, Op::Settle { target: Target::Command(_), .. }) && act.kind() == "ack"
        }
        ("send without an id", ClientAct::Apply(op)) => {
            matches!(&**op, Op::Send { message, .. } if message.id.is_none())
        }
        _ => act.kind() == kind,
    }
}
