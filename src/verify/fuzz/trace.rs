//! Trace files: any text, and moves of a scope with bytes changed.
//!
//! A text whose digest is made to match gets past the check of the digest, so that what lies behind it is reached.
//!
//! Invariant: reading never panics, and what is read is written again as a trace that reads the same.

use fencepost_model::coverage::Tally;
use fencepost_model::generate::choose;
use fencepost_model::scope;
use fencepost_model::world::{Contract, Move};
use sha2::{Digest as _, Sha256};

use super::bytes::ByteSource;
use crate::moves::ScopeMoves;
use crate::trace::Trace;

/// Runs on bytes: after an even byte they are a whole file, after an odd one the lines before an end that matches them.
pub(super) fn run(data: &[u8]) {
    let mut bytes = ByteSource(data);
    let matching = bytes.u8() % 2 == 1;
    let mut text = String::from_utf8_lossy(bytes.0).into_owned();
    if matching {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let moves = text.lines().count().saturating_sub(1);
        let digest = Sha256::digest(text.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{{\"end\":{moves},\"sha256\":\"{digest}\"}}\n");
    }
    let trace = match Trace::read(&text) {
        Ok(trace) => trace,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains('\n'), "an error of more than one sentence: {said:?}");
            return;
        }
    };
    let Ok(written) = trace.write() else { panic!("what was read cannot be written: {trace:?}") };
    match Trace::read(&written) {
        Ok(again) => assert_eq!(again, trace),
        Err(error) => panic!("what was written cannot be read ({error}): {written}"),
    }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, seed) in [("short", 1_u32), ("longer", 5)] {
        let Some(scope) = scope::by_name("wide") else { return seeds };
        let mut world = scope.world();
        let mut moves: Vec<Move> = Vec::new();
        for step in 0..seed * 12 {
            let number = step.wrapping_mul(2_654_435_761).wrapping_add(seed);
            let Some(action) = choose(&scope, &world, number) else { break };
            world.perform(&action, &Contract, &Tally::new());
            moves.push(action);
        }
        let (scope, mutant) = ("wide".to_owned(), Some("sql:any_token_nacks".to_owned()));
        let moves = ScopeMoves { scope, mutant, moves };
        let trace = Trace::new("G3", moves);
        let Ok(text) = trace.write() else { return seeds };
        let lines = text.trim_end().rfind('\n').map_or("", |end| &text[..=end]);
        seeds.push((format!("{name}-whole"), [&[0], text.as_bytes()].concat()));
        seeds.push((format!("{name}-matching"), [&[1], lines.as_bytes()].concat()));
    }
    let head = r#"{"format":"fencepost-trace","version":3,"scope":"","mutant":null,"broken":""}"#;
    seeds.push(("other-version".to_owned(), [&[1], head.as_bytes()].concat()));
    seeds
}
