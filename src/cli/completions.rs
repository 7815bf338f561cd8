//! `fencepost completions` and `fencepost man`, both generated from the definition of the arguments.

use clap::{Args, CommandFactory as _};

use crate::ended::{Ended, Failed};
use crate::out::Out;

/// Print the completion script of a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  fencepost completions bash > ~/.local/share/bash-completion/completions/fencepost"
)]
pub(super) struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Print the manual page of the program or of one command.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fencepost man | man -l -\n  fencepost man dead | man -l -")]
pub(super) struct Man {
    /// The command. Without it: the program.
    command: Option<String>,
}

pub(super) fn completions(arguments: &Completions) -> Result<Ended, Failed> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "fencepost", &mut text);
    print(&text)
}

pub(super) fn man(arguments: &Man) -> Result<Ended, Failed> {
    let mut command = super::Arguments::command();
    command.build();
    if let Some(name) = &arguments.command {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| Failed::UnknownCommand(name.clone()))?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text).map_err(Failed::Output)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<Ended, Failed> {
    let mut out = Out::new();
    out.text(&String::from_utf8_lossy(text))?;
    out.flush()?;
    Ok(Ended::Done)
}
