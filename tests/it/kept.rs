//! A rollback takes the tree that was kept when its release was replaced: what it serves, what happens to the tree when the
//! rollback fails or the server dies in the middle, and that a tree which somebody changed is noticed.

use super::support::leftovers::names;
use super::support::picture::timeless;
use super::support::running::Running;
use super::support::{Project, World, picture};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Does not start while there is `data/sick`, and takes its time while there is `data/slow`.
const PICKY: &str =
    "web: test ! -e $COMMIS_DATA/sick || exit 1; test ! -e $COMMIS_DATA/slow || sleep 600; exec python3 server.py\n";

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).ino()
}

/// v1 says `one`, v2 says `two` and is live; the tree of v1 is kept.
fn two_releases<'a>(world: &'a World, more: impl FnOnce(Project<'a>) -> Project<'a>) -> Project<'a> {
    let blog = more(world.project("blog").saying("one")).write("docs/deep/er/page", "one").commit("one");
    blog.push("main").succeeds();
    let blog = blog.write("page.txt", "two").remove("docs/deep/er/page").commit("two");
    blog.push("main").succeeds();
    world.settle();
    blog
}

/// Names of the steps of a deployment.
fn steps(world: &World, number: u32) -> Vec<String> {
    let record = world.json(&["show", "blog", &number.to_string()]);
    let steps = record["steps"].as_array().expect("steps").iter();
    steps.map(|step| step["name"].as_str().expect("a name").to_owned()).collect()
}

fn was_taken(world: &World, number: u32) -> bool {
    let steps = steps(world, number);
    let has = |name: &str| steps.iter().any(|step| step == name);
    assert_ne!(has("take"), has("unpack"), "{steps:?}");
    has("take")
}

fn rollback(world: &World, to: &str) {
    world.commis(&["rollback", "blog", to, "--code-only"]).succeeded();
    world.settle();
}

fn trouble(world: &World) -> Option<String> {
    world.json(&["show", "blog"])["trouble"].as_str().map(str::to_owned)
}

/// Other bytes of the same length at the same time of change, as only root can.
fn falsify(file: &Path, text: &str) {
    let before = fs::metadata(file).expect("a file");
    assert_eq!(before.len(), text.len() as u64);
    fs::write(file, text).expect("other bytes");
    fs::File::options()
        .write(true)
        .open(file)
        .expect("a file")
        .set_modified(before.modified().expect("a time"))
        .expect("a time");
}

