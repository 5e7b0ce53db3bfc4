//! Mode editable: what is edited under `project/` is seen live, shown, committed and pulled; a push never loses it.

use super::support::leftovers::names;
use super::support::mounts::mounted_on;
use super::support::{Project, Pushed, World};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

pub fn dev() -> World {
    World::with("platform = \"dev\"\n")
}

pub fn push_over(project: &Project<'_>, option: &str) -> Pushed {
    project.push_with(&["--porcelain", "-o", option, &project.url(), "HEAD:refs/heads/main"])
}

fn write(project: &Project<'_>, path: &str, text: &str) {
    fs::write(project.place("project").join(path), text).expect("an edit");
}

fn read(project: &Project<'_>, path: &str) -> String {
    fs::read_to_string(project.place("project").join(path)).unwrap_or_default()
}

/// The branches of edits that the server keeps.
fn kept(project: &Project<'_>) -> Vec<String> {
    let listed = project.git(&["ls-remote", &project.url(), "refs/heads/edits/*"]);
    listed.stdout.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

#[test]
fn a_static_site_is_edited_on_the_server_and_seen_at_once() {
    let mut world = dev();
    let directory = {
        let blog = world.project("blog").app("static");
        let pushed = blog.push("main");
        pushed.succeeds().says("success: blog v1 is live").says("edit it in ").says("skipped: edited in place");
        write(&blog, "index.html", "edited on the server");
        assert_eq!(world.page("blog").body, "edited on the server", "no restart, no deployment");
        let point = blog.place("project");
        let lines = mounted_on(&point);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("nosuid,nodev") && !lines[0].contains("shared:"), "{lines:?}");
        let run = fs::metadata(blog.place("run")).expect("run/");
        assert_eq!(run.ino(), fs::metadata(&point).expect("project/").ino());
        assert_eq!(run.mode() & 0o7777, 0o2750);
        let shown = world.json(&["show", "blog"]);
        assert_eq!((&shown["mode"], &shown["live"]), (&"editable".into(), &"v1".into()), "{shown:#}");
        assert_eq!(shown["edited_in"], point.display().to_string().as_str());
        assert_eq!(world.json(&["releases", "blog"])["releases"].as_array().map(Vec::len), Some(0));
        blog.directory.clone()
    };
    // Over a stop and a start the mount is the same one.
    let before = mounted_on(&world.path("srv/blog/project"));
    world.stop();
    assert_eq!(mounted_on(&world.path("srv/blog/project")), before);
    world.start();
    assert_eq!(mounted_on(&world.path("srv/blog/project")), before);
    assert_eq!(world.page_when_up("blog").body, "edited on the server");
    let blog = Project::at(&world, "blog", &directory);
    assert_eq!(names(&blog.place("deploy")), ["current"]);
}

#[test]
fn phases_and_hooks_run_without_a_push_and_a_run_of_nothing_is_an_error() {
    let world = dev();
    let blog = world
        .project("blog")
        .script(".commis/hooks/post_deploy", "#!/bin/sh\necho told after the start\n")
        .saying("first");
    blog.push("main").succeeds();
    let pid = || world.json(&["show", "blog"])["processes"][0]["pid"].as_u64().expect("a process");
    let before = pid();
    write(&blog, "server.py", &read(&blog, "server.py").replace("'rb').read()", "'rb').read() + b' restarted'"));
    assert_eq!(world.page("blog").body, "first", "the program that runs is the old one");
    world.commis(&["deploy", "blog", "--only", "deploy"]).succeeded().says("success: blog v2 is live");
    assert_eq!(world.page("blog").body, "first restarted");
    world.settle();
    let after = pid();
    assert_ne!(before, after);
    world.commis(&["deploy", "blog", "--step", "post_deploy"]).succeeded().says("told after the start");
    assert_eq!((pid(), world.json(&["show", "blog"])["live"].as_str()), (after, Some("v2")), "nothing was restarted");
    let unknown = world.commis(&["deploy", "blog", "--only", "biuld"]);
    unknown.failed(64).says("did you mean build?").says("there are: gather, pre_install");
    world.commis(&["deploy", "blog", "--step", "post_deplyo"]).failed(64).says("did you mean post_deploy?");
    world.commis(&["deploy", "blog", "--only", "bundle"]).failed(1).says("nothing was run: bundle: edited in place");
    world.commis(&["deploy", "blog", "--only", "build"]).failed(1).says("nothing was run: build: nothing declared");
    world.commis(&["deploy", "blog", "--step", "upgrade"]).failed(1).says("nothing was run: no hook upgrade");
    world.commis(&["rollback", "blog"]).failed(1).says("is edited in place");
    // All of it, as it stands.
    world.commis(&["deploy", "blog"]).succeeded().says("of what stands here").says("success: blog v3 is live");
    assert_eq!(world.page("blog").body, "first restarted");
}

