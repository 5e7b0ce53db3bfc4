//! A release archive becomes a tree, exactly, or nothing at all. An allow-list: files, directories and links, in the one
//! order and spelling that `pack` writes; the first thing that is anything else refuses the whole archive.
//!
//! The tree grows in `<into>.partial`, closed to everybody else, and gets its name when checksum, digest, counts and end
//! have been verified. It is not synced: call [`super::trees::sync`] once before anything depends on it.

use super::expand::{self, Tape};
use super::faults::{machine, refused};
use super::header::{self, Entry, Item};
use super::listing::{Exec, Line, Listing, TreeSum, hex};
use super::manifest::{self, Manifest, ManifestBase};
use super::plant::{self, Job, Planters, Sums};
use super::{names, pack::Packed, settle, trees, walk};
use crate::model::{Code, Failure};
use crate::system::UserIds;
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
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
    /// Unpacked to packed bytes, judged after 64 MB.
    pub ratio: Option<u64>,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { archive_bytes: 16 << 30, bytes: 16 << 30, entries: 400_000, ratio: Some(200) }
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

fn fill(file: File, expect: &Expect, partial: &Path, how: (UserIds, Links)) -> Result<Unpacked, Failure> {
    let (owner, policy) = how;
    let root = Arc::new(walk::open_directory(partial)?);
    let (contents, sha256) = receive(file, &expect.limits, &root, owner)?;
    if sha256 != expect.sha256 {
        return Err(refused("another sha256"));
    }
    plant::links(&root, &contents.links(), owner, policy)?;
    let unpacked = contents.verified()?;
    plant::own_directory(&root, owner).map_err(|error| machine("finish the tree", error))?;
    Ok(unpacked)
}

/// One thread decompresses, this one reads the stream, others create files. Also gives the sha256 of the archive.
fn receive(
    file: File,
    limits: &UnpackLimits,
    root: &Arc<OwnedFd>,
    owner: UserIds,
) -> Result<(Contents, String), Failure> {
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
        let documents = reading.archive(limits);
        let Reading { tape, planters, listed, mut sums, .. } = reading;
        drop(tape);
        sums.append(&mut planters.finish()?);
        let (base, seal) = documents?;
        let sha256 = reader.join().unwrap_or_else(|_| Err(refused("it cannot be read")))?;
        Ok((Contents { base, seal, listed, sums }, sha256))
    })
}

struct Listed {
    path: String,
    item: Item,
}

struct Contents {
    base: ManifestBase,
    seal: TreeSum,
    listed: Vec<Listed>,
    sums: Sums,
}

impl Contents {
    fn links(&self) -> Vec<(&str, &str)> {
        let link = |listed| match listed {
            &Listed { ref path, item: Item::Link { ref target } } => Some((path.as_str(), target.as_str())),
            Listed { item: Item::Directory | Item::File { .. }, .. } => None,
        };
        self.listed.iter().filter_map(link).collect()
    }

    fn verified(self) -> Result<Unpacked, Failure> {
        let mut by_index = vec![None; self.sums.len()];
        for (index, sum) in &self.sums {
            if let Some(slot) = by_index.get_mut(*index) {
                *slot = Some(sum);
            }
        }
        let (mut listing, mut files) = (Listing::default(), by_index.into_iter());
        for Listed { path, item } in &self.listed {
            match item {
                Item::Directory => listing.add(path, Line::Directory),
                Item::Link { target } => listing.add(path, Line::Link { target }),
                Item::File { exec, size } => {
                    let sha256 = files.next().flatten().ok_or_else(|| refused(format!("{path} was not written")))?;
                    listing.add(path, Line::File { exec: *exec, size: *size, sha256 });
                }
            }
        }
        let tree = listing.finish();
        if tree != self.seal {
            return Err(refused("the tree is not the one that its manifest names"));
        }
        Ok(Unpacked { files: tree.files, bytes: tree.bytes, manifest: Manifest { base: self.base, tree } })
    }
}

struct Reading<'scope> {
    tape: Tape,
    planters: Planters<'scope>,
    /// The directory that is being filled, with those above it.
    directories: Vec<(String, Arc<OwnedFd>)>,
    listed: Vec<Listed>,
    /// Of files too large to be handed over.
    sums: Sums,
    files: usize,
    bytes: u64,
    owner: UserIds,
}

impl<'scope> Reading<'scope> {
    fn new(tape: Tape, planters: Planters<'scope>, root: Arc<OwnedFd>, owner: UserIds) -> Self {
        let directories = vec![(String::new(), root)];
        Self { tape, planters, directories, listed: Vec::new(), sums: Vec::new(), files: 0, bytes: 0, owner }
    }

