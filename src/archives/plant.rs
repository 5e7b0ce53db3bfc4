//! Creating the files of a release by descriptors: every name is made new (never opened if it is there), nothing is looked
//! up through a link, and modes and owners are ours, not the archive's. What is planted where is `unpack`'s decision.

use super::contents::Sums;
use super::listing::Exec;
use super::unpack::Links;
use crate::model::Failure;
use crate::system::UserIds;
use crate::trees::faults::{machine, refused};
use crate::trees::names;
use crate::trees::walk;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};
use sha2::{Digest, Sha256};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};

/// Threads that create files.
const PLANTERS: usize = 2;
/// Files handed over at once; each may hold a directory open.
const BATCH: usize = 32;

/// Mode of every directory of a release.
const DIRECTORY: u32 = 0o755;

/// A directory that is being filled.
pub enum Place {
    Directory(OwnedFd),
    /// The archive is only looked at: files are read and summed up, and nothing is made.
    Nowhere,
}

/// A file whose content is there.
pub struct Job {
    /// Of its sum among all files.
    pub index: usize,
    pub parent: Arc<Place>,
    /// From the root of the tree.
    pub path: String,
    pub exec: Exec,
    pub data: Arc<Vec<u8>>,
    pub range: Range<usize>,
}

/// Threads at work.
pub struct Planters<'scope> {
    jobs: SyncSender<Vec<Job>>,
    batch: Vec<Job>,
    threads: Vec<ScopedJoinHandle<'scope, Result<Sums, Failure>>>,
}

impl<'scope> Planters<'scope> {
    pub fn start(scope: &'scope Scope<'scope, '_>, owner: UserIds) -> Self {
        let (jobs, jobs_in) = sync_channel::<Vec<Job>>(PLANTERS);
        let jobs_in = Arc::new(Mutex::new(jobs_in));
        let start = |_| {
            let jobs_in = jobs_in.clone();
            scope.spawn(move || work(&jobs_in, owner))
        };
        Self { jobs, batch: Vec::with_capacity(BATCH), threads: (0..PLANTERS).map(start).collect() }
    }

    pub fn give(&mut self, job: Job) -> Result<(), Failure> {
        self.batch.push(job);
        if self.batch.len() < BATCH { Ok(()) } else { self.hand_over() }
    }

    /// Waits for all files; the sums of those given to [`Self::give`], in no order.
    pub fn finish(mut self) -> Result<Sums, Failure> {
        let handed = self.hand_over();
        drop(self.jobs);
        let mut sums = Vec::new();
        for thread in self.threads {
            sums.append(&mut thread.join().unwrap_or_else(|_| Err(stopped()))?);
        }
        handed.map(|()| sums)
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if batch.is_empty() { Ok(()) } else { self.jobs.send(batch).map_err(|_| stopped()) }
    }
}

fn stopped() -> Failure {
    Failure::new(crate::model::Code::Internal, "unpacking stopped")
}

fn work(jobs: &Mutex<Receiver<Vec<Job>>>, owner: UserIds) -> Result<Sums, Failure> {
    let mut sums = Vec::new();
    loop {
        let next = jobs.lock().map_err(|_| stopped())?.recv();
        let Ok(batch) = next else { return Ok(sums) };
        for job in batch {
            let content = job.data.get(job.range.clone()).unwrap_or_default();
            if let Place::Directory(parent) = job.parent.as_ref() {
                let mut file = create(parent, &job.path, job.exec)?;
                file.write_all(content).map_err(|error| machine(format!("write {}", job.path), error))?;
                finish(&file, job.exec, owner).map_err(|error| machine(format!("write {}", job.path), error))?;
            }
            sums.push((job.index, Sha256::digest(content).0));
        }
    }
}

/// A new, empty file, with the mode it is to have where nothing takes bits of it away. Nobody else can reach it yet: the
/// tree grows in a directory that is closed.
pub fn create(parent: &OwnedFd, path: &str, exec: Exec) -> Result<File, Failure> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(parent, names::split(path).1, flags, Mode::from_bits_truncate(exec.mode()));
    made.map(File::from).map_err(|error| machine(format!("create {path}"), error))
}

/// Gives a written file its mode and owner.
pub fn finish(file: &File, exec: Exec, owner: UserIds) -> nix::Result<()> {
    own(file, exec.mode(), owner)
}

/// Mode and owner, whatever umask, set-group-id and access lists of the directories above made of them. Nearly all are right
/// from the start, and looking writes nothing.
fn own(file: &impl AsFd, mode: u32, owner: UserIds) -> nix::Result<()> {
    let found = fstat(file)?;
    let owned = (found.st_uid, found.st_gid) == (owner.uid, owner.gid);
    if !owned {
        fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    }
    // A new owner takes bits away.
    if owned && found.st_mode & 0o7777 == mode { Ok(()) } else { fchmod(file, Mode::from_bits_truncate(mode)) }
}

/// A new directory, open.
pub fn directory(parent: &Place, path: &str, owner: UserIds) -> Result<Place, Failure> {
    let Place::Directory(parent) = parent else { return Ok(Place::Nowhere) };
    let during = |error: Errno| machine(format!("create {path}"), error);
    let name = CString::new(names::split(path).1).map_err(|_| refused("a name holds a zero byte"))?;
    mkdirat(parent, name.as_c_str(), Mode::from_bits_truncate(DIRECTORY)).map_err(during)?;
    let made = walk::open_below(parent.as_fd(), &name, OFlag::O_DIRECTORY).map_err(during)?;
    own_directory(&made, owner).map_err(during)?;
    Ok(Place::Directory(made))
}

/// The mode and owner of every directory of a release.
pub fn own_directory(directory: &OwnedFd, owner: UserIds) -> nix::Result<()> {
    own(directory, DIRECTORY, owner)
}

/// The links of a release, after everything else is there: nothing was ever written through one.
pub fn links(root: &OwnedFd, all: &[(&str, &str)], owner: UserIds, policy: Links) -> Result<(), Failure> {
    for (path, target) in all {
        let during = |error: Errno| machine(format!("link {path}"), error);
        let (above, name) = names::split(path);
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let above = if above.is_empty() { "." } else { above };
        let parent = openat2(root, above, OpenHow::new().flags(flags).resolve(resolve)).map_err(during)?;
        symlinkat(*target, &parent, name).map_err(during)?;
        let ids = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        fchownat(&parent, name, ids.0, ids.1, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(during)?;
    }
    match policy {
        // `destinations` has judged those that may lead out.
        Links::AsBuilt | Links::Portable => Ok(()),
        Links::InsideOnly => all.iter().try_for_each(|(path, _)| leads_inside(root, path)),
    }
}

/// Asks the kernel, which knows links in the middle of a target. A target that is not there leads nowhere.
fn leads_inside(root: &OwnedFd, path: &str) -> Result<(), Failure> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    for _ in 0..100 {
        match openat2(root, path, OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve)) {
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            // A rename somewhere on the machine while `..` was resolved: ask again.
            Err(Errno::EAGAIN) => {}
            Err(Errno::ELOOP) => return Err(refused(format!("the link {path} leads in a circle"))),
            Err(Errno::EXDEV) => return Err(refused(format!("the link {path} leads out of the tree"))),
            Err(error) => return Err(machine(format!("check the link {path}"), error)),
        }
    }
    Err(refused(format!("the link {path} could not be checked")))
}
