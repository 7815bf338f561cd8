//! One byte of a store's file or WAL is changed, over and over. Each change leads to a typed error, to something that
//! says that it is corrupt, or to messages exactly as they were sent.
//!
//! `FENCEPOST_BYTES=10000 cargo test --all-features --test corruption a_changed_byte -- --nocapture` does it ten thousand
//! times and prints the outcomes; `FENCEPOST_SEED` chooses other bytes.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;

use fencepost_verify::fuzz::file::{FileBench as Bench, SHAPES, Shape, Taken, healthy};

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The store was not opened.
    Refused,
    /// An operation was answered with an error.
    Failed,
    /// Something said that it is corrupt.
    Corrupt,
    /// Everything is as before.
    Same,
    /// Something was not delivered, and nothing said why; a check finds what is wrong.
    FewerAndFound,
    /// The same, and a check finds nothing.
    FewerAndNotFound,
    /// Everything was delivered, and more than before: again.
    MoreAndFound,
    /// The same, and a check finds nothing.
    MoreAndNotFound,
}

fn number(of: &str, default: u64) -> u64 {
    std::env::var(of).map_or(default, |text| text.parse().unwrap())
}

/// A number that differs for different seeds and indexes, the same for the same.
fn mix(seed: u64, index: u64) -> u64 {
    let mut number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number ^= number >> 29;
    number = number.wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 32
}

fn outcome(bench: &Bench, whole: &Taken, taken: &Taken) -> Outcome {
    if taken.refused.is_some() {
        return Outcome::Refused;
    }
    if taken.errors != whole.errors {
        return Outcome::Failed;
    }
    if taken.corrupt != whole.corrupt {
        return Outcome::Corrupt;
    }
    if taken.delivered == whole.delivered {
        return Outcome::Same;
    }
    let found = !bench.check().is_ok_and(|report| report.is_sound());
    match (whole.delivered.is_subset(&taken.delivered), found) {
        (false, true) => Outcome::FewerAndFound,
        (false, false) => Outcome::FewerAndNotFound,
        (true, true) => Outcome::MoreAndFound,
        (true, false) => Outcome::MoreAndNotFound,
    }
}

#[test]
fn a_changed_byte_is_noticed_or_does_no_harm() {
    let (count, seed) = (number("FENCEPOST_BYTES", 600), number("FENCEPOST_SEED", 1));
    println!("{count} changes, FENCEPOST_SEED={seed}");
    let bench = Bench::new().unwrap();
    let (healthy, sent) = healthy(&bench).unwrap();
    let mut outcomes: BTreeMap<(Shape, Outcome), u64> = BTreeMap::new();
    let whole: BTreeMap<Shape, Taken> = SHAPES
        .into_iter()
        .map(|shape| {
            bench.put(&healthy[&shape]).unwrap();
            (shape, bench.take(Some(&sent)).unwrap())
        })
        .collect();
    assert_eq!(whole[&Shape::Closed].refused, None);
    assert!(whole[&Shape::Closed].delivered.len() > 8, "{whole:?}");
    for index in 0..count {
        let shape = SHAPES[usize::try_from(index).unwrap() % SHAPES.len()];
        let mut files = healthy[&shape].clone();
        let chance = mix(seed, index);
        let at = usize::try_from(chance >> 8).unwrap() % (files.file.len() + files.wal.len());
        let file_bytes = files.file.len();
        let byte = match at < file_bytes {
            true => &mut files.file[at],
            false => &mut files.wal[at - file_bytes],
        };
        // Any other value.
        *byte ^= u8::try_from(chance % 255).unwrap() + 1;
        bench.put(&files).unwrap();
        let taken = bench.take(Some(&sent)).unwrap();
        assert_eq!(taken.invented, [""; 0], "{shape:?}, change {index}, byte {at}");
        if taken.delivered != whole[&shape].delivered {
            bench.put(&files).unwrap();
        }
        let outcome = outcome(&bench, &whole[&shape], &taken);
        if matches!(outcome, Outcome::FewerAndNotFound | Outcome::MoreAndNotFound) {
            let missing = whole[&shape].delivered.difference(&taken.delivered).collect::<Vec<_>>();
            println!("{shape:?}: change {index}, byte {at}: {outcome:?} {missing:?}");
        }
        *outcomes.entry((shape, outcome)).or_default() += 1;
    }
    for ((shape, outcome), count) in &outcomes {
        println!("{shape:?} {outcome:?} {count}");
    }
    let of = |outcome| SHAPES.iter().filter_map(|shape| outcomes.get(&(*shape, outcome))).sum::<u64>();
    assert_eq!(outcomes.values().sum::<u64>(), count);
    // Each of these must occur, or the test checks nothing.
    for occurs in [Outcome::Refused, Outcome::Failed, Outcome::Corrupt, Outcome::Same] {
        assert!(of(occurs) > 0, "{occurs:?} never occurred: {outcomes:?}");
    }
    // What is lost in silence is found by a check, but for bookkeeping that was changed into another likely number.
    let unfound = of(Outcome::FewerAndNotFound) + of(Outcome::MoreAndNotFound);
    assert!(unfound * 1_000 <= count, "{outcomes:?}");
    let in_wal = outcomes.get(&(Shape::Wal, Outcome::FewerAndFound)).copied().unwrap_or_default();
    assert!(in_wal > count / 10, "what is lost with a frame of a WAL is not found: {outcomes:?}");
}
