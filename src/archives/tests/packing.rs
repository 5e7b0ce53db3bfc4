//! Packing: the same bytes for the same tree, back to the same tree, and a name for what cannot be released.

use super::*;
use crate::archives::{compare, pack};
use crate::model::Code;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

fn packed(tree: &Path, out: &Path) -> super::super::Packed {
    pack(tree, &base(), out, Effort::with(2)).unwrap()
}

#[test]
fn copies_made_in_another_order_by_another_user_at_another_time_pack_to_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = (place.path().join("one"), place.path().join("two"));
    plant_tree(&one, &mut |count| count - 1);
    plant_tree(&two, &mut |count| count / 2);
    for path in std::iter::once(two.clone()).chain(seen(&two).keys().map(|path| two.join(path))) {
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::lchown(&path, Some(1234), Some(1234)).unwrap();
        }
        if !path.is_symlink() {
            let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
        }
    }
    fs::set_permissions(two.join("app.py"), fs::Permissions::from_mode(0o664)).unwrap();
    let [a, b, again] = ["a", "b", "c"].map(|name| place.path().join(name));
    let first = packed(&one, &a);
    assert_eq!(packed(&two, &b), first);
    assert_eq!(pack(&one, &base(), &again, Effort::with(1)).unwrap(), first);
    assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());

    fs::set_permissions(two.join("app.py"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(
        packed(&two, &place.path().join("d")).archive_sha256,
        first.archive_sha256,
        "known-bad: the x bit counts"
    );
}

#[test]
fn where_a_tree_is_unpacked_changes_neither_owners_nor_modes() {
    let place = tempfile::tempdir().unwrap();
    let (tree, out, shared) = (place.path().join("t"), place.path().join("blog.tar.zst"), place.path().join("shared"));
    plant_tree(&tree, &mut |_| 0);
    let packed = packed(&tree, &out);
    let expect = Expect { sha256: packed.archive_sha256.clone(), limits: UnpackLimits::of(&packed) };
    // What is made here belongs to another group, and hands that down.
    fs::create_dir(&shared).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&shared, Some(0), Some(4321)).unwrap();
    }
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o2777)).unwrap();
    fs::create_dir(shared.join("control")).unwrap();
    assert_eq!(fs::metadata(shared.join("control")).unwrap().mode() & 0o2000, 0o2000, "it hands nothing down");
    let into = shared.join("into");
    unpack(&out, &expect, &into, me(), Links::AsBuilt).unwrap();
    for path in std::iter::once(into.clone()).chain(seen(&into).keys().map(|path| into.join(path))) {
        let data = fs::symlink_metadata(&path).unwrap();
        assert_eq!((data.uid(), data.gid()), (me().uid, me().gid), "{path:?}");
        let wanted = if data.is_dir() || data.mode() & 0o100 != 0 { 0o755 } else { 0o644 };
        assert!(data.is_symlink() || data.mode() & 0o7777 == wanted, "{path:?} has {:o}", data.mode());
    }
}

#[test]
fn a_tree_comes_back_exactly_and_is_verified_as_such() {
    let place = tempfile::tempdir().unwrap();
    let (tree, out, into) = (place.path().join("t"), place.path().join("blog.tar.zst"), place.path().join("into"));
    plant_tree(&tree, &mut |_| 0);
    let packed = packed(&tree, &out);
    let expect = Expect { sha256: packed.archive_sha256.clone(), limits: UnpackLimits::of(&packed) };
    let owner = if nix::unistd::geteuid().is_root() { UserIds::of(4321) } else { me() };
    let unpacked = unpack(&out, &expect, &into, owner, Links::AsBuilt).unwrap();
    assert_eq!(unpacked.manifest, packed.manifest);
    assert_eq!(seen(&into), seen(&tree));
    assert_eq!(compare::tree_digest(&tree).unwrap(), packed.manifest.tree);
    for path in std::iter::once(into.clone()).chain(seen(&into).keys().map(|path| into.join(path))) {
        let data = fs::symlink_metadata(&path).unwrap();
        assert_eq!((data.uid(), data.gid()), (owner.uid, owner.gid), "{path:?}");
        assert!(data.is_symlink() || [0o644, 0o755].contains(&(data.mode() & 0o7777)), "{path:?}");
        assert!(data.is_symlink() || data.nlink() == 1 || data.is_dir(), "{path:?}");
    }
    assert_eq!(compare::verify_tree(&into, &packed.manifest), Ok(()));
    assert_eq!(unpack(&out, &expect, &into, owner, Links::AsBuilt).unwrap_err().code, Code::Exists);
}

