//! A store and the model's world beside it, walked by the one generator of moves: for tests of readers.
//!
//! Invariant: after each step the store's snapshot is the model's state, but for the digests of ids. So what is read of
//! the one can be compared with the other. Other tests show that operations agree.
#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use fencepost::internals::sqlite::Store;
use fencepost_model::generate::{Numbers, choose};
use fencepost_model::scope::{self, Scope};
use fencepost_model::world::World;
use fencepost_verify::system::in_step;

/// Both sides of a walk.
pub(crate) struct Walk {
    pub(crate) world: World,
    pub(crate) store: Store,
    scope: Scope,
    numbers: Numbers,
}

impl Walk {
    /// Both sides, beginning with an empty store. The same seed gives the same walk.
    pub(crate) fn new(seed: u64, store: Store) -> Self {
        let scope = scope::by_name("wide").unwrap();
        assert!(scope.start.is_empty());
        Self { world: scope.world(), store, scope, numbers: Numbers::new(seed) }
    }

    /// Makes one move on both sides.
    pub(crate) fn step(&mut self) {
        let number = self.numbers.next().unwrap();
        let action = choose(&self.scope, &self.world, number).unwrap();
        in_step(&mut self.store, &mut self.world, &action, Store::apply).unwrap();
    }
}
