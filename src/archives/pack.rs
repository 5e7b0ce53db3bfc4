//! A tree becomes a release archive: same tree, same bytes, whoever owns it and whenever it was built. Owners, times and
//! all modes but the x bit are dropped; hard links become copies. What cannot be released fails the build, by name.
//! Reading archives is in `unpack`; where archives are kept is the caller's to say.

use super::compress::{self, Contents, Help, Segments, Unread};
use super::header::{self, Entry, Item};
use super::listing::{self, Exec, Line, Listing, TreeSum};
use super::manifest::{self, Manifest, ManifestBase};
use super::remembered::{self, Identity, Remembered};
use super::siblings::Siblings;
use super::unpack::UnpackLimits;
use crate::model::{Code, Failure};
use crate::trees::faults::machine;
use crate::trees::walk::{self, Found, Kind};
use crate::trees::{names, settle};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A finished archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    /// Of the archive file; lower-case hex.
    pub archive_sha256: String,
    pub archive_bytes: u64,
    /// Regular files in the tree.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    pub manifest: Manifest,
}

/// How to go about it; the bytes do not depend on it.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// That compress; at least one does.
    pub threads: usize,
    /// An archive packed earlier: what is the same is taken from it.
    pub before: Option<&'a Path>,
}

impl Effort<'_> {
    /// Without an earlier archive.
    pub fn with(threads: usize) -> Self {
        Self { threads, before: None }
    }
}

/// Packs `tree` into `out` and writes `<out>.sha256` beside it, in `sha256sum`'s form, and what helps to pack the next
/// one. Grows as `<out>.partial`; nothing is left behind by a failure.
///
/// Neither is synced: call [`crate::trees::sync`] once before anything depends on them, and forget the release if the
/// machine stopped before that.
///
/// Errors: `build-failed` (something that no release can hold, named), `exists`, `disk-full`, `internal`.
pub fn pack(tree: &Path, base: &ManifestBase, out: &Path, effort: Effort<'_>) -> Result<Packed, Failure> {
    let mut below = Below(walk::open_directory(tree)?);
    pack_with(base, (out, effort), &mut below, &mut |packer| {
        walk::walk(walk::open_directory(tree)?, &mut |found| packer.add(found))
    })
}

/// Files of a tree on the disk.
struct Below(OwnedFd);

impl Contents for Below {
    fn read(&mut self, unread: &Unread, into: &mut [u8]) -> Result<(), Failure> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let path = &unread.path;
        let failed = |error| walk::opening(path.as_bytes(), error);
        let how = OpenHow::new().flags(flags).resolve(resolve);
        let mut file = File::from(openat2(&self.0, path.as_str(), how).map_err(failed)?);
        if Identity::of_stat(&fstat(&file).map_err(failed)?) != unread.identity {
            return Err(changed(path));
        }
        file.read_exact(into).map_err(|error| machine(format!("read {path}"), error))
    }
}

fn changed(path: &str) -> Failure {
    Failure::new(Code::Refused, format!("{path} was changed while it was read"))
}

/// What gives the entries of a tree, in order.
type Fill<'f> = &'f mut dyn FnMut(&mut Packer<'_, '_>) -> Result<(), Failure>;

/// Packs what `fill` gives to the [`Packer`].
pub(super) fn pack_with(
    base: &ManifestBase,
    (out, effort): (&Path, Effort<'_>),
    contents: &mut dyn Contents,
    fill: Fill<'_>,
) -> Result<Packed, Failure> {
    let head = head(base)?;
    if std::fs::symlink_metadata(out).is_ok() {
        return Err(Failure::new(Code::Exists, format!("{} is there already", out.display())));
    }
    let known = effort.before.and_then(Remembered::of);
    let partial = settle::partial(out);
    let mut written = write(fill, &head, (&partial, effort.threads), Help { known: known.as_ref(), contents });
    if written.is_err() && known.as_ref().is_some_and(Remembered::is_damaged) {
        written = write(fill, &head, (&partial, effort.threads), Help { known: None, contents });
    }
    let packed = written.and_then(|(told, compressed)| {
        remembered::write(out, &compressed.frames, &told.identities)?;
        keep(&partial, out, &compressed.sha256)?;
        Ok(Packed {
            archive_sha256: compressed.sha256,
            archive_bytes: compressed.bytes,
            files: told.sum.files,
            bytes: told.sum.bytes,
            manifest: Manifest { base: base.clone(), tree: told.sum },
        })
    });
    if packed.is_err() {
        // What is left of it is of no use, and its absence no news.
        let _ = std::fs::remove_file(&partial);
        let _ = std::fs::remove_file(settle::suffixed(out, remembered::SUFFIX));
    }
    packed
}

/// A path as a release may hold it, or the failure that names it.
pub(super) fn checked<'a>(found: &Found<'a>) -> Result<&'a str, Failure> {
    fit(found.path)
}

