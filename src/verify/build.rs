//! Makes a copy of the bus that contains every mutant, so that the tests can run each mutant without a rebuild.
//!
//! Each file in `mutants/` is a patch against the library in `src/`. Its first paragraph says what the mutant does wrong and
//! becomes the mutant's documentation. The rest is a unified diff: `git apply src/verify/mutants/threads/answers_slip.patch`
//! applies one by hand. This script merges all patches into one copy of the modules that they change. Wherever a patch
//! changes something, the copy asks `mutated::on(..)` whether that mutant is on. The harnesses are copied too, because they
//! use the types of the bus.
//!
//! A published package does not contain the source of the library. There the script writes only the list of mutants, and
//! the report says that these controls were skipped.
//!
//! Invariant: no file of the library is changed, and the library contains no mutant.
//! Does not depend on: what a mutant breaks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What is copied of the library: every module that a mutant changes, and the modules that use their types.
const LIBRARY: &[&str] =
    &["bus", "consumer", "delivery", "handlers", "panics", "telemetry", "threads", "sqlite/wake"];

/// What is copied of this crate: the harnesses that drive those modules.
const HARNESSES: &[&str] = &["run_loop_harness", "thread_harness"];

/// The kinds of mutants: a folder of patches, and the type that names them.
const KINDS: &[(&str, &str, &str)] = &[
    ("threads", "ThreadMutant", "A mutant of the threads of a bus."),
    ("run_loop", "RunLoopMutant", "A mutant of the run loop."),
];

struct Patch {
    /// The kind and the file's name, such as `threads/answers_slip`.
    name: String,
    about: String,
    diff: String,
}

/// A change of some lines of a file by one mutant. Without lines to remove it is an insertion.
struct PatchChange {
    at: usize,
    removes: usize,
    adds: Vec<String>,
    mutant: String,
}

fn main() {
    println!("cargo::rustc-check-cfg=cfg(fencepost_source)");
    println!("cargo::rerun-if-changed=mutants");
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let patches: Vec<_> = KINDS.iter().map(|(kind, ..)| patches(&here, kind)).collect();
    fs::write(out.join("mutants.rs"), enumerations(&patches)).expect("OUT_DIR can be written");
    let library = here.join("..");
    if !library.join("bus.rs").exists() {
        return;
    }
    println!("cargo::rustc-cfg=fencepost_source");
    let all: Vec<Patch> = patches.into_iter().flatten().collect();
    let to = out.join("mutated");
    let _ = fs::remove_dir_all(&to);
    copy_library(&library, &to.join("product"), &all);
    for harness in HARNESSES {
        for (path, text) in sources(&here, harness) {
            write(&to.join(path), &of_harness(&text));
        }
    }
    write(&to.join("product.rs"), &root(&library));
    // The lints of the copied files are checked in the originals.
    let allow = "#[allow(warnings, unused, missing_docs, clippy::all, clippy::allow_attributes, clippy::unwrap_used)]";
    let modules = ["product"].iter().chain(HARNESSES).map(|module| format!("{allow}\npub mod {module};\n"));
    write(&to.join("modules.rs"), &modules.collect::<String>());
}

/// The patches of a kind, by name.
fn patches(here: &Path, kind: &str) -> Vec<Patch> {
    let mut paths: Vec<PathBuf> = fs::read_dir(here.join("mutants").join(kind))
        .expect("patches")
        .map(|file| file.expect("a patch").path())
        .collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a patch is text");
        let (about, diff) = text.split_once("\n\n").expect("a patch has a first paragraph, and then a diff");
        let stem = path.file_stem().expect("a name").to_string_lossy();
        Patch { name: format!("{kind}/{stem}"), about: about.to_owned(), diff: diff.to_owned() }
    };
    paths.iter().map(read).collect()
}

