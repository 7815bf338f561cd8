//! Recordings that were damaged, cut or forged: never a yes, and what was altered is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fencepost_model::op::{Delivery, Op, Refusal, Reply, Settled};
use fencepost_model::state::{Body, State};
use fencepost_model::vocabulary::{Kind, Message, Seq, Timestamp, Token};

use crate::audit::{Audit, Doubt, Verdict, audit};
use crate::clock::{Clock, ManualClock};
use crate::record::format::{Beginning, Frame, FrameReader, FrameWriter, Recorded, Unreadable, head};
use crate::sqlite::{StatementId, Statements};
use crate::{Bus as _, Recording, SqliteBus, Start, Take};

/// A recording as it can be taken apart and put together again, with checksums that fit.
struct Parts {
    beginning: Beginning,
    state: State,
    frames: Vec<Frame>,
}

impl Parts {
    fn read(path: &Path) -> Self {
        let mut reader = FrameReader::open(path).unwrap();
        let beginning = reader.beginning();
        let mut frames = Vec::new();
        while !matches!(frames.last(), Some(Frame::End { .. })) {
            frames.push(reader.next().unwrap());
        }
        Self { beginning, state: FrameReader::state(path).unwrap(), frames }
    }

    fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut writer) = (head().to_vec(), FrameWriter::new());
        let body = postcard::to_allocvec(&self.beginning).unwrap();
        writer.add(&mut bytes, &postcard::to_extend(&self.state, body).unwrap()).unwrap();
        for frame in &self.frames {
            writer.add(&mut bytes, &postcard::to_allocvec(frame).unwrap()).unwrap();
        }
        bytes
    }

    /// The same with one frame removed, and places that fit.
    fn without(&self, index: usize) -> Self {
        let mut frames: Vec<Frame> = self.frames.clone();
        frames.remove(index);
        let last = frames.len() as u64 - 1;
        for (index, frame) in (1..).zip(&mut frames) {
            match frame {
                Frame::Transaction { place, .. } => *place = index,
                Frame::End { transactions, .. } => *transactions = last,
            }
        }
        Self { beginning: self.beginning, state: self.state.clone(), frames }
    }
}

struct Bench {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from(1_000)));
        Self { directory: tempfile::tempdir().unwrap(), clock }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> SqliteBus {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let recording = Recording::to(self.path("bus.rec"));
        SqliteBus::builder(self.path("bus.db")).clock(clock).record(recording).open_blocking().unwrap()
    }

    /// What is in the file of a recording of some work.
    fn recorded(&self, rounds: usize) -> Vec<u8> {
        let bus = self.open();
        let (asked, take) = (bus.blocking(), Take { max: 3, ..Take::one(&["a"]) });
        for n in 0..rounds {
            asked.send(Message::command("a").text(format!("{n}")).id(&format!("{}", n / 2))).ok();
            asked.publish(Message::event("x").text("e")).unwrap();
            for (index, delivery) in asked.claim(&take).unwrap().deliveries.into_iter().enumerate() {
                self.clock.advance(7_000);
                match (n + index) % 3 {
                    0 => drop(delivery.ack_blocking()),
                    1 => drop(delivery.settle_blocking(crate::Settlement::Park { reason: "wait".into() })),
                    _ => drop(delivery),
                }
            }
        }
        asked.subscribe_group("g", "x", Start::Earliest).unwrap();
        let polled = asked.poll("g", None, &Take { max: 3, ..Take::one(&["x"]) }).unwrap();
        polled.deliveries.into_iter().for_each(|delivery| drop(delivery.ack_blocking()));
        asked.redrive(1.into()).unwrap();
        asked.prune(std::time::Duration::ZERO).unwrap();
        drop(asked);
        self.close(bus);
        fs::read(self.path("bus.rec")).unwrap()
    }

    fn close(&self, bus: SqliteBus) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(bus.close()).unwrap();
    }

    /// What is said of a file with these bytes.
    fn said_of(&self, bytes: &[u8]) -> Audit {
        let path = self.path("said.rec");
        fs::write(&path, bytes).unwrap();
        audit(&[path], None).unwrap()
    }
}

fn is_allowed(audit: &Audit) -> bool {
    matches!(audit.verdict, Verdict::Allowed)
}

