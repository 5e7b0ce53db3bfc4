//! Many deployments of a tiny site by one server: afterwards it holds no more of anything than at the start.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::children::{self, names};
use super::expected::Outcome;
use super::ground;
use super::options::{Options, stopped};
use super::scene::{Mode, Scene, Wish};
use super::session::Session;
use super::tally::{One, Tally};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Counts = BTreeMap<&'static str, Vec<String>>;

/// So many by a server that cooks, and a quarter of that by one of each other mode; whole tens, so that the end is the
/// same moment of a server's life as the start.
pub fn soak(options: &Options) -> Tally {
    let tally = Tally::new("soak", options);
    for (mode, total) in
        [(Mode::Cooking, options.soak), (Mode::Editable, options.soak / 4), (Mode::Final, options.soak / 4)]
    {
        let total = total.next_multiple_of(10);
        let scene = Scene { mode, shape: Shape::Static };
        match Session::in_memory(scene, Chance::new(options.seed)) {
            Ok(mut session) => {
                if let Err(error) = run(&tally, total, &mut session) {
                    tally.broke(&format!("{mode:?}: {error}"), (options, Some(&session)));
                }
            }
            Err(error) => tally.broke(&error, (options, None)),
        }
    }
    tally
}

/// Ten deployments: one is refused, one goes back, where there is a way back; they must leave nothing either.
fn ten(mode: Mode, turn: u64) -> [Wish; 10] {
    use Health::{BadPostDeploy, BadRelease, Good, Unhealthy};
    let bad = |choices: &[Health]| choices[turn as usize % choices.len()];
    match mode {
        Mode::Cooking => {
            let mut all = [Wish::Push(Good); 10];
            (all[4], all[7]) = (Wish::Push(bad(&Health::BAD)), Wish::Rollback);
            all
        }
        Mode::Editable => {
            let mut all = [Wish::Push(Good); 10];
            (all[1], all[4], all[8]) = (Wish::Edit(Good), Wish::PushOver(bad(&Health::BAD)), Wish::PushOver(Good));
            all
        }
        Mode::Final => {
            let mut all = [Wish::Promote(Good); 10];
            (all[2], all[4]) = (Wish::Carry(Good), Wish::Promote(bad(&[BadRelease, Unhealthy, BadPostDeploy])));
            (all[6], all[7]) = (Wish::Push(Good), Wish::Rollback);
            all
        }
    }
}

fn run(tally: &Tally, total: u64, session: &mut Session) -> Result<(), String> {
    // Before the first count everything happened once: pools and caches are filled, the newest failed tree is kept.
    for turn in 0..4 {
        for wish in ten(session.scene.mode, turn) {
            session.wish(wish)?;
        }
    }
    session.check()?;
    let start = counts(session)?;
    deploy(tally, total, session)?;
    session.check()?;
    // What is closed a little later is closed.
    let mut last = Vec::new();
    let same = children::until(Duration::from_secs(20), || {
        last = counts(session).map(|end| differences(&start, &end)).unwrap_or_else(|error| vec![error]);
        last.is_empty()
    });
    if same { Ok(()) } else { Err(format!("after {total} deployments: {}", last.join("; "))) }
}

fn deploy(tally: &Tally, total: u64, session: &mut Session) -> Result<(), String> {
    for index in 0..total {
        if stopped() {
            return Ok(());
        }
        let wish = ten(session.scene.mode, index / 10)[index as usize % 10];
        let outcome = session.wish(wish)?;
        let refused = matches!(outcome, Outcome::Refused(_));
        if refused != (wish.health() != Health::Good) || outcome == Outcome::CutOff {
            return Err(format!("deployment {index}, {wish:?}: {outcome:?}"));
        }
        tally.count(&One { outcome, died: false });
        if index % 50 == 49 {
            session.check()?;
        }
    }
    Ok(())
}

