//! Every point of a deployment, a rollback and an undoing in each mode: dead there, failed there, without power, room or
//! disk there. For a server with the feature `failpoints`, which names its points in its log as it reaches them.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::checker;
use super::children;
use super::expected::Outcome;
use super::full;
use super::ground::Kind;
use super::kills;
use super::machine::Start;
use super::options::{Options, stopped};
use super::powercut;
use super::scene::{Mode, Scene, Wish};
use super::session::Session;
use super::tally::{One, Tally, Waiting};
use super::wishing::{Attempt, needs_admin};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::time::Duration;

/// What happens at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Dies,
    Fails,
    LosesPower(Kind),
    /// From there on until the verdict there is no room, for a byte or a file.
    HasNoRoom,
    /// From there on the disk answers every call with EIO; somebody switches off and on after the verdict.
    LosesDisk(Kind),
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Dies => "kill",
            Fate::Fails => "error",
            // It waits until this was done to it.
            Fate::LosesPower(_) | Fate::HasNoRoom | Fate::LosesDisk(_) => "stop",
        }
    }

    /// Whether it is worth looking at a point with this fate.
    fn concerns(self, point: &str) -> bool {
        match self {
            Fate::Dies | Fate::LosesPower(_) => true,
            // A step that was done and then failed is none that exists: its failing is that of the next one.
            Fate::Fails => !(point.starts_with("step.") && point.ends_with(".after")),
            // What follows a point at which something is over is another point.
            Fate::HasNoRoom | Fate::LosesDisk(_) => !point.ends_with(".after"),
        }
    }
}

/// The `nth` time (from 0, since the server's start) that a point is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    name: String,
    nth: u64,
}

impl Point {
    fn armed(&self, fate: Fate) -> Start {
        let Self { name, nth } = self;
        let skip = if *nth > 0 { format!("{nth}*off->") } else { String::new() };
        Start::armed(&format!("{name}={skip}1*return({})", fate.word()))
    }
}

/// A walk: in which scene, with which wish, over which points.
#[derive(Clone, Copy)]
pub struct Walk {
    pub scene: Scene,
    pub wish: Wish,
    pub fate: Fate,
    /// Only points whose names begin so.
    pub only: &'static str,
}

/// Deployments, rollbacks, deployments again, and everything that has to be undone: all that a mode does.
fn wishes(mode: Mode) -> Vec<(Shape, Wish)> {
    use Health::{BadBuild, BadPostDeploy, BadRelease, Good, Unhealthy};
    let hooks = |wishes: &[Wish]| wishes.iter().map(|wish| (Shape::Hooks, *wish)).collect::<Vec<_>>();
    let migrates = |wishes: &[Wish]| wishes.iter().map(|wish| (Shape::Migrates, *wish)).collect::<Vec<_>>();
    let bad = [BadPostDeploy, Unhealthy, BadRelease, BadBuild].map(Wish::Push);
    match mode {
        Mode::Cooking => [
            hooks(&[Wish::Push(Good), Wish::Rollback, Wish::RollbackWithData, Wish::Redeploy]),
            hooks(&bad),
            migrates(&[Wish::Push(Good), Wish::RollbackWithData, bad[1], bad[2]]),
            vec![(Shape::MigratesLate, Wish::Push(Good)), (Shape::MigratesLate, bad[0])],
        ]
        .concat(),
        // The way back is the undoing.
        Mode::Editable => [
            hooks(&[Wish::Push(Good), Wish::PushOver(Good), Wish::Edit(Good)]),
            hooks(&[Wish::PushOver(BadPostDeploy), Wish::PushOver(Unhealthy), Wish::PushOver(BadBuild)]),
            hooks(&[Wish::Edit(Unhealthy)]),
        ]
        .concat(),
        Mode::Final => [
            hooks(&[Wish::Promote(Good), Wish::Push(Good), Wish::Carry(Good), Wish::Rollback, Wish::Redeploy]),
            hooks(&[Wish::Promote(BadPostDeploy)]),
            migrates(&[Wish::Promote(Good), Wish::RollbackWithData, Wish::Promote(Unhealthy)]),
        ]
        .concat(),
    }
}

/// One deployment, one way back, and one undoing of each mode, for what takes longer at each point.
fn shortest(mode: Mode) -> Vec<(Shape, Wish)> {
    use Health::{BadPostDeploy, Good, Unhealthy};
    match mode {
        Mode::Cooking => [Wish::Push(Good), Wish::Rollback, Wish::RollbackWithData, Wish::Push(BadPostDeploy)]
            .map(|wish| (Shape::Migrates, wish))
            .into_iter()
            .chain([(Shape::MigratesLate, Wish::Push(Good))])
            .collect(),
        Mode::Editable => [Wish::PushOver(Good), Wish::Edit(Good), Wish::PushOver(Unhealthy)]
            .map(|wish| (Shape::Hooks, wish))
            .to_vec(),
        Mode::Final => [Wish::Promote(Good), Wish::Carry(Good), Wish::RollbackWithData, Wish::Promote(BadPostDeploy)]
            .map(|wish| (Shape::Migrates, wish))
            .to_vec(),
    }
}

