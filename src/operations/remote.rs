//! `project create NAME --with-remote`: a remote-less project gets its repositories. What stands there becomes the first
//! commit of each; nothing in `run/` is touched. May be repeated after it was interrupted.

use super::authorize::{Action, authorize};
use super::records::Reply;
use super::{Platform, Talk};
use crate::git::commit::Commit;
use crate::git::{self, Tree};
use crate::model::{Actor, Code, CommitId, Failure, RefName, Remote, Repository};
use crate::pipeline::{edits, execute, gather, survey};
use crate::store::ProjectRecord;
use std::path::PathBuf;

const MESSAGE: &str = "as it stood on the server";

impl Platform {
    pub(super) async fn give_remote(&self, actor: &Actor, name: &str, talk: &Talk) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageProjects, None)?;
        let project = self.project(actor, Action::ManageProjects, name)?;
        let remote = self.context.remote_of(&project.name);
        if project.remote == Remote::Git {
            let done = format!("{name} has its repositories already; push to {remote}");
            return Ok(Reply::Done { done, changed: false });
        }
        self.recovered(&project.name).await;
        let _closed = self.close_when_tidied(&project.name, "project create").await?;
        let _making = self.making.lock().await;
        let _lock = self.lock(&project.name)?;
        let project = self.project(actor, Action::ManageProjects, name)?;
        let places = self.context.project_places(&project.name);
        if project.filled.is_none() && crate::system::reading::has_any(&places.project())? {
            let what = format!("{name} was never deployed, and its first commit is what is deployed");
            return Err(Failure::new(Code::Refused, what).hint(format!("commis deploy {name}, then this again")));
        }
        self.make_repositories(&places).await?;
        let commit = match project.filled {
            Some(_) => self.first_commit(actor, &project, (Repository::Project, places.run()), talk).await?,
            None => None,
        };
        self.first_commit(actor, &project, (Repository::Pillar, places.pillar()), talk).await?;
        self.context.store.set_remote(&project.name, Remote::Git, commit.as_ref())?;
        Ok(Reply::Done { done: format!("{name} has its repositories; clone and push: {remote}"), changed: true })
    }

    /// What stands in a directory, as a commit on the branch that deploys; the branch's own commit when it has all of it.
    async fn first_commit(
        &self,
        actor: &Actor,
        project: &ProjectRecord,
        (kind, root): (Repository, PathBuf),
        talk: &Talk,
    ) -> Result<Option<CommitId>, Failure> {
        let places = self.context.project_places(&project.name);
        let repository = places.repository(kind);
        let branch = self.deploy_branches().into_iter().next();
        let branch: RefName =
            branch.ok_or_else(|| Failure::new(Code::ServerConfig, "git.deploy_branches names no branch"))?;
        let (parent, added, unnameable) = tokio::task::block_in_place(|| {
            let objects = git::open(&repository).map_err(Failure::from)?;
            let parent = objects.resolve(&branch).map_err(Failure::from)?;
            let limits = gather::limits(&self.context.config());
            let before = parent.as_ref().map_or(Ok(Tree::default()), |parent| objects.tree(parent, &limits))?;
            let built = match kind {
                Repository::Project => survey::read_built(&places.built_list())?,
                Repository::Pillar => edits::Built::default(),
            };
            let found = survey::survey(&root, &before)?;
            Ok::<_, Failure>((parent, edits::edits(&found, &built, None), edits::unnameable(&found)))
        })?;
        talk.warn(unnameable.as_deref()).await;
        if added.is_empty() {
            return Ok(parent);
        }
        let commit = Commit { branch, parent: parent.as_ref(), message: MESSAGE, author: &actor.name };
        execute::keep(&self.context.git, &repository, commit, (&root, &added)).await.map(Some)
    }
}
