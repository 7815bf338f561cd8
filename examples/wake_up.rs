//! Measures how soon an idle consumer notices a commit of another process, and the cost of waiting.
//!
//! `cargo run --release -p fencepost --example wake_up [ROUNDS]`
//!
//! The example starts itself as a second process. The second process sends commands at random moments to a file in the
//! directory for temporary files; set `TMPDIR` to measure another disk. For each way of waiting and each durability the
//! example prints two figures: the time from the end of a commit in the second process to the look that sees it here, and the
//! processor time of waiting while nothing happens. All ways take turns in each round, so a disturbance of the machine
//! affects all of them. A look asks SQLite for changes. It goes through a channel to the thread that owns the connection, as
//! in a bus. The results are in docs/decisions/wake-up.md.

#[cfg(not(unix))]
fn main() {
    eprintln!("this example needs a clock that processes share, and knows one on Unix only");
}

#[cfg(unix)]
fn main() -> unix::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => unix::measure(5),
        [rounds] => unix::measure(rounds.parse()?),
        ["send", path, durability, seed] => unix::send(path.as_ref(), durability, seed.parse()?),
        _ => Err("usage: wake_up [ROUNDS]".into()),
    }
}

#[cfg(unix)]
mod unix {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use fencepost::internals::sqlite::{Durability, Look, OpenOptions, Store, Watcher, Way};
    use fencepost_model::op::Op;
    use fencepost_model::vocabulary::{Kind, Message, Name, Timestamp};
    use rustix::time::{ClockId, clock_gettime};

    pub(super) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    const SENDS: usize = 40;
    const IDLE: Duration = Duration::from_millis(1_500);
    const DURABILITIES: [&str; 2] = ["FULL", "NORMAL"];

    /// The number of a commit and its end, or the number of commits that a look saw and its time.
    type Moment = (usize, u64);

    /// The samples of one way at one durability.
    #[derive(Default)]
    struct Samples {
        latency_us: Vec<f64>,
        idle_percent: Vec<f64>,
        took_us: Vec<f64>,
    }

    fn ways() -> Vec<(String, Way)> {
        let poll = |ms| (format!("poll {ms} ms"), Way::poll(Duration::from_millis(ms)));
        let hear = |gap_us, percent, max_ms| {
            let way = Way {
                listen: true,
                gap_min: Duration::from_micros(gap_us),
                gap_max: Duration::from_millis(max_ms),
                gap_percent: percent,
            };
            (format!("events, {gap_us} us + {percent} % .. {max_ms} ms"), way)
        };
        let never_again = Way { gap_percent: u32::MAX, ..hear(500, 0, 10_000).1 };
        vec![
            poll(1),
            poll(2),
            poll(3),
            poll(5),
            poll(10),
            ("events, one look each".to_owned(), never_again),
            hear(300, 25, 250),
            hear(500, 10, 250),
            hear(500, 25, 250),
            hear(500, 25, 500),
            hear(1000, 25, 250),
        ]
    }

    /// Measures all ways and prints a table.
    pub(super) fn measure(rounds: u64) -> Result<()> {
        let ways = ways();
        let mut samples: BTreeMap<(usize, usize), Samples> = BTreeMap::new();
        for round in 0..rounds {
            for (d, durability) in DURABILITIES.iter().enumerate() {
                for (w, (_, way)) in ways.iter().enumerate() {
                    one(*way, durability, round, samples.entry((d, w)).or_default())?;
                }
            }
            eprintln!("round {} of {rounds}", round + 1);
        }
        println!("| synchronous | way | median ms | p95 ms | p99 ms | max ms | idle % of a core (worst) |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for ((d, w), of_way) in &mut samples {
            let latency = |part| quantile(&mut of_way.latency_us.clone(), part) / 1e3;
            let (idle, worst) =
                (quantile(&mut of_way.idle_percent, 0.5), quantile(&mut of_way.idle_percent, 1.0));
            println!(
                "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {idle:.3} ({worst:.3}) |",
                DURABILITIES[*d],
                ways[*w].0,
                latency(0.5),
                latency(0.95),
                latency(0.99),
                latency(1.0),
            );
        }
        for (d, durability) in DURABILITIES.iter().enumerate() {
            let mut took: Vec<f64> =
                samples.iter().filter(|((of, _), _)| *of == d).flat_map(|(_, s)| s.took_us.clone()).collect();
            let [median, p95, max] = [0.5, 0.95, 1.0].map(|part| quantile(&mut took, part) / 1e3);
            println!("\n{durability}: a send took {median:.2} ms at the median, p95 {p95:.2}, max {max:.2}");
        }
        Ok(())
    }

