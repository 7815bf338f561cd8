//! The judge's view of answers: what was handed out, settled, extended and lost, as the store said.

use fencepost_model::op::{Delivery, Lease, Op, Refusal, Reply, Settled, Target};
use fencepost_model::vocabulary::Token;

use crate::run_loop::Rule;
use crate::run_loop::notes::{Answer, Who};
use crate::run_loop_harness::checker::{ByHand, Checked, RunChecker, Seen, hold};

impl RunChecker<'_> {
    pub(super) fn answered(&mut self, who: Who, op: &Op, answer: &Answer) -> Checked {
        let reply = match answer {
            Answer::Reply(reply) => reply,
            Answer::Busy | Answer::Closed => {
                if let (Who::Run, Op::Extend { token, .. }) = (who, op) {
                    self.of_token(*token, |seen| seen.disturbed = true);
                } else if who == Who::Run && *answer == Answer::Busy {
                    self.counts.busy += 1;
                } else if who == Who::Run {
                    self.counts.closed = true;
                    self.stops_now();
                }
                return Ok(());
            }
        };
        match (op, reply) {
            (_, Reply::HandedOut { deliveries, dead_lettered }) => {
                if who == Who::Run {
                    self.counts.buried += dead_lettered.len() as u64;
                }
                if let (Who::Run, Op::Poll { .. }) = (who, op) {
                    self.line.clear();
                }
                for delivery in deliveries {
                    self.handed_out(who, delivery);
                }
                Ok(())
            }
            (Op::Poll { .. }, Reply::Refused(Refusal::LeaseLost)) => {
                self.line.clear();
                Ok(())
            }
            (Op::Settle { target, token, .. }, reply) => self.settled(who, *token, target, reply),
            (Op::Release { lease, token }, reply) => {
                self.released(who, *token, lease, reply);
                Ok(())
            }
            (Op::Extend { token, .. }, Reply::Extended { until }) => {
                let (now, kept) = (self.now, self.keeps_leases());
                let mut late = None;
                self.of_token(*token, |seen| {
                    if seen.at_work() && !seen.disturbed && kept && now >= seen.until {
                        late = Some(seen.until);
                    }
                    seen.disturbed |= who != Who::Run && *until < seen.until;
                    seen.until = *until;
                });
                hold(Rule::LeaseKept, late.is_none(), || format!("extended at {now}, but due at {late:?}"))
            }
            (Op::Extend { token, .. }, Reply::Refused(_)) if who != Who::Run => {
                self.of_token(*token, |seen| seen.refused_by_hand |= seen.at_work());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn keeps_leases(&self) -> bool {
        self.scenario.heartbeat && self.slow_ms == 0 && self.scenario.lease_ms >= 20
    }

    fn of_token(&mut self, token: Token, mut change: impl FnMut(&mut Seen)) {
        self.seen.iter_mut().filter(|((of, _), _)| *of == token).for_each(|(_, seen)| change(seen));
    }

    fn handed_out(&mut self, who: Who, delivery: &Delivery) {
        let (now, lease) = (self.now, delivery.target.lease());
        for ((token, target), seen) in &mut self.seen {
            if *token != delivery.token && target.lease() == lease && !seen.done && seen.by_hand.is_none() {
                seen.taken_at.get_or_insert(now);
            }
        }
        if who != Who::Run {
            return;
        }
        let key = (delivery.token, delivery.target.clone());
        if !matches!(delivery.target, Target::Command(_)) {
            self.line.push(key.clone());
            self.of_token(delivery.token, |seen| seen.until = delivery.lease_until);
        }
        // What was settled comes again under the same token where it is redriven, or the nack of an entry.
        let known = self.seen.remove(&key);
        let (over, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|seen: &Seen| seen.is_over());
        self.past.extend(over.into_iter().map(|seen| (key.clone(), seen)));
        let known = known.into_iter().find(|seen| seen.began);
        self.seen.insert(
            key,
            known.unwrap_or(Seen {
                sound: delivery.body.is_sound(),
                attempt: delivery.attempt,
                until: delivery.lease_until,
                began: false,
                ended: None,
                told: false,
                refused_by_hand: false,
                taken_at: None,
                disturbed: false,
                by_hand: None,
                asked: None,
                done: false,
            }),
        );
    }

    fn settled(&mut self, who: Who, token: Token, target: &Target, reply: &Reply) -> Checked {
        let event = matches!(target, Target::Event { .. });
        match reply {
            Reply::Settled(settled) => {
                match who {
                    Who::Run => self.counts.settled.push(settled.clone()),
                    _ => {
                        self.with(token, target, |seen| seen.by_hand = Some(ByHand::Settled(settled.clone())))
                    }
                }
                let taken = self.seen.get(&(token, target.clone())).and_then(|seen| seen.taken_at);
                self.line.retain(|(_, waiting)| waiting != target);
                if event && matches!(settled, Settled::Requeued { .. }) {
                    self.line.clear();
                }
                hold(Rule::LostIsNotSettled, taken.is_none(), || format!("{target:?} belonged to another"))?;
            }
            _ if who == Who::Run => {
                self.counts.refused += 1;
                if !matches!(target, Target::Command(_)) {
                    self.line.clear();
                }
            }
            _ => self.with(token, target, |seen| seen.refused_by_hand = true),
        }
        if who == Who::Run {
            self.with(token, target, |seen| seen.done = true);
        }
        Ok(())
    }

    fn released(&mut self, who: Who, token: Token, lease: &Lease, reply: &Reply) {
        let good = *reply == Reply::Released;
        let handling = self.seen.iter().find(|((of, _), seen)| *of == token && seen.at_work());
        let target = match lease {
            Lease::Command(seq) => Some(Target::Command(*seq)),
            Lease::Cursor(_) => handling.map(|((_, target), _)| target.clone()),
        };
        match (who, target) {
            (Who::Handler(_), Some(target)) => {
                self.with(token, &target, |seen| {
                    if good { seen.by_hand = Some(ByHand::Released) } else { seen.refused_by_hand = true }
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
