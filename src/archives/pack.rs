//! A tree becomes a release archive: same tree, same bytes, whoever owns it and whenever it was built. Owners, times and
//! all modes but the x bit are dropped; hard links become copies. What cannot be released fails the build, by name.
//! Reading archives is in `unpack`; where archives are kept is the caller's to say.

use super::compress::{self, Segments};
use super::faults::machine;
use super::header::{self, Entry, Item};
use super::listing::{self, Exec, Line, Listing, TreeSum};
use super::manifest::{self, Manifest, ManifestBase};
use super::siblings::Siblings;
use super::unpack::UnpackLimits;
use super::walk::{self, Found, Kind};
use super::{names, settle};
use crate::model::{Code, Failure};
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
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

/// Packs `tree` into `out` and writes `<out>.sha256` beside it, in `sha256sum`'s form. Grows as `<out>.partial`; nothing
/// is left behind by a failure. `threads` compress (at least one does).
///
/// Neither is synced: call [`super::trees::sync`] once before anything depends on them, and forget the release if the
/// machine stopped before that.
///
/// Errors: `build-failed` (something that no release can hold, named), `exists`, `disk-full`, `internal`.
pub fn pack(tree: &Path, base: &ManifestBase, out: &Path, threads: usize) -> Result<Packed, Failure> {
    let root = walk::open_directory(tree)?;
    pack_with(base, out, threads, |packer| walk::walk(root, &mut |found| packer.add(found)))
}

/// Packs what `fill` gives, in order, to the [`Packer`].
pub(super) fn pack_with(
    base: &ManifestBase,
    out: &Path,
    threads: usize,
    fill: impl FnOnce(&mut Packer<'_>) -> Result<(), Failure>,
) -> Result<Packed, Failure> {
    let head = head(base)?;
    if std::fs::symlink_metadata(out).is_ok() {
        return Err(Failure::new(Code::Exists, format!("{} is there already", out.display())));
    }
    let partial = settle::partial(out);
    let packed = write(fill, &head, &partial, threads).and_then(|(sum, compressed)| {
        keep(&partial, out, &compressed.sha256)?;
        Ok(Packed {
            archive_sha256: compressed.sha256,
            archive_bytes: compressed.bytes,
            files: sum.files,
            bytes: sum.bytes,
            manifest: Manifest { base: base.clone(), tree: sum },
        })
    });
    if packed.is_err() {
        // What is left of it is of no use, and its absence no news.
        let _ = std::fs::remove_file(&partial);
    }
    packed
}

/// A path as a release may hold it, or the failure that names it.
pub(super) fn checked<'a>(found: &Found<'a>) -> Result<&'a str, Failure> {
    names::check_in_tree(found.path).map_err(|why| unfit(format!("{}: {why}", names::escape(found.path))))
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

fn write(
    fill: impl FnOnce(&mut Packer<'_>) -> Result<(), Failure>,
    head: &[u8],
    partial: &Path,
    threads: usize,
) -> Result<(TreeSum, compress::Compressed), Failure> {
    let out = File::create(partial).map_err(|error| machine(format!("write {}", partial.display()), error))?;
    compress::through(out, threads, |segments| {
        document(segments, manifest::HEAD, head)?;
        let top = Entry { path: manifest::TREE.into(), item: Item::Directory };
        let mut packer = Packer::new(segments);
        packer.announce(&top)?;
        fill(&mut packer)?;
        let (sum, files) = (packer.listing.finish(), packer.files);
        document(segments, manifest::FILES, files.as_bytes())?;
        document(segments, manifest::SEAL, &manifest::seal_json(&sum))?;
        segments.put(&[0; 2 * header::BLOCK])?;
        Ok(sum)
    })
}

fn document(segments: &mut Segments, name: &str, bytes: &[u8]) -> Result<(), Failure> {
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
pub(super) struct Packer<'a> {
    segments: &'a mut Segments,
    listing: Listing,
    /// One line for each file; as long as names may be, and no longer.
    files: String,
    siblings: Siblings,
    header: Vec<u8>,
    entries: u64,
    bytes: u64,
    names: u64,
}

impl<'a> Packer<'a> {
    fn new(segments: &'a mut Segments) -> Self {
        let (listing, files, siblings, header) = Default::default();
        Self { segments, listing, files, siblings, header, entries: 0, bytes: 0, names: 0 }
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

    /// A file whose content is at hand.
    pub(super) fn bytes(&mut self, path: &str, exec: Exec, content: &[u8]) -> Result<(), Failure> {
        let size = content.len() as u64;
        self.add_up(path, size)?;
        self.announce(&entry(path, Item::File { exec, size }))?;
        self.segments.put(content)?;
        self.segments.put(&[0; header::BLOCK][..header::padding(size)])?;
        self.list(path, (exec, size), &Sha256::digest(content).0);
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
        let file = File::from(walk::open_below(found.parent, found.name, OFlag::empty()).map_err(failed)?);
        let stat = fstat(&file).map_err(failed)?;
        self.check(found, path, &stat)?;
        let (exec, size) = (Exec::of_mode(stat.st_mode), stat.st_size.max(0) as u64);
        self.announce(&entry(path, Item::File { exec, size }))?;
        let sha256 = self.content(file, path, size)?;
        self.segments.put(&[0; header::BLOCK][..header::padding(size)])?;
        self.list(path, (exec, size), &sha256);
        Ok(())
    }

    /// A hard link to another user's file would publish what its owner keeps private.
    fn check(&mut self, found: &Found<'_>, path: &str, stat: &FileStat) -> Result<(), Failure> {
        if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(Failure::new(Code::Refused, format!("{path} was changed while it was read")));
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
                Ok(0) => return Err(Failure::new(Code::Refused, format!("{path} was changed while it was read"))),
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
