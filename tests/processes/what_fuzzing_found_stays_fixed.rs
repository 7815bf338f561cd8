//! Runs every seed and every finding of the fuzz targets without a fuzzer. The seeds in the folder are those that the
//! targets name.
//!
//! `FENCEPOST_WRITE_SEEDS=1 cargo test --all-features --test processes what_fuzzing_found` writes the seeds. If
//! `FENCEPOST_CORPUS` names a folder of corpora, they run as well, to measure what they reach. The path must be absolute,
//! such as `"$PWD/fuzz/corpus"`, since cargo runs this test in `src/cli`.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fencepost_verify::fuzz::{FuzzTarget as Target, TARGETS};

fn folder(of: &str, target: &str) -> PathBuf {
    // In whichever package these tests stand, the targets are above it.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("fuzz"));
    let fuzz = folders.into_iter().find(|folder| folder.join("fuzz_targets").is_dir()).unwrap();
    fuzz.join(of).join(target)
}

/// Every target.
fn all() -> impl Iterator<Item = &'static Target> {
    TARGETS.iter().chain([&fencepost_cli::fuzz::TARGET])
}

/// The files of a folder by name; none if there is no such folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(Result::unwrap).map(read).collect()
}

/// The folder of grown corpora, if one is named.
fn grown_corpora() -> Option<PathBuf> {
    let corpora = PathBuf::from(std::env::var_os("FENCEPOST_CORPUS")?);
    assert!(
        corpora.is_dir(),
        "FENCEPOST_CORPUS names {}, which is not a folder; give an absolute path, since cargo runs this test in {}",
        corpora.display(),
        env!("CARGO_MANIFEST_DIR")
    );
    Some(corpora)
}

/// Runs all inputs of a target.
fn replay(name: &str) {
    let target = all().find(|target| target.name == name).unwrap();
    let seeds: BTreeMap<String, Vec<u8>> = (target.seeds)().into_iter().collect();
    let folder_of_seeds = folder("seeds", name);
    if std::env::var_os("FENCEPOST_WRITE_SEEDS").is_some() {
        let _ = fs::remove_dir_all(&folder_of_seeds);
        fs::create_dir_all(&folder_of_seeds).unwrap();
        for (file, bytes) in &seeds {
            fs::write(folder_of_seeds.join(file), bytes).unwrap();
        }
    }
    let there = files(&folder_of_seeds);
    assert!(!there.is_empty(), "{name} has no seeds");
    assert!(
        there == seeds,
        "the seeds of {name} are not those that it names: write them anew, and look at them"
    );
    let grown = grown_corpora().map(|corpora| files(&corpora.join(name))).unwrap_or_default();
    for (file, bytes) in there.iter().chain(&files(&folder("regressions", name))).chain(&grown) {
        println!("{name}: {file}");
        (target.run)(bytes);
    }
}

#[test]
fn decode_row() {
    replay("decode_row");
}

#[test]
fn ops() {
    replay("ops");
}

#[test]
fn open_file() {
    replay("open_file");
}

#[test]
fn page_flip() {
    replay("page_flip");
}

#[test]
fn metadata() {
    replay("metadata");
}

#[test]
fn trace() {
    replay("trace");
}

#[test]
fn cli_args() {
    replay("cli_args");
}

#[test]
fn no_target_is_left_out() {
    let this = include_str!("what_fuzzing_found_stays_fixed.rs");
    for Target { name, .. } in all() {
        assert!(this.contains(&format!("replay(\"{name}\")")), "{name} is not replayed");
        let target = folder("fuzz_targets", "").join(format!("{name}.rs"));
        assert!(target.exists(), "{name} has no file in fuzz/fuzz_targets");
    }
}
