//! A directory becomes another one just like it: content, names, owners, modes, times, attributes, links. What is new is
//! always made new; nothing is written through a name that somebody else could have put there. What the copy is for decides
//! what of it matters ([`Purpose`]).

use super::content::{BUFFER, Copied, Copier, Extent};
use super::inventory::{Attributes, Content, Entry, Inventory, Item, Sum, Traits};
use super::purpose::{Names, Odd, Purpose};
use super::tour::{Passed, Place, Visitor, tour, vanished};
use super::traits::{attributes_of, give, of_open, of_stat, openings, retouch};
use crate::model::{Code, Failure};
use crate::trees::exclude::Exclude;
use crate::trees::faults::machine;
use crate::trees::names;
use crate::trees::walk::{self, Kind};
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
/// Files handed over at once: waking a copier for each costs more than copying a small one.
const BATCH: usize = 16;
/// Batches that wait for a copier; each file of them holds its source open, and perhaps the directory of the copy.
const WAITING: usize = 4;

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
pub fn duplicate(
    (source, target): (&Path, &Path),
    exclude: &Exclude,
    purpose: &Purpose<'_>,
) -> Result<Duplicate, Failure> {
    let (root, top) = (walk::open_directory(source)?, walk::open_directory(target)?);
    let failed = |error: Errno| machine(format!("copy {}", source.display()), error);
    let own = directory_traits(root.as_fd(), purpose).map_err(failed)?;
    let copier = Copier::new(purpose.sums(), purpose.shares_from());
    let (jobs, jobs_in) = sync_channel::<Vec<Job>>(WAITING);
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
        let mut visit = Copying::new(purpose, jobs, stack);
        visit.done.inventory.entries.push(Entry { path: b".".to_vec(), item: Item::Directory(own) });
        let toured = tour(root, exclude, &mut visit).and_then(|()| visit.hand_over());
        let Copying { jobs, names, mut done, .. } = visit;
        drop(jobs);
        let mut first = Ok(());
        for thread in threads {
            let finished = thread.join().unwrap_or_else(|_| Err(Failure::new(Code::Internal, "copying stopped")));
            first = first.and(finished.map(|all| all.into_iter().for_each(|one| note(&mut done.inventory, one))));
        }
        // What a copier met is the cause of what its end did to the tour.
        first.and(toured)?;
        finish(&top, &names, &done.inventory)?;
        done.inventory.excluded = exclude.patterns().to_vec();
        Ok(done)
    })
}

fn directory_traits(directory: BorrowedFd<'_>, purpose: &Purpose<'_>) -> nix::Result<Traits> {
    let traits = of_open(directory)?;
    Ok(Traits { mode: traits.mode & purpose.bits(Kind::Directory), ..traits })
}

/// Index of an entry, and what was copied of it.
type Finished = (usize, Copied, Attributes);

struct Job {
    index: usize,
    source: File,
    found: Extent,
    parent: Arc<OwnedFd>,
    name: CString,
    traits: Traits,
    /// For messages.
    path: Vec<u8>,
}

fn work(jobs: &Mutex<Receiver<Vec<Job>>>, copier: &Copier) -> Result<Vec<Finished>, Failure> {
    let mut buffer = vec![0; BUFFER];
    let mut finished = Vec::new();
    loop {
        let next = jobs.lock().map_err(|_| Failure::new(Code::Internal, "copying stopped"))?.recv();
        let Ok(batch) = next else { return Ok(finished) };
        for job in batch {
            let done = copy_one(&job, copier, &mut buffer);
            finished.push(done.map_err(|error| machine(format!("copy {}", names::escape(&job.path)), error))?);
        }
    }
}

fn copy_one(job: &Job, copier: &Copier, buffer: &mut [u8]) -> std::io::Result<Finished> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // Root's alone until it is whole and has its owner, whatever lists the directories above hand down.
    let growing = Mode::S_IRUSR | Mode::S_IWUSR;
    let target = File::from(openat(&job.parent, job.name.as_c_str(), flags, growing)?);
    let copied = copier.copy(&job.source, &target, job.found, buffer)?;
    let traits = Traits { attributes: attributes_of(job.source.as_fd())?, ..job.traits.clone() };
    give(target.as_fd(), &traits)?;
    Ok((job.index, copied, traits.attributes))
}

