//! A state of the model with an index, so that an operation need not walk through all of it.
//!
//! The model is written to be read: a claim looks at every command. Here an operation gets the part of the state that it can
//! see, and the changed part is put back.
//!
//! Invariant: the reply and the state afterwards are what [`apply`] makes of the whole state (a test applies both side by
//! side). A part that is larger than needed changes nothing.
//! Does not depend on: what an operation does with its part.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use fencepost_model::apply;
use fencepost_model::op::{Lease, Op, Reply, Settlement, Start, Target};
use fencepost_model::state::{Command, LogRow, Origin, Remembered, State};
use fencepost_model::vocabulary::{Content, Group, Kind, Message, MessageId, Name, Names, Seq, Timestamp};

use crate::record::contents;
use crate::record::format::ShortDigest;

/// A state and its indexes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: State,
    /// The commands of a name, in the order in which they are due.
    due: HashMap<Name, BTreeSet<(Timestamp, Seq)>>,
    /// The id of a command.
    ids: HashMap<Seq, MessageId>,
    /// What is remembered under ids, taken out of the state: a look-up by hash does not compare texts.
    known_commands: HashMap<MessageId, Remembered>,
    known_events: HashMap<MessageId, Remembered>,
    /// The events of a name.
    events: HashMap<Name, BTreeSet<Seq>>,
    /// How many events have an unreadable name.
    nameless: usize,
    /// The part of the state that an operation gets.
    part: State,
    /// The commands in the part, with the times at which they were due before.
    commands: Vec<(Seq, Name, Timestamp)>,
    /// The messages with an id that the operation sends or publishes, with their digests.
    sent: Vec<(Arc<Message>, Content)>,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Its reply.
    pub(crate) reply: Reply,
    /// Whether the state changed; false if that was not asked for.
    pub(crate) moved: bool,
}

/// Whether an operation gets a part of the state or all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    Part,
    All,
}

