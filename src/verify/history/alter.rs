//! Alterations: one answer of a recorded history, changed to one that is impossible. Every checker must refuse them.
//!
//! Invariant: each alteration is illegal for a reason that needs no checker, and the reason stands beside it: a value
//! that the operation alone decides, a number that no history reaches, a number or token that another answer has, a
//! message that no client sent, or, in a history where every operation was answered, a lease that nothing can have
//! ended.
//! Does not depend on: how histories are checked.

use std::collections::BTreeSet;
use std::sync::Arc;

use fencepost_model::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Target};
use fencepost_model::state::Body;
use fencepost_model::vocabulary::{Epoch, Message, Name, Raw, RecordId, Seq, Timestamp, Token};

use crate::history::record::{CommitPlace, History, HistoryAnswer, HistoryEntry};

/// More than any history has of anything.
const FAR: u64 = 1_000_000;

/// One changed answer.
#[derive(Clone, Debug)]
pub struct Alteration {
    /// Whose answer.
    pub entry: usize,
    /// What is changed, and why that cannot be.
    pub what: &'static str,
    /// The answer instead.
    pub answer: HistoryAnswer,
}

impl Alteration {
    /// The history with this one answer changed.
    pub fn of(&self, history: &History) -> History {
        let mut altered = history.clone();
        let entry = &mut altered.entries[self.entry];
        // What had no answer is given one at the end of all.
        let last = history.entries.iter().filter_map(|entry| entry.answered_ns).max();
        entry.answered_ns = entry.answered_ns.or(last.map(|last| last.max(entry.called_ns) + 1));
        entry.answer = self.answer.clone();
        altered
    }
}

/// All alterations of a history.
pub fn all(history: &History) -> Vec<Alteration> {
    let facts = Facts::of(history);
    let mut found = Vec::new();
    for (index, entry) in history.entries.iter().enumerate() {
        let mut altered: Vec<(&'static str, Reply)> = Vec::new();
        let place = match &entry.answer {
            HistoryAnswer::Replied { reply, place } => {
                of_reply(&facts, entry, reply, &mut altered);
                *place
            }
            HistoryAnswer::Missing | HistoryAnswer::Busy | HistoryAnswer::Indeterminate => {
                altered.extend(out_of_nothing(entry));
                // It claims the newest number, which is another's.
                Some(CommitPlace { commit_seq: facts.last, changed: true })
            }
            HistoryAnswer::Failed(_) => None,
        };
        found.extend(altered.into_iter().map(|(what, reply)| {
            let answer = HistoryAnswer::Replied { reply, place };
            Alteration { entry: index, what, answer }
        }));
    }
    found
}

/// What stands elsewhere in the history.
struct Facts<'a> {
    history: &'a History,
    last: u64,
    /// The numbers of commands and of events that were given out.
    fresh_commands: BTreeSet<Seq>,
    fresh_events: BTreeSet<Seq>,
    /// The tokens that claims handed out.
    tokens: BTreeSet<Token>,
    /// Whether every operation was answered, and no epoch was begun that moves the tokens on.
    closed: bool,
}

