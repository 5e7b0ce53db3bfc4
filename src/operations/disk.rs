//! `disk`, `disk limit`, `disk trim`, `fixperms`: what projects take, and less of it.

use super::Platform;
use super::authorize::{Action, authorize};
use super::records::{Disk, DiskKind, DiskVolume, ProjectDisk, Reply, Trimmed};
use crate::config;
use crate::layouts::ProjectPlaces;
use crate::model::{Actor, Code, Failure};
use crate::pipeline::permissions::{self, Extent};
use crate::pipeline::room;
use crate::pipeline::trimming::{self, Candidate, Failed};
use crate::storage::limits::{self, Keeper};
use crate::storage::{Meter, Usage};
use crate::store::ProjectRecord;
use crate::system::volumes::{self, Space};
use crate::system::{clock, reading};
use crate::verbs::DiskVerb;
use std::path::PathBuf;

impl Platform {
    pub(super) async fn disk(&self, actor: &Actor, verb: DiskVerb) -> Result<Reply, Failure> {
        match verb {
            DiskVerb::Show { project } => tokio::task::block_in_place(|| self.show_disk(actor, project.as_deref())),
            DiskVerb::Limit { project, size } => self.limit_disk(actor, &project, &size).await,
            DiskVerb::Trim { project, failed, dry_run } => {
                let failed = if failed { Failed::AtOnce } else { Failed::WhenOld };
                self.trim_disk(actor, project.as_deref(), (failed, dry_run)).await
            }
        }
    }

    fn show_disk(&self, actor: &Actor, name: Option<&str>) -> Result<Reply, Failure> {
        let projects = self.projects_of(actor, (Action::Read, name))?;
        let disks = projects.iter().map(|project| self.disk_of(project)).collect::<Result<Vec<_>, _>>()?;
        let space = volumes::space(&self.context.places.projects)?;
        Ok(Reply::Disk(Box::new(Disk {
            total_bytes: disks.iter().map(|disk| disk.bytes).sum(),
            disks,
            free_bytes: space.free,
            free_inodes: space.free_inodes,
            volumes: self.volumes_of(&projects)?,
        })))
    }

    /// The file systems that these lie on, each once.
    fn volumes_of(&self, projects: &[ProjectRecord]) -> Result<Vec<DiskVolume>, Failure> {
        let data = projects.iter().map(|project| self.context.project_places(&project.name).data());
        let mut found: Vec<DiskVolume> = Vec::new();
        for path in std::iter::once(self.context.places.projects.clone()).chain(data.filter(|data| data.is_dir())) {
            let volume = volumes::of(&path)?;
            let mounted_on = volume.mounted.point.display().to_string();
            if found.iter().any(|one| one.mounted_on == mounted_on) {
                continue;
            }
            let Space { size: size_bytes, free: free_bytes, free_inodes } = volume.space;
            found.push(DiskVolume { mounted_on, size_bytes, free_bytes, free_inodes });
        }
        Ok(found)
    }

    /// One by its name, or all that the actor sees.
    fn projects_of(
        &self,
        actor: &Actor,
        (action, name): (Action, Option<&str>),
    ) -> Result<Vec<ProjectRecord>, Failure> {
        if let Some(name) = name {
            return Ok(vec![self.project(actor, action, name)?]);
        }
        authorize(actor, action, None)?;
        let all = self.context.store.projects()?;
        Ok(all.into_iter().filter(|project| actor.sees(&project.name)).collect())
    }

    fn disk_of(&self, project: &ProjectRecord) -> Result<ProjectDisk, Failure> {
        let places = self.context.project_places(&project.name);
        let mut meter = Meter::default();
        let mut kinds = Vec::new();
        let mut data = Usage::default();
        for (kind, trees) in kinds_of(&places)? {
            let mut usage = Usage::default();
            for tree in trees {
                usage = usage.plus(meter.measure(&tree)?);
            }
            if kind == "data" {
                data = usage;
            }
            kinds.push(DiskKind { kind: kind.to_owned(), bytes: usage.bytes, inodes: usage.inodes });
        }
        let keeper = limits::find(&places.data()).unwrap_or(Keeper::Compared(limits::Why::NoQuotas));
        Ok(ProjectDisk {
            project: project.name.to_string(),
            bytes: kinds.iter().map(|kind| kind.bytes).sum(),
            kinds,
            limit: project.disk_limit,
            limit_by: keeper.words(),
            warnings: room::warnings(&self.context, project, data)?,
        })
    }

