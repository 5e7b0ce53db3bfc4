//! What is left to do after the verdict was told: stop the old processes, archive the old tree, drop what is not kept.
//! Nobody waits for it but the next deployment of the same project.

use super::undo::discard;
use super::{Execution, as_root};
use crate::archives::retention::{self, KeptRelease};
use crate::archives::{shelf, trees};
use crate::layouts::ProjectPlaces;
use crate::model::{DeploymentNumber, Failure, ProjectName, ReleaseVersion};
use crate::pipeline::context::{Context, LiveSet};
use crate::pipeline::recall;
use crate::system::privileged::Operation;
use crate::system::{UserIds, clock, reading};
use std::path::PathBuf;

/// Work left over, as data; [`Tidy::carry_out`] does it.
pub struct Tidy {
    jobs: Option<Jobs>,
}

struct Jobs {
    project: ProjectName,
    places: ProjectPlaces,
    number: DeploymentNumber,
    build_user: UserIds,
    /// Processes of the release that was live before.
    old: Option<LiveSet>,
    /// The tree that was `run/` before.
    old_tree: Option<PathBuf>,
    live: ReleaseVersion,
    previous: Option<ReleaseVersion>,
    keep: usize,
    keep_backups: usize,
    failed_days: u32,
}

impl Tidy {
    pub fn nothing() -> Self {
        Self { jobs: None }
    }

    /// Does it; what fails is logged, and found again by the next deployment's tidying.
    pub async fn carry_out(self, context: &Context) {
        let Some(jobs) = self.jobs else { return };
        if let Some(old) = jobs.old {
            context.supervisor.stop_set(old.set).await;
        }
        let results = tokio::task::block_in_place(|| {
            [jobs.archive_old(), jobs.prune_releases(context), jobs.prune_archives(context), jobs.clean()]
        });
        for failure in results.into_iter().filter_map(Result::err) {
            tracing::warn!(project = %jobs.project, "tidying: {failure}");
        }
    }
}

impl Execution<'_> {
    /// Ends the execution; what remains is for [`Tidy`].
    pub fn finish(self) -> Tidy {
        let (Some(live), true) = (self.work.new, self.begun.last().is_some()) else { return Tidy::nothing() };
        let jobs = Jobs {
            project: self.order.project.name.clone(),
            number: self.order.number,
            build_user: self.order.project.build_user,
            old: self.work.old,
            old_tree: Some(self.places.deployed(&self.work.tree_name)),
            live: live.version,
            previous: self.order.project.live,
            keep: self.gathered.config.releases.keep as usize,
            keep_backups: self.gathered.config.backups.keep as usize,
            failed_days: self.gathered.config.archives.failed_days,
            places: self.places,
        };
        Tidy { jobs: Some(jobs) }
    }
}

impl Jobs {
    fn archive_old(&self) -> Result<(), Failure> {
        let Some(tree) = self.old_tree.as_ref().filter(|tree| tree.is_dir()) else { return Ok(()) };
        if self.previous.is_none() {
            return trees::remove_tree(tree);
        }
        let directory = self.places.archived(self.number);
        as_root(&Operation::MakeDirectory { path: directory, owner: UserIds::of(0), mode: 0o750 })?;
        as_root(&Operation::Rename { from: tree.clone(), to: self.places.archived_run(self.number) })
    }

    /// Keeps the backups that somebody may go back to, the newest replaced tree, and for some days what did not work.
    fn prune_archives(&self, context: &Context) -> Result<(), Failure> {
        let present = recall::backups(&self.places)?;
        let gone = retention::backups(&present, &self.needed(context)?, self.keep_backups);
        for number in &gone {
            context.store.forget_backup(&self.project, *number)?;
            discard(&self.places, &self.places.archived(*number))?;
        }
        let older = present.iter().filter(|number| **number != self.number && !gone.contains(number));
        for number in older {
            discard(&self.places, &self.places.archived_run(*number))?;
        }
        self.prune_failed(context)
    }

    /// Backups with which a release that is kept can be gone back to.
    fn needed(&self, context: &Context) -> Result<Vec<DeploymentNumber>, Failure> {
        let releases = context.store.releases(&self.project)?;
        let served = releases.iter().filter_map(|release| release.served);
        let successors = served.map(|number| context.store.successor(&self.project, number));
        let found: Result<Vec<_>, _> = successors.collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// What did not work goes when its days are over; a tree without data when there is a newer one.
    fn prune_failed(&self, context: &Context) -> Result<(), Failure> {
        let names = reading::names(&self.places.archives())?;
        let mut failed: Vec<(u32, &String)> = names
            .iter()
            .filter_map(|name| Some((name.strip_suffix(".failed").or(name.strip_suffix(".left"))?.parse().ok()?, name)))
            .collect();
        failed.sort_unstable();
        let newest = failed.last().map(|(number, _)| *number);
        for (number, name) in failed {
            let path = self.places.archives().join(name);
            let row = context.store.deployment(&self.project, DeploymentNumber(number))?;
            let age = row.and_then(|row| row.finished_at).map(|at| clock::now().seconds_since(at));
            let over = age.is_some_and(|age| age > f64::from(self.failed_days) * 86_400.0);
            let of_use = Some(number) == newest || self.places.archived_data(&path).is_dir();
            if over || !of_use {
                discard(&self.places, &path)?;
            }
        }
        Ok(())
    }

    fn prune_releases(&self, context: &Context) -> Result<(), Failure> {
        let records = context.store.releases(&self.project)?;
        let kept: Vec<KeptRelease> = records
            .iter()
            .map(|record| KeptRelease {
                version: record.version,
                live: record.version == self.live,
                pinned: false,
                served: record.served,
            })
            .collect();
        for version in retention::plan(&kept, self.keep).remove {
            let Some(record) = records.iter().find(|record| record.version == version) else { continue };
            context.store.prune_release(&self.project, version)?;
            shelf::remove(&self.places.release(&record.file_name))?;
        }
        Ok(())
    }

    fn clean(&self) -> Result<(), Failure> {
        super::prepare::empty(&self.places.build(), self.build_user)?;
        trees::remove_tree(&self.places.env_dir(self.number))?;
        trees::remove_tree(&self.places.common_dir(self.number))
    }
}
