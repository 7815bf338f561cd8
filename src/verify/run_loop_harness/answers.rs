//! What the checker learns from the answers of the store: deliveries that were handed out, settled, extended or lost.
//!
//! Invariant: the state of a delivery follows the answers of the store, not the requests.
//! Does not depend on: the code of the run loop.

use fencepost_model::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Target};
use fencepost_model::vocabulary::Token;

use crate::run_loop::Rule;
use crate::run_loop::notes::{Requester, RunAnswer};
use crate::run_loop_harness::checker::{Checked, RunChecker, SeenDelivery, SettledByHandler, hold};

impl RunChecker<'_> {
    pub(super) fn answered(&mut self, requester: Requester, op: &Op, answer: &RunAnswer) -> Checked {
        let reply = match answer {
            RunAnswer::Reply(reply) => reply,
            RunAnswer::Busy | RunAnswer::Closed => {
                if let (Requester::Run, Op::Extend { token, .. }) = (requester, op) {
                    self.of_token(*token, |seen| seen.disturbed = true);
                } else if requester == Requester::Run && *answer == RunAnswer::Busy {
                    self.counts.busy += 1;
                } else if requester == Requester::Run {
                    self.counts.closed = true;
                    self.stops_now();
                }
                return Ok(());
            }
        };
        match (op, reply) {
            (_, Reply::HandedOut { deliveries, dead_lettered }) => {
                if requester == Requester::Run {
                    self.counts.buried += dead_lettered.len() as u64;
                }
                if let (Requester::Run, Op::Poll { .. }) = (requester, op) {
                    self.line.clear();
                }
                for delivery in deliveries {
                    self.handed_out(requester, delivery);
                }
                Ok(())
            }
            (Op::Poll { .. }, Reply::Refused(Refusal::LeaseLost)) => {
                self.line.clear();
                Ok(())
            }
            (Op::Settle { target, token, .. }, reply) => self.settled(requester, *token, target, reply),
            (Op::Release { lease, token }, reply) => {
                self.released(requester, *token, lease, reply);
                Ok(())
            }
            (Op::Extend { token, .. }, Reply::Extended { until }) => {
                let (now, kept) = (self.now, self.keeps_leases());
                let mut late = None;
                self.of_token(*token, |seen| {
                    if seen.at_work() && !seen.disturbed && kept && now >= seen.until {
                        late = Some(seen.until);
                    }
                    seen.disturbed |= requester != Requester::Run && *until < seen.until;
                    seen.until = *until;
                });
                hold(Rule::LeaseKept, late.is_none(), || format!("extended at {now}, but due at {late:?}"))
            }
            (Op::Extend { token, .. }, Reply::Refused(_)) if requester != Requester::Run => {
                self.of_token(*token, |seen| seen.refused_by_hand |= seen.at_work());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn keeps_leases(&self) -> bool {
        self.scenario.heartbeat && self.slow_ms == 0 && self.scenario.lease_ms >= 20
    }

    fn of_token(&mut self, token: Token, mut change: impl FnMut(&mut SeenDelivery)) {
        self.seen.iter_mut().filter(|((of, _), _)| *of == token).for_each(|(_, seen)| change(seen));
    }

    fn handed_out(&mut self, requester: Requester, delivery: &Delivery) {
        let (now, lease) = (self.now, delivery.target.lease());
        for ((token, target), seen) in &mut self.seen {
            if *token != delivery.token && target.lease() == lease && !seen.done && seen.by_hand.is_none() {
                seen.taken_at.get_or_insert(now);
            }
        }
        if requester != Requester::Run {
            return;
        }
        let key = (delivery.token, delivery.target.clone());
        if !matches!(delivery.target, Target::Command(_)) {
            self.line.push(key.clone());
            self.of_token(delivery.token, |seen| seen.until = delivery.lease_until);
        }
        // A settled delivery returns under the same token after a redrive, or after the nack of an entry.
        let known = self.seen.remove(&key);
        let (over, known): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|seen: &SeenDelivery| seen.is_over());
        self.past.extend(over.into_iter().map(|seen| (key.clone(), seen)));
        let known = known.into_iter().find(|seen| seen.began);
        self.seen.insert(
            key,
            known.unwrap_or(SeenDelivery {
                sound: delivery.body.is_sound(),
                attempt: delivery.attempt,
                until: delivery.lease_until,
                began: false,
                ended: None,
                loss_reported: false,
                refused_by_hand: false,
                taken_at: None,
                disturbed: false,
                by_hand: None,
                asked: None,
                done: false,
            }),
        );
    }

    fn settled(&mut self, requester: Requester, token: Token, target: &Target, reply: &Reply) -> Checked {
        let event = matches!(target, Target::Event { .. });
        match reply {
            Reply::Settled(settled) => {
                match requester {
                    Requester::Run => self.counts.settled.push(settled.clone()),
                    _ => self.with(token, target, |seen| {
                        seen.by_hand = Some(SettledByHandler::Settled(settled.clone()))
                    }),
                }
                let taken = self.seen.get(&(token, target.clone())).and_then(|seen| seen.taken_at);
                self.line.retain(|(_, waiting)| waiting != target);
                if event && matches!(settled, Settled::Requeued { .. }) {
                    self.line.clear();
                }
                hold(Rule::LostIsNotSettled, taken.is_none(), || format!("{target:?} belonged to another"))?;
            }
            _ if requester == Requester::Run => {
                self.counts.refused += 1;
                if !matches!(target, Target::Command(_)) {
                    self.line.clear();
                }
            }
            _ => self.with(token, target, |seen| seen.refused_by_hand = true),
        }
        if requester == Requester::Run {
            self.with(token, target, |seen| seen.done = true);
        }
        Ok(())
    }

    fn released(&mut self, requester: Requester, token: Token, lease: &Lease, reply: &Reply) {
        let good = *reply == Reply::Released;
        let handling = self.seen.iter().find(|((of, _), seen)| *of == token && seen.at_work());
        let target = match lease {
            Lease::Command(seq) => Some(Target::Command(*seq)),
            Lease::Cursor(_) => handling.map(|((_, target), _)| target.clone()),
        };
        match (requester, target) {
            (Requester::Handler(_), Some(target)) => {
                self.with(token, &target, |seen| {
                    if good {
                        seen.by_hand = Some(SettledByHandler::Released)
                    } else {
                        seen.refused_by_hand = true
                    }
                });
                if good && !matches!(target, Target::Command(_)) {
                    self.line.clear();
                }
            }
            (_, Some(target @ Target::Command(_))) => {
                self.with(token, &target, |seen| seen.done = true);
                if good {
                    self.counts.released.push(target);
                } else {
                    self.counts.refused += 1;
                }
            }
            _ if good => {
                for (token, target) in std::mem::take(&mut self.line) {
                    self.with(token, &target, |seen| seen.done = true);
                    self.counts.released.push(target);
                }
            }
            _ => {}
        }
    }
}
