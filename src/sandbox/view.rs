//! Builds the file system that a job sees, in a mount namespace of its own. Runs in the fresh, single-threaded process
//! of [`super::init`], as root; never in the server. What the view holds was decided by whoever made the job.

use super::identity;
use super::init::{Obstacle, during};
use crate::system::mounts::{self, Depth, Writing};
use crate::system::{Access, Bind, Identity, Job, Network, Privacy, View, network};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::umount;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, fstat, mkdirat};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

/// Where programs leave things for each other; private to the job together. Those that exist.
const SHARED_PLACES: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Leaves the machine's mounts and builds the job's.
///
/// Sources are opened before anything is covered, since they may lie below the cover or in /tmp.
pub fn build(job: &Job) -> Result<(), Obstacle> {
    let view = &job.view;
    if let Some(namespace) = &view.inside {
        return enter_namespace(namespace);
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC).map_err(during("leaving the machine's mounts"))?;
    mounts::keep_private().map_err(during("making mounts private"))?;
    if view.network == Network::None {
        network::leave().map_err(during("leaving the machine's network"))?;
    }
    let sources = view.binds.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;
    let names = view.identity.as_ref().map(|identity| open_identity(identity, job)).transpose()?;
    let mut ours = Vec::new();
    if view.tmp == Privacy::Private {
        for directory in SHARED_PLACES.map(Path::new).into_iter().filter(|path| path.is_dir()) {
            mount_own(directory, "mode=1777,size=50%", &mut ours)?;
        }
    }
    if let Some(cover) = &view.cover {
        make_below_own(cover, Kind::Directory, &ours)?;
        mount_own(cover, "mode=0755,size=1m", &mut ours)?;
    }
    for (bind, source) in view.binds.iter().zip(&sources) {
        put(bind, source, view.cover.as_deref(), &ours)?;
    }
    close_cover(view)?;
    for (file, target) in names.iter().flatten() {
        let target = mounts::pin(Path::new(target)).map_err(during(target))?;
        mounts::attach(file, target).map_err(during("naming the user"))?;
    }
    Ok(())
}

/// What another process sees, for looking at it.
fn enter_namespace(path: &Path) -> Result<(), Obstacle> {
    let opened = fs::File::open(path).map_err(during(path.display()))?;
    setns(opened, CloneFlags::CLONE_NEWNS).map_err(during("entering what a process sees"))
}