/// The same for a path that is known already.
pub(super) fn fit(path: &[u8]) -> Result<&str, Failure> {
    let hint = "rename it, or keep it out of what is deployed";
    names::check_in_tree(path).map_err(|why| unfit(format!("{}: {why}", names::escape(path))).hint(hint))
}

/// The target of a link as a release may hold it.
pub(super) fn checked_target<'a>(path: &str, target: &'a [u8]) -> Result<&'a str, Failure> {
    names::check_target(target).map_err(|why| unfit(format!("the link {path}: its target: {why}")))
}

fn unfit(what: impl Into<String>) -> Failure {
    Failure::new(Code::BuildFailed, what)
}

/// The first document, which must be readable again.
fn head(base: &ManifestBase) -> Result<Vec<u8>, Failure> {
    let head = base.to_json();
    ManifestBase::parse(&head).map_err(|failure| unfit(failure.what))?;
    Ok(head)
}

/// What a packer came to.
struct Told {
    sum: TreeSum,
    identities: Vec<(Identity, [u8; 32])>,
}

fn write(
    fill: Fill<'_>,
    head: &[u8],
    (partial, threads): (&Path, usize),
    help: Help<'_>,
) -> Result<(Told, compress::Compressed), Failure> {
    let out = File::create(partial).map_err(|error| machine(format!("write {}", partial.display()), error))?;
    compress::through(out, threads, help, |segments| {
        document(segments, manifest::HEAD, head)?;
        let top = Entry { path: manifest::TREE.into(), item: Item::Directory };
        let mut packer = Packer::new(segments);
        packer.announce(&top)?;
        fill(&mut packer)?;
        let Packer { listing, files, identities, .. } = packer;
        let sum = listing.finish();
        document(segments, manifest::FILES, files.as_bytes())?;
        document(segments, manifest::SEAL, &manifest::seal_json(&sum))?;
        segments.put(&[0; 2 * header::BLOCK])?;
        Ok(Told { sum, identities })
    })
}

fn document(segments: &mut Segments<'_>, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let (mut header, size) = (Vec::new(), bytes.len() as u64);
    header::spell(&Entry { path: name.into(), item: Item::File { exec: Exec::Plain, size } }, &mut header);
    let padding = [0; header::BLOCK];
    let padding = padding.get(..header::padding(size)).unwrap_or_default();
    segments.begin(name, (header.len() + padding.len()) as u64 + size)?;
    [header.as_slice(), bytes, padding].into_iter().try_for_each(|piece| segments.put(piece))
}

/// The archive appears only when its checksum is there.
fn keep(partial: &Path, out: &Path, sha256: &str) -> Result<(), Failure> {
    let name = names::escape(out.file_name().unwrap_or_default().as_bytes());
    let checksum = settle::suffixed(out, ".sha256");
    settle::write_whole(&checksum, format!("{sha256}  {name}\n").as_bytes())?;
    settle::reveal(partial, out)
}

/// Takes the entries of a tree, in order, into an archive.
pub(super) struct Packer<'a, 's> {
    segments: &'a mut Segments<'s>,
    listing: Listing,
    /// One line for each file; as long as names may be, and no longer.
    files: String,
    /// By what each file will be known again.
    identities: Vec<(Identity, [u8; 32])>,
    siblings: Siblings,
    header: Vec<u8>,
    entries: u64,
    bytes: u64,
    names: u64,
}

impl<'a, 's> Packer<'a, 's> {
    fn new(segments: &'a mut Segments<'s>) -> Self {
        let (listing, files, identities, siblings, header) = Default::default();
        Self { segments, listing, files, identities, siblings, header, entries: 0, bytes: 0, names: 0 }
    }

    fn add(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        let path = checked(found)?;
        self.count(path)?;
        match found.kind {
            Kind::Directory => self.directory(path),
            Kind::Link => {
                let target = readlinkat(found.parent, found.name).map_err(|error| walk::opening(found.path, error))?;
                self.link(path, target.as_bytes())
            }
            Kind::File => self.file(found, path),
            Kind::Strange(what) => {
                Err(unfit(format!("{path} is {what}; a release holds files, directories and links")))
            }
        }
    }

    /// Refuses what no server would unpack.
    pub(super) fn count(&mut self, path: &str) -> Result<(), Failure> {
        let limits = UnpackLimits::default();
        self.entries += 1;
        if self.entries > limits.entries {
            return Err(unfit(format!("the tree has more than {} entries", limits.entries)));
        }
        self.count_names(path.len())?;
        if !self.siblings.admit(path) {
            let what = format!("{path}: another name in its directory differs only in case or accents");
            return Err(unfit(what).hint("rename one of the two: not every machine can tell them apart"));
        }
        Ok(())
    }

    fn count_names(&mut self, length: usize) -> Result<(), Failure> {
        let most = UnpackLimits::default().names;
        self.names = self.names.saturating_add(length as u64);
        if self.names > most { Err(unfit(format!("names in the tree are longer than {most} bytes"))) } else { Ok(()) }
    }

    pub(super) fn directory(&mut self, path: &str) -> Result<(), Failure> {
        self.listing.add(path, Line::Directory);
        self.announce(&entry(path, Item::Directory))
    }