#[test]
fn one_byte_that_changed_is_never_a_yes() {
    let bench = Bench::new();
    let bytes = bench.recorded(6);
    assert!(is_allowed(&bench.said_of(&bytes)));
    let mut kinds = [0; 4];
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        let found = bench.said_of(&altered);
        let Verdict::NotChecked(doubts) = &found.verdict else { panic!("byte {at}: {found:?}") };
        let [Doubt::Unreadable { why, .. } | Doubt::Ends { why, .. }] = &doubts[..] else {
            panic!("{doubts:?}")
        };
        match why {
            Unreadable::NotARecording => kinds[0] += 1,
            Unreadable::OtherVersion { .. } => kinds[1] += 1,
            Unreadable::Cut => kinds[2] += 1,
            Unreadable::Damaged { .. } => kinds[3] += 1,
            Unreadable::Io { .. } => panic!("{why}"),
        }
    }
    assert!(kinds[0] == 16 && kinds[1] == 4 && kinds[2] > 20 && kinds[3] > 1_000, "{kinds:?}");
}

#[test]
fn a_cut_at_any_length_says_how_far_it_was_checked() {
    let bench = Bench::new();
    let bytes = bench.recorded(6);
    let whole = bench.said_of(&bytes).operations;
    let mut checked = std::collections::BTreeSet::new();
    for length in 0..bytes.len() {
        let found = bench.said_of(&bytes[..length]);
        let Verdict::NotChecked(doubts) = &found.verdict else { panic!("{length}: {found:?}") };
        assert_eq!(doubts.len(), 1);
        if let Doubt::Ends { why, .. } = &doubts[0] {
            assert!(matches!(why, Unreadable::Cut), "{length}: {why:?}");
            checked.insert(found.operations);
        }
    }
    assert!(checked.contains(&0) && checked.contains(&whole) && checked.len() > 25, "{checked:?} of {whole}");
    let longer = [&bytes[..], b"x"].concat();
    assert!(!is_allowed(&bench.said_of(&longer)), "something comes after the end");
}

#[test]
fn frames_that_were_taken_out_or_exchanged_are_noticed() {
    let bench = Bench::new();
    let bytes = bench.recorded(6);
    let parts = Parts::read(&bench.path("bus.rec"));
    assert_eq!(parts.bytes(), bytes, "what is put together again is the same");
    let count = parts.frames.len();
    assert!(count > 25);
    // Lengths and checksums as they were written, in another order.
    let mut offsets = vec![20];
    while let Some(length) = bytes.get(offsets[offsets.len() - 1]..).and_then(|rest| rest.first_chunk::<4>())
    {
        offsets.push(offsets[offsets.len() - 1] + 8 + u32::from_le_bytes(*length) as usize);
    }
    let frame = |index: usize| &bytes[offsets[index]..offsets[index + 1]];
    for index in 1..offsets.len() - 2 {
        let exchanged =
            [&bytes[..offsets[index]], frame(index + 1), frame(index), &bytes[offsets[index + 2]..]];
        assert!(!is_allowed(&bench.said_of(&exchanged.concat())));
        let removed = [&bytes[..offsets[index]], &bytes[offsets[index + 1]..]].concat();
        assert!(!is_allowed(&bench.said_of(&removed)));
    }
    // The same with all checksums made to fit: what changed something leaves a gap.
    for index in 0..count - 1 {
        let Frame::Transaction { commit_seq, changed, .. } = parts.frames[index] else { continue };
        let found = bench.said_of(&parts.without(index).bytes());
        if changed {
            let is_last = !parts.frames[index + 1..]
                .iter()
                .any(|f| matches!(f, Frame::Transaction { changed: true, .. }));
            match &found.verdict {
                Verdict::NotChecked(doubts) => {
                    assert!(
                        matches!(doubts[..], [Doubt::Gap { number, .. }] if number == commit_seq),
                        "{doubts:?}"
                    );
                }
                _ => assert!(is_last, "{found:?}"),
            }
        }
    }
    let twice = Parts { frames: [&parts.frames[..1], &parts.frames[..]].concat(), ..parts }.without(0);
    assert!(is_allowed(&bench.said_of(&twice.bytes())));
}

