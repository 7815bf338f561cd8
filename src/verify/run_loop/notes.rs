//! The notes of a run: the requests of the run loop, the answers of the bus, and what its handlers did.
//!
//! Does not depend on: the run loop, the harness.

use fencepost_model::op::{Op, Reply, Target};
use fencepost_model::policy::HandlerOutcome;
use fencepost_model::vocabulary::{Timestamp, Token};

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The run loop, or the heartbeat of one of its handlers.
    Run,
    /// The handler of the delivery with this token.
    Handler(Token),
    /// Another consumer.
    OtherConsumer,
}

/// An answer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAnswer {
    /// The store applied the operation or refused it.
    Reply(Reply),
    /// The store was busy and changed nothing.
    Busy,
    /// The store is closed and changed nothing.
    Closed,
}

/// An event of a run.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// These operations were requested together.
    Asked(Requester, Vec<Op>),
    /// The store answered them. If the answer is slow, the requester receives it later.
    Answered(Requester, Vec<(Op, RunAnswer)>),
    /// A handler began.
    Began(Token, Target),
    /// A handler learnt that its lease is lost.
    LossReported(Token, Target),
    /// A handler ended, or was cut off.
    Ended(Token, Target, HandlerOutcome),
    /// The shutdown of the run was requested.
    Shutdown,
    /// The future of the run was dropped.
    Dropped,
    /// The run returned.
    Returned,
}

/// An event of a run, and its time.
#[derive(Clone, Debug)]
pub struct Note {
    /// The time.
    pub at: Timestamp,
    /// The event.
    pub what: RunEvent,
}
