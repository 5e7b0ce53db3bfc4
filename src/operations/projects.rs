//! `project create|list`.

use super::authorize::{Action, authorize};
use super::records::Reply;
use super::{Platform, Talk, records};
use crate::layouts::ProjectPlaces;
use crate::model::{Actor, Code, Failure, Mode, ProjectName, Remote, Repository};
use crate::pipeline::execute::make_directories;
use crate::storage::limits;
use crate::store::{ProjectRecord, Trashed, UserRange};
use crate::system::clock;
use crate::verbs::{CreateWords, ModeWord};

impl Platform {
    pub(super) async fn create(&self, actor: &Actor, words: &CreateWords, talk: &Talk) -> Result<Reply, Failure> {
        match (words.with_remote, words.remote_less) {
            (true, _) => self.give_remote(actor, &words.name, talk).await,
            (false, true) => self.create_project(actor, &words.name, (words.mode, Remote::Nothing)).await,
            (false, false) => self.create_project(actor, &words.name, (words.mode, Remote::Git)).await,
        }
    }

    async fn create_project(
        &self,
        actor: &Actor,
        name: &str,
        (mode, remote): (Option<ModeWord>, Remote),
    ) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageProjects, None)?;
        let name = ProjectName::parse(name).ok_or_else(|| bad_name(name))?;
        let in_effect = mode.map_or(self.context.config().mode_default(), to_mode);
        if remote == Remote::Nothing && in_effect != Mode::Editable {
            let what = format!("only mode editable works without a remote, and {name} would be {}", in_effect.as_str());
            return Err(Failure::new(Code::Usage, what).hint("add --mode editable"));
        }
        if let Some(project) = self.context.store.project(&name)? {
            if project.remote != remote {
                return Err(other_remote(&project));
            }
            if mode.is_none_or(|mode| project.mode == Some(to_mode(mode))) {
                return Ok(Reply::Done { done: format!("{name} is there already"), changed: false });
            }
            return Err(Failure::new(Code::Exists, format!("{name} is there already, in another mode")));
        }
        let project = self.make_project(actor, &name, (mode.map(to_mode), remote)).await?;
        let next = match remote {
            Remote::Git => format!("push to {}", self.context.remote_of(&project.name)),
            Remote::Nothing => {
                let place = self.context.project_places(&name).project();
                format!("put its files into {}, then: commis deploy {name}", place.display())
            }
        };
        Ok(Reply::Done { done: format!("created {name}; {next}"), changed: true })
    }

    /// Rows, users, directories and both repositories.
    pub(super) async fn make_project(
        &self,
        actor: &Actor,
        name: &ProjectName,
        shape: (Option<Mode>, Remote),
    ) -> Result<ProjectRecord, Failure> {
        // Whoever finds the project's row finds its directories too.
        let _making = self.making.lock().await;
        self.not_in_transit(name)?;
        let is_new = self.context.project_places(name).root().symlink_metadata().is_err();
        let config = self.context.config();
        let range = UserRange { first: config.users.first, count: config.users.count };
        let made = self.context.store.create_project(name, shape, (&actor.name, clock::now()), range)?;
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
                    let _ = crate::trees::remove_tree(self.context.project_places(name).root());
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
        if project.live.is_some() || project.remote == Remote::Nothing || repository.is_dir() {
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
        if project.remote == Remote::Nothing {
            return Ok(());
        }
        self.make_repositories(&places).await
    }

    pub(super) async fn make_repositories(&self, places: &ProjectPlaces) -> Result<(), Failure> {
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
        let serving = self.context.serving(project);
        let live = serving.map(|version| self.context.store.release(name, version)).transpose()?.flatten();
        let status = self.context.supervisor.status(name);
        Ok(records::Project {
            project: name.to_string(),
            mode: self.context.mode_of(project).as_str().to_owned(),
            live: serving.map(|version| version.to_string()),
            commit: live.map(|release| release.commit),
            url: self.context.url_of(name),
            remote: (project.remote == Remote::Git).then(|| self.context.remote_of(name)),
            edited_in: project.filled.map(|_| self.context.project_places(name).project().display().to_string()),
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

fn other_remote(project: &ProjectRecord) -> Failure {
    let name = &project.name;
    match project.remote {
        Remote::Git => Failure::new(Code::Exists, format!("{name} is there already, and has repositories")),
        Remote::Nothing => Failure::new(Code::Exists, format!("{name} is there already, and is remote-less"))
            .hint(format!("to give it repositories: commis project create {name} --with-remote")),
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
