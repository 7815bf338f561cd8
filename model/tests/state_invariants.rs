//! The invariants of a single state hold in every state of long walks, and each rejects a state that violates it.

use fencepost_model::coverage::Tally;
use fencepost_model::generate::choose;
use fencepost_model::invariant::{CheckResult, STATE_INVARIANTS};
use fencepost_model::scope;
use fencepost_model::state::{Body, Origin, Progress, Record, State};
use fencepost_model::vocabulary::{Epoch, MessageId, Raw, RecordId};
use fencepost_model::world::Contract;

/// The states of some walks through everything, damaged rows and restored copies included.
fn states() -> Vec<State> {
    let scope = scope::by_name("wide").expect("the wide scope exists");
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
fn every_state_invariant_holds_in_every_state_and_has_something_to_check() {
    let states = states();
    for invariant in STATE_INVARIANTS {
        let mut held = 0;
        for state in &states {
            match (invariant.of_state)(state) {
                CheckResult::Violated(why) => panic!("{}: {why}\n{state:#?}", invariant.name),
                CheckResult::Held => held += 1,
                CheckResult::Vacuous => {}
            }
        }
        assert!(held > 100, "{} had something to check in {held} states only", invariant.name);
    }
}

fn id_of(body: &Body) -> Option<MessageId> {
    match body {
        Body::Sound { message, .. } => message.id.clone(),
        _ => None,
    }
}

/// Changes a state so that the invariant of this id is violated. `None` if the state has nothing to change.
fn violate(id: &str, state: &mut State) -> Option<()> {
    match id {
        "G1" => {
            let (seq, _) = state.queue.iter().next()?;
            state.unreadable.insert(*seq, Raw([].into()));
        }
        "G2" => {
            let token = state.groups.values().find_map(|cursor| cursor.lease)?.token;
            state.queue.values_mut().find_map(|command| command.lease.as_mut())?.token = token;
        }
        "G4" => {
            let names = state.groups.values_mut().flat_map(|cursor| cursor.names.values_mut());
            let last = state.token_last.plus(1);
            names.filter(|name| name.counted.is_some()).for_each(|name| name.counted = Some(last));
            let counted = |name: &Progress| name.counted == Some(last);
            state.groups.values().flat_map(|cursor| cursor.names.values()).any(counted).then_some(())?;
        }
        "G6" => {
            let mut names = state.groups.values_mut().flat_map(|cursor| cursor.names.values_mut());
            names.next()?.position = state.head.plus(1);
        }
        "G10" => {
            let bodies = state.queue.values().map(|command| &command.body);
            let ids: Vec<MessageId> = bodies.filter_map(id_of).collect();
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
fn every_state_invariant_rejects_a_state_that_violates_it() {
    let states = states();
    for invariant in STATE_INVARIANTS {
        let mut rejected = 0;
        for state in &states {
            let mut changed = state.clone();
            if violate(invariant.id, &mut changed).is_none() {
                continue;
            }
            let result = (invariant.of_state)(&changed);
            assert!(matches!(result, CheckResult::Violated(_)), "{} accepted: {changed:#?}", invariant.name);
            rejected += 1;
        }
        assert!(rejected > 20, "{} was tried on {rejected} states only", invariant.name);
    }
}

#[test]
fn a_record_of_an_epoch_that_never_began_is_rejected() {
    let current_epoch = STATE_INVARIANTS.iter().find(|invariant| invariant.id == "G11").unwrap();
    let with_events = states().into_iter().filter_map(|mut state| {
        let origin = state.records.values_mut().find_map(|record| match &mut record.origin {
            Origin::Log { epoch, .. } => Some(epoch),
            Origin::Queue { .. } => None,
        })?;
        *origin = Epoch::MAX;
        Some(state)
    });
    let results: Vec<CheckResult> = with_events.map(|state| (current_epoch.of_state)(&state)).collect();
    assert!(results.len() > 20);
    assert!(results.iter().all(|result| matches!(result, CheckResult::Violated(_))));
}
