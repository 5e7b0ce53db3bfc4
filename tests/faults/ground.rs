//! What servers stand on: memory, small disks, disks that lose their power. Everything is taken away again when it is
//! dropped; what an interrupted run leaves lies below one directory, which `bin/faults` clears.

use super::children;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A place with a file system of its own.
pub struct Ground {
    directory: tempfile::TempDir,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Memory,
    Ext4,
    Xfs,
    /// An ext4 of few inodes.
    FewInodes,
}

impl Ground {
    /// `size` as mount and truncate take it. Seen by this thread and what it starts alone.
    pub fn new(kind: Kind, size: &str) -> Result<Self, String> {
        own_mounts()?;
        let directory = scratch("ground")?;
        let ground = Self { directory, kind };
        let point = ground.path();
        std::fs::create_dir(&point).map_err(|error| error.to_string())?;
        if kind != Kind::Memory {
            let image = ground.image();
            children::done("truncate", &["-s", size, &image])?;
            match kind {
                Kind::Xfs => children::done("mkfs.xfs", &["-q", &image])?,
                Kind::FewInodes => children::done("mkfs.ext4", &["-q", "-N", "700", &image])?,
                Kind::Ext4 | Kind::Memory => children::done("mkfs.ext4", &["-q", &image])?,
            };
        }
        ground.mount(size)?;
        super::machine::open_to_all(&point)?;
        Ok(ground)
    }

    fn image(&self) -> String {
        self.directory.path().join("image").display().to_string()
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("at")
    }

    fn mount(&self, size: &str) -> Result<(), String> {
        if self.kind != Kind::Memory {
            let options = if self.kind == Kind::Ext4 { "loop,errors=remount-ro" } else { "loop" };
            return children::done("mount", &["-o", options, &self.image(), &self.path().display().to_string()])
                .map(drop);
        }
        let options = format!("size={size},mode=711,nr_inodes=20k");
        mount(Some("tmpfs"), &self.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .map_err(|error| format!("mount a tmpfs: {error}"))
    }

    /// From this moment the disk takes nothing any more, and what it had not written is lost.
    pub fn cut_power(&self) -> Result<(), String> {
        let root = File::open(self.path()).map_err(|error| error.to_string())?;
        shut_down(root.as_raw_fd()).map_err(|error| format!("cut the power: {error}"))
    }

    /// Everything that used it is gone; it comes back as the disk has it.
    pub fn power_on(&self) -> Result<(), String> {
        self.unmount()?;
        self.released()?;
        self.mount("")
    }

    /// The file system notices an error of its disk, and becomes read-only.
    pub fn fail(&self) -> Result<(), String> {
        let point = self.path().display().to_string();
        let device = children::done("findmnt", &["-n", "-o", "SOURCE", &point])?;
        let name = Path::new(device.trim()).file_name().unwrap_or_default().to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error");
        std::fs::write(&trigger, "a test").map_err(|error| format!("{}: {error}", trigger.display()))
    }

    fn unmount(&self) -> Result<(), String> {
        unmount_below(&[&self.path()]);
        let mut last = String::new();
        let gone = children::until(Duration::from_secs(10), || match umount2(&self.path(), MntFlags::empty()) {
            Ok(()) => true,
            Err(error) => {
                last = error.to_string();
                false
            }
        });
        if gone { Ok(()) } else { Err(format!("cannot unmount {}: {last}", self.path().display())) }
    }

    /// No process has it in its mount table any more: otherwise what is mounted next is the same dead disk.
    fn released(&self) -> Result<(), String> {
        let image = self.image();
        let backs = |device: &PathBuf| {
            std::fs::read_to_string(device.join("loop/backing_file")).is_ok_and(|file| file.trim_end() == image)
        };
        let in_use =
            || children::names(Path::new("/sys/block")).iter().map(|n| Path::new("/sys/block").join(n)).find(backs);
        if children::until(Duration::from_secs(10), || in_use().is_none()) {
            return Ok(());
        }
        Err(format!("{image} is still mounted in the mount table of some process: no power cut can be shown"))
    }

    /// Writes until there is no room; the file that takes it.
    pub fn fill(&self) -> Result<PathBuf, String> {
        use std::io::Write;
        let ballast = self.path().join("ballast");
        let mut file = File::create(&ballast).map_err(|error| error.to_string())?;
        for size in [1 << 20, 64 << 10, 4 << 10, 512] {
            let block = vec![0u8; size];
            while file.write_all(&block).is_ok() {}
        }
        let _ = file.sync_all();
        Ok(ballast)
    }

    /// Makes empty files until there is no inode left; the directory that holds them.
    pub fn take_inodes(&self) -> Result<PathBuf, String> {
        let ballast = self.path().join("ballast");
        std::fs::create_dir(&ballast).map_err(|error| error.to_string())?;
        let mut at = 0;
        while File::create(ballast.join(at.to_string())).is_ok() {
            at += 1;
        }
        Ok(ballast)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("faults: {error}");
            let _ = umount2(&self.path(), MntFlags::MNT_DETACH);
        }
    }
}

