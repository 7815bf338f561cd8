//! A disk that fails, memory that runs out and bits that change are told as they are: by an error that says what it
//! left, and never by a message that nobody sent.
//!
//! Allocations can be made to fail before SQLite's first use in a process alone, so these tests have one of their own.
#![cfg(feature = "verify")]
#![expect(clippy::unwrap_used, reason = "tests")]

use fencepost::verify::faults::{self, control};
use fencepost::verify::run::Reach;

#[test]
fn a_quick_run_holds_and_has_seen_what_it_is_for() {
    faults::prepare().unwrap();
    let found = faults::run(Reach::Quick, 1, 2, |_, _| {}).unwrap();
    assert_eq!(found.complaints, Vec::<String>::new());
    assert_eq!(found.broken, None);
    let figures = found.figures;
    for count in [figures.io_errors, figures.disk_full, figures.allocations, figures.failed_syncs] {
        assert!(count > 0, "{figures:?}");
    }
    assert!(figures.recovered > figures.io_errors, "{figures:?}");
    assert!(figures.flips.total > 0 && figures.short_reads.total > 0, "{figures:?}");
    assert_eq!(figures.controls.caught, control::ALL.len());
}

#[test]
fn each_mistake_is_caught_by_the_promise_that_is_named_for_it() {
    faults::prepare().unwrap();
    for control in control::ALL {
        let wrong = control.run().unwrap().unwrap_or_else(|why| panic!("{}: {why}", control.name));
        assert_eq!(wrong.property, control.breaks);
    }
}
