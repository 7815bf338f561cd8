//! `fencepost dead` and `fencepost parked`: the same for two places.
//!
//! What always holds: a record of the other place is not touched, and of the records that were named none is touched
//! before all of them were found where they should be.

mod change;
mod repair;
mod show;

use clap::{Args, Subcommand};
use fencepost_model::state::Place;
use fencepost_model::vocabulary::{Name, RecordId};
use rusqlite::Connection;

use crate::ended::{Ended, Failed};
use crate::opening::BusFile;
use crate::out::Out;
use crate::parse::number;
use fencepost::internals::sqlite::{Listed, RecordFilter, Statements, record, records};

const AFTER_HELP: &str = "\
Examples, for `dead` and `parked` alike:
  fencepost dead bus.db list                      one line for each
  fencepost dead bus.db list --name place.bet --json
  fencepost dead bus.db show 17                   all of one, with its payload
  fencepost dead bus.db redrive 17 18             put these back, their attempts counted from zero
  fencepost dead bus.db redrive --name place.bet
  fencepost dead bus.db purge --all               remove them for good, without asking
  fencepost dead bus.db repair 17 --payload '17 on red'
                                                  give one that cannot be decoded a message again";

/// Look at what was moved aside, put it back, repair it, or remove it for good.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    bus: BusFile,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each, the oldest first.
    List {
        /// Only those of this name.
        #[arg(long)]
        name: Option<Name>,
        /// Print one JSON object on a line for each.
        #[arg(long)]
        json: bool,
    },
    /// All that is known of some, with payload.
    Show {
        /// Their numbers.
        #[arg(required = true, value_parser = number::<RecordId>)]
        ids: Vec<RecordId>,
        /// Print one JSON object on a line for each.
        #[arg(long)]
        json: bool,
    },
    /// Put them back to where they came from, their attempts counted from zero.
    Redrive(Which),
    /// Remove them for good. Asks nothing, and says how many.
    Purge(Which),
    /// Give one whose message cannot be decoded a message again, so that it can be redriven. What is replaced is printed
    /// first, and is not in the file any more.
    Repair(repair::Repair),
}

/// Which records to change.
#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    those: Those,
    /// Print one JSON object: `done` (how many), and `refused`, a list of `id` and `why`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Those {
    /// Their numbers.
    #[arg(value_parser = number::<RecordId>)]
    ids: Vec<RecordId>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Those of this name.
    #[arg(long)]
    name: Option<Name>,
}

/// How many records are read at a time.
const PAGE: u32 = 500;

pub(super) fn run(arguments: &Arguments, place: Place) -> Result<Ended, Failed> {
    let (bus, mut out) = (&arguments.bus, Out::new());
    let ended = match &arguments.action {
        Action::List { name, json } => {
            let conn = bus.reader()?;
            pages(bus, &conn, place, name.as_ref(), |id, listed| match json {
                true => out.json(&show::summary(id, &listed)),
                false => out.line(&show::line(id, &listed)),
            })?;
            Ended::Done
        }
        Action::Show { ids, json } => {
            let conn = bus.reader()?;
            for id in ids {
                let listed = found(bus, &conn, place, *id)?;
                match json {
                    true => out.json(&show::object(*id, &listed))?,
                    false => out.text(&show::text(*id, &listed))?,
                }
            }
            Ended::Done
        }
        Action::Redrive(which) => change::run(bus, place, which, change::How::Redrive, &mut out)?,
        Action::Purge(which) => change::run(bus, place, which, change::How::Purge, &mut out)?,
        Action::Repair(what) => repair::run(bus, place, what, &mut out)?,
    };
    out.flush()?;
    Ok(ended)
}

/// Looks at each record of a place.
fn pages(
    bus: &BusFile,
    conn: &Connection,
    place: Place,
    name: Option<&Name>,
    mut each: impl FnMut(RecordId, Listed) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let sql = Statements::standard();
    let place = Some(place);
    let mut filter = RecordFilter { place, name: name.cloned(), after: RecordId::ZERO, limit: PAGE };
    loop {
        let page = records(conn, &sql, &filter).map_err(|error| bus.failed(error))?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        filter.after = *last;
        page.into_iter().try_for_each(|(id, listed)| each(id, listed))?;
    }
}

/// The record, if it is in this place, or if nobody can say where it is.
fn found(bus: &BusFile, conn: &Connection, place: Place, id: RecordId) -> Result<Listed, Failed> {
    let found = record(conn, &Statements::standard(), id).map_err(|error| bus.failed(error))?;
    let listed = found.ok_or(Failed::NoRecord(id))?;
    match listed.sound() {
        Some(record) if record.place != place => {
            Err(Failed::Elsewhere { record: id, is: word(record.place), asked: word(place) })
        }
        _ => Ok(listed),
    }
}

/// The word for a place, which is also the command for it.
const fn word(place: Place) -> &'static str {
    match place {
        Place::Dead => "dead",
        Place::Parked => "parked",
    }
}
