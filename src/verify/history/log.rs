//! Checks of the log without a model, in the manner of Jepsen's workload for Kafka: the violation shows in the history
//! itself.
//!
//! Invariant: each check has a premise that makes it certain (no seek, no new epoch, no operation of a killed client
//! that may have moved the position), and says nothing where the premise does not hold. So these checks find less than
//! those against the model, and share no bug with them.
//! Does not depend on: how an operation works, beyond the sentences of the contract that stand beside each check.

use std::collections::{BTreeMap, BTreeSet};

use fencepost_model::op::{Delivery, Lease, Op, Reply, Settled, Target};
use fencepost_model::state::{Body, State};
use fencepost_model::vocabulary::{Group, Message, Name, Seq, Timestamp, Token};

use crate::history::record::{History, HistoryAnswer};
use crate::history::verdict::Rejection;

/// An event that was acknowledged reaches every group that reads past it.
pub const LOST: &str = "no_acknowledged_event_is_lost";
/// A poll hands out the lowest unsettled numbers, and leaves none out.
pub const SKIPPED: &str = "no_event_is_skipped";
/// A holder is handed the events of a name in their order, within a poll and from one to the next.
pub const INVERTED: &str = "a_holder_reads_in_order";
/// What is handed out was sent or published before, at this number.
pub const UNCOMMITTED: &str = "nothing_is_seen_before_its_commit";
/// An event that a group has settled is not handed out to it again.
pub const AGAIN: &str = "what_is_settled_is_not_handed_out_again";
/// A cursor has one holder at a time.
pub const HOLDERS: &str = "a_cursor_has_one_holder";

/// One operation that was answered, those of a transaction one by one.
struct Said<'a> {
    index: usize,
    called: u64,
    answered: u64,
    now: Timestamp,
    op: &'a Op,
    reply: &'a Reply,
}

/// What can be read off a history.
struct Account<'a> {
    said: Vec<Said<'a>>,
    /// Operations that may or may not have happened.
    open: Vec<&'a Op>,
    /// Whether another epoch may have begun.
    epochs: bool,
    /// The names of groups whose positions may have been moved, or given up.
    moved: BTreeSet<(Group, Name)>,
}

fn flatten<'a>(op: &'a Op, reply: &'a Reply, each: &mut impl FnMut(&'a Op, &'a Reply)) {
    match (op, reply) {
        (Op::Atomic(ops), Reply::Done(replies)) => {
            for (op, reply) in ops.iter().zip(replies) {
                flatten(op, reply, each);
            }
        }
        _ => each(op, reply),
    }
}

impl<'a> Account<'a> {
    fn of(history: &'a History) -> Self {
        let mut account = Self { said: Vec::new(), open: Vec::new(), epochs: false, moved: BTreeSet::new() };
        for (index, entry) in history.entries.iter().enumerate() {
            let (called, now) = (entry.called_ns, entry.now);
            if let (HistoryAnswer::Replied { reply, .. }, Some(answered)) = (&entry.answer, entry.answered_ns)
            {
                flatten(&entry.op, reply, &mut |op, reply| {
                    account.said.push(Said { index, called, answered, now, op, reply });
                });
            } else if entry.is_open() {
                account.open.push(&entry.op);
            }
        }
        let done = account.said.iter().filter(|said| !matches!(said.reply, Reply::Refused(_)));
        let possible: Vec<&Op> = done.map(|said| said.op).chain(account.open.iter().copied()).collect();
        for op in possible {
            match op {
                Op::Reset { .. } | Op::Restore { .. } => account.epochs = true,
                Op::Seek { group, name, .. } | Op::Unsubscribe { group, name } => {
                    account.moved.insert((group.clone(), name.clone()));
                }
                _ => {}
            }
        }
        account
    }

    /// The polls of a group that were answered with something, or with nothing.
    fn polls(&self, of: &Group) -> impl Iterator<Item = (&Said<'a>, &'a [Delivery])> {
        self.said.iter().filter_map(move |said| match (said.op, said.reply) {
            (Op::Poll { group, .. }, Reply::HandedOut { deliveries, .. }) if group == of => {
                Some((said, &deliveries[..]))
            }
            _ => None,
        })
    }

