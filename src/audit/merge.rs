//! Several recordings of one store as one sequence of transactions, in the order of their commit numbers.
//!
//! Invariant: a transaction that changed something comes right after the one with the number before its own, and one that
//! changed nothing comes between the two changes where it was recorded. A number that no recording has is a [`Doubt`].
//! Does not depend on: what operations do.

use std::path::{Path, PathBuf};

use fencepost_model::state::State;

use crate::audit::doubt::Doubt;
use crate::record::contents;
use crate::record::format::{Frame, FrameReader, Recorded, Unreadable};

/// The next step of a replay.
#[derive(Debug)]
pub(super) enum MergeStep {
    /// The sequence begins, or begins again after a gap, with the state that a recording begins with.
    Begin { state: Box<State>, number: u64 },
    /// The sequence has reached the number at which a recording begins, and must have led to the state of the recording.
    Check { state: Box<State>, file: usize },
    /// A transaction.
    Transaction { file: usize, commit_seq: u64, changed: bool, ops: Vec<Recorded> },
}

/// One recording.
#[derive(Debug)]
struct MergedRecording {
    path: PathBuf,
    reader: FrameReader,
    /// The next transaction in it.
    next: Option<(u64, bool, Vec<Recorded>)>,
    /// The number at which it begins.
    begins: u64,
    /// Whether its state was used or passed.
    used: bool,
    whole_contents: bool,
    done: bool,
    /// Whether its end says that it goes on in another file.
    continued: bool,
    last: (u64, bool),
}

/// The recordings.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<MergedRecording>,
    /// The number of the last change of the sequence, once it has begun.
    at: Option<u64>,
    /// The number of the state that the sequence began with.
    base: u64,
    pub(super) whole_contents: bool,
    pub(super) doubts: Vec<Doubt>,
    /// How many operations were recorded before the sequence begins, where no state is known.
    pub(super) before: u64,
}

impl Merge {
    /// Opens recordings. One that cannot be read is a doubt.
    pub(super) fn open(paths: &[PathBuf]) -> Self {
        let (mut sources, mut doubts) = (Vec::new(), Vec::new());
        for path in paths {
            match FrameReader::open(path) {
                Ok(reader) => sources.push(MergedRecording::new(path, reader)),
                Err(why) => doubts.push(Doubt::Unreadable { path: path.clone(), why }),
            }
        }
        let whole_contents = sources.iter().all(|source| source.whole_contents);
        Self { sources, at: None, base: 0, whole_contents, doubts, before: 0 }
    }

    pub(super) fn path(&self, file: usize) -> &Path {
        &self.sources[file].path
    }

    /// The number of the last change.
    pub(super) fn at(&self) -> Option<u64> {
        self.at
    }

    /// The next step; none when nothing more can be put in order.
    pub(super) fn next(&mut self) -> Option<MergeStep> {
        loop {
            let Some(at) = self.at else { return self.begin(0) };
            if let Some(index) = self.sources.iter().position(|source| !source.used && source.begins <= at) {
                if self.sources[index].begins < at {
                    // The sequence began again behind it.
                    self.sources[index].used = true;
                } else if let Some(state) = self.state_of(index) {
                    return Some(MergeStep::Check { state, file: index });
                }
                continue;
            }
            self.fill();
            let first = self.sources.iter().enumerate().filter_map(|(index, source)| {
                let (commit_seq, changed, _) = source.next.as_ref()?;
                Some((*commit_seq, !*changed, index))
            });
            let (commit_seq, is_look, file) = first.min()?;
            let changed = !is_look;
            let (_, _, ops) = self.sources[file].next.take()?;
            let is_next = if changed { commit_seq == at + 1 } else { commit_seq == at };
            if is_next {
                self.at = Some(commit_seq);
                return Some(MergeStep::Transaction { file, commit_seq, changed, ops });
            }
            if commit_seq <= self.base {
                self.before += ops.len() as u64;
                continue;
            }
            if commit_seq <= at {
                self.doubts.push(Doubt::TakenTwice { number: commit_seq });
                return None;
            }
            self.sources[file].next = Some((commit_seq, changed, ops));
            return self.begin(at + 1);
        }
    }

    /// Adds a doubt for each recording that goes on in a file that was not given.
    pub(super) fn finish(&mut self) {
        for (index, source) in self.sources.iter().enumerate() {
            let after = source.last.0;
            let follows = |(other, next): (usize, &MergedRecording)| other != index && next.begins >= after;
            if source.continued && !self.sources.iter().enumerate().any(follows) {
                self.doubts.push(Doubt::Continued { path: source.path.clone(), after });
            }
        }
    }

    /// Begins with the earliest state at number `from` or later.
    fn begin(&mut self, from: u64) -> Option<MergeStep> {
        let gap = self.at.map(|at| at + 1);
        let later = self.sources.iter().enumerate().filter(|(_, s)| !s.used && s.begins >= from);
        let earliest = later.min_by_key(|(_, source)| source.begins).map(|(index, _)| index);
        if let Some(number) = gap {
            let again = earliest.map(|index| (self.sources[index].begins, self.sources[index].path.clone()));
            self.doubts.push(Doubt::Gap { number, again });
        }
        let index = earliest?;
        let number = self.sources[index].begins;
        let state = self.state_of(index)?;
        (self.at, self.base) = (Some(number), number);
        Some(MergeStep::Begin { state, number })
    }

    /// Reads the state that a recording begins with.
    fn state_of(&mut self, index: usize) -> Option<Box<State>> {
        let source = &mut self.sources[index];
        source.used = true;
        match FrameReader::state(&source.path) {
            Ok(mut state) => {
                if source.whole_contents && !self.whole_contents {
                    contents::of_state(&mut state);
                }
                Some(Box::new(state))
            }
            Err(why) => {
                self.doubts.push(Doubt::Unreadable { path: source.path.clone(), why });
                None
            }
        }
    }

    /// Reads on in every recording whose next transaction is not known.
    fn fill(&mut self) {
        for source in &mut self.sources {
            if source.next.is_none() && !source.done {
                match source.read(self.whole_contents) {
                    Ok(next) => source.next = next,
                    Err(why) => {
                        let after = source.last.0;
                        self.doubts.push(Doubt::Ends { path: source.path.clone(), after, why });
                    }
                }
                source.done = source.next.is_none();
            }
        }
    }
}

impl MergedRecording {
    fn new(path: &Path, reader: FrameReader) -> Self {
        let beginning = reader.beginning();
        Self {
            path: path.to_owned(),
            reader,
            next: None,
            begins: beginning.commit_seq,
            used: false,
            whole_contents: beginning.whole_contents,
            done: false,
            continued: false,
            last: (0, false),
        }
    }

    /// The next transaction; none after the end.
    fn read(&mut self, whole_contents: bool) -> Result<Option<(u64, bool, Vec<Recorded>)>, Unreadable> {
        let (commit_seq, changed, mut ops) = match self.reader.next()? {
            Frame::Transaction { commit_seq, changed, ops, .. } => (commit_seq, changed, ops),
            Frame::End { continued, .. } => {
                self.continued = continued;
                return Ok(None);
            }
        };
        let order = (commit_seq, !changed);
        let in_order = order > self.last || (order == self.last && !changed) || self.last == (0, false);
        if !in_order {
            return Err(Unreadable::Damaged { at_bytes: self.reader.at_bytes() });
        }
        self.last = order;
        if self.whole_contents && !whole_contents {
            for recorded in &mut ops {
                contents::of_op(&mut recorded.op);
                contents::of_reply(&mut recorded.reply);
            }
        }
        Ok(Some((commit_seq, changed, ops)))
    }
}
