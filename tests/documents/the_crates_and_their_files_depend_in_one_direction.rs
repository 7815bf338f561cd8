//! The crates depend on each other in one direction, the library stays small, and no file of a crate imports itself through
//! others.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may use of the others.
const MAY_USE: [(&str, &[&str]); 4] = [
    ("fencepost-model", &[]),
    ("fencepost", &["fencepost-model"]),
    ("fencepost-verify", &["fencepost", "fencepost-model"]),
    ("fencepost-cli", &["fencepost", "fencepost-model", "fencepost-verify"]),
];

/// How many crates an application gets with the library, at most, the library among them.
const CRATES_MAX: usize = 45;

/// What belongs to the checkers and to the program.
const FOREIGN: [&str; 5] = ["clap", "stateright", "proptest", "shuttle", "indicatif"];

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What cargo prints, without asking the network.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_crate_uses_only_those_before_it() {
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]))
            .unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(names, MAY_USE.iter().map(|(name, _)| *name).collect());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let (_, allowed) = MAY_USE.iter().find(|(of, _)| *of == name).unwrap();
        // Tests may use what comes after: the promises of the library are held with the checkers.
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"].is_null());
        let used: Vec<&str> = normal.map(|used| used["name"].as_str().unwrap()).collect();
        for used in used.iter().filter(|used| used.starts_with("fencepost")) {
            assert!(allowed.contains(used), "{name} uses {used}");
        }
    }
}

