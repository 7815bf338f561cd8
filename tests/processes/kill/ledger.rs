//! What all the pipes of competing processes said, checked against the file that they left.
//!
//! Invariant: processes are heard one after the other. What they did at the same time may be heard in any order; tokens
//! alone tell which came first. An operation that was not answered may have been done or not.
//!
//! Does not depend on: processes and SQL.

use std::collections::{BTreeMap, BTreeSet};

use fencepost_model::state::{Body, Origin, Place, State};
use fencepost_model::vocabulary::{RecordId, Seq, Token};

use crate::kill::competitor::{How, Line, number_in};
use crate::kill::{Broken, G1, G4, G15, HALF, LOST};

/// A settlement that a process began.
struct End {
    how: How,
    /// Whether it was said that it is done. If not, it was in flight at a kill.
    acknowledged: bool,
    record: Option<RecordId>,
    /// The message that was to be sent in the same transaction.
    sends: Option<u64>,
}

/// All that was said of one file.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The sends that were begun, by their numbers, and whether each was acknowledged.
    sends: BTreeMap<u64, bool>,
    /// The message at each place, as far as a process said or the file shows.
    names: BTreeMap<Seq, u64>,
    /// The place of each message.
    places: BTreeMap<u64, Seq>,
    /// What was handed out under each token.
    claims: BTreeMap<Token, Seq>,
    /// The last token under which each command was handed out.
    last: BTreeMap<Seq, Token>,
    ends: BTreeMap<(Seq, Token), End>,
    /// Messages that were to be sent in the same transaction as a settlement that was refused.
    refused: BTreeSet<u64>,
    /// The last token that was found in the file: all that was handed out since has larger ones.
    token_last: Token,
    /// Whether some process had the file open, so that it was created.
    opened: bool,
    figures: Figures,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) sends: u64,
    pub(crate) claims: u64,
    pub(crate) settlements: u64,
    pub(crate) leases_lost: u64,
    /// Processes that were killed while a send, a claim or a settlement was in flight.
    pub(crate) in_flight: u64,
    /// Sends in flight, and acks together with a send, that were found done ...
    pub(crate) in_flight_done: u64,
    /// ... or not.
    pub(crate) in_flight_undone: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, more: &Self) {
        self.sends += more.sends;
        self.claims += more.claims;
        self.settlements += more.settlements;
        self.leases_lost += more.leases_lost;
        self.in_flight += more.in_flight;
        self.in_flight_done += more.in_flight_done;
        self.in_flight_undone += more.in_flight_undone;
    }
}

fn broken(guarantee: &'static str, why: String) -> Result<(), Broken> {
    Err(Broken::new(guarantee, why))
}

impl Ledger {
    /// Whether the file is known to have been created.
    pub(crate) fn is_of_a_file(&self) -> bool {
        self.opened
    }

    /// Takes note of all that a process said before it was killed.
    pub(crate) fn hear(&mut self, lines: &[Line]) -> Result<(), Broken> {
        let mut in_flight = false;
        for line in lines {
            in_flight = matches!(line, Line::Sends { .. } | Line::Claims | Line::Settles { .. });
            self.hear_line(line)?;
        }
        self.figures.in_flight += u64::from(in_flight);
        Ok(())
    }

    fn hear_line(&mut self, line: &Line) -> Result<(), Broken> {
        match line {
            Line::Opened => self.opened = true,
            Line::Claims => {}
            Line::Sends { number } => {
                self.sends.insert(*number, false);
            }
            Line::Sent { number, seq } => self.sent(*number, *seq)?,
            Line::Claimed(taken) => {
                for (number, seq, token) in taken {
                    self.claimed(*number, *seq, *token)?;
                }
            }
            Line::Settles { seq, token, how, sends } => {
                self.sends.extend(sends.map(|number| (number, false)));
                let end = End { how: *how, acknowledged: false, record: None, sends: *sends };
                self.ends.insert((*seq, *token), end);
            }
            Line::Settled { seq, token, record, sent } => {
                self.figures.settlements += 1;
                let end = self.ends.get_mut(&(*seq, *token)).unwrap();
                (end.acknowledged, end.record) = (true, *record);
                if let (Some(number), Some(sent)) = (end.sends, *sent) {
                    self.sent(number, sent)?;
                }
            }
            Line::Lost { seq, token } => {
                self.figures.leases_lost += 1;
                let end = self.ends.remove(&(*seq, *token)).unwrap();
                self.refused.extend(end.sends);
            }
        }
        Ok(())
    }

    fn sent(&mut self, number: u64, seq: Seq) -> Result<(), Broken> {
        self.figures.sends += 1;
        self.sends.insert(number, true);
        self.is_at(number, seq)
    }

    fn claimed(&mut self, number: u64, seq: Seq, token: Token) -> Result<(), Broken> {
        self.figures.claims += 1;
        if let Some(other) = self.claims.insert(token, seq) {
            return broken(G4, format!("token {token} was handed out for command {other} and for {seq}"));
        }
        if token <= self.token_last {
            let last = self.token_last;
            return broken(G4, format!("token {token} was handed out, after {last} was found in the file"));
        }
        let last = self.last.entry(seq).or_default();
        *last = token.max(*last);
        self.is_at(number, seq)
    }

    /// Learns where a message is, from a process or from the file.
    fn is_at(&mut self, number: u64, seq: Seq) -> Result<(), Broken> {
        let other = *self.names.entry(seq).or_insert(number);
        if other != number {
            return broken(G15, format!("command {seq} is message {number}, and message {other} too"));
        }
        let other = *self.places.entry(number).or_insert(seq);
        if other != seq {
            return broken(G1, format!("message {number} is command {seq}, and command {other} too"));
        }
        Ok(())
    }

