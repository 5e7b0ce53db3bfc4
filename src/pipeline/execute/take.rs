//! take: the tree of a release that was kept when it was replaced is deployed again, and its undoing. Nothing of it is
//! read or written here but what its settings and hooks say.

use super::{Done, Execution, as_root, missing, no_release};
use crate::archives::Manifest;
use crate::model::Failure;
use crate::notify::words::{self, Ready, Stage};
use crate::pipeline::{Goal, kept};
use crate::system::privileged::Operation;

impl Execution<'_> {
    /// One rename, durable; the row that says where the tree belongs is there before it.
    pub(super) fn take(&mut self) -> Result<Done, Failure> {
        let Goal::Release(version) = self.order.goal else { return Err(missing("a release")) };
        let (name, number) = (&self.order.project.name, self.order.number);
        let release = self.context.store.release(name, version)?.ok_or_else(|| no_release(name, version))?;
        let (archive, made) = self.facts.kept.zip(release.served).ok_or_else(|| missing("a kept tree"))?;
        self.context.store.intend_taking(name, number, version, (made, archive))?;
        self.work.version = Some(version);
        as_root(&Operation::Rename { from: self.places.archived_run(archive), to: self.work.tree.clone() })?;
        self.work.manifest = Some(Manifest::parse(release.manifest.as_bytes())?);
        self.work.release = Some(release);
        self.close_stage(Stage::Package, &words::ready(version, Ready::Kept));
        self.adopt()?;
        Ok(Done::Did(format!("as it was kept in archives/{}", archive.0)))
    }

    /// Nothing could change it: it can be taken again.
    pub(super) fn put_back_tree(&mut self) -> Result<Done, Failure> {
        let archive = self.facts.kept.ok_or_else(|| missing("a kept tree"))?;
        if self.work.tree.is_dir() && self.work.tree != self.places.run() {
            self.work.tree = tokio::task::block_in_place(|| kept::put_back(&self.places, &self.work.tree, archive))?;
        }
        Done::quietly()
    }
}