    pub(super) fn link(&mut self, path: &str, target: &[u8]) -> Result<(), Failure> {
        let target = checked_target(path, target)?;
        self.count_names(target.len())?;
        self.listing.add(path, Line::Link { target });
        self.announce(&entry(path, Item::Link { target: target.to_owned() }))
    }

    /// A file that whoever fills knows by a number.
    pub(super) fn numbered(&mut self, (path, exec): (&str, Exec), size: u64, file: Unread) -> Result<(), Failure> {
        self.add_up(path, size)?;
        self.announce(&entry(path, Item::File { exec, size }))?;
        let identity = file.identity;
        if let Some(sha256) = self.leave_unread(size, &file) {
            return self.end_file((path, exec, size), &sha256, identity);
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.segments.contents.read(&file, &mut content)?;
        self.segments.put_content(&content)?;
        let sha256 = Sha256::digest(&content).0;
        self.segments.content_is(&sha256);
        self.end_file((path, exec, size), &sha256, identity)
    }

    /// The digest of a file that is known from the archive before, when room was left for its content.
    fn leave_unread(&mut self, size: u64, file: &Unread) -> Option<[u8; 32]> {
        let sha256 = self.segments.known?.file(&file.identity)?;
        let Unread { number, path, identity } = file;
        let unread = Unread { number: *number, path: path.clone(), identity: *identity };
        self.segments.leave_unread(usize::try_from(size).ok()?, &sha256, unread).then_some(sha256)
    }

    /// What comes after a content.
    fn end_file(
        &mut self,
        (path, exec, size): (&str, Exec, u64),
        sha256: &[u8; 32],
        identity: Identity,
    ) -> Result<(), Failure> {
        self.segments.put(&[0; header::BLOCK][..header::padding(size)])?;
        self.list(path, (exec, size), sha256);
        self.identities.push((identity, *sha256));
        Ok(())
    }

    fn list(&mut self, path: &str, (exec, size): (Exec, u64), sha256: &[u8; 32]) {
        self.listing.add(path, Line::File { exec, size, sha256 });
        self.files.push_str(&listing::checksum_line(sha256, path));
    }

    fn add_up(&mut self, path: &str, size: u64) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > UnpackLimits::default().bytes {
            return Err(unfit(format!("{path}: the tree is larger than {} bytes", UnpackLimits::default().bytes)));
        }
        Ok(())
    }

    fn file(&mut self, found: &Found<'_>, path: &str) -> Result<(), Failure> {
        let failed = |error| walk::opening(found.path, error);
        let stat = fstatat(found.parent, found.name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        self.check(found, path, &stat)?;
        let (exec, size) = (Exec::of_mode(stat.st_mode), stat.st_size.max(0) as u64);
        self.announce(&entry(path, Item::File { exec, size }))?;
        let identity = Identity::of_stat(&stat);
        if let Some(sha256) = self.leave_unread(size, &Unread { number: 0, path: path.to_owned(), identity }) {
            return self.end_file((path, exec, size), &sha256, identity);
        }
        let file = File::from(walk::open_below(found.parent, found.name, OFlag::empty()).map_err(failed)?);
        if Identity::of_stat(&fstat(&file).map_err(failed)?) != identity {
            return Err(changed(path));
        }
        let sha256 = self.content(file, path, size)?;
        self.segments.content_is(&sha256);
        self.end_file((path, exec, size), &sha256, identity)
    }

    /// A hard link to another user's file would publish what its owner keeps private.
    fn check(&mut self, found: &Found<'_>, path: &str, stat: &FileStat) -> Result<(), Failure> {
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(changed(path));
        }
        if stat.st_nlink > 1 && stat.st_uid != found.parent_uid {
            return Err(unfit(format!("{path} is a hard link to a file of another user")));
        }
        self.add_up(path, stat.st_size.max(0) as u64)
    }

    fn content(&mut self, mut file: File, path: &str, size: u64) -> Result<[u8; 32], Failure> {
        let (mut hash, mut rest) = (Sha256::new(), size);
        while rest > 0 {
            let space = self.segments.space()?;
            let want = space.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            let piece = space.get_mut(..want).unwrap_or_default();
            let got = match file.read(piece) {
                Ok(0) => return Err(changed(path)),
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(machine(format!("read {path}"), error)),
            };
            hash.update(piece.get(..got).unwrap_or_default());
            self.segments.advance(got);
            rest -= got as u64;
        }
        Ok(hash.finalize().0)
    }

    fn announce(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.header.clear();
        header::spell(entry, &mut self.header);
        let content = match entry.item {
            Item::File { size, .. } => size + header::padding(size) as u64,
            Item::Directory | Item::Link { .. } => 0,
        };
        self.segments.begin(&entry.path, self.header.len() as u64 + content)?;
        self.segments.put(&self.header)
    }
}

fn entry(path: &str, item: Item) -> Entry {
    Entry { path: format!("{}/{path}", manifest::TREE), item }
}
