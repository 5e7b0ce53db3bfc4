//! A release archive becomes a tree, exactly, or nothing at all. An allow-list: files, directories and links, in the one
//! order and spelling that `pack` writes; the first thing that is anything else refuses the whole archive.
//!
//! The tree grows in `<into>.partial`, closed to everybody else, and gets its name when checksum, digest, counts and end
//! have been verified. It is not synced: call [`crate::trees::sync`] once before anything depends on it.

use super::contents::{Claim, Listed, NameRules, Sums};
use super::expand::{self, Tape};
use super::header::{self, Entry, Item};
use super::listing::Exec;
use super::manifest::{self, ContentsForm, Head, Manifest, ManifestBase};
use super::plant::{self, Job, Place, Planters};
use super::{destinations, pack::Packed};
use crate::model::words::hex;
use crate::model::{Code, Failure};
use crate::system::UserIds;
use crate::trees;
use crate::trees::faults::{machine, refused};
use crate::trees::{names, settle, walk};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// Where symbolic links may lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Links {
    /// Only to places inside the tree, judged by the kernel: for archives from elsewhere.
    InsideOnly,
    /// There, to `data/` beside the tree, and to programs and libraries of the machine (a virtual environment names
    /// `/usr/bin/python3`): for releases from elsewhere of which the signature was verified.
    Portable,
    /// Wherever the build made them lead (a virtual environment names `/usr/bin/python3`): for what was built here.
    /// They are kept as text and never followed by us either way.
    AsBuilt,
}

/// What an archive may cost. The default is for archives from elsewhere, and `pack` never writes what it would refuse
/// (but for the ratio).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnpackLimits {
    /// Size of the archive file.
    pub archive_bytes: u64,
    /// Content of all files.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all names and targets of links: they are kept in memory until the end.
    pub names: u64,
    /// Unpacked to packed bytes, judged after 64 MB.
    pub ratio: Option<u64>,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { archive_bytes: 16 << 30, bytes: 16 << 30, entries: 400_000, names: 64 << 20, ratio: Some(200) }
    }
}

impl UnpackLimits {
    /// For an archive that was packed here: exactly what it takes.
    pub fn of(packed: &Packed) -> Self {
        Self { archive_bytes: packed.archive_bytes, bytes: packed.bytes, ratio: None, ..Self::default() }
    }
}

/// What the caller knows about the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    /// Of the archive file, lower-case hex.
    pub sha256: String,
    pub limits: UnpackLimits,
}

/// A tree that is exactly its release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    pub manifest: Manifest,
    pub files: u64,
    pub bytes: u64,
}

/// Unpacks into a directory that does not exist yet. Files get 0644 or 0755 by their x bit, directories 0755, everything
/// the owner; times are those of unpacking, so that caches of web servers see a change.
///
/// Errors: `verify-failed` (named), `exists`, `disk-full`, `internal`. Nothing is left behind by a failure.
pub fn unpack(archive: &Path, expect: &Expect, into: &Path, owner: UserIds, links: Links) -> Result<Unpacked, Failure> {
    if std::fs::symlink_metadata(into).is_ok() {
        return Err(Failure::new(Code::Exists, format!("{} is there already", into.display())));
    }
    let file = open(archive, &expect.limits)?;
    let partial = settle::partial(into);
    trees::remove_tree(&partial)?;
    let made = DirBuilder::new().mode(0o700).create(&partial);
    made.map_err(|error| machine(format!("create {}", partial.display()), error))?;
    let unpacked = fill(file, expect, &partial, (owner, links)).and_then(|unpacked| {
        settle::reveal(&partial, into)?;
        Ok(unpacked)
    });
    unpacked.map_err(|failure| {
        let failure = blame(archive, expect, failure);
        match trees::remove_tree(&partial) {
            Ok(()) => failure,
            Err(left) => failure.detail(left.what),
        }
    })
}

