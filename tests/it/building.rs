//! Every kind of application that a built-in recipe knows is built, deployed and answers; caches are used.

use super::support::{Project, World};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Deploys one of tests/apps, then a change of its page, and says what the second build said.
fn two_builds(world: &World, project: Project<'_>, page: &str) -> String {
    let name = project.name.clone();
    project.push("main").succeeds();
    assert!(world.page(&name).body.contains("first"), "{:?}", world.page(&name));
    let text = std::fs::read_to_string(project.directory.join(page)).expect("the page").replace("first", "second");
    let project = project.write(page, &text).commit("second");
    project.push("main").succeeds();
    assert!(world.page(&name).body.contains("second"), "{:?}", world.page(&name));
    world.commis(&["log", &name]).succeeded().stdout.clone()
}

#[test]
fn a_flask_application_is_built_by_uv_and_its_environment_comes_from_the_cache() {
    let world = World::new();
    let flask = world.project("flask").app("flask");
    flask.push("main").succeeds().says("requirements.txt by uv");
    assert_eq!(world.page("flask").body.trim(), "first");
    let flask = flask.write("greeting.txt", "second\n").commit("second");
    flask.push("main").succeeds().says("requirements.txt unchanged: .venv from the cache");
    assert_eq!(world.page("flask").body.trim(), "second");
    let flask = flask.write("requirements.txt", "flask==3.1.*\ngunicorn==23.*\nitsdangerous\n").commit("third");
    flask.push("main").succeeds().0.is_silent_about("unchanged: .venv from the cache");
}

#[test]
fn a_project_that_asks_for_pip_gets_pip() {
    let world = World::new();
    let flask = world.project("flask").app("flask").write(".commis/project.toml", "[python]\ninstaller = \"pip\"\n");
    let flask = flask.commit("by pip");
    flask.push("main").succeeds().says("requirements.txt by pip");
    assert_eq!(world.page("flask").body.trim(), "first");
}

#[test]
fn an_express_application_is_installed_by_npm_ci_and_from_the_cache_afterwards() {
    let world = World::new();
    let log = two_builds(&world, world.project("express").app("express"), "greeting.txt");
    assert!(log.contains("package-lock.json unchanged: node_modules from the cache"), "{log}");
    assert!(world.commis(&["log", "express", "1"]).succeeded().stdout.contains("npm ci"));
}

#[test]
fn a_static_site_is_served_with_its_types_and_its_own_page_for_what_is_missing() {
    let world = World::new();
    two_builds(&world, world.project("site").app("static"), "index.html");
    let host = "site.commis.test";
    assert!(world.get(host, "/style.css").body.contains("color"));
    let missing = world.get(host, "/nothing");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("no such page"), "{missing:?}");
    assert_ne!(world.get(host, "/../../../etc/passwd").status, 200);
}

#[test]
fn an_application_that_needs_no_build_runs_as_it_is() {
    let world = World::new();
    two_builds(&world, world.project("plain").app("procfile"), "greeting.txt");
}

#[test]
fn a_project_with_its_own_buildpack_has_a_cache_that_persists() {
    let world = World::new();
    let own = world.project("own").app("inline");
    own.push("main").succeeds().says("inline: build 1");
    assert_eq!(world.page("own").body.trim(), "first, build 1");
    own.commit("again").push("main").succeeds().says("inline: build 2");
    assert_eq!(world.page("own").body.trim(), "first, build 2");
}

#[test]
fn a_rust_application_is_built_with_a_toolchain_of_roots() {
    let Some(toolchain) = toolchain() else {
        panic!("no Rust toolchain here, though this test was built with one: `cargo` must be on PATH");
    };
    let world = World::with(&format!("[builds]\ntoolchains = [\"{}\"]\n", toolchain.display()));
    let log = two_builds(&world, world.project("hello").app("rust"), "greeting.txt");
    assert!(log.contains("target/release/hello"), "{log}");
    world.commis(&["doctor"]).succeeded().says("toolchain of [builds]");
}

/// The directory of the toolchain that has built this test, behind rustup's proxies.
fn toolchain() -> Option<PathBuf> {
    let said = Command::new("rustc").args(["--print", "sysroot"]).output().ok().filter(|said| said.status.success())?;
    let path = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    path.join("bin/cargo").is_file().then_some(path)
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let world = World::new();
    let site = world.project("site").app("static").script("run.sh", "#!/bin/sh\n");
    site.write("deep/er/file", "x").commit("more").push("main").succeeds();
    world.commis(&["deploy", "site"]).succeeded();
    let releases = world.json(&["releases", "site"]);
    let names: Vec<&str> = releases["releases"].as_array().into_iter().flatten().filter_map(archive_name).collect();
    assert_eq!(names.len(), 2, "{releases}");
    let directory = world.path("srv/site/releases");
    // The number of the release is in the archive; everything else must be alike, times and order too.
    let listings: Vec<String> = names.iter().map(|name| listing(&directory.join(name))).collect();
    assert_eq!(listings[0], listings[1]);
    assert!(listings[0].contains("deep/er/file"), "{}", listings[0]);
}

#[test]
fn the_digest_beside_an_archive_verifies_with_sha256sum() {
    let world = World::new();
    world.project("blog").saying("x").push("main").succeeds();
    let releases = world.json(&["releases", "blog"]);
    let name = archive_name(&releases["releases"][0]).expect("an archive").to_owned();
    let directory = world.path("srv/blog/releases");
    let check = || {
        let digest = format!("{name}.sha256");
        Command::new("sha256sum").args(["-c", "--strict", &digest]).current_dir(&directory).status().expect("sha256sum")
    };
    assert!(check().success());
    let archive = directory.join(&name);
    let good = std::fs::read(&archive).expect("the archive");
    std::fs::write(&archive, &good[1..]).expect("a broken archive");
    assert!(!check().success(), "a broken archive must not verify");
    world.commis(&["rollback", "blog", "v1"]).failed(1).says("v1");
    std::fs::write(&archive, good).expect("the archive back");
    assert_eq!(world.page("blog").body, "x");
}

fn archive_name(release: &serde_json::Value) -> Option<&str> {
    release["archive"]["name"].as_str()
}

/// Names, modes, owners and times in archive order, with the digest of all contents below `tree/`.
fn listing(archive: &Path) -> String {
    let tar = |args: &[&str]| {
        let ran = Command::new("tar").arg("--zstd").args(args).arg("-f").arg(archive).output().expect("tar");
        assert!(ran.status.success(), "{ran:?}");
        ran.stdout
    };
    let names = String::from_utf8_lossy(&tar(&["-tv", "--numeric-owner", "--full-time"])).into_owned();
    let tree: Vec<&str> = names.lines().filter(|line| !line.contains("commis-")).collect();
    let contents = tar(&["-x", "--to-stdout", "--wildcards", "tree/*"]);
    format!("{}\n{}", tree.join("\n"), String::from_utf8_lossy(&contents))
}