/// Everything that could grow, by name.
fn counts(session: &Session) -> Result<Counts, String> {
    let server = session.machine.pid().ok_or("no server")?;
    let proc = PathBuf::from(format!("/proc/{server}"));
    let fds = names(&proc.join("fd"));
    let target = |fd: &String| std::fs::read_link(proc.join("fd").join(fd)).unwrap_or_default().display().to_string();
    // A number in brackets names one socket or pipe; which one it is does not matter.
    let kind = |fd: &String| target(fd).split(':').next().unwrap_or_default().to_owned();
    let mounts = std::fs::read_to_string(proc.join("mountinfo")).map_err(|error| error.to_string())?;
    let id = ground::server_id(&session.machine.roots.state.join("state.db")).ok_or("no id")?;
    let roots = &session.machine.roots;
    Ok(BTreeMap::from([
        ("descriptors", sorted(fds.iter().map(kind))),
        ("mounts", sorted(mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned))),
        ("mounts here", sorted(ground::mount_table().lines().filter_map(|l| l.split(' ').nth(4)).map(str::to_owned))),
        ("groups", sorted(ground::cgroups(&id).iter().flat_map(|top| below(top)).map(|path| without_numbers(&path)))),
        ("processes", sorted(session.machine.processes().into_iter().map(|process| process.command))),
        (
            "children",
            sorted(
                children::descendants(server).into_iter().map(|process| without_numbers(Path::new(&process.command))),
            ),
        ),
        ("files of the state", files(&roots.state, |_| true)),
        ("volatile files", files(&roots.runtime, |_| true)),
        ("files of the project", files(&roots.projects, is_counted)),
    ]))
}

/// Objects and kept edits of the repository are the history; what failed is kept for days; of what is archived, only that it is there.
fn is_counted(path: &Path) -> bool {
    let mut parts = path.components().skip_while(|part| part.as_os_str() != "archives");
    let failed = |path: &Path| path.extension().is_some_and(|end| end == "failed" || end == "left");
    parts.nth(2).is_none()
        && !failed(path)
        && !path.components().any(|part| part.as_os_str() == "objects" || part.as_os_str() == "edits")
}

fn files(root: &Path, counted: fn(&Path) -> bool) -> Vec<String> {
    sorted(children::below(root).iter().filter(|path| counted(path)).map(|path| without_numbers(path)))
}

fn below(top: &Path) -> Vec<PathBuf> {
    children::below(top).into_iter().filter(|path| path.is_dir()).collect()
}

/// `blog-v12-3f9c2e1.tar.zst` and `blog-v13-77aa012.tar.zst` are one name.
fn without_numbers(path: &Path) -> String {
    let mut text = String::new();
    for part in path.display().to_string().split_inclusive(['/', '-', '.']) {
        let hex = part.trim_end_matches(['/', '-', '.']).trim_start_matches('v');
        let number = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        text.push_str(if number { "#" } else { part });
    }
    text
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn differences(start: &Counts, end: &Counts) -> Vec<String> {
    let mut found = Vec::new();
    for (what, before) in start {
        let after = end.get(what).cloned().unwrap_or_default();
        let count = |names: &[String], name: &String| names.iter().filter(|other| *other == name).count();
        let mut names: Vec<&String> = before.iter().chain(&after).collect();
        names.dedup();
        names.sort();
        names.dedup();
        for name in names {
            let (before, after) = (count(before, name), count(&after, name));
            if before != after {
                found.push(format!("{what}: {name}: {before} became {after}"));
            }
        }
    }
    found
}

#[test]
fn a_few_deployments_leave_nothing_behind() {
    let options = Options { soak: 20, ..Options::default() };
    let tally = soak(&options);
    assert_eq!(tally.broken(), Vec::<String>::new());
}

/// The control: one descriptor, one file, one group more is a difference.
#[test]
fn what_is_left_is_a_difference() {
    let start = Counts::from([("files", vec!["a".to_owned(), "b".to_owned()])]);
    let end = Counts::from([("files", vec!["a".to_owned(), "b".to_owned(), "b".to_owned()])]);
    assert_eq!(differences(&start, &end), ["files: b: 1 became 2"]);
    assert_eq!(differences(&start, &start), Vec::<String>::new());
    assert_eq!(without_numbers(Path::new("/x/blog-v12-3f9c2e1.tar.zst")), "/x/blog-##tar.zst");
}
