//! Events that are set aside: several of one group, of several epochs, and beside commands of the same numbers.
//!
//! Invariant: every operation that may concern them does what the model does, at each of some times.

use std::sync::Arc;

use fencepost_model::op::{Op, Reply, Settlement, Start};
use fencepost_model::vocabulary::{Epoch, Kind, Message, MessageId, RawValue, RecordId, Seq, Timestamp};

use super::ExaminationResult;
use super::damage::{each, of_log, park, send, with_values};
use crate::fuzz::furnished::{claim, group, name, names, poll};
use fencepost::error::{Error, Result};
use fencepost::internals::sqlite::{Statements, Store, next_due_group, plant};

/// A store of one group that reads one name, and the time: later by more than a lease with each operation.
struct SetAsideHarness {
    store: Store,
    now: Timestamp,
}

impl SetAsideHarness {
    fn new(sql: &Statements) -> Result<Self> {
        let store = Store::in_memory()?.with_statements(sql.clone());
        let mut harness = Self { store, now: Timestamp::ZERO };
        harness.apply(&Op::Subscribe { group: group(0), name: name(0), start: Start::Earliest })?;
        Ok(harness)
    }

    fn apply(&mut self, op: &Op) -> Result<Reply> {
        self.now = self.now.plus(2_000);
        self.store.apply(self.now, op)
    }

    fn accept(&mut self, kind: Kind, id: &str) -> Result<Reply> {
        let id = MessageId::new(id).unwrap_or_else(|rule| unreachable!("{id} {rule}"));
        let message = Arc::new(Message::new(kind, name(0), *b"x").with_id(id));
        self.apply(&match kind {
            Kind::Command => Op::Send { message, delay_ms: 0 },
            Kind::Event => Op::Publish { message },
        })
    }

    /// Hands out what there is, and settles each in its way.
    fn settle(&mut self, take: &Op, how: impl Fn(usize) -> Option<Settlement>) -> Result<()> {
        let Reply::HandedOut { deliveries, .. } = self.apply(take)? else { return Ok(()) };
        for (index, delivery) in deliveries.into_iter().enumerate() {
            let Some(how) = how(index) else { continue };
            self.store
                .apply(self.now, &Op::Settle { target: delivery.target, token: delivery.token, how })?;
        }
        Ok(())
    }

    /// What can be done now and later, each for itself.
    fn each(&self) -> Result<ExaminationResult> {
        let ops = of_log(&self.store.snapshot()?);
        for later in [0, 5_000, 60_000] {
            if let Err(why) = each(&self.store, self.now.plus(later), &ops)? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }
}

/// Two copies of each of two events, due at several times; given back, held again, and with times that cannot be read.
pub(super) fn several(sql: &Statements) -> Result<ExaminationResult> {
    let mut harness = SetAsideHarness::new(sql)?;
    for _ in 0..2 {
        harness.apply(&send(Kind::Event))?;
    }
    for _ in 0..2 {
        harness.settle(&poll(group(0), 9), |_| Some(park()))?;
        harness.apply(&Op::Seek { group: group(0), name: name(0), position: Seq::ZERO })?;
    }
    for record in [4, 3, 1, 2_u32] {
        harness.apply(&Op::Redrive { record: RecordId::from(record) })?;
    }
    let mut seen = harness.each()?;
    // The first is given back for longer than the second; then others are held, of which one was given back as well.
    for delays in [&[30_000, 10_000][..], &[0]] {
        let nack = |index: usize| {
            delays
                .get(index)
                .map(|delay_ms| Settlement::Nack { delay_ms: *delay_ms, reason: "not now".into() })
        };
        seen = seen.and(harness.each()?);
        harness.settle(&poll(group(0), 9), nack)?;
        seen = seen.and(harness.each()?);
    }
    harness.settle(&poll(group(0), 9), |_| None)?;
    seen = seen.and(harness.each()?);
    let ops = of_log(&harness.store.snapshot()?);
    for key in 1..=4 {
        seen = seen.and(with_values(&mut harness.store, harness.now, "entries", key, "due_at", &ops)?);
    }
    Ok(seen)
}

/// A copy whose due time cannot be read is due at once, and then found out: it keeps no worker asleep.
pub(super) fn due_times(sql: &Statements) -> Result<ExaminationResult> {
    let mut harness = SetAsideHarness::new(sql)?;
    harness.apply(&send(Kind::Event))?;
    harness.settle(&poll(group(0), 9), |_| Some(park()))?;
    harness.apply(&Op::Redrive { record: RecordId::from(1) })?;
    for value in [
        RawValue::Null,
        RawValue::Integer(-1),
        RawValue::Real(1.5_f64.to_bits()),
        RawValue::Text(b"1".to_vec()),
        RawValue::Blob(b"1".to_vec()),
    ] {
        plant(harness.store.connection_mut(), "entries", Seq::from(1), "due_at", &value)?;
        let now = harness.now.plus(5_000);
        if next_due_group(harness.store.connection(), sql, &group(0), now)? != Some(Timestamp::ZERO) {
            return Ok(Err(format!("a due time is {value:?}, and it is not due at once")));
        }
        if !matches!(harness.apply(&poll(group(0), 9)), Err(Error::Corrupt { .. })) {
            return Ok(Err(format!("a due time is {value:?}, and a poll does not find it")));
        }
    }
    Ok(Ok(()))
}

/// Ids of events beside those of commands of the same number, and while copies of other events are set aside.
pub(super) fn same_numbers(sql: &Statements) -> Result<ExaminationResult> {
    let mut harness = SetAsideHarness::new(sql)?;
    harness.apply(&send(Kind::Event))?;
    harness.settle(&poll(group(0), 9), |_| Some(park()))?;
    let now = harness.store.snapshot()?.epoch;
    harness.apply(&Op::Reset { expected: now, next: Epoch::from(5) })?;
    harness.accept(Kind::Event, "first")?;
    harness.apply(&send(Kind::Event))?;
    let ack_first = |index| Some(if index == 0 { Settlement::Ack } else { park() });
    harness.settle(&poll(group(0), 9), ack_first)?;
    harness.apply(&Op::Redrive { record: RecordId::from(2) })?;
    harness.apply(&Op::Prune { retention_ms: 0 })?;
    let mut seen = harness.each()?;

    // Number 1 of both kinds, neither of which can be read any more.
    let mut harness = SetAsideHarness::new(sql)?;
    for (kind, id) in [(Kind::Command, "command"), (Kind::Event, "event")] {
        harness.accept(kind, id)?;
    }
    for table in ["queue", "log"] {
        plant(harness.store.connection_mut(), table, Seq::from(1), "payload", &RawValue::Null)?;
    }
    for take in [claim(names(), 9), poll(group(0), 9)] {
        seen = seen.and(harness.each()?);
        harness.settle(&take, |_| None)?;
        seen = seen.and(harness.each()?);
        harness.settle(&take, |_| Some(park()))?;
    }
    let mut ops = Vec::new();
    for kind in [Kind::Command, Kind::Event] {
        let message = Arc::new(Message::new(kind, name(0), *b"mended"));
        let of = |record: u32| Op::Repair { record: RecordId::from(record), message: Arc::clone(&message) };
        ops.extend([of(1), of(2)]);
    }
    Ok(seen.and(each(&harness.store, harness.now, &ops)?))
}
