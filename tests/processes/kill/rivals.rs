//! Several processes at once over one file. One after the other is killed at a random moment and replaced. Now and then
//! all are killed, and what they said is checked against what they left.
//!
//! Invariant: while one is killed the others go on, so only SQLite's own locks and index recover the file.
//!
//! Does not depend on: what the processes do.

use std::path::Path;

use crate::kill::competitor::{Line, Part};
use crate::kill::ledger::{Figures, Ledger};
use crate::kill::trial::{check_as_left, look};
use crate::kill::{Actor, Broken, Chance, Failure, Fault, pause};
use crate::role::Role;

/// What is tried.
pub(crate) struct Rivalry {
    pub(crate) role: Role,
    pub(crate) seed: u64,
    pub(crate) kills: u32,
    pub(crate) fault: Option<Fault>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) kills: u32,
    pub(crate) files: u32,
    /// How many times all was checked against the file.
    pub(crate) looks: u32,
    pub(crate) said: Figures,
}

const RIVALS: u32 = 4;
/// How many are killed one at a time before all are.
const KILLS_ALONE: u32 = 16;
/// How many times all are killed before a new file is begun: several create it at once, and are killed at that.
const LOOKS: u32 = 4;

impl Rivalry {
    /// Kills until something is wrong, or it was done often enough.
    pub(crate) fn run(&self) -> Result<Seen, Box<Failure>> {
        let (mut seen, mut moments) = (Seen::default(), Chance(self.seed));
        while seen.kills < self.kills {
            let played = self.play_file(&mut moments, &mut seen);
            played.map_err(|broken| Box::new(Failure { broken, seed: self.seed, kill: seen.kills }))?;
        }
        Ok(seen)
    }

    fn play_file(&self, moments: &mut Chance, seen: &mut Seen) -> Result<(), Broken> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bus.db");
        let (mut ledger, mut life) = (Ledger::default(), 0);
        seen.files += 1;
        for _ in 0..LOOKS {
            let synced = moments.one_in(2);
            self.compete(&file, synced, &mut life, moments, (&mut ledger, seen))?;
            seen.looks += 1;
            check_as_left(&file, ledger.is_of_a_file())?;
            ledger.reconcile(&look(&file, synced, moments.one_in(2))?)?;
        }
        seen.said.add(&ledger.figures());
        Ok(())
    }

    /// Lets processes compete, kills one after the other, and in the end all of them.
    fn compete(
        &self,
        file: &Path,
        synced: bool,
        life: &mut u32,
        moments: &mut Chance,
        (ledger, seen): (&mut Ledger, &mut Seen),
    ) -> Result<(), Broken> {
        let mut begin = |seed| {
            *life += 1;
            let part = Part { life: *life, synced, seed, fault: self.fault };
            Actor::<Line>::begin(self.role, file, &part)
        };
        let mut actors: Vec<_> = (0..RIVALS).map(|_| begin(u64::from(moments.number()))).collect();
        for _ in 0..KILLS_ALONE {
            let index = moments.below(RIVALS) as usize;
            // Most are killed at work, however slow the machine is; the others while they open or create the file.
            if !moments.one_in(4) {
                actors[index].listen(moments.below(12), |_| true);
            }
            pause(moments.below(4_000));
            let other = begin(u64::from(moments.number()));
            let killed = std::mem::replace(&mut actors[index], other);
            seen.kills += 1;
            ledger.hear(&killed.kill()?)?;
        }
        for actor in actors {
            seen.kills += 1;
            ledger.hear(&actor.kill()?)?;
        }
        Ok(())
    }
}
