//! Packing a tree that is known by a list and read piece by piece: a commit whose build does nothing needs no detour over
//! the disk. The bytes are those that [`super::pack()`] makes of the same tree written out.

use super::compress::{Contents, Unread};
use super::listing::Exec;
use super::manifest::ManifestBase;
use super::pack::{self, Effort, Packed, Packer, pack_with};
use super::remembered::Identity;
use crate::model::{Code, Failure};
use crate::trees::names;
use std::path::Path;

/// One entry of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// From the root of the tree, with `/`.
    pub path: String,
    pub item: ListedItem,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListedItem {
    Directory,
    Plain(ListedFile),
    Program(ListedFile),
    Link(String),
}

/// A file that is read when its content is needed, and perhaps never.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedFile {
    /// Its content is asked for by this number.
    pub number: usize,
    /// Bytes of its content.
    pub size: u64,
    pub identity: Identity,
}

/// Packs the entries, in whatever order they are given; `read` gets the number of a file.
///
/// Errors: as [`super::pack()`], and those of `read`.
pub fn pack_listed(
    mut entries: Vec<Listed>,
    read: &mut dyn FnMut(usize) -> Result<Vec<u8>, Failure>,
    base: &ManifestBase,
    how: (&Path, Effort<'_>),
) -> Result<Packed, Failure> {
    entries.sort_by(|left, right| names::order(&left.path, &right.path));
    pack_with(base, how, &mut Numbered(read), &mut |packer| entries.iter().try_for_each(|entry| add(packer, entry)))
}

struct Numbered<'r>(&'r mut dyn FnMut(usize) -> Result<Vec<u8>, Failure>);

impl Contents for Numbered<'_> {
    fn read(&mut self, file: &Unread, into: &mut [u8]) -> Result<(), Failure> {
        let content = (self.0)(file.number)?;
        if content.len() != into.len() {
            return Err(Failure::new(Code::Internal, format!("{}: another size than was told", file.path)));
        }
        into.copy_from_slice(&content);
        Ok(())
    }
}

fn add(packer: &mut Packer<'_, '_>, entry: &Listed) -> Result<(), Failure> {
    let path = pack::fit(entry.path.as_bytes())?;
    packer.count(path)?;
    let file = |packer: &mut Packer<'_, '_>, file: &ListedFile, exec| {
        let unread = Unread { number: file.number, path: path.to_owned(), identity: file.identity };
        packer.numbered((path, exec), file.size, unread)
    };
    match &entry.item {
        ListedItem::Directory => packer.directory(path),
        ListedItem::Plain(listed) => file(packer, listed, Exec::Plain),
        ListedItem::Program(listed) => file(packer, listed, Exec::Program),
        ListedItem::Link(target) => packer.link(path, target.as_bytes()),
    }
}
