//! Releases between servers: streams in and out of both doors, lines that break, keys that may do one thing, pushes that
//! name a release.

use super::support::world::{Ran, run};
use super::support::{Pair, Project, Running, World};
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command with a file as its input.
fn fed(mut command: Command, file: &std::path::Path) -> Ran {
    let input = File::open(file).expect("a file");
    let output = command.stdin(Stdio::from(input)).output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran {
        what: "a command with input".into(),
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn written(mut command: Command, file: &std::path::Path) {
    let output = command.stdout(Stdio::from(File::create(file).expect("a file"))).status().expect("an end");
    assert!(output.success(), "{output:?}");
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_fetch_that_is_cut_every_megabyte_goes_on_where_it_was() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    std::fs::write(blog.directory.join("noise"), noise(5 << 20)).expect("noise");
    blog.commit("noise").push("main").succeeds();
    pair.line.breaks_after(1 << 20);
    let before = pair.line.used();
    pair.production.commis(&["promote", "blog"]).succeeded();
    assert!(pair.line.used() - before >= 6, "{} connections", pair.line.used() - before);
    assert_eq!(pair.production.page("blog").body, "one");
    assert_eq!(std::fs::read_dir(pair.deployed("blog").join("incoming")).expect("incoming").count(), 0);
}

#[test]
fn a_line_that_is_dead_ends_the_promotion_and_what_came_is_kept_for_the_next_try() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    std::fs::write(blog.directory.join("noise"), noise(3 << 20)).expect("noise");
    blog.commit("noise").push("main").succeeds();
    pair.line.breaks_after(2_000);
    pair.production.commis(&["promote", "blog"]).failed(69).says("staging at 127.0.0.1");
    assert!(!pair.deployed("blog").join("run").join("page.txt").exists());
    pair.line.holds();
    pair.production.commis(&["promote", "blog"]).succeeded();
}

#[test]
fn a_release_goes_through_both_doors_as_a_stream() {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    pair.staging.settle();
    let (by_socket, by_ssh) = (pair.staging.path("socket.tar"), pair.staging.path("ssh.tar"));
    written(pair.staging.commis_command(&["release", "export", "blog", "v1"]), &by_socket);
    written(pair.staging.ssh_command("admin", &["release", "export", "blog"]), &by_ssh);
    assert!(std::fs::read(&by_socket).expect("a tar") == std::fs::read(&by_ssh).expect("a tar"));
    pair.staging.commis(&["release", "export", "blog", "--json"]).failed(64).says("leave out --json");
    let listed = run(
        {
            let mut c = Command::new("tar");
            c.arg("-tf").arg(&by_ssh);
            c
        },
        "",
        "tar",
    );
    assert_eq!(listed.succeeded().stdout.lines().count(), 4, "{listed:?}");
    // Stored first, then deployed; from a file, from standard input, by ssh.
    let imported = fed(pair.production.commis_command(&["release", "import", "blog"]), &by_socket);
    imported.succeeded().says("verified and stored v1 of blog, signed by staging");
    assert_eq!(pair.shown(&["show", "blog"])["live"], serde_json::Value::Null);
    pair.production.commis(&["release", "push", "blog", by_ssh.to_str().expect("a path")]).succeeded();
    assert_eq!(pair.production.page("blog").body, "one");
    pair.production.admit("jenkins", &["--project", "blog", "--only", "release:push"]);
    fed(pair.production.ssh_command("jenkins", &["release", "push", "blog"]), &by_ssh).succeeded();
    pair.production.commis(&["project", "create", "wiki"]).succeeded();
    let other = fed(pair.production.commis_command(&["release", "push", "wiki"]), &by_ssh);
    other.failed(1).says("is no file of a release of wiki");
    assert_eq!(std::fs::read_dir(pair.deployed("wiki").join("incoming")).expect("incoming").count(), 0);
    let half = pair.staging.path("half.tar");
    let bytes = std::fs::read(&by_ssh).expect("a tar");
    std::fs::write(&half, &bytes[..bytes.len() / 2]).expect("half a tar");
    fed(pair.production.ssh_command("jenkins", &["release", "push", "blog"]), &half).failed(1).says("it broke off");
    assert_eq!(std::fs::read_dir(pair.deployed("blog").join("incoming")).expect("incoming").count(), 0);
}

#[test]
fn an_upload_that_a_dying_server_left_is_gone_at_the_next_start() {
    let mut pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    let tar = pair.staging.path("blog.tar");
    written(pair.staging.commis_command(&["release", "export", "blog"]), &tar);
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    let header = std::fs::read(&tar).expect("a tar")[..512].to_vec();
    let push = pair.production.ssh_command("admin", &["release", "push", "blog"]);
    let mut push = Running::start(push, "release push");
    push.types(std::str::from_utf8(&header).expect("text"));
    let incoming = pair.deployed("blog").join("incoming");
    let count = || std::fs::read_dir(&incoming).map(|entries| entries.count()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(30);
    while count() == 0 {
        assert!(Instant::now() < until, "nothing came in");
        std::thread::sleep(Duration::from_millis(10));
    }
    pair.production.kill();
    assert_ne!(push.ended().code, 0);
    assert_eq!(count(), 1);
    pair.production.start();
    assert_eq!(count(), 0);
    fed(pair.production.ssh_command("admin", &["release", "push", "blog"]), &tar).succeeded();
}

#[test]
fn a_number_has_the_same_bytes_everywhere() {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    pair.production.commis(&["promote", "blog"]).succeeded();
    // Another server with the same key and name, which counted for itself.
    let twin = World::new();
    let key = |world: &World| world.path("state/release_ed25519_key");
    std::fs::copy(key(&pair.staging), key(&twin)).expect("a key");
    let mut twin = twin;
    twin.stop();
    twin.start();
    twin.project("blog").saying("other").push("main").succeeds();
    twin.settle();
    let tar = twin.path("blog.tar");
    written(twin.commis_command(&["release", "export", "blog"]), &tar);
    let pushed = fed(pair.production.commis_command(&["release", "push", "blog"]), &tar);
    pushed.failed(1).says("v1 is here already with other bytes");
    assert_eq!(pair.production.page("blog").body, "one");
}

#[test]
fn a_key_for_releases_can_do_nothing_else() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    pair.staging.project("wiki").saying("w").push("main").succeeds();
    pair.staging.settle();
    pair.staging.admit("fetcher", &["--project", "blog", "--only", "release:fetch"]);
    pair.staging.admit("pusher", &["--project", "blog", "--only", "release:push"]);
    for words in EVERYTHING_ELSE {
        for key in ["fetcher", "pusher"] {
            let words: Vec<&str> = words.split(' ').collect();
            let ran = pair.staging.ssh(key, &words);
            assert!([77, 66].contains(&ran.code), "{key} may {words:?}: {ran:?}");
        }
    }
    for key in ["fetcher", "pusher"] {
        let project = Project::at(&pair.staging, "blog", &blog.directory).by(key);
        assert_ne!(project.push("main").0.code, 0, "{key} pushes");
        assert_ne!(project.git(&["ls-remote", &project.url()]).code, 0, "{key} fetches");
        assert_ne!(project.git(&["ls-remote", &project.pillar_url()]).code, 0, "{key} reads the pillar");
    }
    pair.staging.ssh("fetcher", &["release", "head", "blog"]).succeeded();
    pair.staging.ssh("fetcher", &["release", "head", "wiki"]).failed(66);
    pair.staging.ssh("fetcher", &["release", "push", "blog"]).failed(77);
    pair.staging.ssh("pusher", &["release", "head", "blog"]).failed(77);
    pair.staging.ssh("pusher", &["release", "export", "blog"]).failed(77);
    // The control: the same words for somebody who may.
    for words in ["show blog", "log blog", "releases blog", "config show blog", "status"] {
        pair.staging.ssh("admin", &words.split(' ').collect::<Vec<_>>()).succeeded();
    }
    let wrong = |words: &[&str]| pair.staging.commis_with_input(words, &pair.staging.public_key("admin"));
    wrong(&["key", "add", "x", "--only", "release:push"]).failed(64).says("--only needs --project");
    wrong(&["key", "add", "x", "--project", "blog", "--only", "fly"]).failed(64).says("rights are: release:push");
}

/// What a key for releases is refused; `hostkey` and `release signer` answer what anybody may know.
const EVERYTHING_ELSE: [&str; 24] = [
    "list",
    "show blog",
    "show blog 1",
    "log blog",
    "logs blog",
    "releases blog",
    "deploy blog",
    "cancel blog",
    "rollback blog",
    "promote blog",
    "retention blog",
    "release list blog",
    "release verify blog v1",
    "release pin blog v1",
    "release unpin blog v1",
    "release key",
    "config show blog",
    "config set blog A=1",
    "config unset blog A",
    "key list",
    "key remove admin",
    "project create new",
    "project destroy blog --confirm blog",
    "status",
];

#[test]
fn a_push_to_a_project_in_mode_final_names_a_release() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    let place = blog.directory.clone();
    let staging = || Project::at(&pair.staging, "blog", &place);
    let production = || Project::at(&pair.production, "blog", &place);
    pair.staging.commis(&["project", "create", "blog"]).succeeded();
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    production().push("main").is_rejected("not-found").says("push").says("to staging first");
    assert_eq!(production().remote_ref("refs/heads/main"), None);
    staging().push("main").succeeds();
    production().push("main").succeeds().says("[1/6] Fetch and verify");
    assert_eq!(production().remote_ref("refs/heads/main"), Some(blog.head()));
    assert_eq!(pair.production.page("blog").body, "one");
    let first = blog.head();
    let blog = blog.saying("two");
    staging().push("main").succeeds();
    pair.staging.commis(&["deploy", "blog"]).succeeded();
    let with = |option: &str| {
        production().push_with(&["--porcelain", "-o", option, &production().url(), "HEAD:refs/heads/main"])
    };
    with("release=v1").is_rejected("verify-failed").says("v1 is of");
    with("release=x").is_rejected("bad-option");
    with("relase=v1").is_rejected("bad-option").says("release=v42");
    assert_eq!(production().remote_ref("refs/heads/main"), Some(first));
    with("release=v2").succeeds();
    assert_eq!(pair.shown(&["show", "blog"])["live"], "v2");
    assert_eq!(production().remote_ref("refs/heads/main"), Some(blog.head()));
    let built = staging().write("page.txt", "three").commit("three");
    let option = ["--porcelain", "-o", "release=v1", &built.url(), "HEAD:refs/heads/main"];
    built.push_with(&option).is_rejected("bad-option").says("built here");
}