fn open(archive: &Path, limits: &UnpackLimits) -> Result<File, Failure> {
    let during = |error| machine(format!("open {}", archive.display()), error);
    let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(archive).map_err(during)?;
    let data = file.metadata().map_err(during)?;
    if !data.is_file() {
        return Err(refused(format!("{} is not a file", archive.display())));
    }
    if data.len() > limits.archive_bytes {
        return Err(refused(format!("{} is longer than {} bytes", archive.display(), limits.archive_bytes)));
    }
    Ok(file)
}

/// Names the archive; an archive that is another one altogether explains whatever was found in it.
fn blame(archive: &Path, expect: &Expect, failure: Failure) -> Failure {
    if failure.code != Code::VerifyFailed {
        return failure;
    }
    let name = names::escape(archive.file_name().unwrap_or_default().as_bytes());
    match file_sha256(archive, &expect.limits) {
        Ok(found) if found != expect.sha256 => {
            refused(format!("{name}: sha256 is {found} instead of {}", names::escape(expect.sha256.as_bytes())))
                .hint("fetch the release again; if it stays so, it is not the release that was cooked")
        }
        _ => Failure { what: format!("{name}: {}", failure.what), ..failure },
    }
}

/// The sha256 of an archive file, as `sha256sum` prints it.
pub fn file_sha256(archive: &Path, limits: &UnpackLimits) -> Result<String, Failure> {
    let mut file = open(archive, limits)?.take(limits.archive_bytes);
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        let got = file.read(&mut buffer).map_err(|error| machine(format!("read {}", archive.display()), error))?;
        let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else {
            return Ok(hex(&hash.finalize().0));
        };
        hash.update(piece);
    }
}

/// Reads the whole archive as [`unpack`] would, under the same rules and limits, and makes nothing.
///
/// Errors: `verify-failed` (named), `internal`.
pub fn inspect(archive: &Path, expect: &Expect, links: Links) -> Result<Unpacked, Failure> {
    let file = open(archive, &expect.limits)?;
    let read = receive(file, &expect.limits, &Arc::new(Place::Nowhere), (UserIds::of(0), links));
    let inspected = read.and_then(|received| {
        received.check(expect, links)?;
        received.verified()
    });
    inspected.map_err(|failure| blame(archive, expect, failure))
}

/// What an archive says first, read from its first frame: nothing in it is verified yet.
pub fn head(archive: &Path, limits: &UnpackLimits) -> Result<ManifestBase, Failure> {
    let file = open(archive, limits)?;
    let (segments, segments_in) = sync_channel(1);
    let head = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Err(failure) = expand::decompress(file, limits, &segments) {
                let _ = segments.send(Err(failure));
            }
        });
        head_of(&mut Tape::new(segments_in))
    });
    head.map(|head| head.base)
}

fn fill(file: File, expect: &Expect, partial: &Path, (owner, policy): (UserIds, Links)) -> Result<Unpacked, Failure> {
    let root = Arc::new(Place::Directory(walk::open_directory(partial)?));
    let received = receive(file, &expect.limits, &root, (owner, policy))?;
    received.check(expect, policy)?;
    let Place::Directory(root) = root.as_ref() else { return received.verified() };
    let links: Vec<_> = received.listed.links().collect();
    plant::links(root, &links, owner, policy)?;
    let unpacked = received.verified()?;
    plant::own_directory(root, owner).map_err(|error| machine("finish the tree", error))?;
    Ok(unpacked)
}

/// Everything of an archive but the content of its files.
struct Received {
    listed: Listed,
    sums: Sums,
    claim: Claim,
    sha256: String,
}

impl Received {
    fn check(&self, expect: &Expect, policy: Links) -> Result<(), Failure> {
        if self.sha256 != expect.sha256 {
            return Err(refused("another sha256"));
        }
        destinations::check(&self.listed, policy)
    }

    fn verified(self) -> Result<Unpacked, Failure> {
        let manifest = self.listed.verified(&self.sums, self.claim)?;
        Ok(Unpacked { files: manifest.tree.files, bytes: manifest.tree.bytes, manifest })
    }
}

