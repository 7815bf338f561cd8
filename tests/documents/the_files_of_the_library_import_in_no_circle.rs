//! The files of the library import each other in no circle, so that each can be read with the files below it alone.
//!
//! An import is a `use` or a path in the code. A parent that declares or re-exports a child does not import it; a path through
//! a re-export leads to the file that declares the item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A file of the crate, as the path of its module.
type Module = Vec<String>;

/// The packages that stand in folders of `src` and are no part of the library.
const PACKAGES: [&str; 3] = ["cli", "postgres", "verify"];

/// The text of each module under a folder.
fn read(folder: &Path, module: &Module, to: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let child: Module = module.iter().cloned().chain([name.clone()]).collect();
        if path.is_dir() && !(module.is_empty() && PACKAGES.contains(&name.as_str())) {
            read(&path, &child, to);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = if child == ["lib"] { Module::new() } else { child };
            to.insert(module, fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// The code without comments, texts, and the tests at its end.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else if next == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else {
            code.push(next);
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    let end = code.find("#[cfg(test)]\nmod tests").unwrap_or(code.len());
    code.truncate(end);
    code
}

/// The paths of a tree of imports: `a::{b, c::d}` has two.
fn paths(tree: &str) -> Vec<Module> {
    let split = |text: &str| -> Module {
        let text = text.split(" as ").next().unwrap_or_default();
        text.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let Some((head, rest)) = tree.split_once('{') else { return vec![split(tree)] };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut found, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in body.char_indices().chain([(body.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = body[begin..at].trim();
                if !part.is_empty() {
                    let all = paths(part).into_iter();
                    found.extend(all.map(|path| split(head).into_iter().chain(path).collect()));
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The imports of a file: whether each is re-exported, and its path.
fn imports(code: &str) -> Vec<(bool, Module)> {
    let (mut found, mut rest) = (Vec::new(), String::new());
    for statement in code.split_inclusive(';') {
        let begin = statement.rfind("use ").filter(|at| {
            let before = statement[..*at].trim_end_matches(' ');
            before.is_empty() || before.ends_with(['\n', '}', ')']) || before.ends_with("pub")
        });
        match begin {
            Some(at) => {
                let before = statement[..at].trim_end();
                let public = before.ends_with("pub") || (before.ends_with(')') && before.contains("pub("));
                let public = public && before.rsplit('\n').next().is_some_and(|line| line.contains("pub"));
                let tree = statement[at + 4..].trim_end_matches(';');
                found.extend(paths(tree).into_iter().map(|path| (public, path)));
                rest.push_str(&statement[..at]);
            }
            None => rest.push_str(statement),
        }
    }
    let words = rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    found.extend(words.filter(|word| word.contains("::")).map(|word| (false, paths(word).remove(0))));
    found
}

/// For each module the modules that it imports.
fn graph(texts: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let imports: BTreeMap<&Module, Vec<(bool, Module)>> =
        texts.iter().map(|(module, text)| (module, imports(&code(text)))).collect();
    let mut graph = BTreeMap::new();
    for (module, its) in &imports {
        let mut to = BTreeSet::new();
        for (public, path) in its {
            let Some(found) = resolve(module, path, &imports, 8) else { continue };
            let own_child = *public && found.starts_with(module);
            if found != **module && !own_child {
                to.insert(found);
            }
        }
        graph.insert((*module).clone(), to);
    }
    graph
}

/// The module that a path leads to, through re-exports.
fn resolve(
    from: &Module,
    path: &Module,
    imports: &BTreeMap<&Module, Vec<(bool, Module)>>,
    hops: usize,
) -> Option<Module> {
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (Module::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => (from[..from.len().checked_sub(1)?].to_vec(), &path[1..]),
        child if imports.contains_key(&[&from[..], &[child.to_owned()]].concat()) => {
            (from.clone(), &path[..])
        }
        _ => return None,
    };
    while let Some(next) = rest.first() {
        let child = [&at[..], std::slice::from_ref(next)].concat();
        if imports.contains_key(&child) {
            (at, rest) = (child, &rest[1..]);
            continue;
        }
        let exported = imports.get(&at)?.iter().find(|(public, path)| *public && path.last() == Some(next));
        if let (Some((_, path)), true) = (exported, hops > 0)
            && let Some(found) = resolve(&at, path, imports, hops - 1)
        {
            return Some(found);
        }
        break;
    }
    Some(at)
}

/// The modules that lead back to themselves.
fn in_circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let leads_back = |module: &&Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*module]);
        while let Some(at) = next.pop() {
            for to in graph.get(at).into_iter().flatten() {
                if to == *module {
                    return true;
                }
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        false
    };
    graph.keys().filter(leads_back).map(|module| module.join("/")).collect()
}

#[test]
fn no_file_leads_back_to_itself() {
    let mut texts = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &Module::new(), &mut texts);
    let graph = graph(&texts);
    let edges: usize = graph.values().map(BTreeSet::len).sum();
    assert!(graph.len() > 50 && edges > 200, "{} files import {edges}", graph.len());
    let module = |path: &str| -> Module { path.split('/').map(ToOwned::to_owned).collect() };
    assert!(graph[&module("consumer")].contains(&module("consumer/queue")), "by a path in the code");
    assert!(graph[&module("bus/erased")].contains(&module("sqlite/batch")), "through a re-export");
    assert_eq!(in_circles(&graph), [""; 0]);
}

#[test]
fn a_circle_is_found() {
    let texts = [
        ("", "pub mod a;\nmod b;\nmod c;\npub use b::B;\n"),
        ("a", "use crate::{B, c as other};\n// use crate::a;\n"),
        ("b", "pub(crate) struct B;\nfn f() {\n    crate::c::g();\n}\n"),
        ("c", "use super::a::A;\nconst TEXT: &str = \"crate::b\";\n"),
    ];
    let mut texts: BTreeMap<Module, String> = texts
        .into_iter()
        .map(|(path, text)| {
            (path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(), text.into())
        })
        .collect();
    assert_eq!(in_circles(&graph(&texts)), ["a", "b", "c"]);
    texts.insert(vec!["c".to_owned()], "use std::fmt;\n".to_owned());
    assert_eq!(in_circles(&graph(&texts)), [""; 0]);
}
