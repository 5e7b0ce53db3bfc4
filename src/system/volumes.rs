//! The file system that a place lies on: how large, how full, on what device, and the calls that make a loop device
//! larger. What is done about it is decided in `storage`.

use super::files::FileError;
use super::mount_table::{self, Mounted};
use crate::model::{Code, Failure};
use nix::fcntl::{FallocateFlags, OFlag, fallocate, open};
use nix::libc;
use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// From `linux/loop.h`: the device looks again how large its file is.
const LOOP_SET_CAPACITY: libc::c_ulong = 0x4C07;
/// The inode of the root of every btrfs subvolume.
const SUBVOLUME_ROOT: u64 = 256;

/// What a place lies on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    pub mounted: Mounted,
    pub space: Space,
    pub device: Device,
}

/// Bytes, and names for files; reserves of root are not counted as free.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Space {
    pub size: u64,
    pub free: u64,
    /// File systems that make inodes as they need them (btrfs) have `None`.
    pub free_inodes: Option<u64>,
}

/// Under a file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Device {
    /// A loop device: its file and how large that is.
    Loop { device: PathBuf, file: PathBuf, bytes: u64 },
    /// A disk, a network, memory: nothing that we can enlarge.
    Other,
}

/// The file system of a place, which must be there.
pub fn of(path: &Path) -> Result<Volume, Failure> {
    let table = mount_table::read()?;
    let path = path.canonicalize().map_err(|error| FileError::new("look at", path, error))?;
    let mounted = mount_table::holding(&table, &path).cloned();
    let nowhere = || Failure::new(Code::Internal, format!("{} lies on no mount", path.display()));
    let mounted = mounted.ok_or_else(nowhere)?;
    let device = loop_device(&mounted.source).unwrap_or(Device::Other);
    Ok(Volume { space: space(&path)?, mounted, device })
}

/// What is free where a path lies.
pub fn space(path: &Path) -> Result<Space, FileError> {
    let found = nix::sys::statvfs::statvfs(path);
    let found = found.map_err(|error| FileError::new("ask for the free space of", path, error))?;
    let free_inodes = (found.files() > 0).then(|| found.files_available());
    let unit = found.fragment_size();
    Ok(Space { size: found.blocks() * unit, free: found.blocks_available() * unit, free_inodes })
}

fn loop_device(source: &Path) -> Option<Device> {
    let name = source.strip_prefix("/dev").ok()?.to_str()?;
    if !name.starts_with("loop") || name.contains('/') {
        return None;
    }
    let told = std::fs::read_to_string(Path::new("/sys/block").join(name).join("loop/backing_file")).ok()?;
    let file = PathBuf::from(told.trim_end_matches('\n'));
    // A file that was removed ends in " (deleted)" and is not found.
    let bytes = std::fs::symlink_metadata(&file).ok().filter(|data| data.is_file())?.len();
    Some(Device::Loop { device: source.to_owned(), file, bytes })
}

/// Whether the directory can have a limit of its own on btrfs.
pub fn is_subvolume(volume: &Volume, path: &Path) -> bool {
    volume.mounted.kind == "btrfs" && super::reading::inode(path).is_ok_and(|inode| inode == SUBVOLUME_ROOT)
}

/// Whether files can be copied from one directory to the other without taking room: tried with two files that never
/// have a name.
pub fn shares_blocks(from: &Path, to: &Path) -> bool {
    let try_it = || -> io::Result<()> {
        let (source, target) = (nameless(from)?, nameless(to)?);
        nix::unistd::write(&source, &[1; 4096])?;
        super::reflink::reflink(&source, &target)
    };
    try_it().is_ok()
}

fn nameless(directory: &Path) -> nix::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    open(directory, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
}

/// The file is made larger with its space reserved, durably, and then the device looks at it again. Done again after
/// a crash, it does the same.
pub(super) fn grow_loop(device: &Path, file: &Path, to: u64) -> Result<(), FileError> {
    let during = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| FileError::new("enlarge", &path, error)
    };
    let mut options = OpenOptions::new();
    let opened = std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), libc::O_NOFOLLOW);
    let backing = opened.open(file).map_err(during(file))?;
    let now = backing.metadata().map_err(during(file))?.len();
    if now < to {
        let (start, length) = (now as libc::off_t, (to - now) as libc::off_t);
        fallocate(&backing, FallocateFlags::empty(), start, length).map_err(|error| during(file)(error.into()))?;
    }
    backing.sync_all().map_err(during(file))?;
    let loops = OpenOptions::new().read(true).write(true).open(device).map_err(during(device))?;
    // SAFETY: the request takes no argument; the descriptor is open during the call.
    let done = unsafe { libc::ioctl(loops.as_raw_fd(), LOOP_SET_CAPACITY, 0) };
    if done < 0 { Err(during(device)(io::Error::last_os_error())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_on_something_and_a_disk_is_no_loop_device() {
        let volume = of(Path::new("/proc/self")).unwrap();
        assert_eq!((volume.mounted.kind.as_str(), volume.device), ("proc", Device::Other));
        let place = tempfile::tempdir().unwrap();
        let space = space(place.path()).unwrap();
        assert!(space.size >= space.free && space.free > 0);
        assert_eq!(loop_device(Path::new("/dev/../loop0")), None);
    }
}
