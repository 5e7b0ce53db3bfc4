//! What a pipeline sees that hands releases in: exit codes by ssh for each way to fail, one record for each answer.

use super::support::Pair;
use super::support::world::Ran;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn exported(pair: &Pair, version: &str) -> PathBuf {
    let file = pair.staging.path(&format!("{version}.tar"));
    let mut command = pair.staging.commis_command(&["release", "export", "blog", version]);
    assert!(command.stdout(File::create(&file).expect("a file")).status().expect("an end").success());
    file
}

/// Staging has cooked v1 of blog, which is here as a file.
fn with_one_release() -> (Pair, PathBuf) {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    pair.staging.settle();
    let one = exported(&pair, "v1");
    (pair, one)
}

/// `ssh commis@prod WORDS < FILE`, as a key of production's.
fn fed(pair: &Pair, key: &str, words: &[&str], file: &Path) -> Ran {
    let mut command = pair.production.ssh_command(key, words);
    let output = command.stdin(Stdio::from(File::open(file).expect("a file"))).output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran {
        what: format!("ssh {key} {}", words.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Exit code and code of the one record on standard output.
fn fails(ran: &Ran, code: i32, reason: &str) {
    let record: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    assert_eq!((ran.code, &record["error"]["code"]), (code, &reason.into()), "{ran:#?}");
    assert!(record["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{ran:#?}");
}

/// A deployment that went well, of this release.
fn deploys(ran: &Ran, release: &str) -> serde_json::Value {
    let record: serde_json::Value = serde_json::from_str(&ran.succeeded().stdout).unwrap_or_default();
    assert_eq!((&record["release"], &record["status"]), (&release.into(), &"success".into()), "{ran:#?}");
    record
}

/// What is not jenkins' to do, and what is no release.
fn is_not_let_in(pair: &Pair, one: &Path) {
    let push = ["release", "push", "blog", "--json"];
    // No such project, for a key that may not make one; then not its business, not its right.
    fails(&fed(pair, "jenkins", &push, one), 66, "not-found");
    for name in ["blog", "wiki"] {
        pair.production.commis(&["project", "create", name]).succeeded();
    }
    fails(&fed(pair, "jenkins", &["release", "push", "wiki", "--json"], one), 66, "not-found");
    fails(&pair.production.ssh("jenkins", &["promote", "blog", "--json"]), 77, "denied");
    fails(&pair.production.ssh("jenkins", &["release", "verify", "blog", "v1", "--json"]), 77, "denied");
    fed(pair, "jenkins", &["release", "push", "blog", "--sideways"], one).failed(64);
    // What comes is no release.
    let nothing = pair.staging.path("nothing");
    std::fs::write(&nothing, "").expect("a file");
    fails(&fed(pair, "jenkins", &push, &nothing), 1, "verify-failed");
}

#[test]
fn a_pipeline_that_pushes_releases_knows_each_failure_by_its_exit_code() {
    let pair = Pair::of(&["blog"]);
    let mut blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    pair.staging.settle();
    let one = exported(&pair, "v1");
    pair.production.admit("jenkins", &["--project", "blog", "--only", "release:push"]);
    let push = ["release", "push", "blog", "--json"];
    is_not_let_in(&pair, &one);
    // Well, and well again without doing it again.
    let first = deploys(&fed(&pair, "jenkins", &push, &one), "v1");
    let again = fed(&pair, "jenkins", &push, &one);
    assert_eq!(deploys(&again, "v1")["id"], first["id"]);
    again.says("blog v1 is live already");
    // One that does not live is undone: 3, and the one before serves.
    blog = blog.saying("two");
    blog.push("main").succeeds();
    pair.staging.settle();
    let two = exported(&pair, "v2");
    pair.production.commis(&["config", "set", "blog", "PYTHONHOME=/nowhere"]).succeeded();
    fails(&fed(&pair, "jenkins", &push, &two), 3, "rolled-back");
    assert_eq!(pair.production.page("blog").body, "one");
    // Put right it deploys, and what is older than live needs a word more.
    pair.production.commis(&["config", "unset", "blog", "PYTHONHOME"]).succeeded();
    deploys(&fed(&pair, "jenkins", &push, &two), "v2");
    fails(&fed(&pair, "jenkins", &push, &one), 1, "verify-failed");
    let downgrade = [&push[..], &["--downgrade"]].concat();
    deploys(&fed(&pair, "jenkins", &downgrade, &one), "v1");
    // The file of signers cannot be read: 78.
    let signers = pair.staging.path("allowed_signers");
    std::fs::write(&signers, "not a line of signers\n").expect("signers");
    fails(&fed(&pair, "jenkins", &push, &two), 78, "server-config");
}

#[test]
fn a_pipeline_that_promotes_knows_each_failure_by_its_exit_code() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    pair.staging.settle();
    let released = pair.staging.path("release.json");
    let shown = pair.staging.commis(&["show", "blog", "1", "--json"]).succeeded().stdout.clone();
    std::fs::write(&released, &shown).expect("a record");
    let promote = ["promote", "blog", "--from", "staging", "--release-file", "-", "--json"];
    let with = |text: &str| {
        let file = pair.staging.path("other.json");
        std::fs::write(&file, text).expect("a record");
        fed(&pair, "admin", &promote, &file)
    };
    fails(&with("{"), 65, "bad-config");
    fails(&with(&shown.replace("\"blog\"", "\"wiki\"")), 65, "bad-config");
    fails(&pair.production.ssh("admin", &["promote", "blog", "v9", "--json"]), 66, "not-found");
    fails(&pair.production.ssh("admin", &["promote", "blog", "--from", "nowhere", "--json"]), 66, "not-found");
    pair.production.ssh("admin", &["promote", "blog", "v1", "--commit", "abcdef0"]).failed(64);
    pair.line.breaks_after(1);
    fails(&fed(&pair, "admin", &promote, &released), 69, "unreachable");
    pair.line.holds();
    let first = deploys(&fed(&pair, "admin", &promote, &released), "v1");
    assert_eq!(deploys(&fed(&pair, "admin", &promote, &released), "v1")["id"], first["id"]);
    // A stranger learns nothing, a developer who is limited to another project neither.
    pair.production.commis(&["project", "create", "wiki"]).succeeded();
    pair.production.admit("limited", &["--project", "wiki"]);
    fails(&fed(&pair, "limited", &promote, &released), 66, "not-found");
    // A project in mode cooking takes no release from elsewhere.
    pair.production.commis(&["project", "create", "kitchen", "--mode", "cooking"]).succeeded();
    let refused = pair.production.ssh("admin", &["promote", "kitchen", "v1", "--json"]);
    assert!([1, 66].contains(&refused.code), "{refused:#?}");
}

#[test]
fn an_imported_release_is_deployed_by_its_number_and_comes_to_life_by_no_other_way() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    pair.staging.settle();
    let one = exported(&pair, "v1");
    blog.saying("two").push("main").succeeds();
    pair.staging.settle();
    let two = exported(&pair, "v2");
    // From here on there is no line between the two.
    pair.line.breaks_after(1);
    let import = |file: &Path| pair.production.commis(&["release", "import", "blog", file.to_str().expect("a path")]);
    import(&one).succeeded().says("deploy it: commis promote blog v1");
    import(&two).succeeded();
    pair.production.commis(&["promote", "blog", "v1"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "one");
    // It was never live here, so there is no way back to it.
    let back = pair.production.commis(&["rollback", "blog", "v2"]);
    back.failed(1).says("v2 was never live here").says("commis promote blog v2");
    let commit =
        pair.shown(&["release", "list", "blog"])["releases"][0]["commit"].as_str().expect("a commit").to_owned();
    pair.production.commis(&["promote", "blog", "--commit", &commit[..8]]).succeeded();
    assert_eq!(pair.production.page("blog").body, "two");
    pair.production.commis(&["rollback", "blog", "v1"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "one");
    // Asking the server that cooked it is asking it, whatever is on the shelf.
    pair.production.commis(&["promote", "blog", "v2", "--from", "staging"]).failed(69);
}

#[test]
fn a_release_that_is_refused_leaves_neither_a_project_nor_a_release() {
    let (pair, one) = with_one_release();
    // A name that was mistyped makes no project, a project that cooks takes in nothing.
    fails(&fed(&pair, "admin", &["release", "push", "blgo", "--json"], &one), 1, "verify-failed");
    fails(&fed(&pair, "admin", &["release", "import", "blgo", "--json"], &one), 1, "verify-failed");
    assert_eq!(pair.shown(&["list"])["projects"], serde_json::json!([]));
    pair.production.commis(&["project", "create", "blog", "--mode", "cooking"]).succeeded();
    let refused = fed(&pair, "admin", &["release", "push", "blog", "--json"], &one);
    fails(&refused, 1, "refused");
    refused.says("mode cooking here");
    assert_eq!(pair.shown(&["release", "list", "blog"])["releases"], serde_json::json!([]));
    fails(&fed(&pair, "admin", &["release", "import", "blog", "--json"], &one), 1, "refused");
    assert_eq!(pair.shown(&["release", "list", "blog"])["releases"], serde_json::json!([]));
    // A server that cooks makes no project for it.
    let mut command = pair.staging.commis_command(&["release", "push", "wiki", "--json"]);
    let refused = command.stdin(Stdio::from(File::open(&one).expect("a file"))).output().expect("an end");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(pair.staging.json(&["list"])["projects"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_release_that_comes_at_a_bad_time_says_when_to_come_again() {
    let (pair, one) = with_one_release();
    let push = ["release", "push", "blog", "--json"];
    // A pillar that cannot be understood: 65, and the next one that can is enough.
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    let pillar = pair.production.project("pillar").write("config.yaml", "env: [broken\n").commit("broken");
    let url = format!("{}/pillar", pair.production.project("blog").url());
    pillar.push_with(&[&url, "HEAD:refs/heads/main"]).succeeds();
    fails(&fed(&pair, "admin", &push, &one), 65, "bad-config");
    let pillar = pillar.write("config.yaml", "env: {A: b}\n").commit("mended");
    pillar.push_with(&[&url, "HEAD:refs/heads/main"]).succeeds();
    // As many as may be on their way in are: 75.
    let bytes = std::fs::read(&one).expect("a release");
    let begun = || {
        let mut command = pair.production.ssh_command("admin", &push);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ssh");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(&bytes[..512]).expect("its beginning");
        (child, input)
    };
    let held: Vec<_> = (0..8).map(|_| begun()).collect();
    let incoming = pair.deployed("blog").join("incoming");
    let until = Instant::now() + Duration::from_secs(30);
    while std::fs::read_dir(&incoming).map_or(0, Iterator::count) < 8 {
        assert!(Instant::now() < until, "they do not arrive");
        std::thread::sleep(Duration::from_millis(20));
    }
    fails(&fed(&pair, "admin", &push, &one), 75, "busy");
    for (mut child, input) in held {
        drop(input);
        assert!(!child.wait().expect("an end").success(), "half a release is none");
    }
    deploys(&fed(&pair, "admin", &push, &one), "v1");
}

/// What proves that a release was live is written while its deployment tidies up, here for as long as an old process takes
/// to end.
#[test]
fn a_release_that_is_exported_right_after_its_push_has_its_proof() {
    let pair = Pair::of(&["blog"]);
    let mut blog = pair.staging.project("blog").saying("one");
    blog = blog.write("Procfile", "web: trap '' TERM; exec python3 server.py\n").commit("stubborn");
    blog.push("main").succeeds();
    blog = blog.write("page.txt", "two").commit("two");
    blog.push("main").succeeds();
    let two = exported(&pair, "v2");
    deploys(&fed(&pair, "admin", &["release", "push", "blog", "--json"], &two), "v2");
    assert_eq!(pair.production.page("blog").body, "two");
}
