//! What a release is, as somebody sees it who has only its four files and plain OpenSSH; and what stays on the shelf.

use crate::support::{Project, World};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Path of the archive of a release.
fn archive(blog: &Project<'_>, release: &serde_json::Value) -> PathBuf {
    blog.place("releases").join(release["archive"]["name"].as_str().expect("an archive"))
}

fn beside(archive: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", archive.display()))
}

/// The newest release in JSON, after what is left to do was done.
fn newest(world: &World) -> serde_json::Value {
    world.settle();
    world.json(&["release", "list", "blog"])["releases"][0].clone()
}

/// `ssh-keygen -Y verify` with the line that the server prints.
fn openssh_accepts(world: &World, namespace: &str, (signature, message): (&Path, &Path)) -> bool {
    let signers = world.path("allowed_signers");
    std::fs::write(&signers, world.commis(&["release", "signer"]).succeeded().stdout.clone()).expect("a file");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-Y", "verify", "-I", "staging", "-n", namespace, "-f"]).arg(signers).arg("-s").arg(signature);
    keygen.stdin(std::fs::File::open(message).expect("the message")).stdout(Stdio::null()).stderr(Stdio::null());
    keygen.status().expect("ssh-keygen").success()
}

fn statement(archive: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(beside(archive, ".intoto.json")).expect("a statement")).expect("JSON")
}

/// Commit, buildpack and lock file by their digests; that it was live; and all of it signed.
fn says_where_it_comes_from(world: &World, blog: &Project<'_>, release: &serde_json::Value) {
    let statement = statement(&archive(blog, release));
    assert_eq!(statement["subject"][0]["digest"]["sha256"], release["archive"]["sha256"]);
    let text = statement["predicate"]["buildDefinition"]["resolvedDependencies"].to_string();
    assert!(
        text.contains(&blog.head()) && text.contains("buildpack/python") && text.contains("requirements.txt"),
        "{text}"
    );
    // It was live: that is signed too.
    let live = &statement["commis"]["live"];
    let at = live["at"].as_str().expect("a time");
    assert_eq!(release["tested_at"], *at);
    let sha256 = release["archive"]["sha256"].as_str().expect("a digest");
    std::fs::write(world.path("line"), format!("live blog v1 {sha256} {at}\n")).expect("a file");
    std::fs::write(world.path("line.sig"), live["signature"].as_str().expect("a signature")).expect("a file");
    assert!(openssh_accepts(world, "commis-live", (&world.path("line.sig"), &world.path("line"))));
    world.commis(&["release", "verify", "blog", "v1"]).succeeded().says("signed by staging");
    world.ssh("admin", &["release", "verify", "blog", "v1"]).succeeded().says("verified");
}

#[test]
fn a_release_is_four_files_that_plain_openssh_believes() {
    let world = World::new();
    let blog = world.project("blog").app("flask");
    blog.push("main").succeeds();
    let release = newest(&world);
    let archive = archive(&blog, &release);
    assert!(openssh_accepts(&world, "commis-release", (&beside(&archive, ".sig"), &archive)));
    let names: Vec<&str> =
        release["artifacts"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()).collect();
    let base = release["archive"]["name"].as_str().expect("a name");
    assert_eq!(
        names,
        [base.to_owned(), format!("{base}.sha256"), format!("{base}.sig"), format!("{base}.intoto.json")]
    );
    assert_eq!(world.json(&["show", "blog", "1"])["artifacts"], release["artifacts"]);
    for artifact in release["artifacts"].as_array().into_iter().flatten() {
        let sums = Command::new("sha256sum")
            .arg(blog.place("releases").join(artifact["name"].as_str().expect("a name")))
            .output();
        let sums = String::from_utf8(sums.expect("sha256sum").stdout).expect("text");
        assert!(sums.starts_with(artifact["sha256"].as_str().expect("a digest")), "{artifact}");
    }
    says_where_it_comes_from(&world, &blog, &release);
    // Known-bad: one byte.
    let mut bytes = std::fs::read(&archive).expect("the archive");
    bytes[40] ^= 1;
    std::fs::write(&archive, bytes).expect("a changed archive");
    assert!(!openssh_accepts(&world, "commis-release", (&beside(&archive, ".sig"), &archive)));
    world.commis(&["release", "verify", "blog", "v1"]).failed(1).says("digest: sha256 is ");
}

