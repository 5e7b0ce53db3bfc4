//! Archives of an older commis, and names that travel: what a shelf has is read, what travels is strict.

use super::*;
use crate::archives::{inspect, pack};
use crate::model::Code;

fn sum_of(paths: &[&str]) -> listing::TreeSum {
    let mut sum = listing::Listing::default();
    for path in paths {
        let sha256 = Sha256::digest(b"x").0;
        sum.add(path, listing::Line::File { exec: listing::Exec::Plain, size: 1, sha256: &sha256 });
    }
    sum.finish()
}

fn of_format_1(paths: &[&str]) -> Vec<u8> {
    let files = |tar: Tar| paths.iter().fold(tar, |tar, path| tar.file(&format!("tree/{path}"), b"x"));
    Tar::of_format_1(&sum_of(paths), files).compressed()
}

#[test]
fn an_archive_of_format_1_comes_off_the_shelf_with_the_names_it_was_given() {
    let odd = of_format_1(&["-dash", "README", "Readme", "uv.lock"]);
    let unpacked = unpack_bytes(&odd, UnpackLimits::default(), Links::AsBuilt).unwrap();
    assert_eq!((unpacked.files, unpacked.manifest.base.environment), (4, None));
    let from_elsewhere = unpack_bytes(&odd, UnpackLimits::default(), Links::InsideOnly).unwrap_err();
    assert!(from_elsewhere.what.ends_with("-dash: path begins with `-`, which programs take for an option"));
    let other = Tar::of_format_1(&sum_of(&["a"]), |tar| tar.file("tree/b", b"x")).compressed();
    let failure = unpack_bytes(&other, UnpackLimits::default(), Links::AsBuilt).unwrap_err();
    assert!(failure.what.ends_with("the tree is not the one that its manifest names"), "known-bad: {}", failure.what);
}

#[test]
fn the_list_of_files_is_of_these_files() {
    let sum = sum_of(&["a", "b"]);
    let digest = crate::model::words::hex(&Sha256::digest(b"x").0);
    let verdict = |list: String| {
        let tar = Tar::release().file("tree/a", b"x").file("tree/b", b"x").file("commis-files.txt", list.as_bytes());
        let mut tar = tar.file("commis-tree.json", &seal_json(&sum));
        tar.0.extend_from_slice(&[0; 1024]);
        let unpacked = unpack_bytes(&tar.compressed(), UnpackLimits::default(), Links::InsideOnly);
        unpacked.map(|unpacked| unpacked.files).map_err(|failure| failure.what.split_once(": ").unwrap().1.to_owned())
    };
    let other = Err("commis-files.txt does not list the files that came".to_owned());
    assert_eq!(verdict(format!("{digest}  a\n{digest}  b\n")), Ok(2));
    assert_eq!(verdict(format!("{digest}  a\n{digest}  c\n")), other);
    assert_eq!(verdict(format!("{digest}  a\n{}  b\n", "ab".repeat(32))), other);
    assert_eq!(verdict(format!("{digest}  a\n")), other);
    assert_eq!(verdict(format!("{digest}  a\n{digest}  b\n{digest}  absent\n")), other);
    let none = Tar::release().file("tree/a", b"x").file("commis-tree.json", &seal_json(&sum_of(&["a"])));
    let failure = unpack_bytes(&none.compressed(), UnpackLimits::default(), Links::InsideOnly).unwrap_err();
    assert!(failure.what.ends_with("commis-tree.json stands where commis-files.txt should"), "{}", failure.what);
}

#[test]
fn names_that_look_alike_are_refused_here_and_elsewhere() {
    let twin = "another name in its directory differs only in case or accents";
    for (names, says) in [
        (["Readme", "readme"], format!("readme: {twin}")),
        (["cafe\u{301}", "caf\u{e9}"], format!("caf\u{e9}: {twin}")),
        (["-rf", "a"], "-rf: path begins with `-`, which programs take for an option".into()),
    ] {
        let files = names.iter().fold(Tar::release(), |tar, name| tar.file(&format!("tree/{name}"), b"x"));
        let bytes = files.sealed(&sum_of(&names)).compressed();
        for links in [Links::InsideOnly, Links::AsBuilt] {
            let failure = unpack_bytes(&bytes, UnpackLimits::default(), links).unwrap_err();
            assert!(failure.what.ends_with(&says), "{} does not say {says}", failure.what);
        }
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("t")).unwrap();
        names.iter().for_each(|name| fs::write(place.path().join("t").join(name), "x").unwrap());
        let failure = pack(&place.path().join("t"), &base(), &place.path().join("out"), Effort::with(1)).unwrap_err();
        assert_eq!((failure.code, failure.what), (Code::BuildFailed, says));
    }
}

#[test]
fn looking_at_an_archive_finds_what_unpacking_finds_and_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (tree, out) = (place.path().join("t"), place.path().join("blog-v42-3f3f3f3.tar.zst"));
    plant_tree(&tree, &mut |_| 0);
    let packed = pack(&tree, &base(), &out, Effort::with(2)).unwrap();
    let expect = Expect { sha256: packed.archive_sha256.clone(), limits: UnpackLimits::of(&packed) };
    let before = seen(place.path());
    let inspected = inspect(&out, &expect, Links::AsBuilt).unwrap();
    assert_eq!(inspected.manifest, packed.manifest);
    let outside = inspect(&out, &expect, Links::InsideOnly).unwrap_err();
    assert_eq!(outside.what, "blog-v42-3f3f3f3.tar.zst: the link bin/python3 leads out of the tree");
    let other = Expect { sha256: "ab".repeat(32), ..expect };
    assert!(inspect(&out, &other, Links::AsBuilt).unwrap_err().what.contains("sha256 is"));
    assert_eq!(seen(place.path()), before);
    assert_eq!(crate::archives::unpack::head(&out, &UnpackLimits::default()), Ok(base()));
}
