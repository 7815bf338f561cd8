//! The first opening for writing after a boot moves the token counter on, durably and before the first claim. So no token
//! that a power cut took away is minted again (G4).

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::Path;

use fencepost::internals::sqlite::{OpenOptions, Store};
use fencepost_model::state::State;

fn open(path: &Path, boot: Option<&str>) -> State {
    let options = OpenOptions { boot_id: boot.map(str::to_owned), ..OpenOptions::default() };
    Store::open(path, &options).unwrap().snapshot().unwrap()
}

#[test]
fn each_boot_moves_the_token_counter_on_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    let token_last = |boot| open(&path, Some(boot)).token_last.get();
    assert_eq!(token_last("first"), 0, "the first creation needs no margin");
    assert_eq!(token_last("first"), 0);
    assert_eq!(token_last("second"), 1 << 32);
    assert_eq!(token_last("second"), 1 << 32);
    assert_eq!(token_last("first"), 2 << 32);
}

#[test]
fn this_machine_tells_its_boots_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bus.db");
    assert_eq!(open(&path, None), open(&path, None));
}
