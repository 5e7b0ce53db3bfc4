//! What trees take on the disk, as `du` would say: blocks, hard links once, and never through a mount or a link.

use crate::model::Failure;
use crate::system::descent::{self, Onward};
use crate::system::files::FileError;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, lstat};
use std::collections::HashSet;
use std::path::Path;

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// What is there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// On the disk, directories included; holes are not.
    pub bytes: u64,
    /// Files, directories, links: what takes an inode.
    pub inodes: u64,
}

impl Usage {
    pub fn plus(self, other: Usage) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes.saturating_add(other.inodes) }
    }
}

/// Measures several trees; what has names in two of them counts in the first.
#[derive(Default)]
pub struct Meter {
    seen: HashSet<(u64, u64)>,
}

impl Meter {
    /// A tree that is not there takes nothing.
    pub fn measure(&mut self, top: &Path) -> Result<Usage, Failure> {
        let mut usage = Usage::default();
        match lstat(top) {
            Err(Errno::ENOENT) => return Ok(usage),
            Err(error) => return Err(FileError::new("look at", top, error).into()),
            Ok(found) if !is_directory(&found) => {
                self.add(&found, &mut usage);
                return Ok(usage);
            }
            Ok(_) => {}
        }
        let mut device = None;
        descent::descend(top, &mut |entry| {
            let Some(found) = entry.look()? else { return Ok(Onward::Past) };
            let is_directory = is_directory(&found);
            let first = *device.get_or_insert(found.st_dev);
            // Another file system; a mount of the same one is noticed at its door.
            if is_directory && first != found.st_dev && !is_btrfs_below(&found) {
                return Ok(Onward::Past);
            }
            self.add(&found, &mut usage);
            Ok(if is_directory { Onward::Into } else { Onward::Past })
        })?;
        Ok(usage)
    }

    fn add(&mut self, found: &FileStat, usage: &mut Usage) {
        if found.st_nlink > 1 && !self.seen.insert((found.st_dev, found.st_ino)) {
            return;
        }
        *usage = usage.plus(Usage { bytes: (found.st_blocks.max(0) as u64).saturating_mul(BLOCK), inodes: 1 });
    }
}

fn is_directory(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// A subvolume has a device number of its own and is no mount; whether it is one is found out when it is opened.
fn is_btrfs_below(found: &FileStat) -> bool {
    found.st_ino == 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount, umount};
    use std::fs;

    #[test]
    fn hard_links_count_once_and_mounts_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for directory in ["tree/d", "other", "elsewhere"] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        fs::write(path("tree/file"), vec![1; 1_000_000]).unwrap();
        fs::write(path("elsewhere/file"), vec![1; 5_000_000]).unwrap();
        fs::hard_link(path("tree/file"), path("tree/again")).unwrap();
        fs::hard_link(path("tree/file"), path("other/again")).unwrap();
        std::os::unix::fs::symlink(path("elsewhere/file"), path("tree/link")).unwrap();
        let alone = Meter::default().measure(&path("other")).unwrap();
        mount(Some(&path("elsewhere")), &path("tree/d"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let mut meter = Meter::default();
        let (tree, other) = (meter.measure(&path("tree")), meter.measure(&path("other")));
        umount(&path("tree/d")).unwrap();
        let (tree, other) = (tree.unwrap(), other.unwrap());
        assert!((1_000_000..1_100_000).contains(&tree.bytes), "{tree:?}");
        assert!(other.bytes < 100_000 && alone.bytes >= 1_000_000, "known-bad: alone it counts");
        assert!(Meter::default().measure(&path("elsewhere/file")).unwrap().bytes >= 5_000_000, "a file by itself");
        assert_eq!(meter.measure(&path("absent")).unwrap(), Usage::default());
    }
}
