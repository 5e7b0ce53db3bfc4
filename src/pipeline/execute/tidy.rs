//! What is left to do after the verdict was told: stop the old processes, look at the new tree, archive the old one, drop
//! what is not kept.
//! Nobody waits for it but the next deployment of the same project.

use super::undo::discard;
use super::{Execution, as_root, proofs, shelf};
use crate::archives::retention::{self, KeptRelease, Month, Policy};
use crate::archives::shelf as releases;
use crate::backups::backup;
use crate::config::ServerConfig;
use crate::config::server::Releases;
use crate::layouts::ProjectPlaces;
use crate::model::{DeploymentNumber, Failure, ProjectName, ReleaseVersion};
use crate::pipeline::context::{Context, LiveSet};
use crate::pipeline::{kept, recall};
use crate::store::ReleaseRecord;
use crate::system::privileged::Operation;
use crate::system::{UserIds, clock, memory, reading};
use crate::trees;
use std::path::{Path, PathBuf};

/// Work left over, as data; [`Tidy::carry_out`] does it.
pub struct Tidy {
    jobs: Option<Jobs>,
    aside: Option<Aside>,
}

/// What was put aside, now and earlier.
struct Aside {
    project: ProjectName,
    places: ProjectPlaces,
    failed_days: u32,
}

struct Jobs {
    project: ProjectName,
    places: ProjectPlaces,
    number: DeploymentNumber,
    build_user: UserIds,
    /// Processes of the release that is live, when they are new.
    new: Option<LiveSet>,
    /// The tree that was `run/` before.
    old_tree: Option<PathBuf>,
    /// The inode of the tree that was edited, if one was.
    edited: Option<u64>,
    live: ReleaseVersion,
    previous: Option<ReleaseVersion>,
    policy: Policy,
    keep_backups: usize,
}

impl Tidy {
    pub fn nothing() -> Self {
        Self { jobs: None, aside: None }
    }

    /// Does it; what fails is logged, and found again by the next deployment's tidying.
    pub async fn carry_out(self, context: &Context) {
        if let Some(aside) = self.aside
            && let Err(failure) = tokio::task::block_in_place(|| aside.prune(context))
        {
            tracing::warn!(project = %aside.project, "tidying: {failure}");
        }
        let Some(jobs) = self.jobs else { return };
        // Those of the release before, and of any other that could not be stopped in its time.
        if let Some(new) = jobs.new {
            context.retire_others(&jobs.project, Some(new.set)).await;
        }
        let results = tokio::task::block_in_place(|| {
            if let Err(failure) = kept::confirm(context, &jobs.project, jobs.number) {
                tracing::error!(project = %jobs.project, "{failure}");
            }
            [
                proofs::prove(context, &jobs.project),
                jobs.archive_old(),
                jobs.prune_releases(context),
                jobs.prune_archives(context),
                jobs.clean(),
                jobs.complete_backup(),
            ]
        });
        for failure in results.into_iter().filter_map(Result::err) {
            tracing::warn!(project = %jobs.project, "tidying: {failure}");
        }
        memory::give_back();
    }
}

/// What the server's configuration asks of retention now.
pub fn retention_policy(config: &ServerConfig) -> Policy {
    let Releases { keep, months, max_bytes, .. } = config.releases;
    Policy { keep: keep as usize, months, max_bytes, now: Month::of(clock::now()) }
}

/// A release as retention sees it.
pub fn on_shelf(record: &ReleaseRecord, live: Option<ReleaseVersion>) -> KeptRelease {
    KeptRelease {
        version: record.version,
        bytes: record.bytes,
        live: live == Some(record.version),
        pinned: record.pinned,
        served: record.served,
        made: Month::of(record.created_at),
    }
}

impl Execution<'_> {
    /// Ends the execution; what remains is for [`Tidy`].
    pub fn finish(self) -> Tidy {
        let aside = Aside {
            project: self.order.project.name.clone(),
            places: self.places.clone(),
            failed_days: self.gathered.config.archives.failed_days,
        };
        let Some(live) = self.work.settled else {
            return Tidy { jobs: None, aside: Some(aside) };
        };
        let jobs = Jobs {
            project: self.order.project.name.clone(),
            number: self.order.number,
            build_user: self.order.project.build_user,
            new: self.work.new,
            old_tree: Some(self.places.deployed(&self.work.tree_name)),
            live,
            previous: self.order.project.live,
            edited: self.order.project.filled,
            policy: retention_policy(&self.gathered.config),
            keep_backups: self.gathered.config.backups.keep as usize,
            places: self.places,
        };
        Tidy { jobs: Some(jobs), aside: Some(aside) }
    }
}

