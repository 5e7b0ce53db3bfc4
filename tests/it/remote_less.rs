//! Remote-less projects: no repositories, edited on the server, deployed by a verb; and one becomes a project for pushes.

use super::editing::dev;
use super::support::World;
use super::support::leftovers::names;
use super::support::mounts::mounted_on;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const SERVER: &str = "web: while true; do cat page.txt env.txt | head -c 400 > /dev/null; exec python3 -m http.server --bind 127.0.0.1 $PORT; done\n";

fn place(world: &World, name: &str) -> PathBuf {
    world.path("srv/notes").join(name)
}

/// Files of a tiny site, put into `project/` by hand.
fn filled(world: &World) {
    fs::write(place(world, "project/Procfile"), SERVER).expect("a file");
    fs::write(place(world, "project/index.html"), "first").expect("a file");
    fs::create_dir_all(place(world, "project/.commis/hooks")).expect("a directory");
    fs::write(place(world, "project/.commis/hooks/build"), "#!/bin/sh\necho \"made $SECRET\" > made.txt\n")
        .expect("a hook");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place(world, "project/.commis/hooks/build"), mode).expect("a mode");
}

#[test]
fn a_project_without_a_remote_lives_in_its_directory() {
    let mut world = dev();
    world.commis(&["project", "create", "notes", "--remote-less"]).succeeded().says("put its files into");
    world.commis(&["project", "create", "notes", "--remote-less"]).succeeded().says("is there already");
    world.commis(&["project", "create", "notes"]).failed(1).says("--with-remote");
    assert!(!place(&world, "git/project.git").exists() && !place(&world, "git/pillar.git").exists());
    world.commis(&["deploy", "notes"]).failed(66).says("is empty");
    filled(&world);
    fs::write(place(&world, "pillar/init.sls"), "env:\n  SECRET: hush-hush\n").expect("a pillar");
    nix::unistd::mkfifo(&place(&world, "project/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let deployed = world.commis(&["deploy", "notes"]);
    deployed.succeeded().says("success: notes v1 is live").says("archives/2.left/project").says("for 7 days, until 2");
    deployed.says("pipes, sockets and devices are not copied");
    assert!(place(&world, "archives/2.left/project/pipe").exists() && !place(&world, "run/pipe").exists());
    assert_eq!(world.page("notes").body, "first");
    assert_eq!(fs::read_to_string(place(&world, "run/made.txt")).expect("a product").trim(), "made hush-hush");
    assert_eq!(
        fs::read_to_string(place(&world, "archives/2.left/project/index.html")).expect("what was there"),
        "first"
    );
    fs::write(place(&world, "project/index.html"), "edited").expect("an edit");
    assert_eq!((world.page("notes").body.as_str(), mounted_on(&place(&world, "project")).len()), ("edited", 1));
    world.commis(&["config", "set", "notes", "SECRET=other-one"]).succeeded();
    world.commis(&["config", "show", "notes"]).succeeded().says("SECRET");
    assert_eq!(fs::metadata(place(&world, "pillar/config.yaml")).expect("the file").mode() & 0o7777, 0o600);
    world.commis(&["deploy", "notes", "--only", "build"]).succeeded();
    assert_eq!(fs::read_to_string(place(&world, "run/made.txt")).expect("a product").trim(), "made other-one");
    // It has no address for git.
    let notes = world.project("notes").saying("pushed");
    notes.push("main").0.failed(128).says("notes is remote-less");
    notes.git(&["ls-remote", &notes.url()]).failed(128).says("notes is remote-less");
    world.commis(&["diff", "notes"]).failed(1).says("there are no commits");
    world.commis(&["commit", "notes", "-m", "x"]).failed(1).says("there are no commits");
    assert!(world.json(&["show", "notes"])["remote"].is_null());
    world.settle();
    world.kill();
    world.start();
    assert_eq!((world.page_when_up("notes").body.as_str(), mounted_on(&place(&world, "project")).len()), ("edited", 1));
    world.commis(&["project", "destroy", "notes", "--confirm", "notes"]).succeeded();
}

#[test]
fn only_an_edited_project_can_be_without_a_remote() {
    let world = World::new();
    let refused = world.commis(&["project", "create", "notes", "--remote-less"]);
    refused.failed(64).says("only mode editable works without a remote").says("--mode editable");
    world.commis(&["project", "create", "notes", "--remote-less", "--mode", "editable"]).succeeded();
    world.commis(&["project", "create", "notes", "--with-remote"]).succeeded().says("clone and push");
    world.commis(&["project", "create", "notes", "--with-remote"]).succeeded().says("already");
    let notes = world.project("notes").saying("pushed");
    notes.push("main").succeeds();
    assert_eq!(world.page("notes").body, "pushed");
}

#[test]
fn a_project_gets_its_repositories_with_what_stands_there() {
    let world = dev();
    world.commis(&["project", "create", "notes", "--remote-less"]).succeeded();
    filled(&world);
    fs::write(place(&world, "pillar/init.sls"), "env:\n  SECRET: hush-hush\n").expect("a pillar");
    world.commis(&["project", "create", "notes", "--with-remote"]).failed(1).says("was never deployed");
    world.commis(&["deploy", "notes"]).succeeded();
    fs::write(place(&world, "project/index.html"), "edited").expect("an edit");
    let inode = fs::metadata(place(&world, "run")).expect("run/").ino();
    world.commis(&["project", "create", "notes", "--with-remote"]).succeeded();
    assert_eq!(fs::metadata(place(&world, "run")).expect("run/").ino(), inode);
    assert_eq!(world.commis(&["diff", "notes"]).succeeded().stdout, "", "all of it is committed");
    let notes = world.project("notes");
    notes.git(&["pull", "-q", &notes.url(), "main"]).succeeded();
    assert_eq!(fs::read_to_string(notes.directory.join("index.html")).expect("a page"), "edited");
    assert_eq!(names(&notes.directory), [".commis", ".git", "Procfile", "index.html"], "no product of the build");
    let pillar = notes.git(&["ls-remote", &notes.pillar_url(), "main"]);
    assert!(!pillar.stdout.is_empty(), "{pillar:?}");
    let notes = notes.write("index.html", "pushed").commit("second");
    notes.push("main").succeeds();
    assert_eq!(world.page("notes").body, "pushed");
    assert_eq!(fs::read_to_string(place(&world, "run/made.txt")).expect("a product").trim(), "made hush-hush");
}

#[test]
fn a_first_deployment_that_fails_leaves_project_as_it_was() {
    let mut world = dev();
    world.commis(&["project", "create", "notes", "--remote-less"]).succeeded();
    filled(&world);
    let hook = place(&world, "project/.commis/hooks/build");
    fs::write(&hook, "#!/bin/sh\necho half > made.txt\nexit 3\n").expect("a hook");
    world.commis(&["deploy", "notes"]).failed(1).says("exit 3");
    assert_eq!(names(&place(&world, "project")), [".commis", "Procfile", "index.html"]);
    assert_eq!(names(&place(&world, "run")), Vec::<String>::new());
    // Killed when everything but the last word was said.
    fs::write(&hook, "#!/bin/sh\ntrue\n").expect("a hook");
    fs::write(place(&world, "project/.commis/hooks/post_install"), "#!/bin/sh\necho here\nsleep 600\n")
        .expect("a hook");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place(&world, "project/.commis/hooks/post_install"), mode).expect("a mode");
    let mut command = world.commis_command(&["deploy", "notes"]);
    let mut going =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("commis");
    let log = world.path("log/notes/2.log");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !fs::read_to_string(&log).is_ok_and(|log| log.contains("       here\n")) {
        assert!(std::time::Instant::now() < until, "the hook was not reached");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    world.kill();
    let _ = going.wait();
    world.start();
    world.settle();
    assert_eq!(names(&place(&world, "project")), [".commis", "Procfile", "index.html"]);
    assert_eq!((mounted_on(&place(&world, "project")).len(), names(&place(&world, "run")).len()), (0, 0));
    fs::remove_file(place(&world, "project/.commis/hooks/post_install")).expect("a removal");
    world.commis(&["deploy", "notes"]).succeeded();
    assert_eq!(world.page("notes").body, "first");
}
