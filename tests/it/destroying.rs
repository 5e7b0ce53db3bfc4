//! Destroyed projects: in the trash until their day, back when they are wanted, and never half of one thing.

use super::support::hashed::{self, Precious};
use super::support::leftovers::names;
use super::support::project::Project;
use super::support::{Ran, World};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn destroy(world: &World, name: &str) -> Ran {
    world.commis(&["project", "destroy", name, "--confirm", name])
}

/// A live project with precious data; its working copy.
fn live(world: &World, text: &str) -> PathBuf {
    let blog = world.project("blog").saying(text);
    blog.push("main").succeeds();
    world.settle();
    std::fs::write(blog.place("data/precious"), text).expect("data");
    blog.directory.clone()
}

/// The one directory in the trash.
fn trashed(world: &World) -> PathBuf {
    let found = names(&world.path("srv/.trash"));
    assert_eq!(found.len(), 1, "{found:?}");
    world.path("srv/.trash").join(&found[0])
}

#[test]
fn a_destroyed_project_comes_back_with_its_page_its_data_and_its_history() {
    let world = World::new();
    let directory = live(&world, "kept");
    let data = hashed::tree(&world.path("srv/blog/data"));
    let before = world.json(&["releases", "blog"]);
    destroy(&world, "blog").succeeded().says("commis undestroy blog");
    assert_eq!(world.page("blog").status, 404);
    world.commis(&["show", "blog"]).failed(66);
    assert!(!world.path("srv/blog").exists() && !world.path("log/blog").exists());
    assert_eq!(world.json(&["trash"])["destroyed"][0]["state"], "destroyed");
    world.commis(&["undestroy", "blog"]).succeeded().says("v1 is live again");
    assert_eq!(world.page_when_up("blog").body, "kept");
    assert_eq!(hashed::tree(&world.path("srv/blog/data")), data);
    assert_eq!(world.json(&["releases", "blog"]), before);
    world.commis(&["log", "blog", "1"]).succeeded().says("is live");
    assert_eq!(world.json(&["trash"])["destroyed"], serde_json::json!([]));
    let blog = Project::at(&world, "blog", &directory).saying("newer");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "newer");
    world.commis(&["undestroy", "blog"]).failed(66).says("no \"blog\" in the trash");
}

#[test]
fn a_new_project_of_the_same_name_is_never_overwritten() {
    let world = World::new();
    live(&world, "old");
    destroy(&world, "blog").succeeded();
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["undestroy", "blog"]).failed(1).says("another blog was made meanwhile").says("destroy that one");
    world.commis(&["project", "destroy", "blog", "--confirm", "blog", "--now"]).succeeded();
    assert_eq!(names(&world.path("srv")), [".trash", "server.lock"]);
    world.commis(&["undestroy", "blog"]).succeeded();
    assert_eq!(world.page_when_up("blog").body, "old");
}

#[test]
fn nobody_but_an_admin_destroys_lists_or_brings_back() {
    let world = World::new();
    live(&world, "old");
    world.admit("jane", &[]);
    for words in [&["project", "destroy", "blog", "--confirm", "blog"][..], &["trash"], &["undestroy", "blog"]] {
        world.ssh("jane", words).failed(77);
    }
    assert_eq!(world.page("blog").body, "old");
}

/// The database as it was before a destruction, with the row that a destruction begins with.
struct Rewound {
    before: PathBuf,
}

impl Rewound {
    /// Stops the server around the copy.
    fn remember(world: &mut World) -> Self {
        assert_eq!(world.stop(), Some(0));
        let before = world.path("before.db");
        std::fs::copy(world.path("state/state.db"), &before).expect("a copy");
        world.start();
        Self { before }
    }

    /// The server is dead: its state becomes that of a destruction whose rows are still there.
    fn put_back(&self, world: &World) {
        let after = world.path("state/state.db");
        let old = Connection::open(&self.before).expect("the copy");
        let attach = format!("ATTACH '{}' AS after", after.display());
        old.execute_batch(&attach).expect("the state");
        let copy = "INSERT INTO destroyed SELECT * FROM after.destroyed; UPDATE destroyed SET state = 'destroying';";
        old.execute_batch(copy).expect("the row");
        drop(old);
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(world.path(&format!("state/state.db{end}")));
        }
        std::fs::copy(&self.before, after).expect("a copy");
    }
}

fn set_state(world: &World, state: &str) {
    let database = Connection::open(world.path("state/state.db")).expect("the state");
    let rows = database.execute("UPDATE destroyed SET state = ?1", [state]).expect("a row");
    assert_eq!(rows, 1);
}

#[test]
fn a_destruction_that_was_interrupted_anywhere_is_finished_and_can_be_undone() {
    for moved in [true, false] {
        let mut world = World::new();
        live(&world, "kept");
        let data = hashed::tree(&world.path("srv/blog/data"));
        let rewound = Rewound::remember(&mut world);
        destroy(&world, "blog").succeeded();
        world.kill();
        rewound.put_back(&world);
        if !moved {
            std::fs::rename(trashed(&world), world.path("srv/blog")).expect("not moved yet");
        }
        world.start();
        world.commis(&["show", "blog"]).failed(66);
        assert_eq!(world.page("blog").status, 404);
        assert_eq!(hashed::tree(&trashed(&world).join("data")), data);
        world.commis(&["undestroy", "blog"]).succeeded();
        assert_eq!(world.page_when_up("blog").body, "kept");
        assert_eq!(hashed::tree(&world.path("srv/blog/data")), data);
    }
}

