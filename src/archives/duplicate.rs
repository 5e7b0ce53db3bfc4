//! A directory becomes another one just like it: content, names, owners, modes, times, links. What is new is always made
//! new; nothing is written through a name that somebody else could have put there. What to copy is the caller's to say.

use super::content::{BUFFER, Copied, Copier, Sums};
use super::exclude::Exclude;
use super::faults::machine;
use super::inventory::{Content, Entry, Inventory, Item, Moment, Source, Traits};
use super::known::Known;
use super::names;
use super::tour::{Passed, Place, Visitor, tour, vanished};
use super::traits::{give, of_stat, openings, retouch};
use super::walk;
use crate::model::{Code, Failure};
use crate::system::UserIds;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{linkat, symlinkat};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// Threads that copy.
const COPIERS: usize = 2;
/// Files that wait for one of them; each holds two descriptors.
const WAITING: usize = 64;

/// How a directory is copied.
pub struct Manner<'a> {
    pub exclude: &'a Exclude,
    /// Whose files have several names by right; `None`: anybody's.
    pub owner: Option<UserIds>,
    /// What an earlier copy holds: files that did not change become one more name of those there.
    pub known: Option<&'a Known>,
    /// Before this nothing of the source was changed without its time saying so.
    pub settled: Option<Moment>,
    pub sums: Sums,
}

/// What was copied.
#[derive(Debug, Default)]
pub struct Duplicate {
    pub inventory: Inventory,
    /// What was not copied although nobody asked to leave it out.
    pub passed: Vec<(String, Passed)>,
    /// Bytes of content, whether copied or known.
    pub bytes: u64,
}

/// Copies what is in `source` into `target`, an empty directory, or one that holds nothing but directories and what is
/// not copied anyway. Owner, mode and time of `source` itself go with it.
///
/// # Errors
/// `DiskFull`, `Refused` for a tree that is too deep, `Internal`.
pub fn duplicate(source: &Path, target: &Path, manner: &Manner<'_>) -> Result<Duplicate, Failure> {
    let (root, top) = (walk::open_directory(source)?, walk::open_directory(target)?);
    let failed = |error: Errno| machine(format!("copy {}", source.display()), error);
    let own = of_stat(&fstat(&root).map_err(failed)?);
    let copier = Copier::new(manner.sums);
    let (jobs, jobs_in) = sync_channel::<Job>(WAITING);
    let jobs_in = Arc::new(Mutex::new(jobs_in));
    std::thread::scope(|scope| {
        let start = |_| {
            let (jobs, copier) = (Arc::clone(&jobs_in), &copier);
            scope.spawn(move || work(&jobs, copier))
        };
        let threads: Vec<_> = (0..COPIERS).map(start).collect();
        // Only the copiers hold it: when they are gone, nothing more can be sent.
        drop(jobs_in);
        let stack = vec![Arc::new(top.as_fd().try_clone_to_owned().map_err(|error| machine("copy", error))?)];
        let mut visit =
            Copying { manner, jobs, stack, named: HashMap::new(), names: Vec::new(), done: Duplicate::default() };
        visit.done.inventory.entries.push(Entry { path: b".".to_vec(), item: Item::Directory(own) });
        let toured = tour(root, manner.exclude, &mut visit);
        let Copying { jobs, names, mut done, .. } = visit;
        drop(jobs);
        let mut first = Ok(());
        for thread in threads {
            let sums = thread.join().unwrap_or_else(|_| Err(Failure::new(Code::Internal, "copying stopped")));
            first = first.and(sums.map(|sums| sums.into_iter().for_each(|sum| note(&mut done.inventory, sum))));
        }
        // What a copier met is the cause of what its end did to the tour.
        first.and(toured)?;
        finish(&top, &names, &done.inventory)?;
        done.inventory.excluded = manner.exclude.patterns().to_vec();
        Ok(done)
    })
}

/// Index of an entry, and what was copied of it.
type Sum = (usize, Copied);

struct Job {
    index: usize,
    source: File,
    size: u64,
    parent: Arc<OwnedFd>,
    name: CString,
    traits: Traits,
    /// For messages.
    path: String,
}

fn work(jobs: &Mutex<Receiver<Job>>, copier: &Copier) -> Result<Vec<Sum>, Failure> {
    let mut buffer = vec![0; BUFFER];
    let mut sums = Vec::new();
    loop {
        let next = jobs.lock().map_err(|_| Failure::new(Code::Internal, "copying stopped"))?.recv();
        let Ok(job) = next else { return Ok(sums) };
        let failed = |error: std::io::Error| machine(format!("copy {}", job.path), error);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let target = openat(&job.parent, job.name.as_c_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let target = File::from(target.map_err(|error| failed(error.into()))?);
        let sum = copier.copy(&job.source, &target, job.size, &mut buffer).map_err(failed)?;
        give(target.as_fd(), &job.traits).map_err(|error| failed(error.into()))?;
        sums.push((job.index, sum));
    }
}

fn note(inventory: &mut Inventory, (index, copied): Sum) {
    if let Some(Entry { item: Item::File(_, content), .. }) = inventory.entries.get_mut(index) {
        content.size = copied.size;
        content.sum = copied.sum;
    }
}

/// Names of files that have several, then directories from the inside out, so that their times stay.
fn finish(top: &OwnedFd, names: &[(Vec<u8>, Vec<u8>)], inventory: &Inventory) -> Result<(), Failure> {
    for (path, of) in names {
        let ((from, old), (to, new)) = (openings(top, of)?, openings(top, path)?);
        linkat(&from, old.as_c_str(), &to, new.as_c_str(), AtFlags::empty())
            .map_err(|error| machine(format!("link {}", names::escape(path)), error))?;
    }
    inventory.entries.iter().rev().try_for_each(|entry| match &entry.item {
        Item::Directory(traits) => retouch(top, &entry.path, traits),
        Item::File(..) | Item::Name(_) | Item::Link(..) => Ok(()),
    })
}

struct Copying<'a> {
    manner: &'a Manner<'a>,
    jobs: SyncSender<Job>,
    /// Directories of the copy, from its root to where the tour is.
    stack: Vec<Arc<OwnedFd>>,
    /// First name of each file that has several.
    named: HashMap<(u64, u64), Vec<u8>>,
    /// Names still to be made: new one, first one.
    names: Vec<(Vec<u8>, Vec<u8>)>,
    done: Duplicate,
}

