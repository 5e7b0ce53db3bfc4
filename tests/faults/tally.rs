//! Many runs of one experiment, on several servers at the same time; what came of them, as one line for a table.

use super::chance::Chance;
use super::expected::Outcome;
use super::options::{Options, stopped};
use super::scene::Scene;
use super::session::Session;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What came of an experiment.
pub struct Tally {
    pub name: String,
    seed: u64,
    since: Instant,
    counts: Mutex<Counts>,
}

#[derive(Clone, Default, Debug)]
struct Counts {
    runs: u64,
    acknowledged: u64,
    refused: u64,
    cut_off: u64,
    /// Lives that the fault ended.
    deaths: u64,
    broken: Vec<String>,
}

/// One run: the wish's end, and whether the server died of it.
#[derive(Debug)]
pub struct One {
    pub outcome: Outcome,
    pub died: bool,
}

impl Tally {
    pub fn new(name: &str, options: &Options) -> Self {
        Self { name: name.into(), seed: options.seed, since: Instant::now(), counts: Mutex::default() }
    }

    pub fn count(&self, one: &One) {
        let mut counts = self.counts.lock().expect("counts");
        counts.runs += 1;
        counts.deaths += u64::from(one.died);
        match one.outcome {
            Outcome::Acknowledged => counts.acknowledged += 1,
            Outcome::Refused(_) => counts.refused += 1,
            Outcome::CutOff => counts.cut_off += 1,
        }
    }

    /// A broken promise, with what is needed to look at it.
    pub fn broke(&self, what: &str, evidence: (&Options, Option<&Session>)) {
        let (options, session) = evidence;
        let mut counts = self.counts.lock().expect("counts");
        counts.runs += 1;
        let file = options.evidence.join(format!("{}-{}-{}.txt", self.name, self.seed, counts.broken.len()));
        let log = session.map(|session| session.machine.log_tail(200)).unwrap_or_default();
        let _ = std::fs::create_dir_all(&options.evidence);
        let _ = std::fs::write(&file, format!("{what}\n\n---- the server's log ----\n{log}\n"));
        eprintln!("BROKEN {}: {what}\n  see {}", self.name, file.display());
        counts.broken.push(what.to_owned());
    }

    /// A row of the table in docs/faults.md.
    pub fn row(&self) -> String {
        let counts = self.counts.lock().expect("counts").clone();
        let seconds = self.since.elapsed().as_secs();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {}:{:02} |{}",
            self.name,
            self.seed,
            counts.runs,
            counts.deaths,
            counts.acknowledged,
            counts.refused,
            counts.cut_off,
            counts.broken.len(),
            seconds / 60,
            seconds % 60,
            if stopped() { " interrupted" } else { "" }
        )
    }

    /// Every hundred runs.
    fn tell_at(&self, index: u64) {
        if index > 0 && index.is_multiple_of(100) {
            eprintln!("{}", self.row());
        }
    }

    pub fn broken(&self) -> Vec<String> {
        self.counts.lock().expect("counts").broken.clone()
    }
}

/// Heads of the rows.
pub const HEADS: &str = "| experiment | seed | runs | deaths | acknowledged | refused | cut off | wrong | min:s |\n\
                         |---|---|---|---|---|---|---|---|---|";

/// Where an experiment's sessions come from, and one run of it.
pub struct Experiment<'a> {
    pub session: &'a (dyn Fn(u64, Chance) -> Result<Session, String> + Sync),
    pub one: &'a (dyn Fn(&mut Session, u64) -> Result<One, String> + Sync),
}

/// `total` runs, numbered from 0. A session in which something broke is replaced, and so is one after some runs, so that
/// all scenes have their turn.
pub fn repeat(tally: &Tally, options: &Options, total: u64, experiment: &Experiment<'_>) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..options.workers.min(total) {
            let next = &next;
            scope.spawn(move || work(tally, (options, worker), (next, total), experiment));
        }
    });
}

/// What several workers share.
pub struct Waiting<T>(Mutex<Vec<T>>);

impl<T> Waiting<T> {
    pub fn new(all: Vec<T>) -> Self {
        Self(Mutex::new(all))
    }

    /// The last one, unless it is time to stop. The others take theirs while somebody works on it.
    pub fn next(&self) -> Option<T> {
        self.0.lock().expect("waiting").pop().filter(|_| !stopped())
    }
}

/// So many that every scene is seen, and that a session gets a past.
fn runs_of_a_session(total: u64, workers: u64) -> u64 {
    let scenes = Scene::ALL.len() as u64;
    (total / (workers * scenes).max(1)).clamp(2, 25)
}

fn work(
    tally: &Tally,
    (options, worker): (&Options, u64),
    (next, total): (&AtomicU64, u64),
    experiment: &Experiment<'_>,
) {
    let chance = Chance::new(options.seed).fork(worker);
    let mut session = None;
    let (mut lives, mut runs) = (0, 0);
    let most = runs_of_a_session(total, options.workers);
    while !stopped() {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= total {
            return;
        }
        if runs >= most {
            // The old one ends before the new one begins: it may hold what that needs.
            (session, runs) = (None, 0);
        }
        let done = match session.as_mut() {
            Some(current) => (experiment.one)(current, index),
            None => {
                let nth = worker + options.workers * lives;
                lives += 1;
                let new = (experiment.session)(nth, chance.fork(lives)).map_err(|error| format!("no session: {error}"));
                new.and_then(|new| (experiment.one)(session.insert(new), index))
            }
        };
        runs += 1;
        match done {
            Ok(one) => tally.count(&one),
            Err(error) => {
                tally.broke(&format!("run {index}: {error}"), (options, session.as_ref()));
                (session, runs) = (None, 0);
            }
        }
        tally.tell_at(index);
    }
}

#[test]
fn several_workers_work_at_the_same_time() {
    let (waiting, at_work) = (Waiting::new(vec![(), ()]), AtomicU64::new(0));
    let work = || {
        while let Some(()) = waiting.next() {
            at_work.fetch_add(1, Ordering::Relaxed);
            let both = || at_work.load(Ordering::Relaxed) == 2;
            assert!(super::children::until(std::time::Duration::from_secs(20), both), "one waits for the other");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}
