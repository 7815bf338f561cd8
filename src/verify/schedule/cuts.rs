//! The power cut at every I/O event of a schedule.
//!
//! Invariant: the image holds the state after some order of the acts that were answered before the cut, and of any of
//! those that were under way; the answers that were given fit that order.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Budget, DurableContent, Event, Mark, Profile};
use crate::rig::promises::{SOUND, Violation};
use crate::rig::recovery::{Recovered, Recovery};
use crate::rig::setting::{Level, Setting};
use crate::schedule::case::ScheduleCase;
use crate::schedule::connections::{Connections, ScheduleRun};
use crate::schedule::orders::{ENDS, OrderChecker};
use crate::schedule::replay::BrokenBySchedule;
use crate::scheduler::Strategy;
use fencepost::error::Result;

/// What was cut.
#[derive(Debug, Default)]
pub struct Cuts {
    /// How many schedules.
    pub schedules: u64,
    /// After how many I/O events.
    pub events: u64,
    /// How many contents of the disk were checked.
    pub images: u64,
    /// How many of them differ.
    pub distinct: u64,
    /// The first that may not be there, or a schedule that came to no end.
    pub broken: Option<BrokenBySchedule>,
    /// Whether the same choices did something else.
    pub misfit: bool,
}

/// Few of each class: what a cut may leave of one client is the business of the phase `crash`.
const BUDGET: Budget = Budget { subsets: 4, samples: 0, thorough: false, combinations: 16 };

/// Cuts every schedule of a search at each of its events.
///
/// # Errors
/// If connections cannot be opened.
pub fn cut(connections: &mut Connections, case: &ScheduleCase, search: &Strategy, seed: u64) -> Result<Cuts> {
    let runs = Arc::<Mutex<Vec<(ScheduleRun, DurableContent, Vec<Event>)>>>::default();
    let keep = Arc::clone(&runs);
    connections.record(true);
    let mounted = connections.mounted();
    let explored = connections.explore(case, search, false, move |run| {
        let mut run = run.clone();
        let events = mounted.disk().take_journal();
        let base = run.base.take();
        if let Some(base) = base {
            keep.lock().unwrap_or_else(PoisonError::into_inner).push((run, base, events));
        }
        false
    });
    connections.record(false);
    let explored = explored?;
    let mut cuts = Cuts { misfit: explored.misfit, ..Cuts::default() };
    if let Some(why) = explored.ended {
        let (choices, violation) = (connections.board().choices(), Violation { property: ENDS, why });
        cuts.broken = Some(BrokenBySchedule { case: case.clone(), choices, violation });
        return Ok(cuts);
    }
    let runs = std::mem::take(&mut *runs.lock().unwrap_or_else(PoisonError::into_inner));
    let checker = OrderChecker::new(case, &connections.start().moment);
    let mut recovery = Recovery::new(Setting::honest(Level::PowerLoss, Profile::UNIX))?;
    let mut known: HashMap<u64, Rc<Recovered>> = HashMap::new();
    for (run, base, events) in runs {
        cuts.schedules += 1;
        let found = cut_run(&checker, &run, base, &events, seed, &mut recovery, &mut known, &mut cuts);
        if let Some(violation) = found {
            cuts.broken = Some(BrokenBySchedule { case: case.clone(), choices: run.choices, violation });
            break;
        }
    }
    cuts.distinct = known.len() as u64;
    Ok(cuts)
}

#[expect(clippy::too_many_arguments, reason = "what is found is kept from run to run")]
fn cut_run(
    checker: &OrderChecker,
    run: &ScheduleRun,
    base: DurableContent,
    events: &[Event],
    seed: u64,
    recovery: &mut Recovery,
    known: &mut HashMap<u64, Rc<Recovered>>,
    cuts: &mut Cuts,
) -> Option<Violation> {
    let (mut durable, mut called, mut answered) = (base, BTreeSet::new(), BTreeSet::new());
    for (index, event) in events.iter().enumerate() {
        durable.advance(event);
        match event {
            Event::Mark(Mark::Called(act)) => {
                called.insert(*act);
                continue;
            }
            // What is durable by now is so because of what came before.
            Event::Mark(Mark::Answered(act)) => {
                answered.insert(*act);
            }
            _ => cuts.events += 1,
        }
        for choice in durable.choices(&BUDGET, seed.wrapping_add(index as u64), None).choices {
            let image = durable.image(&choice);
            let digest = image.digest();
            let recovered = Rc::clone(known.entry(digest).or_insert_with(|| {
                let quick = recovery.quickly(&image);
                quick.unwrap_or_else(|| Rc::new(recovery.after_reboot(&image, false, |_| ()).0))
            }));
            cuts.images += 1;
            let at = format!("after event {} of its disk, {} changes lost", index + 1, choice.losses());
            let checked = match &*recovered {
                Recovered::Broken(why) => Err(Violation { property: SOUND, why: why.clone() }),
                Recovered::Sound(contents) => checker.check_cut(run, &called, &answered, contents),
            };
            if let Err(violation) = checked {
                return Some(Violation {
                    why: format!("the power is cut {at}: {}", violation.why),
                    ..violation
                });
            }
        }
    }
    None
}
