//! What an interrupted server finds at its next start, and viewers who leave or stop looking.

use super::support::World;
use super::support::leftovers::names;
use super::support::project::Project;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < until, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Files below a directory, without following links.
fn files(directory: &Path) -> Vec<PathBuf> {
    let below = names(directory).into_iter().map(|name| directory.join(name));
    below.flat_map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_server_killed_right_after_the_verdict_keeps_the_acknowledged_release_and_archives_the_old_one() {
    let mut world = World::with("[apps]\nstop_grace = \"60s\"\n");
    let directory = {
        // Its old process does not want to stop, so that tidying takes long enough to be killed.
        let blog = world.project("blog").saying("first");
        let server = std::fs::read_to_string(blog.directory.join("server.py")).expect("server.py");
        let stubborn = format!("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{server}");
        let blog = blog.write("server.py", &stubborn).commit("stubborn");
        blog.push("main").succeeds();
        let blog = blog.saying("acknowledged");
        blog.push("main").succeeds();
        assert_eq!(names(&blog.place("deploy")).len(), 2, "tidying is not over: {:?}", names(&blog.place("deploy")));
        blog.directory.clone()
    };
    world.kill();
    world.start();
    let blog = Project::at(&world, "blog", &directory);
    wait_until("the page", || world.page("blog").body == "acknowledged");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
    assert_eq!(world.json(&["show", "blog", "2"])["status"], "success");
    assert_eq!(names(&blog.place("deploy")), ["current"]);
    assert_eq!(std::fs::read_to_string(blog.place("archives/2/run/page.txt")).expect("the old tree"), "first");
}

#[test]
fn locks_of_a_dead_git_and_an_empty_runtime_directory_do_not_stop_the_next_push() {
    let mut world = World::new();
    let directory = {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        world.settle();
        blog.directory.clone()
    };
    world.kill();
    let srv = world.path("srv/blog");
    std::fs::write(srv.join("git/project.git/refs/heads/main.lock"), "").expect("a lock");
    std::fs::create_dir(srv.join("git/project.git/objects/tmp_objdir-incoming-x")).expect("half a push");
    std::fs::write(srv.join("releases/blog-v2-0000000.tar.zst.partial"), "half").expect("half a release");
    // As after a reboot.
    std::fs::remove_dir_all(world.path("rt")).expect("the runtime directory");
    world.start();
    let blog = Project::at(&world, "blog", &directory).saying("second");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "second");
    assert!(!srv.join("git/project.git/objects/tmp_objdir-incoming-x").exists());
}

#[test]
fn a_project_that_was_half_made_is_whole_after_the_next_start() {
    let mut world = World::new();
    world.commis(&["project", "create", "blog"]).succeeded();
    world.kill();
    std::fs::remove_dir_all(world.path("srv/blog")).expect("only the row is left");
    world.start();
    world.project("blog").saying("first").push("main").succeeds();
    assert_eq!(world.page("blog").body, "first");
}

#[test]
fn a_project_that_cannot_be_recovered_keeps_no_other_from_being_served() {
    let mut world = World::new();
    world.project("blog").saying("good").push("main").succeeds();
    world.project("shop").saying("broken soon").push("main").succeeds();
    world.settle();
    world.kill();
    std::fs::remove_dir_all(world.path("srv/shop/git")).expect("a disaster");
    world.start();
    wait_until("the page", || world.page("blog").body == "good");
    world.commis(&["project", "destroy", "shop", "--confirm", "shop"]).succeeded();
}

#[test]
fn no_other_user_of_the_machine_reads_the_state_or_the_logs() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    world.commis(&["config", "set", "blog", "TOKEN=canary"]).succeeded();
    world.settle();
    let buildpacks = world.path("state/buildpacks");
    for path in ["state", "log"].iter().flat_map(|root| files(&world.path(root))) {
        let data = std::fs::symlink_metadata(&path).expect("a file");
        let mode = if data.is_symlink() { 0 } else { data.mode() };
        let public = path.starts_with(&buildpacks) || path.starts_with(world.path("state/hooks"));
        let closed = path
            .ancestors()
            .skip(1)
            .take_while(|above| above.starts_with(world.root.path()))
            .any(|above| std::fs::metadata(above).is_ok_and(|data| data.permissions().mode() & 0o001 == 0));
        assert!(public || closed || mode & 0o077 == 0, "{} has mode {:o}", path.display(), mode & 0o7777);
    }
}

#[test]
fn a_viewer_who_stops_looking_does_not_stop_the_deployment() {
    let world = World::new();
    let blog = world
        .project("blog")
        .script(
            ".commis/hooks/build",
            "#!/bin/sh\necho here\nsleep 2\nyes 0123456789012345678901234567890123456789 | head -n 200000\n",
        )
        .saying("talkative");
    let mut command = blog.git_command(&["push", "-q", &blog.url(), "HEAD:refs/heads/main"]);
    let mut pusher =
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("git");
    let group = nix::unistd::Pid::from_raw(pusher.id() as i32);
    let log = world.path("log/blog/1.log");
    wait_until("the build", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("       here\n")));
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGSTOP).expect("a signal");
    wait_until("the release", || world.json(&["show", "blog", "1"])["status"] == "success");
    assert_eq!(world.page("blog").body, "talkative");
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGCONT).expect("a signal");
    assert!(pusher.wait().is_ok_and(|status| status.success()), "the pusher hears the verdict in the end");
}

#[test]
fn a_listener_who_leaves_is_forgotten() {
    let world = World::new();
    world.project("blog").saying("quiet").push("main").succeeds();
    world.settle();
    let server = world.server_pid().to_string();
    let open = || {
        let fds = names(&Path::new("/proc").join(&server).join("fd"));
        let target = |fd: &String| std::fs::read_link(format!("/proc/{server}/fd/{fd}")).unwrap_or_default();
        fds.iter()
            .map(target)
            .filter(|target| target.ends_with("app.log") || target.to_string_lossy().contains("inotify"))
            .count()
    };
    assert_eq!(world.page("blog").body, "quiet");
    wait_until("a line of the application", || world.path("log/blog/app.log").exists());
    let before = open();
    let mut listener = world.commis_command(&["logs", "blog", "-f"]);
    let mut listener = listener.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("commis logs");
    wait_until("the follower", || open() > before);
    listener.kill().expect("a signal");
    let _ = listener.wait();
    wait_until("the end of the follower", || open() == before);
}

#[test]
fn a_project_is_not_destroyed_while_it_is_deployed_and_is_made_once_when_made_twice() {
    let world = World::new();
    let create = || {
        let mut command = world.commis_command(&["project", "create", "blog"]);
        command.stdout(Stdio::null()).spawn().expect("commis")
    };
    let mut both = [create(), create()];
    assert!(both.iter_mut().all(|child| child.wait().is_ok_and(|status| status.success())));
    let blog = world.project("blog").script(".commis/hooks/build", "#!/bin/sh\necho here\nsleep 3\n").saying("first");
    let mut command = blog.git_command(&["push", "-q", &blog.url(), "HEAD:refs/heads/main"]);
    let mut pusher = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("git");
    let log = world.path("log/blog/1.log");
    wait_until("the build", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("       here\n")));
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).failed(75).says("is being deployed");
    assert!(pusher.wait().is_ok_and(|status| status.success()));
    world.settle();
    world.commis(&["project", "destroy", "blog", "--confirm", "blog", "--now"]).succeeded();
    assert_eq!(names(&world.path("srv")), [".trash", "server.lock"]);
    assert_eq!(names(&world.path("srv/.trash")), Vec::<String>::new());
}
