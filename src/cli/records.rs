//! `fencepost dead` and `fencepost parked`: the same subcommands for the two places of records.
//!
//! Invariant: `dead` changes no parked record, and `parked` no dead one. If a command names records, it changes none before it
//! has found all of them in its place.

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
  fencepost dead bus.db list                      one line for each record
  fencepost dead bus.db list --name place.bet --json
  fencepost dead bus.db show 17                   all of one record, with its payload
  fencepost dead bus.db redrive 17 18             put these back; attempts count from zero again
  fencepost dead bus.db redrive --name place.bet
  fencepost dead bus.db purge --all               delete them, without asking
  fencepost dead bus.db repair 17 --payload '17 on red'
                                                  replace a message that cannot be decoded";

/// List, show, redrive, purge or repair records that were set aside.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RecordsArguments {
    #[command(flatten)]
    bus: BusFile,
    #[command(subcommand)]
    action: RecordsAction,
}

#[derive(Debug, Subcommand)]
enum RecordsAction {
    /// Print one line for each record, the oldest first.
    List {
        /// Only records with this name.
        #[arg(long)]
        name: Option<Name>,
        /// Print one JSON object on a line for each record.
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known of some records, with payload.
    Show {
        /// The numbers of the records.
        #[arg(required = true, value_parser = number::<RecordId>)]
        ids: Vec<RecordId>,
        /// Print one JSON object on a line for each record.
        #[arg(long)]
        json: bool,
    },
    /// Put records back to where they came from. Attempts count from zero again.
    Redrive(ChangeArguments),
    /// Delete records, without asking. Prints how many were deleted.
    Purge(ChangeArguments),
    /// Replace a message that cannot be decoded, so that the record can be redriven. The old columns are printed first; the
    /// file no longer has them.
    Repair(repair::Repair),
}

/// Which records to change.
#[derive(Debug, Args)]
struct ChangeArguments {
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON object: `done` (the number of changed records), and `refused`, a list of `id` and `why`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// The numbers of the records.
    #[arg(value_parser = number::<RecordId>)]
    ids: Vec<RecordId>,
    /// All records.
    #[arg(long)]
    all: bool,
    /// The records with this name.
    #[arg(long)]
    name: Option<Name>,
}

/// How many records are read at a time.
const PAGE: u32 = 500;

pub(super) fn run(arguments: &RecordsArguments, place: Place) -> Result<Ended, Failed> {
    let (bus, mut out) = (&arguments.bus, Out::new());
    let ended = match &arguments.action {
        RecordsAction::List { name, json } => {
            let conn = bus.reader()?;
            pages(bus, &conn, place, name.as_ref(), |id, listed| match json {
                true => out.json(&show::summary(id, &listed)),
                false => out.line(&show::line(id, &listed)),
            })?;
            Ended::Done
        }
        RecordsAction::Show { ids, json } => {
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
        RecordsAction::Redrive(arguments) => {
            change::run(bus, place, arguments, change::RecordChange::Redrive, &mut out)?
        }
        RecordsAction::Purge(arguments) => {
            change::run(bus, place, arguments, change::RecordChange::Purge, &mut out)?
        }
        RecordsAction::Repair(arguments) => repair::run(bus, place, arguments, &mut out)?,
    };
    out.flush()?;
    Ok(ended)
}

/// Reads the records of a place, page by page.
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

/// The record, if it is in this place, or if its own columns are damaged and its place is unknown.
fn found(bus: &BusFile, conn: &Connection, place: Place, id: RecordId) -> Result<Listed, Failed> {
    let found = record(conn, &Statements::standard(), id).map_err(|error| bus.failed(error))?;
    let listed = found.ok_or(Failed::NoRecord(id))?;
    match listed.sound() {
        Some(record) if record.place != place => {
            Err(Failed::WrongPlace { record: id, is: word(record.place), asked: word(place) })
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
