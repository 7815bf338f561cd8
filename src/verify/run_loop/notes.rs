//! What happened in a run: what its loop asked of the bus, what it was answered, and what its handlers did.

use fencepost_model::op::{Op, Reply, Target};
use fencepost_model::policy::HandlerOutcome;
use fencepost_model::vocabulary::{Timestamp, Token};

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The run loop, or the heartbeat of one of its handlers.
    Run,
    /// The handler of the delivery with this token.
    Handler(Token),
    /// Another consumer.
    Stranger,
}

/// What the store said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did as it was asked, or refused.
    Reply(Reply),
    /// It was busy, and did nothing.
    Busy,
    /// It is closed, and did nothing.
    Closed,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// These operations were asked for, together.
    Asked(Who, Vec<Op>),
    /// They were answered; with latency the one who asked learns of it later.
    Answered(Who, Vec<(Op, Answer)>),
    /// A handler began.
    Began(Token, Target),
    /// A handler was told that its lease is lost.
    Told(Token, Target),
    /// A handler ended, or was cut off.
    Ended(Token, Target, HandlerOutcome),
    /// The run was told to shut down.
    Shutdown,
    /// The future of the run was dropped.
    Dropped,
    /// The run returned.
    Returned,
}

/// One thing that happened, and when.
#[derive(Clone, Debug)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}
