//! Dead at every step of a push over edits: for a server with the feature `failpoints`, which names its points in its log.
//! `bin/test points` builds one and runs these.
//! After each next start the tree is the edited one or the pushed one, whole, and the branch says which.

use super::editing::{dev, push_over};
use super::support::leftovers::names;
use super::support::mounts::mounted_on;
use super::support::{Project, World};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const BUILD: &str =
    "#!/bin/sh\nset -e\nrm -rf made\nmkdir made\nfor n in 1 2 3; do echo \"$n $(cat page.txt)\" > made/$n; done\n";

/// What the tree is, by its content alone.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Tree {
    /// As it was edited on top of this page.
    Edited(String),
    Pushed(String),
    Broken(String),
}

/// Pages are `page N`; the edited page is `page N, edited`, with a file of its own, and was not built.
fn tree(run: &Path) -> Tree {
    let read = |path: &str| fs::read_to_string(run.join(path)).unwrap_or_default().trim().to_owned();
    let (page, new) = (read("page.txt"), read("new.txt"));
    let built: BTreeSet<String> =
        (1..4).map(|n| read(&format!("made/{n}")).get(1..).unwrap_or_default().trim().to_owned()).collect();
    let base = page.strip_suffix(", edited").unwrap_or(&page).to_owned();
    if built != BTreeSet::from([base.clone()]) || !run.join("server.py").is_file() {
        return Tree::Broken(format!("page {page:?}, built from {built:?}"));
    }
    match (page == base, new.as_str()) {
        (true, "") => Tree::Pushed(base),
        (false, "mine") => Tree::Edited(base),
        _ => Tree::Broken(format!("page {page:?} with new.txt {new:?}")),
    }
}

fn edit(project: &Project<'_>) {
    let page = project.place("project/page.txt");
    let now = fs::read_to_string(&page).expect("a page");
    if !now.ends_with(", edited") {
        fs::write(&page, format!("{}, edited", now.trim())).expect("an edit");
    }
    fs::write(project.place("project/new.txt"), "mine").expect("an edit");
}

/// The steps that the server named in its log, each once.
fn points(world: &World) -> Vec<String> {
    let log = world.server_log();
    let named = log.lines().filter_map(|line| line.split_once(" failpoint: ").map(|(_, name)| name.trim().to_owned()));
    let mut seen = BTreeSet::new();
    named.filter(|name| name.starts_with("step.") && seen.insert(name.clone())).collect()
}

/// All edits that the server keeps on branches.
fn kept(project: &Project<'_>) -> usize {
    project.git(&["ls-remote", &project.url(), "refs/heads/edits/*"]).stdout.lines().count()
}

/// What happens at a point.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Dies,
    Fails,
}

fn push_over_edits(world: &mut World, fate: Fate, (directory, page, point): (&Path, &str, &str)) {
    world.stop();
    world.start_armed(&format!("{point}=1*return({})", if fate == Fate::Dies { "kill" } else { "error" }));
    let blog = Project::at(world, "blog", directory);
    assert_eq!(world.page_when_up("blog").status, 200);
    edit(&blog);
    let before = blog.remote_ref("refs/heads/main");
    let blog = blog.write("page.txt", page).commit(page);
    let pushed = push_over(&blog, "stash").0.code;
    if fate == Fate::Dies {
        world.kill();
        world.start();
    }
    let blog = Project::at(world, "blog", directory);
    world.page_when_up("blog");
    world.settle();
    let (now, run) = (blog.remote_ref("refs/heads/main"), tree(&blog.place("run")));
    if now == before {
        assert!(matches!(run, Tree::Edited(_)), "{point}: {run:?}, and the branch has not moved");
        assert_ne!(pushed, 0, "{point}: acknowledged and gone");
        world.commis(&["diff", "blog", "--stat"]).succeeded().says("page.txt").says("new.txt").is_silent_about("made");
    } else {
        assert_eq!((now.as_deref(), run), (Some(blog.head().as_str()), Tree::Pushed(page.to_owned())), "{point}");
        assert_eq!(world.commis(&["diff", "blog"]).succeeded().stdout, "", "{point}");
        assert!(kept(&blog) > 0, "{point}: the edits are nowhere");
    }
    let page = fs::read_to_string(blog.place("run/page.txt")).expect("a page");
    assert_eq!(world.page("blog").body, page, "{point}");
    assert_eq!(mounted_on(&blog.place("project")).len(), 1, "{point}");
    assert!(world.json(&["show", "blog"])["trouble"].is_null(), "{point}");
    let half: Vec<String> =
        names(&blog.place("archives")).into_iter().filter(|name| name.ends_with(".partial")).collect();
    assert_eq!(half, Vec::<String>::new(), "{point}");
}

