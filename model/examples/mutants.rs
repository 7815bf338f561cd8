//! Runs every mutant.
use fencepost_model::{check::Search, mutant, scope};
use std::sync::Arc;
fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    for m in mutant::all() {
        if !only.is_empty() && !only.iter().any(|o| o == m.name) {
            continue;
        }
        let start = std::time::Instant::now();
        let Some(scope) = scope::by_name(m.scope) else {
            println!("{} NO SCOPE {}", m.name, m.scope);
            continue;
        };
        let search = Search::new(scope, Arc::new(m));
        let found = search.shortest_to(m.breaks);
        let hit = found.broken.iter().find(|(n, _)| *n == m.breaks);
        println!("{:50} {:?} {:?} {:.1?}", m.name, hit.map(|(_, p)| p.len()), found.states, start.elapsed());
        if hit.is_none() {
            println!(
                "    SURVIVED {}: others {:?}",
                m.breaks,
                found.broken.iter().map(|(n, p)| (n, p.len())).collect::<Vec<_>>()
            );
        }
    }
}
