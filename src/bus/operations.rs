//! The operations of the contract as methods, written once: async on a bus, blocking for code without a runtime, and
//! within a transaction.
//!
//! Invariant: a method that promises a result returns a refusal as [`Error::Refused`](crate::Error::Refused).
//! Does not depend on: how operations are applied. The macros name what their user has in scope.

/// The list: documentation, name, arguments, result, how to make the operation, how to read the reply.
macro_rules! operations {
    ($write:ident) => {
        $write! {
            /// Puts a command into the queue; on success it is as durable as the bus is. Under an id that is remembered
            /// with the same content nothing is added (G10).
            ///
            /// # Errors
            /// [`Error::Draft`](crate::Error::Draft) and [`Error::PayloadTooLarge`](crate::Error::PayloadTooLarge) before
            /// anything is done; `Refused`: `Conflict`, if the id is remembered with other content, or `WrongKind`.
            send(draft: impl Into<Draft>) -> Receipt,
                |limits| request::send(draft.into(), &limits)?, request::accepted;
            /// Appends an event to the log at the next number (G15); ids as with `send`.
            ///
            /// # Errors
            /// As `send`.
            publish(draft: impl Into<Draft>) -> Receipt,
                |limits| request::publish(draft.into(), &limits)?, request::accepted;
            /// Lets a group read a name from a start. A name that it reads already keeps its position (G6).
            ///
            /// # Errors
            /// `Refused`: `BeyondHead` or `Pruned`, if the start is not in the log.
            subscribe_group(group: &str, name: &str, start: Start) -> Subscription,
                |_limits| Op::Subscribe { group: request::group(group)?, name: request::name(name)?, start },
                request::subscribed;
            /// Ends a group's subscription to a name; returns its redriven entries of that name, which are dead letters again.
            ///
            /// # Errors
            /// `Refused`: `NotSubscribed`.
            unsubscribe_group(group: &str, name: &str) -> Vec<RecordId>,
                |_limits| Op::Unsubscribe { group: request::group(group)?, name: request::name(name)? },
                request::returned;
            /// Withdraws a command that is not held.
            ///
            /// # Errors
            /// `Refused`: `NotFound`, `Held`, or `Corrupt`.
            cancel(seq: Seq) -> (), |_limits| Op::Cancel { seq }, request::nothing;
            /// Moves a group's position for one name, and fences the holder of its cursor.
            ///
            /// # Errors
            /// `Refused`: `NotSubscribed`, `BeyondHead` or `Pruned`.
            seek(group: &str, name: &str, position: Seq) -> (),
                |_limits| Op::Seek { group: request::group(group)?, name: request::name(name)?, position },
                request::nothing;
            /// Puts a dead-lettered or parked message back, its attempts counted from zero (G14); returns where it is now.
            ///
            /// # Errors
            /// `Refused`: `NotFound`, `Corrupt`, `NotSubscribed`, or `EpochRetired`.
            redrive(record: RecordId) -> Target, |_limits| Op::Redrive { record }, request::redriven;
            /// Removes a dead-lettered or parked record for good.
            ///
            /// # Errors
            /// `Refused`: `NotFound`.
            purge(record: RecordId) -> (), |_limits| Op::Purge { record }, request::nothing;
            /// Puts a message in the place of one that cannot be decoded in a record, which stays where it is; returns the
            /// replaced columns, which are not in the store any more (G5). The message keeps the name if it can still be
            /// read, and the id that is remembered for its number; a delay of the draft is ignored.
            ///
            /// # Errors
            /// As `send` before anything is done; `Refused`: `NotFound`; `Legible`, if the message can be decoded, or its
            /// name or id is known and another; or `WrongKind`.
            repair(record: RecordId, draft: impl Into<Draft>) -> Raw,
                |limits| request::repair(record, draft.into(), &limits)?, request::repaired;
            /// Deletes from the front of the log the events that are older than the retention and passed by every group (G13).
            ///
            /// # Errors
            /// Only those of the store.
            prune(retention: Duration) -> Pruned,
                |_limits| Op::Prune { retention_ms: request::ms(retention) }, request::pruned;
            /// Forgets the ids of messages that ended longer ago than this (G10); returns how many.
            ///
            /// # Errors
            /// Only those of the store.
            forget_ids(retention: Duration) -> u64,
                |_limits| Op::ForgetIds { retention_ms: request::ms(retention) }, request::forgotten;
            /// Begins a new life of the log: events, positions and event ids end, holders are fenced (G11). Returns the
            /// groups' entries that became dead letters.
            ///
            /// # Errors
            /// `Refused`: `EpochMismatch` or `EpochRetired`.
            reset(expected: Epoch, next: Epoch) -> Vec<RecordId>,
                |_limits| Op::Reset { expected, next }, request::returned;
        }
    };
}

/// The operations as async methods of a trait with `backend`.
macro_rules! write_async {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty,
        |$limits:ident| $op:expr, $read:path;)+) => {$(
        $(#[$doc])*
        fn $name(&self, $($arg: $type),*) -> impl Future<Output = Result<$result>> + Send {
            let backend = Arc::clone(self.backend());
            let op = within(backend.limits(), |$limits| Ok($op));
            async move { $read(backend.apply_one(op?).await?) }
        }
    )+};
}

/// The operations as blocking methods of a struct with `backend`.
macro_rules! write_blocking {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty,
        |$limits:ident| $op:expr, $read:path;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($arg: $type),*) -> Result<$result> {
            let $limits = self.backend().limits();
            $read(self.backend().apply_one_blocking($op)?)
        }
    )+};
}

/// The operations as methods within a transaction.
macro_rules! write_within {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty,
        |$limits:ident| $op:expr, $read:path;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($arg: $type),*) -> Result<$result> {
            let $limits = self.limits();
            $read(self.apply(&$op)?)
        }
    )+};
}

pub(crate) use {operations, write_async, write_blocking, write_within};
