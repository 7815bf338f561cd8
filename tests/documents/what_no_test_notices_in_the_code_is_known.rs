//! Each change of the code that no test notices is known, with the reason, and the documents list it.
//!
//! `tests/mutants/run` changes the code and writes the outcome to `tests/mutants/found`, one file for each room. The
//! reasons stand in `tests/mutants/reasons.txt`. This test compares the two, and with `FENCEPOST_BLESS=1` it writes the
//! list in the documents anew. It changes no code itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The outcome of a room: words and numbers, in order, and the changes that live.
struct Room {
    name: String,
    figures: Vec<(String, String)>,
    lived: Vec<String>,
}

impl Room {
    fn figure(&self, of: &str) -> usize {
        let found = self.figures.iter().filter(|(name, _)| name.starts_with(of));
        found
            .map(|(name, number)| number.parse::<usize>().unwrap_or_else(|_| panic!("{name} {number}")))
            .sum()
    }
}

fn rooms() -> Vec<Room> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants/found");
    let mut rooms: Vec<Room> = fs::read_dir(folder)
        .expect("what was found")
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a text");
            let (lived, figures): (Vec<&str>, Vec<&str>) =
                text.lines().partition(|line| line.starts_with("    "));
            let figures = figures.into_iter().map(|line| {
                let (name, number) = line.rsplit_once(' ').expect("a word and a number");
                (name.to_owned(), number.to_owned())
            });
            Room {
                name,
                figures: figures.collect(),
                lived: lived.iter().map(|line| line.trim().to_owned()).collect(),
            }
        })
        .collect();
    rooms.sort_by(|a, b| a.name.cmp(&b.name));
    rooms
}

/// The reasons, each with its changes.
fn reasons() -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants/reasons.txt");
    let text = fs::read_to_string(path).expect("the reasons");
    let (mut reasons, mut reason) = (BTreeMap::<String, BTreeSet<String>>::new(), None);
    for line in text.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("# "), &reason) {
            (Some(next), _) => reason = Some(next.to_owned()),
            (None, Some(reason)) => {
                assert!(reasons.entry(reason.clone()).or_default().insert(line.to_owned()), "twice: {line}");
            }
            (None, None) => panic!("no reason stands above {line}"),
        }
    }
    reasons
}

#[test]
fn each_change_that_lives_has_one_reason_and_each_reason_a_change() {
    let rooms = rooms();
    for room in &rooms {
        assert_eq!(room.figure("lived"), room.lived.len(), "{}", room.name);
        assert!(room.figure("noticed") > 0, "nothing in {} was noticed", room.name);
    }
    let lived: BTreeSet<&String> = rooms.iter().flat_map(|room| &room.lived).collect();
    let reasons = reasons();
    let listed: Vec<&String> = reasons.values().flatten().collect();
    let known: BTreeSet<&String> = listed.iter().copied().collect();
    assert_eq!(listed.len(), known.len(), "a change has two reasons");
    let unknown: Vec<_> = lived.difference(&known).collect();
    assert!(unknown.is_empty(), "no reason says why these live: {unknown:#?}");
    let needless: Vec<_> = known.difference(&lived).collect();
    assert!(needless.is_empty(), "these do not live: {needless:#?}");
}

#[test]
fn the_documents_say_what_was_found() {
    let rooms = rooms();
    let mut text = "| room | part | changes | do not compile | noticed | did not end | live |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let mut sums = [0; 5];
    for room in &rooms {
        let [unviable, noticed, endless, lived] =
            ["unviable", "noticed", "did not end", "lived"].map(|of| room.figure(of));
        let numbers = [unviable + noticed + endless + lived, unviable, noticed, endless, lived];
        let shard = room.figures.iter().find(|(name, _)| name == "shard");
        let part = match shard.and_then(|(_, shard)| shard.split_once('/')) {
            None | Some((_, "1")) => "all".to_owned(),
            Some((of, parts)) => format!("{of} of {parts}"),
        };
        text +=
            &format!("| {} | {part} |{}\n", room.name, numbers.map(|number| format!(" {number} |")).concat());
        sums = std::array::from_fn(|index| sums[index] + numbers[index]);
    }
    text += &format!("| together | |{}\n", sums.map(|number| format!(" {number} |")).concat());
    text += "\nThose that live:\n\n";
    for (reason, changes) in reasons() {
        let changes: Vec<String> = changes.iter().map(|change| format!("`{change}`")).collect();
        text += &format!("- **{reason}**: {}\n", changes.join("; "));
    }
    crate::docs::parts_are("code-mutants.md", [("mutants of the code".to_owned(), text)]);
}
