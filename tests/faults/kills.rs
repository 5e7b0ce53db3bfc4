//! kill -9 at random moments: of the server, or of one of the processes that it started; sometimes again while the next
//! life still recovers.

use super::apps::Health;
use super::chance::Chance;
use super::children;
use super::expected::Outcome;
use super::machine::Start;
use super::options::Options;
use super::scene::{Mode, Scene, Wish, choices};
use super::session::Session;
use super::tally::{Experiment, One, Tally, repeat};
use nix::sys::signal::Signal;
use std::time::Duration;

/// A wish takes about so long; a kill comes somewhere in it, or shortly after it.
const SPAN: u64 = 1200;
/// Whatever came in is being deployed after so long, or is not.
const HANDED_IN: Duration = Duration::from_millis(700);

pub fn kills(options: &Options, total: u64) -> Tally {
    let tally = Tally::new("kills", options);
    repeat(&tally, options, total, &Experiment { session: &session, one: &one });
    tally
}

pub fn session(nth: u64, chance: Chance) -> Result<Session, String> {
    Session::in_memory(Scene::nth(nth), chance)
}

fn one(session: &mut Session, _: u64) -> Result<One, String> {
    let wish = session.random_wish();
    let mut attempt = session.begin(wish)?;
    let moment = session.chance.below(SPAN.min(session.typical() * 5 / 4));
    let child = session.chance.one_in(4);
    while attempt.is_running() && attempt.milliseconds() < moment {
        std::thread::sleep(Duration::from_millis(1));
    }
    let victim = if child { kill_a_child(session) } else { "the server".into() };
    if !child {
        session.machine.kill();
    }
    let said = |error: String| format!("{wish:?} when {victim} was killed after {moment} ms: {error}");
    let outcome = session.end(attempt).map_err(said)?;
    let said = |error: String| format!("{wish:?}, {outcome:?}, when {victim} was killed after {moment} ms: {error}");
    if child && outcome == Outcome::CutOff {
        // What was handed in already is judged first, and shown when its turn has come.
        std::thread::sleep(HANDED_IN);
    }
    if !child || session.chance.one_in(4) {
        recover(session).map_err(said)?;
    }
    session.check().map_err(said)?;
    Ok(One { outcome, died: !child })
}

/// The next life, which may itself be a short one.
pub fn recover(session: &mut Session) -> Result<(), String> {
    session.machine.kill();
    while session.chance.one_in(4) {
        let milliseconds = session.chance.below(250);
        session.machine.start_and_kill(Duration::from_millis(milliseconds))?;
    }
    session.machine.start(&Start::default())
}

/// Any process below the server: git, its hook, a script, a process of the application.
fn kill_a_child(session: &mut Session) -> String {
    let Some(server) = session.machine.pid() else { return "nobody".into() };
    let below = children::descendants(server);
    if below.is_empty() {
        return "nobody".into();
    }
    let victim = session.chance.of(&below);
    children::signal(victim.pid, Signal::SIGKILL);
    victim.command
}

/// Kills without chance, for a quick part: after each of these outcomes the checks must hold.
#[test]
fn a_few_kills_break_no_promise() {
    let options = Options { seed: 11, workers: 2, ..Options::default() };
    let tally = kills(&options, 12);
    assert_eq!(tally.broken(), Vec::<String>::new(), "{}", tally.row());
}

/// The control: a wish that nobody disturbs comes to what it should, and the checker finds nothing wrong. All wishes of a
/// mode with its first shape, and a few with every other one.
fn nobody_disturbs(mode: Mode) {
    let scenes = Scene::ALL.into_iter().filter(|scene| scene.mode == mode);
    for (nth, scene) in scenes.enumerate() {
        let mut session = Session::in_memory(scene, Chance::new(5 + nth as u64)).unwrap();
        // There is something to go back to.
        session.wish(Wish::Push(Health::Good)).unwrap();
        let few = if nth == 0 { usize::MAX } else { 3 };
        for (_, wish) in choices(mode).into_iter().take(few) {
            let outcome = session.wish(wish).unwrap();
            let right = match wish.health() {
                Health::Good => outcome == Outcome::Acknowledged,
                _ => matches!(outcome, Outcome::Refused(_)),
            };
            assert!(right, "{scene:?} {wish:?}: {outcome:?}\n{}", session.machine.log_tail(10));
            session.check().unwrap_or_else(|error| panic!("{scene:?} {wish:?}: {error}"));
            // What was edited badly stands there until it is edited again.
            session.wish(Wish::Push(Health::Good)).unwrap();
        }
    }
}

#[test]
fn what_nobody_disturbs_is_acknowledged_when_it_is_good_in_mode_cooking() {
    nobody_disturbs(Mode::Cooking);
}

#[test]
fn what_nobody_disturbs_is_acknowledged_when_it_is_good_in_mode_editable() {
    nobody_disturbs(Mode::Editable);
}

#[test]
fn what_nobody_disturbs_is_acknowledged_when_it_is_good_in_mode_final() {
    nobody_disturbs(Mode::Final);
}
