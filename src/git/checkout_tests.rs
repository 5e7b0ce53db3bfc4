//! Pushed trees written out and compared, byte, mode and owner; places that are not fresh are left alone.

use super::*;
use crate::git::scratch::World;
use crate::git::{TreeLimits, open};
use crate::model::CommitId;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const OWNER: UserIds = UserIds { uid: 399_002, gid: 399_002 };

async fn pushed(world: &World) -> (CommitId, Tree) {
    let commit = world.commit("tree");
    world.pushed(&["main"]).await;
    let tree = open(&world.repository).unwrap().tree(&commit, &TreeLimits::default()).unwrap();
    (commit, tree)
}

#[tokio::test]
async fn a_tree_is_written_exactly() {
    let world = World::new().await;
    for index in 0..300 {
        world.file(&format!("deep/{}/er/file{index}", index % 7), &format!("content {index}\n"));
    }
    world.file("bin/run", "#!/bin/sh\n");
    world.file(".gitattributes", "* text=auto eol=crlf filter=x\n");
    fs::set_permissions(world.client.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../readme", world.client.join("bin/link")).unwrap();
    let (_, tree) = pushed(&world).await;
    let into = world.root().join("out");
    let stats = checkout(&world.repository, &tree, &into, OWNER, 2).unwrap();
    assert_eq!((stats.files, stats.symlinks, stats.directories), (303, 1, 16));
    for entry in &tree.entries {
        let (made, pushed) = (into.join(&entry.path), world.client.join(&entry.path));
        let metadata = fs::symlink_metadata(&made).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.len()), (OWNER.uid, OWNER.gid, entry.size));
        match &entry.kind {
            Kind::Symlink { target } => assert_eq!(fs::read_link(&made).unwrap().to_str().unwrap(), target),
            Kind::File { executable } => {
                assert_eq!(metadata.mode() & 0o7777, if *executable { 0o755 } else { 0o644 });
                assert_eq!(fs::read(&made).unwrap(), fs::read(&pushed).unwrap(), "{}", entry.path);
            }
        }
    }
    let directory = fs::metadata(into.join("deep/3/er")).unwrap();
    assert_eq!((directory.uid(), directory.mode() & 0o7777), (OWNER.uid, 0o755));
    assert_eq!(fs::metadata(&into).unwrap().uid(), OWNER.uid);
}

#[tokio::test]
async fn only_an_empty_directory_is_written_to() {
    let world = World::new().await;
    let (_, tree) = pushed(&world).await;
    let (full, linked) = (world.root().join("full"), world.root().join("linked"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "").unwrap();
    symlink(world.root().join("elsewhere"), &linked).unwrap();
    fs::create_dir(world.root().join("elsewhere")).unwrap();
    for place in [&full, &linked, &world.root().join("no/where")] {
        assert!(checkout(&world.repository, &tree, place, OWNER, 2).is_err(), "{}", place.display());
    }
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    assert_eq!(fs::read_dir(world.root().join("elsewhere")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_list_that_lies_cannot_write_outside() {
    let world = World::new().await;
    let (_, good) = pushed(&world).await;
    let mut out = 0;
    for path in ["../escaped", "a/../../escaped", "/tmp/commis-escaped"] {
        let mut tree = good.clone();
        tree.entries[0].path = path.into();
        out += 1;
        let failure =
            checkout(&world.repository, &tree, &world.root().join(format!("out{out}")), OWNER, 1).unwrap_err();
        assert_eq!(failure.code, Code::Internal, "{failure}");
    }
    assert!(!world.root().join("escaped").exists() && !Path::new("/tmp/commis-escaped").exists());
}

#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let world = World::new().await;
    world.file("big", &"x".repeat(600_000));
    let (_, tree) = pushed(&world).await;
    let small = world.root().join("small");
    fs::create_dir(&small).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &small, Some("tmpfs"), flags, Some("size=256k")).unwrap();
    let failure = checkout(&world.repository, &tree, &small, OWNER, 2);
    nix::mount::umount(&small).unwrap();
    assert_eq!(failure.unwrap_err().code, Code::DiskFull);
}

#[tokio::test]
#[ignore = "prints how long ten thousand files take; run it with --release"]
async fn ten_thousand_files() {
    let world = World::new().await;
    for index in 0..10_000 {
        world.file(&format!("d{}/f{index}", index / 100), &format!("{index}").repeat(2000));
    }
    let (_, tree) = pushed(&world).await;
    let started = std::time::Instant::now();
    let stats = checkout(&world.repository, &tree, &world.root().join("out"), OWNER, 2).unwrap();
    println!("{stats:?} in {:?}", started.elapsed());
}
