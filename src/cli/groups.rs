//! `fencepost groups`.

use clap::{Args, Subcommand};
use fencepost_model::op::{Op, Reply};
use fencepost_model::vocabulary::{Group, Name};

use crate::ended::{Ended, Failed};
use crate::opening::BusFile;
use crate::out::Out;
use crate::parse::{Position, position};
use crate::stats::groups_table;

const AFTER_HELP: &str = "\
Examples:
  fencepost groups bus.db                                       how far each group is
  fencepost groups bus.db seek billing bet.placed earliest      let it read all of that name again
  fencepost groups bus.db seek billing bet.placed 1200          let it go on with the first one past 1200
  fencepost groups bus.db unsubscribe billing bet.placed        a group that is gone keeps prune from working";

/// Say how far each consumer group is, move it, or let it go.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    bus: BusFile,
    /// Print one JSON object on a line for each name of each group.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Move a group's position in one name; who reads for the group now loses the right to.
    Seek {
        /// The group.
        group: Group,
        /// The name.
        name: Name,
        /// `earliest`, `latest`, or the number of an event: those past it come next.
        #[arg(value_parser = position)]
        position: Position,
    },
    /// Let a group read a name no more; with its last name the group is gone.
    Unsubscribe {
        /// The group.
        group: Group,
        /// The name.
        name: Name,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Failed> {
    let (bus, mut out) = (&arguments.bus, Out::new());
    match &arguments.action {
        None => {
            let seen = bus.overview(&bus.reader()?)?;
            match arguments.json {
                true => seen.groups.iter().try_for_each(|group| out.json(group))?,
                false => out.text(&groups_table(&seen.groups, seen.now.get()))?,
            }
        }
        Some(Action::Seek { group, name, position }) => {
            let mut store = bus.store()?;
            let log = bus.overview(store.connection())?.log;
            // What is published between this look and the move was not there when it was asked for.
            let position = match position {
                Position::Earliest => log.first.before(),
                Position::Latest => log.head,
                Position::After(seq) => *seq,
            };
            let op = Op::Seek { group: group.clone(), name: name.clone(), position };
            bus.apply(&mut store, &op)?;
            bus.close(store)?;
            out.line(&format_args!("{group} goes on with the first {name} past {position}"))?;
        }
        Some(Action::Unsubscribe { group, name }) => {
            let mut store = bus.store()?;
            let op = Op::Unsubscribe { group: group.clone(), name: name.clone() };
            let reply = bus.apply(&mut store, &op)?;
            bus.close(store)?;
            let returned = if let Reply::Unsubscribed { returned } = reply { returned.len() } else { 0 };
            out.line(&format_args!(
                "{group} reads {name} no more; {returned} of its redriven events are dead letters again"
            ))?;
        }
    }
    out.flush()?;
    Ok(Ended::Done)
}