/// One thread decompresses, this one reads the stream, others create files.
fn receive(file: File, limits: &UnpackLimits, root: &Arc<Place>, how: (UserIds, Links)) -> Result<Received, Failure> {
    let (owner, policy) = how;
    std::thread::scope(|scope| {
        let (segments, segments_in) = sync_channel(2);
        let reader = scope.spawn(move || {
            let sha256 = expand::decompress(file, limits, &segments);
            if let Err(failure) = &sha256 {
                // Whoever parses the stream says it, if it has not given up.
                let _ = segments.send(Err(failure.clone()));
            }
            sha256
        });
        let mut reading = Reading::new(Tape::new(segments_in), Planters::start(scope, owner), root.clone(), owner);
        let claim = reading.archive(limits, policy);
        let Reading { tape, planters, listed, mut sums, .. } = reading;
        drop(tape);
        sums.append(&mut planters.finish()?);
        let claim = claim?;
        let sha256 = reader.join().unwrap_or_else(|_| Err(refused("it cannot be read")))?;
        Ok(Received { listed, sums, claim, sha256 })
    })
}

fn head_of(tape: &mut Tape) -> Result<Head, Failure> {
    let first = next(tape)?.ok_or_else(|| refused("it is empty"))?;
    Head::parse(&document(tape, &first, manifest::HEAD)?)
}

fn next(tape: &mut Tape) -> Result<Option<Entry>, Failure> {
    header::read(&mut |buffer| tape.exactly(buffer))
}

/// The size of a document, which must be the entry.
fn document_size(entry: &Entry, name: &str) -> Result<u64, Failure> {
    match entry {
        Entry { path, item: Item::File { exec: Exec::Plain, size } } if path == name => Ok(*size),
        other => Err(refused(format!("{} stands where {name} should", other.path))),
    }
}

fn document(tape: &mut Tape, entry: &Entry, name: &str) -> Result<Vec<u8>, Failure> {
    let size = document_size(entry, name)?;
    if size > manifest::MAX_DOCUMENT {
        return Err(refused(format!("{name} is longer than {} bytes", manifest::MAX_DOCUMENT)));
    }
    let mut bytes = vec![0; size as usize];
    tape.exactly(&mut bytes)?;
    tape.zeros(header::padding(size))?;
    Ok(bytes)
}

struct Reading<'scope> {
    tape: Tape,
    planters: Planters<'scope>,
    /// The directory that is being filled, with those above it.
    directories: Vec<(String, Arc<Place>)>,
    listed: Listed,
    /// Of files too large to be handed over.
    sums: Sums,
    owner: UserIds,
}

impl<'scope> Reading<'scope> {
    fn new(tape: Tape, planters: Planters<'scope>, root: Arc<Place>, owner: UserIds) -> Self {
        let directories = vec![(String::new(), root)];
        Self { tape, planters, directories, listed: Listed::new(NameRules::AsPacked), sums: Vec::new(), owner }
    }

    fn archive(&mut self, limits: &UnpackLimits, policy: Links) -> Result<Claim, Failure> {
        let head = head_of(&mut self.tape)?;
        if (head.contents, policy) == (ContentsForm::Sum, Links::AsBuilt) {
            self.listed = Listed::new(NameRules::AsOnceTaken);
        }
        let top = Entry { path: manifest::TREE.into(), item: Item::Directory };
        if next(&mut self.tape)?.as_ref() != Some(&top) {
            return Err(refused(format!("there is no {}/ after {}", manifest::TREE, manifest::HEAD)));
        }
        loop {
            let entry = self.more()?;
            let Some(path) = entry.path.strip_prefix("tree/") else { return self.claim(head, entry) };
            let path = path.to_owned();
            self.plant(path, entry.item, limits)?;
        }
    }

    fn more(&mut self) -> Result<Entry, Failure> {
        next(&mut self.tape)?.ok_or_else(|| refused(format!("it ends without {}", manifest::SEAL)))
    }

