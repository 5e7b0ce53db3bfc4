//! What is not what it should be is refused by the check that it fails, and nothing of it is left.

use super::support::world::Ran;
use super::support::{Pair, World};
use std::path::Path;

/// Refused with this check; what was live is live, and nothing lies around.
fn is_refused(pair: &Pair, ran: &Ran, check: &str) {
    ran.failed(1).says(check);
    assert!(ran.stderr.contains("error: "), "{ran:?}");
    let incoming = pair.deployed("blog").join("incoming");
    let left: Vec<_> = std::fs::read_dir(&incoming).map(|entries| entries.collect()).unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

fn signers(pair: &Pair, change: impl Fn(&str) -> String) {
    let file = pair.staging.path("allowed_signers");
    let text = std::fs::read_to_string(&file).expect("signers");
    std::fs::write(&file, change(&text)).expect("signers");
}

fn promote(pair: &Pair, words: &[&str]) -> Ran {
    pair.production.commis(&[&["promote", "blog"], words].concat())
}

fn live(pair: &Pair) -> serde_json::Value {
    pair.shown(&["show", "blog"])["live"].clone()
}

#[test]
fn every_check_refuses_what_fails_it_and_says_which() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    promote(&pair, &[]).succeeded();
    let blog = blog.saying("two");
    blog.push("main").succeeds();
    pair.staging.settle();
    let line = std::fs::read_to_string(pair.staging.path("allowed_signers")).expect("signers");
    signers(&pair, |_| String::new());
    is_refused(&pair, &promote(&pair, &[]), "signer: unknown key SHA256:");
    signers(&pair, |_| line.replace("namespaces=", "valid-before=\"20200101\",namespaces="));
    is_refused(&pair, &promote(&pair, &[]), "has expired");
    signers(&pair, |_| line.replace("staging ", "elsewhere "));
    is_refused(&pair, &promote(&pair, &[]), "does not speak for staging");
    signers(&pair, |_| line.replace("commis-release,", ""));
    is_refused(&pair, &promote(&pair, &[]), "may not sign for \"commis-release\"");
    signers(&pair, |_| line.clone());
    let record = pair.shown(&["show", "blog"]);
    assert_eq!(record["live"], "v1", "{record}");
    assert_eq!(record["deployments"][0]["reason_code"], "verify-failed", "{record}");
    wrong_bytes(&pair);
    promote(&pair, &[]).succeeded();
    assert_eq!(live(&pair), "v2");
    is_refused(&pair, &promote(&pair, &["v1"]), "age: v1 is older than v2");
    promote(&pair, &["v1", "--downgrade"]).succeeded();
}

/// Staging itself gives other bytes than it announced, or than it signed.
fn wrong_bytes(pair: &Pair) {
    let archive = pair.archive(&pair.staging, "blog", "v2");
    let beside = |suffix: &str| archive.with_file_name(format!("{}{suffix}", archive.file_name().unwrap().display()));
    changed(&archive, |bytes| bytes[200] ^= 1, || is_refused(pair, &promote(pair, &[]), "digest: sha256 is"));
    let first =
        std::fs::read(format!("{}.sig", pair.archive(&pair.staging, "blog", "v1").display())).expect("a signature");
    changed(
        &beside(".sig"),
        |bytes| *bytes = first.clone(),
        || {
            is_refused(pair, &promote(pair, &[]), "signature: it is not of these bytes");
        },
    );
    changed(
        &beside(".intoto.json"),
        |bytes| *bytes = b"{}".to_vec(),
        || {
            is_refused(pair, &promote(pair, &[]), "provenance: ");
        },
    );
    let longer = |bytes: &mut Vec<u8>| bytes.push(b'\n');
    changed(&beside(".sha256"), longer, || {
        promote(pair, &["v2"]).succeeded();
        pair.production.commis(&["rollback", "blog"]).succeeded();
    });
}

/// A file is another one for a while.
fn changed(path: &Path, change: impl FnOnce(&mut Vec<u8>), meanwhile: impl FnOnce()) {
    let good = std::fs::read(path).expect("a file");
    let mut bad = good.clone();
    change(&mut bad);
    std::fs::write(path, bad).expect("a file");
    meanwhile();
    std::fs::write(path, good).expect("a file");
}

#[test]
fn what_was_never_live_there_is_taken_only_by_who_insists() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    pair.staging.settle();
    // Cooked and signed, but its proof is gone: as if it had never come to life.
    let archive = pair.archive(&pair.staging, "blog", "v1");
    let statement = format!("{}.intoto.json", archive.display());
    let text = std::fs::read_to_string(&statement).expect("a statement");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(value["commis"]["live"]["signature"].is_string(), "{value}");
    let mut forged = value.clone();
    forged["commis"]["live"]["at"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(&statement, forged.to_string()).expect("a statement");
    is_refused(&pair, &promote(&pair, &[]), "live proof: ");
    value.as_object_mut().expect("an object").remove("commis");
    std::fs::write(&statement, value.to_string()).expect("a statement");
    is_refused(&pair, &promote(&pair, &[]), "tested: v1 was never live in staging");
    promote(&pair, &["--untested"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "one");
}

#[test]
fn a_release_that_changes_on_the_shelf_is_not_deployed() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    promote(&pair, &[]).succeeded();
    pair.production.settle();
    let archive = pair.archive(&pair.production, "blog", "v1");
    changed(
        &archive,
        |bytes| bytes[300] ^= 1,
        || {
            is_refused(&pair, &pair.production.commis(&["deploy", "blog"]), "digest: sha256 is");
            is_refused(&pair, &promote(&pair, &[]), "digest: sha256 is");
        },
    );
    pair.production.commis(&["deploy", "blog"]).succeeded();
}

#[test]
fn only_the_pinned_host_and_the_right_project_are_asked() {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    pair.staging.project("wiki").saying("w").push("main").succeeds();
    // Not ours to fetch: absent there, and not made here.
    pair.production.commis(&["promote", "wiki"]).failed(66).says("staging: no project \"wiki\"");
    pair.production.commis(&["show", "wiki"]).failed(66);
    promote(&pair, &["--from", "nowhere"]).failed(66).says("there are: staging");
    promote(&pair, &["v9"]).failed(66).says("staging: no release v9");
    promote(&pair, &["v1;id"]).failed(64);
    let shown = pair.staging.commis(&["show", "wiki", "1", "--json"]).succeeded().stdout.clone();
    let other = pair.production.commis_with_input(&["promote", "blog", "--release-file", "-"], &shown);
    other.failed(65).says("it is of project wiki");
    // A developer's key does not make projects.
    pair.production.admit("dev", &[]);
    pair.production.ssh("dev", &["promote", "blog"]).failed(66);
    // Somebody else answers at the address.
    let stranger = World::new();
    let config = pair.production.path("conf.d/10-test.toml");
    let text = std::fs::read_to_string(&config).expect("settings");
    let text = text.replace(&pair.line.port.to_string(), &stranger.ssh.to_string());
    std::fs::write(&config, text).expect("settings");
    pair.production.reload();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !pair.production.server_log().contains("configuration read again") {
        assert!(std::time::Instant::now() < until, "not read again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    promote(&pair, &[]).failed(1).says("staging has another host key");
}
