//! What a directory holds, in one value that two looks can be compared by; and mounts that come down with their test.

use nix::mount::{MsFlags, mount, umount};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names, kinds, owners, modes and contents of everything below, as hex.
pub fn tree(top: &Path) -> String {
    let mut digest = Sha256::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let data = std::fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let below = path.strip_prefix(top).expect("below the top").display().to_string();
        digest.update(format!("{below}\0{:o}\0{}\0{}\0", data.mode(), data.uid(), data.gid()));
        if data.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path());
            let mut entries: Vec<PathBuf> = entries.collect();
            entries.sort();
            waiting.extend(entries);
        } else if data.is_file() {
            digest.update(std::fs::read(&path).expect("a file"));
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory of precious things, bound at other places until it is dropped.
pub struct Precious {
    pub at: PathBuf,
    points: Vec<PathBuf>,
}

impl Precious {
    pub fn in_directory(at: PathBuf) -> Self {
        std::fs::create_dir_all(at.join("deep/er")).expect("a directory");
        std::fs::write(at.join("deep/er/file"), "cannot be made again").expect("a file");
        std::fs::write(at.join("file"), vec![7; 100_000]).expect("a file");
        Self { at, points: Vec::new() }
    }

    /// On the same file system, so that no number of a device tells.
    pub fn bind_at(&mut self, point: &Path) {
        std::fs::create_dir_all(point).expect("a mount point");
        mount(Some(&self.at), point, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a bind mount");
        let device = |path: &Path| std::fs::metadata(path.parent().expect("a parent")).map(|data| data.dev()).ok();
        assert_eq!(device(point), device(&self.at), "known-bad: another device would be easy to see");
        self.points.push(point.to_owned());
    }

    /// Takes every mount below this path away, wherever it was moved to with the directory it is in.
    pub fn unbind_below(&mut self, root: &Path) {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(&root)).collect();
        points.sort();
        points.iter().rev().for_each(|point| umount(point).expect("a mount to take away"));
        self.points.clear();
    }
}

impl Drop for Precious {
    fn drop(&mut self) {
        for point in &self.points {
            let _ = umount(point);
        }
    }
}
