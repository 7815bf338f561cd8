//! Generates `docs/mutants.md`, the catalogue of mutants, with the shortest counterexample of each.

use fencepost_model::mutant;

#[path = "shared/counterexample.rs"]
mod counterexample;
#[path = "shared/docs.rs"]
mod docs;

fn catalogue() -> String {
    let mut text = "## Contents\n\n".to_owned();
    for mutant in mutant::all() {
        let (title, id) = (sentence(mutant.name), counterexample::id_of(mutant.breaks));
        text += &format!("- [{title}](#{}) ({id})\n", title.to_lowercase().replace(' ', "-"));
    }
    for mutant in mutant::all() {
        let (title, id) = (sentence(mutant.name), counterexample::id_of(mutant.breaks));
        let explanation = counterexample::explanation_of(&mutant);
        text += &format!(
            "\n## {title}\n\n{}\n\nBreaks {id}, `{}`. Shown in scope `{}`.\n\n```text\n{}\n```\n",
            mutant.rationale,
            mutant.breaks,
            mutant.scope,
            explanation.trim_end()
        );
    }
    text
}

/// A name as a sentence: its words with spaces between them.
fn sentence(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[test]
fn the_catalogue_of_mutants_is_up_to_date() {
    let catalogue = catalogue();
    assert!(catalogue.len() < 1 << 20, "the catalogue is too long to be read: {} bytes", catalogue.len());
    docs::parts_are("mutants.md", [("mutants".to_owned(), catalogue)]);
}