/// An operation with its answer, those of a transaction one by one.
fn each<'a>(history: &'a History, mut see: impl FnMut(&'a HistoryEntry, &'a Op, &'a Reply)) {
    for entry in &history.entries {
        match (&entry.op, entry.reply()) {
            (Op::Atomic(ops), Some(Reply::Done(replies))) => {
                ops.iter().zip(replies).for_each(|(op, reply)| see(entry, op, reply));
            }
            (op, Some(reply)) => see(entry, op, reply),
            _ => {}
        }
    }
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            last: history.end.as_ref().map_or(0, |end| end.commit_seq),
            fresh_commands: BTreeSet::new(),
            fresh_events: BTreeSet::new(),
            tokens: BTreeSet::new(),
            closed: !history.entries.iter().any(HistoryEntry::is_open),
        };
        each(history, |_, op, reply| match (op, reply) {
            (Op::Send { .. }, Reply::Accepted { seq, fresh: true }) => {
                facts.fresh_commands.insert(*seq);
            }
            (Op::Publish { .. }, Reply::Accepted { seq, fresh: true }) => {
                facts.fresh_events.insert(*seq);
            }
            (Op::Claim { .. }, Reply::HandedOut { deliveries, .. }) => {
                facts.tokens.extend(deliveries.iter().map(|delivery| delivery.token));
            }
            (Op::Restore { .. }, Reply::EpochBegun { .. }) => facts.closed = false,
            _ => {}
        });
        facts
    }

    /// Whether a command's lease was ended by an answer that was there before another operation was called.
    fn ended_before(&self, seq: Seq, under: Token, called: u64) -> bool {
        let mut ended = false;
        each(self.history, |entry, op, reply| {
            let ends = match (op, reply) {
                (Op::Settle { target: Target::Command(of), token, .. }, Reply::Settled(_)) => {
                    (*of, *token) == (seq, under)
                }
                (Op::Release { lease: Lease::Command(of), token }, Reply::Released) => {
                    (*of, *token) == (seq, under)
                }
                _ => false,
            };
            ended |= ends && entry.answered_ns.is_some_and(|at| at < called);
        });
        ended
    }

    /// Whether anything else may have ended a command's lease, before or after.
    fn may_end(&self, seq: Seq, under: Token) -> bool {
        let mut ends = 0;
        each(self.history, |_, op, reply| {
            ends += u32::from(match (op, reply) {
                (Op::Settle { target: Target::Command(of), token, .. }, Reply::Settled(_)) => {
                    (*of, *token) == (seq, under)
                }
                (Op::Release { lease: Lease::Command(of), token }, Reply::Released) => {
                    (*of, *token) == (seq, under)
                }
                (Op::Claim { .. }, Reply::HandedOut { deliveries, dead_lettered }) => {
                    let again = |delivery: &Delivery| delivery.seq == seq && delivery.token > under;
                    !dead_lettered.is_empty() || deliveries.iter().any(again)
                }
                (Op::Cancel { seq: of }, Reply::Cancelled) => *of == seq,
                _ => false,
            });
        });
        // The settlement in question is one of them.
        ends > 1
    }
}

fn far(seq: Seq) -> Seq {
    seq.plus(FAR)
}

fn record() -> RecordId {
    RecordId::ZERO.plus(FAR)
}

fn of_reply(facts: &Facts<'_>, entry: &HistoryEntry, reply: &Reply, to: &mut Vec<(&'static str, Reply)>) {
    match reply {
        Reply::Accepted { seq, fresh } => accepted(facts, entry, *seq, *fresh, to),
        Reply::HandedOut { deliveries, dead_lettered } => {
            handed_out(facts, entry, deliveries, dead_lettered, to);
        }
        Reply::Settled(settled) => settled_otherwise(facts, entry, settled, to),
        Reply::Refused(refusal) => refused(facts, entry, refusal, to),
        Reply::Extended { until } => {
            let until = until.plus(1);
            to.push(("the end of an extended lease follows from the operation", Reply::Extended { until }));
        }
        Reply::Subscribed { position, fresh } => {
            let position = far(*position);
            let fresh = *fresh;
            to.push(("no position is beyond all events", Reply::Subscribed { position, fresh }));
        }
        Reply::Pruned { first, removed, dead_lettered } => {
            let (first, removed, dead_lettered) = (far(*first), *removed, dead_lettered.clone());
            to.push(("nothing is beyond all events", Reply::Pruned { first, removed, dead_lettered }));
        }
        Reply::Forgotten { ids } => {
            to.push(("there are not so many ids", Reply::Forgotten { ids: ids + FAR }));
        }
        Reply::Unsubscribed { returned } => {
            let returned = returned.iter().copied().chain([record()]).collect();
            to.push(("there is no such record", Reply::Unsubscribed { returned }));
        }
        Reply::EpochBegun { returned } => {
            let returned = returned.iter().copied().chain([record()]).collect();
            to.push(("there is no such record", Reply::EpochBegun { returned }));
        }
        Reply::Redriven(_) => {
            let target = Target::Command(far(Seq::ZERO));
            to.push(("there is no such command", Reply::Redriven(target)));
        }
        Reply::Repaired { .. } => {
            let replaced = Raw([].into());
            to.push(("no row is without columns", Reply::Repaired { replaced }));
        }
        Reply::Done(replies) => {
            let fewer = replies.iter().skip(1).cloned().collect();
            to.push(("a transaction has an answer for each part", Reply::Done(fewer)));
        }
        Reply::Released | Reply::Cancelled | Reply::Sought | Reply::Purged | Reply::Rebooted => {
            to.push(("this is never refused so", Reply::Refused(Refusal::WrongKind)));
        }
    }
}

