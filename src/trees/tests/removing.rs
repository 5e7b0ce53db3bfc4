//! Removing trees: everything that is ours goes, nothing behind a mount or a link does.

use crate::model::Code;
use crate::trees::TreeSize;
use crate::trees::removal;
use crate::trees::remove_tree;
use crate::trees::tree_size;
use nix::mount::{MsFlags, mount, umount};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn data_behind_a_bind_mount_survives_every_removal_as_root() {
    let place = tempfile::tempdir().unwrap();
    let (data, run) = (place.path().join("data"), place.path().join("run"));
    fs::create_dir_all(&data).unwrap();
    fs::create_dir_all(run.join("app/my data")).unwrap();
    fs::write(data.join("precious"), "precious").unwrap();
    fs::write(run.join("app/code"), "code").unwrap();
    let point = run.join("app/my data");
    if mount(Some(&data), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>).is_err() {
        return eprintln!("skipped: needs root");
    }
    let reachable = point.join("precious").exists();
    let same_device = fs::metadata(&point).unwrap().dev() == fs::metadata(&run).unwrap().dev();
    let size = tree_size(&run);
    let refused = remove_tree(&run);
    let code_is_there = run.join("app/code").exists();
    let itself = remove_tree(&point);
    umount(&point).unwrap();
    assert!(reachable, "known-bad: a removal by names would have reached it");
    assert!(same_device, "known-bad: comparing devices would not have seen it");
    let refused = refused.unwrap_err();
    assert_eq!(refused.what, format!("something is mounted on {}", point.display()));
    assert_eq!(itself.unwrap_err().code, Code::Refused);
    assert!(size.unwrap_err().what.contains("something is mounted"));
    assert!(code_is_there, "refused before anything was removed");
    assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "precious");
    remove_tree(&run).unwrap();
    assert!(!run.exists());
}

#[test]
fn a_mount_that_the_table_did_not_show_stops_the_removal_at_its_mount_point_as_root() {
    let place = tempfile::tempdir().unwrap();
    let (data, run) = (place.path().join("data"), place.path().join("run"));
    [&data, &run.join("d")].iter().for_each(|path| fs::create_dir_all(path).unwrap());
    fs::write(data.join("precious"), "precious").unwrap();
    if mount(Some(&data), &run.join("d"), None::<&str>, MsFlags::MS_BIND, None::<&str>).is_err() {
        return eprintln!("skipped: needs root");
    }
    let root = crate::trees::walk::open_directory(&run).unwrap();
    let emptied = removal::empty(root, &run);
    umount(&run.join("d")).unwrap();
    assert!(emptied.unwrap_err().what.contains("something is mounted on"));
    assert_eq!(fs::read_to_string(data.join("precious")).unwrap(), "precious");
}

#[test]
fn links_are_removed_and_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let (outside, tree) = (place.path().join("outside"), place.path().join("tree"));
    [&outside, &tree].iter().for_each(|path| fs::create_dir(path).unwrap());
    fs::write(outside.join("kept"), "kept").unwrap();
    symlink(&outside, tree.join("link")).unwrap();
    symlink(&outside, place.path().join("itself")).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(&place.path().join("itself")).unwrap();
    assert!(!tree.exists() && !place.path().join("itself").is_symlink());
    assert!(outside.join("kept").exists());
}

#[test]
fn a_tree_of_five_thousand_levels_goes_with_few_descriptors() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut at = crate::trees::walk::open_directory(&tree).unwrap();
    let name = CString::new("d".repeat(100)).unwrap();
    for _ in 0..5_000 {
        nix::sys::stat::mkdirat(&at, name.as_c_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let flags = nix::fcntl::OFlag::O_DIRECTORY;
        at = crate::trees::walk::open_below(std::os::fd::AsFd::as_fd(&at), &name, flags).unwrap();
    }
    drop(at);
    assert!(tree_size(&tree).is_err(), "known-bad: no release is that deep");
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
}

#[test]
fn odd_modes_names_and_kinds_do_not_stop_a_removal() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("many/below")).unwrap();
    fs::write(tree.join("many/below/file"), "").unwrap();
    symlink("/usr/bin/python3", tree.join("many/link")).unwrap();
    symlink("nowhere", tree.join("dangling")).unwrap();
    nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(tree.join(std::ffi::OsStr::new("a\nb")), "").unwrap();
    fs::set_permissions(tree.join("many"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o0)).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(&place.path().join("absent/too")).unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_tree_is_measured() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("a/b")).unwrap();
    fs::write(place.path().join("a/f"), "12345").unwrap();
    symlink("/etc", place.path().join("a/b/link")).unwrap();
    let expected = TreeSize { files: 1, directories: 2, others: 1, bytes: 5 };
    assert_eq!(tree_size(place.path()), Ok(expected));
}
