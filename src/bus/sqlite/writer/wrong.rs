//! The writing thread gone wrong: mistakes that take more than a switch.
//!
//! What always holds: none is made but on a stage (`threads::mutates`).

use fencepost_model::op::Op;

use super::{Waiting, Writer};
use crate::error::Error;
use crate::threads::point;

impl Writer {
    /// Answers what it would answer, and commits then.
    pub(super) fn answer_and_commit(&mut self, batch: &mut Vec<Waiting>) {
        let mut all = Vec::new();
        for (ops, reply) in batch.drain(..) {
            let replies = ops.iter().map(|op| self.store.rehearse(self.clock.now(), op)).collect();
            point("answers");
            let _ = reply.send(replies);
            all.extend(ops);
        }
        point("commits");
        let ops: Vec<&Op> = all.iter().collect();
        drop(self.store.apply_all(|| self.clock.now(), &ops));
    }

    /// Commits, and says that nothing was done.
    pub(super) fn commit_and_deny(&mut self, batch: &mut Vec<Waiting>) {
        for (ops, reply) in batch.drain(..) {
            let replies = self.store.apply_all(|| self.clock.now(), &ops.iter().collect::<Vec<_>>());
            let _ = reply.send(replies.into_iter().map(|_| Err(Error::Closed)).collect());
        }
    }
}
