//! Whether a run is allowed: some order of the acts, in the model, gives the same answers and the same state at the
//! end.
//!
//! Invariant: an order respects real time: an act that was answered before another was called comes first. An act that
//! was answered with busy has not happened, and no client that can wait is answered so.
//! Does not depend on: any disk or scheduler.

use std::collections::BTreeSet;

use fencepost_model::op::{Op, Refusal, Reply};
use fencepost_model::state::State;
use fencepost_model::step;
use fencepost_model::vocabulary::Timestamp;

use crate::rig::act::Moment;
use crate::rig::promises::{NOTHING_LOST, Violation};
use crate::rig::recovery::{Contents, digested, rebooted};
use crate::schedule::case::number;
use crate::schedule::case::{ClientAct, ScheduleCase};
use crate::schedule::connections::{ClientAnswer, ScheduleRun, Spell};
use crate::system::{at_stake, differing_lines};

/// What connections do side by side, they could have done one after the other.
pub const AN_ORDER: &str = "what_is_done_at_once_is_done_in_some_order";
/// What is answered is done.
pub const REAL_TIME: &str = "an_answer_is_seen_by_every_later_operation";
/// Waiting is no failure.
pub const WAITS: &str = "a_client_that_can_wait_gets_its_turn";
/// Nothing fails for want of an order.
pub const WORKS: &str = "nothing_fails_because_of_others";
/// Every run ends.
pub const ENDS: &str = "no_client_waits_for_ever";

/// One order of the acts, and what the model does in it.
#[derive(Clone, Debug)]
struct ActOrder {
    /// Clients and acts, in this order.
    acts: Vec<(usize, usize)>,
    answers: Vec<ClientAnswer>,
    /// The state with digests for contents, and the effects.
    left: (State, BTreeSet<i64>),
}

/// All that the runs of a case are checked by.
#[derive(Debug)]
pub struct OrderChecker {
    case: ScheduleCase,
    moment: Moment,
    now: Timestamp,
    /// The orders of all acts, none left out.
    orders: Vec<ActOrder>,
}

impl OrderChecker {
    /// The checker of a case that begins at this moment.
    pub fn new(case: &ScheduleCase, moment: &Moment) -> Self {
        let mut checker =
            Self { case: case.clone(), moment: moment.clone(), now: moment.next_time(), orders: Vec::new() };
        checker.orders = checker.all(&BTreeSet::new());
        checker
    }

    /// All orders of the acts but those that are left out.
    fn all(&self, left_out: &BTreeSet<(usize, usize)>) -> Vec<ActOrder> {
        let lines: Vec<Vec<(usize, usize)>> = self
            .case
            .clients
            .iter()
            .enumerate()
            .map(|(client, of)| (0..of.acts.len()).map(|act| (client, act)).collect())
            .map(|line: Vec<_>| line.into_iter().filter(|act| !left_out.contains(act)).collect())
            .collect();
        let mut orders = Vec::new();
        interleave(&lines, &mut vec![0; lines.len()], &mut Vec::new(), &mut |acts| {
            orders.push(self.perform(acts));
        });
        orders
    }

    /// What the model does in an order.
    fn perform(&self, acts: &[(usize, usize)]) -> ActOrder {
        let mut state = self.moment.state().clone();
        let mut effects = self.moment.effects.clone();
        let mut answers = Vec::new();
        for (number, index) in acts {
            let client = &self.case.clients[*number];
            let now = self.now.plus(client.late_ms);
            let mut apply = |op: &Op| step::apply(&mut state, now, op);
            let act = &client.acts[*index];
            answers.push(match act {
                ClientAct::Apply(op) => ClientAnswer::Replies(vec![apply(op)]),
                ClientAct::Batch(ops) => ClientAnswer::Replies(ops.iter().map(apply).collect()),
                ClientAct::Effect(op) => {
                    let reply = apply(op);
                    if !matches!(reply, Reply::Refused(_)) {
                        effects.insert(i64::try_from(number * 100 + index + 1).unwrap_or(i64::MAX));
                    }
                    ClientAnswer::Replies(vec![reply])
                }
                ClientAct::Read => ClientAnswer::State(Box::new(digested(&state)), effects.clone()),
                ClientAct::Checkpoint | ClientAct::Empty | ClientAct::Reopen => ClientAnswer::Done,
            });
        }
        ActOrder { acts: acts.to_vec(), answers, left: (digested(&state), effects) }
    }