/// The crates that a package brings, itself among them, without development.
fn brings(package: &str) -> BTreeSet<String> {
    let tree =
        cargo(&["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    tree.lines().map(|line| line.split(" (").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_application_gets_a_small_library() {
    let crates = brings("fencepost");
    assert!(crates.len() <= CRATES_MAX, "{} crates: {crates:#?}", crates.len());
    assert!(crates.iter().any(|name| name.starts_with("rusqlite ")), "the crates were not found: {crates:?}");
    for foreign in FOREIGN {
        assert!(
            !crates.iter().any(|name| name.starts_with(&format!("{foreign} "))),
            "the library brings {foreign}"
        );
    }
    assert_eq!(brings("fencepost-model").len(), 1, "the model has a dependency");
}

fn files(folder: &Path, without: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !without.iter().any(|name| path.ends_with(name)) {
            found.extend(files(&path, without));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The paths of a `use` declaration, each member of a list in braces on its own.
fn paths(declaration: &str) -> Vec<String> {
    let Some((head, list)) = declaration.split_once('{') else { return vec![declaration.trim().to_owned()] };
    let list = list.trim().trim_end_matches('}');
    let (mut members, mut depth, mut member) = (Vec::new(), 0, String::new());
    for letter in list.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if letter == ',' && depth == 0 {
            members.push(std::mem::take(&mut member));
        } else {
            member.push(letter);
        }
    }
    members.push(member);
    let members = members.iter().map(|member| member.trim()).filter(|member| !member.is_empty());
    // A brace that was closed above belongs to the last member.
    let closed = |member: &str| {
        member.to_owned() + &"}".repeat(member.matches('{').count() - member.matches('}').count())
    };
    members.flat_map(|member| paths(&closed(member))).map(|path| head.trim().to_owned() + &path).collect()
}

/// For each file of a crate, such as `sqlite::wake`, the files that it imports from, but for those above and below it.
fn imports(root: &Path, without: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let module = |file: &PathBuf| {
        let path = file.strip_prefix(root).unwrap().with_extension("");
        path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("::")
    };
    let files = files(root, without);
    let modules: BTreeSet<String> = files.iter().map(module).collect();
    let mut imports = BTreeMap::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let own = module(file);
        let mut used = BTreeSet::new();
        for declaration in code.split("use crate::").skip(1) {
            for path in paths(declaration.split(';').next().unwrap_or_default()) {
                let mut parts: Vec<&str> = path.split("::").collect();
                while !parts.is_empty() && !modules.contains(&parts.join("::")) {
                    parts.pop();
                }
                let of = parts.join("::");
                let related = of.starts_with(&format!("{own}::")) || own.starts_with(&format!("{of}::"));
                if !of.is_empty() && of != own && !related {
                    used.insert(of);
                }
            }
        }
        imports.insert(own, used);
    }
    imports
}

/// Which rooms of the library each room may import from. The bus and its deliveries are one room in two files.
const ROOMS: [(&str, &[&str]); 13] = [
    ("audit", &["clock", "error", "record", "sqlite"]),
    ("bus", &["clock", "delivery", "error", "sqlite", "telemetry", "threads"]),
    ("check", &["error", "sqlite"]),
    ("clock", &[]),
    ("consumer", &["bus", "delivery", "error", "handlers", "panics", "telemetry", "threads"]),
    ("delivery", &["bus", "error"]),
    ("error", &[]),
    ("handlers", &["bus", "delivery", "error"]),
    ("panics", &[]),
    ("record", &["bus", "error", "sqlite", "telemetry"]),
    ("sqlite", &["error", "threads"]),
    ("telemetry", &[]),
    ("threads", &["panics"]),
];

#[test]
fn a_room_of_the_library_imports_only_from_the_rooms_that_are_named_for_it() {
    let room = |file: &str| file.split("::").next().unwrap_or_default().to_owned();
    let mut rooms = BTreeSet::new();
    for (file, used) in imports(&workspace().join("src"), &["verify", "cli"]) {
        let own = room(&file);
        // The root, the hidden module that exports the inside, and tests are not rooms.
        if ["lib", "internals"].contains(&own.as_str()) || file.ends_with("tests") {
            continue;
        }
        let (_, allowed) =
            ROOMS.iter().find(|(name, _)| *name == own).unwrap_or_else(|| panic!("no room {own}"));
        for used in used.iter().map(|used| room(used)).filter(|used| *used != own) {
            assert!(allowed.contains(&used.as_str()), "{file} imports from {used}");
        }
        rooms.insert(own);
    }
    assert_eq!(rooms.len(), ROOMS.len(), "a room is gone: {rooms:?}");
}

#[test]
fn no_file_imports_itself_through_others() {
    for (root, without) in [("src", &["verify", "cli"][..]), ("src/verify", &[]), ("src/cli", &[])] {
        let imports = imports(&workspace().join(root), without);
        assert!(imports.values().flatten().count() > 20, "the imports of {root} were not found");
        for start in imports.keys() {
            let (mut open, mut reached) = (vec![start], BTreeSet::new());
            while let Some(file) = open.pop() {
                for used in &imports[file] {
                    assert!(used != start, "{root}: {start} imports itself through {file}");
                    if reached.insert(used) {
                        open.push(used);
                    }
                }
            }
        }
    }
}

/// What the implementations must not name: the rules that they are checked against. Of the store, the bus in memory is
/// the model itself behind the methods of the bus.
const RULES: [&str; 4] =
    ["fencepost_model::step", "fencepost_model::invariant", "fencepost_model::apply", "policy::decide"];

#[test]
fn no_store_and_no_run_loop_names_the_rules_that_it_is_checked_against() {
    let mut looked_at = 0;
    for room in ["sqlite", "bus", "consumer", "delivery", "handlers", "threads"] {
        let folder = workspace().join("src").join(room);
        let nested = if folder.is_dir() { files(&folder, &[]) } else { Vec::new() };
        for file in nested.into_iter().chain([folder.with_extension("rs")]) {
            if file.ends_with("bus/memory.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            for rule in RULES {
                assert!(!code.contains(rule), "{} names {rule}", file.display());
            }
            let lists = code.split("fencepost_model::{").skip(1).filter_map(|list| list.split('}').next());
            assert!(lists.into_iter().all(|list| !list.contains("step") && !list.contains("invariant")));
            looked_at += 1;
        }
    }
    assert!(looked_at > 40, "{looked_at} files");
}

#[test]
fn a_list_in_braces_is_read_member_by_member() {
    assert_eq!(paths("a::{b, c::{d, e}, f}"), ["a::b", "a::c::d", "a::c::e", "a::f"]);
    assert_eq!(paths("a::b"), ["a::b"]);
}