    async fn limit_disk(&self, actor: &Actor, name: &str, size: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::ManageProjects, name)?;
        let limit = match size {
            "none" => None,
            size => Some(config::size_of(size).filter(|bytes| *bytes > 0).ok_or_else(|| bad_size(size))?),
        };
        // The row first: what the file system holds follows it, here, at each start and every hour.
        self.context.store.set_disk_limit(&project.name, limit)?;
        let data = self.context.project_places(&project.name).data();
        let keeper = limits::apply(&data, project.app_user.uid, limit).await?;
        let done = match limit {
            None => format!("data of {name} has no limit"),
            Some(bytes) => {
                format!("data of {name} may take {}; {}", crate::notify::words::size(bytes), keeper.words())
            }
        };
        Ok(Reply::Done { done, changed: project.disk_limit != limit })
    }

    async fn trim_disk(
        &self,
        actor: &Actor,
        name: Option<&str>,
        (failed, dry_run): (Failed, bool),
    ) -> Result<Reply, Failure> {
        let projects = self.projects_of(actor, (Action::ManageProjects, name))?;
        let mut trimmed = Vec::new();
        for project in &projects {
            if dry_run {
                let candidates = trimming::candidates(&self.context, project, (clock::now(), failed))?;
                trimmed.extend(candidates.iter().map(|candidate| self.trimmed(project, candidate, None)));
                continue;
            }
            let closed = match name {
                Some(_) => Some(self.close_when_tidied(&project.name, "disk trim").await?),
                // All of them: whoever is busy is left for the next time.
                None => self.desk.close(&project.name, "disk trim"),
            };
            if closed.is_some() {
                trimmed.extend(tokio::task::block_in_place(|| self.trim_project(project, failed))?);
            }
        }
        let bytes = trimmed.iter().filter(|one| one.stayed.is_none()).map(|one| one.bytes).sum();
        let mut failed_bytes = 0;
        for project in projects.iter().filter(|_| failed == Failed::WhenOld) {
            failed_bytes += trimming::kept_failed(&self.context, project, clock::now())?;
        }
        Ok(Reply::Trimmed { trimmed, bytes, failed_bytes, dry_run })
    }

    /// For the holder of the project's turn.
    fn trim_project(&self, project: &ProjectRecord, failed: Failed) -> Result<Vec<Trimmed>, Failure> {
        let candidates = trimming::candidates(&self.context, project, (clock::now(), failed))?;
        let stayed = trimming::remove(&self.context, project, &candidates);
        let why = |candidate: &Candidate| {
            stayed.iter().find(|(path, _)| *path == candidate.path).map(|(_, failure)| failure.what.clone())
        };
        Ok(candidates.iter().map(|candidate| self.trimmed(project, candidate, why(candidate))).collect())
    }

    fn trimmed(&self, project: &ProjectRecord, candidate: &Candidate, stayed: Option<String>) -> Trimmed {
        let places = self.context.project_places(&project.name);
        let below = candidate.path.strip_prefix(places.root()).unwrap_or(&candidate.path);
        Trimmed {
            project: project.name.to_string(),
            what: below.display().to_string(),
            why: candidate.surplus.words().to_owned(),
            bytes: candidate.bytes,
            stayed,
        }
    }

    pub(super) async fn fix_permissions(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::ManageProjects, name)?;
        let _closed = self.close_when_tidied(&project.name, "fixperms").await?;
        let done = permissions::fix(&self.context, &project, Extent::Whole)?;
        let places = self.context.project_places(&project.name);
        let below = |path: &PathBuf| path.strip_prefix(places.root()).unwrap_or(path).display().to_string();
        Ok(Reply::Fixed {
            project: project.name.to_string(),
            changed: done.changed,
            left_alone: done.left_alone.iter().map(below).collect(),
        })
    }
}

/// The kinds that people see, with their trees.
fn kinds_of(places: &ProjectPlaces) -> Result<Vec<(&'static str, Vec<PathBuf>)>, Failure> {
    let names = reading::names(&places.archives())?;
    let (failed, kept): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.ends_with(".failed") || name.ends_with(".left"));
    let below = |names: Vec<String>| names.iter().map(|name| places.archives().join(name)).collect();
    Ok(vec![
        ("repositories", vec![places.git(), places.project(), places.pillar()]),
        ("run", vec![places.run()]),
        ("deploy", vec![places.deploy()]),
        ("releases", vec![places.releases()]),
        ("archives", below(kept)),
        ("failed", below(failed)),
        ("data", vec![places.data()]),
        ("build", vec![places.build()]),
        ("cache", vec![places.cache()]),
        ("trash", vec![places.trash()]),
        ("logs", vec![places.logs().to_owned()]),
    ])
}

fn bad_size(text: &str) -> Failure {
    let shown = crate::notify::clean_line(text.as_bytes());
    Failure::new(Code::Usage, format!("\"{shown}\" is no size")).hint("500M, 5G, a number of bytes, or none")
}