#[test]
fn a_project_that_is_not_edited_runs_hooks_of_what_is_live_and_no_single_phase() {
    let world = World::new();
    let blog = world
        .project("blog")
        .script(".commis/hooks/post_deploy", "#!/bin/sh\necho told again in $PWD\n")
        .script(".commis/hooks/build", "#!/bin/sh\n")
        .saying("first");
    blog.push("main").succeeds();
    world.commis(&["deploy", "blog", "--step", "post_deploy"]).succeeded().says("told again in");
    let shown = world.json(&["show", "blog"]);
    assert_eq!((shown["live"].as_str(), &shown["edited_in"]), (Some("v1"), &serde_json::Value::Null));
    assert_eq!(world.page("blog").body, "first");
    world.commis(&["deploy", "blog", "--only", "build"]).failed(1).says("is not edited in place");
    world.commis(&["deploy", "blog", "--step", "build"]).failed(1).says("hook build runs when a release is made");
    world.commis(&["diff", "blog"]).failed(1).says("is not edited in place");
    blog.write("page.txt", "second").commit("second").push("main").succeeds().says("v1 -> v2");
}

#[test]
fn edits_are_shown_committed_and_pulled() {
    let world = dev();
    let blog = world.project("blog").write(".gitignore", "*.log\n").saying("first");
    blog.push("main").succeeds();
    world.commis(&["commit", "blog", "-m", "x"]).succeeded().says("nothing is edited");
    write(&blog, "page.txt", "from the server\n");
    write(&blog, "new page.txt", "one\ntwo\n");
    write(&blog, "debug.log", "ignored");
    let diff = world.commis(&["diff", "blog"]);
    diff.succeeded().says("-first").says("+from the server").says("new file mode 100644").is_silent_about("ignored");
    world.commis(&["diff", "blog", "--stat"]).succeeded().says("changed  +1  -1  page.txt").is_silent_about("@@");
    let json = world.json(&["diff", "blog"]);
    assert_eq!((json["base"].as_str(), json["files"].as_array().map(Vec::len)), (Some(blog.head().as_str()), Some(2)));
    // The text is a patch that git takes.
    fs::write(world.path("work/p"), json["diff"].as_str().expect("a diff")).expect("a patch");
    blog.git(&["apply", "--check", "../p"]).succeeded();
    let base = blog.head();
    world.commis(&["commit", "blog", "-m", "fixed on the server"]).succeeded().says("on main: 2 files");
    assert_eq!(world.commis(&["diff", "blog"]).succeeded().stdout, "");
    blog.git(&["pull", "-q", "--ff-only", &blog.url(), "main"]).succeeded();
    assert_eq!(fs::read_to_string(blog.directory.join("new page.txt")).expect("the file"), "one\ntwo\n");
    let said = blog.git(&["log", "-1", "--format=%s %an %P"]).stdout;
    assert_eq!(said.trim(), format!("fixed on the server root {base}"));
    // And the next push goes on from there.
    let blog = blog.write("page.txt", "from the desk").commit("next");
    blog.push("main").succeeds();
    assert_eq!((world.page("blog").body.as_str(), read(&blog, "debug.log").as_str()), ("from the desk", "ignored"));
    assert_eq!(read(&blog, "new page.txt"), "one\ntwo\n");
}

#[test]
fn a_commit_may_go_to_another_branch() {
    let world = dev();
    world.admit("jane", &["--project", "blog"]);
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    write(&blog, "page.txt", "tried");
    world
        .ssh("jane", &["commit", "blog", "-m", "try", "--branch", "try"])
        .succeeded()
        .says("on try: 1 file; to get it: git fetch ssh://");
    assert!(blog.remote_ref("refs/heads/try").is_some());
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
    world.commis(&["diff", "blog", "--stat"]).succeeded().says("page.txt");
    world.commis(&["commit", "blog", "-m", "x", "--branch", "try"]).failed(1).says("but what is edited was");
    world.commis(&["commit", "blog", "-m", "x", "--branch", "-x"]).failed(64);
    world.commis(&["commit", "blog", "-m", " "]).failed(64).says("a commit says something");
    // What the pushed commit has itself is not lost: no option is needed.
    blog.write("page.txt", "tried").commit("merged").push("main").succeeds();
    assert_eq!(world.commis(&["diff", "blog"]).succeeded().stdout, "");
}