fn note(inventory: &mut Inventory, (index, copied, attributes): Finished) {
    if let Some(Entry { item: Item::File(traits, content), .. }) = inventory.entries.get_mut(index) {
        traits.attributes = attributes;
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
    purpose: &'a Purpose<'a>,
    jobs: SyncSender<Vec<Job>>,
    batch: Vec<Job>,
    /// Directories of the copy, from its root to where the tour is.
    stack: Vec<Arc<OwnedFd>>,
    /// First name of each file that has several.
    named: HashMap<(u64, u64), Vec<u8>>,
    /// Names still to be made: new one, first one.
    names: Vec<(Vec<u8>, Vec<u8>)>,
    done: Duplicate,
}

impl<'a> Copying<'a> {
    fn new(purpose: &'a Purpose<'a>, jobs: SyncSender<Vec<Job>>, stack: Vec<Arc<OwnedFd>>) -> Self {
        let (batch, named, names) = (Vec::new(), HashMap::new(), Vec::new());
        Self { purpose, jobs, batch, stack, named, names, done: Duplicate::default() }
    }

    fn here(&self) -> Result<Arc<OwnedFd>, Failure> {
        self.stack.last().cloned().ok_or_else(|| Failure::new(Code::Internal, "copying lost its way"))
    }

    fn add(&mut self, place: &Place<'_>, item: Item) {
        self.done.inventory.entries.push(Entry { path: place.path.to_vec(), item });
    }

    /// Whether an earlier copy could be used for it.
    fn is_known(&mut self, place: &Place<'_>, stat: &FileStat, here: &OwnedFd) -> bool {
        let Some((content, traits)) = self.purpose.known().and_then(|known| known.link(stat, (here, place.name)))
        else {
            return false;
        };
        self.add(place, Item::File(traits, content));
        true
    }

    fn send(&mut self, place: &Place<'_>, source: File, stat: &FileStat) -> Result<(), Failure> {
        let (whole, found) = (of_stat(stat), Extent::of(stat));
        let traits = Traits { mode: whole.mode & self.purpose.bits(Kind::File), ..whole };
        let content = Content { size: found.size, sum: Sum::Later, source: self.purpose.source(stat) };
        let job = Job {
            index: self.done.inventory.entries.len(),
            source,
            found,
            parent: self.here()?,
            name: place.name.to_owned(),
            traits: traits.clone(),
            path: place.path.to_vec(),
        };
        self.add(place, Item::File(traits, content));
        self.batch.push(job);
        if self.batch.len() < BATCH { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.jobs.send(batch).map_err(|_| Failure::new(Code::Internal, "copying stopped"))
    }
}

impl Visitor for Copying<'_> {
    fn file(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let source = match walk::open_below(place.parent, place.name, OFlag::empty()) {
            Ok(source) => File::from(source),
            Err(Errno::EXDEV) => return self.pass(place, Passed::Mount),
            Err(error) if vanished(error) => return self.gone(place, error),
            Err(error) => return Err(walk::opening(place.path, error)),
        };
        let stat = fstat(&source).map_err(|error| walk::opening(place.path, error))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return self.gone(place, Errno::ENOENT);
        }
        match self.purpose.names(&stat) {
            Names::Foreign => return self.pass(place, Passed::Foreign),
            Names::Together if stat.st_nlink > 1 => {
                if let Some(first) = self.named.get(&(stat.st_dev, stat.st_ino)).cloned() {
                    self.names.push((place.path.to_vec(), first.clone()));
                    self.add(place, Item::Name(first));
                    return Ok(());
                }
                self.named.insert((stat.st_dev, stat.st_ino), place.path.to_vec());
            }
            Names::Together | Names::Apart => {}
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
            Err(error) if vanished(error) || error == Errno::EINVAL => return self.gone(place, Errno::ENOENT),
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
        let traits = directory_traits(directory, self.purpose).map_err(failed)?;
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
        match self.purpose.odd(passed) {
            Odd::LeftOut => {}
            Odd::PassedOver => self.done.passed.push((names::escape(place.path), passed)),
            Odd::Refused => return Err(walk::mounted(&names::escape(place.path))),
        }
        Ok(())
    }

    fn gone(&mut self, place: &Place<'_>, error: Errno) -> Result<(), Failure> {
        match self.purpose.vanished() {
            Odd::LeftOut | Odd::PassedOver => Ok(()),
            Odd::Refused => Err(walk::opening(place.path, error)),
        }
    }
}
