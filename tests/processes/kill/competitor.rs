//! The role of one of several processes that send, claim and settle over one file until they are killed. Each says what
//! it is about to do, and what it was answered. It checks nothing.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use fencepost::clock::{Clock, SystemClock};
use fencepost::internals::sqlite::{OpenOptions, Store};
use fencepost_model::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Settlement, Target};
use fencepost_model::state::Body;
use fencepost_model::vocabulary::{Kind, Message, Name, Names, Reason, RecordId, Seq, Timestamp, Token};
use serde::{Deserialize, Serialize};

use crate::kill::writer::options;
use crate::kill::{Chance, Fault, pause, say, told};

/// What the test tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its number, which no other process has.
    pub(crate) life: u32,
    /// Whether each commit is synced.
    pub(crate) synced: bool,
    pub(crate) seed: u64,
    pub(crate) fault: Option<Fault>,
}

/// What it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    Opened,
    Sends {
        number: u64,
    },
    Sent {
        number: u64,
        seq: Seq,
    },
    Claims,
    /// The number, as it stands in the message, its place, and the token.
    Claimed(Vec<(u64, Seq, Token)>),
    /// It is about to settle, and to send a message in the same transaction if one is named.
    Settles {
        seq: Seq,
        token: Token,
        how: How,
        sends: Option<u64>,
    },
    /// It has, and this is the record that was made, or the place of the message that was sent.
    Settled {
        seq: Seq,
        token: Token,
        record: Option<RecordId>,
        sent: Option<Seq>,
    },
    /// Its lease was lost, so it has not.
    Lost {
        seq: Seq,
        token: Token,
    },
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Ack,
    Nack,
    Release,
    DeadLetter,
    Park,
}

/// So short that what a killed process held is soon claimed again, and that late settlements have lost their lease.
const LEASE_MS: u64 = 8;

/// Plays the role.
pub(crate) fn play() {
    let (file, part) = told::<Part>();
    // A process that is refused soon and asks again gets the lock sooner than one that lets SQLite wait ever longer.
    let options = OpenOptions { busy_timeout_ms: 1, ..options(part.synced) };
    let store = persist(|| Store::open(&file, &options));
    say(&Line::Opened);
    let chance = Chance(part.seed);
    let mut competitor = Competitor {
        store,
        chance,
        fault: part.fault,
        last: u64::from(part.life) << 32,
        kept: VecDeque::new(),
    };
    loop {
        competitor.work();
    }
}

/// Tries again what is refused only for a lock.
fn persist<T>(mut work: impl FnMut() -> fencepost::Result<T>) -> T {
    loop {
        match work() {
            Err(error) if error.is_retryable() => pause(200),
            result => return result.unwrap(),
        }
    }
}

/// Applies one part of what belongs together on its own.
fn later(store: &mut Store, now: Timestamp, part: &Op) -> Reply {
    pause(100);
    persist(|| store.apply(now, part))
}

struct Competitor {
    store: Store,
    chance: Chance,
    fault: Option<Fault>,
    /// The last number that it sent.
    last: u64,
    /// What it was handed out and settles late, or never.
    kept: VecDeque<(Seq, Token)>,
}

impl Competitor {
    fn work(&mut self) {
        if self.chance.below(10) < 4 {
            let (number, op) = self.message();
            say(&Line::Sends { number });
            match self.apply(&op) {
                Reply::Accepted { seq, fresh: true } => say(&Line::Sent { number, seq }),
                other => panic!("a send was answered {other:?}"),
            }
            return;
        }
        if self.chance.one_in(10)
            && let Some((seq, token)) = self.kept.pop_front()
        {
            self.settle(seq, token);
            return;
        }
        let max = NonZeroU32::new(1 + self.chance.below(3)).unwrap();
        let (names, attempts_max) = (Names::from([name()]), NonZeroU32::new(50).unwrap());
        say(&Line::Claims);
        match self.apply(&Op::Claim { names, max, lease_ms: LEASE_MS, attempts_max }) {
            Reply::HandedOut { deliveries, .. } => {
                let number = |delivery: &Delivery| number_in(&delivery.body).unwrap();
                say(&Line::Claimed(deliveries.iter().map(|d| (number(d), d.seq, d.token)).collect()));
                for delivery in &deliveries {
                    if self.chance.one_in(12) {
                        self.kept.push_back((delivery.seq, delivery.token));
                    } else {
                        self.settle(delivery.seq, delivery.token);
                    }
                }
            }
            other => panic!("a claim was answered {other:?}"),
        }
    }

