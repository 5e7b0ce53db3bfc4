//! Pushes whose files cannot be understood: said with file, line and key, before anything is done.

use super::support::World;
use super::support::project::Project;
use super::support::rejected::{live_blog, rejected};

/// Pushes to a project's pillar, which is stored without being deployed.
fn pillar<'a>(world: &'a World, project: &Project<'_>, text: &str) -> Project<'a> {
    let mut pillar = world.project("secrets").write("init.yaml", text).commit("a pillar");
    pillar.name = format!("{}/pillar", project.name);
    pillar.push("main").succeeds();
    pillar
}

#[test]
fn a_tree_without_a_recipe_is_told_what_was_looked_for() {
    let world = World::new();
    world.commis(&["project", "create", "notes"]).succeeded();
    let notes = world.project("notes").write("notes.txt", "nothing to run").commit("notes");
    let said = rejected(&world, &notes, "no-recipe");
    for file in ["requirements.txt", "package.json", "index.html", "Cargo.toml", "Procfile", ".commis/hooks"] {
        said.says(file);
    }
}

#[test]
fn a_tree_without_files_is_refused() {
    let world = World::new();
    let blog = live_blog(&world);
    blog.git(&["rm", "-q", "-r", "."]).succeeded();
    let blog = blog.commit("nothing");
    rejected(&world, &blog, "refused").because("no files").says("hint: add files");
}

#[test]
fn a_bad_line_of_the_procfile_is_named_by_its_number() {
    let world = World::new();
    let blog = live_blog(&world).write("Procfile", "# what runs\nweb python3 server.py\n").commit("no colon");
    rejected(&world, &blog, "bad-config").because("Procfile line 2: no colon").says("hint: a line looks like this");
}

#[test]
fn a_bad_project_file_is_named_by_file_line_and_key() {
    let world = World::new();
    let blog = live_blog(&world);
    let blog = blog.write(".commis/project.toml", "[health]\npath = \"/\"\ntime = \"3s\"\n").commit("unknown key");
    rejected(&world, &blog, "bad-config").because(".commis/project.toml").because("line 3").because("health.time");
    let blog = blog.write(".commis/project.toml", "[health]\ntimeout = \"soon\"\n").commit("bad value");
    rejected(&world, &blog, "bad-config").because("line 2").because("health.timeout");
    let blog = blog.write(".commis/project.toml", "[health\n").commit("not TOML");
    rejected(&world, &blog, "bad-config").because(".commis/project.toml").because("line 1");
}

#[test]
fn a_bad_app_json_is_named_by_line_or_key() {
    let world = World::new();
    let blog = live_blog(&world).write("app.json", "{\n  \"name\": \"blog\",\n}\n").commit("not JSON");
    rejected(&world, &blog, "bad-config").because("app.json line 3");
    let text = r#"{"healthchecks": {"web": [{"type": "startup", "path": 7}]}}"#;
    let blog = blog.write("app.json", text).commit("a path that is a number");
    rejected(&world, &blog, "bad-config").because("app.json: healthchecks.web").because("path");
}

#[test]
fn a_bad_pillar_is_named_by_file_and_line() {
    let world = World::new();
    let blog = live_blog(&world);
    let secrets = pillar(&world, &blog, "env:\n  A: \"1\n  B: 2\n");
    let blog = blog.commit("again");
    rejected(&world, &blog, "bad-config").because("pillar/init.yaml line");
    let _ = secrets.write("init.yaml", "env:\n  A: 1\n  B: 2\n  A: 3\n").commit("twice").push("main");
    rejected(&world, &blog, "bad-config").because("pillar/init.yaml line 4").because("A");
}

#[test]
fn an_error_in_the_pillars_jinja_is_named_by_file_and_line() {
    let world = World::new();
    let blog = live_blog(&world);
    let secrets = pillar(&world, &blog, "env:\n  A: {{ nobody.said.this }}\n");
    let blog = blog.commit("again");
    rejected(&world, &blog, "bad-config").because("pillar/init.yaml line 2");
    let _ = secrets.write("init.yaml", "a: 1\nb: 2\n{% if %}\n").commit("half an if").push("main");
    rejected(&world, &blog, "bad-config").because("pillar/init.yaml line 3");
}

#[test]
fn a_hook_that_is_not_executable_is_refused_with_the_command_that_helps() {
    let world = World::new();
    let blog = live_blog(&world).write(".commis/hooks/build", "#!/bin/sh\n").commit("a plain file");
    rejected(&world, &blog, "bad-config").says("hint: git update-index --chmod=+x .commis/hooks/build");
}

#[test]
fn what_was_refused_once_can_be_put_right_and_pushed() {
    let world = World::new();
    let blog = live_blog(&world).write("Procfile", "web\n").commit("half a line");
    rejected(&world, &blog, "bad-config");
    let blog = blog.saying("put right");
    blog.push("main").succeeds().says("success: blog v2 is live");
    assert_eq!(world.page("blog").body, "put right");
}
