//! A directory there and back: everything that a copy must keep, and everything that somebody could put into it to lead
//! root astray.

use crate::backups::backup::{self, Exclude, Shelf};
use crate::model::Code;
use crate::system::UserIds;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const APP: UserIds = UserIds { uid: 29_871, gid: 29_871 };

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir(place.data()).unwrap();
        chown(place.data(), Some(APP.uid), Some(APP.gid)).unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        chown(&path, Some(APP.uid), Some(APP.gid)).unwrap();
        path
    }

    fn shelf(&self, name: &str) -> Shelf {
        let archive = self.root.path().join(name);
        Shelf { data: archive.join("data"), inventory: archive.join("data.list") }
    }

    /// Backs up; what was passed over.
    fn back_up(&self, name: &str, exclude: &[&str]) -> Vec<String> {
        let exclude: Vec<String> = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        let exclude = Exclude::new(&exclude).unwrap();
        let shelf = self.shelf(name);
        fs::create_dir_all(&shelf.data).unwrap();
        backup::back_up(&self.data(), &shelf, (&exclude, APP), None).unwrap().passed
    }

    fn copy_back(&self, name: &str) -> PathBuf {
        let target = self.root.path().join(format!("{name}.restore"));
        fs::create_dir(&target).unwrap();
        backup::copy_back(&self.shelf(name), &target).unwrap();
        target
    }
}

/// Everything about a tree: kind, mode, owner, time, content, and which names are one file.
fn picture(top: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    look(top, top, &mut files);
    let mut first: BTreeMap<u64, String> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for (name, path) in files {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let target = fs::read_link(&path).ok();
        let twin = if meta.is_file() {
            first.entry(meta.ino()).or_insert_with(|| name.clone()).clone()
        } else {
            String::new()
        };
        let about = (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        all.insert(name, format!("{about:?} {content:?} {target:?} {twin}"));
    }
    all
}

fn look(top: &Path, path: &Path, files: &mut BTreeMap<String, PathBuf>) {
    files.insert(path.strip_prefix(top).unwrap().to_string_lossy().into_owned(), path.to_owned());
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| look(top, &entry.unwrap().path(), files));
    }
}

