//! Mode editable, where people did what nobody expected: names that are no text, a tree that was moved, edits during a
//! build, what git ignores. Nothing of it is lost without a word.

use super::editing::{dev, push_over};
use super::support::mounts::mounted_on;
use super::support::{Gate, Project, Running, World};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

fn edited(world: &World) -> Project<'_> {
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    world.settle();
    blog
}

#[test]
fn a_run_that_was_moved_away_stops_everything_until_it_is_back() {
    let world = dev();
    let blog = edited(&world);
    fs::write(blog.place("project/page.txt"), "edited").expect("an edit");
    fs::rename(blog.place("run"), blog.place("moved")).expect("a move");
    let gone = "is not the tree that was edited: it was moved or removed by hand";
    world.commis(&["deploy", "blog"]).failed(1).says(gone).says("put it back where it was");
    world.commis(&["diff", "blog"]).failed(1).says(gone);
    world.commis(&["rescue", "blog"]).succeeded().says("in run/         unknown");
    fs::create_dir(blog.place("run")).expect("another one");
    fs::write(blog.place("run/mine"), "mine").expect("a file");
    let blog = blog.saying("second");
    blog.push("main").is_rejected("refused").says(gone).says("put it back where it was");
    assert_eq!(fs::read_to_string(blog.place("run/mine")).expect("the file"), "mine");
    fs::remove_dir_all(blog.place("run")).expect("a removal");
    fs::rename(blog.place("moved"), blog.place("run")).expect("a move back");
    blog.push("main").is_rejected("refused").says("1 file was edited in blog on the server");
    assert_eq!(fs::read_to_string(blog.place("run/page.txt")).expect("the page"), "edited");
}

#[test]
fn a_run_that_was_removed_is_written_anew_by_the_next_push() {
    let world = dev();
    let blog = edited(&world);
    fs::remove_dir_all(blog.place("run")).expect("a removal");
    let blog = blog.saying("second");
    blog.push("main").succeeds();
    world.settle();
    assert_eq!(world.page("blog").body, "second");
    assert_eq!(mounted_on(&blog.place("project")).len(), 1);
    fs::write(blog.place("project/page.txt"), "edited").expect("an edit");
    assert_eq!(world.page("blog").body, "edited");
}

#[test]
fn a_name_that_is_no_text_is_not_hidden_by_the_first_push() {
    let world = dev();
    let blog = world.project("blog").saying("first");
    world.commis(&["project", "create", "blog"]).succeeded();
    let odd = blog.place("project").join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(&odd, "mine").expect("a file");
    blog.push("main").is_rejected("refused").says("is not empty, and run/ will be").says("move what stands there away");
    assert_eq!(fs::read_to_string(&odd).expect("the file"), "mine");
    fs::remove_file(&odd).expect("a removal");
    blog.push("main").succeeds();
}

#[test]
fn what_git_ignores_is_not_overwritten_by_a_commit_that_has_it() {
    let world = dev();
    let blog = world.project("blog").write(".gitignore", ".env\n").saying("first");
    blog.push("main").succeeds();
    world.settle();
    fs::write(blog.place("project/.env"), "the only copy").expect("an edit");
    let blog = blog.saying("second");
    blog.push("main").succeeds();
    let blog = blog.write(".env", "another");
    blog.git(&["add", "-f", ".env"]).succeeded();
    let blog = blog.commit("brings its own");
    blog.push("main").is_rejected("refused").says("added    .env");
    assert_eq!(fs::read_to_string(blog.place("project/.env")).expect("the file"), "the only copy");
    push_over(&blog, "stash").succeeds();
    assert_eq!(fs::read_to_string(blog.place("project/.env")).expect("the file"), "another");
    let branches = blog.git(&["ls-remote", &blog.url(), "refs/heads/edits/*"]);
    let commit = branches.stdout.split_whitespace().next().unwrap_or_default().to_owned();
    blog.git(&["fetch", &blog.url(), "refs/heads/edits/*:refs/heads/edits/*"]).succeeded();
    assert_eq!(blog.git(&["show", &format!("{commit}:.env")]).stdout, "the only copy");
}

#[test]
fn a_file_of_the_commit_that_changes_during_a_build_is_named() {
    let world = dev();
    let gate = Gate::new();
    let blog = edited(&world).script(".commis/hooks/build", &gate.hook()).saying("second");
    let push = blog.starts_pushing("main");
    let waiting = gate.reached();
    fs::write(blog.place("project/page.txt"), "edited meanwhile").expect("an edit");
    waiting.opens();
    push.ended().succeeded().says("changed during the build, and so not taken for an edit: page.txt");
    assert_eq!(world.page("blog").body, "edited meanwhile");
}

#[test]
fn a_deployment_that_waited_names_the_commit_that_stands_there_by_then() {
    let world = dev();
    let gate = Gate::new();
    let blog = edited(&world).script(".commis/hooks/build", &gate.hook()).saying("second");
    let push = blog.starts_pushing("main");
    let waiting = gate.reached();
    let mut deploy = Running::start(world.commis_command(&["deploy", "blog"]), "deploy");
    deploy.until("blog is busy");
    waiting.opens();
    push.ended().succeeded();
    gate.reached().opens();
    deploy.ended().succeeded();
    assert_eq!(world.json(&["show", "blog"])["commit"], blog.head().as_str());
}

#[test]
fn a_name_can_neither_move_the_cursor_nor_end_a_line() {
    let world = dev();
    let blog = edited(&world);
    fs::write(blog.place("project").join("a\nb\u{1b}]0;c"), "x\n").expect("an edit");
    let listed = world.commis(&["diff", "blog", "--stat"]);
    assert_eq!(listed.stdout, "added  +1  -0  a\\x0ab\\x1b]0;c\n");
    let shown = world.commis(&["diff", "blog"]).stdout;
    assert!(shown.starts_with("diff --git \"a/a\\nb\\033]0;c\" \"b/a\\nb\\033]0;c\"\n"), "{shown}");
}
