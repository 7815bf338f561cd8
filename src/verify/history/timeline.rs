//! A timeline: one lane for each client, time going down, calls and answers beside it.
//!
//! Invariant: the same lanes and spans give the same text.
//! Does not depend on: what the spans are.

use std::fmt::Write as _;

/// Something that lasts, in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which lane.
    pub lane: usize,
    /// When it begins, in nanoseconds.
    pub from_ns: u64,
    /// When it ends; none if it never does.
    pub to_ns: Option<u64>,
    /// What is said when it begins.
    pub begins: String,
    /// What is said when it ends.
    pub ends: String,
}

/// Draws spans in lanes with these names.
pub fn draw(lanes: &[String], spans: &[Span]) -> String {
    let width = lanes.iter().map(|lane| lane.chars().count()).max().unwrap_or(1).max(2) + 1;
    let began = spans.iter().map(|span| span.from_ns).min().unwrap_or_default();
    // At one moment what ends goes before what begins, but never before its own beginning.
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        moments.push((span.from_ns, true, index));
        moments.extend(span.to_ns.map(|to| (to.max(span.from_ns + 1), false, index)));
    }
    moments.sort_unstable();
    let mut text = format!("{:>12}  ", "ms");
    for lane in lanes {
        let _ = write!(text, "{lane:width$}");
    }
    text.push('\n');
    // What never ends is over when the next one of its lane begins.
    let mut running = vec![false; lanes.len()];
    for (at, begins, index) in moments {
        let span = &spans[index];
        let _ = write!(text, "{:>12.3}  ", (at - began) as f64 / 1e6);
        for (lane, busy) in running.iter().enumerate() {
            let mark = match (lane == span.lane, begins) {
                (true, true) => "┬",
                (true, false) => "┴",
                (false, _) if *busy => "│",
                (false, _) => "·",
            };
            let _ = write!(text, "{mark:width$}");
        }
        if let Some(busy) = running.get_mut(span.lane) {
            *busy = begins;
        }
        let number = index + 1;
        let _ = match begins {
            true => writeln!(text, "{number:>3} {}", span.begins),
            false => writeln!(text, "{number:>3}   {}", span.ends),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_a_lane_and_each_answer_its_number() {
        let span = |lane, from_ns, to_ns, begins: &str, ends: &str| Span {
            lane,
            from_ns,
            to_ns,
            begins: begins.to_owned(),
            ends: ends.to_owned(),
        };
        let spans = [
            span(0, 1_000_000, Some(3_000_000), "sends a", "1"),
            span(1, 2_000_000, None, "claims", ""),
            span(0, 4_000_000, Some(4_500_000), "acks", "acked"),
        ];
        let drawn = draw(&["0".to_owned(), "1".to_owned()], &spans);
        let expected = "          ms  0  1  \n       0.000  ┬  ·    1 sends a\n       1.000  │  ┬    2 claims\n       2.000  ┴  │    1   1\n       3.000  ┬  │    3 acks\n       3.500  ┴  │    3   acked\n";
        assert_eq!(drawn, expected, "\n{drawn}");
    }
}
