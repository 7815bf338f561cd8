//! Measures how many operations a second `fencepost audit` checks.
//!
//! `cargo run --release -p fencepost --features record --example audit_speed [COMMANDS]`
//!
//! A bus records COMMANDS commands (default: 100,000), once without ids and once with an id each. 256 tasks send them, and a
//! consumer claims 256 at a time and acks them. One command in eight is delayed and stays in the queue. One event for ten
//! commands is published, and two groups read it. Then the recording is audited seven times. The figures are per second of
//! processor time, so other programs on the machine disturb them less.
#![expect(clippy::unwrap_used, reason = "an example prints an error by panicking")]

use std::time::Duration;

use fencepost::audit::{Verdict, audit};
use fencepost::{
    Bus, BusConsumer, Delivery, Durability, Handlers, Message, Recording, RunOptions, SqliteBus,
};

const ROUNDS: usize = 7;
const CALLERS: usize = 256;

#[tokio::main]
async fn main() {
    let commands = std::env::args().nth(1).map_or(100_000, |argument| argument.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    for (what, ids) in [("without ids", false), ("with an id each", true)] {
        let (store, path) = (directory.path().join(what), directory.path().join(format!("{what}.rec")));
        let builder = SqliteBus::builder(&store).durability(Durability::ProcessCrash);
        let bus = builder.record(Recording::to(&path).bytes_max(4 << 30)).open().await.unwrap();
        work(&bus, commands, ids).await;
        bus.close().await.unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len();
        let (mut figures, mut operations) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let began = processor_time();
            let audited = audit(std::slice::from_ref(&path), None).unwrap();
            assert!(matches!(audited.verdict, Verdict::Allowed), "{audited:?}");
            operations = audited.operations;
            figures.push(operations as f64 / (processor_time() - began).as_secs_f64());
        }
        figures.sort_by(f64::total_cmp);
        let per_operation = bytes / operations;
        println!(
            "{what}: {operations} operations of {per_operation} bytes; checked a second: median of {ROUNDS} rounds \
             {:.0} ({:.0} to {:.0})",
            figures[ROUNDS / 2],
            figures[0],
            figures[ROUNDS - 1],
        );
    }
}

async fn work(bus: &SqliteBus, commands: usize, ids: bool) {
    let senders = (0..CALLERS).map(|caller| {
        let bus = bus.clone();
        tokio::spawn(async move {
            for n in 0..commands / CALLERS {
                let delayed = n % 8 == 0;
                let message = Message::command("bet").text("17 on red");
                let message = if ids { message.id(&format!("{caller}-{n}")) } else { message };
                let delay = if delayed { Duration::from_secs(3_600) } else { Duration::ZERO };
                bus.send(message.delay(delay)).await.unwrap();
                if n % 10 == 0 {
                    bus.publish(Message::event("placed").text("17 on red")).await.unwrap();
                }
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let handlers = Handlers::new().on_command("bet", |_: Delivery| async { Ok(()) });
    bus.listen(handlers, RunOptions::new().concurrency(256).batch(256).drain()).await.unwrap();
    for group in ["one", "two"] {
        let handlers = Handlers::new().named(group).on_event("placed", |_: Delivery| async { Ok(()) });
        bus.subscribe(handlers, RunOptions::new().batch(64).drain()).await.unwrap();
    }
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap(), u32::try_from(spent.tv_nsec).unwrap())
}
