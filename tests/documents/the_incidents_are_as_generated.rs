//! Each exhibit of the museum is shown by its mutant, caught by what was named for it, and told in `docs/museum.md` as it
//! is found now.
//!
//! With `FENCEPOST_BLESS=1` the document is written anew between its marks.

use std::collections::{BTreeMap, BTreeSet};

use fencepost_model::mutant;
use fencepost_verify::incidents as museum;
use fencepost_verify::incidents::{Incident as Exhibit, NotShown, ShownBy as Shown, explain as tell};

/// How many there are to be at least.
const EXHIBITS_MIN: usize = 30;
/// How many exhibits one mutant may show: two can be the same mistake, more would be counting it again.
const SHOWN_MAX: usize = 2;

#[test]
fn each_exhibit_is_caught_by_what_was_named_for_it_and_told_as_it_is_found() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = museum::document(threads).unwrap_or_else(|missing| panic!("not shown: {missing:#?}"));
    assert!(part.len() < 1 << 20, "the museum is too long to be read: {} bytes", part.len());
    crate::docs::parts_are("museum.md", [("exhibits".to_owned(), part)]);
}

#[test]
fn there_are_enough_exhibits_each_with_a_thread_and_a_title_of_its_own() {
    let exhibits: Vec<&Exhibit> = museum::all().collect();
    assert!(exhibits.len() >= EXHIBITS_MIN, "{} exhibits", exhibits.len());
    let titles: BTreeSet<&str> = exhibits.iter().map(|exhibit| exhibit.title).collect();
    let urls: BTreeSet<&str> = exhibits.iter().map(|exhibit| exhibit.url).collect();
    assert_eq!((titles.len(), urls.len()), (exhibits.len(), exhibits.len()), "two exhibits are one");
    for exhibit in exhibits {
        let number = exhibit.url.rsplit('/').next().expect("the last part of an address");
        assert!(exhibit.url.starts_with("https://"), "{}: {}", exhibit.title, exhibit.url);
        assert!(exhibit.thread.ends_with(&format!("(#{number})")), "{}: {}", exhibit.url, exhibit.thread);
        let sentences = exhibit.explanation.matches(['.', '?']).count();
        assert!((2..=8).contains(&sentences), "{} is told in {sentences} sentences", exhibit.title);
    }
}

#[test]
fn no_mutant_shows_more_than_two_exhibits_and_those_of_the_model_exist() {
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for exhibit in museum::all() {
        *shown.entry(format!("{:?}", exhibit.shown)).or_default() += 1;
        if let Shown::Model(name) = exhibit.shown {
            assert!(mutant::by_name(name).is_some(), "{} is shown by no mutant: {name}", exhibit.title);
        }
    }
    let worn: Vec<_> = shown.iter().filter(|(_, times)| **times > SHOWN_MAX).collect();
    assert!(worn.is_empty(), "{worn:?}");
}

#[test]
fn an_exhibit_that_names_the_wrong_guarantee_or_no_mutant_is_not_shown() {
    let of = |shown: fn(&Shown) -> bool| {
        museum::all().find(|exhibit| shown(&exhibit.shown)).expect("of each family")
    };
    let families: [fn(&Shown) -> bool; 4] = [
        |shown| matches!(shown, Shown::Model(_)),
        |shown| matches!(shown, Shown::Loop(_)),
        |shown| matches!(shown, Shown::Threads(_)),
        |shown| matches!(shown, Shown::Clients(_)),
    ];
    for family in families {
        let wrong = Exhibit { breaks: "groups_do_not_see_each_other", ..*of(family) };
        assert!(matches!(tell(&wrong), Err(NotShown::NamedFor(_))), "{}", wrong.title);
    }
    for nobody in [Shown::Model("an_honest_bus"), Shown::Clients("nothing is wrong")] {
        let nothing = Exhibit { shown: nobody, ..*of(families[0]) };
        assert!(matches!(tell(&nothing), Err(NotShown::NoMutant)));
    }
}
