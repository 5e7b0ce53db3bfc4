//! Shapes of projects, each through its life: deployed, failed in the build and after the switch, rolled back by
//! failure and by hand, with what it serves and its data compared. Here those without a database server: a static site,
//! a content manager, an application of several processes. The recipes are in `docs/shapes.md`.

use super::clients::wait_until;
use super::support::{Project, World, picture};

/// What a visitor gets for each of these paths.
fn served(world: &World, project: &str, paths: &[&str]) -> Vec<(u16, String)> {
    let host = format!("{project}.commis.test");
    let get = |path: &&str| world.get(&host, path);
    paths.iter().map(get).map(|page| (page.status, page.body)).collect()
}

#[test]
fn a_static_site_serves_exactly_the_files_of_its_release_whatever_failed_since() {
    const PATHS: &[&str] = &["/", "/about.html", "/css/site.css", "/new.html", "/.commis/project.toml"];
    let world = World::new();
    let site = world.project("site").app("shape-site");
    site.push("main").succeeds();
    let first = served(&world, "site", PATHS);
    assert_eq!(first.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 200, 404, 404]);
    // In the build: a link leads to a page that is gone.
    let site = site.remove("about.html").commit("a page less");
    site.push("main").is_rejected("build-failed").says("broken link: about.html");
    assert_eq!(served(&world, "site", PATHS), first);
    let alone = "<html><link rel=\"stylesheet\" href=\"css/site.css\"><h1>Black tea</h1></html>\n";
    let site = site.write("index.html", alone).commit("and its link");
    site.push("main").succeeds();
    let second = served(&world, "site", PATHS);
    assert_eq!((second[0].1.as_str(), second[1].0), (alone, 404), "a deleted page is gone");
    // After the switch.
    let asks = "buildpack = \"static\"\n[health]\npath = \"/status.html\"\ntimeout = \"1s\"\n";
    let site = site.write("new.html", "new").remove("css/site.css").write("index.html", "<html>newer</html>\n");
    site.write(".commis/project.toml", asks).commit("unhealthy").push("main").is_rejected("rolled-back");
    assert_eq!(served(&world, "site", PATHS), second);
    world.commis(&["rollback", "site", "v1"]).succeeded();
    assert_eq!(served(&world, "site", PATHS), first);
    world.commis(&["rollback", "site", "v2"]).succeeded();
    assert_eq!(served(&world, "site", PATHS), second);
}

/// A content manager with a page and an upload of its editors.
fn content_manager(world: &World) -> Project<'_> {
    let cms = world.project("cms").app("shape-cms");
    cms.push("main").succeeds().says("installed");
    let paths = ["/write/tea/green", "/upload/leaf.jpg", "/"];
    let pages = served(world, "cms", &paths);
    assert!(pages.iter().all(|(status, _)| *status == 200), "{pages:?}");
    assert!(pages[2].1.contains("('tea', 'green')") && pages[2].1.contains("leaf.jpg"), "{pages:?}");
    cms
}

#[test]
fn what_editors_wrote_and_uploaded_survives_a_new_version_that_is_installed_once() {
    let world = World::new();
    let cms = content_manager(&world);
    let before = picture(&cms.place("data"));
    let cms = cms.write("theme.txt", "dark").commit("dark");
    cms.push("main").succeeds().0.is_silent_about("installed");
    assert_eq!(picture(&cms.place("data")), before);
    let page = world.page("cms").body;
    assert!(page.starts_with("dark: ") && page.contains("leaf.jpg"), "{page}");
    // In the build nothing is touched, so what is written meanwhile stays.
    let cms = cms.script(".commis/hooks/build", "#!/bin/sh\nexit 1\n").commit("bad build");
    cms.push("main").is_rejected("build-failed");
    assert_eq!(picture(&cms.place("data")), before);
}

#[test]
fn an_update_that_fails_half_way_leaves_content_uploads_and_the_closed_door_as_they_were() {
    let world = World::new();
    let cms = content_manager(&world);
    let (before, page) = (picture(&cms.place("data")), world.page("cms").body);
    let same = |why: &str| {
        world.settle();
        assert_eq!(picture(&cms.place("data")), before, "{why}");
        assert_eq!(world.page("cms").body, page, "{why}: not open again, or changed");
    };
    // Before the switch: the first statement is done, the second is none.
    let half = "update pages set body = 'lost'; delete from nothing;\n";
    let at = || Project::at(&world, "cms", &cms.directory);
    let bad = at().write("update.sql", half).commit("half an update");
    bad.push("main").is_rejected("release-failed");
    same("hook deploy");
    // After the switch: the update is whole, and the new version is not well.
    let whole = "update pages set body = 'lost';\n";
    let bad = bad.write("update.sql", whole).write("theme.txt", "broken").commit("unhealthy");
    bad.push("main").is_rejected("rolled-back");
    same("health");
    // The very last hook, which would have opened the door.
    let bad = bad.write("theme.txt", "dark").script(".commis/hooks/post_install", "#!/bin/sh\nexit 7\n").commit("late");
    bad.push("main").is_rejected("rolled-back").says("hook post_install: exit 7");
    same("hook post_install");
}