    fn groups(&self) -> BTreeSet<Group> {
        let group = |said: &Said<'_>| match said.op {
            Op::Subscribe { group, .. } => Some(group.clone()),
            _ => None,
        };
        self.said.iter().filter_map(group).collect()
    }

    /// The names of a group whose positions only settlements move, where each began, and when that was known.
    fn plain_names(&self, of: &Group) -> BTreeMap<Name, (Seq, u64)> {
        let plain = |said: &Said<'_>| match (said.op, said.reply) {
            (Op::Subscribe { group, name, .. }, Reply::Subscribed { position, fresh: true })
                if group == of && !self.moved.contains(&(group.clone(), name.clone())) =>
            {
                Some((name.clone(), (*position, said.answered)))
            }
            _ => None,
        };
        self.said.iter().filter_map(plain).collect()
    }

    /// The acknowledged events of a name.
    fn published(&self, of: &Name) -> Vec<Seq> {
        let seq = |said: &Said<'_>| match (said.op, said.reply) {
            (Op::Publish { message }, Reply::Accepted { seq, fresh: true }) if message.name == *of => {
                Some(*seq)
            }
            _ => None,
        };
        self.said.iter().filter_map(seq).collect()
    }

    /// How many events polls of a group may have moved to the dead, without saying which.
    fn aside_by_polls(&self, of: &Group) -> usize {
        let polls = self.said.iter().map(|said| (said.op, Some(said.reply)));
        let polls = polls.chain(self.open.iter().map(|op| (*op, None)));
        let polls: Vec<(u32, u32, Option<&Reply>)> = polls
            .filter_map(|(op, reply)| match op {
                Op::Poll { group, max, attempts_max, .. } if group == of => {
                    Some((max.get(), attempts_max.get(), reply))
                }
                _ => None,
            })
            .collect();
        let total = polls.len();
        let aside = |(max, attempts_max, reply): &(u32, u32, Option<&Reply>)| match reply {
            Some(Reply::HandedOut { dead_lettered, .. }) => dead_lettered.len(),
            Some(_) => 0,
            // Nothing can have had more attempts than there were polls.
            None if *attempts_max as usize > total => 0,
            None => *max as usize,
        };
        polls.iter().map(aside).sum()
    }
}

fn event_of(delivery: &Delivery) -> Option<(Seq, &Name)> {
    matches!(delivery.target, Target::Event { .. }).then_some(())?;
    Some((delivery.seq, delivery.body.name()?))
}

/// All violations.
pub fn check(history: &History) -> Vec<Rejection> {
    let account = Account::of(history);
    let mut violation: Vec<Rejection> = Vec::new();
    violation.extend(uncommitted(&account, history));
    for group in account.groups() {
        violation.extend(holders(&account, &group));
        violation.extend(inverted(&account, &group));
        if !account.epochs {
            violation.extend(lost(&account, &group));
            violation.extend(skipped(&account, &group));
            violation.extend(again(&account, &group));
        }
    }
    violation
}

fn refused(checker: &'static str, why: String, entry: usize) -> Option<Rejection> {
    Some(Rejection { checker, why, entry: Some(entry) })
}

fn lost(account: &Account<'_>, group: &Group) -> Option<Rejection> {
    let mut seen: BTreeMap<Seq, usize> = BTreeMap::new();
    let mut furthest: BTreeMap<Name, (Seq, usize)> = BTreeMap::new();
    for (said, deliveries) in account.polls(group) {
        for (seq, name) in deliveries.iter().filter_map(event_of) {
            seen.insert(seq, said.index);
            let far = furthest.entry(name.clone()).or_insert((seq, said.index));
            *far = (*far).max((seq, said.index));
        }
    }
    let mut missing = Vec::new();
    for (name, (start, _)) in account.plain_names(group) {
        let Some((far, index)) = furthest.get(&name) else { continue };
        let passed = account.published(&name).into_iter().filter(|seq| *seq > start && seq < far);
        missing.extend(passed.filter(|seq| !seen.contains_key(seq)).map(|seq| (seq, *index)));
    }
    let (seq, index) = missing.iter().min().copied()?;
    if missing.len() <= account.aside_by_polls(group) {
        return None;
    }
    refused(
        LOST,
        format!("event {seq} was acknowledged, and {group} read past it without being handed it"),
        index,
    )
}