/// Kills and failures at every point of every wish of a mode.
pub fn walks(options: &Options, mode: Mode) -> Tally {
    let both = |(shape, wish)| [Fate::Dies, Fate::Fails].map(|fate| walk((mode, shape), wish, fate));
    let all = wishes(mode).into_iter().flat_map(both).collect();
    carry_out(Tally::new(&format!("walk-{mode:?}").to_lowercase(), options), options, all)
}

/// The same fate at every point of a deployment, a way back and an undoing in all modes.
pub fn everywhere(options: &Options, (name, fate): (&str, Fate)) -> Tally {
    let modes = [Mode::Editable, Mode::Final, Mode::Cooking];
    let of = |mode| shortest(mode).into_iter().map(move |(shape, wish)| walk((mode, shape), wish, fate));
    carry_out(Tally::new(name, options), options, modes.into_iter().flat_map(of).collect())
}

fn walk((mode, shape): (Mode, Shape), wish: Wish, fate: Fate) -> Walk {
    Walk { scene: Scene { mode, shape }, wish, fate, only: "" }
}

fn carry_out(tally: Tally, options: &Options, mut all: Vec<Walk>) -> Tally {
    if let Some(wish) = &options.wish {
        all.retain(|walk| format!("{:?}", walk.wish) == *wish);
    }
    let waiting = Waiting::new(all);
    std::thread::scope(|scope| {
        for _ in 0..options.workers {
            scope.spawn(|| {
                while let Some(walk) = waiting.next() {
                    one_walk(&tally, options, walk);
                }
            });
        }
    });
    tally
}

/// Of a disk that is filled time and again; a server wants some room in reserve.
const SMALL: &str = "160m";

fn session(options: &Options, walk: Walk) -> Result<Session, String> {
    let chance = Chance::new(options.seed);
    let mut session = match walk.fate {
        Fate::LosesPower(kind) | Fate::LosesDisk(kind) => Session::on(kind, powercut::SIZE, (walk.scene, chance))?,
        Fate::HasNoRoom => Session::on(Kind::Memory, SMALL, (walk.scene, chance))?,
        Fate::Dies | Fate::Fails => Session::in_memory(walk.scene, chance)?,
    };
    // There must be something to go back to, also after many a rollback.
    session.wish(Wish::Push(Health::Good))?;
    session.check()?;
    Ok(session)
}

/// All points of one wish, one after the other.
pub fn one_walk(tally: &Tally, options: &Options, walk: Walk) {
    let mut current = session(options, walk);
    let points = match current.as_mut().map_err(|error| error.clone()).and_then(|session| points(session, walk)) {
        Ok(points) => points,
        Err(error) => return tally.broke(&format!("{:?}: no points: {error}", walk.wish), (options, None)),
    };
    eprintln!("{}: {:?} {:?} {:?}: {} points", tally.name, walk.scene, walk.wish, walk.fate, points.len());
    for point in points {
        if stopped() {
            return;
        }
        if current.is_err() {
            current = session(options, walk);
        }
        let done = current.as_mut().map_err(|error| error.clone()).and_then(|session| at(session, walk, &point));
        match done {
            Ok(one) => tally.count(&one),
            Err(error) => {
                let said = format!("{:?} {:?} at {point:?} {:?}: {error}", walk.scene, walk.wish, walk.fate);
                tally.broke(&said, (options, current.as_ref().ok()));
                current = Err("a new one is needed".into());
            }
        }
    }
}

/// What a life with this wish reaches, with counts from its start; the points of the start itself left out.
fn points(session: &mut Session, walk: Walk) -> Result<Vec<Point>, String> {
    prepare(session, walk)?;
    session.machine.kill();
    let before = session.machine.log().len();
    session.machine.start(&Start::default())?;
    session.check()?;
    let ready = session.machine.log().len();
    session.wish(walk.wish)?;
    session.check()?;
    let log = session.machine.log();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    let mut points = Vec::new();
    let mut at = before;
    for line in log[before..].split_inclusive('\n') {
        at += line.len();
        let Some((_, name)) = line.trim_end().split_once(" failpoint: ") else { continue };
        let nth = *counts.entry(name).and_modify(|count| *count += 1).or_insert(0);
        if at > ready && name.starts_with(walk.only) && walk.fate.concerns(name) {
            points.push(Point { name: name.to_owned(), nth });
        }
    }
    if points.is_empty() { Err("the server names no points: it is not built with them".into()) } else { Ok(points) }
}

