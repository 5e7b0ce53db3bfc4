//! Real file systems in files, for what only some of them can do.

use nix::libc;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `_IOWR('f', 11, struct fiemap)`
const FIEMAP: libc::c_ulong = 0xC020_660B;
const SYNC_FIRST: u32 = 1;
const SHARED: u32 = 0x2000;

/// A file system that is there until it is dropped.
pub struct Volume {
    pub at: PathBuf,
}

impl Volume {
    /// `kind`: btrfs, xfs or tmpfs. `None`: who tests may not mount.
    pub fn mounted(kind: &str, at: &Path, megabytes: u64) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        std::fs::create_dir_all(at).unwrap();
        let image = at.with_extension("img");
        if kind == "tmpfs" {
            done(
                Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "commis-test"]).arg(at),
            );
            return Some(Self { at: at.to_owned() });
        }
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let options: &[&str] = if kind == "xfs" { &["-m", "reflink=1"] } else { &[] };
        done(Command::new(format!("mkfs.{kind}")).arg("-q").args(options).arg(&image));
        done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at));
        Some(Self { at: at.to_owned() })
    }

    /// Whether the first blocks of a file are those of another one too.
    pub fn is_shared(&self, path: &Path) -> bool {
        // Start, length, flags, extents mapped, extents there is room for, reserved; then one extent: three numbers, two
        // reserved, its flags.
        let mut map = [0u32; 8 + 14];
        (map[2], map[3], map[4], map[6]) = (u32::MAX, u32::MAX >> 1, SYNC_FIRST, 1);
        let file = File::open(path).unwrap();
        // SAFETY: the buffer has room for the head and the one extent that it asks for.
        let asked = unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP, map.as_mut_ptr()) };
        assert!(asked == 0 && map[5] == 1, "{}: {:?}", path.display(), std::io::Error::last_os_error());
        map[8 + 10] & SHARED != 0
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        done(Command::new("umount").arg(&self.at));
    }
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
