//! What the tests of the model share: the shortest counterexample of a mutant, and documents that are generated.
//!
//! It judges nothing itself.

#![expect(dead_code, reason = "each test file uses some of these")]

use std::path::PathBuf;
use std::sync::Arc;

use fencepost_model::check::Search;
use fencepost_model::invariant::GUARANTEES;
use fencepost_model::liveness::LIVENESS;
use fencepost_model::mutant::Mutant;
use fencepost_model::{scope, story};

/// The story of a mutant's shortest way to break what it was said to break.
///
/// # Panics
/// If it breaks nothing, or something else first and never this: then a check is too weak.
pub fn story_of(mutant: &Mutant) -> String {
    let scope = scope::by_name(mutant.scope).expect("a mutant names a scope that exists");
    let search = Search::new(scope, Arc::new(*mutant));
    let found = search.shortest_to(mutant.breaks);
    let path = found.broken.iter().find(|(name, _)| *name == mutant.breaks).map(|(_, path)| path);
    let Some(path) = path else {
        let others: Vec<_> = found.broken.iter().map(|(name, _)| *name).collect();
        panic!("{} survives: {} was not found broken, only {others:?}", mutant.name, mutant.breaks);
    };
    story::tell(&search.scope, path, mutant)
}

/// The number in the contract of a guarantee or liveness property.
pub fn id_of(name: &str) -> &'static str {
    let safety = GUARANTEES.iter().map(|guarantee| (guarantee.id, guarantee.name));
    let liveness = LIVENESS.iter().map(|property| (property.id, property.name));
    let found = safety.chain(liveness).find(|(_, of)| *of == name);
    found.expect("a mutant names a guarantee or a liveness property").0
}

/// A name as a sentence: its words with spaces between them.
pub fn sentence(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The path of a document.
pub fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// The text of a document.
pub fn read(name: &str) -> String {
    let path = document(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}

/// Compares a document with what it ought to be, and writes it anew if `FENCEPOST_BLESS=1` says so.
pub fn is_as_generated(name: &str, generated: &str) {
    if std::env::var("FENCEPOST_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(document(name), generated).expect("docs can be written");
    }
    let written = if document(name).exists() { read(name) } else { String::new() };
    let line = written.lines().zip(generated.lines()).position(|(is, ought)| is != ought);
    let line = line.unwrap_or_else(|| written.lines().count().min(generated.lines().count())) + 1;
    assert!(
        written == generated,
        "docs/{name} is not what is generated, from line {line} on; run with FENCEPOST_BLESS=1 and review the change"
    );
}
