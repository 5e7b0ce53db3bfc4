//! Builds and hooks that go wrong in every way that a process can: said once, in words, and nothing of them stays.

use super::support::World;
use super::support::project::Project;
use super::support::rejected::{OLD, Rejected, live_blog, rejected};

/// Adds a hook with this script and pushes.
fn with_hook<'a>(
    world: &World,
    blog: Project<'a>,
    (name, script): (&str, &str),
    code: &str,
) -> (Project<'a>, Rejected) {
    let blog = blog.script(&format!(".commis/hooks/{name}"), script).commit(name);
    let said = rejected(world, &blog, code);
    (blog, said)
}

fn build_hook(world: &World, script: &str) -> Rejected {
    with_hook(world, live_blog(world), ("build", script), "build-failed").1
}

#[test]
fn the_exit_code_of_a_hook_is_told_and_its_output_shown_once() {
    let world = World::new();
    let said = build_hook(&world, "#!/bin/sh\necho no rice in the house\nexit 3\n");
    said.because("hook build: exit 3").says_times("no rice in the house", 1);
}

#[test]
fn the_exit_code_of_a_build_is_told_and_its_output_shown_once() {
    let world = World::new();
    let blog = live_blog(&world)
        .script("bin/detect", "#!/bin/sh\necho Rice\n")
        .script("bin/compile", "#!/bin/sh\necho the rice is burnt >&2\nexit 42\n")
        .commit("inline");
    let said = rejected(&world, &blog, "build-failed");
    said.because("exit 42").says_times("the rice is burnt", 1);
}

#[test]
fn a_hook_that_dies_of_a_signal_is_told_by_its_name() {
    let world = World::new();
    let (blog, said) = with_hook(&world, live_blog(&world), ("build", "#!/bin/sh\nkill -KILL $$\n"), "build-failed");
    said.because("signal 9 (SIGKILL)");
    let (_, said) = with_hook(&world, blog, ("build", "#!/bin/sh\nkill -SEGV $$\n"), "build-failed");
    said.because("signal 11 (SIGSEGV)");
}

#[test]
fn a_hook_whose_interpreter_is_missing_is_told_about_its_first_line() {
    let world = World::new();
    let (blog, said) = with_hook(&world, live_blog(&world), ("build", "#!/usr/bin/nobody-has-this\n"), "build-failed");
    said.because("could not be started").says("first line (#!)");
    let (blog, said) = with_hook(&world, blog, ("build", "#!/bin/sh\r\nexit 0\r\n"), "build-failed");
    said.says("CR LF");
    let (_, said) = with_hook(&world, blog, ("build", "echo no first line\n"), "build-failed");
    said.says("a script that begins with #!");
}

#[test]
fn a_build_that_takes_too_long_is_ended_with_everything_it_started() {
    let world = World::with("[builds]\ntimeout = \"2s\"\n[hooks]\ntimeout = \"2s\"\n");
    let blog = live_blog(&world);
    let (blog, said) = with_hook(&world, blog, ("build", "#!/bin/sh\nsleep 600 &\nsleep 600\n"), "build-failed");
    said.because("longer than 2 s").says("timeout");
    let blog = blog
        .remove(".commis/hooks/build")
        .script("bin/detect", "#!/bin/sh\necho Rice\n")
        .script("bin/compile", "#!/bin/sh\nsleep 600 & sleep 600\n")
        .commit("inline");
    rejected(&world, &blog, "build-failed").because("longer than 2 s").says("[builds] timeout");
}

#[test]
fn a_build_that_needs_too_much_memory_is_ended_and_told_the_limit() {
    let world = World::with("[builds]\nmemory = \"64MB\"\n");
    let said = build_hook(&world, "#!/bin/sh\nexec python3 -c 'x = bytearray(300_000_000); print(len(x))'\n");
    said.because("memory limit of 64 MB").says("[build] memory");
}

#[test]
fn what_a_build_leaves_in_the_background_is_gone_when_it_ends() {
    let world = World::new();
    let script = "#!/bin/sh\nsetsid sleep 601 &\nnohup sleep 602 >/dev/null 2>&1 &\n(setsid sh -c 'sleep 603 & sleep 604 &' &)\nexit 7\n";
    build_hook(&world, script).because("exit 7");
}