impl Copying<'_> {
    fn here(&self) -> Result<Arc<OwnedFd>, Failure> {
        self.stack.last().cloned().ok_or_else(|| Failure::new(Code::Internal, "copying lost its way"))
    }

    fn add(&mut self, place: &Place<'_>, item: Item) {
        self.done.inventory.entries.push(Entry { path: place.path.to_vec(), item });
    }

    /// Whether an earlier copy could be used for it.
    fn is_known(&mut self, place: &Place<'_>, stat: &FileStat, here: &OwnedFd) -> bool {
        let Some((content, traits)) = self.manner.known.and_then(|known| known.link(stat, (here, place.name))) else {
            return false;
        };
        self.add(place, Item::File(traits, content));
        true
    }

    fn send(&mut self, place: &Place<'_>, source: File, stat: &FileStat) -> Result<(), Failure> {
        let (traits, size) = (of_stat(stat), stat.st_size.max(0) as u64);
        let changed = Moment(stat.st_ctime, stat.st_ctime_nsec);
        let unseen = self.manner.settled.is_none_or(|settled| changed >= settled);
        let source_is = Source { device: stat.st_dev, inode: stat.st_ino, changed };
        let content = Content { size, sum: None, source: (!unseen).then_some(source_is) };
        let job = Job {
            index: self.done.inventory.entries.len(),
            source,
            size,
            parent: self.here()?,
            name: place.name.to_owned(),
            traits,
            path: names::escape(place.path),
        };
        self.add(place, Item::File(traits, content));
        self.jobs.send(job).map_err(|_| Failure::new(Code::Internal, "copying stopped"))
    }
}

impl Visitor for Copying<'_> {
    fn file(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let source = match walk::open_below(place.parent, place.name, OFlag::empty()) {
            Ok(source) => File::from(source),
            Err(Errno::EXDEV) => return self.pass(place, Passed::Mount),
            Err(error) if vanished(error) => return Ok(()),
            Err(error) => return Err(walk::opening(place.path, error)),
        };
        let stat = fstat(&source).map_err(|error| walk::opening(place.path, error))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Ok(());
        }
        let several = stat.st_nlink > 1;
        if several && self.manner.owner.is_some_and(|owner| owner.uid != stat.st_uid) {
            return self.pass(place, Passed::Foreign);
        }
        if let Some(first) = self.named.get(&(stat.st_dev, stat.st_ino)).cloned() {
            self.names.push((place.path.to_vec(), first.clone()));
            self.add(place, Item::Name(first));
            return Ok(());
        }
        if several {
            self.named.insert((stat.st_dev, stat.st_ino), place.path.to_vec());
        }
        self.done.bytes += stat.st_size.max(0) as u64;
        let here = self.here()?;
        if self.is_known(place, &stat, &here) { Ok(()) } else { self.send(place, source, &stat) }
    }

    fn link(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let failed = |error: Errno| machine(format!("copy {}", names::escape(place.path)), error);
        let read = readlinkat(place.parent, place.name)
            .and_then(|target| Ok((target, fstatat(place.parent, place.name, AtFlags::AT_SYMLINK_NOFOLLOW)?)));
        let (target, stat) = match read {
            Err(error) if vanished(error) || error == Errno::EINVAL => return Ok(()),
            read => read.map_err(failed)?,
        };
        let (here, traits) = (self.here()?, of_stat(&stat));
        symlinkat(target.as_os_str(), &here, place.name).map_err(failed)?;
        super::traits::give_link(&here, place.name, &traits).map_err(failed)?;
        self.add(place, Item::Link(traits, target.into_encoded_bytes()));
        Ok(())
    }

    fn enter(&mut self, place: &Place<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        let failed = |error: Errno| machine(format!("copy {}", names::escape(place.path)), error);
        let traits = of_stat(&fstat(directory).map_err(failed)?);
        let here = self.here()?;
        match mkdirat(&here, place.name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let made = walk::open_below(here.as_fd(), place.name, OFlag::O_DIRECTORY).map_err(failed)?;
        self.stack.push(Arc::new(made));
        self.add(place, Item::Directory(traits));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Failure> {
        self.stack.pop();
        Ok(())
    }

    fn pass(&mut self, place: &Place<'_>, passed: Passed) -> Result<(), Failure> {
        if passed != Passed::Excluded {
            self.done.passed.push((names::escape(place.path), passed));
        }
        Ok(())
    }
}
