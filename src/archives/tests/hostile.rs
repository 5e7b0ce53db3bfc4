//! Archives that lie: each must be refused whole, by name, with nothing left behind and nothing touched outside.

use super::*;
use crate::model::Code;
use tar::EntryType as Kind;

/// A release around the given entries, under the policy for archives from elsewhere.
fn verdict(tar: Tar) -> String {
    verdict_of(&tar.sealed(&no_sum()).compressed())
}

fn verdict_of(bytes: &[u8]) -> String {
    match unpack_bytes(bytes, UnpackLimits::default(), Links::InsideOnly) {
        Ok(_) => "unpacked".into(),
        Err(Failure { code: Code::VerifyFailed, what, .. }) => {
            what.strip_prefix("blog-v42-3f9c2e1.tar.zst: ").expect("the archive is named").to_owned()
        }
        Err(other) => format!("{other:?}"),
    }
}

fn release() -> Tar {
    Tar::release()
}

#[test]
fn the_empty_release_made_by_hand_is_accepted() {
    assert_eq!(verdict(release()), "unpacked", "known-good: otherwise all refusals below prove nothing");
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    assert_eq!(
        verdict(release().file("tree/../../esc1", b"x")),
        "the entry tree/../../esc1: path has an empty, `.` or `..` part"
    );
    assert_eq!(verdict(release().file("../esc1", b"x")), "the entry ../esc1: path has an empty, `.` or `..` part");
    assert_eq!(verdict(release().file("/tmp/abs", b"x")), "the entry /tmp/abs: path has an empty, `.` or `..` part");
    assert_eq!(verdict(release().file("tree/", b"x")), "the entry tree/: path has an empty, `.` or `..` part");
    assert_eq!(verdict(release().directory("./")), "the entry ./: path has an empty, `.` or `..` part");
    assert_eq!(verdict(release().file("elsewhere", b"x")), "elsewhere stands where commis-files.txt should");
    assert_eq!(verdict(release().file("tree/d/f", b"x")), "tree/d/f comes without its directory".replace("tree/", ""));
}

#[test]
fn names_that_lie_to_a_terminal_are_refused() {
    let named = |name: &[u8]| verdict(release().entry(name, Kind::Regular, |_| {}, b"x"));
    assert_eq!(named(b"tree/a\nb\x1b[31m"), "the entry tree/a\\nb\\u{1b}[31m: name holds control characters");
    assert_eq!(named(b"tree/\xff\xfe"), "the entry tree/\\xff\\xfe: name is not UTF-8");
}

#[test]
fn nothing_is_written_through_a_link() {
    let comes_without = "d/pwn comes without its directory";
    assert_eq!(verdict(release().link("tree/d", "../ESC").file("tree/d/pwn", b"x")), comes_without);
    assert_eq!(verdict(release().link("tree/d", "/tmp").file("tree/d/pwn", b"x")), comes_without);
    assert_eq!(verdict(release().link("tree/d", "../ESC").directory("tree/d")), "d comes twice or out of order");
    assert_eq!(
        verdict(release().link("tree/f", "../ESC/target").file("tree/f", b"x")),
        "f comes twice or out of order"
    );
}

#[test]
fn links_that_leave_the_tree_are_refused_unless_they_were_built_here() {
    let leads_out = |path: &str| format!("the link {path} leads out of the tree");
    assert_eq!(verdict(release().link("tree/s", "/etc/shadow")), leads_out("s"));
    assert_eq!(verdict(release().link("tree/s", "../../data")), leads_out("s"));
    // Reads as inside, but the link in the middle makes `..` start higher up.
    let through =
        release().directory("tree/a").directory("tree/a/b").link("tree/a/b/up", "../..").link("tree/s", "a/b/up/../x");
    assert_eq!(verdict(through), leads_out("s"));
    assert_eq!(verdict(release().link("tree/a", "b").link("tree/b", "a")), "the link a leads in a circle");
    let absolute = release().link("tree/s", "/etc/shadow").sealed(&no_sum());
    let kept = unpack_bytes(&absolute.compressed(), UnpackLimits::default(), Links::AsBuilt).unwrap_err();
    assert!(kept.what.ends_with("the tree is not the one that its manifest names"), "{}", kept.what);
}

#[test]
fn only_files_directories_and_links_are_accepted() {
    for (kind, what) in [
        (Kind::Link, "a hard link"),
        (Kind::Char, "a character device"),
        (Kind::Block, "a block device"),
        (Kind::Fifo, "a named pipe"),
        (Kind::GNUSparse, "a sparse file"),
        (Kind::GNULongName, "a GNU long name"),
        (Kind::GNULongLink, "a GNU long name"),
        (Kind::XGlobalHeader, "a global PAX header"),
        (Kind::Continuous, "of an unknown type"),
        (Kind::new(b'V'), "of an unknown type"),
    ] {
        assert_eq!(verdict(release().linking("tree/x", "/etc/shadow", kind)), format!("the entry tree/x is {what}"));
    }
}