#[test]
fn every_drift_of_a_deployed_tree_is_seen() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("t");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), "one").unwrap();
    fs::write(tree.join("b"), "two").unwrap();
    let manifest = packed(&tree, &place.path().join("x")).manifest;
    let says = |change: &dyn Fn()| {
        change();
        let difference = compare::verify_tree(&tree, &manifest).unwrap_err().to_string();
        fs::write(tree.join("a"), "one").unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o644)).unwrap();
        let _ = fs::remove_file(tree.join("c"));
        assert_eq!(compare::verify_tree(&tree, &manifest), Ok(()));
        difference
    };
    assert!(says(&|| fs::write(tree.join("a"), "two").unwrap()).starts_with("same size, other content"));
    assert!(says(&|| fs::write(tree.join("a"), "three").unwrap()).starts_with("8 bytes instead of 6"));
    assert!(says(&|| fs::write(tree.join("c"), "").unwrap()).starts_with("3 files instead of 2"));
    assert!(says(&|| symlink("a", tree.join("c")).unwrap()).starts_with("same size"));
    let chmod = |mode| fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(mode)).unwrap();
    assert!(says(&|| chmod(0o755)).starts_with("same size, other content, names or modes"));
    assert_eq!(says(&|| chmod(0o666)), "a has mode 666");
    assert_eq!(says(&|| chmod(0o4755)), "a has mode 4755");
}

#[test]
fn other_tools_can_read_an_archive_and_its_checksum() {
    let place = tempfile::tempdir().unwrap();
    let (tree, out) = (place.path().join("t"), place.path().join("blog.tar.zst"));
    plant_tree(&tree, &mut |_| 0);
    let packed = packed(&tree, &out);
    let text = fs::read_to_string(place.path().join("blog.tar.zst.sha256")).unwrap();
    assert_eq!(text, format!("{}  blog.tar.zst\n", packed.archive_sha256));
    let plain = zstd::stream::decode_all(fs::File::open(&out).unwrap()).unwrap();
    fs::write(place.path().join("plain.tar"), plain).unwrap();
    let mut gnu = std::process::Command::new("tar");
    let status = gnu.args(["-xf", "plain.tar"]).current_dir(place.path()).status().unwrap();
    assert!(status.success());
    assert_eq!(seen(&place.path().join("tree")), seen(&tree));
    let sums = std::process::Command::new("sha256sum")
        .args(["-c", "--quiet", "blog.tar.zst.sha256"])
        .current_dir(place.path())
        .status();
    assert!(sums.unwrap().success());
}

