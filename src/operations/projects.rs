//! `project create|list`.

use super::authorize::{Action, authorize};
use super::records::Reply;
use super::{Platform, records};
use crate::model::{Actor, Code, Failure, Mode, ProjectName, Repository};
use crate::pipeline::execute::make_directories;
use crate::storage::limits;
use crate::store::{ProjectRecord, Trashed, UserRange};
use crate::system::clock;
use crate::verbs::ModeWord;

impl Platform {
    pub(super) async fn create_project(
        &self,
        actor: &Actor,
        name: &str,
        mode: Option<ModeWord>,
    ) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageProjects, None)?;
        let name = ProjectName::parse(name).ok_or_else(|| bad_name(name))?;
        if let Some(project) = self.context.store.project(&name)? {
            if mode.is_none_or(|mode| project.mode == Some(to_mode(mode))) {
                return Ok(Reply::Done { done: format!("{name} is there already"), changed: false });
            }
            return Err(Failure::new(Code::Exists, format!("{name} is there already, in another mode")));
        }
        let project = self.make_project(actor, &name, mode.map(to_mode)).await?;
        let remote = self.context.remote_of(&project.name);
        Ok(Reply::Done { done: format!("created {name}; push to {remote}"), changed: true })
    }

    /// Rows, users, directories and both repositories.
    pub(super) async fn make_project(
        &self,
        actor: &Actor,
        name: &ProjectName,
        mode: Option<Mode>,
    ) -> Result<ProjectRecord, Failure> {
        // Whoever finds the project's row finds its directories too.
        let _making = self.making.lock().await;
        self.not_in_transit(name)?;
        let is_new = self.context.project_places(name).root().symlink_metadata().is_err();
        let config = self.context.config();
        let range = UserRange { first: config.users.first, count: config.users.count };
        let made = self.context.store.create_project(name, mode, (&actor.name, clock::now()), range)?;
        let Some(project) = made else {
            return match self.context.store.project(name)? {
                Some(project) => Ok(project),
                None => Err(Failure::new(Code::Internal, "no numeric users are left")
                    .hint("raise [users] count in commis.toml")),
            };
        };
        let made = self.make_places(&project).await.and_then(|()| self.context.point_router_at(name, None));
        match made {
            Ok(()) => Ok(project),
            Err(failure) => {
                // Half a project is none; what was there before us stays.
                let _ = self.context.store.remove_project(name);
                if is_new {
                    let _ = crate::archives::trees::remove_tree(self.context.project_places(name).root());
                }
                Err(failure)
            }
        }
    }

    /// A project that could not be brought to either side of the trash keeps its name.
    fn not_in_transit(&self, name: &ProjectName) -> Result<(), Failure> {
        let rows = self.context.store.destroyed()?;
        let in_transit = |state| matches!(state, Trashed::Destroying | Trashed::Returning);
        if rows.iter().any(|row| row.name == *name && in_transit(row.state)) {
            let failure = Failure::new(Code::Busy, format!("{name} is on its way to the trash or back"));
            return Err(failure.hint("restarting the server brings it to an end; its log says what is wrong"));
        }
        Ok(())
    }

    /// Waits for whoever is just making the project, and makes what an earlier life left unmade.
    pub(super) async fn complete(&self, project: &ProjectRecord, kind: Repository) -> Result<(), Failure> {
        let repository = self.context.project_places(&project.name).repository(kind);
        if project.live.is_some() || repository.is_dir() {
            return Ok(());
        }
        let _making = self.making.lock().await;
        self.make_places(project).await
    }

    pub(super) async fn make_places(&self, project: &ProjectRecord) -> Result<(), Failure> {
        let places = self.context.project_places(&project.name);
        // btrfs can limit a directory only when it was made for that; without, the limit is compared.
        if let Err(failure) = limits::prepare(&places.data()).await {
            tracing::warn!(project = %project.name, "data/ cannot have a limit of btrfs: {failure}");
        }
        make_directories(project, &places, self.context.git.user)?;
        for kind in [Repository::Project, Repository::Pillar] {
            self.context.git.create(&places.repository(kind)).await.map_err(Failure::from)?;
        }
        Ok(())
    }

    pub(super) fn list_projects(&self, actor: &Actor) -> Result<Reply, Failure> {
        authorize(actor, Action::Read, None)?;
        let rows = self.context.store.projects()?;
        let seen = rows.iter().filter(|project| actor.sees(&project.name));
        let projects = seen.map(|project| self.project_record(project)).collect::<Result<Vec<_>, _>>()?;
        Ok(Reply::Projects { projects })
    }

    /// The record of a project, without its deployments.
    pub(super) fn project_record(&self, project: &ProjectRecord) -> Result<records::Project, Failure> {
        let name = &project.name;
        let live = project.live.map(|version| self.context.store.release(name, version)).transpose()?.flatten();
        let status = self.context.supervisor.status(name);
        Ok(records::Project {
            project: name.to_string(),
            mode: self.context.mode_of(project).as_str().to_owned(),
            live: project.live.map(|version| version.to_string()),
            commit: live.map(|release| release.commit),
            url: self.context.url_of(name),
            remote: self.context.remote_of(name),
            created_at: clock::rfc3339(project.created_at),
            trouble: project.trouble.clone(),
            processes: status
                .iter()
                .map(|instance| records::Process {
                    process: instance.process.to_string(),
                    state: instance.condition.as_str().to_owned(),
                    pid: instance.pid,
                    restarts: instance.restarts,
                    release: Some(instance.release.to_string()),
                })
                .collect(),
            deployments: Vec::new(),
        })
    }
}

pub(super) fn bad_name(name: &str) -> Failure {
    let shown = crate::notify::clean_line(name.as_bytes());
    Failure::new(Code::Usage, format!("\"{shown}\" cannot be a project's name"))
        .hint("up to 40 of a-z 0-9 -, beginning with a letter")
}

fn to_mode(word: ModeWord) -> Mode {
    match word {
        ModeWord::Editable => Mode::Editable,
        ModeWord::Cooking => Mode::Cooking,
        ModeWord::Final => Mode::Final,
    }
}
