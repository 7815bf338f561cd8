//! Metadata as it stands in a column: any text, and any pairs.
//!
//! Invariant: what is read is written again as the same text, and what is written is read as the same pairs: each list
//! of pairs has one text, so that a damaged one is never guessed at.

use std::sync::Arc;

use super::bytes::{ByteSource, ByteWriter};
use fencepost::internals::sqlite::{metadata_pairs, metadata_text};

/// Runs on bytes: after a zero they are the text, after anything else the keys and values.
pub(super) fn run(data: &[u8]) {
    let mut bytes = ByteSource(data);
    if bytes.u8() == 0 {
        let Ok(text) = std::str::from_utf8(bytes.0) else { return };
        if let Some(pairs) = metadata_pairs(text) {
            assert_eq!(metadata_text(&borrowed(&pairs)), text, "read, and written otherwise");
        }
        return;
    }
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    while !bytes.is_empty() {
        let mut text = || Arc::from(String::from_utf8_lossy(bytes.piece()));
        pairs.push((text(), text()));
    }
    let text = metadata_text(&borrowed(&pairs));
    assert_eq!(metadata_pairs(&text).as_ref(), Some(&pairs), "{text:?}");
}

fn borrowed(pairs: &[(Arc<str>, Arc<str>)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect()
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = [
        ("none", "[]"),
        ("one-pair", r#"[["traceparent","00-1"]]"#),
        ("escaped", r#"[["a\n","\u0001\"\\"],["","/"]]"#),
        ("with-a-space", r#"[["a", "b"]]"#),
        ("three-in-a-pair", r#"[["a","b","c"]]"#),
        ("half-a-surrogate", r#"[["\ud800","b"]]"#),
        ("deep", "[[[[[[[[[[[[[[[["),
        ("an-object", r#"{"a":"b"}"#),
        ("escaped-without-need", r#"[["\u0061","b"]]"#),
    ];
    let mut seeds: Vec<_> =
        texts.iter().map(|(name, text)| ((*name).to_owned(), [&[0], text.as_bytes()].concat())).collect();
    let pairs = ByteWriter::default().u8(1).piece(b"key").piece("v\u{7}\u{2028}\"\\".as_bytes());
    seeds.push(("pairs".to_owned(), pairs.piece(b"").piece(&[0xff]).0));
    seeds
}