impl Jobs {
    fn archive_old(&self) -> Result<(), Failure> {
        let Some(tree) = self.old_tree.as_ref().filter(|tree| tree.is_dir()) else { return Ok(()) };
        if self.previous.is_none() {
            return trees::remove_tree(tree);
        }
        let edited = self.edited.is_some_and(|inode| reading::inode(tree).is_ok_and(|it| it == inode));
        let replaced = if edited { Replaced::Edited } else { Replaced::Release };
        archive_replaced(&self.places, (tree, replaced), self.number)
    }

    /// Keeps the backups that somebody may go back to, the newest replaced tree, and for some days what did not work.
    fn prune_archives(&self, context: &Context) -> Result<(), Failure> {
        // What replaced nothing makes no other tree the older one.
        let has_newer = self.places.archived_run(self.number).is_dir();
        let present = recall::backups(&self.places)?;
        let gone = retention::backups(&present, &self.needed(context)?, self.keep_backups);
        for number in &gone {
            context.store.forget_backup(&self.project, *number)?;
            discard(&self.places, &self.places.archived(*number))?;
        }
        let older = present.iter().filter(|number| has_newer && **number != self.number && !gone.contains(number));
        for number in older {
            discard(&self.places, &self.places.archived_run(*number))?;
        }
        Ok(())
    }

    /// Backups with which a release that is kept can be gone back to.
    fn needed(&self, context: &Context) -> Result<Vec<DeploymentNumber>, Failure> {
        let releases = context.store.releases(&self.project)?;
        let served = releases.iter().filter_map(|release| release.served);
        let successors = served.map(|number| context.store.successor(&self.project, number));
        let found: Result<Vec<_>, _> = successors.collect();
        Ok(found?.into_iter().flatten().collect())
    }

    fn prune_releases(&self, context: &Context) -> Result<(), Failure> {
        let records = context.store.releases(&self.project)?;
        let kept: Vec<KeptRelease> = records.iter().map(|record| on_shelf(record, Some(self.live))).collect();
        for (version, _) in retention::plan(&kept, &self.policy).remove {
            let Some(record) = records.iter().find(|record| record.version == version) else { continue };
            context.store.prune_release(&self.project, version)?;
            releases::remove(&self.places.release(&record.file_name))?;
        }
        Ok(())
    }

    /// The sums of what the backup shares with data are taken when nobody waits.
    fn complete_backup(&self) -> Result<(), Failure> {
        let shelf = shelf(&self.places, &self.places.archived(self.number));
        if shelf.inventory.is_file() { backup::complete(&shelf).map(drop) } else { Ok(()) }
    }

    fn clean(&self) -> Result<(), Failure> {
        super::prepare::empty(&self.places.build(), self.build_user)?;
        trees::remove_tree(&self.places.env_dir(self.number))?;
        trees::remove_tree(&self.places.common_dir(self.number))
    }
}

/// What a deployment replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replaced {
    Release,
    /// What people edited may hold what no commit has, ignored files for instance.
    Edited,
}

/// Puts the tree that a deployment replaced where it is kept: one that people edited for days, whatever is deployed next.
pub fn archive_replaced(
    places: &ProjectPlaces,
    (tree, replaced): (&Path, Replaced),
    number: DeploymentNumber,
) -> Result<(), Failure> {
    let (directory, to) = match replaced {
        Replaced::Edited => (places.left(number), places.left_run(number)),
        Replaced::Release => (places.archived(number), places.archived_run(number)),
    };
    if to.symlink_metadata().is_ok() {
        return trees::remove_tree(tree);
    }
    as_root(&Operation::MakeDirectory { path: directory, owner: UserIds::of(0), mode: 0o750 })?;
    as_root(&Operation::Rename { from: tree.to_owned(), to })
}

impl Aside {
    /// What did not work goes when its days are over; a tree of it without data when there is a newer one. What was put aside
    /// for people stays for its days.
    fn prune(&self, context: &Context) -> Result<(), Failure> {
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
            let promised = name.ends_with(".left") || self.places.archived_data(&path).is_dir();
            let of_use = Some(number) == newest || promised;
            if over || !of_use {
                discard(&self.places, &path)?;
            }
        }
        Ok(())
    }
}
