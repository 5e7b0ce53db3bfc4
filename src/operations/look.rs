//! `show`, `releases`, `status`: looking without touching.

use super::Platform;
use super::authorize::{Action, authorize};
use super::records::{Artifact, Deployment, Release, Reply, Status};
use crate::archives::verify;
use crate::model::{Actor, Code, DeploymentNumber, Failure, ProjectName};
use crate::pipeline::execute::proofs;
use crate::store::{DeploymentRecord, ProjectRecord, ReleaseRecord};
use crate::system::{clock, files};

/// Deployments that `show NAME` lists.
const RECENT: u32 = 20;

impl Platform {
    pub(super) fn show(&self, actor: &Actor, name: &str, number: Option<u32>) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        if let Some(number) = number {
            let row = self.deployment(&project, number)?;
            return Ok(Reply::Deployment(Box::new(self.deployment_record(&row)?)));
        }
        let mut record = self.project_record(&project)?;
        let rows = self.context.store.deployments(&project.name, RECENT)?;
        record.deployments = rows.iter().map(|row| self.deployment_record(row)).collect::<Result<_, _>>()?;
        Ok(Reply::Project(Box::new(record)))
    }

    pub(super) fn deployment(&self, project: &ProjectRecord, number: u32) -> Result<DeploymentRecord, Failure> {
        let row = self.context.store.deployment(&project.name, DeploymentNumber(number))?;
        row.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("{} has no deployment {number}", project.name))
                .hint(format!("commis show {}", project.name))
        })
    }

    /// The one record of a deployment.
    pub(super) fn deployment_record(&self, row: &DeploymentRecord) -> Result<Deployment, Failure> {
        let steps = self.context.store.steps(&row.project, row.number)?;
        let release =
            row.version.map(|version| self.context.store.release(&row.project, version)).transpose()?.flatten();
        let platform = self.context.config().platform;
        let url = self.context.url_of(&row.project);
        let release = release.filter(ReleaseRecord::has_archive);
        let artifacts = release.map(|release| self.artifacts(&row.project, &release)).unwrap_or_default();
        Ok(Deployment::of(row, &steps, artifacts, (platform.as_str(), &url)))
    }

    /// The files of a release, the archive first.
    fn artifacts(&self, project: &ProjectName, release: &ReleaseRecord) -> Vec<Artifact> {
        let files = proofs::four_files(&self.context, project, release);
        files.into_iter().map(|(name, sha256, size)| Artifact { name, sha256, size }).collect()
    }

    fn release_record(&self, project: &ProjectRecord, row: &ReleaseRecord) -> Release {
        let artifacts = self.artifacts(&project.name, row);
        let signed = artifacts.iter().any(|artifact| artifact.name.ends_with(verify::SIGNATURE));
        let own = || signed.then(|| self.context.config().environment().to_owned());
        Release {
            release: row.version.to_string(),
            commit: row.commit.clone(),
            pillar_commit: row.pillar_commit.clone(),
            live: self.context.serving(project) == Some(row.version),
            was_live: row.served.is_some(),
            created_at: clock::rfc3339(row.created_at),
            archive: Artifact::of(row),
            artifacts,
            rollback: row.rollback.as_str().to_owned(),
            backup: self.backup_at_end(project, row),
            pinned: row.pinned,
            origin: row.origin.clone(),
            signed_by: row.signer.clone().or_else(own),
            tested_at: row.tested_at.map(clock::rfc3339),
        }
    }

    pub(super) fn releases(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let rows = self.context.store.releases(&project.name)?;
        Ok(Reply::Releases { releases: rows.iter().map(|row| self.release_record(&project, row)).collect() })
    }

    pub(super) fn status(&self, actor: &Actor) -> Result<Reply, Failure> {
        authorize(actor, Action::Inspect, None)?;
        let projects = self.context.store.projects()?;
        let free = files::free_bytes(&self.context.places.projects).unwrap_or(0);
        Ok(Reply::Status(Box::new(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: self.context.config().platform.as_str().to_owned(),
            ssh: self.addresses.ssh.to_string(),
            http: self.addresses.http.to_string(),
            projects: projects.len(),
            live: projects.iter().filter(|project| self.context.serving(project).is_some()).count(),
            need_admin: projects.iter().filter(|project| project.trouble.is_some()).count(),
            deploying: self.desk.titles().into_iter().chain(self.in_recovery()).collect(),
            free_bytes: free,
            housekeeping: self.housekeeping(),
        })))
    }
}
