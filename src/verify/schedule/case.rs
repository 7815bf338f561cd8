//! What is run in every schedule: the start, and what each client does.
//!
//! Invariant: a [`ScheduleCase`] with the choices of a schedule does the same each time.
//! Does not depend on: which client runs when.

use std::sync::Arc;

use fencepost_model::description;
use fencepost_model::op::Op;
use serde::{Deserialize, Serialize};

use crate::rig::act;
use crate::rig::act::{extra_send, next};
use crate::rig::recorder::StartPoint;
use crate::rig::setting::Level;
use crate::schedule::mutant::ClientMutant;

/// One thing that a client does, and is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAct {
    /// One operation, as one transaction.
    Apply(Arc<Op>),
    /// Several operations, each for itself, in one commit.
    Batch(Vec<Op>),
    /// An operation and an effect of the caller's own, in one transaction.
    Effect(Arc<Op>),
    /// All that the store holds is read, in one transaction.
    Read,
    /// The WAL is copied into the file, as far as others allow.
    Checkpoint,
    /// The WAL is copied into the file and emptied; others are waited for.
    Empty,
    /// The client closes its connection and opens another.
    Reopen,
}

impl ClientAct {
    /// What this is called in tables.
    pub fn kind(&self) -> &'static str {
        use crate::rig::act::Act as Known;
        match self {
            Self::Apply(op) => Known::Apply(Arc::clone(op)).kind(),
            Self::Batch(_) => "batch",
            Self::Effect(_) => "effect",
            Self::Read => "read",
            Self::Checkpoint => "checkpoint",
            Self::Empty => "empty the WAL",
            Self::Reopen => "reopen",
        }
    }

    /// What it does, in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Apply(op) => description::operation(op),
            Self::Batch(ops) => {
                format!("batch: {}", ops.iter().map(description::operation).collect::<Vec<_>>().join("; "))
            }
            Self::Effect(op) => format!("effect with: {}", description::operation(op)),
            other => other.kind().to_owned(),
        }
    }

    /// The operations of it.
    pub fn ops(&self) -> Vec<&Op> {
        match self {
            Self::Apply(op) | Self::Effect(op) => vec![op],
            Self::Batch(ops) => ops.iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// One connection, and what is done through it, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduledClient {
    /// How much later than the first client's its clock is, in milliseconds.
    pub late_ms: u64,
    /// What it does.
    pub acts: Vec<ClientAct>,
    /// How long it waits for a lock, in milliseconds.
    pub patience_ms: u32,
    /// Its mutant, if it is one.
    #[serde(default, rename = "mistake", skip_serializing_if = "Option::is_none")]
    pub mutant: Option<ClientMutant>,
}

/// What is in the WAL when the clients begin, and what they know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WalAtStart {
    /// Transactions that were not copied into the file.
    Full,
    /// Transactions that were: the next writer begins the WAL anew.
    Copied,
    /// Transactions, and no index of them: the first client recovers it.
    Unknown,
}

impl WalAtStart {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Copied, Self::Unknown];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Copied => "copied",
            Self::Unknown => "unknown",
        }
    }
}

/// A start, and what each client does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleCase {
    /// The scope with which it begins.
    pub start: String,
    /// The WAL at the beginning.
    pub wal: WalAtStart,
    /// The clients.
    pub clients: Vec<ScheduledClient>,
}

impl ScheduleCase {
    /// What it is called.
    pub fn name(&self) -> String {
        let clients: Vec<String> = self
            .clients
            .iter()
            .map(|client| client.acts.iter().map(ClientAct::kind).collect::<Vec<_>>().join(", "))
            .collect();
        format!("{} {}: {}", self.start, self.wal.name(), clients.join(" | "))
    }
}

/// No client has more acts than this.
pub(crate) const ACTS_MAX: usize = 16;

/// The number of an act of a client, where acts of all clients stand in one line.
pub fn number(client: usize, act: usize) -> usize {
    client * ACTS_MAX + act
}

/// What can be done from a beginning: each kind of operation in its first form, and what else connections do.
pub fn acts(start: &StartPoint) -> Vec<ClientAct> {
    let mut acts: Vec<ClientAct> = next(&start.scope, Level::PowerLoss, &start.moment, false)
        .into_iter()
        .filter_map(|act| {
            Some(match act {
                act::Act::Apply(op) => ClientAct::Apply(op),
                act::Act::Batch(ops) => ClientAct::Batch(ops),
                act::Act::Effect(op) => ClientAct::Effect(op),
                _ => return None,
            })
        })
        .collect();
    acts.push(ClientAct::Apply(Arc::new(extra_send("s1"))));
    acts.extend([ClientAct::Read, ClientAct::Checkpoint, ClientAct::Empty, ClientAct::Reopen]);
    acts
}
