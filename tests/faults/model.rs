//! Random lives of a project against a model that knows nothing of how it is done: pushes of all kinds, rollbacks,
//! deployments again, new configuration, crashes in the middle. What fails is shrunk to a short story.
//!
//! The model predicts each verdict. What may be true after a crash is `expected`'s, and what is true is `checker`'s.
//! To add a way to deploy: a variant of [`Act`], what the model says of it, and its wish in `session`.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::expected::Outcome;
use super::kills;
use super::options::{Options, stopped};
use super::powercut;
use super::session::{Session, Wish};
use super::tally::{One, Tally};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::time::Duration;

/// One act of a story.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Wish(Wish),
    /// The server is killed at so many hundredths of the time that such a wish takes.
    Cut(Wish, u8),
    /// The same, with everything that it started, and an empty `/run`.
    Reboot(Wish, u8),
    /// Killed while nothing happens.
    Crash,
}

/// What the model knows: which releases are kept and were live, and which one is.
#[derive(Clone, Debug, Default)]
struct Model {
    were_live: Vec<u32>,
    live: u32,
}

/// What an act must come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Yes,
    /// With one of these codes.
    No(&'static [&'static str]),
    /// It depends on which backups are kept.
    Either,
}

impl Model {
    /// After the first push.
    fn new() -> Self {
        Self { were_live: vec![1], live: 1 }
    }

    fn verdict(&self, wish: Wish) -> Verdict {
        match wish {
            Wish::Push(Health::Good) | Wish::Redeploy | Wish::Configure => Verdict::Yes,
            Wish::Push(Health::BadBuild) => Verdict::No(&["build-failed"]),
            Wish::Push(Health::BadRelease) => Verdict::No(&["release-failed"]),
            Wish::Push(Health::Unhealthy | Health::BadPostDeploy) => Verdict::No(&["rolled-back"]),
            Wish::Rollback if self.earlier().is_some() => Verdict::Yes,
            Wish::Rollback => Verdict::No(&["exit-66"]),
            Wish::RollbackWithData => Verdict::Either,
        }
    }

    /// Where a rollback goes: the newest that was live and is older than what is.
    fn earlier(&self) -> Option<u32> {
        self.were_live.iter().filter(|release| **release < self.live).max().copied()
    }

    /// Whether the release that is live now is one that this wish can have made live.
    fn allows(&self, wish: Wish, live: u32) -> bool {
        match wish {
            // Numbers of releases that never served are taken as well.
            Wish::Push(Health::Good) | Wish::Redeploy => self.were_live.iter().all(|release| *release < live),
            Wish::Rollback | Wish::RollbackWithData => Some(live) == self.earlier(),
            Wish::Push(_) | Wish::Configure => live == self.live,
        }
    }

    fn looked(&mut self, (were_live, live): (Vec<u32>, u32)) {
        *self = Self { were_live, live };
    }
}

fn wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => Just(Wish::Push(Health::Good)),
        1 => Just(Wish::Push(Health::BadBuild)),
        1 => Just(Wish::Push(Health::BadRelease)),
        1 => Just(Wish::Push(Health::Unhealthy)),
        1 => Just(Wish::Push(Health::BadPostDeploy)),
        2 => Just(Wish::Rollback),
        2 => Just(Wish::RollbackWithData),
        1 => Just(Wish::Redeploy),
        1 => Just(Wish::Configure),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => wishes().prop_map(Act::Wish),
        3 => (wishes(), 0..120u8).prop_map(|(wish, at)| Act::Cut(wish, at)),
        1 => (wishes(), 0..120u8).prop_map(|(wish, at)| Act::Reboot(wish, at)),
        1 => Just(Act::Crash),
    ]
}

/// A story from its beginning, on a new server.
fn tell(shape: Shape, story: &[Act]) -> Result<(), String> {
    let mut session = Session::in_memory(shape, Chance::new(1))?;
    let mut model = Model::new();
    for (at, act) in story.iter().enumerate() {
        play(&mut session, &mut model, *act).map_err(|error| format!("act {}, {act:?}: {error}", at + 1))?;
    }
    Ok(())
}

fn play(session: &mut Session, model: &mut Model, act: Act) -> Result<(), String> {
    match act {
        Act::Wish(wish) => {
            let outcome = session.wish(wish)?;
            let good = match model.verdict(wish) {
                Verdict::Yes => outcome == Outcome::Acknowledged,
                Verdict::Either => outcome != Outcome::CutOff,
                Verdict::No(codes) => matches!(&outcome, Outcome::Refused(code) if codes.contains(&code.as_str())),
            };
            if !good {
                return Err(format!("{outcome:?}, and {:?} was predicted", model.verdict(wish)));
            }
            let live = session.ledger()?.1;
            let right = if outcome == Outcome::Acknowledged { model.allows(wish, live) } else { live == model.live };
            if !right {
                return Err(format!("{outcome:?} made v{live} live, after {model:?}"));
            }
        }
        Act::Cut(wish, at) | Act::Reboot(wish, at) => {
            let attempt = session.begin(wish)?;
            std::thread::sleep(Duration::from_millis(session.typical() * u64::from(at) / 100));
            match act {
                Act::Reboot(..) => session.machine.kill_everything(),
                _ => session.machine.kill(),
            }
            session.end(attempt)?;
            if matches!(act, Act::Reboot(..)) {
                powercut::empty_runtime(session);
            }
            kills::recover(session)?;
        }
        Act::Crash => kills::recover(session)?,
    }
    session.check()?;
    model.looked(session.ledger()?);
    Ok(())
}

/// Tells so many stories; the shortest one that fails is the error.
fn stories(seed: u64, count: u32, length: usize) -> Result<(), String> {
    let config = Config {
        cases: count,
        max_shrink_iters: 60,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let strategy = (proptest::sample::select(Shape::ALL.to_vec()), proptest::collection::vec(acts(), 1..=length));
    let mut runner = TestRunner::new_with_rng(config, rng);
    let told = runner.run(&strategy, |(shape, story)| {
        if stopped() {
            return Ok(());
        }
        tell(shape, &story).map_err(TestCaseError::fail)
    });
    told.map_err(|error| error.to_string())
}

/// Stories by several tellers, each with a seed of its own.
pub fn model(options: &Options) -> Tally {
    let tally = Tally::new("model", options);
    std::thread::scope(|scope| {
        for worker in 0..options.workers {
            let tally = &tally;
            scope.spawn(move || {
                let mine = options.model / options.workers + u64::from(worker < options.model % options.workers);
                for index in 0..mine {
                    if stopped() {
                        return;
                    }
                    match stories(options.seed * 10_000 + worker * 1000 + index, 1, 12) {
                        Ok(()) => tally.count(&One { outcome: Outcome::Acknowledged, died: true }),
                        Err(error) => tally.broke(&error, (options, None)),
                    }
                }
            });
        }
    });
    tally
}

#[test]
fn short_stories_end_as_the_model_says() {
    stories(1, 2, 6).unwrap_or_else(|error| panic!("{error}"));
}
