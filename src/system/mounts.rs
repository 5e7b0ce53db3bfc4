//! Mounts by file descriptor: a source is opened and cloned first and attached later, so that no name can be swapped in
//! between and the source may even be covered meanwhile. The kernel calls that `nix` does not have stand here.

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOVE_MOUNT_FROM_EMPTY: libc::c_uint = 0x04;
const MOVE_MOUNT_TO_EMPTY: libc::c_uint = 0x40;
const ATTR_READ_ONLY: u64 = 0x01;
const ATTR_NO_SUID: u64 = 0x02;
const ATTR_NO_DEVICES: u64 = 0x04;
const AT_RECURSIVE: libc::c_int = 0x8000;

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// What an attached mount allows; set-uid and devices never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    Allowed,
    Refused,
}

/// Whether the mounts below a mount are meant as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    This,
    Below,
}

/// Names a place without following a symbolic link in its last part.
pub fn pin(path: &Path) -> io::Result<OwnedFd> {
    let fd = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    if is_kind(&fd, SFlag::S_IFLNK)? {
        return Err(io::Error::other("is a symbolic link"));
    }
    Ok(fd)
}

/// Whether what `fd` names is a directory.
pub fn is_directory(fd: &OwnedFd) -> io::Result<bool> {
    is_kind(fd, SFlag::S_IFDIR)
}

/// A detached copy of the mounts at and below `place`.
pub fn clone_tree(place: &OwnedFd) -> io::Result<OwnedFd> {
    clone(place, AT_RECURSIVE)
}

fn clone(place: &OwnedFd, depth: libc::c_int) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | (depth | libc::AT_EMPTY_PATH) as libc::c_uint;
    // SAFETY: open_tree takes a descriptor, a C string and flags, and gives a new descriptor that nobody else owns.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) };
    let fd = checked(fd)?;
    // SAFETY: see above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A detached copy of one mount, without those below it: keeps its file system while the mount itself is taken away.
pub fn clone_mount(place: &OwnedFd) -> io::Result<OwnedFd> {
    clone(place, 0)
}

/// What is mounted or unmounted below a mount is not told to other namespaces, nor theirs here.
pub fn make_private(tree: &OwnedFd) -> io::Result<()> {
    set(tree, MountAttributes { set: 0, clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 }, Depth::This)
}

/// Takes set-uid, devices and, if asked, writing from a mount.
pub fn restrict(tree: &OwnedFd, writing: Writing, depth: Depth) -> io::Result<()> {
    let read_only = if writing == Writing::Refused { ATTR_READ_ONLY } else { 0 };
    let set_bits = ATTR_NO_SUID | ATTR_NO_DEVICES | read_only;
    set(tree, MountAttributes { set: set_bits, clear: 0, propagation: 0, user_namespace: 0 }, depth)
}

fn set(tree: &OwnedFd, attributes: MountAttributes, depth: Depth) -> io::Result<()> {
    let recursive = if depth == Depth::Below { AT_RECURSIVE } else { 0 };
    // SAFETY: the structure is of the size told and outlives the call; the string is a C string.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    checked(done).map(drop)
}

/// Puts a detached tree on the place that `target` names.
pub fn attach(tree: &OwnedFd, target: impl AsFd) -> io::Result<()> {
    let empty: &CStr = c"";
    let (from, to) = (tree.as_raw_fd(), target.as_fd().as_raw_fd());
    let flags = MOVE_MOUNT_FROM_EMPTY | MOVE_MOUNT_TO_EMPTY;
    // SAFETY: two descriptors that are open during the call, two C strings, flags.
    let done = unsafe { libc::syscall(libc::SYS_move_mount, from, empty.as_ptr(), to, empty.as_ptr(), flags) };
    checked(done).map(drop)
}

/// Takes the mount on top of `name`, a directory of `above`, away: never lazily, so that nothing uses it afterwards.
pub fn detach(above: &OwnedFd, name: &Path) -> io::Result<()> {
    let path = Path::new("/proc/self/fd").join(above.as_raw_fd().to_string()).join(name);
    umount2(&path, MntFlags::UMOUNT_NOFOLLOW)?;
    Ok(())
}

/// An empty file system in memory: no set-uid, no devices. `options` as for mount(8): `mode=0755,size=1m`.
pub fn mount_memory(path: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))?;
    Ok(())
}

/// Nothing mounted from now on is seen by other namespaces, nor theirs here.
pub fn keep_private() -> io::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    Ok(())
}

fn is_kind(fd: &OwnedFd, kind: SFlag) -> io::Result<bool> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT == kind)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
