//! Known-bad controls: each breaks one promise behind the server's back, and the checker must say so. A checker that
//! finds nothing wrong here would find nothing wrong anywhere.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::scene::{Mode, Scene, Wish};
use super::session::{PROJECT, Session};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rusqlite::Connection;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

fn database(session: &Session) -> Connection {
    Connection::open(session.machine.roots.state.join("state.db")).unwrap()
}

fn sql(session: &Session, statement: &str) {
    database(session).execute_batch(statement).unwrap();
}

/// Something done behind the server's back, and what mends it.
type Break<'a> = (&'a dyn Fn(&Session), &'a dyn Fn(&Session));

/// Breaks something, wants these words, and mends it.
fn caught(session: &mut Session, words: &str, how: Break<'_>) {
    let before = session.expected.clone();
    how.0(session);
    let said = session.check();
    how.1(session);
    let said = said.err().unwrap_or_else(|| panic!("the checker did not notice: {words}"));
    assert!(said.contains(words), "{words:?} is not in:\n{said}");
    session.expected = before;
    session.check().unwrap_or_else(|error| panic!("after {words:?} was mended: {error}"));
}

#[test]
fn the_checker_catches_what_it_is_there_for() {
    let mut session = Session::in_memory(Scene::cooking(Shape::Static), Chance::new(1)).unwrap();
    session.wish(Wish::Push(Health::Good)).unwrap();
    session.check().unwrap();
    let session = &mut session;
    files_that_changed(session);
    a_branch_that_moved(session);
    rows_that_lie(session);
    things_that_are_left(session);
    groups_and_processes_that_are_left(session);
}

#[test]
fn the_checker_catches_what_is_wrong_with_an_edited_tree() {
    let scene = Scene { mode: Mode::Editable, shape: Shape::Static };
    let mut session = Session::in_memory(scene, Chance::new(1)).unwrap();
    session.wish(Wish::PushOver(Health::Good)).unwrap();
    session.wish(Wish::Edit(Health::Good)).unwrap();
    session.check().unwrap();
    let session = &mut session;
    let page = |s: &Session| s.place("run/index.html");
    let edited = std::fs::read(page(session)).unwrap();
    let write = |path: PathBuf, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    caught(session, "P1 P2", (&|s| write(page(s), b"page 1 of somebody"), &|s| write(page(s), &edited)));
    let more = |s: &Session| s.place("run/more");
    caught(session, "P1 P2", (&|s| write(more(s), b""), &|s| std::fs::remove_file(more(s)).unwrap()));
    the_tree_is_not_seen(session);
    let branch = |s: &Session| git(s, &["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/edits/"]);
    let kept = branch(session);
    let (name, commit) = kept.trim().split_once(' ').unwrap();
    caught(
        session,
        "P1 P2",
        (&|s| drop(git(s, &["update-ref", "-d", name])), &|s| drop(git(s, &["update-ref", name, commit]))),
    );
}

