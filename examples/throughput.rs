//! Measures how many messages a second this machine sends and handles.
//!
//! `cargo run --release -p fencepost --features record --example throughput [process-crash] [record]`
//!
//! Each figure is the median of five rounds, with the lowest and the highest. A send returns, and a handler gets a message,
//! after the commit. The durability is `PowerLoss`, or `ProcessCrash` with the argument `process-crash`. With the argument
//! `record`, rounds with and without a recording alternate.
#![expect(clippy::unwrap_used, reason = "an example prints an error by panicking")]

use std::sync::Arc;
use std::time::Instant;

use fencepost::{
    Bus, BusConsumer, Delivery, Durability, Handlers, Message, Recording, RunOptions, SqliteBus,
};

const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let (mut durability, mut recorded) = (Durability::PowerLoss, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "process-crash" => durability = Durability::ProcessCrash,
            "record" => recorded = true,
            other => return eprintln!("unknown argument {other}; there are process-crash and record"),
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let open = async |name: &str, recorded: bool| {
        let builder = SqliteBus::builder(directory.path().join(name)).durability(durability);
        let recording = Recording::to(directory.path().join("bus.rec")).bytes_max(2 << 30);
        let builder = if recorded { builder.record(recording) } else { builder };
        builder.open().await.unwrap()
    };
    let mut buses = vec![("", open("bus.db", false).await)];
    if recorded {
        buses.push((", recorded", open("recorded.db", true).await));
    }
    println!("{durability:?}, messages a second: median of {ROUNDS} rounds (lowest to highest)\n");
    for (callers, count) in [(1, 2_000), (16, 20_000), (256, 60_000)] {
        let mut figures = vec![(Vec::new(), Vec::new()); buses.len()];
        for _ in 0..ROUNDS {
            for ((_, bus), (sent, handled)) in buses.iter().zip(&mut figures) {
                sent.push(send(bus, callers, count).await);
                handled.push(listen(bus, callers, count).await);
            }
        }
        for ((how, _), (sent, handled)) in buses.iter().zip(figures) {
            show(&format!("sent by {callers} at once{how}"), sent);
            show(&format!("handled by {callers} at once{how}"), handled);
        }
    }
    for (_, bus) in buses.drain(1..) {
        bus.close().await.unwrap();
    }
    let (_, bus) = buses.remove(0);
    let mut published = Vec::new();
    let mut read = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..20 {
            let events = (0..100).map(|_| bus.publish(Message::event(&format!("e{round}")).text("x")));
            futures_util::future::join_all(events).await;
        }
        published.push(2_000.0 / began.elapsed().as_secs_f64());
        let handlers = Handlers::new().named(&format!("g{round}"));
        let handlers = handlers.on_event(&format!("e{round}"), |_: Delivery| async { Ok(()) });
        let began = Instant::now();
        let report = bus.subscribe(handlers, RunOptions::new().drain()).await.unwrap();
        assert_eq!(report.acked, 2_000);
        read.push(2_000.0 / began.elapsed().as_secs_f64());
    }
    show("events published by 100 at once", published);
    show("events handled by one group, in order", read);
    bus.close().await.unwrap();
}

async fn send(bus: &SqliteBus, callers: usize, count: usize) -> f64 {
    let began = Instant::now();
    let senders = (0..callers).map(|_| {
        let bus = bus.clone();
        tokio::spawn(async move {
            for _ in 0..count / callers {
                bus.send(Message::command("bet").text("17 on red")).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    (count / callers * callers) as f64 / began.elapsed().as_secs_f64()
}

async fn listen(bus: &SqliteBus, concurrency: usize, count: usize) -> f64 {
    let handlers = Handlers::new().on_command("bet", |_: Delivery<Arc<[u8]>>| async { Ok(()) });
    let options = RunOptions::new().concurrency(concurrency).batch(256).drain();
    let began = Instant::now();
    let report = bus.listen(handlers, options).await.unwrap();
    assert_eq!(report.acked as usize, count / concurrency * concurrency);
    report.acked as f64 / began.elapsed().as_secs_f64()
}

fn show(what: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures[0], figures[figures.len() - 1]);
    println!("{what:38} {:>9.0}  ({low:.0} to {high:.0})", figures[figures.len() / 2]);
}
