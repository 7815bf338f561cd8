//! How soon an idle consumer learns of another process's commit, and what idling costs.
//!
//! `cargo run --release --example wake_up [rounds]` starts itself as a second process, which sends commands at random
//! moments into a file in the directory for temporary files (set `TMPDIR` to measure another disk). For each way of
//! noticing and each durability it prints the time from the end of the commit there to the moment at which a look here
//! sees it, and the processor time that waiting costs while nothing happens. Rounds are interleaved, so that a
//! disturbance of the machine falls on all ways alike. Looks go through a channel to the thread that owns the
//! connection, as in a bus. What is measured and chosen is in docs/decisions/wake-up.md.

#[cfg(not(unix))]
fn main() {
    eprintln!("processes share no clock here that this example knows");
}

#[cfg(unix)]
fn main() -> unix::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => unix::measure(5),
        [rounds] => unix::measure(rounds.parse()?),
        ["send", path, durability, seed] => unix::send(path.as_ref(), durability, seed.parse()?),
        _ => Err("usage: wake_up [rounds]".into()),
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

    /// A commit and when it ended, or a look that saw so many commits and when.
    type Moment = (usize, u64);

    /// What the rounds of one way at one durability have found.
    #[derive(Default)]
    struct Found {
        late_us: Vec<f64>,
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
        let mut found: BTreeMap<(usize, usize), Found> = BTreeMap::new();
        for round in 0..rounds {
            for (d, durability) in DURABILITIES.iter().enumerate() {
                for (w, (_, way)) in ways.iter().enumerate() {
                    one(*way, durability, round, found.entry((d, w)).or_default())?;
                }
            }
            eprintln!("round {} of {rounds}", round + 1);
        }
        println!("| synchronous | way | median ms | p95 ms | p99 ms | max ms | idle % of a core (worst) |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for ((d, w), found) in &mut found {
            let late = |part| quantile(&mut found.late_us.clone(), part) / 1e3;
            let (idle, worst) =
                (quantile(&mut found.idle_percent, 0.5), quantile(&mut found.idle_percent, 1.0));
            println!(
                "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {idle:.3} ({worst:.3}) |",
                DURABILITIES[*d],
                ways[*w].0,
                late(0.5),
                late(0.95),
                late(0.99),
                late(1.0),
            );
        }
        for (d, durability) in DURABILITIES.iter().enumerate() {
            let mut took: Vec<f64> =
                found.iter().filter(|((of, _), _)| *of == d).flat_map(|(_, f)| f.took_us.clone()).collect();
            let [median, p95, max] = [0.5, 0.95, 1.0].map(|part| quantile(&mut took, part) / 1e3);
            println!("\n{durability}: a send took {median:.2} ms at the median, p95 {p95:.2}, max {max:.2}");
        }
        Ok(())
    }

    /// One round of one way: first idle, then woken.
    fn one(way: Way, durability: &str, seed: u64, found: &mut Found) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("bus.db");
        let seen: Arc<Mutex<Vec<Moment>>> = Arc::default();
        let (ask, asked) = mpsc::channel::<mpsc::SyncSender<Look>>();
        let store = Store::open(&path, &options(durability)?)?;
        let eyes = Arc::clone(&seen);
        let owner = std::thread::spawn(move || own(&store, &asked, &eyes));
        let waiting = Arc::new(AtomicUsize::new(1));
        let watcher = Watcher::start_in(way, &path, Arc::clone(&waiting), move || {
            let (answer, answered) = mpsc::sync_channel(1);
            ask.send(answer).ok().and_then(|()| answered.recv().ok()).unwrap_or(Look::Gone)
        })?;
        // What starting costs is not what idling costs, and the gaps have to grow first.
        std::thread::park_timeout(Duration::from_millis(1_300));
        let (began, spent) = (nanos(ClockId::Monotonic), nanos(ClockId::ProcessCPUTime));
        std::thread::park_timeout(IDLE);
        let spent = nanos(ClockId::ProcessCPUTime) - spent;
        found.idle_percent.push(100.0 * spent as f64 / (nanos(ClockId::Monotonic) - began) as f64);

        let mut sender = Command::new(std::env::current_exe()?)
            .args(["send", path.to_str().ok_or("a path that is no text")?, durability, &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut sent: Vec<Moment> = Vec::new();
        for line in BufReader::new(sender.stdout.take().ok_or("no pipe")?).lines().take(SENDS) {
            let numbers = line?.split(' ').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
            let [number, began, ended] = numbers[..] else { return Err("not three numbers".into()) };
            sent.push((usize::try_from(number)?, ended));
            found.took_us.push((ended - began) as f64 / 1e3);
        }
        let patience = nanos(ClockId::Monotonic) + 2_000_000_000;
        let all_seen = || seen.lock().is_ok_and(|seen| seen.last().is_some_and(|(count, _)| *count == SENDS));
        while !all_seen() && nanos(ClockId::Monotonic) < patience {
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
            found.late_us.push(at.saturating_sub(ended) as f64 / 1e3);
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
            // Whoever asked has gone away, then.
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

    /// The other process: sends at random moments, and says when.
    pub(super) fn send(path: &Path, durability: &str, mut seed: u64) -> Result<()> {
        let mut store = Store::open(path, &options(durability)?)?;
        let name = Name::new("place.bet")?;
        for number in 1..=SENDS {
            // Knuth's generator: the same seed, the same moments.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::park_timeout(Duration::from_micros(5_000 + (seed >> 33) % 30_000));
            let message = Arc::new(Message::new(Kind::Command, name.clone(), vec![7; 200]));
            let began = nanos(ClockId::Monotonic);
            store.apply(Timestamp::ZERO.plus(began / 1_000_000), &Op::Send { message, delay_ms: 0 })?;
            let ended = nanos(ClockId::Monotonic);
            writeln!(std::io::stdout(), "{number} {began} {ended}")?;
        }
        // Until it is told that its last commit was seen it stays, since closing the file would cause looks.
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

    /// This clock says the same in all processes.
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