fn dated(path: &Path, seconds: i64) {
    let (omit, time) = (TimeSpec::UTIME_OMIT, TimeSpec::new(seconds, 123_456_789));
    utimensat(nix::fcntl::AT_FDCWD, path, &omit, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let place = Place::new();
    let file = place.file("uploads/2026/a b.png", "picture");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    place.file("uploads/odd\nname\\ü", "");
    place.file("set", "x");
    fs::set_permissions(place.data().join("set"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(&file, place.data().join("twin")).unwrap();
    fs::hard_link(&file, place.data().join("uploads/third")).unwrap();
    symlink("uploads/2026", place.data().join("link")).unwrap();
    symlink("/etc/passwd", place.data().join("out")).unwrap();
    fs::create_dir(place.data().join("empty")).unwrap();
    fs::set_permissions(place.data().join("empty"), fs::Permissions::from_mode(0o2775)).unwrap();
    for (name, age) in [("link", 4), ("uploads/2026/a b.png", 3), ("uploads", 2), ("empty", 1), ("", 5)] {
        dated(&place.data().join(name), 1_000_000_000 + age);
    }
    let before = picture(&place.data());
    assert_eq!(place.back_up("1", &[]), Vec::<String>::new());
    let copy = place.copy_back("1");
    assert_eq!(picture(&copy), before);
    assert!(before.values().any(|about| about.ends_with("twin")), "{before:?}");
    // A known-bad control: the picture sees a byte, a mode and a time.
    fs::write(copy.join("set"), "y").unwrap();
    assert_ne!(picture(&copy), before);
}

#[test]
fn a_backup_that_rotted_is_not_put_back() {
    let place = Place::new();
    place.file("precious", "data");
    place.back_up("1", &[]);
    let kept = place.shelf("1").data.join("precious");
    let meta = fs::metadata(&kept).unwrap();
    fs::write(&kept, "dbta").unwrap();
    let time = TimeSpec::new(meta.mtime(), meta.mtime_nsec());
    utimensat(nix::fcntl::AT_FDCWD, &kept, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
    let target = place.root.path().join("target");
    fs::create_dir(&target).unwrap();
    let failure = backup::copy_back(&place.shelf("1"), &target).unwrap_err();
    assert_eq!(failure.code, Code::VerifyFailed);
    assert!(failure.what.contains("precious"), "{failure}");
}

#[test]
fn nothing_in_data_leads_out_of_it() {
    let place = Place::new();
    let secret = place.root.path().join("secret");
    fs::write(&secret, "another project's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&secret, place.data().join("stolen")).unwrap();
    symlink("/etc", place.data().join("etc")).unwrap();
    nix::unistd::mkfifo(&place.data().join("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.data().join("socket")).unwrap();
    place.file("mine", "x");
    let outside = place.root.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    fs::create_dir(place.data().join("mounted")).unwrap();
    mount(Some(&outside), &place.data().join("mounted"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let passed = place.back_up("1", &[]);
    let mounts = backup::mounts_in(&place.data()).unwrap();
    let cleared = backup::clear(&place.data(), &Exclude::default());
    umount(&place.data().join("mounted")).unwrap();
    cleared.unwrap();
    assert_eq!(mounts.len(), 1);
    let kept: Vec<String> = picture(&place.shelf("1").data).into_keys().collect();
    assert_eq!(kept, ["", "etc", "mine"]);
    assert!(fs::symlink_metadata(place.shelf("1").data.join("etc")).unwrap().is_symlink());
    assert_eq!(passed.len(), 4, "{passed:?}");
    for name in ["stolen is another", "pipe a named pipe", "socket a socket", "mounted is a mount point"] {
        assert!(passed.iter().any(|passed| passed.contains(name)), "{name} in {passed:?}");
    }
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "outside");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "another project's");
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o7777, 0o600);
    assert!(place.data().join("mounted").is_dir() && !place.data().join("mine").exists());
}

#[test]
fn what_is_excluded_is_neither_copied_nor_removed() {
    let place = Place::new();
    place.file("cache/deep/a", "cached");
    place.file("keep", "kept");
    place.file("x/y.tmp", "left");
    place.back_up("1", &["cache/**", "**/*.tmp"]);
    assert_eq!(picture(&place.shelf("1").data).into_keys().collect::<Vec<_>>(), ["", "cache", "keep", "x"]);
    let exclude = backup::excluded(&place.shelf("1")).unwrap();
    place.file("new/z.tmp", "later");
    place.file("new/other", "later");
    let copy = place.copy_back("1");
    for _ in 0..2 {
        backup::carry_over(&place.data(), &copy, &exclude).unwrap();
    }
    let names: Vec<String> = picture(&copy).into_keys().collect();
    assert_eq!(names, ["", "cache", "cache/deep", "cache/deep/a", "keep", "new", "new/z.tmp", "x", "x/y.tmp"]);
    assert_eq!(fs::metadata(copy.join("new")).unwrap().uid(), fs::metadata(place.data().join("new")).unwrap().uid());
    backup::clear(&copy, &exclude).unwrap();
    let names: Vec<String> = picture(&copy).into_keys().collect();
    assert_eq!(names, ["", "cache", "cache/deep", "cache/deep/a", "new", "new/z.tmp", "x", "x/y.tmp"]);
}

#[test]
fn what_did_not_change_is_shared_with_the_backup_before_and_what_did_is_not() {
    let place = Place::new();
    let large = place.file("large", "");
    let file = fs::File::options().write(true).open(&large).unwrap();
    let block = vec![7; 1 << 20];
    (0..70).for_each(|at| std::os::unix::fs::FileExt::write_all_at(&file, &block, at << 20).unwrap());
    drop(file);
    place.file("small", "one");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let nothing = Exclude::default();
    place.back_up("1", &[]);
    place.file("small", "two");
    let known = backup::known(&place.shelf("1")).expect("a backup");
    let survey = backup::survey(&place.data(), &nothing, Some(&known)).unwrap();
    assert!(survey.bytes <= 4096, "{}", survey.bytes);
    let second = place.shelf("2");
    fs::create_dir_all(&second.data).unwrap();
    let made = backup::back_up(&place.data(), &second, (&nothing, APP), Some(&known)).unwrap();
    assert_eq!((made.files, made.bytes), (2, (70 << 20) + 3));
    let inode = |shelf: &Shelf, name: &str| fs::metadata(shelf.data.join(name)).unwrap().ino();
    assert_eq!(inode(&place.shelf("1"), "large"), inode(&second, "large"));
    assert_ne!(inode(&place.shelf("1"), "small"), inode(&second, "small"));
    assert_ne!(inode(&second, "large"), fs::metadata(&large).unwrap().ino(), "never with what the application writes");
    let copy = place.copy_back("2");
    assert_ne!(inode(&second, "large"), fs::metadata(copy.join("large")).unwrap().ino());
    assert_eq!(picture(&copy), picture(&place.data()));
}

#[test]
fn a_backup_of_a_directory_that_changes_all_the_time_ends_well() {
    let place = Place::new();
    for number in 0..200 {
        place.file(&format!("d{}/f{number}", number % 10), "x");
    }
    let data = place.data();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut number = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                let (file, dir) =
                    (data.join(format!("d{}/f{}", number % 10, number % 200)), data.join(format!("d{}", number % 10)));
                let _ = fs::remove_file(&file);
                let _ = fs::rename(&dir, data.join("moved"));
                let _ = symlink("/etc", &dir);
                let _ = fs::remove_file(&dir);
                let _ = fs::rename(data.join("moved"), &dir);
                let _ = fs::write(&file, "y".repeat(number as usize % 5000));
            }
        });
        for round in 0..20 {
            place.back_up(&format!("{round}"), &[]);
            let kept = picture(&place.shelf(&format!("{round}")).data);
            assert!(kept.keys().all(|name| !name.contains("passwd")), "{kept:?}");
            place.copy_back(&format!("{round}"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        churn.join().unwrap();
    });
}