    /// Checks a run.
    ///
    /// # Errors
    /// The broken promise.
    pub fn check(&self, run: &ScheduleRun) -> Result<(), Violation> {
        let mut left_out = BTreeSet::new();
        for spell in &run.spells {
            let client = &self.case.clients[spell.client];
            let act = &client.acts[spell.act];
            let who = || format!("client {}, {}", spell.client + 1, act.describe());
            match &spell.answer {
                // A checkpoint does what it can; one that waits for all others to end may give up.
                ClientAnswer::Busy if matches!(act, ClientAct::Checkpoint) => {
                    left_out.insert((spell.client, spell.act));
                }
                ClientAnswer::Busy if client.patience_ms > 0 && !matches!(act, ClientAct::Empty) => {
                    let why =
                        format!("{}: refused as busy, although it waits {} ms", who(), client.patience_ms);
                    return Err(Violation { property: WAITS, why });
                }
                ClientAnswer::Busy => {
                    left_out.insert((spell.client, spell.act));
                }
                ClientAnswer::Failed(error) => {
                    return Err(Violation { property: WORKS, why: format!("{}: {error}", who()) });
                }
                _ => {}
            }
        }
        let left = match &run.left {
            Some(Ok(left)) => left,
            Some(Err(error)) => {
                return Err(Violation {
                    property: WORKS,
                    why: format!("what was left cannot be read: {error}"),
                });
            }
            None => return Err(Violation { property: ENDS, why: "the run has no end".to_owned() }),
        };
        let some;
        let orders = if left_out.is_empty() {
            &self.orders
        } else {
            some = self.all(&left_out);
            &some
        };
        let fits = |order: &&ActOrder| self.differences(order, run, left) == 0;
        match orders.iter().find(|order| fits(order) && keeps_time(order, run)) {
            Some(_) => Ok(()),
            None if orders.iter().any(|order| fits(&order)) => Err(self.out_of_time(run)),
            None => Err(self.in_no_order(orders, run, left)),
        }
    }

    /// Checks what a cut of the power left, when these acts had been called and these answered (by [`number`]).
    ///
    /// # Errors
    /// The broken promise.
    pub fn check_cut(
        &self,
        run: &ScheduleRun,
        called: &BTreeSet<usize>,
        answered: &BTreeSet<usize>,
        found: &Contents,
    ) -> Result<(), Violation> {
        let under_way: Vec<usize> = called.difference(answered).copied().collect();
        let not_called: BTreeSet<(usize, usize)> = self
            .case
            .clients
            .iter()
            .enumerate()
            .flat_map(|(client, of)| (0..of.acts.len()).map(move |act| (client, act)))
            .filter(|(client, act)| !called.contains(&number(*client, *act)))
            .collect();
        for mask in 0..1_u32 << under_way.len() {
            let mut left_out = not_called.clone();
            for (index, act) in under_way.iter().enumerate() {
                if mask & 1 << index == 0 {
                    left_out.insert((
                        act / crate::schedule::case::ACTS_MAX,
                        act % crate::schedule::case::ACTS_MAX,
                    ));
                }
            }
            let busy = run.spells.iter().filter(|spell| matches!(spell.answer, ClientAnswer::Busy));
            left_out.extend(busy.map(|spell| (spell.client, spell.act)));
            for order in self.all(&left_out) {
                let fits = |spell: &Spell| {
                    let place = order.acts.iter().position(|act| *act == (spell.client, spell.act));
                    !answered.contains(&number(spell.client, spell.act))
                        || place.is_none_or(|place| order.answers[place] == spell.answer)
                };
                let left = if found.booted { rebooted(&order.left.0) } else { order.left.0.clone() };
                if left == found.state
                    && order.left.1 == found.effects
                    && run.spells.iter().all(fits)
                    && keeps_time(&order, run)
                {
                    return Ok(());
                }
            }
        }
        let words = |acts: &BTreeSet<usize>| {
            let name = |act: &usize| {
                let (client, act) =
                    (act / crate::schedule::case::ACTS_MAX, act % crate::schedule::case::ACTS_MAX);
                format!("client {}, {}", client + 1, self.case.clients[client].acts[act].describe())
            };
            acts.iter().map(name).collect::<Vec<_>>().join("; ")
        };
        let why = format!(
            "found is {}; answered were ({}), and under way or answered ({})",
            fencepost_model::description::state(&found.state),
            words(answered),
            words(called)
        );
        Err(Violation { property: NOTHING_LOST, why })
    }

    /// In how many places a run differs from an order.
    fn differences(&self, order: &ActOrder, run: &ScheduleRun, left: &(State, BTreeSet<i64>)) -> usize {
        let of = |order: &ActOrder, spell: &Spell| {
            let place = order.acts.iter().position(|act| *act == (spell.client, spell.act));
            place.is_some_and(|place| order.answers[place] != spell.answer)
        };
        let answers = run.spells.iter().filter(|spell| of(order, spell)).count();
        answers + usize::from(order.left != *left)
    }

