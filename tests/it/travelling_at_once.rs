//! Releases that come in at the same moment, and uploads that break: on the shelf is one release under a number, whole,
//! or none.

use super::support::world::Ran;
use super::support::{Pair, Running, World};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn exported(world: &World, project: &str, version: &str) -> PathBuf {
    let file = world.path(&format!("{project}-{version}.tar"));
    let mut command = world.commis_command(&["release", "export", project, version]);
    let status = command.stdout(std::fs::File::create(&file).expect("a file")).status().expect("an end");
    assert!(status.success(), "export {version}");
    file
}

/// Starts all at the same moment, and waits for their ends.
fn at_once(commands: Vec<std::process::Command>) -> Vec<Ran> {
    let running: Vec<Running> = commands.into_iter().map(|command| Running::start(command, "at once")).collect();
    running.into_iter().map(Running::ended).collect()
}

/// Numbers that do not compress well, others for each seed.
fn noise(count: u64, seed: u64) -> String {
    (1..=count).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ seed).rotate_left(29).to_string()).collect()
}

fn hands_in(world: &World, verb: &str, project: &str, file: &Path) -> std::process::Command {
    world.commis_command(&["release", verb, project, file.to_str().expect("a path")])
}

/// Each release that is listed is whole, all files on the shelf are of listed ones, and nothing is on its way.
fn shelf_is_sound(pair: &Pair, project: &str, most: usize) -> usize {
    let releases = pair.shown(&["release", "list", project])["releases"].clone();
    let releases = releases.as_array().cloned().unwrap_or_default();
    assert!(releases.len() <= most, "{releases:?}");
    for release in &releases {
        let version = release["release"].as_str().expect("a version");
        pair.production.commis(&["release", "verify", project, version]).succeeded();
    }
    let count = |place: &str| std::fs::read_dir(pair.deployed(project).join(place)).map_or(0, Iterator::count);
    assert_eq!(count("releases"), 4 * releases.len(), "files of releases");
    assert_eq!(count("incoming"), 0, "something is on its way still");
    releases.len()
}

#[test]
fn the_same_release_pushed_many_times_at_the_same_moment_is_there_once() {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    pair.staging.settle();
    let file = exported(&pair.staging, "blog", "v1");
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    let mut commands: Vec<_> = (0..2).map(|_| hands_in(&pair.production, "push", "blog", &file)).collect();
    commands.extend((0..2).map(|_| hands_in(&pair.production, "import", "blog", &file)));
    commands.extend((0..2).map(|_| pair.production.commis_command(&["promote", "blog"])));
    for ran in at_once(commands) {
        ran.succeeded();
    }
    pair.production.settle();
    assert_eq!(shelf_is_sound(&pair, "blog", 1), 1);
    assert_eq!(pair.production.page("blog").body, "one");
    // Once more, by each road: said, and not done again.
    let before = pair.shown(&["show", "blog"])["deployments"][0]["id"].clone();
    let by = |words: &[&str]| pair.production.commis(words);
    by(&["release", "import", "blog", file.to_str().expect("a path")]).succeeded().says("here already: v1 of blog");
    by(&["release", "push", "blog", file.to_str().expect("a path")]).succeeded().says("blog v1 is live already, since");
    by(&["promote", "blog"]).succeeded().says("blog v1 is live already, since");
    let record = pair.shown(&["promote", "blog", "v1"]);
    assert_eq!((&record["release"], &record["status"], &record["id"]), (&"v1".into(), &"success".into(), &before));
    // With another pillar it is another deployment.
    by(&["config", "set", "blog", "GREETING=today"]).succeeded();
    by(&["promote", "blog"]).succeeded().is_silent_about("already");
    assert_ne!(pair.shown(&["show", "blog"])["deployments"][0]["id"], before);
}

