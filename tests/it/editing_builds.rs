//! Builds in place: their products are no edits, and one that fails leaves nothing of itself.

use super::editing::{dev, push_over};
use super::support::{Project, World};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Makes a file, and changes one of the commit's.
const BUILD: &str = "#!/bin/sh\nset -e\nmkdir -p made\necho \"built from $(cat page.txt)\" > made/product.txt\n\
echo generated > stamp.txt\nid -u > made/uid\n";

fn built(world: &World) -> Project<'_> {
    let blog =
        world.project("blog").script(".commis/hooks/build", BUILD).write("stamp.txt", "as committed\n").saying("first");
    blog.push("main").succeeds();
    blog
}

fn read(project: &Project<'_>, path: &str) -> String {
    fs::read_to_string(project.place("run").join(path)).unwrap_or_default()
}

#[test]
fn what_a_build_left_is_no_edit_and_what_people_did_before_it_is() {
    let world = dev();
    let blog = built(&world);
    assert_eq!(
        (read(&blog, "made/product.txt").trim(), read(&blog, "stamp.txt").trim()),
        ("built from first", "generated")
    );
    let owner = fs::metadata(blog.place("run")).expect("run/").uid();
    assert_eq!(read(&blog, "made/uid").trim(), owner.to_string());
    assert_eq!(world.commis(&["diff", "blog"]).succeeded().stdout, "");
    let blog = blog.write("page.txt", "second").commit("second");
    blog.push("main").succeeds();
    assert_eq!(read(&blog, "made/product.txt").trim(), "built from second");
    // An edit, then a build without a push: the edit stays one, also though the build ran after it.
    fs::write(blog.place("project/page.txt"), "edited").expect("an edit");
    world.commis(&["deploy", "blog", "--only", "build"]).succeeded();
    assert_eq!(read(&blog, "made/product.txt").trim(), "built from edited");
    let seen = world.commis(&["diff", "blog", "--stat"]);
    seen.succeeded().says("page.txt").is_silent_about("product").is_silent_about("stamp");
    // A product that somebody changes by hand is his own; a new file beside them is an edit too.
    fs::write(blog.place("project/made/hand.txt"), "mine").expect("an edit");
    fs::write(blog.place("project/stamp.txt"), "by hand").expect("an edit");
    let blog = blog.write("page.txt", "third").commit("third");
    let pushed = blog.push("main");
    pushed.is_rejected("refused").says("added    made/hand.txt").says("changed  page.txt").says("changed  stamp.txt");
    push_over(&blog, "stash").succeeds();
    assert_eq!((read(&blog, "made/hand.txt").as_str(), read(&blog, "stamp.txt").trim()), ("", "generated"));
}

#[test]
fn a_build_that_fails_leaves_run_as_it_was() {
    let world = dev();
    let blog = built(&world);
    let live = blog.head();
    let inode = fs::metadata(blog.place("run")).expect("run/").ino();
    let failing =
        "#!/bin/sh\necho half > made/product.txt\nrm server.py\nmkdir junk; echo x > junk/x\necho sorry; exit 3\n";
    let blog =
        blog.script(".commis/hooks/build", failing).write("page.txt", "second").write("extra.txt", "x").commit("bad");
    let pushed = blog.push("main");
    pushed.is_rejected("build-failed").says("hook build: exit 3").says("is kept in archives/2.failed");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(live));
    assert_eq!(
        (read(&blog, "made/product.txt").trim(), read(&blog, "page.txt").as_str()),
        ("built from first", "first")
    );
    assert!(
        blog.place("run/server.py").is_file()
            && !blog.place("run/junk").exists()
            && !blog.place("run/extra.txt").exists()
    );
    assert_eq!(fs::metadata(blog.place("run")).expect("run/").ino(), inode);
    assert_eq!(fs::read_to_string(blog.place("archives/2.failed/run/made/product.txt")).expect("kept").trim(), "half");
    assert_eq!(
        (world.page("blog").body.as_str(), world.commis(&["diff", "blog"]).succeeded().stdout.as_str()),
        ("first", "")
    );
    // The same for what is deployed without a push: the edit that broke it stays, its half build does not.
    let hook = blog.place("project/.commis/hooks/build");
    fs::write(&hook, failing).expect("an edit");
    world.commis(&["deploy", "blog"]).failed(1).says("hook build: exit 3");
    assert_eq!(fs::read_to_string(&hook).expect("the edit"), failing);
    assert_eq!(
        (read(&blog, "made/product.txt").trim(), world.page("blog").body.as_str()),
        ("built from first", "first")
    );
    world.commis(&["diff", "blog", "--stat"]).succeeded().says(".commis/hooks/build").is_silent_about("junk");
    assert_eq!(world.json(&["show", "blog"])["live"], "v1");
}

#[test]
fn a_version_that_is_not_well_is_taken_back_with_its_files() {
    let world = dev();
    let blog = built(&world);
    let live = blog.head();
    let blog = blog.write("server.py", "raise SystemExit(7)\n").write("page.txt", "second").commit("ends at once");
    let pushed = blog.push("main");
    pushed.is_rejected("rolled-back").says("web.1 ended at once").says("v1").says("is live again");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(live));
    assert_eq!((world.page("blog").body.as_str(), read(&blog, "page.txt").as_str()), ("first", "first"));
    world.settle();
    world.json(&["show", "blog", "2"])["rolled_back"].as_bool().filter(|back| *back).expect("rolled back");
    let blog = blog.git(&["revert", "--no-edit", "HEAD"]).succeeded().code.eq(&0).then_some(blog).expect("a revert");
    blog.push("main").succeeds();
}

#[test]
fn the_first_build_that_fails_leaves_nothing_and_the_next_one_begins_anew() {
    let world = dev();
    let blog = world.project("blog").script(".commis/hooks/build", "#!/bin/sh\nexit 3\n").saying("first");
    blog.push("main").is_rejected("build-failed");
    assert_eq!(fs::read_dir(blog.place("run")).expect("run/").count(), 0);
    assert_eq!(fs::read_dir(blog.place("project")).expect("project/").count(), 0);
    let blog = blog.script(".commis/hooks/build", BUILD).commit("good");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "first");
}

#[test]
fn a_python_project_is_installed_where_it_is_edited() {
    let world = dev();
    let blog = world.project("blog").app("flask");
    blog.push("main").succeeds();
    let before = world.page("blog").body;
    fs::write(blog.place("project/greeting.txt"), "edited on the server\n").expect("an edit");
    assert!(world.page("blog").body.contains("edited on the server") || before != world.page("blog").body);
    let seen = world.commis(&["diff", "blog", "--stat"]);
    assert_eq!(seen.succeeded().stdout.lines().count(), 1, "{seen:?}");
}