#[test]
fn a_good_build_leaves_nothing_in_the_background_either() {
    let world = World::new();
    let script = "#!/bin/sh\nsetsid sleep 611 >/dev/null 2>&1 &\n(setsid sh -c 'sleep 612 & sleep 613 &' &)\nexit 0\n";
    let blog = live_blog(&world).script(".commis/hooks/build", script).saying("a good one");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "a good one");
}

#[test]
fn what_a_hook_writes_over_the_common_tree_must_be_json() {
    let world = World::new();
    let (blog, said) = with_hook(
        &world,
        live_blog(&world),
        ("build", "#!/bin/sh\nhead -c 100 /dev/urandom > \"$COMMIS_COMMON\"\n"),
        "bad-config",
    );
    said.because("COMMIS_COMMON").because("hook build").says("hint: write one JSON object");
    let (blog, said) = with_hook(&world, blog, ("build", "#!/bin/sh\nrm \"$COMMIS_COMMON\"\n"), "bad-config");
    said.because("COMMIS_COMMON");
    let (blog, said) = with_hook(
        &world,
        blog,
        ("build", "#!/bin/sh\nrm \"$COMMIS_COMMON\"\nln -s /etc/shadow \"$COMMIS_COMMON\"\n"),
        "bad-config",
    );
    said.because("COMMIS_COMMON");
    let (_, said) = with_hook(
        &world,
        blog,
        ("build", "#!/bin/sh\nrm \"$COMMIS_COMMON\"\nmkfifo \"$COMMIS_COMMON\"\n"),
        "bad-config",
    );
    said.because("COMMIS_COMMON");
}

#[test]
fn hooks_see_nothing_of_gits_environment() {
    let world = World::new();
    let script = "#!/bin/sh\nenv | grep ^GIT_ && exit 9\necho the environment is clean\n";
    let blog = live_blog(&world)
        .script(".commis/hooks/build", script)
        .script(".commis/hooks/deploy", script)
        .script(".commis/hooks/post_deploy", script)
        .commit("hooks");
    blog.push("main").succeeds().says("the environment is clean");
    // The check itself can see one.
    let control = "#!/bin/sh\nexport GIT_DIR=x\nenv | grep ^GIT_ && exit 9\n";
    let before_control = blog.script(".commis/hooks/build", control).commit("control");
    rejected(&world, &before_control, "build-failed").because("exit 9").says("GIT_DIR=x");
}

#[test]
fn a_release_command_that_fails_stops_before_the_switch() {
    let world = World::new();
    let blog = live_blog(&world)
        .write("Procfile", "web: python3 server.py\nrelease: echo migrating; exit 5\n")
        .commit("migrate");
    rejected(&world, &blog, "release-failed").because("release command: exit 5").says_times("migrating", 1);
    let blog = blog.write("Procfile", "web: python3 server.py\nrelease: nobody-has-this-command --now\n").commit("x");
    rejected(&world, &blog, "release-failed").because("release command: exit 127").says("nobody-has-this-command");
}

#[test]
fn a_deploy_hook_that_fails_stops_before_the_switch() {
    let world = World::new();
    let (_, said) = with_hook(&world, live_blog(&world), ("deploy", "#!/bin/sh\nexit 6\n"), "release-failed");
    said.because("hook deploy: exit 6").says("nothing was changed");
}

#[test]
fn a_hook_that_fails_after_the_switch_puts_the_old_version_back() {
    let world = World::new();
    let blog = live_blog(&world).write("page.txt", "the new page");
    let (blog, said) = with_hook(&world, blog, ("post_deploy", "#!/bin/sh\necho pans\nexit 8\n"), "rolled-back");
    said.because("hook post_deploy: exit 8").says_times("pans", 1).says("v1 (").says("is live again");
    let blog = blog.remove(".commis/hooks/post_deploy");
    let (_, said) = with_hook(&world, blog, ("post_install", "#!/bin/sh\nexit 8\n"), "rolled-back");
    said.because("hook post_install: exit 8");
    assert_eq!(world.page("blog").body, OLD);
}