#[test]
fn of_two_releases_with_one_number_that_come_at_the_same_moment_one_wins() {
    let pair = Pair::of(&["blog"]);
    let mut twin = World::new();
    let key = |world: &World| world.path("state/release_ed25519_key");
    std::fs::copy(key(&pair.staging), key(&twin)).expect("a key");
    twin.stop();
    twin.start();
    for (round, verb) in ["import", "push", "import"].into_iter().enumerate() {
        let name = format!("blog{round}");
        let cook = |world: &World, text: &str| {
            world.project(&name).saying(text).push("main").succeeds();
            world.settle();
            exported(world, &name, "v1")
        };
        let files = [cook(&pair.staging, "one"), cook(&twin, "other")];
        pair.production.commis(&["project", "create", &name]).succeeded();
        let order = [0, 1, 1, 0];
        let ends = at_once(order.map(|at| hands_in(&pair.production, verb, &name, &files[at])).into());
        pair.production.settle();
        let won: Vec<usize> = order.iter().zip(&ends).filter(|(_, ran)| ran.code == 0).map(|(at, _)| *at).collect();
        assert_eq!(won.len(), 2, "{ends:#?}");
        assert_eq!(won[0], won[1], "{ends:#?}");
        for ran in ends.iter().filter(|ran| ran.code != 0) {
            ran.failed(1).says("v1 is here already with other bytes");
        }
        assert_eq!(shelf_is_sound(&pair, &name, 1), 1);
        if verb == "push" {
            assert_eq!(pair.production.page(&name).body, ["one", "other"][won[0]]);
        }
    }
}

#[test]
fn an_upload_that_is_cut_anywhere_leaves_nothing_and_can_be_sent_again() {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").saying("one").push("main").succeeds();
    pair.staging.settle();
    let whole = exported(&pair.staging, "blog", "v1");
    let bytes = std::fs::read(&whole).expect("a tar");
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    let half = pair.staging.path("half.tar");
    // At each edge of a header, and in between; the last two blocks of zeros are its end.
    let edges = (0..bytes.len() - 512).step_by(512).flat_map(|edge| [edge, edge + 1, edge + 511]);
    let step = (bytes.len() * 3 / 512 / 40).max(1);
    let cuts: Vec<usize> = edges.step_by(step).chain([bytes.len() - 1024, bytes.len() - 513]).collect();
    assert!(cuts.len() >= 30, "{} cuts of {} bytes", cuts.len(), bytes.len());
    for cut in cuts {
        std::fs::write(&half, &bytes[..cut]).expect("a part");
        let ran = pair.production.commis(&["release", "push", "blog", half.to_str().expect("a path"), "--json"]);
        assert!(ran.failed(1).stdout.contains("\"verify-failed\""), "cut at {cut}: {ran:#?}");
        ran.says("carton: ");
        assert_eq!(shelf_is_sound(&pair, "blog", 0), 0, "cut at {cut}");
    }
    pair.production.commis(&["release", "push", "blog", whole.to_str().expect("a path")]).succeeded();
    assert_eq!(shelf_is_sound(&pair, "blog", 1), 1);
}

#[test]
fn a_fetch_is_gone_on_with_wherever_it_is_cut() {
    let pair = Pair::of(&["blog"]);
    let mut blog = pair.staging.project("blog").saying("zero");
    for (round, cut) in [65_536_u64, 100_003, 250_000].into_iter().enumerate() {
        let text = format!("round {round}");
        blog = blog.write("noise", &noise(90_000, cut)).saying(&text);
        blog.push("main").succeeds();
        pair.line.breaks_after(cut);
        let before = pair.line.used();
        pair.production.commis(&["promote", "blog"]).succeeded();
        pair.line.holds();
        assert!(pair.line.used() - before > 3, "{} connections at {cut}", pair.line.used() - before);
        assert_eq!(pair.production.page("blog").body, text);
    }
    shelf_is_sound(&pair, "blog", 3);
}

#[test]
fn what_stands_beside_an_archive_is_what_it_is_now_when_a_fetch_goes_on() {
    let pair = Pair::of(&["blog"]);
    pair.staging.project("blog").write("noise", &noise(90_000, 0)).saying("one").push("main").succeeds();
    pair.staging.settle();
    let statement = format!("{}.intoto.json", pair.archive(&pair.staging, "blog", "v1").display());
    let proved = std::fs::read_to_string(&statement).expect("a statement");
    let mut value: serde_json::Value = serde_json::from_str(&proved).expect("JSON");
    value.as_object_mut().expect("an object").remove("commis");
    std::fs::write(&statement, value.to_string()).expect("a statement");
    // Enough for the small files, and never for a first piece of the archive.
    pair.line.breaks_after(30_001);
    pair.production.commis(&["promote", "blog", "--untested"]).failed(69);
    let incoming = pair.deployed("blog").join("incoming");
    assert_eq!(std::fs::read_dir(&incoming).expect("incoming").count(), 1);
    std::fs::write(&statement, proved).expect("a statement");
    pair.line.holds();
    pair.production.commis(&["promote", "blog"]).succeeded();
    assert_eq!(std::fs::read_dir(&incoming).expect("incoming").count(), 0);
}