impl Ledger {
    /// Indexes a state in which the ids come with short digests of their contents.
    ///
    /// # Errors
    /// What is wrong with a state that the contract does not lead to.
    pub(crate) fn new(state: State) -> Result<Self, &'static str> {
        let no_attempt = |attempts: u32| attempts == 0 || attempts == u32::MAX;
        for command in state.queue.values() {
            if command.body.name().is_none() || command.attempts == u32::MAX {
                return Err("a command has no name or too many attempts");
            }
            if command.lease.is_some() && no_attempt(command.attempts) {
                return Err("a command has a lease without an attempt");
            }
        }
        for cursor in state.groups.values() {
            let names = cursor.names.values().map(|name| (name.counted, name.attempts));
            let entries = cursor.entries.values().map(|entry| (entry.counted, entry.attempts));
            for (counted, attempts) in names.chain(entries) {
                if attempts == u32::MAX || (counted.is_some() && no_attempt(attempts)) {
                    return Err("a group counted an attempt that it did not have");
                }
            }
        }
        let mut ledger = Self { state, ..Self::default() };
        for (seq, command) in &ledger.state.queue {
            if let Some(name) = command.body.name() {
                ledger.due.entry(name.clone()).or_default().insert((command.due_at, *seq));
            }
        }
        ledger.index_events();
        match ledger.index_ids() {
            true => Ok(ledger),
            false => Err("two ids have the same command"),
        }
    }

    /// The whole state.
    pub(crate) fn state(&mut self) -> &State {
        self.gather();
        &self.state
    }

    /// Puts what is remembered under ids back into the state.
    fn gather(&mut self) {
        self.state.command_ids.extend(self.known_commands.drain());
        self.state.event_ids.extend(self.known_events.drain());
    }

    /// Takes what is remembered under ids out of the state.
    fn scatter(&mut self) {
        self.known_commands.extend(std::mem::take(&mut self.state.command_ids));
        self.known_events.extend(std::mem::take(&mut self.state.event_ids));
    }

    fn index_events(&mut self) {
        self.events.clear();
        self.nameless = 0;
        for (seq, row) in &self.state.log {
            let LogRow::Event(body) = row else { continue };
            match body.name() {
                Some(name) => {
                    self.events.entry(name.clone()).or_default().insert(*seq);
                }
                None => self.nameless += 1,
            }
        }
    }

    fn index_ids(&mut self) -> bool {
        self.ids.clear();
        self.ids.extend(self.state.command_ids.iter().map(|(id, known)| (known.seq, id.clone())));
        self.ids.len() == self.state.command_ids.len()
    }

    /// Applies an operation whose messages with an id have these digests. `asked` says whether to find out if the state
    /// changed.
    pub(crate) fn apply(
        &mut self,
        now: Timestamp,
        op: &Op,
        contents: &[ShortDigest],
        asked: bool,
    ) -> Applied {
        self.sent.clear();
        let mut remembered = contents.iter().map(|content| Content(content.as_slice().into()));
        match op {
            Op::Send { message, .. } | Op::Publish { message } if message.id.is_some() => {
                self.sent.extend(remembered.next().map(|content| (Arc::clone(message), content)));
            }
            Op::Atomic(_) => {
                let mut messages = Vec::new();
                contents::with_id(op, &mut messages);
                self.sent.extend(messages.into_iter().zip(remembered));
            }
            _ => {}
        }
        match self.take(now, op) {
            Sees::Part => {
                let before = asked.then(|| self.part.clone());
                let reply = apply_with_contents(&mut self.part, &self.sent, now, op);
                let moved = before.is_some_and(|before| before != self.part);
                self.put_back(matches!(op, Op::Publish { .. }));
                Applied { reply, moved }
            }
            Sees::All => {
                let before = asked.then(|| self.state.clone());
                let reply = apply_with_contents(&mut self.state, &self.sent, now, op);
                let moved = before.is_some_and(|before| before != self.state);
                self.index_after(op);
                self.scatter();
                Applied { reply, moved }
            }
        }
    }

    /// A copy of the part that an operation gets.
    pub(crate) fn look(&mut self, now: Timestamp, op: &Op) -> State {
        match self.take(now, op) {
            Sees::Part => {
                let part = self.part.clone();
                self.put_back(false);
                part
            }
            Sees::All => self.state.clone(),
        }
    }

    /// Moves what an operation can see into the part.
    fn take(&mut self, now: Timestamp, op: &Op) -> Sees {
        self.scatter();
        let state = &self.state;
        (self.part.queue_last, self.part.first, self.part.head) = (state.queue_last, state.first, state.head);
        (self.part.epoch, self.part.record_last) = (state.epoch, state.record_last);
        self.part.token_last = state.token_last;
        std::mem::swap(&mut self.part.unreadable, &mut self.state.unreadable);
        match op {
            Op::Send { message, .. } => self.take_id(Kind::Command, message.id.as_ref()),
            Op::Publish { message } => self.take_id(Kind::Event, message.id.as_ref()),
            Op::Claim { names, max, .. } => self.take_due(now, names, max.get()),
            Op::Cancel { seq }
            | Op::Settle { target: Target::Command(seq), how: Settlement::Ack | Settlement::Drop, .. } => {
                self.take_command(*seq);
                self.take_id_of(*seq);
            }
            Op::Settle { target: Target::Command(seq), .. }
            | Op::Release { lease: Lease::Command(seq), .. }
            | Op::Extend { lease: Lease::Command(seq), .. } => self.take_command(*seq),
            Op::Subscribe { group, name, start } => {
                self.take_group(group);
                let start = match start {
                    Start::Earliest => self.state.first.before(),
                    Start::Latest => self.state.head,
                    Start::After(position) => *position,
                };
                self.take_events(name, start, 1);
            }
            Op::Poll { group, max, .. } if self.nameless == 0 => {
                self.take_group(group);
                self.take_next_events(group, max.get() as usize + 1);
            }
            Op::Settle { target: Target::Event { group, .. }, .. } => {
                self.take_group(group);
                // What is settled, and what comes after it.
                self.take_next_events(group, 2);
            }
            Op::Unsubscribe { group, .. }
            | Op::Seek { group, .. }
            | Op::Settle { target: Target::Entry { group, .. }, .. }
            | Op::Release { lease: Lease::Cursor(group), .. }
            | Op::Extend { lease: Lease::Cursor(group), .. } => self.take_group(group),
            Op::Redrive { record } | Op::Purge { record } => {
                let Some(found) = self.state.records.remove(record) else { return Sees::Part };
                match &found.origin {
                    Origin::Queue { seq } => self.take_id_of(*seq),
                    Origin::Log { group: Some(group), .. } => self.take_group(&group.clone()),
                    Origin::Log { group: None, .. } => {}
                }
                self.part.records.insert(*record, found);
            }
            Op::Reboot => {}
            // No index leads from an event to its id.
            Op::Repair { .. }
            | Op::Poll { .. }
            | Op::Prune { .. }
            | Op::ForgetIds { .. }
            | Op::Reset { .. }
            | Op::Restore { .. }
            | Op::Atomic(_) => {
                std::mem::swap(&mut self.part.unreadable, &mut self.state.unreadable);
                self.gather();
                return Sees::All;
            }
        }
        Sees::Part
    }

    fn take_id(&mut self, kind: Kind, id: Option<&MessageId>) {
        let (from, to) = match kind {
            Kind::Command => (&mut self.known_commands, &mut self.part.command_ids),
            Kind::Event => (&mut self.known_events, &mut self.part.event_ids),
        };
        if let Some((id, known)) = id.and_then(|id| from.remove_entry(id)) {
            to.insert(id, known);
        }
    }

    /// Moves a command of the queue into the part.
    fn take_command(&mut self, seq: Seq) {
        if let Some(command) = self.state.queue.remove(&seq) {
            if let Some(name) = command.body.name() {
                self.commands.push((seq, name.clone(), command.due_at));
            }
            self.part.queue.insert(seq, command);
        }
    }

    /// Moves the id of a command into the part.
    fn take_id_of(&mut self, seq: Seq) {
        if let Some(id) = self.ids.get(&seq).cloned() {
            self.take_id(Kind::Command, Some(&id));
        }
    }

    /// Moves the commands that a claim may look at into the part. Each counts towards the maximum of the claim.
    fn take_due(&mut self, now: Timestamp, names: &Names, max: u32) {
        let max = max as usize;
        let mut found: Vec<(Timestamp, Seq)> = Vec::new();
        for line in names.iter().filter_map(|name| self.due.get(name)) {
            found.extend(line.range(..=(now, Seq::MAX)).take(max));
        }
        found.sort_unstable();
        found.truncate(max);
        for (_, seq) in found {
            self.take_command(seq);
        }
    }

    fn take_group(&mut self, group: &Group) {
        if let Some((group, cursor)) = self.state.groups.remove_entry(group) {
            self.part.groups.insert(group, cursor);
        }
    }

    /// Copies the first events of each name of a group behind its position into the part. No operation that gets a part
    /// changes rows of the log.
    fn take_next_events(&mut self, group: &Group, max: usize) {
        let Some(cursor) = self.part.groups.get(group) else { return };
        let fronts: Vec<(Name, Seq)> =
            cursor.names.iter().map(|(name, progress)| (name.clone(), progress.position)).collect();
        for (name, position) in fronts {
            self.take_events(&name, position, max);
        }
    }

    fn take_events(&mut self, name: &Name, position: Seq, max: usize) {
        let Some(line) = self.events.get(name) else { return };
        for seq in line.range(position.plus(1)..).take(max) {
            if let Some(row) = self.state.log.get(seq) {
                self.part.log.insert(*seq, row.clone());
            }
        }
    }

    /// Puts the part back. New rows of the log are there only after a publish.
    fn put_back(&mut self, published: bool) {
        let (state, part) = (&mut self.state, &mut self.part);
        (state.queue_last, state.first, state.head) = (part.queue_last, part.first, part.head);
        (state.epoch, state.record_last) = (part.epoch, part.record_last);
        state.token_last = part.token_last;
        std::mem::swap(&mut part.unreadable, &mut state.unreadable);
        for (seq, name, due_at) in self.commands.drain(..) {
            let Some(line) = self.due.get_mut(&name) else { continue };
            match part.queue.remove(&seq) {
                Some(command) => {
                    if command.due_at != due_at {
                        line.remove(&(due_at, seq));
                        line.insert((command.due_at, seq));
                    }
                    state.queue.insert(seq, command);
                }
                None => {
                    line.remove(&(due_at, seq));
                }
            }
        }
        while let Some((seq, command)) = part.queue.pop_first() {
            index_command(&mut self.due, seq, &command);
            state.queue.insert(seq, command);
        }
        while let Some((id, known)) = part.command_ids.pop_first() {
            if let Entry::Vacant(new) = self.ids.entry(known.seq) {
                new.insert(id.clone());
            }
            self.known_commands.insert(id, known);
        }
        while let Some((id, known)) = part.event_ids.pop_first() {
            self.known_events.insert(id, known);
        }
        move_all(&mut part.groups, &mut state.groups);
        move_all(&mut part.records, &mut state.records);
        if published {
            while let Some((seq, row)) = part.log.pop_first() {
                if let LogRow::Event(body) = &row
                    && let Some(name) = body.name()
                {
                    self.events.entry(name.clone()).or_default().insert(seq);
                }
                state.log.insert(seq, row);
            }
        }
        part.log.clear();
    }

    /// Updates the indexes after an operation on the whole state.
    fn index_after(&mut self, op: &Op) {
        if matches!(op, Op::ForgetIds { .. } | Op::Atomic(_)) {
            self.index_ids();
        }
        if matches!(op, Op::Poll { .. } | Op::Prune { .. } | Op::Reset { .. } | Op::Atomic(_)) {
            self.index_events();
        }
        if matches!(op, Op::Atomic(_)) {
            self.due.clear();
            for (seq, command) in &self.state.queue {
                index_command(&mut self.due, *seq, command);
            }
        }
    }
}