#[test]
fn what_is_missing_beside_a_release_is_written_again_after_a_crash() {
    let mut world = World::new();
    let archive = {
        let blog = world.project("blog").saying("one");
        blog.push("main").succeeds();
        let release = newest(&world);
        archive(&blog, &release)
    };
    let before = world.json(&["release", "list", "blog"])["releases"][0]["tested_at"].clone();
    world.kill();
    for suffix in [".sig", ".intoto.json"] {
        std::fs::remove_file(beside(&archive, suffix)).expect("it was there");
    }
    world.start();
    let verified = world.json(&["release", "verify", "blog", "v1"]);
    assert_eq!(verified["live_at"], before, "{verified}");
    assert!(openssh_accepts(&world, "commis-release", (&beside(&archive, ".sig"), &archive)));
}

#[test]
fn a_release_that_never_served_has_no_proof() {
    let world = World::new();
    let blog = world.project("blog").saying("one");
    blog.push("main").succeeds();
    let blog = blog.saying("two").write("Procfile", "web: exit 1\n").commit("broken");
    blog.push("main").is_rejected("rolled-back");
    world.settle();
    let releases = world.json(&["release", "list", "blog"])["releases"].clone();
    for release in releases.as_array().into_iter().flatten() {
        let proved = statement(&archive(&blog, release))["commis"]["live"].is_object();
        assert_eq!(proved, release["was_live"] == true, "{release}");
        assert_eq!(release["tested_at"].is_string(), proved, "{release}");
    }
    assert!(releases.as_array().is_some_and(|all| !all.is_empty()));
}

#[test]
fn a_lost_signing_key_is_said_and_not_replaced() {
    let mut world = World::new();
    assert_eq!(world.stop(), Some(0));
    let key = world.path("state/release_ed25519_key");
    let kept = std::fs::read(&key).expect("a key");
    std::fs::remove_file(&key).expect("it was there");
    let ran = crate::support::world::run(
        world.commis_command(&["serve", "--config", &world.config().display().to_string()]),
        "",
        "serve",
    );
    ran.failed(78).says("release signing key").says("put it back from a backup");
    assert!(!key.exists());
    std::fs::write(&key, kept).expect("the key again");
    world.start();
}

#[test]
fn pinned_releases_stay_and_what_goes_next_is_foretold() {
    let world = World::with("[releases]\nkeep = 2\nmonths = 0\n");
    let mut blog = world.project("blog");
    for text in ["one", "two"] {
        blog = blog.saying(text);
        blog.push("main").succeeds();
    }
    world.commis(&["release", "pin", "blog", "v1"]).succeeded().says("v1 is pinned");
    world.commis(&["release", "pin", "blog", "v1"]).succeeded().says("already");
    for text in ["three", "four"] {
        blog = blog.saying(text);
        blog.push("main").succeeds();
    }
    world.settle();
    let kept = |world: &World| {
        let releases = world.json(&["release", "list", "blog"])["releases"].clone();
        let names =
            releases.as_array().into_iter().flatten().filter_map(|it| it["release"].as_str().map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    assert_eq!(kept(&world), ["v4", "v3", "v1"]);
    let next = world.json(&["retention", "blog", "--next"]);
    assert_eq!(next["retained"].as_array().map(Vec::len), Some(1), "{next}");
    assert_eq!(
        (&next["retained"][0]["release"], &next["retained"][0]["goes"]),
        (&"v3".into(), &"next deployment".into())
    );
    world.commis(&["retention", "blog"]).succeeded().says("pinned").says("previous good");
    world.commis(&["release", "unpin", "blog", "v1"]).succeeded();
    let foretold = world.json(&["retention", "blog", "--next"])["retained"].clone();
    let foretold: Vec<&str> =
        foretold.as_array().into_iter().flatten().filter_map(|it| it["release"].as_str()).collect();
    blog.saying("five").push("main").succeeds();
    world.settle();
    let left: Vec<String> =
        ["v4", "v3", "v1"].iter().filter(|it| !foretold.contains(it)).map(|it| (*it).to_owned()).collect();
    assert_eq!(kept(&world)[1..], left, "what was foretold is what happened");
    world.commis(&["release", "pin", "blog", "v1"]).failed(66).says("no release v1");
    world.commis(&["release", "verify", "blog", "one"]).failed(64).says("a release is vN");
}

#[test]
fn every_verb_about_releases_answers_in_json() {
    let world = World::new();
    world.project("blog").saying("x").push("main").succeeds();
    world.settle();
    for words in [
        &["release", "list", "blog"][..],
        &["release", "verify", "blog", "v1"],
        &["release", "pin", "blog", "v1"],
        &["release", "unpin", "blog", "v1"],
        &["release", "signer"],
        &["retention", "blog"],
        &["retention", "blog", "--next"],
    ] {
        assert!(world.json(words).is_object(), "{words:?}");
    }
    let failed = world.commis(&["release", "verify", "blog", "v7", "--json"]);
    assert!(failed.failed(66).stdout.contains("\"not-found\""), "{failed:?}");
}