fn skipped(account: &Account<'_>, group: &Group) -> Option<Rejection> {
    if account.aside_by_polls(group) > 0 {
        return None;
    }
    let names = account.plain_names(group);
    for (said, deliveries) in account.polls(group) {
        let events: Vec<Seq> = deliveries.iter().filter_map(event_of).map(|(seq, _)| seq).collect();
        for pair in events.windows(2) {
            for (name, (start, known)) in &names {
                let between = |seq: &Seq| pair[0] < *seq && *seq < pair[1];
                let applies = *start < pair[0] && *known < said.called;
                let left_out = account.published(name).into_iter().find(|seq| applies && between(seq));
                let Some(seq) = left_out else { continue };
                // One that was handed out before may have been settled, while an older one of a newer name waited.
                let before = account.polls(group).any(|(other, deliveries)| {
                    other.called < said.answered && deliveries.iter().any(|delivery| delivery.seq == seq)
                });
                if !before {
                    return refused(
                        SKIPPED,
                        format!("{group} was handed {pair:?} without {seq}"),
                        said.index,
                    );
                }
            }
        }
    }
    None
}

fn inverted(account: &Account<'_>, group: &Group) -> Option<Rejection> {
    let mut first: BTreeMap<(Token, Name), Vec<(u64, Seq)>> = BTreeMap::new();
    let mut polls: Vec<_> = account.polls(group).collect();
    polls.sort_by_key(|(said, _)| said.called);
    for (said, deliveries) in polls {
        if deliveries.windows(2).any(|pair| pair[0].seq >= pair[1].seq) {
            return refused(INVERTED, format!("{group} was handed events out of order"), said.index);
        }
        let mut of_this: BTreeMap<Name, (Token, Seq)> = BTreeMap::new();
        for delivery in deliveries {
            if let Some((seq, name)) = event_of(delivery) {
                of_this.entry(name.clone()).or_insert((delivery.token, seq));
            }
        }
        for (name, (token, seq)) in of_this {
            if account.epochs || account.moved.contains(&(group.clone(), name.clone())) {
                continue;
            }
            let earlier = first.entry((token, name)).or_default();
            if let Some((_, other)) = earlier.iter().find(|(at, other)| *at < said.called && *other > seq) {
                let why = format!("{group} was handed {seq} under token {token} after {other}");
                return refused(INVERTED, why, said.index);
            }
            earlier.push((said.answered, seq));
        }
    }
    None
}

fn uncommitted(account: &Account<'_>, history: &History) -> Option<Rejection> {
    // Where a history begins in the middle, what is there already was sent before.
    if history.start != State::new() {
        return None;
    }
    let mut sent: BTreeMap<&Message, Vec<(u64, Option<Seq>)>> = BTreeMap::new();
    for said in &account.said {
        if let (Op::Send { message, .. } | Op::Publish { message }, Reply::Accepted { seq, .. }) =
            (said.op, said.reply)
        {
            sent.entry(message).or_default().push((said.called, Some(*seq)));
        }
    }
    for entry in history.entries.iter().filter(|entry| entry.is_open()) {
        let parts = match &entry.op {
            Op::Atomic(parts) => &parts[..],
            single => std::slice::from_ref(single),
        };
        for part in parts {
            if let Op::Send { message, .. } | Op::Publish { message } = part {
                sent.entry(message).or_default().push((entry.called_ns, None));
            }
        }
    }
    for said in &account.said {
        let Reply::HandedOut { deliveries, .. } = said.reply else { continue };
        for delivery in deliveries {
            let Body::Sound { message, .. } = &delivery.body else { continue };
            let fits = |(called, seq): &(u64, Option<Seq>)| {
                *called <= said.answered && seq.is_none_or(|seq| seq == delivery.seq)
            };
            if !sent.get(message.as_ref()).is_some_and(|all| all.iter().any(fits)) {
                let why = format!("{} was handed out, and had not been sent by then", delivery.seq);
                return refused(UNCOMMITTED, why, said.index);
            }
        }
    }
    None
}

fn again(account: &Account<'_>, group: &Group) -> Option<Rejection> {
    let mut settled: BTreeMap<Seq, u64> = BTreeMap::new();
    for said in &account.said {
        if let (Op::Settle { target: Target::Event { group: of, seq }, .. }, Reply::Settled(how)) =
            (said.op, said.reply)
            && of == group
            && !matches!(how, Settled::Requeued { .. })
        {
            settled.insert(*seq, said.answered);
        }
    }
    for (said, deliveries) in account.polls(group) {
        for (seq, name) in deliveries.iter().filter_map(event_of) {
            let moved = account.moved.contains(&(group.clone(), name.clone()));
            if !moved && settled.get(&seq).is_some_and(|at| *at < said.called) {
                let why = format!("{group} was handed {seq} again, which it had settled");
                return refused(AGAIN, why, said.index);
            }
        }
    }
    None
}

