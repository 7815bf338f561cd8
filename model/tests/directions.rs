//! The modules of the model depend on each other in one direction.
//!
//! A parent may use its children. A child may name the types of its parents. No other cycle is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The top-level modules, each after those that it may use.
const ORDER: [&str; 16] = [
    "vocabulary",
    "state",
    "op",
    "description",
    "step",
    "policy",
    "ghost",
    "invariant",
    "coverage",
    "world",
    "liveness",
    "scope",
    "generate",
    "mutant",
    "explanation",
    "check",
];

/// For each module, such as `step::log`, the modules that its code names.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the entry can be read").path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let nested = folders.iter().flat_map(|folder| self::files(folder));
    files.into_iter().filter(|file| file.extension().is_some_and(|of| of == "rs")).chain(nested).collect()
}

fn uses() -> Uses {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |file: &Path| {
        let parts = file.strip_prefix(&src).expect("a file of src").with_extension("");
        parts.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>().join("::")
    };
    let files = files(&src);
    let modules: BTreeSet<String> =
        files.iter().map(|file| name(file)).filter(|name| name != "lib").collect();
    let mut uses = Uses::new();
    for file in files.iter().filter(|file| modules.contains(&name(file))) {
        let source = std::fs::read_to_string(file).expect("the file can be read");
        let code = source.lines().map(|line| line.split("//").next().unwrap_or_default());
        let code: String = code.collect::<Vec<_>>().join("\n");
        let named = code.split("crate::").skip(1).flat_map(|rest| named(rest, &modules));
        uses.insert(name(file), named.collect());
    }
    uses
}

/// The modules that a path after `crate::` names: itself, and each member of a list in braces.
fn named(rest: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let end = rest.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).unwrap_or(rest.len());
    let (path, list) = rest.split_at(end);
    let list = list.strip_prefix('{').and_then(|list| list.split('}').next()).unwrap_or_default();
    let paths = list.split(',').map(|member| format!("{path}{}", member.trim()));
    let module = |path: String| {
        let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        while !parts.is_empty() && !modules.contains(&parts.join("::")) {
            parts.pop();
        }
        (!parts.is_empty()).then(|| parts.join("::"))
    };
    paths.filter_map(module).collect()
}

#[test]
fn each_module_uses_only_modules_before_it() {
    let place = |module: &str| {
        let top = module.split("::").next().unwrap_or_default();
        ORDER.iter().position(|of| *of == top).unwrap_or_else(|| panic!("{module} has no place in the order"))
    };
    for (module, used) in uses() {
        for used in used {
            assert!(place(&used) <= place(&module), "{module} uses {used}, which comes after it");
        }
    }
}

#[test]
fn no_module_depends_on_itself_through_others() {
    let uses = uses();
    assert!(uses.values().flatten().count() > 100, "the uses were not found");
    let is_parent = |parent: &str, child: &str| child.starts_with(&format!("{parent}::"));
    for start in uses.keys() {
        let mut open = vec![start];
        let mut reached = BTreeSet::new();
        while let Some(module) = open.pop() {
            for used in uses[module].iter().filter(|used| !is_parent(used, module)) {
                assert!(used == module || used != start, "{start} depends on itself through {module}");
                if reached.insert(used) {
                    open.push(used);
                }
            }
        }
    }
}