/// A bind's source, cloned and restricted but not attached.
struct Source {
    tree: OwnedFd,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

fn open_source(bind: &Bind) -> Result<Source, Obstacle> {
    let open = || {
        let place = mounts::pin(&bind.source)?;
        let kind = if mounts::is_directory(&place)? { Kind::Directory } else { Kind::File };
        let tree = mounts::clone_tree(&place)?;
        let writing = if bind.access == Access::ReadOnly { Writing::Refused } else { Writing::Allowed };
        mounts::restrict(&tree, writing, Depth::Below)?;
        Ok::<_, io::Error>(Source { tree, kind })
    };
    open().map_err(during(bind.source.display()))
}

fn put(bind: &Bind, source: &Source, cover: Option<&Path>, ours: &[u64]) -> Result<(), Obstacle> {
    make_below_own(&bind.target, source.kind, ours)?;
    let attach = || mounts::attach(&source.tree, pin_target(&bind.target, cover)?);
    attach().map_err(during(bind.target.display()))
}

/// Below the cover a target may lie in a tree that its user has filled: there no link is followed at all.
fn pin_target(target: &Path, cover: Option<&Path>) -> io::Result<OwnedFd> {
    match cover.and_then(|cover| Some((cover, target.strip_prefix(cover).ok()?))) {
        Some((cover, inside)) if !inside.as_os_str().is_empty() => {
            let stay = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH;
            let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(stay);
            match openat2(mounts::pin(cover)?, inside, how) {
                Err(Errno::ELOOP) => Err(io::Error::other("is or leads through a symbolic link")),
                other => Ok(other?),
            }
        }
        _ => mounts::pin(target),
    }
}

/// Mounts an empty file system and remembers its device number: only there may targets be made.
fn mount_own(path: &Path, options: &str, ours: &mut Vec<u64>) -> Result<(), Obstacle> {
    let mounted = || {
        mounts::mount_memory(path, options)?;
        Ok::<_, io::Error>(device(&mounts::pin(&fs::canonicalize(path)?)?)?)
    };
    ours.push(mounted().map_err(during(path.display()))?);
    Ok(())
}

fn close_cover(view: &View) -> Result<(), Obstacle> {
    let Some(cover) = &view.cover else { return Ok(()) };
    let close = || mounts::restrict(&mounts::pin(cover)?, Writing::Refused, Depth::This);
    close().map_err(during(cover.display()))
}

/// Makes what is missing of `path`, but only on file systems that this process has just mounted: elsewhere a missing
/// target is an error, and a symbolic link on the way is one everywhere below.
fn make_below_own(path: &Path, kind: Kind, ours: &[u64]) -> Result<(), Obstacle> {
    make(path, kind, ours).map_err(during(path.display()))
}

fn make(path: &Path, kind: Kind, ours: &[u64]) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let mut here = mounts::pin(Path::new("/"))?;
    let mut parts = path.components().filter_map(normal).peekable();
    while let Some(part) = parts.next() {
        let kind = if parts.peek().is_some() { Kind::Directory } else { kind };
        here = step(here, part, kind, ours)?;
    }
    Ok(())
}

fn normal(part: Component<'_>) -> Option<&OsStr> {
    match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }
}

fn step(here: OwnedFd, name: &OsStr, kind: Kind, ours: &[u64]) -> io::Result<OwnedFd> {
    let is_ours = ours.contains(&device(&here)?);
    match enter(&here, name, is_ours) {
        Err(Errno::ENOENT) if is_ours => match kind {
            Kind::Directory => {
                mkdirat(&here, name, Mode::from_bits_truncate(0o755))?;
                Ok(enter(&here, name, is_ours)?)
            }
            Kind::File => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                Ok(openat(&here, name, flags, Mode::from_bits_truncate(0o644))?)
            }
        },
        other => Ok(other?),
    }
}

/// One step down. The machine's own directories may have links (`/var/run`); ours have none.
fn enter(here: &OwnedFd, name: &OsStr, is_ours: bool) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    if !is_ours {
        return openat(here, name, flags, Mode::empty());
    }
    openat2(here, name, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS))
}

fn device(fd: &OwnedFd) -> nix::Result<u64> {
    Ok(fstat(fd)?.st_dev)
}

/// The two files of the user database, written to a file system in memory that nobody can name afterwards.
fn open_identity(identity: &Identity, job: &Job) -> Result<[(OwnedFd, &'static str); 2], Obstacle> {
    if !identity::is_plain(identity) {
        return Err(during("naming the user")(io::Error::other("name or home has a colon or a newline")));
    }
    let open = || {
        let machine = |path| fs::read_to_string(path).unwrap_or_default();
        let stage = Path::new("/tmp");
        mounts::mount_memory(stage, "mode=0755,size=8m")?;
        let file = |name: &str, text: String| {
            let path = stage.join(name);
            fs::write(&path, text)?;
            let tree = mounts::clone_tree(&mounts::pin(&path)?)?;
            mounts::restrict(&tree, Writing::Refused, Depth::This)?;
            Ok::<_, io::Error>(tree)
        };
        let passwd = file("passwd", identity::passwd(&machine("/etc/passwd"), identity, job.user))?;
        let group = file("group", identity::group(&machine("/etc/group"), identity, job.user))?;
        umount(stage)?;
        Ok([(passwd, "/etc/passwd"), (group, "/etc/group")])
    };
    open().map_err(during::<_, io::Error>("naming the user"))
}
