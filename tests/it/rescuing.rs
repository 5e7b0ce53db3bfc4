//! A rollback that failed, or was cut off by the end of its server: nothing starts on the wrong data, nothing is lost, and
//! every way out works.

use super::support::World;
use super::support::project::Project;
use std::fs;
use std::time::{Duration, Instant};

/// Sets the schema to 2 and fails, unless data allows it.
const MIGRATES: &str = "release: echo 2 > $COMMIS_DATA/schema; test -e $COMMIS_DATA/allow\nweb: python3 server.py\n";
const WEB: &str = "web: python3 server.py\n";
const BACKUP: &str = "#!/bin/sh\ncp \"$COMMIS_DATA/schema\" \"$COMMIS_DUMPS/schema\"\n";
const RESTORE: &str = "#!/bin/sh\nset -eu\ncp \"$COMMIS_DUMPS/schema\" \"$COMMIS_DATA/schema\"\necho reloaded\n";

/// v1 is live, with hooks that work and schema 1.
fn live(world: &World) -> Project<'_> {
    let blog = world
        .project("blog")
        .script(".commis/hooks/backup", "#!/bin/sh\ntouch \"$COMMIS_DUMPS/nothing\"\n")
        .script(".commis/hooks/post_deploy", "#!/bin/sh\necho 1 > \"$COMMIS_DATA/schema\"\n")
        .script(".commis/hooks/restore", RESTORE)
        .saying("old");
    blog.push("main").succeeds();
    world.settle();
    blog.remove(".commis/hooks/post_deploy").script(".commis/hooks/backup", BACKUP)
}

/// Deployment 2 has failed, and so has its undoing: its dump could not be read.
fn in_trouble(world: &World) -> Project<'_> {
    let blog = live(world).write("Procfile", MIGRATES).script(".commis/hooks/restore", "#!/bin/sh\nexit 7\n");
    let blog = blog.write("page.txt", "new").commit("breaks");
    let pushed = blog.push("main");
    pushed.is_rejected("rollback-failed").says("ROLLBACK FAILED, blog is DOWN").says("hook restore: exit 7");
    pushed.says("rescue blog");
    assert_ne!(world.page("blog").status, 200);
    blog
}

fn schema(blog: &Project<'_>) -> String {
    fs::read_to_string(blog.place("data/schema")).expect("the schema")
}

