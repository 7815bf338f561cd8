//! What a consumer does with the end of a handler: which settlement, after which delay, or the end of its run.
//!
//! This is the specification of the run loop, as [`step`](crate::step) is that of the store: pure functions, read by
//! people, and held against what a consumer really settles. This module knows nothing of how handlers run.

use crate::op::Settlement;
use crate::vocabulary::{Reason, Token};

/// What becomes of a message whose handler failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum FailurePolicy {
    /// Try it again after the back-off, up to its last attempt.
    Retry,
    /// Move it to the dead, for a person to look at.
    #[default]
    DeadLetter,
    /// Hold it out of delivery until a person releases it.
    Park,
    /// Discard it. The only policy that loses a message, and it is logged.
    Drop,
    /// Give it back, and end the run with the error.
    Stop,
}

/// How long a message waits after a failed attempt: exponential, with jitter from a seed.
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
    /// The bounds of the delay after this attempt, in milliseconds: the upper half of the exponential back-off, so
    /// that those who failed together do not come back together.
    pub fn bounds_ms(&self, attempt: u32) -> std::ops::RangeInclusive<u64> {
        let doubled = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let longest = self.first_ms.saturating_mul(doubled).min(self.max_ms);
        longest.div_ceil(2)..=longest
    }

    /// The delay after this attempt, in milliseconds. The token tells apart those that fail at the same time.
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

/// How a handler ended, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It returned.
    Handled,
    /// It failed, and may succeed later: after this delay in milliseconds, or after the back-off.
    Retryable {
        /// The delay that the handler asked for.
        delay_ms: Option<u64>,
        /// Why.
        reason: Reason,
    },
    /// It failed, and will fail again.
    Permanent {
        /// Why.
        reason: Reason,
    },
    /// It asks to hold the message until a person has looked.
    Park {
        /// Why.
        reason: Reason,
    },
    /// It panicked: a failed attempt like another.
    Panicked {
        /// What the panic said.
        reason: Reason,
    },
    /// There was no message to hand to a handler: the row could not be decoded (G5).
    Corrupt {
        /// What is said of it.
        reason: Reason,
    },
    /// It was cut off by a shutdown, or never began.
    Cancelled,
}

/// What to do with a delivery whose handler ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Settle it.
    Settle(Settlement),
    /// Give it back, the attempt not counted.
    Release,
    /// Give it back, and end the run with this reason.
    Stop(Reason),
}

/// The verdict on one attempt. A policy decides permanent failures alone; and nobody's policy destroys what could not
/// be read (CONTRACT.md, 5).
pub fn verdict(
    policy: FailurePolicy,
    retry: &RetryPolicy,
    attempt: u32,
    token: Token,
    outcome: &Outcome,
) -> Verdict {
    let nack = |delay_ms: Option<u64>, reason: &Reason| {
        let delay_ms = delay_ms.unwrap_or_else(|| retry.delay_ms(attempt, token));
        Verdict::Settle(Settlement::Nack { delay_ms, reason: reason.clone() })
    };
    match outcome {
        Outcome::Handled => Verdict::Settle(Settlement::Ack),
        Outcome::Retryable { delay_ms, reason } => nack(*delay_ms, reason),
        Outcome::Panicked { reason } => nack(None, reason),
        Outcome::Park { reason } => Verdict::Settle(Settlement::Park { reason: reason.clone() }),
        Outcome::Permanent { reason } => match policy {
            FailurePolicy::Retry => nack(None, reason),
            FailurePolicy::DeadLetter => Verdict::Settle(Settlement::DeadLetter { reason: reason.clone() }),
            FailurePolicy::Park => Verdict::Settle(Settlement::Park { reason: reason.clone() }),
            FailurePolicy::Drop => Verdict::Settle(Settlement::Drop),
            FailurePolicy::Stop => Verdict::Stop(reason.clone()),
        },
        Outcome::Corrupt { reason } => match policy {
            FailurePolicy::Park => Verdict::Settle(Settlement::Park { reason: reason.clone() }),
            _ => Verdict::Settle(Settlement::DeadLetter { reason: reason.clone() }),
        },
        Outcome::Cancelled => Verdict::Release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of SplitMix64 from 0, as its authors publish them.
    #[test]
    fn a_number_is_scrambled_as_it_is_elsewhere() {
        let state = |steps: u64| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(steps);
        let expected = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!([0, 1, 2].map(|steps| scramble(state(steps))), expected);
    }

    #[test]
    fn a_back_off_doubles_stays_in_its_upper_half_and_has_a_longest_delay() {
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
    fn those_that_fail_together_do_not_come_back_together() {
        let retry = RetryPolicy { first_ms: 10_000, max_ms: 10_000, seed: 7 };
        let delays: std::collections::BTreeSet<_> =
            (1..=100).map(|token| retry.delay_ms(1, Token::from(token))).collect();
        assert!(delays.len() > 90, "{} of 100", delays.len());
    }

    #[test]
    fn a_delay_without_bounds_is_a_delay_all_the_same() {
        let retry = RetryPolicy { first_ms: u64::MAX, max_ms: u64::MAX, seed: 7 };
        assert!(retry.delay_ms(u32::MAX, Token::MAX) >= u64::MAX / 2);
        assert_eq!(RetryPolicy { first_ms: 0, max_ms: 0, seed: 1 }.delay_ms(9, Token::MAX), 0);
    }
}
