//! What can be said of a state whose history nobody knows: a file that somebody found.
//!
//! What always holds: every state that the contract leads to keeps these, damaged rows or not, so whoever finds one
//! broken knows that something else wrote there. They need neither a transition nor a ghost, and never call `step`.

use std::collections::BTreeSet;

use crate::ghost::Ghost;
use crate::invariant::{Verdict, ensure, maintenance, queue};
use crate::state::{Body, LogRow, Origin, State};
use crate::vocabulary::{Kind, MessageId, Seq, Token};

/// A predicate over a state alone.
#[derive(Clone, Copy)]
pub struct Standing {
    /// The guarantee of the contract that would be broken, such as `G2`.
    pub id: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    /// What it says of a state.
    pub of_state: fn(&State) -> Verdict,
}

/// All of them, in the order of the contract.
pub const STANDING: [Standing; 8] = [
    Standing { id: "G1", name: "a_command_is_in_one_place", of_state: a_command_is_in_one_place },
    Standing {
        id: "G2",
        name: "current_tokens_are_distinct",
        of_state: |state| queue::current_tokens_are_distinct(state, &Ghost::default()),
    },
    Standing { id: "G4", name: "every_token_was_minted", of_state: every_token_was_minted },
    Standing { id: "G6", name: "no_position_lies_past_the_head", of_state: no_position_lies_past_the_head },
    Standing {
        id: "G10",
        name: "the_id_of_what_is_there_is_remembered",
        of_state: the_id_of_what_is_there_is_remembered,
    },
    Standing {
        id: "G11",
        name: "the_current_epoch_has_not_ended",
        of_state: the_current_epoch_has_not_ended,
    },
    Standing { id: "G14", name: "a_record_is_in_one_place", of_state: a_record_is_in_one_place },
    Standing {
        id: "G15",
        name: "the_log_is_complete",
        of_state: |state| maintenance::the_log_is_complete(state, &Ghost::default()),
    },
];

fn judged(is: bool) -> Verdict {
    if is { Verdict::Held } else { Verdict::Vacuous }
}

/// A command is in the queue, or unreadable there, or in one record; and its number was given out.
fn a_command_is_in_one_place(state: &State) -> Verdict {
    let aside = state.records.values().filter_map(|record| match record.origin {
        Origin::Queue { seq } => Some(seq),
        Origin::Log { .. } => None,
    });
    let mut seen = BTreeSet::new();
    for seq in state.queue.keys().chain(state.unreadable.keys()).copied().chain(aside) {
        ensure!(seen.insert(seq), "command {seq} is in two places");
        ensure!(seq <= state.queue_last, "command {seq} is there, but {} was the last", state.queue_last);
    }
    judged(!seen.is_empty())
}

/// The tokens under which attempts were counted were given out.
fn every_token_was_minted(state: &State) -> Verdict {
    let names = state.groups.values().flat_map(|cursor| cursor.names.values().map(|name| name.counted));
    let entries = state.groups.values().flat_map(|cursor| cursor.entries.values().map(|entry| entry.counted));
    let counted: Vec<Token> = names.chain(entries).flatten().collect();
    for token in &counted {
        ensure!(
            *token <= state.token_last,
            "an attempt was counted under token {token}, which was not minted"
        );
    }
    judged(!counted.is_empty())
}

/// A group has settled, and holds, nothing that was not published; and it reads something.
fn no_position_lies_past_the_head(state: &State) -> Verdict {
    for (group, cursor) in &state.groups {
        ensure!(!cursor.names.is_empty(), "{group} is there and reads nothing");
        for (name, progress) in &cursor.names {
            let (position, head) = (progress.position, state.head);
            ensure!(position <= head, "{group} stands at {position} for {name}, past the head {head}");
        }
        for (record, entry) in &cursor.entries {
            ensure!(entry.seq <= state.head, "entry {record} of {group} is of {}, past the head", entry.seq);
        }
    }
    judged(!state.groups.is_empty())
}

/// While a message waits, or was moved aside as a command, or is in the log, its id is remembered without an end.
fn the_id_of_what_is_there_is_remembered(state: &State) -> Verdict {
    let queue = state.queue.iter().map(|(seq, command)| (*seq, &command.body));
    let aside = state.records.values().filter_map(|record| match record.origin {
        Origin::Queue { seq } => Some((seq, &record.body)),
        Origin::Log { .. } => None,
    });
    let log = state.log.iter().filter_map(|(seq, row)| match row {
        LogRow::Event(body) => Some((*seq, body)),
        LogRow::Tombstone => None,
    });
    let mut any = false;
    for (seq, body) in queue.chain(aside).chain(log) {
        let Some((id, kind)) = id_of(body) else { continue };
        any = true;
        let ids = if kind == Kind::Command { &state.command_ids } else { &state.event_ids };
        let known = ids.get(id).is_some_and(|known| known.seq == seq && known.ended_at.is_none());
        ensure!(known, "{kind:?} {seq} is there, but its id {id} is not remembered");
    }
    judged(any)
}

fn id_of(body: &Body) -> Option<(&MessageId, Kind)> {
    match body {
        Body::Sound { message, .. } => Some((message.id.as_ref()?, message.kind)),
        _ => None,
    }
}

