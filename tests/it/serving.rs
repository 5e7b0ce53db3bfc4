//! The server's own life: configuration, several side by side, what it refuses to start with.

use super::support::world::{Ran, commis_program, run};
use super::support::{World, leftovers};
use std::path::Path;
use std::process::Command;

/// `commis serve` with a file, which must not start.
fn serve(config: &Path) -> Ran {
    let mut command = Command::new("timeout");
    command.args(["20", commis_program(), "serve", "--config"]).arg(config);
    run(command, "", "commis serve")
}

#[test]
fn a_configuration_with_a_mistake_is_refused_with_its_place() {
    let world = World::new();
    world.commis(&["config", "check"]).succeeded().says("ok: ");
    let file = world.path("bad.toml");
    for (text, said) in [
        ("[router]\nhtpp = \"127.0.0.1:0\"\n", "bad.toml line 2: router.htpp: unknown key; did you mean router.http?"),
        ("platform = \"moon\"\n", "bad.toml line 1: platform: should be dev, staging or prod"),
        ("[ssh\n", "bad.toml line 1"),
        ("[releases]\nkeep = 0\n", "releases.keep"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let path = file.display().to_string();
        world.commis(&["config", "check", "--file", &path]).failed(78).says(said);
        serve(&file).failed(78).says(said);
    }
    world.commis(&["config", "check", "--file", "/nowhere/commis.toml"]).failed(78).says("/nowhere/commis.toml");
}

#[test]
fn without_a_server_a_verb_says_so() {
    let mut world = World::new();
    assert_eq!(world.stop(), Some(0));
    world.commis(&["status"]).failed(69).says("no server answers");
}

#[test]
fn servers_with_different_files_run_side_by_side() {
    let first = World::new();
    let second = World::new();
    first.project("blog").saying("of the first").push("main").succeeds();
    second.project("blog").saying("of the second").push("main").succeeds();
    assert_eq!(first.page("blog").body, "of the first");
    assert_eq!(second.page("blog").body, "of the second");
    assert_ne!(first.commis(&["hostkey"]).stdout, second.commis(&["hostkey"]).stdout);
}

#[test]
fn a_second_server_on_the_same_state_is_refused() {
    let world = World::new();
    serve(&world.config()).failed(78).says("another server runs on");
    world.commis(&["status"]).succeeded();
}

#[test]
fn a_second_server_that_shares_one_directory_with_the_first_is_refused() {
    let world = World::new();
    world.project("blog").saying("of the first").push("main").succeeds();
    let other = world.path("other");
    std::fs::create_dir_all(&other).expect("a directory");
    let text = std::fs::read_to_string(world.config()).expect("the settings");
    let root = world.root.path().display().to_string();
    for shared in ["srv", "rt"] {
        let elsewhere = text.replace(&root, &other.display().to_string());
        let (here, there) = (world.path(shared), other.join(shared));
        let file = other.join("commis.toml");
        std::fs::write(&file, elsewhere.replace(&there.display().to_string(), &here.display().to_string()))
            .expect("settings");
        serve(&file).failed(78).says(&format!("another server runs on {}", here.display()));
    }
    assert_eq!(world.page("blog").body, "of the first");
}

#[test]
fn a_killed_server_leaves_a_router_that_the_next_one_uses() {
    let mut world = World::new();
    world.project("blog").saying("one").push("main").succeeds();
    let (router, http) = (leftovers::routers(world.root.path()), world.http);
    assert_eq!(router.len(), 1);
    world.kill_server();
    assert_eq!(world.get("unknown.commis.test", "/").status, 404, "the router answers alone");
    world.start();
    assert_eq!((leftovers::routers(world.root.path()), world.http), (router.clone(), http));
    assert_eq!(world.page_when_up("blog").body, "one");
    std::fs::write(world.path("conf.d/20-more.toml"), "[router]\nhold = \"7s\"\n").expect("a drop-in");
    world.reload();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while leftovers::routers(world.root.path()) == router && std::time::Instant::now() < until {
        assert_eq!(world.page("blog").body, "one");
    }
    assert_ne!(leftovers::routers(world.root.path()), router, "new settings are those of a new router");
    assert_eq!(world.page("blog").body, "one");
    assert_eq!(world.stop(), Some(0));
    assert_eq!(leftovers::routers(world.root.path()), Vec::<i32>::new());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let world = World::new();
    let other = world.path("other");
    std::fs::create_dir_all(&other).expect("a directory");
    let text = std::fs::read_to_string(world.config()).expect("the settings");
    let root = world.root.path().display().to_string();
    let text = text.replace(&root, &other.display().to_string());
    let file = other.join("commis.toml");
    let http = format!("http = \"127.0.0.1:{}\"", world.http);
    std::fs::write(&file, text.replace("http = \"127.0.0.1:0\"", &http)).expect("settings");
    serve(&file).failed(78).says("router.http: cannot listen on 127.0.0.1:");
    let ssh = format!("listen = \"127.0.0.1:{}\"", world.ssh);
    std::fs::write(&file, text.replace("listen = \"127.0.0.1:0\"", &ssh)).expect("settings");
    serve(&file).failed(78).says("ssh.listen");
}

#[test]
fn a_newer_state_is_refused_and_left_as_it_is() {
    let mut world = World::new();
    assert_eq!(world.stop(), Some(0));
    let database = std::fs::read_dir(world.path("state"))
        .expect("the state")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "db" || end == "sqlite"))
        .expect("the database");
    let connection = rusqlite::Connection::open(&database).expect("the database opens");
    let written: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("its version");
    connection.pragma_update(None, "user_version", 9_999).expect("a newer version");
    serve(&world.config()).failed(78).says("newer");
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("its version");
    assert_eq!(version, 9_999);
    connection.pragma_update(None, "user_version", written).expect("the old version");
    drop(connection);
    world.start();
}

