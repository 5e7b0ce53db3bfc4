//! What data has besides content and modes: attributes, lists of who may do what, holes. And what a backup tells without
//! being read: whether data is still as it was.

use super::volumes::Volume;
use crate::backups::backup::{self, Exclude, Shelf};
use crate::backups::twin;
use crate::model::Code;
use crate::system::{UserIds, attributes};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: UserIds = UserIds { uid: 0, gid: 0 };
const NOTE: &CStr = c"user.note";
const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";

/// As `setfacl -m u:4711:rwx` writes it for a file of mode 640: owner rw, that user rwx, group r, mask rwx, others none.
fn list() -> Vec<u8> {
    let entry =
        |tag: u16, may: u16, who: u32| [&tag.to_le_bytes()[..], &may.to_le_bytes(), &who.to_le_bytes()].concat();
    let entries = [(1, 6, u32::MAX), (2, 7, 4711), (4, 4, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let entries = entries.into_iter().flat_map(|(tag, may, who)| entry(tag, may, who));
    2u32.to_le_bytes().into_iter().chain(entries).collect()
}

/// Until what was written is old enough to be known again.
fn wait() {
    std::thread::sleep(Duration::from_millis(2_100));
}

fn give(path: &Path, name: &CStr, value: &[u8]) {
    attributes::set(File::open(path).unwrap().as_fd(), name, value).unwrap();
}

/// Everything that a thing has besides content: mode, and what was given to it.
fn had(path: &Path) -> (u32, Vec<(String, Vec<u8>)>) {
    let file = File::open(path).unwrap();
    let names = attributes::names(file.as_fd()).unwrap();
    let value = |name: &CStr| attributes::get(file.as_fd(), name).unwrap().unwrap();
    let mut found: Vec<_> = names.iter().map(|name| (name.to_str().unwrap().to_owned(), value(name))).collect();
    found.sort();
    (file.metadata().unwrap().mode(), found)
}

struct Place(PathBuf);

impl Place {
    fn at(root: &Path) -> Self {
        fs::create_dir(root.join("data")).unwrap();
        Self(root.to_owned())
    }

    fn data(&self, name: &str) -> PathBuf {
        self.0.join("data").join(name)
    }

    fn shelf(&self, name: &str) -> Shelf {
        let archive = self.0.join(name);
        Shelf { data: archive.join("data"), inventory: archive.join("data.list") }
    }

    fn back_up(&self, name: &str, before: Option<&str>) -> Shelf {
        let (shelf, known) = (self.shelf(name), before.and_then(|before| backup::known(&self.shelf(before))));
        fs::create_dir_all(&shelf.data).unwrap();
        backup::back_up(&self.data(""), &shelf, (&Exclude::default(), ROOT), known.as_ref()).unwrap();
        shelf
    }

    fn copy_back(&self, shelf: &Shelf) -> Result<PathBuf, Code> {
        let target = self.0.join("restored");
        let _ = fs::remove_dir_all(&target);
        fs::create_dir(&target).unwrap();
        backup::copy_back(shelf, &target).map(|_| target).map_err(|failure| failure.code)
    }

    /// Data of every kind.
    fn fill(&self) {
        fs::create_dir_all(self.data("deep/er")).unwrap();
        fs::write(self.data("deep/file"), "content").unwrap();
        fs::write(self.data("other"), "other").unwrap();
        fs::hard_link(self.data("other"), self.data("twin")).unwrap();
        symlink("other", self.data("link")).unwrap();
        give(&self.data("other"), NOTE, b"note");
    }
}

#[test]
fn attributes_and_lists_of_who_may_do_what_come_back_with_data() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::at(root.path());
    fs::write(place.data("file"), "x").unwrap();
    fs::set_permissions(place.data("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(place.data("shared")).unwrap();
    give(&place.data("file"), NOTE, b"a\0 \n\xff");
    give(&place.data("file"), ACCESS, &list());
    give(&place.data("shared"), DEFAULT, &list());
    give(&place.data("shared"), NOTE, b"");
    fs::write(place.data("shared/heir"), "inherits").unwrap();
    give(&place.data(""), NOTE, b"top");
    fs::write(place.data("plain"), "none").unwrap();
    let names = ["", "file", "shared", "shared/heir", "plain"];
    let before = names.map(|name| had(&place.data(name)));
    assert_eq!(before[1].1.len(), 2, "{before:?}");
    assert_eq!(before[3].1.len(), 1, "what is made in it inherits: {before:?}");
    let shelf = place.back_up("1", None);
    // Where the copy is made hands down a list of its own: to nothing that is copied.
    give(&place.0, DEFAULT, &list());
    let target = place.copy_back(&shelf).unwrap();
    assert_eq!(names.map(|name| had(&target.join(name))), before);
    // An attribute that changed in the backup is damage.
    give(&shelf.data.join("plain"), NOTE, b"new");
    assert_eq!(place.copy_back(&shelf).unwrap_err(), Code::VerifyFailed);
}

#[test]
fn a_list_on_a_file_that_people_edit_survives_the_way_back() {
    let root = tempfile::tempdir().unwrap();
    let (tree, saved, aside) = (root.path().join("tree"), root.path().join("saved"), root.path().join("aside"));
    fs::create_dir(&tree).unwrap();
    ["kept", "edited"].iter().for_each(|name| fs::write(tree.join(name), "old").unwrap());
    give(&tree.join("kept"), ACCESS, &list());
    give(&tree.join("edited"), NOTE, b"mine");
    let before = ["", "kept", "edited"].map(|name| had(&tree.join(name)));
    twin::copy(&tree, &saved).unwrap();
    fs::set_permissions(tree.join("kept"), fs::Permissions::from_mode(0o600)).unwrap();
    give(&tree.join("kept"), NOTE, b"by the build");
    fs::remove_file(tree.join("edited")).unwrap();
    fs::write(tree.join("edited"), "new").unwrap();
    assert_ne!(["", "kept", "edited"].map(|name| had(&tree.join(name))), before);
    twin::make_like(&tree, &saved, &aside).unwrap();
    assert_eq!(["", "kept", "edited"].map(|name| had(&tree.join(name))), before);
}

#[test]
fn ten_gigabytes_of_nothing_take_no_room_in_any_copy() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::at(root.path());
    let file = File::create(place.data("image")).unwrap();
    file.set_len(10 << 30).unwrap();
    file.write_all_at(b"island", 5 << 30).unwrap();
    let shelf = place.back_up("1", None);
    assert_eq!(backup::complete(&shelf).unwrap(), 0, "nobody reads ten gigabytes of zeros");
    let restored = place.copy_back(&shelf).unwrap();
    let saved = place.0.join("saved");
    twin::copy(&place.data(""), &saved).unwrap();
    let survey = backup::survey(&place.data(""), &Exclude::default(), None).unwrap();
    assert!(survey.bytes < 1 << 20, "{}", survey.bytes);
    for copy in [shelf.data, restored, saved] {
        let copy = File::open(copy.join("image")).unwrap();
        let found = copy.metadata().unwrap();
        assert!(found.len() == 10 << 30 && found.blocks() * 512 < 1 << 20, "{found:?}");
        let mut island = [0; 6];
        copy.read_exact_at(&mut island, 5 << 30).unwrap();
        assert_eq!(&island, b"island");
    }
}

type Change = fn(&Place);

/// Everything by which data can become other data.
const CHANGES: [(&str, Change); 11] = [
    ("a byte, with size and time as before", |place| {
        let file = File::options().write(true).open(place.data("deep/file")).unwrap();
        let found = file.metadata().unwrap();
        file.write_all_at(b"C", 0).unwrap();
        let (omit, time) = (TimeSpec::UTIME_OMIT, TimeSpec::new(found.mtime(), found.mtime_nsec()));
        utimensat(nix::fcntl::AT_FDCWD, &place.data("deep/file"), &omit, &time, UtimensatFlags::NoFollowSymlink)
            .unwrap();
    }),
    ("a mode", |place| {
        fs::set_permissions(place.data("other"), fs::Permissions::from_mode(0o600)).unwrap();
    }),
    ("a new file", |place| fs::write(place.data("deep/er/new"), "").unwrap()),
    ("a new file at the end", |place| fs::write(place.data("zz"), "").unwrap()),
    ("a file that went", |place| fs::remove_file(place.data("deep/file")).unwrap()),
    ("a directory that went", |place| fs::remove_dir(place.data("deep/er")).unwrap()),
    ("a file in the place of another", |place| {
        fs::write(place.data("deep/beside"), "content").unwrap();
        fs::rename(place.data("deep/beside"), place.data("deep/file")).unwrap();
    }),
    ("a name that is another file now", |place| {
        fs::remove_file(place.data("twin")).unwrap();
        fs::write(place.data("twin"), "other").unwrap();
    }),
    ("a link", |place| {
        fs::remove_file(place.data("link")).unwrap();
        symlink("twin", place.data("link")).unwrap();
    }),
    ("an attribute of a file", |place| give(&place.data("other"), NOTE, b"nose")),
    ("an attribute of a directory", |place| give(&place.data("deep"), NOTE, b"")),
];

#[test]
fn data_that_nobody_changed_is_told_from_data_that_somebody_did() {
    let places = CHANGES.map(|_| tempfile::tempdir().unwrap());
    places.iter().for_each(|root| Place::at(root.path()).fill());
    wait();
    for ((what, change), root) in CHANGES.into_iter().zip(&places) {
        let place = Place(root.path().to_owned());
        let shelf = place.back_up("1", None);
        let compare = || backup::compare(&place.data(""), &shelf, ROOT);
        compare().unwrap();
        fs::read(place.data("deep/file")).unwrap();
        compare().unwrap();
        change(&place);
        assert!(compare().is_err(), "{what}");
    }
}

#[test]
fn what_was_written_a_moment_ago_or_lies_in_memory_is_in_doubt() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::at(root.path());
    place.fill();
    wait();
    fs::write(place.data("late"), "just now").unwrap();
    let shelf = place.back_up("1", None);
    let failure = backup::compare(&place.data(""), &shelf, ROOT).unwrap_err();
    assert!(failure.what.contains("late"), "{failure}");
    let Some(memory) = Volume::mounted("tmpfs", &root.path().join("memory"), 16) else { return };
    let place = Place::at(&memory.at);
    place.fill();
    wait();
    let shelf = place.back_up("1", None);
    assert!(backup::compare(&place.data(""), &shelf, ROOT).is_err(), "a mapping leaves no time there");
}

#[test]
fn where_blocks_can_be_shared_a_backup_takes_no_room_and_gets_its_sums_later() {
    const SIZE: usize = 8 << 20;
    for kind in ["btrfs", "xfs"] {
        let root = tempfile::tempdir().unwrap();
        let Some(volume) = Volume::mounted(kind, &root.path().join("volume"), 400) else { return };
        let place = Place::at(&volume.at);
        let noise: Vec<u8> = (0..SIZE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        ["a", "b", "c", "d"].iter().for_each(|name| fs::write(place.data(name), &noise).unwrap());
        fs::write(place.data("small"), "small").unwrap();
        wait();
        let needed = backup::needed(&backup::survey(&place.data(""), &Exclude::default(), None).unwrap(), &volume.at);
        assert!(needed.bytes < 4 * SIZE as u64, "{kind}: {needed:?}");
        let first = place.back_up("1", None);
        assert!(volume.is_shared(&first.data.join("a")), "{kind}");
        // One per cent of one file; the others are names of what the first has.
        File::options().write(true).open(place.data("a")).unwrap().write_all_at(&[7; SIZE / 100], 4096).unwrap();
        let second = place.back_up("2", Some("1"));
        let inode = |shelf: &Shelf, name: &str| fs::metadata(shelf.data.join(name)).unwrap().ino();
        assert!(inode(&first, "a") != inode(&second, "a") && inode(&first, "b") == inode(&second, "b"), "{kind}");
        assert!(volume.is_shared(&second.data.join("a")), "{kind}");
        let kept = fs::read(second.data.join("a")).unwrap();
        assert_eq!(kept, fs::read(place.data("a")).unwrap());
        assert_ne!(kept, fs::read(first.data.join("a")).unwrap(), "{kind}: the first backup is as it was");
        // As a backup without sums it can be put back, and with them it shows damage.
        let restored = place.copy_back(&second).unwrap();
        assert!(volume.is_shared(&restored.join("a")), "{kind}");
        assert!(backup::complete(&second).unwrap() >= 4, "{kind}");
        assert_eq!(backup::complete(&second).unwrap(), 0, "{kind}: once");
        place.copy_back(&second).unwrap();
        damage(&second.data.join("c"));
        assert_eq!(place.copy_back(&second).unwrap_err(), Code::VerifyFailed, "{kind}");
    }
}

/// One byte, with the time as it was.
fn damage(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let found = file.metadata().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 99).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 99).unwrap();
    let (omit, time) = (TimeSpec::UTIME_OMIT, TimeSpec::new(found.mtime(), found.mtime_nsec()));
    utimensat(nix::fcntl::AT_FDCWD, path, &omit, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}
