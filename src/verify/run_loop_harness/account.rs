//! The final part of the check: how the run ended, what it left behind, and whether its report is correct.
//!
//! Invariant: the expected report is computed from the notes alone.
//! Does not depend on: the code of the run loop.

use fencepost_model::op::{Settled, Target};
use fencepost_model::state::LogRow;

use crate::run_loop::notes::RunEvent;
use crate::run_loop::scenario::NAME;
use crate::run_loop::{Rule, RuleBroken};
use crate::run_loop_harness::checker::{RunChecker, SettledByHandler, hold};
use crate::run_loop_harness::fixture::PlayedRun;
use fencepost::internals::consumer::report::{RunCause, RunReport};

/// How long a run may take to end after its grace period: five requests to a busy store, each after a longer wait.
const END_MS_MAX: u64 = 4_000;

impl RunChecker<'_> {
    pub(super) fn close(&self, played: &PlayedRun) -> Result<(), RuleBroken> {
        let Some(ended) = &played.ended else {
            return hold(Rule::Ends, self.dropped, || "the run never ended".to_owned());
        };
        let report = match ended {
            Ok(report) => report,
            Err(error) => &error.report,
        };
        let returned = played.notes.iter().position(|note| matches!(note.what, RunEvent::Returned));
        let Some((at, before)) = returned.and_then(|at| Some((at, at.checked_sub(1)?))) else {
            return Ok(());
        };
        let (at, before) = (played.notes[at].at, played.notes[before].at);
        self.ends_correctly(ended.as_ref().err().map(|error| &error.cause))?;
        if let Some(stop_at) = self.stop_at {
            let last = stop_at.plus(u64::from(self.scenario.grace_ms) + END_MS_MAX + 4 * self.slow_ms);
            hold(Rule::Ends, at <= last, || format!("its reason to end was at {stop_at}, it ended at {at}"))?;
        } else {
            let prompt = at == before || self.slow_ms > 0;
            hold(Rule::DrainsExactly, prompt, || format!("nothing happened between {before} and {at}"))?;
            self.nothing_is_due(played)?;
        }
        self.leaves_nothing(report)?;
        self.reports(report)
    }

    fn ends_correctly(&self, cause: Option<&RunCause>) -> Result<(), RuleBroken> {
        match cause {
            Some(RunCause::Bus(error)) => {
                hold(Rule::BusyIsPatient, !error.is_retryable(), || "a busy store ended the run".to_owned())?;
                hold(Rule::ErrorsEnd, self.counts.closed, || format!("no error ended the run: {error}"))
            }
            Some(RunCause::Stopped { target, .. }) => {
                hold(Rule::StopEnds, self.stops.contains(target), || format!("stopped for {target:?}"))
            }
            Some(other) => hold(Rule::StopEnds, false, || format!("{other:?}")),
            None => {
                hold(Rule::StopEnds, self.stops.is_empty(), || format!("not stopped for {:?}", self.stops))?;
                let unnoticed = self.counts.closed && !self.shutdown;
                hold(Rule::ErrorsEnd, !unnoticed, || {
                    "the store was closed, and the run ended without an error".to_owned()
                })
            }
        }
    }

    /// If no message came late and no other consumer acted, a drain leaves nothing that was due at its last claim or poll.
    fn nothing_is_due(&self, played: &PlayedRun) -> Result<(), RuleBroken> {
        let late = self.scenario.messages.iter().any(|planned| planned.at_ms > 0);
        if late || self.slow_ms > 0 || !self.scenario.accidents.is_empty() {
            return Ok(());
        }
        let wanted =
            |name: Option<&fencepost_model::vocabulary::Name>| name.is_some_and(|name| name.as_str() == NAME);
        let mut queue = played.left.queue.iter();
        let command =
            queue.find(|(_, command)| command.due_at <= self.looked.0 && wanted(command.body.name()));
        hold(Rule::DrainsExactly, command.is_none(), || format!("still due: {command:?}"))?;
        for cursor in played.left.groups.values().filter(|cursor| cursor.due_at <= self.looked.1) {
            let passed = cursor.names.values().map(|progress| progress.position).max().unwrap_or_default();
            let event = played.left.log.range(passed.plus(1)..).find(|(_, row)| match row {
                LogRow::Event(body) => wanted(body.name()),
                LogRow::Tombstone => false,
            });
            hold(Rule::DrainsExactly, event.is_none(), || format!("still due: {event:?}"))?;
        }
        Ok(())
    }

    /// Every delivery is settled, released or lost, or the report says that none of these happened.
    fn leaves_nothing(&self, report: &RunReport) -> Result<(), RuleBroken> {
        for ((token, target), seen) in &self.seen {
            let command = matches!(target, Target::Command(_));
            let mine = command || seen.ended.is_some() || self.line.contains(&(*token, target.clone()));
            let over = seen.done || seen.by_hand.is_some() || seen.known_lost();
            let reported = report.abandoned.contains(target);
            hold(Rule::SettlesEverything, over || reported || !mine, || {
                format!("{target:?} under {token} is left")
            })?;
        }
        Ok(())
    }

    fn reports(&self, report: &RunReport) -> Result<(), RuleBroken> {
        let mut expected = RunReport::default();
        expected.dead_lettered = self.counts.buried;
        expected.stale = self.counts.refused;
        expected.panicked = self.counts.panicked;
        expected.busy = self.counts.busy;
        expected.released.clone_from(&self.counts.released);
        let mut settled = self.counts.settled.clone();
        let past = self.past.iter().map(|(key, seen)| (key, seen));
        for ((token, target), seen) in self.seen.iter().chain(past) {
            match &seen.by_hand {
                // The handler was cancelled before it received the answer to its settlement.
                Some(_) if seen.ended == Some(fencepost_model::policy::HandlerOutcome::Cancelled) => {
                    return Ok(());
                }
                Some(SettledByHandler::Settled(by_hand)) => settled.push(by_hand.clone()),
                Some(SettledByHandler::Released) => expected.released.push(target.clone()),
                None if seen.known_lost() => expected.stale += 1,
                None if seen.done => {}
                None => {
                    let in_line = self.line.contains(&(*token, target.clone()));
                    if in_line || matches!(target, Target::Command(_)) {
                        expected.abandoned.push(target.clone());
                    }
                }
            }
        }
        for settled in settled {
            match settled {
                Settled::Acked => expected.acked += 1,
                Settled::Requeued { .. } => expected.retried += 1,
                Settled::DeadLettered { .. } => expected.dead_lettered += 1,
                Settled::Parked { .. } => expected.parked += 1,
                Settled::Dropped => expected.dropped += 1,
            }
        }
        let mut report = report.clone();
        for targets in
            [&mut report.released, &mut report.abandoned, &mut expected.released, &mut expected.abandoned]
        {
            targets.sort();
        }
        hold(Rule::ReportIsTrue, report == expected, || format!("reported {report:?}, but seen {expected:?}"))
    }
}