#[test]
fn a_host_key_that_is_gone_is_an_error_and_never_a_new_one() {
    let mut world = World::new();
    let before = world.commis(&["hostkey"]).succeeded().stdout.clone();
    assert_eq!(world.stop(), Some(0));
    world.start();
    let kind_and_key = |line: &str| line.split_once(' ').map(|(_, key)| key.to_owned());
    assert_eq!(kind_and_key(&world.commis(&["hostkey"]).stdout), kind_and_key(&before), "it stays the same");
    assert_eq!(world.stop(), Some(0));
    let key = world.path("state/ssh_host_ed25519_key");
    std::fs::rename(&key, world.path("key.aside")).expect("the key");
    serve(&world.config()).failed(78).says("host key");
    assert!(!key.exists(), "no new key was made");
    std::fs::rename(world.path("key.aside"), &key).expect("the key back");
    world.start();
}

#[test]
fn a_reload_takes_the_new_configuration_for_what_comes_next() {
    let world = World::new();
    let blog = world.project("blog").saying("x");
    std::fs::write(world.path("conf.d/20-more.toml"), "[hooks]\ntimeout = \"1s\"\n").expect("a drop-in");
    world.reload();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !world.server_log().contains("configuration read again") && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let slow = blog.script(".commis/hooks/configure", "#!/bin/sh\nsleep 60\n").commit("slow");
    slow.push("main").is_rejected("build-failed").says("ran longer than 1 s");
    std::fs::write(world.path("conf.d/20-more.toml"), "nonsense = 1\n").expect("a broken drop-in");
    world.reload();
    world.commis(&["status"]).failed(78);
    std::fs::remove_file(world.path("conf.d/20-more.toml")).expect("the drop-in goes");
    assert!(world.server_log().contains("configuration read again"));
}

#[test]
fn the_service_manager_is_told_when_every_port_listens_and_when_it_stops() {
    let mut world = World::new();
    world.stop();
    let manager = world.service_manager();
    let told = || {
        let mut buffer = [0; 256];
        let count = manager.recv(&mut buffer).expect("a word of the server");
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    };
    world.start();
    assert_eq!(told(), "READY=1");
    assert_eq!(world.stop(), Some(0));
    assert_eq!(told(), "STOPPING=1");
}