/// Every way to alter a reply a little.
fn altered(op: &Op, reply: &Reply) -> Vec<Reply> {
    let mut others = vec![
        Reply::Refused(Refusal::LeaseLost),
        Reply::Refused(Refusal::NotFound),
        Reply::Settled(Settled::Acked),
        Reply::HandedOut { deliveries: Vec::new(), dead_lettered: Vec::new() },
        Reply::Pruned { first: Seq::from(1), removed: 0, dead_lettered: Vec::new() },
        Reply::Cancelled,
    ];
    match reply {
        Reply::Accepted { seq, fresh } => {
            others.push(Reply::Accepted { seq: seq.plus(1), fresh: *fresh });
            others.push(Reply::Accepted { seq: *seq, fresh: !fresh });
        }
        Reply::HandedOut { deliveries, dead_lettered } => {
            let mut with = |alter: &dyn Fn(&mut Vec<Delivery>)| {
                let mut deliveries = deliveries.clone();
                alter(&mut deliveries);
                others.push(Reply::HandedOut { deliveries, dead_lettered: dead_lettered.clone() });
            };
            with(&|deliveries| deliveries.reverse());
            for index in 0..deliveries.len() {
                with(&|deliveries| drop(deliveries.remove(index)));
                with(&|deliveries| deliveries.push(deliveries[index].clone()));
                with(&|deliveries| deliveries[index].token = Token::from(7_000));
                with(&|deliveries| deliveries[index].token = deliveries[index].token.before());
                with(&|deliveries| deliveries[index].seq = deliveries[index].seq.plus(1));
                with(&|deliveries| deliveries[index].attempt += 1);
                with(&|deliveries| deliveries[index].lease_until = deliveries[index].lease_until.plus(1));
                with(&|deliveries| {
                    let Body::Sound { message, at } = &deliveries[index].body else { return };
                    let mut payload = message.payload.to_vec();
                    payload[3] ^= 4;
                    let message = Arc::new(Message { payload: payload.into(), ..Message::clone(message) });
                    deliveries[index].body = Body::Sound { message, at: *at };
                });
            }
            others.push(Reply::HandedOut { deliveries: deliveries.clone(), dead_lettered: vec![3.into()] });
        }
        Reply::Refused(Refusal::Conflict { seq }) => {
            others.push(Reply::Refused(Refusal::Conflict { seq: seq.plus(1) }));
        }
        Reply::Settled(Settled::Parked { record }) => {
            others.push(Reply::Settled(Settled::DeadLettered { record: *record }));
            others.push(Reply::Settled(Settled::Parked { record: record.plus(1) }));
        }
        Reply::Pruned { first, removed, dead_lettered } => {
            let (first, removed, dead_lettered) = (*first, removed + 1, dead_lettered.clone());
            others.push(Reply::Pruned { first, removed, dead_lettered });
        }
        Reply::Subscribed { position, fresh } => {
            others.push(Reply::Subscribed { position: *position, fresh: !fresh });
        }
        _ => {}
    }
    others.retain(|other| other != reply);
    assert!(!others.is_empty(), "{op:?}");
    others
}

#[test]
fn a_reply_that_was_altered_is_named() {
    let bench = Bench::new();
    bench.recorded(48);
    let mut parts = Parts::read(&bench.path("bus.rec"));
    let (mut variants, mut operations) = (0, 0);
    for index in 0..parts.frames.len() {
        let Frame::Transaction { ops, .. } = parts.frames[index].clone() else { continue };
        for (place, recorded) in ops.iter().enumerate() {
            let before = operations;
            operations += 1;
            for reply in altered(&recorded.op, &recorded.reply) {
                let mut changed = ops.clone();
                changed[place].reply = reply.clone();
                if let Frame::Transaction { ops: there, .. } = &mut parts.frames[index] {
                    *there = changed;
                }
                let found = bench.said_of(&parts.bytes());
                let Verdict::NotAllowed(violation) = &found.verdict else { panic!("{reply:?}: {found:?}") };
                assert_eq!(found.operations, before + 1, "{}\n{}", violation.what, violation.explanation);
                assert!(violation.explanation.contains("the model answers: "));
                variants += 1;
            }
        }
        if let Frame::Transaction { ops: there, .. } = &mut parts.frames[index] {
            *there = ops;
        }
    }
    assert!(is_allowed(&bench.said_of(&parts.bytes())));
    assert!(variants > 1_500, "{variants}");
}

#[test]
fn a_change_that_is_said_to_be_none_is_not_allowed() {
    let bench = Bench::new();
    bench.recorded(6);
    let mut parts = Parts::read(&bench.path("bus.rec"));
    let Some(Frame::Transaction { commit_seq, changed, .. }) = parts.frames.first_mut() else { panic!() };
    (*commit_seq, *changed) = (0, false);
    for frame in &mut parts.frames[1..] {
        if let Frame::Transaction { commit_seq, .. } = frame {
            *commit_seq -= 1;
        }
    }
    let found = bench.said_of(&parts.bytes());
    let Verdict::NotAllowed(violation) = &found.verdict else { panic!("{found:?}") };
    assert!(violation.what.contains("said to have changed nothing"), "{}", violation.what);
}

