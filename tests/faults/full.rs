//! No room: the projects, the state or the logs are on a small disk, which somebody fills in the middle of a
//! deployment, with bytes or with files. What does not fit is refused and says so; with room again all is well.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::expected::Outcome;
use super::ground::{self, Ground, Kind};
use super::machine::Roots;
use super::options::Options;
use super::scene::{Scene, Wish};
use super::session::Session;
use super::staging::Staging;
use super::tally::{Experiment, One, Tally, repeat};
use std::path::Path;
use std::time::Duration;

/// Which of the roots is on the small disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Projects,
    State,
    Logs,
}

pub fn full(options: &Options, total: u64) -> Tally {
    let tally = Tally::new("full", options);
    repeat(&tally, options, total, &Experiment { session: &session, one: &one });
    tally
}

/// Every session has a root and a kind of disk of its own.
fn session(nth: u64, chance: Chance) -> Result<Session, String> {
    let which = [Which::Projects, Which::State, Which::Logs][nth as usize % 3];
    let kind = [Kind::Memory, Kind::FewInodes][(nth as usize / 3) % 2];
    small(which, kind, (Scene::nth(nth), chance))
}

fn small(which: Which, kind: Kind, what: (Scene, Chance)) -> Result<Session, String> {
    let staging = Staging::of(what.0)?;
    let ground = Ground::new(kind, "160m")?;
    // The other roots lie beside it, where there is room: on the machine's own disk.
    let beside = ground::scratch("beside")?.keep();
    let (small, large) = (Roots::below(&ground.path()), Roots::below(&beside));
    let roots = match which {
        Which::Projects => Roots { projects: small.projects, ..large },
        Which::State => Roots { state: small.state, ..large },
        Which::Logs => Roots { logs: small.logs, ..large },
    };
    let mut session = Session::new(roots, staging, what)?;
    session.ground = Some(ground);
    session.beside = Some(beside);
    session.begin_life()?;
    Ok(session)
}

fn one(session: &mut Session, index: u64) -> Result<One, String> {
    let wish = session.random_wish();
    let early = session.chance.one_in(4);
    let moment = if early { 0 } else { session.chance.below(session.typical()) };
    let mut attempt = None;
    if !early {
        let begun = attempt.insert(session.begin(wish)?);
        while begun.is_running() && begun.milliseconds() < moment {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let ground = session.ground.as_ref().ok_or("no ground")?;
    let ballast = if index.is_multiple_of(2) { ground.fill()? } else { ground.take_inodes()? };
    let ended = match attempt {
        Some(attempt) => session.end(attempt),
        None => session.wish(wish),
    };
    let killed = session.chance.one_in(3);
    if killed {
        session.machine.kill();
    }
    remove(&ballast)?;
    let outcome = ended?;
    let said = |error: String| format!("{wish:?}, {outcome:?}, full after {moment} ms: {error}");
    if killed {
        session.restart().map_err(said)?;
    }
    room_again(session).map_err(said)?;
    Ok(One { outcome, died: killed })
}

/// What was true stays true, and with room everything works without hands, or after those of an admin who was called.
pub fn room_again(session: &mut Session) -> Result<(), String> {
    session.expected.trouble_is_honest = true;
    // What could not be written down while the disk was full is, by the next deployment.
    session.redeploy_whatever_is()?;
    session.expected.trouble_is_honest = false;
    let next = session.wish(Wish::Push(Health::Good))?;
    session.check()?;
    if next == Outcome::Acknowledged { Ok(()) } else { Err(format!("the next push, with room: {next:?}")) }
}

pub fn remove(ballast: &Path) -> Result<(), String> {
    let removed = if ballast.is_dir() { std::fs::remove_dir_all(ballast) } else { std::fs::remove_file(ballast) };
    removed.map_err(|error| error.to_string())
}

#[test]
fn a_full_disk_breaks_no_promise() {
    for which in [Which::Projects, Which::State, Which::Logs] {
        let mut session = small(which, Kind::Memory, (Scene::cooking(Shape::Static), Chance::new(2))).unwrap();
        for index in 0..2 {
            one(&mut session, index).unwrap_or_else(|error| panic!("{which:?}: {error}"));
        }
    }
}