#[test]
fn a_content_manager_goes_back_with_its_content_and_forth_again() {
    let world = World::new();
    let cms = content_manager(&world);
    let (first, page) = (picture(&cms.place("data")), world.page("cms").body);
    let update = "update pages set body = upper(body);\n";
    let cms = cms.write("update.sql", update).write("theme.txt", "dark").commit("an update");
    cms.push("main").succeeds();
    assert_eq!(served(&world, "cms", &["/upload/later.jpg"])[0].0, 200);
    let (second, later) = (picture(&cms.place("data")), world.page("cms").body);
    assert!(later.contains("'GREEN'") && later.contains("later.jpg"), "{later}");
    world.commis(&["rollback", "cms"]).failed(1).says("--with-data").says("--code-only");
    world.commis(&["rollback", "cms", "--with-data"]).succeeded();
    assert_eq!(world.page("cms").body, page);
    assert_eq!(picture(&cms.place("data")), first);
    world.commis(&["rollback", "cms", "v2", "--with-data"]).succeeded();
    assert_eq!(world.page("cms").body, later);
    assert_eq!(picture(&cms.place("data")), second);
}

/// Process, pid, state, release of everything that runs of a project.
fn processes(world: &World, project: &str) -> Vec<String> {
    world.settle();
    let shown = world.json(&["show", project]);
    let words = |process: &serde_json::Value| {
        ["process", "pid", "state", "release"].map(|key| process[key].to_string()).join(" ").replace('"', "")
    };
    shown["processes"].as_array().into_iter().flatten().map(words).collect()
}

/// A letter goes from the web process by the engine, the sorter and the mailer.
fn a_letter_arrives(world: &World, name: &str) {
    assert_eq!(served(world, "desk", &[&format!("/send/{name}")]), [(200, String::new())]);
    wait_until(|| world.page("desk").body.split(' ').any(|letter| letter == format!("{name}.txt")));
}

#[test]
fn of_several_processes_a_bad_one_fails_the_deployment_and_all_old_ones_serve_on() {
    let world = World::new();
    let desk = world.project("desk").app("shape-desk");
    desk.push("main").succeeds().says("GET /healthz 200");
    a_letter_arrives(&world, "one");
    let before = processes(&world, "desk");
    assert_eq!(before.len(), 4, "{before:?}");
    assert!(before.iter().all(|line| line.ends_with(" running v1")), "{before:?}");
    let letters = picture(&desk.place("data"));
    let procfile = std::fs::read_to_string(desk.directory.join("Procfile")).expect("Procfile");
    let good = desk.head();
    let at = || Project::at(&world, "desk", &desk.directory);
    let still = |why: &str| {
        assert_eq!(processes(&world, "desk"), before, "{why}");
        assert_eq!(picture(&desk.place("data")), letters, "{why}");
        at().git(&["reset", "-q", "--hard", &good]).succeeded();
    };
    // In the build.
    at().write("desk.py", "import\n").commit("bad").push("main").is_rejected("build-failed").says("SyntaxError");
    still("build");
    // After the switch: one worker ends, while the web process still waits for the engine.
    let bad = procfile.replace("exec python3 desk.py mailer", "sleep 0.3; echo no stamps; exit 3");
    let pushed = at().write("Procfile", &bad).commit("bad").push("main");
    pushed.is_rejected("rolled-back").says("mailer.1").says("exit 3").says("no stamps");
    still("mailer");
    // The engine is never ready.
    let slow = procfile.replace("exec python3 desk.py engine", "sleep 3600");
    let asks = "[health]\npath = \"/healthz\"\ntimeout = \"2s\"\n";
    let pushed = at().write("Procfile", &slow).write(".commis/project.toml", asks).commit("bad").push("main");
    pushed.is_rejected("rolled-back").says("GET /healthz 503");
    still("engine");
    // A release line may have changed data: so data is put back, for which the old processes make room, all of them.
    let migrates = format!("{procfile}release: rm $COMMIS_DATA/out/*; exit 2\n");
    at().write("Procfile", &migrates).commit("bad").push("main").is_rejected("release-failed");
    let after = processes(&world, "desk");
    assert!(after.len() == 4 && after.iter().all(|line| line.ends_with(" running v1")), "{after:?}");
    assert_eq!(picture(&desk.place("data")), letters);
    a_letter_arrives(&world, "two");
}

#[test]
fn an_application_of_several_processes_is_replaced_as_a_whole_and_back() {
    let world = World::new();
    let desk = world.project("desk").app("shape-desk");
    desk.push("main").succeeds();
    let desk = desk.write("readme.txt", "second").commit("second");
    desk.push("main").succeeds();
    assert!(processes(&world, "desk").iter().all(|line| line.ends_with(" running v2")));
    a_letter_arrives(&world, "three");
    world.commis(&["rollback", "desk"]).succeeded();
    let back = processes(&world, "desk");
    assert!(back.len() == 4 && back.iter().all(|line| line.ends_with(" running v1")), "{back:?}");
    // What was written since is the users', not the release's.
    a_letter_arrives(&world, "four");
    assert_eq!(world.page("desk").body, "four.txt three.txt");
}

#[test]
fn a_worker_that_ends_a_moment_after_the_page_is_up_fails_the_deployment_too() {
    let world = World::new();
    let blog = world.project("blog").saying("old");
    blog.push("main").succeeds();
    let procfile = "web: exec python3 server.py\nworker: sleep 0.6; echo no mill; exit 3\n";
    let blog = blog.write("Procfile", procfile).write("page.txt", "new").commit("a worker");
    blog.push("main").is_rejected("rolled-back").says("worker.1").says("no mill");
    assert_eq!(world.page("blog").body, "old");
}