/// A successful use of a cursor's lease.
struct Use {
    token: Token,
    called: u64,
    answered: u64,
    index: usize,
    now: Timestamp,
    /// Whether this took the cursor.
    took: bool,
    /// When the lease ends after it; none if this ended it.
    until: Option<Timestamp>,
}

fn uses(account: &Account<'_>, of: &Group) -> Vec<Use> {
    let cursor = Lease::Cursor(of.clone());
    let used = |said: &Said<'_>| {
        let (token, took, until) = match (said.op, said.reply) {
            (Op::Poll { group, token, .. }, Reply::HandedOut { deliveries, .. }) if group == of => {
                let first = deliveries.first();
                let under = first.map(|first| first.token).or(*token)?;
                (under, token.is_none(), first.map(|first| first.lease_until))
            }
            (Op::Extend { lease, token, .. }, Reply::Extended { until }) if *lease == cursor => {
                (*token, false, Some(*until))
            }
            (Op::Settle { target, token, .. }, Reply::Settled(_)) if target.lease() == cursor => {
                (*token, false, None)
            }
            (Op::Release { lease, token }, Reply::Released) if *lease == cursor => (*token, false, None),
            _ => return None,
        };
        let Said { called, answered, index, now, .. } = *said;
        Some(Use { token, called, answered, index, now, took, until })
    };
    account.said.iter().filter_map(used).collect()
}

fn holders(account: &Account<'_>, group: &Group) -> Option<Rejection> {
    let uses = uses(account, group);
    for taken in uses.iter().filter(|one| one.took) {
        // Tokens grow, so a smaller one is an older one, and ended when the cursor was taken.
        let late = uses.iter().find(|other| other.token < taken.token && other.called > taken.answered);
        if let Some(late) = late {
            let why = format!(
                "token {} of {group} still worked after {} had taken the cursor",
                late.token, taken.token
            );
            return refused(HOLDERS, why, late.index);
        }
        if let Some(why) = taken_too_early(account, group, &uses, taken) {
            return refused(HOLDERS, why, taken.index);
        }
    }
    None
}

/// Whether a cursor was taken before the lease on it had ended by the clock of the client that took it. Only where
/// nothing else can have ended that lease: each use of it is known, was over by then, and left it as it was or set its
/// end.
fn taken_too_early(account: &Account<'_>, group: &Group, uses: &[Use], taken: &Use) -> Option<String> {
    if account.epochs || account.moved.iter().any(|(of, _)| of == group) {
        return None;
    }
    let cursor = Lease::Cursor(group.clone());
    let before = uses.iter().filter(|other| other.token < taken.token).map(|other| other.token).max()?;
    let under = |op: &Op| match op {
        Op::Settle { target, token, .. } => *token == before && target.lease() == cursor,
        Op::Release { lease, token } | Op::Extend { lease, token, .. } => {
            *token == before && *lease == cursor
        }
        Op::Poll { group: of, token, .. } => *token == Some(before) && of == group,
        _ => false,
    };
    let within = |op: &Op| match op {
        Op::Atomic(parts) => parts.iter().any(under),
        op => under(op),
    };
    if account.open.iter().any(|op| within(op)) {
        return None;
    }
    // The smaller token was minted first. Of what was under way while the cursor was taken, the earliest end counts.
    let mut until: Option<Timestamp> = None;
    let mut meanwhile: Vec<Timestamp> = Vec::new();
    let mut of_lease: Vec<&Use> = uses.iter().filter(|other| other.token == before).collect();
    of_lease.sort_by_key(|other| other.called);
    for one in of_lease.into_iter().filter(|one| one.called <= taken.answered) {
        // A settlement that gave the event back, and a release, end the lease.
        let mut said = account.said.iter().filter(|said| said.index == one.index);
        let ended =
            said.any(|said| matches!(said.reply, Reply::Released | Reply::Settled(Settled::Requeued { .. })));
        if ended {
            return None;
        }
        if one.answered < taken.called {
            until = one.until.or(until);
        } else {
            meanwhile.extend(one.until);
        }
    }
    let until = until.into_iter().chain(meanwhile).min();
    let until = until?;
    let early = taken.now < until;
    early.then(|| {
        format!(
            "{group} was taken under token {} at {}, and held under {before} until {until}",
            taken.token, taken.now
        )
    })
}
