//! Rights and secrets that lay open elsewhere, and do not here. The list is in `ancestor.rs`.

use super::support::leftovers::names;
use super::support::{World, picture};
use std::os::unix::fs::MetadataExt;

/// There: everybody pushed as root, and root's private keys were copied to each project.
#[test]
fn w24_no_key_of_the_server_reaches_a_project_and_nothing_of_it_runs_as_root() {
    let world = World::new();
    let state = world.path("state").display().to_string();
    let look = format!(
        "#!/bin/bash\n[ $(id -u) != 0 ] && [ $(id -g) != 0 ] || echo IS ROOT\n\
         ls -a ~ | grep -x .ssh && echo HAS KEYS\ncat {state}/*key* ~root/.ssh/* 2>/dev/null && echo READS KEYS\ntrue\n"
    );
    let mut blog = world.project("blog");
    for hook in ["pre_install", "build", "deploy", "post_install"] {
        blog = blog.script(&format!(".commis/hooks/{hook}"), &look);
    }
    let web = "web: [ $(id -u) != 0 ] || echo IS ROOT; exec python3 server.py\nrelease: id\n";
    let blog = blog.saying("x").write("Procfile", web).commit("who");
    blog.push("main").succeeds().0.is_silent_about("IS ROOT").is_silent_about("KEYS").is_silent_about("uid=0");
    world.commis(&["logs", "blog"]).succeeded().is_silent_about("IS ROOT");
    world.settle();
    let all = picture(&blog.place("."));
    assert!(all.iter().any(|line| line.contains("page.txt")), "the whole project was looked at");
    assert!(all.iter().all(|line| !line.contains("PRIVATE KEY")), "{all:?}");
    let home = std::fs::metadata(blog.place("cache/home")).expect("a home");
    assert_ne!(home.uid(), 0);
}

/// There: log and lock lay in the checkout, and a static site served them to everybody.
#[test]
fn w25_a_site_serves_what_was_committed_for_it_and_nothing_else() {
    let world = World::new();
    let site =
        world.project("site").write("index.html", "welcome").write(".commis/project.toml", "").write(".env", "K=v");
    let site = site.commit("site");
    site.push("main").succeeds();
    let site = site.script(".commis/hooks/post_deploy", "#!/bin/sh\nexit 1\n").commit("bad");
    site.push("main").is_rejected("rolled-back");
    world.settle();
    let run: Vec<String> = names(&site.place("run"));
    assert_eq!(run, [".commis", ".env", "index.html"]);
    let get = |path: &str| world.get("site.commis.test", path).status;
    assert_eq!(get("/index.html"), 200);
    for path in ["/1.log", "/app.log", "/.commis/project.toml", "/.env", "/.git/config", "/../../log/site/1.log"] {
        assert!(matches!(get(path), 400 | 404), "{path}");
    }
}

/// There: asking for the configuration printed every password.
#[test]
fn w26_secrets_are_shown_only_to_who_asks_for_them_by_name() {
    let world = World::new();
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis_with_input(&["config", "set", "blog", "-"], "TOKEN=canary-4711\n").succeeded();
    let blog = world.project("blog").script(".commis/hooks/deploy", "#!/bin/sh\necho \"$TOKEN\"; env\n").saying("x");
    blog.push("main").succeeds().0.is_silent_about("canary-4711");
    for verb in [&["config", "show", "blog"][..], &["show", "blog"], &["log", "blog", "1"], &["doctor"], &["status"]] {
        world.commis(verb).succeeded().is_silent_about("canary-4711");
    }
    assert!(!world.server_log().contains("canary-4711"));
    world.commis(&["config", "show", "blog", "--values"]).succeeded().says("canary-4711");
}

/// There: modules of all projects lay in one place, and the last to deploy won.
#[test]
fn w27_two_projects_with_the_same_names_for_their_parts_do_not_meet() {
    let world = World::new();
    let make = |name: &str| {
        let hook = "#!/bin/sh\n. .commis/hooks/lib/shared.sh\ngreet > page.txt\n";
        let project = world.project(name).script(".commis/hooks/build", hook);
        project.write(".commis/hooks/lib/shared.sh", &format!("greet() {{ echo of {name}; }}\n")).saying("x")
    };
    let (blog, wiki) = (make("blog"), make("wiki"));
    blog.push("main").succeeds();
    wiki.push("main").succeeds();
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!((world.page("blog").body, world.page("wiki").body), ("of blog\n".into(), "of wiki\n".into()));
    let owner = |name: &str| std::fs::metadata(live_data(&world, name)).expect("data").uid();
    assert_ne!(owner("blog"), owner("wiki"));
}

fn live_data(world: &World, name: &str) -> std::path::PathBuf {
    world.path("srv").join(name).join("data")
}