    fn archive(&mut self, limits: &UnpackLimits) -> Result<(ManifestBase, TreeSum), Failure> {
        let first = self.next()?.ok_or_else(|| refused("it is empty"))?;
        let base = ManifestBase::parse(&self.document(&first, manifest::HEAD)?)?;
        let top = Entry { path: manifest::TREE.into(), item: Item::Directory };
        if self.next()?.as_ref() != Some(&top) {
            return Err(refused(format!("there is no {}/ after {}", manifest::TREE, manifest::HEAD)));
        }
        loop {
            let entry = self.next()?.ok_or_else(|| refused(format!("it ends without {}", manifest::SEAL)))?;
            let Some(path) = entry.path.strip_prefix("tree/") else {
                let seal = manifest::parse_seal(&self.document(&entry, manifest::SEAL)?)?;
                return self.end().map(|()| (base, seal));
            };
            if self.listed.len() as u64 >= limits.entries {
                return Err(refused(format!("it holds more than {} entries", limits.entries)));
            }
            let path = path.to_owned();
            self.plant(path, entry.item, limits)?;
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        match self.next()? {
            Some(_) => Err(refused(format!("something follows {}", manifest::SEAL))),
            None if self.tape.at_end()? => Ok(()),
            None => Err(refused("something follows its end")),
        }
    }

    fn next(&mut self) -> Result<Option<Entry>, Failure> {
        header::read(&mut |buffer| self.tape.exactly(buffer))
    }

    fn document(&mut self, entry: &Entry, name: &str) -> Result<Vec<u8>, Failure> {
        let size = match entry {
            Entry { path, item: Item::File { exec: Exec::Plain, size } } if path == name => *size,
            other => return Err(refused(format!("{} stands where {name} should", other.path))),
        };
        if size > manifest::MAX_DOCUMENT {
            return Err(refused(format!("{name} is longer than {} bytes", manifest::MAX_DOCUMENT)));
        }
        let mut bytes = vec![0; size as usize];
        self.tape.exactly(&mut bytes)?;
        self.tape.zeros(header::padding(size))?;
        Ok(bytes)
    }

    fn plant(&mut self, path: String, item: Item, limits: &UnpackLimits) -> Result<(), Failure> {
        let before = self.listed.last().map(|listed| listed.path.as_str()).unwrap_or_default();
        if names::order(before, &path).is_ge() {
            return Err(refused(format!("{path} comes twice or out of order")));
        }
        let parent = self.parent_of(&path)?;
        match &item {
            Item::Directory => {
                let made = plant::directory(&parent, &path, self.owner)?;
                self.directories.push((path.clone(), Arc::new(made)));
            }
            Item::Link { .. } => {}
            Item::File { exec, size } => {
                self.bytes = self.bytes.saturating_add(*size);
                if self.bytes > limits.bytes {
                    return Err(refused(format!("it unpacks to more than {} bytes", limits.bytes)));
                }
                self.file(parent, &path, (*exec, *size))?;
            }
        }
        self.listed.push(Listed { path, item });
        Ok(())
    }

    /// An entry follows its directory, which is a real one: links are not there yet.
    fn parent_of(&mut self, path: &str) -> Result<Arc<OwnedFd>, Failure> {
        let above = names::split(path).0;
        while self.directories.last().is_some_and(|(name, _)| name != above) {
            self.directories.pop();
        }
        let top = self.directories.last().map(|(_, fd)| fd.clone());
        top.ok_or_else(|| refused(format!("{path} comes without its directory")))
    }

    fn file(&mut self, parent: Arc<OwnedFd>, path: &str, (exec, size): (Exec, u64)) -> Result<(), Failure> {
        let index = self.files;
        self.files += 1;
        if size == 0 || self.tape.holds(size)? {
            let (data, range) = if size == 0 { (Arc::default(), 0..0) } else { self.tape.piece(size)? };
            self.planters.give(Job { index, parent, path: path.to_owned(), exec, data, range })?;
        } else {
            let sum = self.large_file(&parent, path, (exec, size))?;
            self.sums.push((index, sum));
        }
        self.tape.zeros(header::padding(size))
    }

    fn large_file(&mut self, parent: &OwnedFd, path: &str, (exec, size): (Exec, u64)) -> Result<[u8; 32], Failure> {
        use std::io::Write;
        let mut file = plant::create(parent, path)?;
        let (mut hash, mut rest) = (Sha256::new(), size);
        while rest > 0 {
            let (segment, range) = self.tape.piece(rest)?;
            let piece = segment.get(range).unwrap_or_default();
            file.write_all(piece).map_err(|error| machine(format!("write {path}"), error))?;
            hash.update(piece);
            rest -= piece.len() as u64;
        }
        plant::finish(&file, exec, self.owner).map_err(|error| machine(format!("write {path}"), error))?;
        Ok(hash.finalize().0)
    }
}
