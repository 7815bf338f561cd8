//! Metrics go through the `metrics` facade. What a handler sends carries on the trace of the message that it handles.

use std::sync::Arc;

use fencepost::clock::SystemClock;
use fencepost::{Bus, BusConsumer, Delivery, Handlers, MemoryBus, Message, RunOptions, Take};

#[tokio::test]
async fn the_trace_of_a_message_is_carried_on_by_what_its_handler_sends() {
    let bus = MemoryBus::with_clock(Arc::new(SystemClock));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    bus.send(Message::command("bet").metadata("traceparent", trace)).await.unwrap();
    bus.send(Message::command("bet")).await.unwrap();
    let sending = bus.clone();
    let handlers = Handlers::new().on_command("bet", move |delivery: Delivery| {
        let bus = sending.clone();
        async move {
            bus.send(Message::command("settle").text(delivery.seq().to_string())).await?;
            bus.send(Message::command("own").metadata("traceparent", "own")).await?;
            Ok(())
        }
    });
    bus.listen(handlers, RunOptions::new().drain()).await.unwrap();
    let take = Take { max: 9, ..Take::one(&["settle", "own"]) };
    let sent = bus.claim(&take).await.unwrap().deliveries;
    let traces = |name: &str| -> Vec<Vec<&str>> {
        let of_name = sent.iter().filter(|delivery| delivery.message().name.as_str() == name);
        let values = |delivery: &Delivery| {
            let pairs = delivery.message().metadata.iter();
            pairs.map(|(_, value)| value.to_string().leak() as &str).collect()
        };
        of_name.map(values).collect()
    };
    assert_eq!(traces("settle"), [vec![trace], vec![]], "where there was none there is none");
    assert_eq!(traces("own"), [["own"], ["own"]], "its own is kept, and no other is added");
}

#[test]
fn figures_go_through_the_facade() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bus = MemoryBus::with_clock(Arc::new(SystemClock));
            for payload in ["good", "bad", "good"] {
                bus.send(Message::command("bet").text(payload)).await.unwrap();
            }
            // Two that are ready and one that is delayed, which no handler takes: the gauges tell them apart.
            for _ in 0..2 {
                bus.send(Message::command("other")).await.unwrap();
            }
            let later = std::time::Duration::from_secs(3_600);
            bus.send(Message::command("other").delay(later)).await.unwrap();
            bus.publish(Message::event("placed")).await.unwrap();
            bus.subscribe_group("ledger", "placed", fencepost::Start::Earliest).await.unwrap();
            let handlers = Handlers::new().on_command("bet", |delivery: Delivery<String>| async move {
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                if delivery.payload == "bad" {
                    Err(fencepost::HandlerError::permanent("bad"))
                } else {
                    Ok(())
                }
            });
            let options = RunOptions::new().sample_every(std::time::Duration::from_millis(5)).drain();
            bus.listen(handlers, options).await.unwrap();
        });
    });
    let figures: Vec<String> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            let value = match value {
                metrics_util::debugging::DebugValue::Counter(count) => count.to_string(),
                metrics_util::debugging::DebugValue::Gauge(value) => value.to_string(),
                metrics_util::debugging::DebugValue::Histogram(values) => format!("{} values", values.len()),
            };
            format!("{}{{{}}} {value}", key.key().name(), labels.join(","))
        })
        .collect();
    for expected in [
        "fencepost_settlements_total{kind=ack} 2",
        "fencepost_settlements_total{kind=dead-letter} 1",
        "fencepost_attempts{} 3 values",
        "fencepost_lag{group=ledger,name=placed} 1",
        "fencepost_queue_depth{state=leased} 3",
        "fencepost_queue_depth{state=ready} 2",
        "fencepost_queue_depth{state=delayed} 1",
    ] {
        assert!(figures.iter().any(|figure| figure == expected), "no {expected} in {figures:#?}");
    }
    let named = |name: &str| figures.iter().any(|figure| figure.starts_with(name));
    for name in [
        "fencepost_claim_seconds",
        "fencepost_oldest_due_age_seconds",
        "fencepost_dead{",
        "fencepost_in_flight",
    ] {
        assert!(named(name), "no {name} in {figures:#?}");
    }
}