fn log_says(world: &World, number: u32, text: &str) -> bool {
    fs::read_to_string(world.path(&format!("log/blog/{number}.log"))).is_ok_and(|log| log.contains(text))
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < until, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_rollback_takes_the_tree_that_was_kept_there_and_back_and_there_again() {
    let world = World::new();
    let blog = two_releases(&world, |blog| blog);
    let (one, two) = (inode(&blog.place("archives/2/run")), inode(&blog.place("run")));
    let (first, second) = (picture(&blog.place("archives/2/run")), picture(&blog.place("run")));
    assert_ne!(first, second);
    for (number, to, page, tree, files) in
        [(3, "v1", "one", one, &first), (4, "v2", "two", two, &second), (5, "v1", "one", one, &first)]
    {
        let said = world.commis(&["rollback", "blog", to]);
        said.succeeded().says(&format!("{to} is ready, its tree was kept"));
        assert_eq!(world.page("blog").body, page);
        world.settle();
        assert!(was_taken(&world, number));
        assert_eq!(inode(&blog.place("run")), tree, "the very tree");
        assert_eq!(&picture(&blog.place("run")), files, "run/ is the release and nothing else");
        assert_eq!(names(&blog.place("deploy")), ["current"]);
        let kept = |name: &String| blog.place(&format!("archives/{name}/run")).exists();
        let archives = names(&blog.place("archives"));
        assert_eq!(archives.iter().filter(|name| kept(name)).collect::<Vec<_>>(), [&number.to_string()]);
    }
    assert_eq!(trouble(&world), None);
    // What went elsewhere meanwhile is unpacked.
    let blog = blog.write("page.txt", "three").commit("three");
    blog.push("main").succeeds();
    world.settle();
    rollback(&world, "v2");
    assert!(!was_taken(&world, 7), "v1 is what was kept");
    rollback(&world, "v3");
    assert!(was_taken(&world, 8));
    assert_eq!(world.page("blog").body, "three");
}

#[test]
fn hooks_and_settings_of_a_rollback_are_those_of_the_tree_also_when_its_commit_is_gone() {
    let world = World::new();
    let hook = "#!/bin/sh\necho \"$COMMIS_RELEASE is deployed\"\n";
    let blog = two_releases(&world, |blog| blog.script(".commis/hooks/post_install", hook));
    let objects = blog.place("git/project.git/objects");
    fs::rename(&objects, world.path("all that git had")).expect("gone");
    fs::create_dir(&objects).expect("an empty directory");
    world.commis(&["rollback", "blog", "v1", "--code-only"]).succeeded().says("v1 is deployed");
    world.settle();
    assert!(was_taken(&world, 3));
    fs::remove_dir_all(blog.place("archives/3/run")).expect("the tree of v2");
    world.commis(&["rollback", "blog", "v2", "--code-only"]).succeeded().says("v2 is deployed");
    world.settle();
    assert!(!was_taken(&world, 4));
}

#[test]
fn a_kept_tree_that_root_changed_is_noticed_and_unpacked_again_by_the_rescue() {
    let world = World::new();
    let blog = two_releases(&world, |blog| blog);
    falsify(&blog.place("archives/2/run/page.txt"), "0ne");
    world.commis(&["rollback", "blog"]).succeeded();
    world.settle();
    assert!(was_taken(&world, 3));
    let what = trouble(&world).expect("an alarm");
    assert!(what.contains("what runs is not v1") && what.contains("same size, other content"), "{what}");
    world.commis(&["status"]).succeeded().says("need an admin");
    let blog = blog.write("page.txt", "three").commit("three");
    blog.push("main").is_rejected("needs-admin");
    world.commis(&["rollback", "blog", "v2"]).failed(75).says("what runs is not v1");
    world.commis(&["rescue", "blog", "--old"]).succeeded();
    world.settle();
    assert!(!was_taken(&world, 4), "what somebody changed is never taken again");
    assert_eq!((world.page("blog").body.as_str(), trouble(&world)), ("one", None));
    assert_eq!(fs::read_to_string(blog.place("archives/4/run/page.txt")).expect("what was found"), "0ne");
    rollback(&world, "v2");
    rollback(&world, "v1");
    assert!(was_taken(&world, 6));
    assert_eq!(world.page("blog").body, "one");
}

#[test]
fn a_tree_that_was_touched_and_is_still_its_release_alarms_nobody() {
    let world = World::new();
    let blog = two_releases(&world, |blog| blog);
    let file = blog.place("archives/2/run/page.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("the mode");
    for (number, to) in [(3, "v1"), (4, "v2"), (5, "v1")] {
        rollback(&world, to);
        assert!(was_taken(&world, number), "{to}");
        assert_eq!(trouble(&world), None);
    }
}

#[test]
fn a_tree_that_is_gone_or_another_one_in_its_place_is_unpacked_from_the_shelf() {
    let world = World::new();
    let blog = two_releases(&world, |blog| blog);
    let before = timeless(&blog.place("archives/2/run"));
    fs::rename(blog.place("archives/2/run"), world.path("away")).expect("gone");
    rollback(&world, "v1");
    assert!(!was_taken(&world, 3));
    assert_eq!((world.page("blog").body.as_str(), timeless(&blog.place("run"))), ("one", before));
    // Somebody else's, under the right name.
    let kept = blog.place("archives/3/run");
    fs::rename(&kept, world.path("away too")).expect("gone");
    fs::create_dir(&kept).expect("a directory");
    fs::write(kept.join("page.txt"), "not ours").expect("a file");
    rollback(&world, "v2");
    assert!(!was_taken(&world, 4));
    assert_eq!(world.page("blog").body, "two");
    // The right one, that others could write into.
    let kept = blog.place("archives/4/run");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).expect("a mode");
    rollback(&world, "v1");
    assert!(!was_taken(&world, 5));
    assert_eq!(trouble(&world), None);
}

#[test]
fn a_rollback_that_fails_its_check_keeps_the_tree_for_the_next_try() {
    let world = World::with("[health]\ntimeout = \"5s\"\n");
    let blog = two_releases(&world, |blog| blog.write("Procfile", PICKY));
    let (kept, before) = (blog.place("archives/2/run"), picture(&blog.place("archives/2/run")));
    let one = inode(&kept);
    fs::write(blog.place("data/sick"), "").expect("a reason to fail");
    world.commis(&["rollback", "blog", "v1"]).failed(3).says("is live again");
    world.settle();
    assert!(was_taken(&world, 3));
    assert_eq!((world.page("blog").body.as_str(), trouble(&world)), ("two", None));
    assert_eq!((inode(&kept), picture(&kept)), (one, before));
    assert_eq!(names(&blog.place("deploy")), ["current"]);
    fs::remove_file(blog.place("data/sick")).expect("no reason any more");
    rollback(&world, "v1");
    assert!(was_taken(&world, 4));
    assert_eq!((world.page("blog").body.as_str(), inode(&blog.place("run"))), ("one", one));
}

/// The server dies while a rollback to v1 is where `reached` says; afterwards everything is as before it.
fn dies_in_a_rollback((path, text): (&str, &str), reached: fn(&World, &Project<'_>) -> bool) {
    let mut world = World::new();
    let (directory, one) = {
        let blog = two_releases(&world, |blog| blog.script(path, text));
        (blog.directory.clone(), inode(&blog.place("archives/2/run")))
    };
    let sign = world.path("srv/blog/data/slow");
    fs::write(&sign, "").expect("a sign to wait");
    let running = Running::start(world.commis_command(&["rollback", "blog", "v1", "--code-only"]), "rollback");
    wait_until("the place", || reached(&world, &Project::at(&world, "blog", &directory)));
    world.kill();
    assert_ne!(running.ended().code, 0, "nobody acknowledged it");
    fs::remove_file(&sign).expect("the sign");
    world.start();
    world.learn_host_key();
    let blog = Project::at(&world, "blog", &directory);
    assert_eq!(world.page_when_up("blog").body, "two");
    world.settle();
    assert_eq!((inode(&blog.place("archives/2/run")), trouble(&world)), (one, None));
    assert_eq!(names(&blog.place("deploy")), ["current"]);
    assert_eq!(world.json(&["show", "blog", "3"])["status"], "error");
    // With data it came back as well, where data was touched.
    let _ = fs::remove_file(&sign);
    rollback(&world, "v1");
    assert!(was_taken(&world, 4));
    assert_eq!((world.page("blog").body.as_str(), inode(&blog.place("run"))), ("one", one));
}

const WAITS: &str = "#!/bin/sh\ntest ! -e \"$COMMIS_DATA/slow\" || { echo here; sleep 600; }\n";

#[test]
fn a_server_killed_between_taking_and_exchanging_keeps_the_tree() {
    dies_in_a_rollback((".commis/hooks/deploy", WAITS), |world, _| log_says(world, 3, "       here\n"));
}

#[test]
fn a_server_killed_while_the_taken_tree_starts_keeps_it() {
    dies_in_a_rollback(("Procfile", PICKY), |world, blog| {
        log_says(world, 3, "v2 -> v1") && fs::read_to_string(blog.place("run/page.txt")).is_ok_and(|page| page == "one")
    });
}

#[test]
fn a_server_killed_when_the_taken_tree_served_and_may_have_changed_data_keeps_it() {
    dies_in_a_rollback((".commis/hooks/post_deploy", WAITS), |world, _| log_says(world, 3, "       here\n"));
}

#[test]
fn a_server_killed_before_it_compared_the_tree_does_so_at_its_next_start() {
    for text in ["0ne", "one"] {
        let mut world = World::with("[apps]\nstop_grace = \"60s\"\n");
        let stubborn = "web: trap '' TERM; python3 server.py\n";
        let page = {
            let blog = world.project("blog").saying("one");
            blog.push("main").succeeds();
            let blog = blog.write("page.txt", "two").write("Procfile", stubborn).commit("two");
            blog.push("main").succeeds();
            world.settle();
            falsify(&blog.place("archives/2/run/page.txt"), text);
            // The old process does not want to stop, so that tidying takes long enough to be killed.
            world.commis(&["rollback", "blog"]).succeeded();
            assert_eq!(names(&blog.place("deploy")).len(), 2, "tidying is over");
            blog.place("run/page.txt")
        };
        world.kill();
        assert_eq!(trouble_is_noted(&mut world), text == "0ne", "{text}");
        assert_eq!(fs::read_to_string(page).expect("the page"), text);
    }
}

/// What a new life of the server says once it has recovered.
fn trouble_is_noted(world: &mut World) -> bool {
    world.start();
    world.learn_host_key();
    world.page_when_up("blog");
    wait_until("the end of the recovery", || world.json(&["status"])["deploying"] == serde_json::json!([]));
    trouble(world).is_some()
}

#[test]
fn a_project_that_was_destroyed_and_came_back_has_its_kept_tree() {
    let world = World::new();
    let blog = two_releases(&world, |blog| blog);
    let one = inode(&blog.place("archives/2/run"));
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).succeeded();
    world.commis(&["undestroy", "blog"]).succeeded();
    assert_eq!(world.page_when_up("blog").body, "two");
    rollback(&world, "v1");
    assert!(was_taken(&world, 3));
    assert_eq!((world.page("blog").body.as_str(), inode(&blog.place("run"))), ("one", one));
}

#[test]
fn a_release_that_is_not_kept_is_not_gone_back_to_although_its_tree_is_there() {
    let world = World::with("[releases]\nkeep = 2\n");
    let blog = two_releases(&world, |blog| blog);
    let row = "UPDATE releases SET pruned = 1 WHERE version = 1";
    let database = rusqlite::Connection::open(world.path("state/state.db")).expect("the database");
    assert_eq!(database.execute(row, []).expect("a row"), 1);
    world.commis(&["rollback", "blog", "v1"]).failed(66).says("no release v1");
    assert!(blog.place("archives/2/run").is_dir());
    assert_eq!(world.page("blog").body, "two");
}
