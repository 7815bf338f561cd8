//! What the read-only statements of a store must answer, computed from the model's state: totals, records, due times,
//! leases.
//!
//! Does not depend on: the SQL.

use fencepost_model::op::Lease;
use fencepost_model::state::{Body, Place, State};
use fencepost_model::vocabulary::{Group, Name, Names, RawValue, RecordId, Seq, Timestamp, Token};

use fencepost::error::Result;
use fencepost::internals::sqlite::{
    Listed, RecordFilter, Store, lease_is_current, next_due_commands, next_due_group, overview, overview_of,
    record, records, snapshot, snapshot_by,
};

/// When the first command of these names is due ([`next_due_commands`]).
pub fn due_commands(state: &State, names: &Names) -> Option<Timestamp> {
    if !state.unreadable.is_empty() {
        return Some(Timestamp::ZERO);
    }
    let wanted =
        state.queue.values().filter(|command| command.body.name().is_some_and(|name| names.contains(name)));
    wanted.map(|command| command.due_at).min()
}

/// When a group has something to do by the clock alone ([`next_due_group`]).
pub fn due_group(state: &State, group: &Group, now: Timestamp) -> Option<Timestamp> {
    let cursor = state.groups.get(group)?;
    if cursor.due_at > now {
        return Some(cursor.due_at);
    }
    cursor.entries.values().map(|entry| entry.due_at).min()
}

/// The current token of each lease that there is, and of some that there are not: a command's or a group's.
pub fn leases(state: &State) -> Vec<(Lease, Option<Token>)> {
    let commands = state.queue.keys().chain(state.unreadable.keys()).map(|seq| {
        let lease = state.queue.get(seq).and_then(|command| command.lease);
        (Lease::Command(*seq), lease.map(|lease| lease.token))
    });
    let cursors = state
        .groups
        .iter()
        .map(|(group, cursor)| (Lease::Cursor(group.clone()), cursor.lease.map(|lease| lease.token)));
    commands.chain(cursors).chain([(Lease::Command(Seq::MAX), None)]).collect()
}

/// The name of a message, also where nothing else of it can be read.
fn name_of(body: &Body) -> Option<Name> {
    let Body::Unreadable { raw } = body else { return body.name().cloned() };
    let mut values = raw.0.iter().filter(|(column, _)| &**column == "name");
    values.find_map(|(_, value)| match value {
        RawValue::Text(bytes) => Name::new(std::str::from_utf8(bytes).ok()?).ok(),
        _ => None,
    })
}

/// Whether a message has this name, also where nothing else of it can be read.
pub fn is_named(body: &Body, name: &Name) -> bool {
    name_of(body).as_ref() == Some(name)
}

/// Holds all that only reads against the state that the model has.
///
/// # Errors
/// What differs, in words; and whatever the store answers instead of an answer.
pub fn agree(store: &Store, state: &State, now: Timestamp) -> std::result::Result<(), String> {
    match differences(store, state, now) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(what),
        Err(error) => Err(format!("what only reads failed: {error}")),
    }
}

fn differences(store: &Store, state: &State, now: Timestamp) -> Result<Option<String>> {
    let (conn, sql) = (store.connection(), store.statements());
    if snapshot_by(conn, sql)? != snapshot(conn)? {
        return Ok(Some("another snapshot".to_owned()));
    }
    for now in [now.before(), now, now.plus(3), Timestamp::MAX] {
        if overview(conn, sql, now)? != overview_of(state, now) {
            return Ok(Some(format!("another overview at {now}")));
        }
    }
    let mut names: Vec<Name> =
        state.queue.values().filter_map(|command| command.body.name().cloned()).collect();
    names.extend(state.records.values().filter_map(|record| name_of(&record.body)));
    names.sort();
    names.dedup();
    let each = names.iter().map(|name| Names::from([name.clone()]));
    for names in each.chain([names.iter().cloned().collect()]) {
        if next_due_commands(conn, sql, &names)? != due_commands(state, &names) {
            return Ok(Some(format!("another due time of {names:?}")));
        }
    }
    for group in state.groups.keys() {
        if next_due_group(conn, sql, group, now)? != due_group(state, group, now) {
            return Ok(Some(format!("another due time of group {group}")));
        }
    }
    for (lease, token) in leases(state) {
        for presented in
            [Token::ZERO, state.token_last].into_iter().chain(token).chain(token.map(Token::before))
        {
            if lease_is_current(conn, sql, &lease, presented)? != (token == Some(presented)) {
                return Ok(Some(format!("{lease:?} under token {presented}")));
            }
        }
    }
    for place in [None, Some(Place::Dead), Some(Place::Parked)] {
        for name in std::iter::once(None).chain(names.iter().map(Some)) {
            if let Some(what) = pages(store, state, place, name)? {
                return Ok(Some(what));
            }
        }
    }
    for id in state.records.keys().copied().chain([RecordId::ZERO, state.record_last.plus(1)]) {
        let expected = state.records.get(&id).cloned().map(Listed::Sound);
        if record(conn, sql, id)? != expected {
            return Ok(Some(format!("another record {id}")));
        }
    }
    Ok(None)
}

/// Records page by page, two at a time.
fn pages(store: &Store, state: &State, place: Option<Place>, name: Option<&Name>) -> Result<Option<String>> {
    let (mut after, mut found) = (RecordId::ZERO, Vec::new());
    loop {
        let filter = RecordFilter { place, name: name.cloned(), after, limit: 2 };
        let page = records(store.connection(), store.statements(), &filter)?;
        let last = page.last().map(|(id, _)| *id);
        if page.len() > 2 || last.is_some_and(|last| last <= after) {
            return Ok(Some("a page is too long or comes again".to_owned()));
        }
        found.extend(page);
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    let wanted = state.records.iter().filter(|(_, record)| {
        place.is_none_or(|place| record.place == place)
            && name.is_none_or(|name| is_named(&record.body, name))
    });
    let wanted: Vec<_> = wanted.map(|(id, record)| (*id, Listed::Sound(record.clone()))).collect();
    Ok((found != wanted).then(|| format!("other records in {place:?} named {name:?}")))
}
