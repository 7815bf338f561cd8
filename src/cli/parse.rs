//! Parsers of argument values.
//!
//! Invariant: an invalid value is an error before any file is opened.

use std::fmt;
use std::time::Duration;

use fencepost_model::vocabulary::{Name, OutOfRange, Seq, TextRule};

/// What is wrong with an argument.
#[derive(Debug)]
pub(super) enum Invalid {
    /// It is not a number, or it is out of range.
    Number,
    /// A pair without `=`, or with an empty key.
    Pair,
    /// A handler whose name breaks a rule.
    Name(TextRule),
    /// It is neither a number nor one of the keywords.
    Position,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number => f.write_str("must be a number in the range that the bus uses"),
            Self::Position => f.write_str("must be earliest, latest, or the number of an event"),
            Self::Pair => f.write_str("must be two texts with = between them"),
            Self::Name(rule) => write!(f, "a name {rule}"),
        }
    }
}

impl std::error::Error for Invalid {}

/// A span of time, such as `500ms`, `5s`, `2m`, `1h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// A span of time in whole milliseconds.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A sequence number, an id or an epoch.
pub(super) fn number<T: TryFrom<u64, Error = OutOfRange>>(text: &str) -> Result<T, Invalid> {
    text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok()).ok_or(Invalid::Number)
}

/// A position in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Before the first event that is kept.
    Earliest,
    /// After the last event.
    Latest,
    /// After the event with this number.
    After(Seq),
}

pub(super) fn position(text: &str) -> Result<Position, Invalid> {
    match text {
        "earliest" => Ok(Position::Earliest),
        "latest" => Ok(Position::Latest),
        text => number(text).map(Position::After).map_err(|_| Invalid::Position),
    }
}

/// A metadata pair: `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), Invalid> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(Invalid::Pair)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A name and the shell command that handles it.
pub(super) fn handler(text: &str) -> Result<(Name, String), Invalid> {
    let (name, command) = pair(text)?;
    Ok((Name::new(name).map_err(Invalid::Name)?, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_positions_are_parsed() {
        let ms_of = |text| duration(text).map(ms).ok();
        assert_eq!(["500ms", "5s", "2m", "1h"].map(ms_of), [500, 5_000, 120_000, 3_600_000].map(Some));
        assert_eq!((ms_of("7d"), ms_of("5"), ms_of("-1s")), (Some(604_800_000), None, None));
        assert_eq!(position("17").unwrap(), Position::After(Seq::from(17)));
        assert!(position("first").is_err() && position("9223372036854775808").is_err());
    }
}
