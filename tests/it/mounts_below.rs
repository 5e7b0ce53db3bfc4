//! Nothing that is removed is removed through a mount: a directory of somebody else's, bound inside every directory of a
//! project on the same file system, is the same after each thing that removes.

use super::support::World;
use super::support::hashed::{self, Precious};
use super::support::leftovers::names;
use super::support::project::Project;
use std::path::Path;
use std::process::Command;

/// Directories of a project, and where in it something is bound. A hand of its own for each: `run/` and `deploy/`
/// change places.
const POINTS: [&str; 7] = ["run/d", "data/d", "deploy/d", "archives/d", "build/d", "cache/d", "releases/d.partial"];

/// Two releases, and something that was once there to be removed.
fn two_releases(world: &World) -> Project<'_> {
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    let blog = blog.saying("second");
    blog.push("main").succeeds();
    world.settle();
    blog
}

fn bound(world: &World, point: &str) -> (Precious, String) {
    let mut precious = Precious::in_directory(world.path("precious"));
    precious.bind_at(&world.path("srv/blog").join(point));
    let hash = hashed::tree(&precious.at);
    (precious, hash)
}

/// Everything that removes below a project, one after the other.
fn survives(world: &mut World, point: &str) {
    let directory = two_releases(world).directory.clone();
    let (mut precious, hash) = bound(world, point);
    let same = |precious: &Precious, after: &str| assert_eq!(hashed::tree(&precious.at), hash, "{point}: {after}");
    let blog = Project::at(world, "blog", &directory).saying("third");
    // Some of these are refused because of the mount; all of them leave it alone.
    let _ = blog.push("main");
    world.settle();
    same(&precious, "a deployment");
    let _ = blog.saying("fourth").push("main");
    world.settle();
    same(&precious, "a second deployment");
    let _ = world.commis(&["rollback", "blog"]);
    world.settle();
    same(&precious, "a rollback");
    world.commis(&["disk", "trim", "blog"]).succeeded();
    same(&precious, "a trim");
    world.commis(&["fixperms", "blog"]).succeeded();
    same(&precious, "fixperms");
    world.kill();
    world.start();
    same(&precious, "a sweep at the start");
    world.page_when_up("blog");
    precious.unbind_below(&world.path("srv"));
    world.stop();
    world.start();
    same(&precious, "everything");
    // Where the mount kept a deployment from being undone, an admin ends the trouble.
    world.commis(&["deploy", "blog"]).succeeded();
    Project::at(world, "blog", &directory).saying("fifth").push("main").succeeds();
    assert_eq!(world.page("blog").body, "fifth", "{point}: without the mount all is well");
}

#[test]
fn what_is_bound_in_the_live_tree_survives() {
    survives(&mut World::new(), POINTS[0]);
}

#[test]
fn what_is_bound_in_data_survives() {
    survives(&mut World::new(), POINTS[1]);
}

#[test]
fn what_is_bound_among_trees_on_their_way_survives() {
    survives(&mut World::new(), POINTS[2]);
}

#[test]
fn what_is_bound_among_archives_survives() {
    survives(&mut World::new(), POINTS[3]);
}

#[test]
fn what_is_bound_in_the_work_space_of_builds_survives() {
    survives(&mut World::new(), POINTS[4]);
}

#[test]
fn what_is_bound_in_caches_and_half_releases_survives() {
    survives(&mut World::new(), POINTS[5]);
    survives(&mut World::new(), POINTS[6]);
}

#[test]
fn a_purge_stops_at_what_is_mounted_in_the_trash_and_goes_on_later() {
    let mut world = World::with("[trash]\ndays = 0\n");
    two_releases(&world);
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).succeeded();
    let directory = names(&world.path("srv/.trash")).remove(0);
    let mut precious = Precious::in_directory(world.path("precious"));
    precious.bind_at(&world.path("srv/.trash").join(&directory).join("data/d"));
    let hash = hashed::tree(&precious.at);
    world.stop();
    let database = rusqlite::Connection::open(world.path("state/state.db")).expect("the state");
    database.execute("UPDATE destroyed SET state = 'purging'", []).expect("a row");
    drop(database);
    world.start();
    assert_eq!(hashed::tree(&precious.at), hash);
    assert!(world.server_log().contains("something is mounted on"), "said, not hidden");
    precious.unbind_below(&world.path("srv"));
    world.stop();
    world.start();
    assert_eq!(names(&world.path("srv/.trash")), Vec::<String>::new());
    assert_eq!(hashed::tree(&precious.at), hash);
}

#[test]
fn a_removal_that_compares_devices_loses_it() {
    let place = tempfile::tempdir().expect("a directory");
    let mut precious = Precious::in_directory(place.path().join("precious"));
    precious.bind_at(&place.path().join("tree/d"));
    let hash = hashed::tree(&precious.at);
    let removed = Command::new("rm").args(["-rf", "--one-file-system"]).arg(place.path().join("tree")).status();
    precious.unbind_below(place.path());
    assert!(removed.is_ok(), "rm ran");
    assert_ne!(hashed::tree(&precious.at), hash, "known-bad: this is what must not happen to anybody");
    assert!(!Path::new(&precious.at).join("file").exists());
}
