//! Each incident is shown by its mutant, caught by what was named for it, and explained in `docs/incidents.md` as it is
//! found now.
//!
//! With `FENCEPOST_BLESS=1` the document is written anew between its marks.

use std::collections::{BTreeMap, BTreeSet};

use fencepost_model::mutant;
use fencepost_verify::incidents::{self, Incident, NotShown, ShownBy, explain};

/// How many there are to be at least.
const INCIDENTS_MIN: usize = 30;
/// How many incidents one mutant may show: two can be the same mistake, more would be counting it again.
const SHOWN_MAX: usize = 2;

#[test]
fn each_incident_is_caught_by_what_was_named_for_it_and_told_as_it_is_found() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = incidents::document(threads).unwrap_or_else(|missing| panic!("not shown: {missing:#?}"));
    assert!(part.len() < 1 << 20, "the document is too long to be read: {} bytes", part.len());
    crate::docs::parts_are("incidents.md", [("incidents".to_owned(), part)]);
}

#[test]
fn there_are_enough_incidents_each_with_a_thread_and_a_title_of_its_own() {
    let incidents: Vec<&Incident> = incidents::all().collect();
    assert!(incidents.len() >= INCIDENTS_MIN, "{} incidents", incidents.len());
    let titles: BTreeSet<&str> = incidents.iter().map(|incident| incident.title).collect();
    let urls: BTreeSet<&str> = incidents.iter().map(|incident| incident.url).collect();
    assert_eq!((titles.len(), urls.len()), (incidents.len(), incidents.len()), "two incidents are one");
    for incident in incidents {
        let number = incident.url.rsplit('/').next().expect("the last part of an address");
        assert!(incident.url.starts_with("https://"), "{}: {}", incident.title, incident.url);
        assert!(incident.thread.ends_with(&format!("(#{number})")), "{}: {}", incident.url, incident.thread);
        let sentences = incident.explanation.matches(['.', '?']).count();
        assert!((2..=8).contains(&sentences), "{} is told in {sentences} sentences", incident.title);
    }
}

#[test]
fn no_mutant_shows_more_than_two_incidents_and_those_of_the_model_exist() {
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for incident in incidents::all() {
        *shown.entry(format!("{:?}", incident.shown)).or_default() += 1;
        if let ShownBy::Model(name) = incident.shown {
            assert!(mutant::by_name(name).is_some(), "{} is shown by no mutant: {name}", incident.title);
        }
    }
    let worn: Vec<_> = shown.iter().filter(|(_, times)| **times > SHOWN_MAX).collect();
    assert!(worn.is_empty(), "{worn:?}");
}

#[test]
fn an_incident_that_names_the_wrong_guarantee_or_no_mutant_is_not_shown() {
    let of = |shown: fn(&ShownBy) -> bool| {
        incidents::all().find(|incident| shown(&incident.shown)).expect("of each family")
    };
    let families: [fn(&ShownBy) -> bool; 4] = [
        |shown| matches!(shown, ShownBy::Model(_)),
        |shown| matches!(shown, ShownBy::Loop(_)),
        |shown| matches!(shown, ShownBy::Threads(_)),
        |shown| matches!(shown, ShownBy::Clients(_)),
    ];
    for family in families {
        let wrong = Incident { breaks: "groups_do_not_see_each_other", ..*of(family) };
        assert!(matches!(explain(&wrong), Err(NotShown::NamedFor(_))), "{}", wrong.title);
    }
    for nobody in [ShownBy::Model("an_honest_bus"), ShownBy::Clients("nothing is wrong")] {
        let nothing = Incident { shown: nobody, ..*of(families[0]) };
        assert!(matches!(explain(&nothing), Err(NotShown::NoMutant)));
    }
}
