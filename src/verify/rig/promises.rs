//! The promises that several phases check, and how a broken one is reported.
//!
//! Does not depend on: how a promise is checked.

use fencepost_model::invariant::GUARANTEES;

/// What was acknowledged is there.
pub const NOTHING_LOST: &str = "nothing_acknowledged_is_lost";
/// What is there is a state that the model passes through.
pub const WHOLE: &str = "no_operation_is_half_there";
/// SQLite can recover the file.
pub const SOUND: &str = "the_file_is_sound_after_a_cut";
/// A recovered store works as the model does.
pub const GOES_ON: &str = "work_goes_on_as_the_model_says";
/// G4.
pub const TOKENS: &str = "tokens_only_grow";

/// A promise that was found broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub property: &'static str,
    /// What was found, in words.
    pub why: String,
}

/// What came of doing a recorded case again.
#[derive(Debug)]
pub struct Replayed {
    /// The promise that is still broken.
    pub violation: Option<Violation>,
    /// What happened, line by line.
    pub explanation: String,
}

/// The number that a promise has in the contract, if it is one of its guarantees.
pub fn guarantee(property: &str) -> Option<&'static str> {
    GUARANTEES.iter().find(|guarantee| guarantee.name == property).map(|guarantee| guarantee.id)
}
