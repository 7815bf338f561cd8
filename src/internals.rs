//! The inside of the crate, for its checkers: fencepost-verify, the program, and the tests.
//!
//! Nothing here is promised, and any release may change it. The module exists with the feature `unstable-internals` alone.

/// The bus: what it stands on, what wakes its consumers, and its operations as requests.
pub mod bus {
    pub use crate::bus::*;
}

/// The run loops.
pub mod consumer {
    pub use crate::consumer::*;
}

/// Deliveries.
pub mod delivery {
    pub use crate::delivery::*;
}

/// Handlers.
pub mod handlers {
    pub use crate::handlers::*;
}

/// The store.
pub mod sqlite {
    pub use crate::sqlite::*;
}

/// Threads, tasks, and the seam at which a scheduler takes them over.
pub mod threads {
    pub use crate::threads::*;
}
