//! Reboots, disks that become read-only, and clocks that jump.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::children;
use super::expected::Outcome;
use super::ground::Kind;
use super::machine::Start;
use super::options::Options;
use super::powercut;
use super::scene::{Scene, Wish};
use super::session::{PROJECT, Session};
use super::tally::{Experiment, One, Tally, repeat};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every process dies in the middle of something, mounts are gone, `/run` is empty. The next start needs no hands.
pub fn reboots(options: &Options, total: u64) -> Tally {
    let tally = Tally::new("reboot", options);
    repeat(&tally, options, total, &Experiment { session: &super::kills::session, one: &reboot });
    tally
}

fn reboot(session: &mut Session, _: u64) -> Result<One, String> {
    let wish = session.random_wish();
    let mut attempt = session.begin(wish)?;
    let moment = session.chance.below(session.typical() * 4 / 3);
    while attempt.is_running() && attempt.milliseconds() < moment {
        std::thread::sleep(Duration::from_millis(1));
    }
    session.machine.kill_everything();
    let outcome = session.end(attempt)?;
    powercut::empty_runtime(session);
    session.machine.remove_cgroups();
    session.machine.start(&Start::default())?;
    session.check().map_err(|error| format!("{wish:?}, {outcome:?}, rebooted after {moment} ms: {error}"))?;
    Ok(One { outcome, died: true })
}

/// The clocks of a server, while pushes go on.
const CLOCKS: [&str; 6] =
    ["+365d", "-365d", "@1970-01-01 00:00:05", "@2038-01-19 03:14:00", "@2106-02-07 06:28:00", "+0"];

pub fn clocks(options: &Options, total: u64) -> Tally {
    let tally = Tally::new("clocks", options);
    repeat(&tally, options, total, &Experiment { session: &clock_session, one: &clock });
    tally
}

fn clock_session(nth: u64, chance: Chance) -> Result<Session, String> {
    let mut session = super::kills::session(nth, chance)?;
    session.clock_jumps = true;
    session.machine.kill();
    set_clock(&session, "+0")?;
    session.machine.start(&faked(&session)?)?;
    Ok(session)
}

/// A server whose clock is what a file says, from one call to the next. What it waits for goes by another clock.
fn faked(session: &Session) -> Result<Start, String> {
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        .map(|place| Path::new(place).join("faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| path.exists())
        .ok_or("no libfaketime: bin/setup --faults")?;
    let env: [(&str, String); 5] = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock_file(session).display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
        // Files keep the times of the real clock, as a disk keeps those of its past.
        ("NO_FAKE_STAT", "1".into()),
    ];
    Ok(Start { env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(), wrapper: Vec::new() })
}

fn clock_file(session: &Session) -> PathBuf {
    session.machine.path("clock")
}

fn set_clock(session: &Session, to: &str) -> Result<(), String> {
    let (file, new) = (clock_file(session), session.machine.path("clock.new"));
    std::fs::write(&new, format!("{to}\n"))
        .and_then(|()| std::fs::rename(&new, &file))
        .map_err(|error| error.to_string())
}

fn clock(session: &mut Session, _: u64) -> Result<One, String> {
    let wish = session.random_wish();
    let before = newest(session)?;
    let to = session.chance.of(&CLOCKS);
    let attempt = session.begin(wish)?;
    std::thread::sleep(Duration::from_millis(session.chance.below(session.typical())));
    set_clock(session, to)?;
    let (outcome, words) = session.end_with_words(attempt)?;
    let said = |error: String| format!("{wish:?}, {outcome:?}, with the clock set to {to}: {error}");
    let is_good = wish.health() == Health::Good && !matches!(wish, Wish::Rollback | Wish::RollbackWithData);
    // What was edited badly is still there.
    let again = matches!(wish, Wish::Redeploy | Wish::ConfigureAndDeploy);
    let stands = session.expected.certain().is_none_or(|state| state.edits.is_empty()) || !again;
    if is_good && stands && outcome != Outcome::Acknowledged {
        return Err(said(format!("a jump of the clock is no reason to refuse: {words}")));
    }
    session.check().map_err(said)?;
    let after = newest(session)?;
    let refused = outcome != Outcome::Acknowledged;
    if after != before + u64::from(wish.deploys()) && !(refused && after == before) {
        return Err(said(format!("deployment {after} came after {before}")));
    }
    if session.chance.one_in(4) {
        session.machine.kill();
        session.machine.start(&faked(session)?).and_then(|()| session.check()).map_err(said)?;
    }
    Ok(One { outcome, died: false })
}

/// The highest number of a deployment.
fn newest(session: &Session) -> Result<u64, String> {
    let shown = session.machine.json(&["show", PROJECT])?;
    let rows = shown["deployments"].as_array().ok_or("no deployments")?;
    rows.iter().filter_map(|row| row["id"].as_u64()).max().ok_or("no deployments".into())
}

#[test]
fn a_reboot_in_the_middle_needs_no_hands() {
    let mut session = super::kills::session(1, Chance::new(6)).unwrap();
    for index in 0..3 {
        reboot(&mut session, index).unwrap();
    }
}

#[test]
fn the_clock_may_jump() {
    let mut session = clock_session(0, Chance::new(3)).unwrap();
    for index in 0..4 {
        clock(&mut session, index).unwrap();
    }
}

/// The bytes of a release say nothing about when it was made.
#[test]
fn the_same_commit_is_the_same_archive_in_another_century() {
    let archive = |clock: Option<&str>| {
        let chance = Chance::new(9);
        let mut session = super::kills::session(0, chance).unwrap();
        if let Some(clock) = clock {
            session.machine.kill();
            set_clock(&session, clock).unwrap();
            session.machine.start(&faked(&session).unwrap()).unwrap();
        }
        assert_eq!(session.wish(Wish::Push(Health::Good)), Ok(Outcome::Acknowledged));
        let names = children::names(&session.place("releases"));
        let second = names.iter().find(|name| name.contains("-v2-") && name.ends_with(".tar.zst")).unwrap().clone();
        (std::fs::read(session.place("releases").join(&second)).unwrap(), second)
    };
    assert!(archive(None) == archive(Some("@2038-01-19 03:14:00")));
}

/// ext4 that met an error takes nothing any more, and everything that only looks goes on.
#[test]
fn a_disk_that_became_read_only_serves_and_refuses_with_the_reason() {
    let mut session = Session::on(Kind::Ext4, "200m", (Scene::cooking(Shape::Static), Chance::new(8))).unwrap();
    let ground = session.ground.as_ref().unwrap();
    ground.fail().unwrap();
    let page = session.machine.page(PROJECT).unwrap();
    assert_eq!(page.0, 200, "{page:?}");
    for look in [vec!["status"], vec!["show", PROJECT], vec!["releases", PROJECT], vec!["list"]] {
        let ran = session.machine.verb(&look).unwrap();
        assert_eq!(ran.code, 0, "{look:?}: {ran:?}");
    }
    let attempt = session.begin(Wish::Push(Health::Good)).unwrap();
    let (outcome, said) = session.end_with_words(attempt).unwrap();
    assert_ne!(outcome, Outcome::Acknowledged);
    assert!(said.to_lowercase().contains("read-only") || said.contains("disk"), "no reason in: {said}");
    assert_eq!(session.machine.page(PROJECT).unwrap(), page);
    powercut::lights_on(&mut session).unwrap();
    session.machine.start(&Start::default()).and_then(|()| session.check()).unwrap();
    assert_eq!(session.wish(Wish::Push(Health::Good)), Ok(Outcome::Acknowledged));
    session.check().unwrap();
}