#[test]
fn what_no_bus_writes_is_not_checked() {
    let bench = Bench::new();
    bench.recorded(6);
    let parts = || Parts::read(&bench.path("bus.rec"));
    // A lease without an attempt: giving it back would count below zero.
    let mut impossible = parts();
    let name = crate::Name::new("a").unwrap();
    let message = Arc::new(Message::new(Kind::Command, name, *b"x"));
    let lease =
        fencepost_model::state::CommandLease { token: Token::from(1), attempts_max: 1, corrupt: false };
    let body = Body::Sound { message, at: Timestamp::ZERO };
    let command = fencepost_model::state::Command {
        body,
        due_at: Timestamp::ZERO,
        attempts: 0,
        lease: Some(lease),
        reason: None,
    };
    (impossible.state.queue_last, impossible.state.token_last) = (Seq::from(1), Token::from(1));
    impossible.state.queue.insert(Seq::from(1), command);
    let mut broken = parts();
    broken.state.epochs_retired.insert(broken.state.epoch);
    for parts in [impossible, broken] {
        let found = bench.said_of(&parts.bytes());
        let Verdict::NotChecked(doubts) = &found.verdict else { panic!("{found:?}") };
        assert!(matches!(doubts[..], [Doubt::Beginning { .. }]), "{doubts:?}");
    }
    let mut bare = parts();
    let Some(Frame::Transaction { ops, .. }) = bare.frames.first_mut() else { panic!() };
    ops[0].contents.clear();
    let found = bench.said_of(&bare.bytes());
    assert!(
        matches!(&found.verdict, Verdict::NotChecked(doubts) if matches!(doubts[..], [Doubt::Malformed { .. }]))
    );
    // Operations in operations without end, with a checksum that fits.
    let deep = [&[2, 1, 1, 1, 1, 0][..], &[18, 1].repeat(100_000)].concat();
    let mut bytes = parts().bytes();
    bytes.truncate(20 + 8 + u32::from_le_bytes(*bytes[20..].first_chunk().unwrap()) as usize);
    let checksum = u32::from_le_bytes(*bytes[24..].first_chunk().unwrap());
    let length = u32::try_from(deep.len()).unwrap().to_le_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(
        &crc32fast::hash(&[&checksum.to_le_bytes()[..], &length, &deep].concat()).to_le_bytes(),
    );
    bytes.extend_from_slice(&deep);
    assert!(!is_allowed(&bench.said_of(&bytes)));
}

#[test]
fn a_wrong_statement_of_the_store_is_found_out() {
    let statements = Statements::standard();
    let text = statements.get(StatementId::CommandAck);
    let wrong =
        statements.replaced(StatementId::CommandAck, text.replacen("token = :token", "token >= :token", 1));
    assert_ne!(wrong.get(StatementId::CommandAck), text);
    let bench = Bench::new();
    let clock: Arc<dyn Clock> = Arc::clone(&bench.clock) as _;
    let builder = SqliteBus::builder(bench.path("bus.db")).clock(clock);
    let bus = builder.record(Recording::to(bench.path("bus.rec"))).statements(wrong).open_blocking().unwrap();
    let (asked, take) = (bus.blocking(), Take::one(&["a"]));
    asked.send(Message::command("a").text("17 on red")).unwrap();
    let stale = asked.claim(&take).unwrap().deliveries.remove(0);
    bench.clock.advance(60_000);
    drop(asked.claim(&take).unwrap().deliveries.remove(0));
    stale.ack_blocking().unwrap();
    bench.close(bus);
    let found = audit(&[bench.path("bus.rec")], None).unwrap();
    let Verdict::NotAllowed(violation) = &found.verdict else { panic!("{found:?}") };
    let explanation = &violation.explanation;
    assert!(
        explanation.contains(
            "acks command 1 under token 1\n    -> acked\n    the model answers: refused: LeaseLost"
        ),
        "{explanation}"
    );
    assert!(
        explanation.contains("2  t=1000  bus.rec  claims a")
            && explanation.contains("command 1, token 2, attempt 2"),
        "{explanation}"
    );
}

/// What the numbers in the bytes mean must not change under the same version of the format.
#[test]
fn the_bytes_of_this_version_stay_what_they_are() {
    let now = Timestamp::from(1);
    let recorded = Recorded { now, op: Op::Reboot, reply: Reply::Rebooted, contents: vec![[7; 16]] };
    let frame = Frame::Transaction { place: 1, commit_seq: 300, changed: true, ops: vec![recorded] };
    let bytes = postcard::to_allocvec(&frame).unwrap();
    let expected = [&[0, 1, 172, 2, 1, 1, 1, 17, 15, 1][..], &[7; 16]].concat();
    assert_eq!(bytes, expected);
}