/// The types that name the mutants.
fn enumerations(patches: &[Vec<Patch>]) -> String {
    let mut text = String::new();
    for ((_, name, about), patches) in KINDS.iter().zip(patches) {
        let variants: Vec<String> = patches.iter().map(|patch| camel(&patch.name)).collect();
        let _ =
            writeln!(text, "/// {about}\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum {name} {{");
        for (patch, variant) in patches.iter().zip(&variants) {
            let _ = writeln!(text, "    /// {}\n    {variant},", patch.about.replace('\n', " "));
        }
        let _ = writeln!(
            text,
            "}}\n\nimpl {name} {{\n    /// All mutants.\n    pub const ALL: &'static [Self] = &["
        );
        for variant in &variants {
            let _ = writeln!(text, "        Self::{variant},");
        }
        let _ = writeln!(
            text,
            "    ];\n\n    pub(crate) const fn patch(self) -> &'static str {{\n        match self {{"
        );
        for (patch, variant) in patches.iter().zip(&variants) {
            let _ = writeln!(text, "            Self::{variant} => {:?},", patch.name);
        }
        text.push_str("        }\n    }\n}\n\n");
    }
    text
}

/// `threads/answers_slip` as `AnswersSlip`.
fn camel(name: &str) -> String {
    let words = name.rsplit('/').next().unwrap_or_default().split('_');
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// The files of a module and of its submodules, by their paths from `root`.
fn sources(root: &Path, module: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![format!("{module}.rs"), module.to_owned()];
    while let Some(path) = left.pop() {
        let full = root.join(&path);
        if full.is_dir() {
            println!("cargo::rerun-if-changed={}", full.display());
            for entry in fs::read_dir(&full).expect("a folder of sources") {
                left.push(format!("{path}/{}", entry.expect("a source").file_name().to_string_lossy()));
            }
        } else if full.exists() {
            println!("cargo::rerun-if-changed={}", full.display());
            found.insert(path, fs::read_to_string(full).expect("a source is text"));
        }
    }
    found
}

fn copy_library(library: &Path, to: &Path, patches: &[Patch]) {
    let mut all = BTreeMap::new();
    for module in LIBRARY {
        all.extend(sources(library, module));
    }
    let mut changes: BTreeMap<&str, Vec<PatchChange>> = BTreeMap::new();
    let mut misfits = Vec::new();
    for patch in patches {
        match parse(patch, &all) {
            Ok(parsed) => {
                parsed.into_iter().for_each(|(file, change)| changes.entry(file).or_default().push(change))
            }
            Err(why) => misfits.push(why),
        }
    }
    assert!(
        misfits.is_empty(),
        "these mutants no longer fit the code that they change; update their patches:\n\n{}",
        misfits.join("\n\n")
    );
    for (path, text) in &all {
        let mutated = merge(path, text, changes.remove(path.as_str()).unwrap_or_default());
        let own = mutated.replace("crate::", "crate::mutated::product::").replace("product::mutated::", "");
        // The features of the library are not those of this crate.
        let own = own.replace("feature = \"unstable-internals\"", "true");
        let own = own.replace("feature = \"record\"", "false").replace("feature = \"metrics\"", "false");
        write(&to.join(path), &own);
    }
}

/// The text of a harness that drives the copy.
fn of_harness(text: &str) -> String {
    let mut text = text.replace("fencepost::", "crate::mutated::product::");
    for harness in HARNESSES {
        text = text.replace(&format!("crate::{harness}::"), &format!("crate::mutated::{harness}::"));
    }
    text
}

/// The root of the copy: the library's own root, with the copied modules in place of the library's.
fn root(library: &Path) -> String {
    let lib = fs::read_to_string(library.join("lib.rs")).expect("the library has a root");
    println!("cargo::rerun-if-changed={}", library.join("lib.rs").display());
    let copied = |line: &&str| {
        let path = line.strip_prefix("pub use ").unwrap_or_default();
        LIBRARY.iter().any(|module| path.starts_with(&format!("{module}::")))
    };
    let mut text = String::from("pub use ::fencepost::*;\n");
    for line in lib.lines().filter(copied) {
        let _ = writeln!(text, "{line}");
    }
    let mut inside = String::new();
    for module in LIBRARY.iter().filter(|module| !module.contains('/')) {
        let _ = writeln!(text, "pub mod {module};");
        let _ = writeln!(inside, "    pub mod {module} {{ pub use super::super::{module}::*; }}");
    }
    text += "pub mod sqlite {\n    pub use ::fencepost::internals::sqlite::*;\n    pub mod wake;\n";
    text += "    pub use wake::{Look, Watcher, Way};\n}\n";
    let _ = writeln!(text, "pub mod internals {{\n    pub use ::fencepost::internals::*;\n{inside}");
    text += "    pub mod sqlite { pub use super::super::sqlite::*; }\n}\n";
    text
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("OUT_DIR can be written");
    fs::write(path, text).expect("OUT_DIR can be written");
}

/// The changes of a patch, by file. The error says where the patch no longer fits.
fn parse<'a>(
    patch: &Patch,
    all: &'a BTreeMap<String, String>,
) -> Result<Vec<(&'a str, PatchChange)>, String> {
    let mut changes = Vec::new();
    let mut file = None;
    let mut hunk: Vec<&str> = Vec::new();
    for line in patch.diff.lines().chain(["@@"]) {
        if line.starts_with("--- ") || line.starts_with("@@") || line.starts_with("+++ ") {
            if let Some((path, text)) = file
                && !hunk.is_empty()
            {
                changes.extend(place(patch, path, text, &hunk)?.into_iter().map(|change| (path, change)));
            }
            hunk.clear();
            if let Some(path) = line.strip_prefix("+++ b/src/") {
                let (path, text) = all.get_key_value(path).ok_or_else(|| {
                    format!("src/verify/mutants/{}.patch: src/{path} is not copied (see LIBRARY)", patch.name)
                })?;
                file = Some((path.as_str(), text.as_str()));
            }
        } else {
            // An editor may have removed the space that marks an empty line of context.
            hunk.push(if line.is_empty() { " " } else { line });
        }
    }
    Ok(changes)
}