    fn out_of_time(&self, run: &ScheduleRun) -> Violation {
        let answered: Vec<String> = run
            .spells
            .iter()
            .map(|spell| {
                let act = &self.case.clients[spell.client].acts[spell.act];
                format!("client {}, {}: {}", spell.client + 1, act.describe(), describe(&spell.answer))
            })
            .collect();
        let why = format!(
            "only an order that goes against time gives these answers, in which something was not seen \
             after it was answered:\n{}",
            answered.join("\n")
        );
        Violation { property: REAL_TIME, why }
    }

    fn in_no_order(
        &self,
        orders: &[ActOrder],
        run: &ScheduleRun,
        left: &(State, BTreeSet<i64>),
    ) -> Violation {
        let nearest = orders.iter().min_by_key(|order| self.differences(order, run, left));
        let mut why =
            format!("none of {} orders in the model gives these answers and this end\n", orders.len());
        let Some(order) = nearest else { return Violation { property: AN_ORDER, why } };
        let names: Vec<String> = order.acts.iter().map(|(client, _)| (client + 1).to_string()).collect();
        why += &format!("nearest is: client {}\n", names.join(", then "));
        let mut stakes = BTreeSet::new();
        for ((client, act), expected) in order.acts.iter().zip(&order.answers) {
            let spell = run.spells.iter().find(|spell| (spell.client, spell.act) == (*client, *act));
            let Some(spell) = spell.filter(|spell| spell.answer != *expected) else { continue };
            let act = &self.case.clients[*client].acts[*act];
            why += &format!(
                "client {}, {}:\n  the model answers {}\n  the store answers {}\n",
                client + 1,
                act.describe(),
                describe(expected),
                describe(&spell.answer)
            );
            stakes.extend(act.ops().into_iter().map(stake));
        }
        if order.left != *left {
            let (model, store) = (format!("{:#?}", order.left), format!("{left:#?}"));
            why += &format!("what is left differs (- model, + store):\n{}", differing_lines(&model, &store));
            stakes
                .extend(self.case.clients.iter().flat_map(|of| &of.acts).flat_map(ClientAct::ops).map(stake));
        }
        if !stakes.is_empty() {
            let stakes: Vec<&str> = stakes.into_iter().collect();
            why += &format!("at stake: {}\n", stakes.join("; "));
        }
        Violation { property: AN_ORDER, why }
    }
}

fn stake(op: &Op) -> &'static str {
    let action = fencepost_model::world::Move::Do {
        worker: 0,
        op: std::sync::Arc::new(op.clone()),
        outcome: fencepost_model::world::OpOutcome::Told,
    };
    at_stake(Some(&action))
}

/// Whether an order puts nothing before what had been answered when it was called.
fn keeps_time(order: &ActOrder, run: &ScheduleRun) -> bool {
    let place = |spell: &Spell| order.acts.iter().position(|act| *act == (spell.client, spell.act));
    run.spells.iter().all(|first| {
        run.spells.iter().filter(|second| first.answered < second.called).all(|second| {
            match (place(first), place(second)) {
                (Some(first), Some(second)) => first < second,
                _ => true,
            }
        })
    })
}

fn interleave(
    lines: &[Vec<(usize, usize)>],
    at: &mut Vec<usize>,
    so_far: &mut Vec<(usize, usize)>,
    found: &mut impl FnMut(&[(usize, usize)]),
) {
    let mut ended = true;
    for line in 0..lines.len() {
        let Some(next) = lines[line].get(at[line]) else { continue };
        ended = false;
        at[line] += 1;
        so_far.push(*next);
        interleave(lines, at, so_far, found);
        so_far.pop();
        at[line] -= 1;
    }
    if ended {
        found(so_far);
    }
}

/// An answer, in a few words.
pub fn describe(answer: &ClientAnswer) -> String {
    match answer {
        ClientAnswer::Replies(replies) => {
            let words = |reply: &Reply| match reply {
                Reply::Refused(Refusal::LeaseLost) => "refused: LeaseLost".to_owned(),
                reply => fencepost_model::description::reply(reply),
            };
            replies.iter().map(words).collect::<Vec<_>>().join("; ")
        }
        ClientAnswer::State(state, effects) if effects.is_empty() => {
            format!("read: {}", fencepost_model::description::state(state))
        }
        ClientAnswer::State(state, effects) => {
            format!("read: {}, effects {effects:?}", fencepost_model::description::state(state))
        }
        ClientAnswer::Done => "done".to_owned(),
        ClientAnswer::Busy => "busy".to_owned(),
        ClientAnswer::Failed(error) => format!("failed: {error}"),
    }
}
