//! The ghost: the history of a bus, kept beside its state. Guarantees about the past need it: a message is never lost, a
//! token is never used twice, an id is accepted once.
//!
//! Invariant: the ghost follows from operations and replies alone.
//! Does not depend on: `step`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::op::{Op, Reply, Settled, Target};
use crate::state::{Origin, State};
use crate::vocabulary::{Epoch, Group, Message, MessageId, Raw, RecordId, Seq, Token};

/// The parts of the history that the guarantees use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Every accepted command, as it was sent or repaired.
    pub sent: BTreeMap<Seq, Arc<Message>>,
    /// The commands that ended: acked, dropped, cancelled or purged.
    pub ended: BTreeSet<Seq>,
    /// Every published event, by epoch and number.
    pub published: BTreeMap<(Epoch, Seq), Arc<Message>>,
    /// The largest token that this store, or one that it is a copy of, ever handed out.
    pub token_max: Token,
    /// Every epoch that ever began.
    pub epochs: BTreeSet<Epoch>,
    /// The damaged rows of the queue that were not removed on purpose, with the columns that were left.
    pub damaged_commands: BTreeMap<Seq, Raw>,
    /// The same for rows of the log.
    pub damaged_events: BTreeMap<Seq, Raw>,
    /// The repaired events, by their records. A repair changes the copy of one group.
    pub repaired_events: BTreeMap<RecordId, Arc<Message>>,
    /// For each group: the token of its last hand-out, and the events that were handed out under it.
    pub handed: BTreeMap<Group, (Token, BTreeSet<Seq>)>,
}

/// The id that is remembered for the number of a record.
pub(crate) fn remembered_id(state: &State, origin: &Origin) -> Option<MessageId> {
    let (ids, seq) = match origin {
        Origin::Queue { seq } => (&state.command_ids, seq),
        Origin::Log { seq, .. } => (&state.event_ids, seq),
    };
    ids.iter().find(|(_, known)| known.seq == *seq).map(|(id, _)| id.clone())
}

impl Ghost {
    /// The history of a new bus, in its first epoch.
    pub fn new(state: &State) -> Self {
        Self { epochs: BTreeSet::from([state.epoch]), ..Self::default() }
    }

    /// Records one operation and its reply. The parts of an [`Op::Atomic`] are recorded one by one.
    pub fn observe(&mut self, before: &State, op: &Op, reply: &Reply) {
        match (op, reply) {
            (Op::Send { message, .. }, Reply::Accepted { seq, fresh: true }) => {
                self.sent.insert(*seq, Arc::clone(message));
            }
            (Op::Publish { message }, Reply::Accepted { seq, fresh: true }) => {
                self.published.insert((before.epoch, *seq), Arc::clone(message));
            }
            (_, Reply::HandedOut { deliveries, .. }) => {
                for delivery in deliveries {
                    self.token_max = self.token_max.max(delivery.token);
                    if let Target::Event { group, seq } = &delivery.target {
                        self.note_handed(group, delivery.token, Some(*seq));
                    }
                    if let Target::Entry { group, .. } = &delivery.target {
                        self.note_handed(group, delivery.token, None);
                    }
                }
            }
            (
                Op::Settle { target: Target::Command(seq), .. },
                Reply::Settled(Settled::Acked | Settled::Dropped),
            ) => self.end(*seq),
            (Op::Cancel { seq }, Reply::Cancelled) => self.end(*seq),
            (Op::Purge { record }, Reply::Purged) => match before.records.get(record).map(|r| &r.origin) {
                Some(Origin::Queue { seq }) => self.end(*seq),
                Some(Origin::Log { seq, group: None, .. }) => {
                    self.damaged_events.remove(seq);
                }
                _ => {}
            },
            (Op::Repair { record, message }, Reply::Repaired { .. }) => {
                self.note_repair(before, *record, message)
            }
            (Op::Reset { next, .. }, Reply::EpochBegun { .. }) => {
                self.epochs.insert(*next);
                self.damaged_events.clear();
                self.handed.clear();
            }
            (Op::Restore { next }, Reply::EpochBegun { .. }) => {
                self.epochs.insert(*next);
                self.handed.clear();
                let moved = std::mem::take(&mut self.published).into_iter().map(|((epoch, seq), message)| {
                    ((if epoch == before.epoch { *next } else { epoch }, seq), message)
                });
                self.published = moved.collect();
            }
            _ => {}
        }
    }

    /// From now on, the repaired message counts as what was sent, under the id that the bus remembers.
    fn note_repair(&mut self, before: &State, id: RecordId, message: &Message) {
        let Some(record) = before.records.get(&id) else { return };
        let message = Arc::new(Message { id: remembered_id(before, &record.origin), ..message.clone() });
        match &record.origin {
            Origin::Queue { seq } => {
                self.sent.insert(*seq, message);
                self.damaged_commands.remove(seq);
            }
            Origin::Log { seq, group, .. } => {
                self.repaired_events.insert(id, message);
                if group.is_none() {
                    self.damaged_events.remove(seq);
                }
            }
        }
    }

    fn end(&mut self, seq: Seq) {
        self.ended.insert(seq);
        self.damaged_commands.remove(&seq);
    }

    fn note_handed(&mut self, group: &Group, token: Token, seq: Option<Seq>) {
        let handed = self.handed.entry(group.clone()).or_default();
        if handed.0 != token {
            *handed = (token, BTreeSet::new());
        }
        handed.1.extend(seq);
    }
}