#[test]
fn what_many_dead_lines_left_is_in_nobodys_way() {
    let pair = Pair::of(&["blog"]);
    let mut blog = pair.staging.project("blog");
    let incoming = pair.deployed("blog").join("incoming");
    let count = || std::fs::read_dir(&incoming).map_or(0, Iterator::count);
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    for round in 0..3 {
        blog = blog.saying(&format!("round {round}"));
        blog.push("main").succeeds();
        pair.staging.settle();
        let from = pair.staging.json(&["release", "head", "blog"]);
        pair.line.breaks_after(1);
        let ran = pair.production.commis_with_input(&["promote", "blog", "--release-file", "-"], &from.to_string());
        ran.failed(69);
        // As a try leaves it that got somewhere.
        let sha256 = from["artifacts"][0]["sha256"].as_str().expect("a digest").to_owned();
        std::fs::create_dir_all(incoming.join(format!("{sha256}.partial"))).expect("a half");
    }
    (0..9).for_each(|at| {
        std::fs::create_dir_all(incoming.join(format!("{}{at}.partial", "a".repeat(63)))).expect("a half");
    });
    pair.line.holds();
    // Uploads are counted, and these are none.
    let file = exported(&pair.staging, "blog", "v1");
    pair.production.commis(&["release", "import", "blog", file.to_str().expect("a path")]).succeeded();
    pair.production.commis(&["promote", "blog"]).succeeded();
    assert_eq!(count(), 0, "what is no longer wanted is gone");
}

/// Bytes of a file of this version below a place, as far as it has come.
fn size_of(place: &Path, version: &str, suffix: &str) -> u64 {
    let (mut below, mut found) = (vec![place.to_owned()], 0);
    while let Some(directory) = below.pop() {
        for path in std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.display().to_string();
            if path.is_dir() {
                below.push(path);
            } else if name.contains(&format!("blog-{version}-")) && name.ends_with(suffix) {
                found = std::fs::metadata(&path).map_or(0, |data| data.len());
            }
        }
    }
    found
}

/// When a server is killed: what of a version has come, below `incoming/` or onto the shelf.
type Moment = (&'static str, &'static str, &'static str, fn(u64, u64) -> bool);

const MOMENTS: [Moment; 5] = [
    ("the first bytes are here", "incoming", "", |here, _| here > 0),
    ("half of the archive is here", "incoming", ".tar.zst", |here, all| here > all / 2),
    ("all of it is here and being verified", "incoming", ".tar.zst", |here, all| here == all),
    ("its first file is on the shelf", "releases", ".sha256", |here, _| here > 0),
    ("its archive is on the shelf", "releases", ".tar.zst", |here, _| here > 0),
];

#[test]
fn a_server_that_dies_while_a_release_comes_in_has_all_of_it_or_nothing() {
    let mut pair = Pair::of(&["blog"]);
    let mut blog = pair.staging.project("blog").write("noise", &noise(400_000, 0));
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    for (round, (what, place, suffix, has_come)) in MOMENTS.into_iter().enumerate() {
        blog = blog.saying(&format!("round {round}"));
        blog.push("main").succeeds();
        pair.staging.settle();
        let version = format!("v{}", round + 1);
        let file = exported(&pair.staging, "blog", &version);
        let all = std::fs::metadata(pair.archive(&pair.staging, "blog", &version)).expect("an archive").len();
        let place = pair.deployed("blog").join(place);
        let mut upload = Running::start(hands_in(&pair.production, "import", "blog", &file), what);
        let until = Instant::now() + Duration::from_secs(60);
        while !has_come(size_of(&place, &version, suffix), all) && !upload.has_ended() {
            assert!(Instant::now() < until, "{what}: never");
        }
        pair.production.kill();
        let acknowledged = upload.ended().code == 0;
        pair.production.start();
        let now = shelf_is_sound(&pair, "blog", round + 1);
        assert!(now == round + 1 || !acknowledged, "{what}: acknowledged, and lost");
        pair.production.commis(&["release", "import", "blog", file.to_str().expect("a path")]).succeeded();
        assert_eq!(shelf_is_sound(&pair, "blog", round + 1), round + 1);
    }
    pair.production.commis(&["promote", "blog", "v5"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "round 4");
}