fn commands(shown: &serde_json::Value) -> Vec<String> {
    let choices = shown["choices"].as_array().cloned().unwrap_or_default();
    choices.iter().filter_map(|choice| choice["command"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_project_in_trouble_takes_nothing_and_shows_what_can_be_done() {
    let world = World::new();
    let blog = in_trouble(&world);
    let blog = blog.write("page.txt", "again").commit("again");
    let refused = blog.push("main");
    refused.is_rejected("needs-admin").says("blog needs an admin first").says("rescue blog").says("live=none");
    let shown = world.json(&["show", "blog"]);
    assert!(shown["live"].is_null() && !shown["trouble"].is_null(), "{shown:#}");
    let releases = world.json(&["releases", "blog"]);
    let live = |release: &serde_json::Value| release["live"] == true;
    assert!(!releases["releases"].as_array().expect("a list").iter().any(live), "{releases:#}");
    assert!(world.page("blog").body.contains("Nothing is running here now"));
    // What failed may be what puts it right: it stays, whatever is asked.
    world.commis(&["disk", "trim", "blog", "--failed"]).succeeded();
    world.commis(&["deploy", "blog"]).failed(75).says("needs an admin first");
    world.admit("jane", &[]);
    world.ssh("jane", &["rescue", "blog", "--accept"]).failed(77);
    let shown = world.json(&["rescue", "blog"]);
    assert_eq!((shown["live"].as_str(), shown["run"].as_str()), (Some("v1"), Some("v1")), "{shown:#}");
    assert!(shown["data"].as_str().is_some_and(|data| data.contains("half put back after #2")), "{shown:#}");
    let choices = ["--old", "--data 1", "--data 2", "--forward", "--accept"];
    assert_eq!(commands(&shown), choices.map(|choice| format!("rescue blog {choice}")));
    assert_eq!(shown["failed"][0]["archive"], "2.failed", "{shown:#}");
    assert!(shown["failed"][0]["tree"] == true && shown["failed"][0]["data"] == true, "{shown:#}");
    world.commis(&["rescue", "blog"]).succeeded().says("put aside       archives/2.failed: tree, data");
}

#[test]
fn nothing_starts_on_data_that_is_half_put_back_until_it_is_whole() {
    let mut world = World::new();
    let directory = in_trouble(&world).directory.clone();
    world.kill();
    world.start();
    world.learn_host_key();
    let blog = Project::at(&world, "blog", &directory);
    assert_ne!(world.page("blog").status, 200);
    assert_eq!(commands(&world.json(&["rescue", "blog"])).len(), 5);
    world.commis(&["rescue", "blog", "--old"]).succeeded().says("reloaded");
    assert_eq!((world.page("blog").body.as_str(), schema(&blog).as_str()), ("old", "1\n"));
    assert!(world.json(&["show", "blog"])["trouble"].is_null());
    world.commis(&["rescue", "blog", "--old"]).failed(1).says("does not need an admin");
    let blog = blog.script(".commis/hooks/restore", RESTORE).write("Procfile", WEB).saying("next");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "next");
}

#[test]
fn nothing_starts_on_data_that_is_half_put_back_when_it_comes_from_the_trash() {
    let world = World::new();
    let blog = in_trouble(&world);
    world.settle();
    world.commis(&["destroy", "blog", "--confirm", "blo"]).failed(64).says("--confirm says \"blo\", which is not blog");
    world.commis(&["destroy", "blog", "--confirm", "blog"]).succeeded();
    world.commis(&["undestroy", "blog"]).succeeded().says("blog is back; it needs an admin: ");
    assert_ne!(world.page("blog").status, 200);
    assert_eq!(world.json(&["show", "blog"])["processes"], serde_json::json!([]));
    world.commis(&["rescue", "blog", "--old"]).succeeded().says("reloaded");
    assert_eq!((world.page("blog").body.as_str(), schema(&blog).as_str()), ("old", "1\n"));
}

#[test]
fn the_way_forward_is_the_release_that_failed() {
    let world = World::new();
    let blog = in_trouble(&world);
    fs::write(blog.place("data/allow"), "").expect("what it needs");
    world.commis(&["rescue", "blog", "--forward"]).succeeded();
    assert_eq!((world.page("blog").body.as_str(), schema(&blog).as_str()), ("new", "2\n"));
    assert!(world.json(&["show", "blog"])["trouble"].is_null());
}

#[test]
fn the_way_forward_that_fails_too_leaves_the_choice_open() {
    let world = World::new();
    let _blog = in_trouble(&world);
    let forward = world.commis(&["rescue", "blog", "--forward"]);
    assert_ne!(forward.code, 0, "{forward:#?}");
    assert!(world.json(&["show", "blog"])["trouble"].is_string());
    world.commis(&["rescue", "blog", "--old"]).succeeded();
    assert_eq!(world.page("blog").body, "old");
}

#[test]
fn everything_can_be_taken_as_it_is() {
    let world = World::new();
    let blog = in_trouble(&world);
    world.commis(&["rescue", "blog", "--accept"]).succeeded().says("v1 is live");
    assert_eq!(world.page_when_up("blog").body, "old");
    let project = world.json(&["show", "blog"]);
    assert!(project["trouble"].is_null() && project["live"] == "v1", "{project:#}");
    let blog = blog.script(".commis/hooks/restore", RESTORE).write("Procfile", WEB).saying("next");
    blog.push("main").succeeds();
}

#[test]
fn data_of_a_backup_can_be_chosen() {
    let world = World::new();
    let blog = in_trouble(&world);
    fs::write(blog.place("data/schema"), "by hand").expect("data");
    world.commis(&["rescue", "blog", "--data", "2"]).succeeded();
    assert_eq!((world.page("blog").body.as_str(), schema(&blog).as_str()), ("old", "1\n"));
    assert_eq!(fs::read_to_string(blog.place("archives/3.left/data/schema")).expect("put aside"), "by hand");
}

/// A push that is cut off by the end of the server once its log says "halfway".
fn cut_off(world: &mut World, directory: &std::path::Path) {
    let blog = Project::at(world, "blog", directory);
    let running = blog.starts_pushing("main");
    let log = world.path("log/blog/2.log");
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("halfway")) {
        assert!(Instant::now() < until, "never got there: {}", running.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    world.kill();
    assert_ne!(running.ended().code, 0);
    world.start();
    world.learn_host_key();
}

fn is_undone(world: &World, blog: &Project<'_>) {
    assert_eq!(world.page_when_up("blog").body, "old");
    assert_eq!(schema(blog), "1\n");
    let record = world.json(&["show", "blog", "2"]);
    assert_eq!(
        (record["status"].as_str(), record["data"]["state"].as_str()),
        (Some("error"), Some("restored")),
        "{record:#}"
    );
    assert!(world.json(&["show", "blog"])["trouble"].is_null());
    assert_eq!(fs::read_to_string(blog.place("archives/2.failed/data/schema")).expect("put aside"), "2\n");
    let archives = super::support::leftovers::names(&blog.place("archives"));
    assert!(archives.iter().all(|name| !name.contains("restore") && !name.contains("partial")), "{archives:?}");
}

#[test]
fn a_server_that_dies_while_data_is_changed_puts_it_back_at_its_next_start() {
    let mut world = World::new();
    let directory = {
        let release = "release: echo 2 > $COMMIS_DATA/schema; echo halfway; sleep 600\nweb: python3 server.py\n";
        live(&world).write("Procfile", release).commit("slow").directory.clone()
    };
    cut_off(&mut world, &directory);
    let blog = Project::at(&world, "blog", &directory);
    is_undone(&world, &blog);
    let blog = blog.write("Procfile", WEB).saying("next");
    blog.push("main").succeeds();
}

#[test]
fn a_server_that_dies_while_data_is_put_back_goes_on_with_it_at_its_next_start() {
    let mut world = World::new();
    let restore = "#!/bin/sh\nset -eu\nif [ ! -e $COMMIS_DATA/second ]; then touch $COMMIS_DATA/second; echo halfway; sleep 600; fi\n\
                   rm $COMMIS_DATA/second\ncp $COMMIS_DUMPS/schema $COMMIS_DATA/schema\n";
    let directory = {
        let release = "release: echo 2 > $COMMIS_DATA/schema; exit 1\nweb: python3 server.py\n";
        let blog = live(&world).write("Procfile", release).script(".commis/hooks/restore", restore);
        blog.commit("breaks").directory.clone()
    };
    cut_off(&mut world, &directory);
    let blog = Project::at(&world, "blog", &directory);
    is_undone(&world, &blog);
    assert!(!blog.place("data/second").exists());
}
