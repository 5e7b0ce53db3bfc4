//! What is asked for and serves already: said, and not done once more. A job that lost its connection asks again.

use super::Platform;
use crate::archives::{Expected, UnpackLimits};
use crate::git;
use crate::model::{CommitId, Failure, ProjectName, Remote, Repository};
use crate::pipeline::{Promotion, shelving};
use crate::runtime::Condition;
use crate::store::{DeploymentRecord, ProjectRecord, ReleaseRecord};

impl Platform {
    /// The deployment since which these very bytes serve, when deploying them again would change nothing: no other one is
    /// on its way, the pillar is the one that they run with, every process runs, and what is on the shelf passes.
    pub(super) fn serves_already(
        &self,
        project: &ProjectRecord,
        promotion: &Promotion,
    ) -> Result<Option<DeploymentRecord>, Failure> {
        let name = &project.name;
        let is_asked_for = project.live == Some(promotion.version) && promotion.branch.is_none();
        if !is_asked_for || project.trouble.is_some() || self.desk.foremost(name).is_some() {
            return Ok(None);
        }
        let Some(release) = shelving::on_shelf(&self.context, name, promotion)? else { return Ok(None) };
        let pillar = self.pillar_of_today(project)?;
        if release.pillar_commit.as_deref() != pillar.as_ref().map(CommitId::as_str) || !self.is_whole(name, &release) {
            return Ok(None);
        }
        let Some(number) = release.served else { return Ok(None) };
        Ok(self.context.store.deployment(name, number)?)
    }

    fn pillar_of_today(&self, project: &ProjectRecord) -> Result<Option<CommitId>, Failure> {
        if project.remote == Remote::Nothing {
            return Ok(None);
        }
        let repository = self.context.project_places(&project.name).repository(Repository::Pillar);
        let objects = git::open(&repository).map_err(Failure::from)?;
        let found = objects.branch_in_use(&self.deploy_branches()).map_err(Failure::from)?;
        Ok(found.map(|(_, commit)| commit))
    }

    /// It runs, and its four files are what they were. What is wrong with them, a deployment says.
    fn is_whole(&self, name: &ProjectName, release: &ReleaseRecord) -> bool {
        let processes = self.context.supervisor.status(name);
        if processes.is_empty() || processes.iter().any(|process| process.condition != Condition::Running) {
            return false;
        }
        let expected = Expected {
            project: name.clone(),
            environment: release.signer.clone(),
            sha256: Some(release.sha256.clone()),
            limits: UnpackLimits::default(),
        };
        let archive = self.context.project_places(name).release(&release.file_name);
        tokio::task::block_in_place(|| shelving::verify(&self.context, &archive, &expected)).is_ok()
    }
}
