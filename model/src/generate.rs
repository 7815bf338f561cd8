//! Generates moves for walks and fuzzers: from a scope, a world and a number.
//!
//! Invariant: the same numbers give the same moves. A list of numbers stays valid when one is removed, so that failures
//! shrink. Each kind of move is equally likely, whatever the number of its moves.
//! Does not depend on: the rules of the bus.

use std::collections::BTreeMap;

use crate::coverage::kind;
use crate::scope::Scope;
use crate::world::{Move, World};

/// The move that a number selects in this world. `None` if there is no move.
pub fn choose(scope: &Scope, world: &World, number: u32) -> Option<Move> {
    let mut moves = Vec::new();
    scope.moves(world, &mut moves);
    let mut kinds: BTreeMap<&'static str, Vec<Move>> = BTreeMap::new();
    for action in moves {
        kinds.entry(kind_of(&action)).or_default().push(action);
    }
    let count = u32::try_from(kinds.len()).ok().filter(|count| *count > 0)?;
    let mut of_kind = kinds.into_values().nth((number % count) as usize)?;
    let index = (number / count) as usize % of_kind.len();
    Some(of_kind.swap_remove(index))
}

fn kind_of(action: &Move) -> &'static str {
    match action {
        Move::Do { op, .. } => kind(op),
        Move::Clock(_) => "clock",
        Move::Crash { .. } => "crash",
        Move::Damage { .. } => "damage",
        Move::Copy => "copy",
        Move::FallBack { .. } => "fall back",
        Move::Reopen => "reopen",
    }
}

/// An endless sequence of numbers for a walk. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Iterator for Numbers {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Some((mixed >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::Tally;
    use crate::scope;
    use crate::world::Contract;

    #[test]
    fn the_same_numbers_give_the_same_moves() {
        let Some(scope) = scope::by_name("wide") else { panic!("there is a wide scope") };
        let walk = |seed: u32| {
            let mut world = scope.world();
            let numbers = (0..200u32).map(|step| step.wrapping_mul(2_654_435_761).wrapping_add(seed));
            let moves: Vec<Move> = numbers
                .map_while(|number| {
                    let action = choose(&scope, &world, number)?;
                    world.perform(&action, &Contract, &Tally::new());
                    Some(action)
                })
                .collect();
            (moves, world)
        };
        assert_eq!(walk(7), walk(7));
        assert_ne!(walk(7).0, walk(8).0);
    }
}
