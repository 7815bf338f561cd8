//! Draws a run as a timeline, with one lane for each thread.
//!
//! Invariant: the same notes give the same text.
//! Does not depend on: threads, of which it sees only the names.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::thread_harness::tasks::TaskNote;

/// The width of a lane, so that several fit on a screen. A longer text continues in the next line.
const LANE_CHARS_MAX: usize = 30;

/// Draws all notes, from top to bottom.
pub(super) fn draw(lanes: &BTreeMap<usize, String>, notes: &[TaskNote]) -> String {
    let mut columns: Vec<(usize, &str)> = Vec::new();
    for note in notes {
        if !columns.iter().any(|(lane, _)| *lane == note.lane) {
            columns.push((note.lane, lanes.get(&note.lane).map_or("the run", String::as_str)));
        }
    }
    columns.sort_unstable();
    let mut explanation = String::from("   ms");
    for (_, name) in &columns {
        let _ = write!(explanation, " | {name:LANE_CHARS_MAX$}");
    }
    explanation = format!("{}\n", explanation.trim_end());
    for note in notes {
        let index = columns.iter().position(|(lane, _)| *lane == note.lane).unwrap_or_default();
        for (line, text) in wrapped(&note.what).into_iter().enumerate() {
            let ms = if line == 0 { note.at.as_millis().to_string() } else { String::new() };
            let mut row = format!("{ms:>5}");
            for (column, _) in columns.iter().enumerate() {
                let text = if column == index { text.as_str() } else { "" };
                let _ = write!(row, " | {text:LANE_CHARS_MAX$}");
            }
            let _ = writeln!(explanation, "{}", row.trim_end());
        }
    }
    explanation
}

/// A text in lines of at most [`LANE_CHARS_MAX`] characters. Only a longer word exceeds that.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > LANE_CHARS_MAX {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_thread_has_a_lane_and_long_texts_go_on_below() {
        let lanes = [(1, "writer".to_owned()), (4, "sender".to_owned())].into();
        let note =
            |lane, ms, what: &str| TaskNote { lane, at: Duration::from_millis(ms), what: what.to_owned() };
        let notes =
            [note(4, 0, "asks"), note(1, 12, "commits"), note(4, 12, "is answered: a is there, at number 1")];
        let expected = "   ms | writer                         | sender\n    0 |                                | asks\n   12 | commits                        |\n   12 |                                | is answered: a is there, at\n      |                                | number 1\n";
        assert_eq!(draw(&lanes, &notes), expected);
    }
}