/// The current epoch is none of those that ended, and what was moved aside is of an epoch that began.
fn the_current_epoch_has_not_ended(state: &State) -> Verdict {
    ensure!(!state.epochs_retired.contains(&state.epoch), "epoch {} is current, but has ended", state.epoch);
    for (id, record) in &state.records {
        let Origin::Log { epoch, .. } = &record.origin else { continue };
        let began = *epoch == state.epoch || state.epochs_retired.contains(epoch);
        ensure!(began, "record {id} is of epoch {epoch}, which never began");
    }
    Verdict::Held
}

/// A record is among the records or an entry of one group, and its number was given out.
fn a_record_is_in_one_place(state: &State) -> Verdict {
    let entries = state.groups.values().flat_map(|cursor| cursor.entries.keys());
    let mut seen = BTreeSet::new();
    for id in state.records.keys().chain(entries) {
        ensure!(seen.insert(*id), "record {id} is in two places");
        ensure!(*id <= state.record_last, "record {id} is there, but {} was the last", state.record_last);
    }
    for (id, record) in &state.records {
        let Origin::Log { epoch, seq, .. } = &record.origin else { continue };
        let beyond = *epoch == state.epoch && *seq > state.head;
        ensure!(!beyond && *seq > Seq::ZERO, "record {id} is of event {seq}, which was never published");
    }
    judged(!seen.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::Tally;
    use crate::generate::choose;
    use crate::scope;
    use crate::state::Record;
    use crate::vocabulary::{Epoch, RecordId};
    use crate::world::Contract;

    /// The states of some walks through everything, damaged rows and restored copies included.
    fn states() -> Vec<State> {
        let scope = scope::by_name("wide").unwrap();
        let mut states = Vec::new();
        for seed in 0..40_u32 {
            let mut world = scope.world();
            for step in 0..250_u32 {
                let number = step.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
                let Some(action) = choose(&scope, &world, number) else { break };
                world.perform(&action, &Contract, &Tally::new());
                states.push(world.state.clone());
            }
        }
        states
    }

    #[test]
    fn what_stands_alone_holds_in_every_state_and_has_something_to_judge() {
        let states = states();
        for standing in STANDING {
            let mut held = 0;
            for state in &states {
                match (standing.of_state)(state) {
                    Verdict::Broken(why) => panic!("{}: {why}\n{state:#?}", standing.name),
                    Verdict::Held => held += 1,
                    Verdict::Vacuous => {}
                }
            }
            assert!(held > 100, "{} had something to judge in {held} states only", standing.name);
        }
    }

    /// Breaks a state in a way that one predicate is for.
    fn broken(id: &str, state: &mut State) -> Option<()> {
        match id {
            "G1" => {
                let (seq, _) = state.queue.iter().next()?;
                state.unreadable.insert(*seq, crate::vocabulary::Raw([].into()));
            }
            "G2" => {
                let token = state.groups.values().find_map(|cursor| cursor.lease)?.token;
                state.queue.values_mut().find_map(|command| command.lease.as_mut())?.token = token;
            }
            "G4" => {
                let names = state.groups.values_mut().flat_map(|cursor| cursor.names.values_mut());
                let last = state.token_last.plus(1);
                names.filter(|name| name.counted.is_some()).for_each(|name| name.counted = Some(last));
                let counted = |name: &crate::state::Progress| name.counted == Some(last);
                state.groups.values().flat_map(|cursor| cursor.names.values()).any(counted).then_some(())?;
            }
            "G6" => {
                let mut names = state.groups.values_mut().flat_map(|cursor| cursor.names.values_mut());
                names.next()?.position = state.head.plus(1);
            }
            "G10" => {
                let bodies = state.queue.values().map(|command| &command.body);
                let ids: Vec<MessageId> = bodies.filter_map(|body| Some(id_of(body)?.0.clone())).collect();
                state.command_ids.remove(ids.first()?);
            }
            "G11" => state.epochs_retired.extend([state.epoch]),
            "G14" => {
                let (id, record): (RecordId, Record) =
                    state.records.iter().next().map(|(id, record)| (*id, record.clone()))?;
                let Body::Sound { .. } = record.body else { return None };
                state.record_last = id.before();
            }
            _ => {
                state.log.pop_first()?;
            }
        }
        Some(())
    }

    #[test]
    fn each_rejects_the_state_that_it_is_for() {
        let states = states();
        for standing in STANDING {
            let mut rejected = 0;
            for state in &states {
                let mut wrong = state.clone();
                if broken(standing.id, &mut wrong).is_none() {
                    continue;
                }
                let verdict = (standing.of_state)(&wrong);
                assert!(matches!(verdict, Verdict::Broken(_)), "{} let pass: {wrong:#?}", standing.name);
                rejected += 1;
            }
            assert!(rejected > 20, "{} was tried on {rejected} states only", standing.name);
        }
    }

    #[test]
    fn a_record_of_an_epoch_that_never_began_is_noticed() {
        let with_events = states().into_iter().filter_map(|mut state| {
            let origin = state.records.values_mut().find_map(|record| match &mut record.origin {
                Origin::Log { epoch, .. } => Some(epoch),
                Origin::Queue { .. } => None,
            })?;
            *origin = Epoch::MAX;
            Some(state)
        });
        let verdicts: Vec<Verdict> =
            with_events.map(|state| the_current_epoch_has_not_ended(&state)).collect();
        assert!(verdicts.len() > 20);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Broken(_))));
    }
}
