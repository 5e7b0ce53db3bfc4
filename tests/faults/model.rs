//! Random lives of a project against a model that knows nothing of how it is done: pushes of all kinds, rollbacks,
//! deployments again, new configuration, crashes in the middle. What fails is shrunk to a short story.
//!
//! The model predicts each verdict. What may be true after a crash is `expected`'s, and what is true is `checker`'s.
//! To add a way to deploy: a variant of [`Act`], what the model says of it, and its wish in `session`.

use super::apps::Health;
use super::chance::Chance;
use super::expected::Outcome;
use super::kills;
use super::options::{Options, stopped};
use super::powercut;
use super::scene::{Mode, Scene, Wish, choices};
use super::session::Session;
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

/// What the model knows: how things are deployed, which releases are kept and were live, and which one is.
#[derive(Clone, Debug)]
struct Model {
    mode: Mode,
    were_live: Vec<u32>,
    live: u32,
    /// Mode editable: what stands there cannot run.
    edited_badly: bool,
}

/// What an act must come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Yes,
    /// With one of these codes, of a push or of a verb.
    No(&'static [&'static str]),
    /// It depends on which backups are kept, or on what was edited.
    Either,
}

impl Model {
    /// After the first push.
    fn new(mode: Mode) -> Self {
        Self { mode, were_live: vec![1], live: 1, edited_badly: false }
    }

    fn verdict(&self, wish: Wish) -> Verdict {
        match (wish, wish.health()) {
            (_, Health::BadBuild) => Verdict::No(&["build-failed", "exit-1"]),
            (_, Health::BadRelease) => Verdict::No(&["release-failed", "exit-1"]),
            (_, Health::Unhealthy | Health::BadPostDeploy) => Verdict::No(&["rolled-back", "exit-3"]),
            (Wish::Redeploy | Wish::ConfigureAndDeploy, _) if self.edited_badly => Verdict::Either,
            (Wish::Rollback, _) if self.earlier().is_none() => Verdict::No(&["exit-66"]),
            (Wish::RollbackWithData, _) => Verdict::Either,
            (_, Health::Good) => Verdict::Yes,
        }
    }

    /// Where a rollback goes: the newest that was live and is older than what is.
    fn earlier(&self) -> Option<u32> {
        self.were_live.iter().filter(|release| **release < self.live).max().copied()
    }

    /// Whether the release that is live now is one that this wish can have made live.
    fn allows(&self, wish: Wish, live: u32) -> bool {
        match wish {
            Wish::Rollback | Wish::RollbackWithData => Some(live) == self.earlier(),
            Wish::Configure | Wish::PushPillar => live == self.live,
            // What was cooked elsewhere keeps its number.
            Wish::Redeploy | Wish::ConfigureAndDeploy if self.mode == Mode::Final => live == self.live,
            _ if wish.health() != Health::Good => live == self.live,
            // Numbers of releases that never served are taken as well.
            _ => self.were_live.iter().all(|release| *release < live),
        }
    }

    fn looked(&mut self, session: &Session) -> Result<(), String> {
        (self.were_live, self.live) = session.ledger()?;
        self.edited_badly = session.expected.certain().is_none_or(|state| state.edits.len() > 1);
        Ok(())
    }
}

fn wishes(mode: Mode) -> impl Strategy<Value = Wish> {
    let each = choices(mode).into_iter().map(|(weight, wish)| (weight, Just(wish)));
    proptest::strategy::Union::new_weighted(each.collect())
}

fn acts(mode: Mode) -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => wishes(mode).prop_map(Act::Wish),
        3 => (wishes(mode), 0..120u8).prop_map(|(wish, at)| Act::Cut(wish, at)),
        1 => (wishes(mode), 0..120u8).prop_map(|(wish, at)| Act::Reboot(wish, at)),
        1 => Just(Act::Crash),
    ]
}

/// A story from its beginning, on a new server.
fn tell(scene: Scene, story: &[Act]) -> Result<(), String> {
    let mut session = Session::in_memory(scene, Chance::new(1))?;
    let mut model = Model::new(scene.mode);
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
    model.looked(session)
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
    let story = |scene: Scene| (Just(scene), proptest::collection::vec(acts(scene.mode), 1..=length));
    let strategy = proptest::sample::select(Scene::ALL.to_vec()).prop_flat_map(story);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let told = runner.run(&strategy, |(scene, story)| {
        if stopped() {
            return Ok(());
        }
        tell(scene, &story).map_err(TestCaseError::fail)
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
    stories(1, 3, 6).unwrap_or_else(|error| panic!("{error}"));
}