#[test]
fn a_push_that_would_lose_edits_is_refused_with_their_list() {
    let world = dev();
    let blog = world.project("blog").write("old.txt", "old\n").saying("first");
    blog.push("main").succeeds();
    let live = blog.head();
    write(&blog, "page.txt", "edited");
    write(&blog, "new.txt", "new");
    fs::remove_file(blog.place("project").join("old.txt")).expect("a removal");
    let blog = blog.write("page.txt", "pushed").commit("second");
    let pushed = blog.push("main");
    pushed.is_rejected("refused").says("3 files were edited in blog on the server and not committed");
    pushed.says("added    new.txt").says("changed  page.txt").says("removed  old.txt");
    pushed.says("-o stash").says("-o commit").says("commis commit blog");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(live.clone()));
    assert_eq!((world.page("blog").body.as_str(), read(&blog, "new.txt").as_str()), ("edited", "new"));
    // Kept on a branch, and the push goes through.
    push_over(&blog, "stash").succeeds().says("3 edited files are kept on the branch edits/").says("v2 is live");
    assert_eq!(world.page("blog").body, "pushed");
    assert_eq!((read(&blog, "new.txt").as_str(), read(&blog, "old.txt").as_str()), ("", "old\n"));
    let branches = kept(&blog);
    assert_eq!(branches.len(), 1, "{branches:?}");
    blog.git(&["fetch", "-q", &blog.url(), &branches[0]]).succeeded();
    assert_eq!(blog.git(&["show", "FETCH_HEAD:page.txt"]).stdout, "edited");
    assert_eq!(blog.git(&["show", "FETCH_HEAD:new.txt"]).stdout, "new");
    blog.git(&["show", "FETCH_HEAD:old.txt"]).failed(128);
    assert_eq!(blog.git(&["rev-parse", "FETCH_HEAD^"]).stdout.trim(), live);
    // The other option says how to merge.
    write(&blog, "page.txt", "again");
    let blog = blog.write("page.txt", "third").commit("third");
    push_over(&blog, "stahs").is_rejected("bad-option").says("did you mean \"stash\"?");
    push_over(&blog, "commit").succeeds().says("to merge them: git pull").says("v3 is live");
    assert_eq!(kept(&blog).len(), 2);
}

#[test]
fn a_push_that_ends_the_editing_keeps_edits_and_takes_project_away() {
    let world = dev();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    write(&blog, "page.txt", "edited");
    let blog = blog.write(".commis/project.toml", "mode = \"cooking\"\n").write("page.txt", "cooked").commit("cooking");
    blog.push("main").is_rejected("refused").says("changed  page.txt");
    // What no commit can have: an ignored file, and a name that is no text.
    write(&blog, ".gitignore", ".env\n");
    write(&blog, ".env", "SECRET=1");
    let odd = OsStr::from_bytes(b"caf\xe9");
    fs::write(blog.place("project").join(odd), "odd").expect("an edit");
    let odd_one = "1 file has a name that is no text";
    world.commis(&["diff", "blog", "--stat"]).succeeded().says(odd_one).says("caf\\xe9");
    let pushed = push_over(&blog, "stash");
    pushed.succeeds().says(odd_one).says("the editing has ended").says("archives/3.left/run for 7 days");
    assert_eq!((world.page("blog").body.as_str(), kept(&blog).len()), ("cooked", 1));
    world.settle();
    let left = blog.place("archives/3.left/run");
    let aside = |name: &OsStr| fs::read_to_string(left.join(name)).unwrap_or_default();
    assert_eq!((aside(OsStr::new(".env")).as_str(), aside(odd).as_str()), ("SECRET=1", "odd"));
    assert!(!blog.place("archives/3/run").exists());
    assert_eq!(mounted_on(&blog.place("project")), Vec::<String>::new());
    assert_eq!(names(&blog.place("project")), Vec::<String>::new());
    assert!(world.json(&["show", "blog"])["edited_in"].is_null());
    assert_eq!(fs::metadata(blog.place("run")).expect("run/").uid(), 0);
    // Later deployments leave it where it was said to be.
    let mut blog = blog;
    for text in ["third", "fourth", "fifth"] {
        blog = blog.write("page.txt", text).commit(text);
        blog.push("main").succeeds();
        world.settle();
    }
    assert_eq!(aside(OsStr::new(".env")), "SECRET=1");
    // And back.
    let blog = blog.remove(".commis/project.toml").write("page.txt", "edited again").commit("back");
    blog.push("main").succeeds().says("edit it in");
    write(&blog, "page.txt", "live");
    assert_eq!((world.page("blog").body.as_str(), mounted_on(&blog.place("project")).len()), ("live", 1));
}

#[test]
fn the_first_push_hides_nothing_that_stands_in_project() {
    let world = dev();
    world.commis(&["project", "create", "blog"]).succeeded();
    let blog = world.project("blog").saying("first");
    fs::write(blog.place("project").join("notes"), "mine").expect("a file");
    blog.push("main").is_rejected("refused").says("is not empty, and run/ will be shown there");
    assert_eq!(fs::read_to_string(blog.place("project/notes")).expect("the file"), "mine");
    fs::remove_file(blog.place("project/notes")).expect("a removal");
    blog.push("main").succeeds();
}
