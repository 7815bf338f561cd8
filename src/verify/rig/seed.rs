//! Numbers that follow from a seed.
//!
//! Invariant: the same seed and parts give the same number.

/// A mixture of a seed and numbers that name a place.
pub fn mix(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |mixed, part| {
        let mixed = (mixed ^ part).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 32)
    })
}