#[test]
fn a_return_that_was_interrupted_anywhere_is_finished() {
    for moved in [true, false] {
        let mut world = World::new();
        live(&world, "kept");
        destroy(&world, "blog").succeeded();
        world.kill();
        set_state(&world, "returning");
        if moved {
            std::fs::rename(trashed(&world), world.path("srv/blog")).expect("moved already");
        }
        world.start();
        assert_eq!(world.page_when_up("blog").body, "kept");
        assert_eq!(std::fs::read_to_string(world.path("srv/blog/data/precious")).expect("data"), "kept");
        world.commis(&["log", "blog", "1"]).succeeded();
    }
}

#[test]
fn a_purge_that_was_interrupted_is_finished_and_does_not_come_back_in_half() {
    let mut world = World::new();
    live(&world, "kept");
    destroy(&world, "blog").succeeded();
    world.kill();
    set_state(&world, "purging");
    std::fs::remove_dir_all(trashed(&world).join("git")).expect("half purged");
    world.start();
    assert_eq!(names(&world.path("srv/.trash")), Vec::<String>::new());
    assert_eq!(names(&world.path("log/.trash")), Vec::<String>::new());
    world.commis(&["undestroy", "blog"]).failed(66);
}

#[test]
fn on_its_day_the_trash_is_purged_without_being_asked() {
    let world = World::with("[trash]\ndays = 0\n[housekeeping]\nevery = \"1s\"\n");
    live(&world, "gone");
    destroy(&world, "blog").succeeded();
    let until = Instant::now() + Duration::from_secs(60);
    while !names(&world.path("srv/.trash")).is_empty() {
        assert!(Instant::now() < until, "still there after a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.commis(&["undestroy", "blog"]).failed(66);
}

#[test]
fn a_mount_that_is_in_use_stops_a_destruction_and_everything_is_as_before() {
    let world = World::new();
    live(&world, "kept");
    let root = world.path("srv/blog");
    let (mut idle, mut used) = (Precious::in_directory(world.path("idle")), Precious::in_directory(world.path("used")));
    idle.bind_at(&root.join("data/a/b/idle"));
    used.bind_at(&root.join("data/used"));
    let before = (hashed::tree(&idle.at), hashed::tree(&used.at));
    let open = std::fs::File::open(root.join("data/used/file")).expect("a file in use");
    destroy(&world, "blog").failed(75).says("mounted and in use").says("nothing was removed");
    assert_eq!(world.page_when_up("blog").body, "kept");
    for point in ["data/a/b/idle/file", "data/used/file"] {
        assert!(root.join(point).exists(), "{point} is not mounted any more");
    }
    assert_eq!(world.json(&["trash"])["destroyed"], serde_json::json!([]));
    drop(open);
    destroy(&world, "blog").succeeded();
    assert_eq!((hashed::tree(&idle.at), hashed::tree(&used.at)), before);
    assert!(!mounted_below(&world.path("srv")), "everything was unmounted");
    let back = world.commis(&["undestroy", "blog"]);
    back.succeeded().says("not started").says("mount it, then commis rescue blog --accept");
    assert_eq!(world.json(&["status"])["need_admin"], 1);
    world.commis(&["rescue", "blog", "--accept"]).succeeded();
    assert_eq!(world.page_when_up("blog").body, "kept");
    assert_eq!(world.json(&["status"])["need_admin"], 0);
}

#[test]
fn data_that_is_mounted_is_copied_a_last_time_and_stays_where_it_is() {
    let world = World::new();
    live(&world, "kept");
    let data = world.path("srv/blog/data");
    let mut disk = Precious::in_directory(world.path("disk"));
    disk.bind_at(&data);
    // An application with its own data there; what it holds is the application's.
    world.commis(&["deploy", "blog"]).succeeded();
    world.settle();
    let before = hashed::tree(&disk.at);
    destroy(&world, "blog").succeeded();
    assert_eq!(hashed::tree(&disk.at), before);
    assert!(!mounted_below(&world.path("srv")));
    let copy = trashed(&world).join("archives/destroyed/data/deep/er/file");
    assert_eq!(std::fs::read_to_string(copy).expect("the last copy"), "cannot be made again");
    let back = world.commis(&["undestroy", "blog"]);
    back.succeeded().says("data was a mount when blog was destroyed");
    disk.bind_at(&data);
    world.commis(&["rescue", "blog", "--accept"]).succeeded();
    assert_eq!(world.page_when_up("blog").body, "kept");
    destroy(&world, "blog").succeeded();
    assert_eq!(std::fs::read(disk.at.join("file")).expect("a file").len(), 100_000);
}

fn mounted_below(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    table.lines().any(|line| line.contains(&path.display().to_string()))
}

#[test]
fn a_purge_that_an_immutable_file_stops_names_it_and_goes_on_when_asked_again() {
    let world = World::new();
    live(&world, "held");
    let held = world.path("srv/blog/data/precious");
    let chattr = |flag: &str, path: &std::path::Path| {
        let done = std::process::Command::new("chattr").arg(flag).arg(path).status().expect("chattr");
        assert!(done.success(), "chattr {flag} {}", path.display());
    };
    chattr("+i", &held);
    let now = ["project", "destroy", "blog", "--confirm", "blog", "--now"];
    let stopped = world.commis(&now);
    let trash = trashed(&world);
    stopped.failed(1).says("data/precious: not permitted").says("immutable").says("chattr -i -a").says("to go on: ");
    assert_eq!(world.json(&["trash"])["destroyed"][0]["state"], "purging");
    world.commis(&now).failed(1).says("data/precious: not permitted");
    chattr("-i", &trash.join("data/precious"));
    world.commis(&["project", "destroy", "blog", "--confirm", "other", "--now"]).failed(64);
    world.commis(&now).succeeded().says("is purged");
    assert_eq!(names(&world.path("srv/.trash")), Vec::<String>::new());
    world.commis(&now).failed(66).says("blog");
}
