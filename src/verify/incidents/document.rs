//! The incidents as a document: the text between the marks of `docs/incidents.md`.
//!
//! Invariant: the same incidents give the same text.
//! Does not depend on: how a trace is found.

use crate::incidents::explain::{NotShown, explain};
use crate::incidents::{GROUPS, Incident, ShownBy};
use crate::pool;

/// The generated part of the document, with the trace of each incident, found now.
///
/// # Errors
/// Each incident that cannot be shown, by its title.
pub fn document(threads: usize) -> Result<String, Vec<(&'static str, NotShown)>> {
    let incidents: Vec<&Incident> = super::all().collect();
    let explained = pool::map(threads, &incidents, |_| {}, |incident| explain(incident));
    let mut traces = Vec::new();
    let mut missing = Vec::new();
    for (incident, explained) in incidents.iter().zip(explained) {
        match explained {
            Ok(trace) => traces.push(trace),
            Err(why) => missing.push((incident.title, why)),
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let mut traces = traces.into_iter();
    let mut text = contents();
    for group in GROUPS {
        text += &format!("\n## {}\n\n{}\n", group.title, wrapped(group.about));
        for (incident, trace) in group.incidents.iter().zip(&mut traces) {
            text += &section(incident, &trace);
        }
    }
    Ok(text)
}

fn contents() -> String {
    let mut text = "## Contents\n".to_owned();
    for group in GROUPS {
        text +=
            &format!("\n{}\n\n| what went wrong | where | caught by |\n| --- | --- | --- |\n", group.title);
        for incident in group.incidents {
            let Incident { title, project, .. } = incident;
            text += &format!("| [{title}](#{}) | {project} | {} |\n", anchor(title), caught(incident));
        }
    }
    text
}

fn section(incident: &Incident, trace: &str) -> String {
    let Incident { title, project, thread, url, explanation, .. } = incident;
    format!(
        "\n### {title}\n\n{}\n\n{project}: [{}]({url})\n\n{}\n\n```text\n{}\n```\n",
        wrapped(explanation),
        thread.replace('[', "\\[").replace(']', "\\]"),
        shown(incident),
        trace.trim_end()
    )
}

/// How long a line of prose is at most.
const LINE_CHARS_MAX: usize = 118;

/// A text in lines.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + word.chars().count() > LINE_CHARS_MAX {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// How it is shown, and what catches it.
fn shown(incident: &Incident) -> String {
    let by = caught(incident);
    match incident.shown {
        ShownBy::Model(name) => {
            let anchor = name.replace('_', "-");
            format!(
                "Shown by the mutant [`{name}`](mutants.md#{anchor}), caught by {by}, `{}`:",
                incident.breaks
            )
        }
        ShownBy::Loop(mutant) => {
            format!("Shown by a run loop with the mutant `{mutant:?}`, caught by {by}:")
        }
        ShownBy::Threads(mutant) => {
            format!("Shown by the threads of a bus with the mutant `{mutant:?}`, caught by {by}:")
        }
        ShownBy::Clients(name) => {
            format!("Shown by clients of which it is true that {name}, caught by {by}:")
        }
    }
}

/// What catches it, with a link.
fn caught(incident: &Incident) -> String {
    let breaks = incident.breaks;
    match (incident.guarantee(), incident.shown) {
        (Some(id), _) => format!("[{id}](guarantees.md#{})", heading(id)),
        (None, ShownBy::Loop(_)) => format!("[the loop's rule](verification.md#above-the-store) `{breaks}`"),
        (None, ShownBy::Threads(_)) => {
            format!("[the threads' promise](verification.md#the-threads-of-a-bus) `{breaks}`")
        }
        (None, _) => format!("[the schedules' promise](verification.md#schedules) `{breaks}`"),
    }
}

/// Where the guarantee of this number stands in `docs/guarantees.md`.
fn heading(id: &str) -> String {
    use fencepost_model::invariant::GUARANTEES;
    use fencepost_model::liveness::LIVENESS;
    let safety = GUARANTEES.iter().map(|guarantee| (guarantee.id, guarantee.name));
    let all = safety.chain(LIVENESS.iter().map(|property| (property.id, property.name)));
    let names: Vec<&str> = all.filter(|(of, _)| *of == id).map(|(_, name)| name).collect();
    anchor(&format!("{id} {}", names.join(", ")))
}

/// The anchor that a heading gets: small letters, digits, underlines, and a hyphen for each blank.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "_- ".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