/// Finds a hunk in its file by its text, and splits it into changes. Comments may differ.
fn place(patch: &Patch, path: &str, text: &str, hunk: &[&str]) -> Result<Vec<PatchChange>, String> {
    let is_code = |line: &str| !line.starts_with("//");
    let hunk: Vec<(&str, &str)> = hunk.iter().map(|line| (&line[..1], line[1..].trim())).collect();
    let hunk: Vec<(&str, &str)> =
        hunk.into_iter().filter(|(kind, line)| *kind == "+" || is_code(line)).collect();
    let before: Vec<&str> = hunk.iter().filter(|(kind, _)| *kind != "+").map(|(_, line)| *line).collect();
    let (places, lines): (Vec<usize>, Vec<&str>) =
        text.lines().map(str::trim).enumerate().filter(|(_, line)| is_code(line)).unzip();
    let found: Vec<usize> = (0..lines.len()).filter(|at| lines[*at..].starts_with(&before)).collect();
    let [start] = found[..] else {
        let after: Vec<&str> = hunk.iter().filter(|(kind, _)| *kind != "-").map(|(_, line)| *line).collect();
        if found.is_empty() && (0..lines.len()).filter(|at| lines[*at..].starts_with(&after)).count() == 1 {
            println!(
                "cargo::warning=the library has the mutant {} in it: its patch was applied by hand",
                patch.name
            );
            return Ok(Vec::new());
        }
        let name = &patch.name;
        let (count, lines): (usize, Vec<String>) =
            (found.len(), hunk.iter().map(|(kind, line)| format!("{kind} {line}")).collect());
        let lines = lines.join("\n");
        return Err(format!(
            "src/verify/mutants/{name}.patch: the lines that it changes occur in src/{path} {count} times, not once:\n{lines}"
        ));
    };
    let (mut changes, mut at, mut open): (Vec<PatchChange>, usize, bool) = (Vec::new(), start, false);
    for (kind, line) in hunk {
        if kind == " " {
            (open, at) = (false, at + 1);
            continue;
        }
        if !open {
            changes.push(PatchChange {
                at: places[at],
                removes: 0,
                adds: Vec::new(),
                mutant: patch.name.clone(),
            });
            open = true;
        }
        let change = changes.last_mut().expect("one is open");
        if kind == "-" {
            change.removes = places[at] + 1 - change.at;
            at += 1;
        } else {
            change.adds.push(line.to_owned());
        }
    }
    Ok(changes)
}

