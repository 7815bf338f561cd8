//! What all targets share: finding the function that plays the bytes. The logic stands in
//! `fencepost_verify::fuzz`, so that `cargo test` replays seeds and findings without a fuzzer.

use fencepost_verify::fuzz;

/// Runs on bytes with the target of this name.
///
/// # Panics
/// If a promise is broken, or if there is no such target.
pub fn play(name: &str, data: &[u8]) {
    let target = fuzz::by_name(name).or_else(|| Some(&fencepost_cli::fuzz::TARGET).filter(|target| target.name == name));
    match target {
        Some(target) => (target.run)(data),
        None => panic!("no target is called {name}"),
    }
}
