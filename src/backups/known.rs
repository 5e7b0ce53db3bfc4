//! What an earlier backup holds, so that a file that did not change since is one more name there instead of a new copy.
//!
//! Backups are root's alone and are only ever copied from; nothing that an application can write shares a file with them.

use super::inventory::{Content, Inventory, Item, Source, Traits};
use super::traits::{of_stat, openings, source_of};
use crate::model::Failure;
use crate::trees::walk;
use nix::fcntl::AtFlags;
use nix::sys::stat::FileStat;
use nix::unistd::linkat;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Files of a backup by what they were copied from.
pub struct Known {
    tree: OwnedFd,
    files: HashMap<Source, (Vec<u8>, Traits, Content)>,
}

impl Known {
    /// # Errors
    /// When there is no such backup; then nothing is known.
    pub fn new(tree: &Path, inventory: Inventory) -> Result<Self, Failure> {
        let file = |(path, item)| match item {
            Item::File(traits, content) => Some((content.source?, (path, traits, content))),
            Item::Directory(_) | Item::Name(_) | Item::Link(..) => None,
        };
        let entries = inventory.entries.into_iter().map(|entry| (entry.path, entry.item));
        Ok(Self { tree: walk::open_directory(tree)?, files: entries.filter_map(file).collect() })
    }

    /// Whether a file is as it was.
    pub fn has(&self, stat: &FileStat) -> bool {
        self.find(stat).is_some()
    }

    /// Makes the known copy of a file appear under one more name. `None`: it is not known, or cannot have another name.
    pub fn link(&self, stat: &FileStat, (parent, name): (&OwnedFd, &CStr)) -> Option<(Content, Traits)> {
        let (path, traits, content) = self.find(stat)?;
        let (from, old) = openings(&self.tree, path).ok()?;
        linkat(&from, old.as_c_str(), parent, name, AtFlags::empty()).ok()?;
        Some((content.clone(), traits.clone()))
    }

    fn find(&self, stat: &FileStat) -> Option<&(Vec<u8>, Traits, Content)> {
        let found = self.files.get(&source_of(stat))?;
        // The attributes are those of then: changing one changes the time that only the kernel sets.
        let seen = Traits { attributes: found.1.attributes.clone(), ..of_stat(stat) };
        (found.1 == seen && found.2.size == stat.st_size.max(0) as u64).then_some(found)
    }
}
