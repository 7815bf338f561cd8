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
  fencepost groups bus.db                                       the position and lag of each group
  fencepost groups bus.db seek billing bet.placed earliest      read all events of that name again
  fencepost groups bus.db seek billing bet.placed 1200          continue after event 1200
  fencepost groups bus.db unsubscribe billing bet.placed        a group that no longer runs blocks prune";

/// Show the position of each consumer group, move it, or unsubscribe the group.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct GroupsArguments {
    #[command(flatten)]
    bus: BusFile,
    /// Print one JSON object on a line for each group and name.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<GroupsAction>,
}

#[derive(Debug, Subcommand)]
enum GroupsAction {
    /// Move a group's position in one name. A worker that reads for the group now loses its lease.
    Seek {
        /// The group.
        group: Group,
        /// The name.
        name: Name,
        /// `earliest`, `latest`, or the number of an event: the group continues after it.
        #[arg(value_parser = position)]
        position: Position,
    },
    /// Remove a name from a group. Without its last name the group no longer exists.
    Unsubscribe {
        /// The group.
        group: Group,
        /// The name.
        name: Name,
    },
}

pub(super) fn run(arguments: &GroupsArguments) -> Result<Ended, Failed> {
    let (bus, mut out) = (&arguments.bus, Out::new());
    match &arguments.action {
        None => {
            let seen = bus.overview(&bus.reader()?)?;
            match arguments.json {
                true => seen.groups.iter().try_for_each(|group| out.json(group))?,
                false => out.text(&groups_table(&seen.groups, seen.now.get()))?,
            }
        }
        Some(GroupsAction::Seek { group, name, position }) => {
            let mut store = bus.store()?;
            let log = bus.overview(store.connection())?.log;
            // An event that is published after this read comes after the position.
            let position = match position {
                Position::Earliest => log.first.before(),
                Position::Latest => log.head,
                Position::After(seq) => *seq,
            };
            let op = Op::Seek { group: group.clone(), name: name.clone(), position };
            bus.apply(&mut store, &op)?;
            bus.close(store)?;
            out.line(&format_args!("{group} continues with the first {name} after event {position}"))?;
        }
        Some(GroupsAction::Unsubscribe { group, name }) => {
            let mut store = bus.store()?;
            let op = Op::Unsubscribe { group: group.clone(), name: name.clone() };
            let reply = bus.apply(&mut store, &op)?;
            bus.close(store)?;
            let returned = if let Reply::Unsubscribed { returned } = reply { returned.len() } else { 0 };
            out.line(&format_args!(
                "{group} no longer reads {name}; {returned} of its redriven events are dead letters again"
            ))?;
        }
    }
    out.flush()?;
    Ok(Ended::Done)
}
