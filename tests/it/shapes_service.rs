//! A data service without a web process: its own PostgreSQL in `data/`, which is too big and too alive to be copied, an
//! import, a dump as its backup. The recipe is in `docs/shapes.md`.

use super::clients::wait_until;
use super::support::world::run;
use super::support::{Project, World, picture, postgres};
use std::process::Command;

/// What its readers see, asked as its own user over its own socket.
fn regions(atlas: &Project<'_>) -> String {
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(atlas.place("data")).expect("data")).to_string();
    let mut psql = Command::new("setpriv");
    psql.args(["--reuid", &owner, "--regid", &owner, "--clear-groups", "--"]).arg(postgres::programs().join("psql"));
    psql.args(["-XAtq", "-U", "atlas", "-d", "atlas", "-h"]).arg(atlas.place("data/socket")).env_clear();
    let tables = "select relname from pg_class where relname like 'regions%' and relkind = 'r' order by 1;";
    let rows = "select name, people from regions order by name;";
    run(psql, &format!("{tables}{rows}"), "psql").stdout
}

const FIRST: &str = "regions\nalsace|2\nbretagne|3\n";

/// The import of the first release, once the server answers.
fn atlas(world: &World) -> Project<'_> {
    let atlas = world.project("atlas").app("shape-atlas");
    atlas.push("main").succeeds();
    wait_until(|| regions(&atlas) == FIRST);
    atlas
}

/// Files of data/ besides those of the server, which it changes all the time.
fn files(atlas: &Project<'_>) -> Vec<String> {
    let own = |line: &String| !line.starts_with("pg/") && !line.starts_with("socket");
    picture(&atlas.place("data")).into_iter().filter(own).collect()
}

fn comes_to_say(atlas: &Project<'_>, rows: &str) {
    wait_until(|| regions(atlas) == rows);
}

#[test]
fn an_import_that_fails_is_undone_by_the_dump_and_what_is_excluded_is_neither_copied_nor_lost() {
    let world = World::new();
    let atlas = atlas(&world);
    let before = files(&atlas);
    assert!(before.iter().any(|line| line.starts_with("downloads/planet.bin")), "{before:?}");
    // In the build.
    let atlas = atlas.write("regions.csv", "alsace;4\n").commit("a bad file");
    atlas.push("main").is_rejected("build-failed").says("bad lines");
    // After the switch, with the new table left half made.
    let atlas = atlas.write("regions.csv", "corse,1\ncorse,2\n").commit("twice the same");
    atlas.push("main").is_rejected("rolled-back").says("duplicate key").says("the database is as it was");
    world.settle();
    comes_to_say(&atlas, FIRST);
    assert_eq!(files(&atlas), before);
}

#[test]
fn an_import_that_was_whole_before_something_else_failed_is_undone_too_and_backups_hold_no_server() {
    let world = World::new();
    let atlas = atlas(&world);
    let before = files(&atlas);
    let late = "#!/bin/sh\nexit 9\n";
    let atlas = atlas.write("regions.csv", "corse,1\n").script(".commis/hooks/post_install", late).commit("late");
    atlas.push("main").is_rejected("rolled-back").says("hook post_install: exit 9");
    world.settle();
    comes_to_say(&atlas, FIRST);
    assert_eq!(files(&atlas), before);
    let atlas = atlas.remove(".commis/hooks/post_install").commit("good");
    atlas.push("main").succeeds();
    world.settle();
    let copies = picture(&atlas.place("archives/3"));
    for part in ["dumps/atlas.dump", "data/imported.csv"] {
        assert!(copies.iter().any(|line| line.starts_with(part)), "{part} not in {copies:?}");
    }
    assert!(copies.iter().all(|line| !line.contains("planet.bin") && !line.contains("pg/base")), "{copies:?}");
}

#[test]
fn a_data_service_goes_back_to_what_it_said_before_an_import() {
    let world = World::new();
    let atlas = atlas(&world);
    let atlas = atlas.write("regions.csv", "corse,1\n").commit("another import");
    atlas.push("main").succeeds();
    world.settle();
    comes_to_say(&atlas, "regions\ncorse|1\n");
    world.commis(&["rollback", "atlas", "--with-data"]).succeeded().says("the database is as it was");
    world.settle();
    // The old release imports its own file again, which is the same.
    comes_to_say(&atlas, FIRST);
}

#[test]
fn with_backups_by_hooks_alone_the_dump_is_loaded_and_files_stay_as_they_are() {
    let world = World::new();
    let atlas = atlas(&world);
    let late = "#!/bin/sh\necho kept > $COMMIS_DATA/note\nexit 9\n";
    let atlas = atlas
        .write(".commis/project.toml", "[data]\nbackup = \"hooks\"\n")
        .write("regions.csv", "corse,1\n")
        .script(".commis/hooks/post_install", late)
        .commit("by hooks");
    atlas.push("main").is_rejected("rolled-back").says("the database is as it was");
    world.settle();
    comes_to_say(&atlas, FIRST);
    assert_eq!(std::fs::read_to_string(atlas.place("data/note")).expect("what the hook wrote"), "kept\n");
    assert!(!atlas.place("archives/2/data").exists());
}

#[test]
fn a_service_whose_old_release_does_not_stay_up_after_a_failure_is_not_said_to_be_live_again() {
    let world = World::new();
    let worker = "worker: test ! -e $COMMIS_DATA/broken || exit 4; exec sleep 600\n";
    let mill = world
        .project("mill")
        .write("Procfile", worker)
        .write(".commis/project.toml", "[data]\nbackup = \"hooks\"\n")
        .script(".commis/hooks/backup", "#!/bin/sh\n")
        .script(".commis/hooks/restore", "#!/bin/sh\n")
        .commit("mill");
    mill.push("main").succeeds();
    let mill = mill.script(".commis/hooks/post_deploy", "#!/bin/sh\ntouch $COMMIS_DATA/broken\nexit 9\n").commit("bad");
    mill.push("main").is_rejected("rollback-failed").says("worker.1 does not stay up");
    assert!(world.json(&["show", "mill"])["trouble"].is_string());
    // The control: what stays up is live again.
    std::fs::remove_file(mill.place("data/broken")).expect("what was broken");
    world.commis(&["rescue", "mill", "--old"]).succeeded();
    assert!(world.json(&["show", "mill"])["trouble"].is_null());
    let mill = mill.script(".commis/hooks/post_deploy", "#!/bin/sh\nexit 9\n").commit("bad");
    mill.push("main").is_rejected("rolled-back").says("is live again");
}
