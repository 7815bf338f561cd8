//! What one checker says of a history.
//!
//! Does not depend on: any checker.

/// What a checker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryVerdict {
    /// It may have happened so.
    Allowed,
    /// It may not.
    Refused(Rejection),
    /// The checker gave up, or has nothing to check by.
    Inconclusive,
}

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The checker.
    pub checker: &'static str,
    /// Why.
    pub why: String,
    /// The operation at which it shows, if it is one.
    pub entry: Option<usize>,
}