    fn claim(&mut self, head: Head, entry: Entry) -> Result<Claim, Failure> {
        let (files, last) = match head.contents {
            ContentsForm::Sum => (None, entry),
            ContentsForm::FilesAndSum => (Some(self.list_of_files(&entry)?), self.more()?),
        };
        let seal = head.parse_seal(&document(&mut self.tape, &last, manifest::SEAL)?)?;
        match next(&mut self.tape)? {
            Some(_) => Err(refused(format!("something follows {}", manifest::SEAL))),
            None if self.tape.at_end()? => Ok(Claim { head, files, seal }),
            None => Err(refused("something follows its end")),
        }
    }

    /// Its length follows from the files that came; its content is judged when they are all read.
    fn list_of_files(&mut self, entry: &Entry) -> Result<[u8; 32], Failure> {
        let size = document_size(entry, manifest::FILES)?;
        if size != self.listed.list_length() {
            return Err(refused(format!("{} does not list the files that came", manifest::FILES)));
        }
        let (mut hash, mut rest) = (Sha256::new(), size);
        while rest > 0 {
            let (segment, range) = self.tape.piece(rest)?;
            hash.update(segment.get(range.clone()).unwrap_or_default());
            rest -= range.len() as u64;
        }
        self.tape.zeros(header::padding(size))?;
        Ok(hash.finalize().0)
    }

    fn plant(&mut self, path: String, item: Item, limits: &UnpackLimits) -> Result<(), Failure> {
        let number = self.listed.admit(&path, &item, limits)?;
        let parent = self.parent_of(&path)?;
        match &item {
            Item::Directory => {
                let made = plant::directory(&parent, &path, self.owner)?;
                self.directories.push((path.clone(), Arc::new(made)));
            }
            Item::Link { .. } => {}
            Item::File { exec, size } => self.file(number, parent, &path, (*exec, *size))?,
        }
        self.listed.push(path, item);
        Ok(())
    }

    /// An entry follows its directory, which is a real one: links are not there yet.
    fn parent_of(&mut self, path: &str) -> Result<Arc<Place>, Failure> {
        let above = names::split(path).0;
        while self.directories.last().is_some_and(|(name, _)| name != above) {
            self.directories.pop();
        }
        let top = self.directories.last().map(|(_, place)| place.clone());
        top.ok_or_else(|| refused(format!("{path} comes without its directory")))
    }

    fn file(
        &mut self,
        number: usize,
        parent: Arc<Place>,
        path: &str,
        (exec, size): (Exec, u64),
    ) -> Result<(), Failure> {
        if size == 0 || self.tape.holds(size)? {
            let (data, range) = if size == 0 { (Arc::default(), 0..0) } else { self.tape.piece(size)? };
            self.planters.give(Job { index: number, parent, path: path.to_owned(), exec, data, range })?;
        } else {
            let sum = self.large_file(&parent, path, (exec, size))?;
            self.sums.push((number, sum));
        }
        self.tape.zeros(header::padding(size))
    }

    fn large_file(&mut self, parent: &Place, path: &str, (exec, size): (Exec, u64)) -> Result<[u8; 32], Failure> {
        use std::io::Write;
        let during = |error| machine(format!("write {path}"), error);
        let mut file = match parent {
            Place::Directory(parent) => Some(plant::create(parent, path, exec)?),
            Place::Nowhere => None,
        };
        let (mut hash, mut rest) = (Sha256::new(), size);
        while rest > 0 {
            let (segment, range) = self.tape.piece(rest)?;
            let piece = segment.get(range).unwrap_or_default();
            file.as_mut().map_or(Ok(()), |file| file.write_all(piece)).map_err(during)?;
            hash.update(piece);
            rest -= piece.len() as u64;
        }
        if let Some(file) = &file {
            plant::finish(file, exec, self.owner).map_err(|error| during(error.into()))?;
        }
        Ok(hash.finalize().0)
    }
}