    /// The next message, some of which are of several pages.
    fn message(&mut self) -> (u64, Op) {
        self.last += 1;
        let length = if self.chance.one_in(8) { 9_000 } else { 10 };
        let text = format!("{} {}", self.last, "x".repeat(length));
        let message = Arc::new(Message::new(Kind::Command, name(), text.into_bytes()));
        (self.last, Op::Send { message, delay_ms: u64::from(self.chance.below(3)) })
    }

    fn settle(&mut self, seq: Seq, token: Token) {
        let how = match self.chance.below(36) {
            0..=26 => How::Ack,
            27..=30 => How::Nack,
            31..=33 => How::Release,
            34 => How::DeadLetter,
            _ => How::Park,
        };
        let mut op = settlement(seq, token, how, self.chance.below(4));
        let mut sends = None;
        if how == How::Ack && self.chance.one_in(3) {
            let (number, send) = self.message();
            (sends, op) = (Some(number), Op::Atomic(vec![send, op]));
        }
        say(&Line::Settles { seq, token, how, sends });
        if self.fault == Some(Fault::SaysDoneTooEarly) && how == How::Ack && sends.is_none() {
            say(&Line::Settled { seq, token, record: None, sent: None });
            self.apply(&op);
            return;
        }
        say(&heard(seq, token, self.apply(&op)));
    }

    fn apply(&mut self, op: &Op) -> Reply {
        let (store, now) = (&mut self.store, SystemClock.now());
        match (self.fault, op) {
            (Some(Fault::ForgetsAClaim), Op::Claim { .. })
            | (Some(Fault::ForgetsACommit), Op::Send { .. } | Op::Settle { .. } | Op::Atomic(_))
                if self.chance.one_in(100) =>
            {
                persist(|| store.rehearse(now, op))
            }
            (Some(Fault::CommitsInTwo), Op::Atomic(parts)) => match persist(|| store.rehearse(now, op)) {
                refused @ Reply::Refused(_) => refused,
                _ => Reply::Done(parts.iter().map(|part| later(store, now, part)).collect()),
            },
            _ => persist(|| store.apply(now, op)),
        }
    }
}

fn name() -> Name {
    Name::new("bet").unwrap()
}

fn settlement(seq: Seq, token: Token, how: How, delay_ms: u32) -> Op {
    let target = Target::Command(seq);
    let reason = || Reason::from("because");
    let how = match how {
        How::Ack => Settlement::Ack,
        How::Nack => Settlement::Nack { delay_ms: u64::from(delay_ms), reason: reason() },
        How::DeadLetter => Settlement::DeadLetter { reason: reason() },
        How::Park => Settlement::Park { reason: reason() },
        How::Release => return Op::Release { lease: Lease::Command(seq), token },
    };
    Op::Settle { target, token, how }
}

/// What to say of the answer to a settlement.
fn heard(seq: Seq, token: Token, reply: Reply) -> Line {
    let settled = |record, sent| Line::Settled { seq, token, record, sent };
    let lost = |refusal: &Refusal| match refusal {
        Refusal::LeaseLost => true,
        Refusal::Aborted { refusal, .. } => **refusal == Refusal::LeaseLost,
        _ => false,
    };
    match &reply {
        Reply::Settled(Settled::DeadLettered { record } | Settled::Parked { record }) => {
            settled(Some(*record), None)
        }
        Reply::Settled(_) | Reply::Released => settled(None, None),
        Reply::Refused(refusal) if lost(refusal) => Line::Lost { seq, token },
        Reply::Done(replies) => match &replies[..] {
            [Reply::Accepted { seq: sent, fresh: true }, Reply::Settled(Settled::Acked)] => {
                settled(None, Some(*sent))
            }
            // Two transactions in the place of one, of which the second was refused: the message was sent.
            [Reply::Accepted { .. }, Reply::Refused(Refusal::LeaseLost)] => Line::Lost { seq, token },
            other => panic!("a settlement was answered {other:?}"),
        },
        other => panic!("a settlement was answered {other:?}"),
    }
}

/// The number that a message carries, if it can be decoded.
pub(crate) fn number_in(body: &Body) -> Option<u64> {
    let Body::Sound { message, .. } = body else { return None };
    std::str::from_utf8(&message.payload).ok()?.split(' ').next()?.parse().ok()
}
