//! Whether a whole tree on disk is the release that a manifest describes: every name, byte and mode. Reads, changes
//! nothing.

use super::listing::{Exec, Line, Listing, TreeSum};
use super::manifest::Manifest;
use super::pack;
use crate::model::{Code, Failure};
use crate::trees::faults::machine;
use crate::trees::walk::{self, Found, Kind};
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{SFlag, fstat};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How a tree differs from its manifest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Difference {
    #[error("{found} files instead of {expected}")]
    Files { expected: u64, found: u64 },
    #[error("{found} bytes instead of {expected}")]
    Bytes { expected: u64, found: u64 },
    #[error("same size, other content, names or modes (sha256 {found} instead of {expected})")]
    Content { expected: String, found: String },
    /// Something that cannot stand in a release, or that could not be read.
    #[error("{0}")]
    Strange(Failure),
}

/// Whether a tree is exactly the release: every name, every byte, every x bit, and no mode of another kind.
pub fn verify_tree(path: &Path, manifest: &Manifest) -> Result<(), Difference> {
    let found = digest(path, Strictness::Unpacked).map_err(Difference::Strange)?;
    let expected = &manifest.tree;
    if found.files != expected.files {
        return Err(Difference::Files { expected: expected.files, found: found.files });
    }
    if found.bytes != expected.bytes {
        return Err(Difference::Bytes { expected: expected.bytes, found: found.bytes });
    }
    if found.sha256 != expected.sha256 {
        return Err(Difference::Content { expected: expected.sha256.clone(), found: found.sha256 });
    }
    Ok(())
}

/// The digest that [`pack`](super::pack()) would write into the manifest of this tree.
pub fn tree_digest(path: &Path) -> Result<TreeSum, Failure> {
    digest(path, Strictness::AnyMode)
}

/// How much of the modes a digest insists on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// A build: only the x bit is looked at.
    AnyMode,
    /// Exactly the modes that unpacking gives.
    Unpacked,
}

fn digest(path: &Path, strictness: Strictness) -> Result<TreeSum, Failure> {
    let mut listing = Listing::default();
    let mut buffer = vec![0; 256 << 10];
    walk::walk(walk::open_directory(path)?, &mut |found| add(found, strictness, &mut buffer, &mut listing))?;
    Ok(listing.finish())
}

fn add(found: &Found<'_>, strictness: Strictness, buffer: &mut [u8], listing: &mut Listing) -> Result<(), Failure> {
    let path = pack::checked(found)?;
    let failed = |error| walk::opening(found.path, error);
    match found.kind {
        Kind::Directory => listing.add(path, Line::Directory),
        Kind::Link => {
            let target = readlinkat(found.parent, found.name).map_err(failed)?;
            listing.add(path, Line::Link { target: pack::checked_target(path, target.as_bytes())? });
        }
        Kind::File => {
            let file = File::from(walk::open_below(found.parent, found.name, OFlag::empty()).map_err(failed)?);
            let stat = fstat(&file).map_err(failed)?;
            let exec = Exec::of_mode(stat.st_mode);
            if strictness == Strictness::Unpacked && stat.st_mode != SFlag::S_IFREG.bits() | exec.mode() {
                return Err(Failure::new(Code::VerifyFailed, format!("{path} has mode {:o}", stat.st_mode & 0o7777)));
            }
            let (size, sha256) = hash(file, buffer).map_err(|error| machine(format!("read {path}"), error))?;
            listing.add(path, Line::File { exec, size, sha256: &sha256 });
        }
        Kind::Strange(what) => return Err(Failure::new(Code::Refused, format!("{path} is {what}"))),
    }
    Ok(())
}

fn hash(mut file: File, buffer: &mut [u8]) -> std::io::Result<(u64, [u8; 32])> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    loop {
        let got = file.read(buffer)?;
        let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else {
            return Ok((size, hash.finalize().0));
        };
        hash.update(piece);
        size += got as u64;
    }
}