#[test]
fn what_no_release_can_hold_fails_the_build_by_name_and_leaves_nothing() {
    type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));
    let named =
        |bytes: &'static [u8]| move |tree: &Path| fs::write(tree.join(std::ffi::OsStr::from_bytes(bytes)), "").unwrap();
    let pipe = |tree: &Path| nix::unistd::mkfifo(&tree.join("sub/ff"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = |tree: &Path| drop(std::os::unix::net::UnixListener::bind(tree.join("sub/s.sock")).unwrap());
    let deep = |tree: &Path| fs::create_dir_all(tree.join("d/".repeat(300))).unwrap();
    let link = |tree: &Path| symlink(std::ffi::OsStr::from_bytes(b"\xff"), tree.join("odd")).unwrap();
    let cases: [Spoil<'_>; 6] = [
        ("sub/ff is a named pipe", &pipe),
        ("sub/s.sock is a socket", &socket),
        ("a\\nb\\u{1b}[31m: name holds control characters", &named(b"a\nb\x1b[31m")),
        ("\\xff\\xfe: name is not UTF-8", &named(b"\xff\xfe")),
        ("more than 200 directories", &deep),
        ("the link odd: its target: name is not UTF-8", &link),
    ];
    for (says, spoil) in cases {
        let place = tempfile::tempdir().unwrap();
        let tree: PathBuf = place.path().join("t");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("fine"), "fine").unwrap();
        assert!(pack(&tree, &base(), &place.path().join("control"), Effort::with(1)).is_ok(), "known-good");
        spoil(&tree);
        let failure = pack(&tree, &base(), &place.path().join("out"), Effort::with(1)).unwrap_err();
        assert!(failure.what.contains(says), "{} does not say {says}", failure.what);
        assert_eq!(failure.code, Code::BuildFailed);
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }
}

#[test]
fn another_users_file_is_not_published_through_a_hard_link_as_root() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("t");
    fs::create_dir(&tree).unwrap();
    fs::write(place.path().join("secret"), "root's").unwrap();
    fs::hard_link(place.path().join("secret"), tree.join("x")).unwrap();
    assert!(
        pack(&tree, &base(), &place.path().join("own"), Effort::with(1)).is_ok(),
        "known-good: one's own hard links are copies"
    );
    std::os::unix::fs::chown(&tree, Some(1234), Some(1234)).unwrap();
    let failure = pack(&tree, &base(), &place.path().join("out"), Effort::with(1)).unwrap_err();
    assert_eq!(failure.what, "x is a hard link to a file of another user");
}

#[test]
fn a_tree_given_as_a_list_packs_to_the_same_bytes_as_the_same_tree_on_the_disk() {
    use crate::archives::listed::{Listed, ListedFile, ListedItem, pack_listed};
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    let contents = ["one", "two", ""];
    for (name, content) in ["a/run", "a-file", "a/b/empty"].iter().zip(contents) {
        fs::write(tree.join(name), content).unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(tree.join("a/run"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("a-file", tree.join("link")).unwrap();
    let listed = |path: &str, item| Listed { path: path.to_owned(), item };
    let file = |number: usize| ListedFile {
        number,
        size: contents[number].len() as u64,
        identity: Identity::of_blob(&[number as u8; 20]),
    };
    let list = vec![
        listed("link", ListedItem::Link("a-file".into())),
        listed("a-file", ListedItem::Plain(file(1))),
        listed("a/run", ListedItem::Program(file(0))),
        listed("a/b/empty", ListedItem::Plain(file(2))),
        listed("a", ListedItem::Directory),
        listed("a/b", ListedItem::Directory),
    ];
    let mut read = |number: usize| Ok(contents[number].as_bytes().to_vec());
    let [disk, given] = ["disk", "given"].map(|name| place.path().join(name));
    let first = packed(&tree, &disk);
    assert_eq!(pack_listed(list.clone(), &mut read, &base(), (&given, Effort::with(1))).unwrap(), first);
    let again = Effort { threads: 1, before: Some(&given) };
    let mut unread = |_: usize| Err(Failure::new(Code::Internal, "nothing has to be read again"));
    assert_eq!(pack_listed(list, &mut unread, &base(), (&place.path().join("again"), again)).unwrap(), first);
    let outside = vec![listed("../x", ListedItem::Plain(file(0)))];
    let refused = pack_listed(outside, &mut read, &base(), (&place.path().join("x"), Effort::with(1))).unwrap_err();
    assert_eq!(refused.code, Code::BuildFailed, "known-bad: {refused}");
}