    /// Checks all of it against what was found in the file, with no process at work.
    pub(crate) fn reconcile(&mut self, found: &State) -> Result<(), Broken> {
        let present = self.read(found)?;
        if let Some((token, _)) = self.claims.last_key_value().filter(|(last, _)| **last > found.token_last) {
            let last = found.token_last;
            return broken(
                G4,
                format!("token {token} was handed out, and the file will mint it again after {last}"),
            );
        }
        self.token_last = found.token_last;
        self.check_sends(found)?;
        for seq in (1..=found.queue_last.get()).map(|seq| Seq::new(seq).unwrap()) {
            if !present.contains(&seq) {
                self.check_gone(seq)?;
            }
        }
        for ((seq, token), end) in &self.ends {
            self.check_end(*seq, *token, end, found, &present)?;
        }
        Ok(())
    }

    /// Reads where the file says that commands are; each is in one place.
    fn read(&mut self, found: &State) -> Result<BTreeSet<Seq>, Broken> {
        let queue = found.queue.iter().map(|(seq, command)| (*seq, &command.body));
        let records = found.records.values().filter_map(|record| match &record.origin {
            Origin::Queue { seq } => Some((*seq, &record.body)),
            Origin::Log { .. } => None,
        });
        let commands: Vec<(Seq, &Body)> = queue.chain(records).collect();
        let mut present = BTreeSet::new();
        for (seq, body) in commands {
            if !present.insert(seq) {
                return Err(Broken::new(G1, format!("command {seq} is in two places")));
            }
            let Some(number) = number_in(body) else {
                return Err(Broken::new(HALF, format!("command {seq} cannot be decoded: {body:?}")));
            };
            if !self.sends.contains_key(&number) {
                let why = format!("command {seq} is message {number}, which nobody sent");
                return Err(Broken::new(HALF, why));
            }
            self.is_at(number, seq)?;
        }
        Ok(present)
    }

    /// Every send that was acknowledged is among the commands that there ever were, and none that was refused.
    fn check_sends(&self, found: &State) -> Result<(), Broken> {
        let last = found.queue_last;
        for (number, _) in self.sends.iter().filter(|(_, acknowledged)| **acknowledged) {
            let seq = self.places[number];
            if seq > last {
                let why = format!("message {number} was sent as command {seq}, and {last} is the last one");
                return broken(LOST, why);
            }
        }
        if let Some(number) = self.refused.iter().find(|number| self.places.contains_key(number)) {
            let seq = self.places[number];
            return broken(HALF, format!("message {number} went with a refused ack, and is command {seq}"));
        }
        Ok(())
    }

    /// A command that is not there was acked by the one who was handed it out last.
    fn check_gone(&self, seq: Seq) -> Result<(), Broken> {
        let Some(number) = self.names.get(&seq) else {
            return broken(G1, format!("command {seq} is nowhere, and was never handed out"));
        };
        let token = self.last.get(&seq);
        let end = token.and_then(|token| self.ends.get(&(seq, *token)));
        match end {
            Some(End { how: How::Ack, .. }) => Ok(()),
            _ => {
                let guarantee = if self.sends[number] { LOST } else { G1 };
                broken(guarantee, format!("command {seq} (message {number}) is nowhere, and nobody acked it"))
            }
        }
    }

    /// What was acknowledged of a settlement stands, and what was to be done together was done together.
    fn check_end(
        &self,
        seq: Seq,
        token: Token,
        end: &End,
        found: &State,
        present: &BTreeSet<Seq>,
    ) -> Result<(), Broken> {
        let again = self.last.get(&seq).copied().filter(|last| *last > token);
        let ended = !present.contains(&seq) && again.is_none();
        if let Some(number) = end.sends {
            let sent = self.places.contains_key(&number);
            if sent != ended {
                let why = format!(
                    "the ack of command {seq} under token {token} ({ended}) and message {number} ({sent}) \
                     were to be done together"
                );
                return broken(HALF, why);
            }
        }
        if !end.acknowledged {
            return Ok(());
        }
        let what = format!("{:?} of command {seq} under token {token} was acknowledged, and", end.how);
        let leased = found.queue.get(&seq).and_then(|command| command.lease);
        if leased.is_some_and(|lease| lease.token == token) {
            return broken(LOST, format!("{what} the token is still current"));
        }
        let place = match end.how {
            How::Ack if ended => return Ok(()),
            How::Ack => return broken(LOST, format!("{what} it is still there, or went to {again:?}")),
            How::Park => Place::Parked,
            How::DeadLetter | How::Nack | How::Release => Place::Dead,
        };
        let Some(record) = end.record else { return Ok(()) };
        let kept = found.records.get(&record);
        let stands = kept.is_some_and(|kept| kept.place == place && kept.origin == Origin::Queue { seq });
        if stands && again.is_none() {
            return Ok(());
        }
        broken(LOST, format!("{what} record {record} holds {kept:?}, and it went to {again:?}"))
    }

    /// What was seen, once all was reconciled.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = self.figures;
        let unanswered = self.sends.iter().filter(|(_, acknowledged)| !**acknowledged);
        for (number, _) in unanswered.filter(|(number, _)| !self.refused.contains(number)) {
            let done = self.places.contains_key(number);
            *(if done { &mut figures.in_flight_done } else { &mut figures.in_flight_undone }) += 1;
        }
        figures
    }
}
