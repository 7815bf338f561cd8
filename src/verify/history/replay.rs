//! A recorded history, judged again and told.
//!
//! What always holds: a history is data; the same one is judged the same and told the same each time.

use std::fmt::Write as _;

use fencepost_model::description;
use fencepost_model::op::Op;
use fencepost_model::state::State;

use crate::history::judge::{Opinion, Verdict, judge};
use crate::history::record::{Answer, Entry, History};
use crate::history::timeline::{Span, draw};

/// What came of judging a history again.
#[derive(Debug)]
pub struct Replayed {
    /// What the judges say.
    pub opinion: Opinion,
    /// The story of it.
    pub story: String,
}

/// Judges a history, and tells it.
pub fn replay(history: &History) -> Replayed {
    let opinion = judge(history);
    let mut story = String::new();
    if history.start != State::new() {
        let _ = writeln!(story, "from this state on:");
        story += &description::state(&history.start);
        story.push('\n');
    }
    let lanes = history.entries.iter().map(|entry| entry.lane + 1).max().unwrap_or_default();
    let lanes: Vec<String> = (0..lanes).map(|lane| lane.to_string()).collect();
    let spans: Vec<Span> = history.entries.iter().map(span).collect();
    story += &draw(&lanes, &spans);
    let refused = opinion.refused();
    for refused in &refused {
        let at = refused.entry.map(|index| format!(" (operation {})", index + 1)).unwrap_or_default();
        let _ = writeln!(story, "refused: {}{at}\n  {}", refused.judge, refused.why);
    }
    if refused.is_empty() {
        story += match opinion.order {
            Verdict::Inconclusive if history.judge.is_none() => "inconclusive: the search gave up\n",
            _ => "allowed: it may have happened so\n",
        };
    }
    Replayed { opinion, story }
}

fn span(entry: &Entry) -> Span {
    let Entry { lane, called_ns, answered_ns, now, op, answer, .. } = entry;
    let what = match op {
        Op::Atomic(ops) => ops.iter().map(description::operation).collect::<Vec<_>>().join(", and "),
        op => description::operation(op),
    };
    let place = entry.place().map(|place| match place.changed {
        true => format!("  [number {}]", place.commit_seq),
        false => format!("  [after number {}]", place.commit_seq),
    });
    let ends = match answer {
        Answer::Replied { reply, .. } => description::reply(reply) + &place.unwrap_or_default(),
        Answer::Busy => "busy".to_owned(),
        Answer::Failed(why) => format!("failed: {why}"),
        Answer::Missing | Answer::Indeterminate => String::new(),
    };
    let open = if entry.is_open() { "  (no answer)" } else { "" };
    Span {
        lane: *lane as usize,
        from_ns: *called_ns,
        to_ns: *answered_ns,
        begins: format!("at {now} {what}{open}"),
        ends,
    }
}
