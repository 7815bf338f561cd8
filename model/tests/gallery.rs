//! The stories in `docs/gallery.md` are generated from the mutants, and are as they are generated.

use fencepost_model::mutant;

#[path = "shared/docs.rs"]
mod docs;
#[path = "shared/story.rs"]
mod story;

fn gallery() -> String {
    let mut text = "## Contents\n\n".to_owned();
    for mutant in mutant::all() {
        let (title, id) = (sentence(mutant.name), story::id_of(mutant.breaks));
        text += &format!("- [{title}](#{}) ({id})\n", title.to_lowercase().replace(' ', "-"));
    }
    for mutant in mutant::all() {
        let (title, id) = (sentence(mutant.name), story::id_of(mutant.breaks));
        let story = story::story_of(&mutant);
        text += &format!(
            "\n## {title}\n\n{}\n\nBreaks {id}, `{}`. Found in scope `{}`.\n\n```text\n{}\n```\n",
            mutant.story,
            mutant.breaks,
            mutant.scope,
            story.trim_end()
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
fn the_gallery_is_as_it_is_generated() {
    let gallery = gallery();
    assert!(gallery.len() < 1 << 20, "the gallery is too long to be read: {} bytes", gallery.len());
    docs::parts_are("gallery.md", [("mutants".to_owned(), gallery)]);
}
