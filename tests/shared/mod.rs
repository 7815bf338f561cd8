//! A store and the model's world beside it, walked by the one generator of moves: for tests of what only reads.
//!
//! What always holds: after each step the store's snapshot is the model's state, but for the digests of ids, so what is
//! read of the one can be held against the other. That operations agree is proven elsewhere.

use fencepost::sqlite::Store;
use fencepost::verify::subject::{Call, Remains, call, damage};
use fencepost_model::coverage::Tally;
use fencepost_model::generate::choose;
use fencepost_model::scope::{self, Scope};
use fencepost_model::world::World;

/// Both sides of a walk.
pub(crate) struct Walk {
    pub(crate) world: World,
    pub(crate) store: Store,
    scope: Scope,
    random: u64,
}

impl Walk {
    /// Both sides, beginning with an empty store. The same seed gives the same walk.
    pub(crate) fn new(seed: u64, store: Store) -> Self {
        let scope = scope::by_name("wide").unwrap();
        assert!(scope.start.is_empty());
        Self { world: scope.world(), store, scope, random: seed }
    }

    /// Makes one move on both sides.
    pub(crate) fn step(&mut self) {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (self.random ^ (self.random >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
        let action = choose(&self.scope, &self.world, u32::try_from(number).unwrap()).unwrap();
        let mut raw = None;
        match call(&self.world, &action) {
            // This walk has one file; a copy of it would be another.
            Call::Copy | Call::FallBack(..) => return,
            Call::Nothing | Call::Reopen => {}
            Call::Operation(now, op) => {
                self.store.apply(now, &op).unwrap();
            }
            Call::Damage(row, wound) => raw = Some(damage(self.store.connection_mut(), row, wound).unwrap()),
        }
        self.world.perform(&action, &Remains(raw), &Tally::new());
        assert_eq!(self.world.broken, Vec::new());
    }
}
