//! Twins: a copy is the tree in every respect that counts, and a tree is made like its copy without losing anything.

use crate::backups::twin::{Twinned, copy, make_like};
use crate::model::Code;
use crate::trees::standing;
use nix::mount::{MsFlags, mount, umount};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn planted(root: &Path) {
    fs::create_dir_all(root.join("a/deep/er")).unwrap();
    fs::write(root.join("a/deep/er/file"), "deep").unwrap();
    fs::write(root.join("index.html"), "one").unwrap();
    fs::write(root.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("program"), Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join("secret"), "hush").unwrap();
    fs::set_permissions(root.join("secret"), Permissions::from_mode(0o600)).unwrap();
    symlink("a/deep", root.join("link")).unwrap();
    symlink("/etc/shadow", root.join("out")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
}

/// Name, kind, mode, owner, time, content of everything but the pipe.
fn whole(root: &Path) -> Vec<String> {
    let (mut found, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (path, data) = (entry.path(), entry.metadata().unwrap());
            let content = match data.file_type() {
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                kind if kind.is_file() => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
                kind if kind.is_dir() => String::new(),
                _ => continue,
            };
            // Set-user-id never travels.
            let (mode, name) = (data.mode() & !0o4000, path.strip_prefix(root).unwrap());
            found.push(format!(
                "{} {mode:o} {} {}.{} {content}",
                name.display(),
                data.uid(),
                data.mtime(),
                data.mtime_nsec()
            ));
            if data.is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_copy_has_contents_modes_owners_times_and_links() {
    let place = tempfile::tempdir().unwrap();
    let (tree, twin) = (place.path().join("tree"), place.path().join("twin"));
    fs::create_dir(&tree).unwrap();
    planted(&tree);
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(tree.join("index.html"), Some(29_871), Some(29_871)).unwrap();
    }
    copy(&tree, &twin).unwrap();
    assert_eq!(whole(&twin), whole(&tree));
    assert!(!twin.join("pipe").exists(), "what is no file stays out");
    fs::write(tree.join("index.html"), "two").unwrap();
    assert_ne!(whole(&twin), whole(&tree), "known-bad");
    assert_eq!(fs::read_to_string(twin.join("index.html")).unwrap(), "one", "nothing is shared");
    assert!(copy(&tree, &twin).is_err(), "nothing is copied over something");
}

#[test]
fn a_tree_is_made_again_what_it_was_and_what_goes_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let (tree, twin, aside) = (place.path().join("tree"), place.path().join("twin"), place.path().join("aside"));
    fs::create_dir(&tree).unwrap();
    planted(&tree);
    copy(&tree, &twin).unwrap();
    let before = (whole(&tree), fs::metadata(&tree).unwrap().ino());
    assert_eq!(make_like(&tree, &twin, &aside).unwrap(), Twinned::default());
    assert!(!aside.exists());
    // Everything that can happen to a tree.
    fs::write(tree.join("index.html"), "two").unwrap();
    fs::remove_file(tree.join("a/deep/er/file")).unwrap();
    fs::remove_file(tree.join("link")).unwrap();
    fs::create_dir(tree.join("link")).unwrap();
    fs::write(tree.join("link/mine"), "mine").unwrap();
    fs::remove_file(tree.join("out")).unwrap();
    symlink("elsewhere", tree.join("out")).unwrap();
    fs::create_dir_all(tree.join("node_modules/x")).unwrap();
    fs::write(tree.join("node_modules/x/y"), "made").unwrap();
    fs::set_permissions(tree.join("secret"), Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(tree.join("program")).unwrap();
    fs::write(tree.join("a/.commis-growing"), "half").unwrap();
    let done = make_like(&tree, &twin, &aside).unwrap();
    assert_eq!((whole(&tree), fs::metadata(&tree).unwrap().ino()), before);
    assert_eq!((done.written, done.aside), (5, 4), "{done:?}");
    let kept = whole(&aside);
    assert_eq!(
        kept.iter().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>(),
        ["index.html", "link", "link/mine", "node_modules", "node_modules/x", "node_modules/x/y", "out"]
    );
    assert_eq!(fs::read_to_string(aside.join("index.html")).unwrap(), "two");
    assert_eq!(make_like(&tree, &twin, &aside).unwrap(), Twinned::default());
}

#[test]
fn neither_a_copy_nor_a_return_goes_through_a_mount_or_a_link() {
    let place = tempfile::tempdir().unwrap();
    let (tree, twin, aside) = (place.path().join("tree"), place.path().join("twin"), place.path().join("aside"));
    let outside = place.path().join("outside");
    [&tree, &outside].iter().for_each(|path| fs::create_dir(path).unwrap());
    fs::create_dir(tree.join("data")).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    copy(&tree, &twin).unwrap();
    if mount(Some(&outside), &tree.join("data"), None::<&str>, MsFlags::MS_BIND, None::<&str>).is_err() {
        return eprintln!("skipped: needs root");
    }
    let (copied, made) = (copy(&tree, &place.path().join("second")), make_like(&tree, &twin, &aside));
    umount(&tree.join("data")).unwrap();
    assert_eq!((copied.unwrap_err().code, made.unwrap_err().code), (Code::Refused, Code::Refused));
    // A link where a directory was: the link is put aside, what it names is not touched.
    fs::remove_dir(tree.join("data")).unwrap();
    symlink(&outside, tree.join("data")).unwrap();
    fs::write(twin.join("data/precious"), "ours").unwrap();
    make_like(&tree, &twin, &aside).unwrap();
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(tree.join("data/precious")).unwrap(), "ours");
    assert!(aside.join("data").is_symlink());
}

#[test]
fn what_stands_is_read_without_following_links() {
    let place = tempfile::tempdir().unwrap();
    planted(place.path());
    let mut names = Vec::new();
    standing::each(place.path(), &mut |standing, content| {
        names.push(format!("{} {}", String::from_utf8_lossy(&standing.path), content.is_some()));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        names,
        ["a/deep/er/file true", "index.html true", "link false", "out false", "program true", "secret true"]
    );
    let content = |path: &str| standing::content(place.path(), Path::new(path), 100).unwrap();
    assert_eq!(content("index.html").as_deref(), Some(&b"one"[..]));
    assert_eq!(content("out").as_deref(), Some(&b"/etc/shadow"[..]), "the link itself");
    assert_eq!(content("link/er/file"), None, "no way leads through a link");
    assert_eq!((content("a"), content("absent"), content("index.html/x"), content("pipe")), (None, None, None, None));
    assert!(standing::content(place.path(), Path::new("index.html"), 2).is_err());
    assert!(standing::content(place.path(), Path::new("../x"), 2).is_err());
}
