//! What the tests of this room share: trees made and seen, archives made by hand. The tests themselves are in the files
//! named here; those of pure files stand beside the code.
#![allow(clippy::disallowed_methods)]

mod bombs;
mod formats;
mod hostile;
mod limits;
mod packing;
mod repacking;
mod signing;

use super::manifest::{ManifestBase, seal_json};
use super::{Effort, Expect, Identity, Links, UnpackLimits, Unpacked, listing, unpack};
use crate::model::{CommitId, Failure, Mode, ProcessType, ProjectName, ReleaseVersion};
use crate::system::UserIds;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

pub fn base() -> ManifestBase {
    ManifestBase {
        project: ProjectName::parse("blog").unwrap(),
        version: ReleaseVersion(42),
        environment: Some("staging".into()),
        commit: CommitId::parse(&"3f".repeat(20)).unwrap(),
        pillar_commit: Some(CommitId::parse(&"ab".repeat(20)).unwrap()),
        mode: Mode::Cooking,
        buildpacks: vec![],
        processes: [(ProcessType::web(), "python app.py".to_owned())].into(),
    }
}

pub fn me() -> UserIds {
    UserIds { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
}

/// A tree with everything that a release may hold; `order` decides in which order it is made.
pub fn plant_tree(root: &Path, order: &mut dyn FnMut(usize) -> usize) {
    let long = format!("{}/{}", "d".repeat(120), "e".repeat(200));
    let mut files: Vec<(String, Vec<u8>, u32)> = vec![
        ("app.py".into(), b"print('hi')\n".to_vec(), 0o644),
        ("bin/start".into(), b"#!/bin/sh\n".to_vec(), 0o755),
        ("empty".into(), vec![], 0o600),
        ("naïve/ü ü.txt".into(), "ü".repeat(1_000).into_bytes(), 0o640),
        ("many/-dash".into(), b"-".to_vec(), 0o644),
        (format!("{long}/f"), b"deep".to_vec(), 0o755),
        ("large.bin".into(), (0..9_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect(), 0o644),
    ];
    files.extend((0..200).map(|at| (format!("many/{at}"), vec![b'x'; at * 37], 0o644)));
    while !files.is_empty() {
        let (name, content, mode) = files.swap_remove(order(files.len()));
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(root.join("kept/empty directory")).unwrap();
    symlink("/usr/bin/python3", root.join("bin/python3")).unwrap();
    symlink("../app.py", root.join("bin/app")).unwrap();
    symlink(format!("nowhere/{}", "t".repeat(150)), root.join("dangling")).unwrap();
    fs::hard_link(root.join("app.py"), root.join("many/hard")).unwrap();
}

/// Path → what it is, as the person who pushed it would compare.
pub fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let (path, data) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            let what = if data.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if data.is_dir() {
                todo.push(path.clone());
                "directory".into()
            } else {
                let sum = crate::model::words::hex(&Sha256::digest(fs::read(&path).unwrap()).0);
                format!("{} {sum}", if data.mode() & 0o100 != 0 { "program" } else { "file" })
            };
            all.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), what);
        }
    }
    all
}

/// A tar made by hand: anything can be put into it.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// The start of every release: its head and `tree/`.
    pub fn release() -> Self {
        Tar::default().file("commis-release.json", &base().to_json()).entry(
            b"tree",
            tar::EntryType::Directory,
            |_| {},
            b"",
        )
    }

    pub fn entry(
        mut self,
        name: &[u8],
        kind: tar::EntryType,
        change: impl FnOnce(&mut tar::Header),
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name.as_bytes(), tar::EntryType::Regular, |_| {}, content)
    }

    pub fn directory(self, name: &str) -> Self {
        self.entry(name.as_bytes(), tar::EntryType::Directory, |_| {}, b"")
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.linking(name, target, tar::EntryType::Symlink)
    }

    pub fn linking(self, name: &str, target: &str, kind: tar::EntryType) -> Self {
        let set = |header: &mut tar::Header| {
            header.as_ustar_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_mode(0o777);
        };
        self.entry(name.as_bytes(), kind, set, b"")
    }

    /// As an older commis wrote it: no list of files.
    pub fn of_format_1(sum: &listing::TreeSum, fill: impl FnOnce(Tar) -> Tar) -> Self {
        let old = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replacen("\"format\": 2", "\"format\": 1", 1).into_bytes()
        };
        let head = old(ManifestBase { environment: None, ..base() }.to_json());
        let tar = fill(Tar::default().file("commis-release.json", &head).directory("tree"));
        let mut tar = tar.file("commis-tree.json", &old(seal_json(sum)));
        tar.0.extend_from_slice(&[0; 1024]);
        tar
    }

    /// Ends with a seal that names whatever sum was found to be right: the header rules must refuse by themselves.
    pub fn sealed(self, sum: &listing::TreeSum) -> Self {
        let mut tar = self.file("commis-files.txt", b"").file("commis-tree.json", &seal_json(sum));
        tar.0.extend_from_slice(&[0; 1024]);
        tar
    }

    pub fn compressed(&self) -> Vec<u8> {
        self.0.chunks(4 << 20).flat_map(|chunk| zstd::bulk::compress(chunk, 3).unwrap()).collect()
    }
}

pub fn no_sum() -> listing::TreeSum {
    listing::Listing::default().finish()
}

/// Unpacks bytes whose checksum is right, beside a sentinel that must not change, and sees that a refusal leaves nothing.
pub fn unpack_bytes(bytes: &[u8], limits: UnpackLimits, links: Links) -> Result<Unpacked, Failure> {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("ESC")).unwrap();
    fs::write(place.path().join("ESC/target"), "untouched").unwrap();
    let archive = place.path().join("blog-v42-3f9c2e1.tar.zst");
    fs::write(&archive, bytes).unwrap();
    let expect = Expect { sha256: crate::model::words::hex(&Sha256::digest(bytes).0), limits };
    let before = seen(place.path());
    let into = place.path().join("deployed");
    let unpacked = unpack(&archive, &expect, &into, me(), links);
    if unpacked.is_err() {
        assert_eq!(seen(place.path()), before, "something was left behind, or outside was touched");
    }
    unpacked
}