    /// One round of one way: first idle, then with commits.
    fn one(way: Way, durability: &str, seed: u64, samples: &mut Samples) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("bus.db");
        let seen: Arc<Mutex<Vec<Moment>>> = Arc::default();
        let (ask, asked) = mpsc::channel::<mpsc::SyncSender<Look>>();
        let store = Store::open(&path, &options(durability)?)?;
        let seen_by_owner = Arc::clone(&seen);
        let owner = std::thread::spawn(move || own(&store, &asked, &seen_by_owner));
        let waiting = Arc::new(AtomicUsize::new(1));
        let watcher = Watcher::start_in(way, &path, Arc::clone(&waiting), move || {
            let (answer, answered) = mpsc::sync_channel(1);
            ask.send(answer).ok().and_then(|()| answered.recv().ok()).unwrap_or(Look::Gone)
        })?;
        // The cost of starting is not the cost of waiting, and the gaps between looks must grow first.
        std::thread::park_timeout(Duration::from_millis(1_300));
        let (began, spent) = (nanos(ClockId::Monotonic), nanos(ClockId::ProcessCPUTime));
        std::thread::park_timeout(IDLE);
        let spent = nanos(ClockId::ProcessCPUTime) - spent;
        samples.idle_percent.push(100.0 * spent as f64 / (nanos(ClockId::Monotonic) - began) as f64);

        let mut sender = Command::new(std::env::current_exe()?)
            .args(["send", path.to_str().ok_or("a path that is not UTF-8")?, durability, &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut sent: Vec<Moment> = Vec::new();
        for line in BufReader::new(sender.stdout.take().ok_or("no pipe")?).lines().take(SENDS) {
            let numbers = line?.split(' ').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
            let [number, began, ended] = numbers[..] else { return Err("not three numbers".into()) };
            sent.push((usize::try_from(number)?, ended));
            samples.took_us.push((ended - began) as f64 / 1e3);
        }
        let deadline = nanos(ClockId::Monotonic) + 2_000_000_000;
        let all_seen = || seen.lock().is_ok_and(|seen| seen.last().is_some_and(|(count, _)| *count == SENDS));
        while !all_seen() && nanos(ClockId::Monotonic) < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        drop(sender.stdin.take());
        let given_up_at = nanos(ClockId::Monotonic);
        sender.wait()?;
        waiting.store(0, Ordering::SeqCst);
        drop(watcher);
        owner.join().map_err(|_| "the owner of the connection panicked")?;
        let seen = seen.lock().map_err(|_| "the owner of the connection panicked")?;
        for (number, ended) in sent {
            let at = seen.iter().find(|(count, _)| *count >= number).map_or(given_up_at, |(_, at)| *at);
            // A look may see a commit before the sender returns from it.
            samples.latency_us.push(at.saturating_sub(ended) as f64 / 1e3);
        }
        Ok(())
    }

    /// Owns the connection, as the writing thread of a bus does.
    fn own(store: &Store, asked: &mpsc::Receiver<mpsc::SyncSender<Look>>, seen: &Mutex<Vec<Moment>>) {
        let conn = store.connection();
        let ask = |sql| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
        let mut before = None;
        for answer in asked {
            let Ok(version) = ask("PRAGMA data_version") else { return };
            let changed = before.replace(version).is_some_and(|before| before != version);
            // An error means that the watcher has stopped.
            let _ = answer.send(if changed { Look::Changed } else { Look::Unchanged });
            if changed {
                let at = nanos(ClockId::Monotonic);
                let count = ask("SELECT count(*) FROM queue").unwrap_or_default();
                if let (Ok(mut seen), Ok(count)) = (seen.lock(), usize::try_from(count)) {
                    seen.push((count, at));
                }
            }
        }
    }

    /// The second process: sends at random moments, and prints the times.
    pub(super) fn send(path: &Path, durability: &str, mut seed: u64) -> Result<()> {
        let mut store = Store::open(path, &options(durability)?)?;
        let name = Name::new("place.bet")?;
        for number in 1..=SENDS {
            // Knuth's generator: the same seed gives the same moments.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::park_timeout(Duration::from_micros(5_000 + (seed >> 33) % 30_000));
            let message = Arc::new(Message::new(Kind::Command, name.clone(), vec![7; 200]));
            let began = nanos(ClockId::Monotonic);
            store.apply(Timestamp::ZERO.plus(began / 1_000_000), &Op::Send { message, delay_ms: 0 })?;
            let ended = nanos(ClockId::Monotonic);
            writeln!(std::io::stdout(), "{number} {began} {ended}")?;
        }
        // It waits until its last commit was seen, because closing the file would cause looks.
        std::io::stdin().lines().for_each(drop);
        Ok(())
    }

    fn options(durability: &str) -> Result<OpenOptions> {
        let durability = match durability {
            "FULL" => Durability::PowerLoss,
            "NORMAL" => Durability::ProcessCrash,
            _ => return Err("neither FULL nor NORMAL".into()),
        };
        Ok(OpenOptions { durability, ..OpenOptions::default() })
    }

    /// The time of a clock. All processes share the monotonic clock.
    fn nanos(clock: ClockId) -> u64 {
        let now = clock_gettime(clock);
        u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000
            + u64::try_from(now.tv_nsec).unwrap_or_default()
    }

    fn quantile(values: &mut [f64], part: f64) -> f64 {
        values.sort_by(f64::total_cmp);
        values.get(((values.len() as f64 * part).ceil() as usize).max(1) - 1).copied().unwrap_or(f64::NAN)
    }
}