/// A file with all changes in it. Each change applies only while its mutant is on.
fn merge(path: &str, text: &str, mut changes: Vec<PatchChange>) -> String {
    changes.sort_by_key(|change| (change.at, change.removes));
    let lines: Vec<&str> = text.lines().collect();
    let (mut merged, mut at) = (String::new(), 0);
    let mut changes = changes.into_iter().peekable();
    while let Some(first) = changes.next() {
        assert!(
            first.at >= at,
            "the mutant {} changes lines of src/{path} that another one changes in part",
            first.mutant
        );
        for line in &lines[at..first.at] {
            let _ = writeln!(merged, "{line}");
        }
        let (start, removes) = (first.at, first.removes);
        let mut choices = vec![first];
        while let Some(next) = changes.next_if(|next| next.at == start && next.removes == removes) {
            choices.push(next);
        }
        let original: Vec<&str> = lines[start..start + removes].iter().map(|line| line.trim()).collect();
        let _ = writeln!(merged, "{}", choose(&original.join("\n"), &choices));
        at = start + removes;
    }
    for line in &lines[at..] {
        let _ = writeln!(merged, "{line}");
    }
    merged
}

/// The code of one place that mutants change: it chooses by the mutant that is on.
fn choose(original: &str, choices: &[PatchChange]) -> String {
    let on = |change: &PatchChange| format!("crate::mutated::on({:?})", change.mutant);
    let adds: Vec<String> = choices.iter().map(|change| change.adds.join("\n")).collect();
    if original.is_empty() {
        let inserted = choices.iter().zip(&adds).map(|(change, text)| match as_let(text) {
            Some((pattern, value)) => format!("let {pattern} = {}.then(|| {value});", on(change)),
            None => format!("if {} {{\n{text}\n}}", on(change)),
        });
        return inserted.collect::<Vec<_>>().join("\n");
    }
    let value = |original: &str, values: &[&str]| {
        let chain = choices
            .iter()
            .zip(values)
            .map(|(change, value)| format!("if {} {{ {value} }} else ", on(change)));
        format!("{}{{ {original} }}", chain.collect::<String>())
    };
    /// Splits a line: what stays before, what is chosen, and what stays after.
    type LineSplit = fn(&str) -> Option<(&str, &str, &str)>;
    let ways: [LineSplit; 4] = [of_let, of_condition, of_guard, of_arm];
    for way in ways {
        let Some((head, own, tail)) = way(original) else { continue };
        let others: Vec<_> = adds.iter().filter_map(|text| way(text)).collect();
        let muts = others.iter().all(|(other, ..)| *other == head.replace("let ", "let mut "));
        if others.len() == choices.len() && others.iter().all(|(other, ..)| *other == head || muts) {
            let values: Vec<&str> = others.iter().map(|(_, value, _)| *value).collect();
            return format!("{}{}{tail}", others[0].0, value(own, &values));
        }
    }
    value(original, &adds.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The pattern and the value, if the text is a single `let`.
fn as_let(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("let ")?
        .strip_suffix(';')?
        .split_once(" = ")
        .filter(|(_, value)| !value.contains(";\n"))
}

fn of_let(text: &str) -> Option<(&str, &str, &str)> {
    as_let(text)?;
    let value = text.find(" = ")? + 3;
    Some((&text[..value], &text[value..text.len() - 1], ";"))
}

/// `if CONDITION {`, or the same with `while` or `match`.
fn of_condition(text: &str) -> Option<(&str, &str, &str)> {
    let head = ["if ", "while ", "match "]
        .into_iter()
        .find(|head| text.starts_with(head) && !text.starts_with("if let "))?;
    let value = text.strip_prefix(head)?.strip_suffix(" {").filter(|value| !value.contains('\n'))?;
    Some((head, value, " {"))
}

/// `PATTERN if GUARD => {`.
fn of_guard(text: &str) -> Option<(&str, &str, &str)> {
    let arm = text.strip_suffix(" => {").filter(|arm| !arm.contains('\n'))?;
    let guard = arm.find(" if ")? + 4;
    Some((&text[..guard], &text[guard..arm.len()], " => {"))
}

/// `PATTERN => VALUE,`.
fn of_arm(text: &str) -> Option<(&str, &str, &str)> {
    let value = text.find(" => ")? + 4;
    let text_of = text[value..].strip_suffix(',').unwrap_or(&text[value..]);
    (!text_of.ends_with('{')).then(|| (&text[..value], text_of, ","))
}