fn accepted(
    facts: &Facts<'_>,
    entry: &HistoryEntry,
    seq: Seq,
    fresh: bool,
    to: &mut Vec<(&'static str, Reply)>,
) {
    let given = |seq: Seq, fresh| Reply::Accepted { seq, fresh };
    to.push(("no history has so many messages", given(far(seq), fresh)));
    let (message, numbers) = match &entry.op {
        Op::Send { message, .. } => (message, &facts.fresh_commands),
        Op::Publish { message } => (message, &facts.fresh_events),
        _ => return,
    };
    match (fresh, &message.id) {
        (true, None) => {
            to.push(("what has no id is never known already", given(seq, false)));
            let conflict = Reply::Refused(Refusal::Conflict { seq });
            to.push(("what has no id conflicts with nothing", conflict));
        }
        (false, _) if numbers.contains(&seq) => {
            to.push(("a number is given once, and this one was", given(seq, true)));
        }
        _ => {}
    }
    let neighbours = [seq.plus(1), seq.before()];
    if fresh && let Some(other) = neighbours.into_iter().find(|other| numbers.contains(other)) {
        to.push(("a number is given once, and this one is another's", given(other, true)));
    }
}

fn handed_out(
    facts: &Facts<'_>,
    entry: &HistoryEntry,
    deliveries: &[Delivery],
    dead_lettered: &[RecordId],
    to: &mut Vec<(&'static str, Reply)>,
) {
    let list =
        |deliveries: Vec<Delivery>| Reply::HandedOut { deliveries, dead_lettered: dead_lettered.to_vec() };
    let mut more = dead_lettered.to_vec();
    more.push(record());
    let more = Reply::HandedOut { deliveries: deliveries.to_vec(), dead_lettered: more };
    to.push(("there is no such record", more));
    let Some(first) = deliveries.first() else { return };
    let with = |change: &dyn Fn(&mut Delivery)| {
        let mut changed = deliveries.to_vec();
        change(&mut changed[0]);
        list(changed)
    };
    to.push(("no history has so many claims", with(&|it| it.token = it.token.plus(FAR))));
    to.push(("nothing was tried so often", with(&|it| it.attempt += 100_000)));
    to.push(("there is no such message", with(&|it| it.seq = far(it.seq))));
    let until = |it: &mut Delivery| it.lease_until = it.lease_until.plus(1);
    to.push(("the end of a lease follows from the operation", with(&until)));
    let body = |it: &mut Delivery| {
        if let Body::Sound { message, .. } = &mut it.body {
            let name = message.name.clone();
            *message = Arc::new(Message::new(message.kind, name, *b"never sent"));
        }
    };
    to.push(("no client sent this", with(&body)));
    let twice = deliveries.iter().chain(deliveries.last()).cloned().collect();
    to.push(("nothing is handed out twice at once", list(twice)));
    if deliveries.len() > 1 {
        let turned = deliveries.iter().rev().cloned().collect();
        to.push(("tokens grow along a claim, and numbers along a poll", list(turned)));
    }
    if matches!(entry.op, Op::Claim { .. }) {
        to.push(("a claim is never refused", Reply::Refused(Refusal::LeaseLost)));
        let other = [first.token.plus(1), first.token.before()];
        let another = |token: &Token| {
            facts.tokens.contains(token) && !deliveries.iter().any(|delivery| delivery.token == *token)
        };
        if let Some(other) = other.into_iter().find(another) {
            to.push(("a token is minted once, and this one is another's", with(&|it| it.token = other)));
        }
        if facts.closed {
            let fewer = deliveries[..deliveries.len() - 1].to_vec();
            to.push(("its token was minted, and no other answer has it", list(fewer)));
        }
    }
}

fn settled_otherwise(
    facts: &Facts<'_>,
    entry: &HistoryEntry,
    settled: &Settled,
    to: &mut Vec<(&'static str, Reply)>,
) {
    match settled {
        Settled::Requeued { due_at } => {
            let due_at = due_at.plus(1);
            let later = Reply::Settled(Settled::Requeued { due_at });
            to.push(("the end of a back-off follows from the operation", later));
        }
        Settled::DeadLettered { .. } => {
            let other = Reply::Settled(Settled::DeadLettered { record: record() });
            to.push(("there is no such record", other));
        }
        Settled::Parked { .. } => {
            let other = Reply::Settled(Settled::Parked { record: record() });
            to.push(("there is no such record", other));
        }
        Settled::Acked => to.push(("an ack drops nothing", Reply::Settled(Settled::Dropped))),
        Settled::Dropped => to.push(("a drop acks nothing", Reply::Settled(Settled::Acked))),
    }
    if let Op::Settle { target: Target::Command(seq), token, .. } = &entry.op
        && facts.closed
        && !facts.may_end(*seq, *token)
    {
        to.push(("nothing else can have ended this lease", Reply::Refused(Refusal::LeaseLost)));
    }
}

fn refused(facts: &Facts<'_>, entry: &HistoryEntry, refusal: &Refusal, to: &mut Vec<(&'static str, Reply)>) {
    let other = match refusal {
        Refusal::Conflict { seq } => Refusal::Conflict { seq: far(*seq) },
        Refusal::Held { until } => Refusal::Held { until: until.plus(FAR) },
        Refusal::NamesMissing { missing } => {
            let mut missing = missing.clone();
            missing.extend(Name::new("no-group-reads-this").ok());
            Refusal::NamesMissing { missing }
        }
        Refusal::NotNext { .. } => Refusal::NotNext { next: Some(far(Seq::ZERO)) },
        Refusal::BeyondHead { head } => Refusal::BeyondHead { head: far(*head) },
        Refusal::Pruned { first } => Refusal::Pruned { first: far(*first) },
        Refusal::EpochMismatch { current } => {
            Refusal::EpochMismatch { current: Epoch::ZERO.plus(current.get() + FAR) }
        }
        Refusal::Aborted { refusal, .. } => Refusal::Aborted { index: 1_000, refusal: refusal.clone() },
        _ => Refusal::WrongKind,
    };
    to.push(("a refusal says what is so", Reply::Refused(other)));
    match &entry.op {
        Op::Settle { target: Target::Command(seq), token, .. }
            if facts.ended_before(*seq, *token, entry.called_ns) =>
        {
            to.push(("its lease had ended, and the client was told", Reply::Settled(Settled::Acked)));
        }
        Op::Extend { lease_ms, .. } => {
            let until = entry.now.plus(lease_ms + 1);
            to.push(("the end of an extended lease follows from the operation", Reply::Extended { until }));
        }
        Op::Redrive { .. } => {
            let target = Target::Command(far(Seq::ZERO));
            to.push(("there is no such command", Reply::Redriven(target)));
        }
        Op::Poll { lease_ms, .. } => to.push(("no client sent this", handed_out_unsent(entry, *lease_ms))),
        _ => {}
    }
}

fn handed_out_unsent(entry: &HistoryEntry, lease_ms: u64) -> Reply {
    let seq = far(Seq::ZERO);
    let name = Name::new("no-group-reads-this").ok();
    let body = name.map(|name| {
        let message = Message::new(fencepost_model::vocabulary::Kind::Event, name, *b"never sent");
        Body::Sound { message: Arc::new(message), at: Timestamp::ZERO }
    });
    let deliveries = body.map(|body| Delivery {
        target: Target::Command(seq),
        seq,
        token: Token::ZERO.plus(1),
        attempt: 1,
        lease_until: entry.now.plus(lease_ms),
        body,
    });
    Reply::HandedOut { deliveries: deliveries.into_iter().collect(), dead_lettered: Vec::new() }
}

/// A success in the place of no answer, or of one that says that nothing happened.
fn out_of_nothing(entry: &HistoryEntry) -> Option<(&'static str, Reply)> {
    let seq = far(Seq::ZERO);
    match &entry.op {
        Op::Send { .. } | Op::Publish { .. } => {
            Some(("no history has so many messages", Reply::Accepted { seq, fresh: true }))
        }
        Op::Claim { lease_ms, .. } | Op::Poll { lease_ms, .. } => {
            Some(("no client sent this", handed_out_unsent(entry, *lease_ms)))
        }
        Op::Extend { lease_ms, .. } => {
            let until = entry.now.plus(lease_ms + 1);
            Some(("the end of an extended lease follows from the operation", Reply::Extended { until }))
        }
        _ => None,
    }
}
