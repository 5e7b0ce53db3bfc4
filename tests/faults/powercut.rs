//! The power goes: the file system takes nothing any more, what it had not written is gone, every process dies, the
//! runtime directory is empty, and then somebody switches it on again.

use super::chance::Chance;
use super::ground::{self, Kind};
use super::options::Options;
use super::scene::Scene;
use super::session::Session;
use super::tally::{Experiment, One, Tally, repeat};
use std::time::Duration;

/// Small, but xfs has a smallest size.
pub const SIZE: &str = "330m";

pub fn powercuts(options: &Options, (kind, total): (Kind, u64)) -> Tally {
    let tally = Tally::new(&format!("powercuts-{kind:?}").to_lowercase(), options);
    let session = |nth: u64, chance: Chance| Session::on(kind, SIZE, (Scene::nth(nth), chance));
    repeat(&tally, options, total, &Experiment { session: &session, one: &one });
    tally
}

/// In the middle of something, or a moment after its verdict.
fn one(session: &mut Session, _: u64) -> Result<One, String> {
    let wish = session.random_wish();
    let mut attempt = session.begin(wish)?;
    let moment = session.chance.below(session.typical() * 4 / 3);
    while attempt.is_running() && attempt.milliseconds() < moment {
        std::thread::sleep(Duration::from_millis(1));
    }
    lights_out(session)?;
    // Nobody notices at once; what is said in this time must be true as well.
    std::thread::sleep(Duration::from_millis(session.chance.below(60)));
    session.machine.kill_everything();
    let outcome = session.end(attempt)?;
    let said = |error: String| format!("{wish:?}, {outcome:?}, when the power went after {moment} ms: {error}");
    lights_on(session).map_err(said)?;
    session.machine.start(&super::machine::Start::default()).and_then(|()| session.check()).map_err(said)?;
    Ok(One { outcome, died: true })
}

pub fn lights_out(session: &Session) -> Result<(), String> {
    session.ground.as_ref().ok_or("no ground")?.cut_power()
}

/// The disk is back, the memory is not. Does not start the server.
pub fn lights_on(session: &mut Session) -> Result<(), String> {
    session.machine.kill_everything();
    session.ground.as_ref().ok_or("no ground")?.power_on()?;
    empty_runtime(session);
    Ok(())
}

/// As /run and the mount table are after a boot.
pub fn empty_runtime(session: &Session) {
    let roots = &session.machine.roots;
    ground::unmount_below(&[&roots.projects, &roots.state, &roots.runtime, &roots.logs]);
    let _ = std::fs::remove_dir_all(&session.machine.roots.runtime);
}

#[test]
fn a_few_power_cuts_on_ext4_break_no_promise() {
    let options = Options { seed: 3, workers: 2, ..Options::default() };
    let tally = powercuts(&options, (Kind::Ext4, 6));
    assert_eq!(tally.broken(), Vec::<String>::new(), "{}", tally.row());
}

/// The control: what was written and not synced is lost, what was synced is not. Otherwise nothing above says anything.
#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
    use std::io::Write;
    let ground = super::ground::Ground::new(Kind::Ext4, "64m").unwrap();
    let path = |name: &str| ground.path().join(name);
    let mut kept = std::fs::File::create(path("kept")).unwrap();
    kept.write_all(b"kept").unwrap();
    kept.sync_all().unwrap();
    std::fs::File::open(ground.path()).unwrap().sync_all().unwrap();
    std::fs::write(path("lost"), "lost").unwrap();
    drop(kept);
    ground.cut_power().unwrap();
    assert!(std::fs::write(path("later"), "x").is_err());
    ground.power_on().unwrap();
    assert_eq!(std::fs::read_to_string(path("kept")).unwrap(), "kept");
    assert!(!path("lost").exists() && !path("later").exists());
}
