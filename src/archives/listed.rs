//! Packing a tree that is known by a list and read piece by piece: a commit whose build does nothing needs no detour over
//! the disk. The bytes are those that [`super::pack()`] makes of the same tree written out.

use super::listing::Exec;
use super::manifest::ManifestBase;
use super::names;
use super::pack::{Packed, Packer, pack_with};
use crate::model::{Code, Failure};
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
    /// Its content is asked for by its place in the list.
    Plain(usize),
    Program(usize),
    Link(String),
}

/// Packs the entries, in whatever order they are given; `read` gets the number of a file.
///
/// Errors: as [`super::pack()`], and those of `read`.
pub fn pack_listed(
    mut entries: Vec<Listed>,
    read: &mut dyn FnMut(usize) -> Result<Vec<u8>, Failure>,
    base: &ManifestBase,
    (out, threads): (&Path, usize),
) -> Result<Packed, Failure> {
    entries.sort_by(|left, right| names::order(&left.path, &right.path));
    pack_with(base, out, threads, |packer| entries.iter().try_for_each(|entry| add(packer, entry, read)))
}

fn add(
    packer: &mut Packer<'_>,
    entry: &Listed,
    read: &mut dyn FnMut(usize) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    let path = names::check_in_tree(entry.path.as_bytes())
        .map_err(|why| Failure::new(Code::BuildFailed, format!("{}: {why}", names::escape(entry.path.as_bytes()))))?;
    packer.count(path)?;
    match &entry.item {
        ListedItem::Directory => packer.directory(path),
        ListedItem::Plain(number) => packer.bytes(path, Exec::Plain, &read(*number)?),
        ListedItem::Program(number) => packer.bytes(path, Exec::Program, &read(*number)?),
        ListedItem::Link(target) => packer.link(path, target.as_bytes()),
    }
}
