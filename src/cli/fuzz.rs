//! A fuzz target for the arguments of the program. The other targets are in `fencepost_verify::fuzz`.
//!
//! Invariant: any arguments are parsed, or refused in one sentence without control characters. No command runs.

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::ErrorKind;

use super::{Arguments, sentence};
use fencepost_verify::fuzz::FuzzTarget;

/// The target.
pub const TARGET: FuzzTarget = FuzzTarget { name: "cli_args", run, seeds };

/// Runs on bytes: arguments with a zero between them.
fn run(data: &[u8]) {
    let arguments = data.split(|byte| *byte == 0).map(argument);
    let error = match Arguments::try_parse_from(std::iter::once("fencepost".into()).chain(arguments)) {
        Ok(_) => return,
        Err(error) => error,
    };
    let helps = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    if helps.contains(&error.kind()) {
        return;
    }
    let said = sentence(&error);
    assert!(said.len() > "; see --help".len(), "nothing is said: {error:?}");
    assert!(!said.contains(char::is_control), "not one plain sentence: {said:?}");
}

/// An argument of any bytes, where the system allows that.
fn argument(bytes: &[u8]) -> OsString {
    #[cfg(unix)]
    let argument = std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec());
    #[cfg(not(unix))]
    let argument = String::from_utf8_lossy(bytes).into_owned().into();
    argument
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let lines = [
        ("send", "send|b.db|place.bet|{\"on\":17}|--id|bet-17|--delay|5s|--meta|a=b|--json"),
        ("publish", "publish|b.db|bet.placed|-|--lines|--content-type|application/json"),
        ("listen", "listen|b.db|--on|place.bet=cat|--drain|--attempts-max|3|--policy|park"),
        ("subscribe", "subscribe|b.db|--group|audit|--on|bet=true|--start|latest"),
        ("stats", "stats|b.db|--json|--watch"),
        ("dead", "dead|b.db|list|--name|place.bet"),
        ("redrive", "dead|b.db|redrive|1|18446744073709551615"),
        ("repair", "dead|b.db|repair|1|--name|bet|--payload|-18|--meta|a=b|--json"),
        ("groups", "groups|b.db|seek|audit|bet|earliest"),
        ("prune", "prune|b.db|--retention|7d|--dry-run"),
        ("check", "check|b.db|--repair"),
        ("restore", "restore|b.db|--epoch|32768"),
        ("verify", "verify|--scope|quick|--seed|1|--only|crash"),
        ("no-command", "sned"),
        ("an-escape", "send|b.db|\u{1b}[2J"),
        ("a-line", "send|b.db|bet|--dela\ny"),
        ("help", "help|--help"),
    ];
    lines.iter().map(|(name, line)| ((*name).to_owned(), line.replace('|', "\0").into_bytes())).collect()
}