/// Every step of a push over edits, one after the other.
fn walk(fate: Fate) {
    let mut world = dev();
    world.stop();
    world.start_armed("nowhere=off");
    let directory = {
        let blog = world.project("blog").script(".commis/hooks/build", BUILD).saying("page 0");
        blog.push("main").succeeds();
        edit(&blog);
        let blog = blog.write("page.txt", "page 1").commit("page 1");
        push_over(&blog, "stash").succeeds();
        world.settle();
        assert_eq!(tree(&blog.place("run")), Tree::Pushed("page 1".into()));
        blog.directory.clone()
    };
    let points = points(&world);
    for needed in ["keep-edits", "snapshot", "apply", "list-built", "stay", "check", "move-ref"] {
        assert!(points.contains(&format!("step.{needed}.after")), "{needed} is not among {points:?}");
    }
    // Once the branch has moved there is nothing left that can fail.
    let points = points.iter().filter(|point| fate == Fate::Dies || *point != "step.move-ref.after");
    for (number, point) in points.enumerate() {
        let page = format!("page {}", number + 2);
        eprintln!("{point}");
        push_over_edits(&mut world, fate, (&directory, &page, point));
        // On from a clean tree, whichever it is.
        let blog = Project::at(&world, "blog", &directory);
        if blog.remote_ref("refs/heads/main") != Some(blog.head()) {
            push_over(&blog, "stash").succeeds();
        }
        assert_eq!(tree(&blog.place("run")), Tree::Pushed(page), "{point}");
        world.settle();
    }
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn dead_at_every_step_the_tree_is_whole_and_no_edit_is_lost() {
    walk(Fate::Dies);
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn failed_at_every_step_the_tree_is_whole_and_no_edit_is_lost() {
    walk(Fate::Fails);
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn an_undoing_that_failed_is_done_again_by_a_rescue() {
    for point in ["step.restore-run.before", "step.route-back.before"] {
        let mut world = dev();
        world.stop();
        world.start_armed(&format!("{point}=1*return(error)"));
        let blog = world.project("blog").script(".commis/hooks/build", BUILD).saying("page 0");
        blog.push("main").succeeds();
        edit(&blog);
        let blog =
            blog.script(".commis/hooks/post_deploy", "#!/bin/sh\nexit 1\n").write("page.txt", "bad").commit("bad");
        push_over(&blog, "stash").is_rejected("rollback-failed");
        let shown = world.commis(&["rescue", "blog"]);
        // What was restored all the same has no copy any more.
        let taken = if point.contains("restore") { "--old" } else { "--accept" };
        shown.succeeded().says(taken);
        world.commis(&["rescue", "blog", taken]).succeeded().says("v1 is live");
        assert_eq!(world.page_when_up("blog").body, fs::read_to_string(blog.place("run/page.txt")).expect("a page"));
        assert_eq!(tree(&blog.place("run")), Tree::Edited("page 0".into()), "{point}");
        assert!(world.json(&["show", "blog"])["trouble"].is_null(), "{point}");
    }
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn dead_at_the_steps_of_a_first_push_there_is_all_of_it_or_nothing() {
    let mut world = dev();
    for step in ["fill", "describe", "exchange", "route", "bind", "move-ref"] {
        for side in ["before", "after"] {
            let point = format!("step.{step}.{side}");
            world.stop();
            world.start_armed(&format!("{point}=1*return(kill)"));
            let directory = {
                let name = world.path("work").join("blog");
                let _ = fs::remove_dir_all(&name);
                let blog = world.project("blog").script(".commis/hooks/build", BUILD).saying("page 0");
                let _ = blog.push("main").0.code;
                blog.directory.clone()
            };
            world.kill();
            world.start();
            world.settle();
            let blog = Project::at(&world, "blog", &directory);
            match blog.remote_ref("refs/heads/main") {
                None => {
                    assert_eq!(mounted_on(&blog.place("project")).len(), 0, "{point}");
                    assert_eq!(
                        (names(&blog.place("run")).len(), names(&blog.place("project")).len()),
                        (0, 0),
                        "{point}"
                    );
                    blog.push("main").succeeds();
                }
                Some(head) => assert_eq!(head, blog.head(), "{point}"),
            }
            assert_eq!(world.page_when_up("blog").body, "page 0", "{point}");
            assert_eq!(tree(&blog.place("run")), Tree::Pushed("page 0".into()), "{point}");
            assert_eq!(mounted_on(&blog.place("project")).len(), 1, "{point}");
            world.settle();
            world.commis(&["project", "destroy", "blog", "--confirm", "blog", "--now"]).succeeded();
        }
    }
}

#[test]
fn a_tree_that_is_half_one_and_half_the_other_is_seen() {
    let run = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: &str| fs::write(run.path().join(path), text).expect("a file");
    fs::create_dir(run.path().join("made")).expect("a directory");
    write("server.py", "");
    write("page.txt", "page 1");
    for n in 1..4 {
        write(&format!("made/{n}"), &format!("{n} page 1\n"));
    }
    assert_eq!(tree(run.path()), Tree::Pushed("page 1".into()));
    write("new.txt", "mine");
    assert!(matches!(tree(run.path()), Tree::Broken(_)));
    write("page.txt", "page 1, edited");
    assert_eq!(tree(run.path()), Tree::Edited("page 1".into()));
    write("made/2", "2 page 2\n");
    assert!(matches!(tree(run.path()), Tree::Broken(_)));
    write("made/2", "2 page 1\n");
    fs::remove_file(run.path().join("server.py")).expect("a removal");
    assert!(matches!(tree(run.path()), Tree::Broken(_)));
}