/// Nothing at `project/`, something else there, or the same twice.
fn the_tree_is_not_seen(session: &mut Session) {
    let (run, project) = (session.place("run"), session.place("project"));
    let bind = || mount(Some(&run), &project, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let end = || umount2(&project, MntFlags::empty()).unwrap();
    caught(session, "nothing at blog/project", (&|_| end(), &|_| bind()));
    caught(session, "left mounted", (&|_| bind(), &|_| end()));
    let other = || mount(Some("tmpfs"), &project, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    caught(session, "does not show run/", (&|_| other(), &|_| end()));
}

#[test]
fn the_checker_catches_what_is_wrong_with_a_release_from_elsewhere() {
    let mut session = Session::in_memory(Scene { mode: Mode::Final, shape: Shape::Static }, Chance::new(1)).unwrap();
    session.wish(Wish::Promote(Health::Good)).unwrap();
    session.wish(Wish::PushPillar).unwrap();
    session.check().unwrap();
    let session = &mut session;
    let half = session.place("incoming/x.partial");
    caught(
        session,
        "left in incoming/",
        (&|_| std::fs::create_dir(&half).unwrap(), &|_| std::fs::remove_dir(&half).unwrap()),
    );
    // It came as a whole long ago.
    let forgotten = session.staging.as_ref().unwrap().live_sha256().unwrap();
    let forgotten = session.place(&format!("incoming/{forgotten}.partial"));
    caught(
        session,
        "left in incoming/",
        (&|_| std::fs::create_dir(&forgotten).unwrap(), &|_| std::fs::remove_dir(&forgotten).unwrap()),
    );
    let releases = session.place("releases");
    let signature = super::children::names(&releases).into_iter().find(|name| name.ends_with(".sig")).unwrap();
    let path = releases.join(signature);
    let bytes = std::fs::read(&path).unwrap();
    caught(session, ".sig", (&|_| std::fs::remove_file(&path).unwrap(), &|_| std::fs::write(&path, &bytes).unwrap()));
    let pillar = session.place("git/pillar.git/refs/heads/main");
    let head = std::fs::read(&pillar).unwrap();
    caught(
        session,
        "P1 P2",
        (&|_| std::fs::remove_file(&pillar).unwrap(), &|_| std::fs::write(&pillar, &head).unwrap()),
    );
}

fn git(session: &Session, words: &[&str]) -> String {
    let repository = session.place("git/project.git").display().to_string();
    session.git(&[&["-c", "safe.directory=*", "--git-dir", &repository], words].concat()).unwrap()
}

fn files_that_changed(session: &mut Session) {
    let page = |s: &Session| s.place("run/index.html");
    let old = std::fs::read(page(session)).unwrap();
    let changed = |s: &Session| {
        let mut bytes = std::fs::read(page(s)).unwrap();
        bytes[0] ^= 1;
        std::fs::write(page(s), bytes).unwrap();
    };
    caught(session, "P4: run/ is not the release", (&changed, &|s| std::fs::write(page(s), &old).unwrap()));
    let more = |s: &Session| s.place("run/more");
    caught(
        session,
        "P4: run/",
        (&|s| std::fs::write(more(s), "").unwrap(), &|s| std::fs::remove_file(more(s)).unwrap()),
    );
    let ledger = |s: &Session| s.place("data/ledger");
    caught(
        session,
        "P1 P2",
        (&|s| std::fs::write(ledger(s), "one\n").unwrap(), &|s| std::fs::write(ledger(s), "one\ntwo\n").unwrap()),
    );
    let archive = |s: &Session| -> PathBuf {
        let names = super::children::names(&s.place("releases"));
        s.place("releases").join(names.iter().find(|name| name.ends_with(".tar.zst")).unwrap())
    };
    let bytes = std::fs::read(archive(session)).unwrap();
    let path = archive(session);
    caught(
        session,
        "sha256 is",
        (&|_| std::fs::write(&path, &bytes[1..]).unwrap(), &|_| std::fs::write(&path, &bytes).unwrap()),
    );
}

fn a_branch_that_moved(session: &mut Session) {
    let point = |s: &Session, to: &str| {
        let repository = s.place("git/project.git").display().to_string();
        s.git(&["-c", "safe.directory=*", "--git-dir", &repository, "update-ref", "refs/heads/main", to]).unwrap();
    };
    caught(
        session,
        "P1 P2",
        (&|s| point(s, s.git(&["rev-parse", "HEAD^"]).unwrap().trim()), &|s| {
            point(s, s.git(&["rev-parse", "HEAD"]).unwrap().trim());
        }),
    );
}

fn rows_that_lie(session: &mut Session) {
    caught(
        session,
        "P7: unfinished",
        (&|s| sql(s, "UPDATE deployments SET status = 'in_progress' WHERE number = 1"), &|s| {
            sql(s, "UPDATE deployments SET status = 'inactive' WHERE number = 1")
        }),
    );
    caught(
        session,
        "the deployments that say success",
        (&|s| sql(s, "UPDATE deployments SET status = 'success' WHERE number = 1"), &|s| {
            sql(s, "UPDATE deployments SET status = 'inactive' WHERE number = 1")
        }),
    );
    caught(
        session,
        "P1 P2",
        (&|s| sql(s, "UPDATE projects SET live_version = 1"), &|s| sql(s, "UPDATE projects SET live_version = 2")),
    );
    caught(
        session,
        "needs an admin without need",
        (&|s| sql(s, "UPDATE projects SET trouble = 'so'"), &|s| sql(s, "UPDATE projects SET trouble = NULL")),
    );
    caught(
        session,
        "P5",
        (&|s| sql(s, "UPDATE deployments SET finished_at = finished_at + 3600000 WHERE number = 1"), &|s| {
            sql(s, "UPDATE deployments SET finished_at = finished_at - 3600000 WHERE number = 1")
        }),
    );
}

fn things_that_are_left(session: &mut Session) {
    for (place, words) in [
        ("deploy/20260101T000000Z-9", "left in deploy/"),
        ("archives/9.partial", "left in archives/"),
        ("build/x", "left in build/"),
        ("trash/x", "left in trash/"),
        ("releases/blog-v9-0000000.tar.zst", "is not in the ledger"),
        ("releases/.blog.0000.new", "left half written"),
        ("git/project.git/refs/heads/main.lock", "left half written"),
    ] {
        let path = session.place(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        caught(session, words, (&|_| std::fs::create_dir(&path).unwrap(), &|_| std::fs::remove_dir(&path).unwrap()));
    }
    let point = session.place("cache");
    caught(
        session,
        "left mounted",
        (&|_| mount(Some("tmpfs"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap(), &|_| {
            umount2(&point, MntFlags::empty()).unwrap()
        }),
    );
}

fn groups_and_processes_that_are_left(session: &mut Session) {
    let id = super::ground::server_id(&session.machine.roots.state.join("state.db")).unwrap();
    let group = super::ground::cgroups(&id).pop().unwrap().join(format!("{PROJECT}.web.99"));
    caught(
        session,
        "left as groups",
        (&|_| std::fs::create_dir(&group).unwrap(), &|_| std::fs::remove_dir(&group).unwrap()),
    );
    use std::os::unix::fs::MetadataExt;
    let user = std::fs::metadata(session.place("data")).unwrap().uid();
    let stray = std::cell::RefCell::new(None);
    caught(
        session,
        "a process is left",
        (&|_| *stray.borrow_mut() = Some(Command::new("sleep").arg("600").uid(user).spawn().unwrap()), &|_| {
            let mut child = stray.borrow_mut().take().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        }),
    );
}
