//! Each mutant of the Rust code is a patch in `src/verify/mutants` that `git apply` takes as it is.
//!
//! The build script of fencepost-verify merges the patches whatever the comments around a change say. A reader applies one
//! by hand, so here the lines around a change must be those of the file, comments included.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

fn patches() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verify/mutants");
    let kinds = fs::read_dir(folder).unwrap().map(|kind| kind.unwrap().path());
    kinds.flat_map(|kind| fs::read_dir(kind).unwrap()).map(|patch| patch.unwrap().path()).collect()
}

/// The places at which the lines of a hunk stand in its file, and what the hunk removes or adds.
fn places(file: &str, hunk: &[&str]) -> (usize, usize) {
    let before: Vec<&str> =
        hunk.iter().filter(|line| !line.starts_with('+')).map(|line| &line[1..]).collect();
    let lines: Vec<&str> = file.lines().collect();
    let places = (0..lines.len()).filter(|at| lines[*at..].starts_with(&before)).count();
    (places, hunk.iter().filter(|line| !line.starts_with(' ')).count())
}

#[test]
fn each_hunk_stands_in_its_file_once_and_changes_something() {
    let patches = patches();
    assert_eq!(patches.len(), 46, "the number of mutants of the code");
    for patch in patches {
        let text = fs::read_to_string(&patch).unwrap();
        let (about, diff) = text.split_once("\n\n").unwrap();
        assert!(about.ends_with('.'), "{}: it does not begin with a sentence", patch.display());
        let (mut file, mut hunks): (String, Vec<(String, Vec<&str>)>) = (String::new(), Vec::new());
        for line in diff.lines() {
            if let Some(path) = line.strip_prefix("+++ b/") {
                file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
            } else if line.starts_with("@@") {
                hunks.push((file.clone(), Vec::new()));
            } else if !line.starts_with("---") {
                hunks.last_mut().unwrap().1.push(if line.is_empty() { " " } else { line });
            }
        }
        assert!(!hunks.is_empty(), "{}: it changes nothing", patch.display());
        for (file, hunk) in &hunks {
            let (places, changes) = places(file, hunk);
            assert!(places == 1 && changes > 0, "{}: {places} places for {hunk:#?}", patch.display());
        }
    }
}