/// Gives this thread a mount table of its own: no other server's views keep a file system of ours in use, and what is
/// mounted goes away with the thread, however it ends.
fn own_mounts() -> Result<(), String> {
    thread_local! { static DONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) }; }
    if DONE.replace(true) {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(|error| format!("unshare: {error}"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| format!("make mounts private: {error}"))
}

/// The mount table of this thread.
pub fn mount_table() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default()
}

/// Mount points below these, seen from here: views are in namespaces of their own.
pub fn mounts_below(roots: &[&Path]) -> Vec<PathBuf> {
    let table = mount_table();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| roots.iter().any(|root| point.starts_with(root) && point != root)).collect()
}

/// As a reboot ends mounts: what servers show on purpose outlives them.
pub fn unmount_below(roots: &[&Path]) {
    for point in mounts_below(roots).iter().rev() {
        children::until(Duration::from_secs(5), || umount2(point, MntFlags::empty()).is_ok());
    }
}

/// FS_IOC_SHUTDOWN, with what is in the journal's memory lost too.
fn shut_down(fd: i32) -> nix::Result<()> {
    /// `_IOR('X', 125, __u32)`: declared by the kernel as one that reads, although it writes.
    const SHUTDOWN: nix::libc::Ioctl = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    let flags = NO_LOG_FLUSH;
    // SAFETY: the kernel reads four bytes at the pointer, which lives until the call is over.
    nix::errno::Errno::result(unsafe { nix::libc::ioctl(fd, SHUTDOWN, &raw const flags) }).map(drop)
}

/// Everything of a run is below one directory, so that what is left of an interrupted one can be found.
pub fn scratch(name: &str) -> Result<tempfile::TempDir, String> {
    let top = std::env::var_os("COMMIS_FAULTS_SCRATCH").map_or(PathBuf::from("/tmp/commis-faults"), PathBuf::from);
    std::fs::create_dir_all(&top).map_err(|error| error.to_string())?;
    super::machine::open_to_all(&top)?;
    let made = tempfile::Builder::new().prefix(&format!("{name}-{}-", std::process::id())).tempdir_in(top);
    let made = made.map_err(|error| error.to_string())?;
    super::machine::open_to_all(made.path())?;
    Ok(made)
}

/// What a server calls itself in the names of its cgroups.
pub fn server_id(database: &Path) -> Option<String> {
    let database = rusqlite::Connection::open(database).ok()?;
    database.query_row("SELECT value FROM meta WHERE key = 'server_id'", [], |row| row.get(0)).ok()
}

/// Directories of a server in all hierarchies, its own tops first.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    let mounts = mount_table();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let (mut found, mut open): (Vec<PathBuf>, Vec<PathBuf>) = (Vec::new(), points.map(PathBuf::from).collect());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == format!("commis-{id}").as_str() {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// After the last life of a server that was killed. Groups of what just died are busy for a moment.
pub fn remove_cgroups(id: &str) {
    for top in cgroups(id) {
        let inside = children::below(&top).into_iter().filter(|path| path.is_dir());
        for group in inside.collect::<Vec<_>>().iter().rev().chain([&top]) {
            children::until(Duration::from_secs(2), || std::fs::remove_dir(group).is_ok() || !group.exists());
        }
    }
}