#[test]
fn modes_owners_and_times_are_not_the_archives_to_choose() {
    let with = |change: &dyn Fn(&mut tar::Header)| verdict(release().entry(b"tree/f", Kind::Regular, change, b"x"));
    for mode in [0o6755, 0o2755, 0o1644] {
        assert_eq!(with(&|header| header.set_mode(mode)), "the entry tree/f has a setuid, setgid or sticky bit");
    }
    let other_spelling = "the header of tree/f is not as commis writes it";
    assert_eq!(with(&|header| header.set_mode(0o777)), other_spelling);
    assert_eq!(with(&|header| header.set_uid(1234)), other_spelling);
    assert_eq!(with(&|header| header.set_mtime(1)), other_spelling);
    assert_eq!(with(&|header| header.set_username("root").unwrap()), other_spelling);
    assert_eq!(with(&|header| header.set_device_major(1).unwrap()), other_spelling);
}

#[test]
fn extended_headers_carry_long_names_and_nothing_else() {
    let pax = |records: &[u8]| verdict(release().entry(b"pax", Kind::XHeader, |_| {}, records).file("tree/f", b"x"));
    assert_eq!(pax(b"39 SCHILY.xattr.security.capability=x\n"), "a PAX header cannot be read");
    assert_eq!(pax(b"39 SCHILY.xattr.security.capability=xx\n"), "a PAX header holds SCHILY.xattr.security.capability");
    assert_eq!(pax(b"10 size=9\n"), "a PAX header holds size");
    assert_eq!(pax(b"15 path=tree/f\n"), "the header of tree/f is not as commis writes it");
    assert_eq!(pax(b"99999 path=x\n"), "a PAX header cannot be read");
    assert_eq!(pax(b"3 \n"), "a PAX header cannot be read");
    let twice = release().entry(b"pax", Kind::XHeader, |_| {}, b"10 path=a\n").entry(
        b"pax",
        Kind::XHeader,
        |_| {},
        b"10 path=b\n",
    );
    assert_eq!(verdict(twice), "a PAX header is followed by another");
}

#[test]
fn a_size_that_two_headers_tell_differently_is_refused() {
    let inner = Tar::default().file("SMUGGLED", b"pwn").0;
    let record = format!("{} size={}\n", 10 + inner.len().to_string().len(), inner.len());
    let smuggler = release().entry(b"pax", Kind::XHeader, |_| {}, record.as_bytes()).file("tree/blob.bin", b"");
    let refused = verdict(Tar([smuggler.0, inner].concat()));
    assert!(refused.starts_with("a PAX header"), "{refused}");
}

#[test]
fn every_path_comes_once_and_in_order() {
    assert_eq!(verdict(release().file("tree/f", b"1").file("tree/f", b"2")), "f comes twice or out of order");
    assert_eq!(verdict(release().file("tree/f", b"1").file("tree/f/g", b"2")), "f/g comes without its directory");
    assert_eq!(verdict(release().file("tree/b", b"1").file("tree/a", b"2")), "a comes twice or out of order");
    assert_eq!(
        verdict(release().directory("tree/d").file("tree/e", b"").file("tree/d/f", b"")),
        "d/f comes twice or out of order"
    );
}

#[test]
fn an_archive_ends_where_it_ends() {
    let good = release().sealed(&no_sum());
    assert_eq!(verdict_of(&[good.compressed(), good.compressed()].concat()), "something follows its end");
    assert_eq!(verdict_of(&Tar([good.0.clone(), vec![0; 512]].concat()).compressed()), "something follows its end");
    assert_eq!(verdict_of(&Tar([good.0.clone(), good.0.clone()].concat()).compressed()), "something follows its end");
    let appended = [good.compressed(), b"x".to_vec()].concat();
    assert_eq!(verdict_of(&appended), "it ends in the middle");
    let whole = good.compressed();
    assert_eq!(verdict_of(&whole[..whole.len() - 1]), "it ends in the middle");
    assert_eq!(verdict_of(&Tar(good.0[..700].to_vec()).compressed()), "it ends in the middle");
    assert_eq!(verdict_of(b""), "it ends in the middle");
    let open = Tar([release().0, vec![0; 1024]].concat());
    assert_eq!(verdict_of(&open.compressed()), "it ends without commis-tree.json");
    let more = Tar(good.0[..good.0.len() - 1024].to_vec()).file("more", b"");
    assert_eq!(verdict_of(&Tar([more.0, vec![0; 1024]].concat()).compressed()), "something follows commis-tree.json");
}

#[test]
fn damage_is_told_as_another_checksum() {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("blog.tar.zst");
    let good = release().sealed(&no_sum()).compressed();
    let expect = Expect { sha256: crate::model::words::hex(&Sha256::digest(&good).0), limits: UnpackLimits::default() };
    for at in (0..good.len()).step_by(7) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        fs::write(&archive, &flipped).unwrap();
        let failure = unpack(&archive, &expect, &place.path().join("into"), me(), Links::InsideOnly).unwrap_err();
        assert_eq!(failure.code, Code::VerifyFailed);
        assert!(failure.what.starts_with("blog.tar.zst: sha256 is "), "byte {at}: {}", failure.what);
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_manifest_that_names_another_tree_is_refused() {
    let other = listing::TreeSum { files: 1, ..no_sum() };
    let bytes = release().sealed(&other).compressed();
    assert_eq!(verdict_of(&bytes), "the tree is not the one that its manifest names");
    let unknown = Tar::default().file("commis-release.json", b"{\"format\": 9}");
    assert_eq!(verdict(unknown), "commis-release.json: format 9 is not known here");
    assert_eq!(verdict(Tar::default().file("app.py", b"")), "app.py stands where commis-release.json should");
}
