//! Every point of a deployment, a rollback and an undoing: dead there, failed there, or without power there. For a
//! server with the feature `failpoints`, which names its points in its log as it reaches them.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::checker;
use super::children;
use super::expected::Outcome;
use super::ground::Kind;
use super::kills;
use super::machine::Start;
use super::options::{Options, stopped};
use super::powercut;
use super::session::{Session, Wish, needs_admin};
use super::tally::{One, Tally};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// What happens at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Dies,
    Fails,
    LosesPower(Kind),
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Dies => "kill",
            Fate::Fails => "error",
            Fate::LosesPower(_) => "stop",
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

/// A walk: in which shape, with which wish, over which points.
#[derive(Clone, Copy)]
pub struct Walk {
    pub shape: Shape,
    pub wish: Wish,
    pub fate: Fate,
    /// Only points whose names begin so.
    pub only: &'static str,
}

/// A deployment, a rollback, a deployment again, and everything that has to be undone.
const WISHES: [Wish; 8] = [
    Wish::Push(Health::Good),
    Wish::Rollback,
    Wish::RollbackWithData,
    Wish::Redeploy,
    Wish::Push(Health::BadPostDeploy),
    Wish::Push(Health::Unhealthy),
    Wish::Push(Health::BadRelease),
    Wish::Push(Health::BadBuild),
];

/// Kills and failures at every point of every wish.
pub fn walks(options: &Options) -> Tally {
    let mut all = Vec::new();
    for wish in WISHES {
        all.push(Walk { shape: Shape::Hooks, wish, fate: Fate::Dies, only: "" });
        all.push(Walk { shape: Shape::Hooks, wish, fate: Fate::Fails, only: "" });
    }
    for wish in [WISHES[0], Wish::RollbackWithData, Wish::Push(Health::Unhealthy), Wish::Push(Health::BadRelease)] {
        all.push(Walk { shape: Shape::Migrates, wish, fate: Fate::Dies, only: "" });
        all.push(Walk { shape: Shape::Migrates, wish, fate: Fate::Fails, only: "" });
    }
    carry_out(Tally::new("walk", options), options, all)
}

/// The power is cut at every step of a deployment and of a rollback.
pub fn power(options: &Options, kind: Kind) -> Tally {
    let walk = |wish| Walk { shape: Shape::Migrates, wish, fate: Fate::LosesPower(kind), only: "" };
    let all = [WISHES[0], Wish::Rollback, Wish::RollbackWithData, Wish::Push(Health::BadPostDeploy)].map(walk).to_vec();
    carry_out(Tally::new(&format!("walk-power-{kind:?}").to_lowercase(), options), options, all)
}

fn carry_out(tally: Tally, options: &Options, all: Vec<Walk>) -> Tally {
    let waiting = Mutex::new(all);
    std::thread::scope(|scope| {
        for _ in 0..options.workers {
            scope.spawn(|| {
                while let Some(walk) = waiting.lock().expect("walks").pop() {
                    one_walk(&tally, options, walk);
                }
            });
        }
    });
    tally
}

fn session(options: &Options, walk: Walk) -> Result<Session, String> {
    let chance = Chance::new(options.seed);
    let mut session = match walk.fate {
        Fate::LosesPower(kind) => Session::on(kind, powercut::SIZE, (walk.shape, chance))?,
        Fate::Dies | Fate::Fails => Session::in_memory(walk.shape, chance)?,
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
    eprintln!("{}: {:?} {:?} {:?}: {} points", tally.name, walk.shape, walk.wish, walk.fate, points.len());
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
                let said = format!("{:?} {:?} at {point:?} {:?}: {error}", walk.shape, walk.wish, walk.fate);
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
        // A step that was done and then failed is none that exists: its failing is that of the next one.
        let none = walk.fate == Fate::Fails && name.starts_with("step.") && name.ends_with(".after");
        if at > ready && name.starts_with(walk.only) && !none {
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
    let mut attempt = session.begin(walk.wish)?;
    if let Fate::LosesPower(_) = walk.fate {
        let server = session.machine.pid().unwrap_or_default();
        while attempt.is_running() && !is_stopped(server) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let dark = powercut::lights_out(session);
        children::signal(server, Signal::SIGCONT);
        session.machine.kill_everything();
        dark?;
    }
    let outcome = session.end(attempt)?;
    let said = |error: String| format!("{outcome:?}: {error}");
    if walk.fate == Fate::Fails {
        heal(session, &outcome).map_err(said)?;
        return Ok(One { outcome, died: false });
    }
    if let Fate::LosesPower(_) = walk.fate {
        powercut::lights_on(session)?;
    } else {
        // It may die while it tidies up, after the verdict.
        children::until(Duration::from_millis(500), || !session.machine.is_up());
    }
    let died = !session.machine.is_up();
    kills::recover(session).and_then(|()| session.check()).map_err(said)?;
    Ok(One { outcome, died })
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

/// Of the steps alone, for a quick part; the long one goes over every point.
#[cfg(feature = "failpoints")]
#[test]
fn no_step_of_a_push_breaks_a_promise_by_dying_before_or_after_it() {
    let options = Options { workers: 1, ..Options::default() };
    let tally = Tally::new("walk", &options);
    let walk = Walk { shape: Shape::Hooks, wish: WISHES[0], fate: Fate::Dies, only: "step." };
    one_walk(&tally, &options, walk);
    assert_eq!(tally.broken(), Vec::<String>::new(), "{}", tally.row());
}

/// The release before is gone back to by its tree, which was kept: dead before that is taken, and right after.
#[cfg(feature = "failpoints")]
#[test]
fn no_kept_tree_is_lost_by_dying_before_or_after_it_is_taken() {
    let options = Options { workers: 1, ..Options::default() };
    let walk = Walk { shape: Shape::Hooks, wish: Wish::Rollback, fate: Fate::Dies, only: "step.take." };
    let found = session(&options, walk).and_then(|mut session| points(&mut session, walk));
    assert_eq!(found.map(|points| points.len()), Ok(2), "a rollback goes another way");
    let tally = Tally::new("walk", &options);
    one_walk(&tally, &options, walk);
    assert_eq!(tally.broken(), Vec::<String>::new(), "{}", tally.row());
}
