//! Trees and files of a project that no deployment owns any more, when an earlier one could not tidy.

use super::Platform;
use crate::archives::shelf;
use crate::archives::shelf::OnShelf;
use crate::model::{DeploymentNumber, Failure, ProjectName};
use crate::pipeline::execute::Replaced;
use crate::pipeline::{execute, kept, recall, shelving};
use crate::store::Status;
use crate::system::reading;
use crate::trees;

impl Platform {
    /// What an earlier deployment of this life could not clear away, seen by its names. For the holder of the lock.
    pub(super) fn sweep_after_others(&self, name: &ProjectName) -> Result<(), Failure> {
        let places = self.context.project_places(name);
        let strange = |name: &String| name.ends_with(".env") || name.ends_with(".common");
        let left = reading::names(&places.deploy())?.iter().any(|tree| *tree != "current")
            || !reading::names(&places.trash())?.is_empty()
            || reading::names(&places.archives())?.iter().any(|name| is_half(name))
            || reading::names(places.runtime())?.iter().any(strange)
            || !self.uploads.left(&places)?.is_empty()
            || !self.unknown_archives(name)?.is_empty()
            || !shelf::halves(&places.releases())?.is_empty()
            || !shelf::widowed(&places.releases())?.is_empty();
        if left { tokio::task::block_in_place(|| self.sweep(name)) } else { Ok(()) }
    }

    /// For the holder of the project's lock.
    pub(super) fn sweep(&self, name: &ProjectName) -> Result<(), Failure> {
        let places = self.context.project_places(name);
        if self.context.store.project(name)?.is_some_and(|project| project.trouble.is_some()) {
            // An admin may want any of it.
            return Ok(());
        }
        for half in reading::names(&places.archives())?.iter().filter(|name| is_half(name)) {
            trees::remove_tree(&places.archives().join(half))?;
        }
        for tree in reading::names(&places.deploy())?.iter().filter(|tree| *tree != "current") {
            self.clear_away(name, tree)?;
        }
        for file in reading::names(places.runtime())? {
            if file.ends_with(".env") || file.ends_with(".common") {
                trees::remove_tree(&places.runtime().join(&file))?;
            }
        }
        // Lists of backups are written anew when their sums are known.
        let backups = recall::backups(&places)?.into_iter().map(|number| places.archived(number));
        for directory in [places.releases(), places.deploy()].into_iter().chain(backups) {
            shelf::sweep(&directory)?;
        }
        let Some(project) = self.context.store.project(name)? else { return Ok(()) };
        execute::empty(&places.build(), project.build_user)?;
        for trash in reading::names(&places.trash())? {
            trees::remove_tree(&places.trash().join(trash))?;
        }
        self.uploads.left(&places)?.iter().try_for_each(|path| trees::remove_tree(path))?;
        self.sweep_shelf(name)?;
        execute::proofs::prove(&self.context, name)
    }

    /// Releases that were on their way in when the server stopped. What another server was giving us, named by its
    /// digest, is gone on with by the next try; only the newest of those stays.
    pub(super) fn sweep_incoming(&self, name: &ProjectName) -> Result<(), Failure> {
        let places = self.context.project_places(name);
        self.uploads.left(&places)?.iter().try_for_each(|path| trees::remove_tree(path))?;
        let fetched = reading::names(&places.incoming())?.into_iter().filter(|entry| shelving::is_half_fetched(entry));
        let paths = fetched.map(|entry| places.incoming().join(entry));
        let mut half = paths.map(|path| Ok((reading::modified(&path)?, path))).collect::<Result<Vec<_>, Failure>>()?;
        half.sort();
        half.pop();
        half.into_iter().try_for_each(|(_, path)| trees::remove_tree(&path))
    }

    /// Archives that the ledger does not know: those of deployments that were undone.
    fn unknown_archives(&self, name: &ProjectName) -> Result<Vec<OnShelf>, Failure> {
        let known = self.context.store.releases(name)?;
        let mut archives = shelf::list(&self.context.project_places(name).releases(), name)?;
        archives.retain(|archive| !known.iter().any(|release| release.version == archive.version));
        Ok(archives)
    }

    fn sweep_shelf(&self, name: &ProjectName) -> Result<(), Failure> {
        // What is just being put there has no row yet.
        let _still = shelving::hold_still();
        for archive in self.unknown_archives(name)? {
            shelf::remove(&archive.path)?;
        }
        shelf::widowed(&self.context.project_places(name).releases())?
            .iter()
            .try_for_each(|path| trees::remove_tree(path))
    }

    /// A tree below `deploy/`: of a deployment that is live it is the one that was replaced; of another one its own, which
    /// goes, or is kept again when it was taken from where it was kept.
    fn clear_away(&self, name: &ProjectName, tree: &str) -> Result<(), Failure> {
        let places = self.context.project_places(name);
        let number = tree.rsplit('-').next().and_then(|number| number.parse().ok()).map(DeploymentNumber);
        let row = number.map(|number| self.context.store.deployment(name, number)).transpose()?.flatten();
        match row.filter(|row| row.tree.as_deref() == Some(tree)) {
            Some(row) if row.status == Status::Success => self.archive(name, tree, row.number),
            Some(row) => match row.kept.taken {
                Some(from) => kept::put_back(&places, &places.deployed(tree), from).map(drop),
                None => trees::remove_tree(&places.deployed(tree)),
            },
            None => trees::remove_tree(&places.deployed(tree)),
        }
    }

    /// What the interrupted tidying of a successful deployment would have done.
    fn archive(&self, name: &ProjectName, tree: &str, number: DeploymentNumber) -> Result<(), Failure> {
        let places = self.context.project_places(name);
        let tree = places.deployed(tree);
        if reading::names(&tree)?.is_empty() {
            return trees::remove_tree(&tree);
        }
        let edited = self.context.store.replaced_an_edited_tree(name, number)?;
        let replaced = if edited { Replaced::Edited } else { Replaced::Release };
        execute::archive_replaced(&places, (&tree, replaced), number)
    }
}

/// A backup on its way, or one that was being put back.
fn is_half(name: &str) -> bool {
    name.ends_with(".partial") || name.ends_with(".restore")
}
