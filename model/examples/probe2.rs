//! Tells stories.
use fencepost_model::{check::Search, mutant, scope, story};
use std::sync::Arc;
fn main() {
    for m in mutant::all() {
        let search = Search::new(scope::by_name(m.scope).unwrap(), Arc::new(m));
        let found = search.shortest_to(m.breaks);
        let (_, path) = found.broken.iter().find(|(n, _)| *n == m.breaks).unwrap();
        println!("== {}\n{}", m.name, story::tell(&search.scope, path, &m));
    }
}
