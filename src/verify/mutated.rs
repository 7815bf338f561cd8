//! A copy of the bus that contains every mutant of its Rust code, and the harnesses that drive it. The build script
//! (`build.rs`) makes both from the library, from the harnesses, and from the patches in `mutants/`.
//!
//! Invariant: a mutant is on for one thread of the operating system, and only within [`ThreadMutant::with`] or
//! [`RunLoopMutant::with`].
//! Does not depend on: what a mutant breaks.

use std::cell::Cell;

include!(concat!(env!("OUT_DIR"), "/mutants.rs"));

#[cfg(fencepost_source)]
include!(concat!(env!("OUT_DIR"), "/mutated/modules.rs"));

/// Why a mutant cannot be run in a build without the source of the library.
pub const ABSENT: &str =
    "the mutants of the Rust code are not in this build; they need a clone of the source";

/// Why the controls of the Rust code are skipped in this build, if they are.
pub(crate) const fn skipped() -> Option<&'static str> {
    if cfg!(fencepost_source) { None } else { Some(ABSENT) }
}

thread_local! {
    static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Whether this mutant is on now. The copy asks wherever a patch changes it.
#[cfg(fencepost_source)]
fn on(patch: &'static str) -> bool {
    ON.get() == Some(patch)
}

/// Switches off the mutant that [`with`] switched on, also when the work panics.
struct Off;

impl Drop for Off {
    fn drop(&mut self) {
        ON.set(None);
    }
}

fn with<T>(patch: &'static str, work: impl FnOnce() -> T) -> T {
    ON.set(Some(patch));
    let _off = Off;
    work()
}

impl ThreadMutant {
    /// Runs work with this mutant on.
    pub fn with<T>(self, work: impl FnOnce() -> T) -> T {
        with(self.patch(), work)
    }
}

impl RunLoopMutant {
    /// Runs work with this mutant on.
    pub fn with<T>(self, work: impl FnOnce() -> T) -> T {
        with(self.patch(), work)
    }
}
