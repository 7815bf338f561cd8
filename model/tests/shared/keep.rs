//! Snapshots of text, kept beside the tests so that a reviewer sees a change.

/// Compares a text with the snapshot of this name in this folder of the tests.
///
/// # Panics
/// If they differ.
pub(crate) fn keep(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