/// Before a rollback there is something to go back from.
fn prepare(session: &mut Session, walk: Walk) -> Result<(), String> {
    if matches!(walk.wish, Wish::Rollback | Wish::RollbackWithData) {
        session.wish(Wish::Push(Health::Good))?;
        session.check()?;
    }
    Ok(())
}

fn at(session: &mut Session, walk: Walk, point: &Point) -> Result<One, String> {
    prepare(session, walk)?;
    session.machine.kill();
    if session.machine.start(&point.armed(walk.fate)).is_err() {
        // The start itself reached it: then that is where it dies.
        session.restart()?;
        session.check()?;
        return Ok(One { outcome: Outcome::CutOff, died: true });
    }
    let attempt = session.begin(walk.wish)?;
    match walk.fate {
        Fate::Dies => dies(session, attempt),
        Fate::Fails => fails(session, attempt),
        Fate::LosesPower(_) => loses_power(session, attempt),
        Fate::HasNoRoom => has_no_room(session, attempt),
        Fate::LosesDisk(_) => loses_disk(session, attempt),
    }
}

fn dies(session: &mut Session, attempt: Attempt) -> Result<One, String> {
    let outcome = session.end(attempt)?;
    // It may die while it tidies up, after the verdict.
    children::until(Duration::from_millis(500), || !session.machine.is_up());
    let died = !session.machine.is_up();
    kills::recover(session).and_then(|()| session.check()).map_err(|error| format!("{outcome:?}: {error}"))?;
    Ok(One { outcome, died })
}

fn fails(session: &mut Session, attempt: Attempt) -> Result<One, String> {
    let outcome = session.end(attempt)?;
    heal(session, &outcome).map_err(|error| format!("{outcome:?}: {error}"))?;
    Ok(One { outcome, died: false })
}

fn loses_power(session: &mut Session, mut attempt: Attempt) -> Result<One, String> {
    let server = until_stopped(session, &mut attempt);
    let dark = powercut::lights_out(session);
    children::signal(server, Signal::SIGCONT);
    session.machine.kill_everything();
    dark?;
    let outcome = session.end(attempt)?;
    powercut::lights_on(session)?;
    kills::recover(session).and_then(|()| session.check()).map_err(|error| format!("{outcome:?}: {error}"))?;
    Ok(One { outcome, died: true })
}

fn has_no_room(session: &mut Session, mut attempt: Attempt) -> Result<One, String> {
    let server = until_stopped(session, &mut attempt);
    if !is_stopped(server) {
        // It did not come so far this time; whoever comes there later must not stop.
        let outcome = session.end(attempt)?;
        session.restart().and_then(|()| session.check()).map_err(|error| format!("{outcome:?}: {error}"))?;
        return Ok(One { outcome, died: false });
    }
    let ground = session.ground.as_ref().ok_or("no ground")?;
    let ballast = ground.fill();
    children::signal(server, Signal::SIGCONT);
    let ended = session.end(attempt);
    // What is tidied after the verdict has no room either.
    std::thread::sleep(Duration::from_millis(50));
    full::remove(&ballast?)?;
    let outcome = ended?;
    full::room_again(session).map_err(|error| format!("{outcome:?}: {error}"))?;
    Ok(One { outcome, died: false })
}

fn loses_disk(session: &mut Session, mut attempt: Attempt) -> Result<One, String> {
    let server = until_stopped(session, &mut attempt);
    let gone = powercut::lights_out(session);
    children::signal(server, Signal::SIGCONT);
    gone?;
    let outcome = session.end(attempt)?;
    powercut::lights_on(session)?;
    let said = |error: String| format!("{outcome:?}: {error}");
    session.machine.start(&Start::default()).and_then(|()| session.check()).map_err(said)?;
    let again = session.begin(Wish::Push(Health::Good))?;
    let (next, words) = session.end_with_words(again)?;
    session.check().map_err(said)?;
    match next {
        Outcome::Acknowledged => Ok(One { outcome, died: true }),
        next => Err(said(format!("the next push, on a good disk: {next:?}: {words}"))),
    }
}

/// Until the server waits at its point, or the wish has ended without reaching it.
fn until_stopped(session: &Session, attempt: &mut Attempt) -> u32 {
    let server = session.machine.pid().unwrap_or_default();
    while attempt.is_running() && !is_stopped(server) {
        std::thread::sleep(Duration::from_millis(2));
    }
    server
}

/// The server lives on; what people see now is true, and what could not be written down is soon.
fn heal(session: &mut Session, outcome: &Outcome) -> Result<(), String> {
    match (needs_admin(outcome), session.chance.one_in(2)) {
        // An admin is needed, and comes.
        (true, _) => session.redeploy_whatever_is(),
        (false, true) => checker::glance(session).and_then(|()| session.restart()).and_then(|()| session.check()),
        (false, false) => checker::glance(session).and_then(|()| session.redeploy_whatever_is()),
    }
}

/// SIGSTOP has come.
fn is_stopped(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
}

#[path = "walk_quick.rs"]
mod quick;