/// Moves the few entries of one map into another, which may be large.
fn move_all<K: Ord, V>(from: &mut BTreeMap<K, V>, to: &mut BTreeMap<K, V>) {
    while let Some((key, value)) = from.pop_first() {
        to.insert(key, value);
    }
}

fn index_command(due: &mut HashMap<Name, BTreeSet<(Timestamp, Seq)>>, seq: Seq, command: &Command) {
    if let Some(name) = command.body.name() {
        due.entry(name.clone()).or_default().insert((command.due_at, seq));
    }
}

/// Applies an operation to a state that remembers short digests under its ids. While the model works, the content of a
/// message that is sent again stands in the place of its digest, so that the model can compare contents.
fn apply_with_contents(
    state: &mut State,
    sent: &[(Arc<Message>, Content)],
    now: Timestamp,
    op: &Op,
) -> Reply {
    for (message, digest) in sent {
        if let Some(known) = remembered(state, message)
            && known.content == *digest
        {
            known.content = Content::of(message);
        }
    }
    let reply = apply(state, now, op);
    let accepted = matches!(reply, Reply::Accepted { .. });
    for (message, digest) in sent {
        if let Some(known) = remembered(state, message)
            && (accepted || known.content == Content::of(message))
        {
            known.content = digest.clone();
        }
    }
    reply
}

/// What is remembered under the id of a message.
fn remembered<'a>(state: &'a mut State, message: &Message) -> Option<&'a mut Remembered> {
    let ids = match message.kind {
        Kind::Command => &mut state.command_ids,
        Kind::Event => &mut state.event_ids,
    };
    ids.get_mut(message.id.as_ref()?)
}

#[cfg(test)]
mod tests;
