//! Records are listed page by page, as the model has them. The page bounds the cost, and a damaged row hides no other.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use fencepost::internals::sqlite::{
    Listed, RecordFilter, StatementId, Statements, Store, plant, record, records,
};
use fencepost_model::op::{Op, Settlement, Target};
use fencepost_model::state::{Body, Place};
use fencepost_model::vocabulary::{Kind, Message, Name, RawValue, RecordId, Seq, Timestamp, Token};
use fencepost_verify::readers::is_named;
use rusqlite::StatementStatus;
use std::num::NonZeroU32;

use crate::walk::Walk;

fn filter(place: Option<Place>, name: Option<&Name>, limit: u32) -> RecordFilter {
    RecordFilter { place, name: name.cloned(), after: RecordId::ZERO, limit }
}

/// All pages, one after the other.
fn all(store: &Store, mut filter: RecordFilter) -> Vec<(RecordId, Listed)> {
    let mut found = Vec::new();
    loop {
        let page = records(store.connection(), store.statements(), &filter).unwrap();
        assert!(page.len() <= filter.limit as usize);
        let Some((last, _)) = page.last() else { return found };
        filter.after = *last;
        found.extend(page);
    }
}

#[test]
fn the_pages_together_are_the_records_of_the_state() {
    let (mut listed, mut corrupt, mut unreadable, mut both) = (0, 0, 0, 0);
    let names = ["bet", "pay", "mail"].map(|name| Name::new(name).unwrap());
    for seed in 0..12 {
        let mut walk = Walk::new(seed, Store::in_memory().unwrap());
        for step in 0..400 {
            walk.step();
            if step % 7 != 0 {
                continue;
            }
            let places = [None, Some(Place::Dead), Some(Place::Parked)];
            for (place, limit) in places.into_iter().zip([3, 1, 100]) {
                for name in std::iter::once(None).chain(names.iter().map(Some)) {
                    let found = all(&walk.store, filter(place, name, limit));
                    let expected = walk.world.state.records.iter().filter(|(_, record)| {
                        let at = place.is_none_or(|place| record.place == place);
                        at && name.is_none_or(|name| is_named(&record.body, name))
                    });
                    let expected: Vec<_> =
                        expected.map(|(id, record)| (*id, Listed::Sound(record.clone()))).collect();
                    assert_eq!(found, expected, "seed {seed}, step {step}, {place:?}, {name:?}");
                    both += usize::from(place.is_some() && name.is_some() && !found.is_empty());
                    listed += found.len();
                    let bodies = || expected.iter().filter_map(|(_, listed)| Some(&listed.sound()?.body));
                    corrupt += bodies().filter(|body| matches!(body, Body::Corrupt { .. })).count();
                    unreadable += bodies().filter(|body| matches!(body, Body::Unreadable { .. })).count();
                }
            }
            for id in (0..8).map(RecordId::from) {
                let found = record(walk.store.connection(), walk.store.statements(), id).unwrap();
                assert_eq!(found, walk.world.state.records.get(&id).cloned().map(Listed::Sound));
            }
        }
    }
    assert!(
        listed > 1_000 && corrupt > 10 && unreadable > 10 && both > 10,
        "{listed} {corrupt} {unreadable} {both}"
    );
}

/// A store with this many dead letters of one name, and a parked command of another.
fn aside(count: u32) -> Store {
    let mut store = Store::in_memory().unwrap();
    for n in 1..=count + 1 {
        let name = Name::new(if n <= count { "a" } else { "b" }).unwrap();
        let one = NonZeroU32::MIN;
        let message = Message::new(Kind::Command, name.clone(), *b"payload").into();
        let claim = Op::Claim { names: [name].into(), max: one, lease_ms: 9, attempts_max: one };
        let reason = "x".into();
        let how = if n <= count { Settlement::DeadLetter { reason } } else { Settlement::Park { reason } };
        let settle = Op::Settle { target: Target::Command(Seq::from(n)), token: Token::from(n), how };
        for op in [Op::Send { message, delay_ms: 0 }, claim, settle] {
            store.apply(Timestamp::ZERO, &op).unwrap();
        }
    }
    store
}

#[test]
fn a_record_that_is_damaged_is_listed_as_it_is_and_hides_no_other() {
    for (column, value) in [
        ("kind", RawValue::Text(b"neither".to_vec())),
        ("seq", RawValue::Null),
        ("epoch", RawValue::Integer(1)),
        ("place", RawValue::Blob(vec![1])),
        ("cause", RawValue::Text(b"boredom".to_vec())),
        ("reason", RawValue::Text(vec![0xff])),
        ("attempts", RawValue::Integer(-1)),
        ("moved_at", RawValue::Real(1.5_f64.to_bits())),
        ("unreadable", RawValue::Integer(2)),
    ] {
        let mut store = aside(3);
        plant(store.connection_mut(), "records", Seq::from(2), column, &value).unwrap();
        let found = all(&store, filter(None, None, 2));
        let ids: Vec<u64> = found.iter().map(|(id, _)| id.get()).collect();
        assert_eq!(ids, [1, 2, 3, 4], "{column}");
        let damaged: Vec<_> = found.iter().filter(|(_, listed)| listed.sound().is_none()).collect();
        let [(id, Listed::Damaged(raw))] = damaged[..] else { panic!("{column}: {damaged:?}") };
        assert_eq!(id.get(), 2);
        assert!(raw.0.contains(&(column.into(), value.clone())), "{column}: {raw:?}");
        assert!(raw.0.contains(&("payload".into(), RawValue::Blob(b"payload".to_vec()))), "{column}");
        let alone = record(store.connection(), store.statements(), *id).unwrap();
        assert_eq!(alone, Some(Listed::Damaged(raw.clone())));
    }
}

#[test]
fn a_message_that_is_damaged_among_the_records_is_still_a_record() {
    let mut store = aside(1);
    plant(store.connection_mut(), "records", Seq::from(1), "payload", &RawValue::Null).unwrap();
    let found = record(store.connection(), store.statements(), RecordId::from(1)).unwrap();
    let Some(Listed::Sound(record)) = found else { panic!("{found:?}") };
    assert!(matches!(record.body, Body::Corrupt { .. }));
}

#[test]
fn a_page_costs_the_same_however_many_records_there_are() {
    let work = |id: StatementId, others: u32| {
        let store = aside(others);
        let sql = Statements::standard();
        let mut statement = store.connection().prepare(sql.get(id)).unwrap();
        let values: [(&str, &dyn rusqlite::ToSql); 3] =
            [(":place", &"parked"), (":after", &0), (":limit", &1)];
        for (parameter, value) in values {
            if let Some(index) = statement.parameter_index(parameter).unwrap() {
                statement.raw_bind_parameter(index, value).unwrap();
            }
        }
        assert_eq!(statement.raw_query().mapped(|_| Ok(())).count(), 1);
        statement.get_status(StatementStatus::VmStep)
    };
    for id in [StatementId::RecordsPage, StatementId::RecordsPageOfPlace] {
        assert_eq!(work(id, 3), work(id, 400), "{id:?}");
    }
}
