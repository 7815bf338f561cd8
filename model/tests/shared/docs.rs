//! Documents with generated parts, each between `<!-- begin MARK -->` and `<!-- end MARK -->`.
//!
//! A test fails if a part differs from what it generates. With `FENCEPOST_BLESS=1` the test writes the part anew.
//!
//! Invariant: the text outside of the marks is never changed.
//! Does not depend on: what the parts say.

use std::path::Path;

/// Compares parts of a document, by their marks, with the generated text.
pub(crate) fn parts_are(name: &str, parts: impl IntoIterator<Item = (String, String)>) {
    let folders =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("docs").join(name));
    let path =
        folders.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("there is no docs/{name}"));
    let written = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("docs/{name}: {error}"));
    let generated = parts.into_iter().fold(written.clone(), |document, (mark, part)| {
        let (begin, end) = (format!("<!-- begin {mark} -->\n"), format!("<!-- end {mark} -->"));
        let Some((before, rest)) = document.split_once(&begin) else { panic!("docs/{name} has no {begin}") };
        let Some((_, after)) = rest.split_once(&end) else { panic!("docs/{name} has no {end}") };
        format!("{before}{begin}\n{}\n\n{end}{after}", part.trim_end())
    });
    if std::env::var("FENCEPOST_BLESS").is_ok_and(|bless| bless == "1") {
        std::fs::write(&path, &generated).expect("docs can be written");
        return;
    }
    let pairs = written.lines().zip(generated.lines());
    let same = pairs.take_while(|(is, ought)| is == ought).count();
    let (is, ought) = (written.lines().nth(same), generated.lines().nth(same));
    assert!(
        written == generated,
        "docs/{name} is not what is generated, from line {} on: it says {is:?} and not {ought:?}; run with \
         FENCEPOST_BLESS=1 and review the change",
        same + 1
    );
}
