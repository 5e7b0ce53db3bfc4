//! The server dies while it works in the tree that people edit: that tree is whole afterwards, the old one or the new one,
//! and no edit is lost.

use super::editing::{dev, push_over};
use super::support::mounts::mounted_on;
use super::support::{Project, World};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const WAITS: &str = "#!/bin/sh\necho half > made.txt 2>/dev/null\nrm -f server.py 2>/dev/null\nsetsid sleep 622 &\necho here\nsleep 600\n";

fn edited(world: &World) -> PathBuf {
    let blog = world.project("blog").write("gone.txt", "stays").saying("first");
    blog.push("main").succeeds();
    fs::write(blog.place("project/page.txt"), "edited").expect("an edit");
    fs::write(blog.place("project/new.txt"), "new").expect("an edit");
    blog.directory.clone()
}

/// Pushes a commit whose hook waits, over the edits, until the hook is reached.
fn push_until_here(world: &World, blog: Project<'_>, hook: &str) -> Child {
    let path = format!(".commis/hooks/{hook}");
    let blog = blog.script(&path, WAITS).remove("gone.txt").write("page.txt", "second").commit("slow");
    let url = blog.url();
    let args = ["push", "--porcelain", "-o", "stash", &url, "HEAD:refs/heads/main"];
    let child = blog.git_command(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(world.path("log/blog/2.log")).is_ok_and(|log| log.contains("       here\n")) {
        assert!(Instant::now() < until, "the hook was not reached");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.expect("git push")
}

/// Killed in a hook of the second deployment.
fn killed_in(hook: &str) {
    let mut world = dev();
    let directory = edited(&world);
    let old = Project::at(&world, "blog", &directory).remote_ref("refs/heads/main");
    let mut child = push_until_here(&world, Project::at(&world, "blog", &directory), hook);
    world.kill();
    let _ = child.wait();
    world.start();
    let page = world.page_when_up("blog");
    assert_eq!((page.status, page.body.as_str()), (200, "edited"));
    let blog = Project::at(&world, "blog", &directory);
    let read = |path: &str| fs::read_to_string(blog.place("run").join(path)).unwrap_or_default();
    assert_eq!((read("page.txt"), read("new.txt"), read("gone.txt")), ("edited".into(), "new".into(), "stays".into()));
    assert!(!read("server.py").is_empty() && read("made.txt").is_empty() && read(".commis/hooks/build").is_empty());
    assert_eq!(blog.remote_ref("refs/heads/main"), old);
    assert_eq!(mounted_on(&blog.place("project")).len(), 1);
    let record = world.json(&["show", "blog", "2"]);
    assert_eq!((record["status"].as_str(), record["reason_code"].as_str()), (Some("error"), Some("internal")));
    assert!(world.json(&["show", "blog"])["trouble"].is_null());
    world.commis(&["diff", "blog", "--stat"]).succeeded().says("page.txt").says("new.txt");
    let branches = blog.git(&["ls-remote", &blog.url(), "refs/heads/edits/*"]).stdout;
    assert_eq!(branches.lines().count(), 1, "kept twice is better than not at all: {branches}");
    let blog = blog.remove(&format!(".commis/hooks/{hook}")).commit("quick");
    blog.push_with(&["--porcelain", "-o", "stash", &blog.url(), "HEAD:refs/heads/main"]).succeeds();
    assert_eq!(world.page("blog").body, "second");
}

#[test]
fn a_kill_during_a_build_in_place_leaves_the_edited_tree() {
    killed_in("build");
}

#[test]
fn a_kill_before_the_new_processes_leaves_the_edited_tree() {
    killed_in("deploy");
}

#[test]
fn a_kill_after_the_new_processes_leaves_the_edited_tree() {
    killed_in("post_deploy");
}

#[test]
fn a_kill_during_the_first_push_leaves_nothing_mounted() {
    let mut world = dev();
    let directory = {
        let blog = world.project("blog").script(".commis/hooks/post_install", WAITS).saying("first");
        blog.directory.clone()
    };
    let blog = Project::at(&world, "blog", &directory);
    let url = blog.url();
    let args = ["push", "--porcelain", &url, "HEAD:refs/heads/main"];
    let child = blog.git_command(&args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(world.path("log/blog/1.log")).is_ok_and(|log| log.contains("       here\n")) {
        assert!(Instant::now() < until, "the hook was not reached");
        std::thread::sleep(Duration::from_millis(20));
    }
    world.kill();
    let _ = child.expect("git push").wait();
    world.start();
    world.settle();
    let blog = Project::at(&world, "blog", &directory);
    assert_eq!(
        (mounted_on(&blog.place("project")).len(), fs::read_dir(blog.place("run")).expect("run/").count()),
        (0, 0)
    );
    assert_eq!(blog.remote_ref("refs/heads/main"), None);
    blog.remove(".commis/hooks/post_install").commit("quick").push("main").succeeds();
    assert_eq!((world.page("blog").body.as_str(), mounted_on(&world.path("srv/blog/project")).len()), ("first", 1));
}

/// Its processes are in no hurry to end, so the server dies after the verdict and before it has tidied.
#[test]
fn a_kill_after_the_verdict_keeps_the_tree_that_was_edited_whoever_owns_it() {
    let mut world = dev();
    let directory = {
        let blog = world.project("blog").saying("first");
        let blog = blog.write("Procfile", "web: trap '' TERM; exec python3 server.py\n").commit("stubborn");
        blog.push("main").succeeds();
        // What no commit has, in a tree that somebody gave to root.
        fs::write(blog.place("project/.gitignore"), ".env\n").expect("an edit");
        fs::write(blog.place("project/.env"), "SECRET=1").expect("an edit");
        std::os::unix::fs::chown(blog.place("run"), Some(0), Some(0)).expect("chown");
        let blog =
            blog.write(".commis/project.toml", "mode = \"cooking\"\n").write("page.txt", "cooked").commit("cook");
        push_over(&blog, "stash").succeeds().says("archives/2.left/run for 7 days");
        blog.directory.clone()
    };
    world.kill();
    let blog = Project::at(&world, "blog", &directory);
    assert!(!blog.place("archives/2.left").exists(), "it was tidied before the kill: this test shows nothing");
    world.start();
    assert_eq!(world.page_when_up("blog").body, "cooked");
    world.settle();
    let blog = Project::at(&world, "blog", &directory);
    let left = || fs::read_to_string(blog.place("archives/2.left/run/.env")).unwrap_or_default();
    assert_eq!((left().as_str(), blog.place("archives/2/run").exists()), ("SECRET=1", false));
}
