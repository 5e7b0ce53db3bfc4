//! The server dies in the middle of a deployment: after its next start the old version serves, the branch is where it
//! was, the record says what happened, and the next push works.

use super::support::World;
use super::support::leftovers::names;
use super::support::project::Project;
use super::support::rejected::{OLD, live_blog};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A push that is on its way; its hook has made the file `here` in the data directory or in `/tmp` of the test.
fn push_until(project: &Project<'_>, seen: impl Fn() -> bool) -> Child {
    let url = project.url();
    let mut command: Command = project.git_command(&["push", "--porcelain", &url, "HEAD:refs/heads/main"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git push");
    let until = Instant::now() + Duration::from_secs(60);
    while !seen() {
        assert!(Instant::now() < until, "the hook was not reached");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Whether a line of the deployment's log has come.
fn log_says(world: &World, number: u32, text: &str) -> bool {
    let log = world.path(&format!("log/blog/{number}.log"));
    std::fs::read_to_string(log).is_ok_and(|log| log.contains(text))
}

struct Then<'a> {
    world: &'a World,
    blog: &'a Project<'a>,
}

impl Then<'_> {
    /// The pusher heard that it did not work, and everything is as it was before deployment 2.
    fn the_old_version_serves(&self, mut child: Child, old: &str) {
        let Self { world, blog } = self;
        let status = child.wait().expect("the end of git push");
        assert!(!status.success(), "a push that nobody acknowledged says so");
        assert_eq!(blog.remote_ref("refs/heads/main").as_deref(), Some(old));
        assert_eq!(world.page_when_up("blog").body, OLD);
        let record = world.json(&["show", "blog", "2"]);
        assert_eq!(record["status"], "error", "{record:#}");
        assert_eq!(record["reason_code"], "internal", "{record:#}");
        let project = world.json(&["show", "blog"]);
        assert_eq!(project["live"], "v1", "{project:#}");
        assert!(project["trouble"].is_null(), "{project:#}");
        assert_eq!(names(&blog.place("build")), Vec::<String>::new());
        let releases = world.json(&["releases", "blog"]);
        assert_eq!(releases["releases"].as_array().map(Vec::len), Some(1), "{releases:#}");
        // What only helps to pack the next one is no part of a release.
        let shelf = names(&blog.place("releases"));
        assert_eq!(shelf.iter().filter(|name| !name.ends_with(".frames")).count(), 4, "{shelf:?}");
    }
}

fn kill_and_start(world: &mut World) {
    world.kill();
    world.start();
    world.learn_host_key();
}

/// One interrupted push of a new page whose hook `hook` says "here" and waits.
fn interrupted_in(hook: &str) {
    let mut world = World::new();
    let directory = {
        let blog = live_blog(&world);
        let blog = blog
            .script(&format!(".commis/hooks/{hook}"), "#!/bin/sh\nsetsid sleep 621 &\necho here\nsleep 600\n")
            .write("page.txt", "never acknowledged")
            .commit("slow");
        blog.directory.clone()
    };
    let old = Project::at(&world, "blog", &directory).remote_ref("refs/heads/main").expect("the branch");
    let child = push_until(&Project::at(&world, "blog", &directory), || log_says(&world, 2, "       here\n"));
    kill_and_start(&mut world);
    let blog = Project::at(&world, "blog", &directory);
    Then { world: &world, blog: &blog }.the_old_version_serves(child, &old);
    let blog = blog.remove(&format!(".commis/hooks/{hook}")).saying("the next push");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "the next push");
}

#[test]
fn a_server_killed_during_a_build_serves_the_old_version_after_its_restart() {
    interrupted_in("build");
}

#[test]
fn a_server_killed_before_the_switch_serves_the_old_version_after_its_restart() {
    interrupted_in("deploy");
}

#[test]
fn a_server_killed_after_the_switch_serves_the_old_version_after_its_restart() {
    interrupted_in("post_deploy");
}

#[test]
fn a_server_killed_during_the_first_deployment_has_nothing_live_and_takes_the_next_push() {
    let mut world = World::new();
    let directory = {
        let blog = world
            .project("blog")
            .script(".commis/hooks/post_deploy", "#!/bin/sh\necho here\nsleep 600\n")
            .saying("never acknowledged");
        blog.directory.clone()
    };
    let mut child = push_until(&Project::at(&world, "blog", &directory), || log_says(&world, 1, "       here\n"));
    kill_and_start(&mut world);
    let _ = child.wait();
    let blog = Project::at(&world, "blog", &directory);
    assert_eq!(blog.remote_ref("refs/heads/main"), None);
    assert_ne!(world.page("blog").status, 200);
    assert_eq!(names(&blog.place("run")), Vec::<String>::new());
    let blog = blog.remove(".commis/hooks/post_deploy").saying("the next push");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "the next push");
}

#[test]
fn a_server_told_to_stop_lets_a_running_deployment_end() {
    let mut world = World::new();
    let directory = {
        let blog = live_blog(&world)
            .script(".commis/hooks/build", "#!/bin/sh\necho here\nsleep 3\n")
            .write("page.txt", "acknowledged")
            .commit("slow");
        blog.directory.clone()
    };
    let child = push_until(&Project::at(&world, "blog", &directory), || log_says(&world, 2, "       here\n"));
    assert_eq!(world.stop(), Some(0));
    let pushed = child.wait_with_output().expect("the end of git push");
    world.start();
    world.learn_host_key();
    let blog = Project::at(&world, "blog", &directory);
    let record = world.json(&["show", "blog", "2"]);
    assert_eq!(record["status"], "success", "{record:#}");
    assert_eq!(world.page_when_up("blog").body, "acknowledged");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
    assert!(pushed.status.success(), "the pusher did not hear it: {}", String::from_utf8_lossy(&pushed.stderr));
}
