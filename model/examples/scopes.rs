//! Explores every named scope and prints its size.
use fencepost_model::{check::Search, coverage, scope, world::Contract};
use std::sync::Arc;
fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let total = coverage::Tally::new();
    let mut sum = (0, 0);
    for scope in scope::all() {
        if !only.is_empty() && !only.iter().any(|o| o == scope.name) {
            continue;
        }
        let name = scope.name;
        let start = std::time::Instant::now();
        let search = Search::new(scope, Arc::new(Contract));
        let found = search.run(2);
        println!(
            "{name:20} states {:8} transitions {:9} depth {:3} {:6.1?}",
            found.states,
            found.transitions,
            found.depth,
            start.elapsed()
        );
        sum.0 += found.states;
        sum.1 += found.transitions;
        for (name, path) in found.broken.iter().take(3) {
            println!("  BROKEN {name} ({} moves)", path.len());
        }
        if !found.broken.is_empty() {
            let short = search.shortest();
            for (name, path) in short.broken.iter().take(2) {
                println!("  shortest {name}");
                let mut world = search.scope.world();
                for m in path {
                    println!("     {m:?}");
                    world.perform(m, &Contract, &coverage::Tally::new());
                }
                println!("     {:?}", world.broken);
                println!("     {:#?}", world.state);
            }
        }
        total.add(&search.tally);
    }
    println!("{sum:?}");
    for (i, g) in fencepost_model::invariant::GUARANTEES.iter().enumerate() {
        println!("{:4} {:10} {}", g.id, total.times_checked(i), g.name);
    }
    if only.is_empty() {
        let cells = total.cells();
        let mut text = String::new();
        for (a, b, c) in cells.keys() {
            text += &format!("{a} | {b} | {c}\n");
        }
        std::fs::write("/tmp/cells.txt", text).unwrap();
        println!("{} cells", cells.len());
    }
}
