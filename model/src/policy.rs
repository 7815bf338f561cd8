//! How a consumer settles a delivery after its handler has ended: which settlement, after which delay, or the end of the
//! run.
//!
//! Invariant: the same policy, attempt, token and outcome give the same decision.
//! Does not depend on: how handlers run. The consumers are checked against this module.

use crate::op::Settlement;
use crate::vocabulary::{Reason, Token};

/// What happens to a message after a permanent failure of its handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum FailurePolicy {
    /// Retry it after the back-off, up to its last attempt.
    Retry,
    /// Dead-letter it, for a person to look at.
    #[default]
    DeadLetter,
    /// Park it, until a person redrives it.
    Park,
    /// Discard it, and log that. This is the only policy that loses a message.
    Drop,
    /// Release it, and end the run with the error.
    Stop,
}

/// The delay after a failed attempt: exponential, with jitter from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RetryPolicy {
    /// The longest delay after the first attempt, in milliseconds. Each further attempt doubles it.
    pub first_ms: u64,
    /// No delay is longer than this, in milliseconds.
    pub max_ms: u64,
    /// The seed of the jitter. The same seed, attempt and token give the same delay.
    pub seed: u64,
}

impl Default for RetryPolicy {
    /// One second after the first attempt, at most five minutes.
    fn default() -> Self {
        Self { first_ms: 1_000, max_ms: 300_000, seed: 0 }
    }
}

impl RetryPolicy {
    /// The bounds of the delay after this attempt, in milliseconds: the upper half of the exponential back-off. Messages
    /// that failed at the same time are retried at different times.
    pub fn bounds_ms(&self, attempt: u32) -> std::ops::RangeInclusive<u64> {
        let doubled = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let longest = self.first_ms.saturating_mul(doubled).min(self.max_ms);
        longest.div_ceil(2)..=longest
    }

    /// The delay after this attempt, in milliseconds. The token makes the delays of different leases differ.
    pub fn delay_ms(&self, attempt: u32, token: Token) -> u64 {
        let bounds = self.bounds_ms(attempt);
        let (low, width) = (*bounds.start(), bounds.end() - bounds.start());
        let chance = scramble(self.seed ^ scramble(token.get() ^ (u64::from(attempt) << 48)));
        if width == u64::MAX { chance } else { low + chance % (width + 1) }
    }
}

/// One step of SplitMix64: every bit of the number moves every bit of the result.
const fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How a handler ended, or why it did not run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HandlerOutcome {
    /// It returned.
    Handled,
    /// It failed, and may succeed later.
    Retryable {
        /// The delay that the handler asked for, in milliseconds. `None` asks for the back-off.
        delay_ms: Option<u64>,
        /// Why.
        reason: Reason,
    },
    /// It failed, and would fail again.
    Permanent {
        /// Why.
        reason: Reason,
    },
    /// It asked to park the message.
    Park {
        /// Why.
        reason: Reason,
    },
    /// It panicked. That counts as a failed attempt.
    Panicked {
        /// The message of the panic.
        reason: Reason,
    },
    /// It did not run, because the row could not be decoded (G5).
    Corrupt {
        /// Why.
        reason: Reason,
    },
    /// A shutdown stopped it, or it never began.
    Cancelled,
}

/// What to do with a delivery after its handler has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttemptDecision {
    /// Settle it.
    Settle(Settlement),
    /// Release it: the attempt is not counted.
    Release,
    /// Release it, and end the run with this reason.
    Stop(Reason),
}

/// Decides how an attempt is settled. The policy decides permanent failures only. No policy discards a row that could not
/// be decoded (G5).
pub fn decide(
    policy: FailurePolicy,
    retry: &RetryPolicy,
    attempt: u32,
    token: Token,
    outcome: &HandlerOutcome,
) -> AttemptDecision {
    let nack = |delay_ms: Option<u64>, reason: &Reason| {
        let delay_ms = delay_ms.unwrap_or_else(|| retry.delay_ms(attempt, token));
        AttemptDecision::Settle(Settlement::Nack { delay_ms, reason: reason.clone() })
    };
    match outcome {
        HandlerOutcome::Handled => AttemptDecision::Settle(Settlement::Ack),
        HandlerOutcome::Retryable { delay_ms, reason } => nack(*delay_ms, reason),
        HandlerOutcome::Panicked { reason } => nack(None, reason),
        HandlerOutcome::Park { reason } => {
            AttemptDecision::Settle(Settlement::Park { reason: reason.clone() })
        }
        HandlerOutcome::Permanent { reason } => match policy {
            FailurePolicy::Retry => nack(None, reason),
            FailurePolicy::DeadLetter => {
                AttemptDecision::Settle(Settlement::DeadLetter { reason: reason.clone() })
            }
            FailurePolicy::Park => AttemptDecision::Settle(Settlement::Park { reason: reason.clone() }),
            FailurePolicy::Drop => AttemptDecision::Settle(Settlement::Drop),
            FailurePolicy::Stop => AttemptDecision::Stop(reason.clone()),
        },
        HandlerOutcome::Corrupt { reason } => match policy {
            FailurePolicy::Park => AttemptDecision::Settle(Settlement::Park { reason: reason.clone() }),
            _ => AttemptDecision::Settle(Settlement::DeadLetter { reason: reason.clone() }),
        },
        HandlerOutcome::Cancelled => AttemptDecision::Release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of SplitMix64 from 0, as its authors publish them.
    #[test]
    fn scramble_is_splitmix64() {
        let state = |steps: u64| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(steps);
        let expected = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!([0, 1, 2].map(|steps| scramble(state(steps))), expected);
    }

    #[test]
    fn a_back_off_doubles_stays_in_its_upper_half_and_has_a_maximum() {
        let retry = RetryPolicy { first_ms: 100, max_ms: 1_000, seed: 7 };
        let bounds: Vec<_> = (1..=6).map(|attempt| retry.bounds_ms(attempt)).collect();
        assert_eq!(bounds, [50..=100, 100..=200, 200..=400, 400..=800, 500..=1_000, 500..=1_000]);
        for attempt in [1, 2, 3, 64, 65, u32::MAX] {
            for token in 1..200 {
                let delay = retry.delay_ms(attempt, Token::from(token));
                assert!(retry.bounds_ms(attempt).contains(&delay), "{attempt} {token} {delay}");
            }
        }
    }

    #[test]
    fn messages_that_fail_together_are_retried_at_different_times() {
        let retry = RetryPolicy { first_ms: 10_000, max_ms: 10_000, seed: 7 };
        let delays: std::collections::BTreeSet<_> =
            (1..=100).map(|token| retry.delay_ms(1, Token::from(token))).collect();
        assert!(delays.len() > 90, "{} of 100", delays.len());
    }

    #[test]
    fn extreme_bounds_give_a_delay() {
        let retry = RetryPolicy { first_ms: u64::MAX, max_ms: u64::MAX, seed: 7 };
        assert!(retry.delay_ms(u32::MAX, Token::MAX) >= u64::MAX / 2);
        assert_eq!(RetryPolicy { first_ms: 0, max_ms: 0, seed: 1 }.delay_ms(9, Token::MAX), 0);
    }
}
