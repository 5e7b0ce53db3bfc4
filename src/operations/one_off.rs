//! `run NAME -- CMD` and `shell NAME`: a process of the live release beside the application, for somebody who talks with
//! it. Same tree, data, variables, user and limits; no port, and no routing. Nothing of it is left when it ends.

use super::authorize::{Action, no_project};
use super::converse::{self, Ears, say};
use super::input::Terminal;
use super::one_offs::Place;
use super::records::Reply;
use super::{Input, Platform, Talk};
use crate::model::{Actor, Code, DeploymentNumber, Exit, Failure, ProjectName, ReleaseVersion};
use crate::pipeline::between;
use crate::pipeline::execute::no_release;
use crate::pipeline::instances::{self, Running};
use crate::pipeline::launch::{self, Bash};
use crate::sandbox::{Attached, NotStarted, Task, Wires};
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::verbs::{RunWords, ShellWords};
use std::path::{Path, PathBuf};

/// What a process of the application sees, instead of a view of one's own.
pub(super) struct Within {
    pub release: ReleaseVersion,
    /// Its mount namespace.
    pub namespace: PathBuf,
}

/// What is asked for.
enum What {
    Command(Vec<String>),
    Shell(Bash),
}

impl Platform {
    pub(super) async fn run_command(
        &self,
        actor: &Actor,
        words: RunWords,
        input: Input,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Run, &words.project)?;
        self.one_off(&project, (What::Command(words.command), None), (input, talk)).await
    }

    pub(super) async fn shell(
        &self,
        actor: &Actor,
        words: ShellWords,
        input: Input,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Run, &words.project)?;
        if input.terminal().is_none() {
            let ssh = self.context.ssh_words().replacen("ssh", "ssh -t", 1);
            return Err(Failure::new(Code::Usage, "a shell needs a terminal")
                .hint(format!("from elsewhere: {ssh} shell {}", project.name))
                .hint(format!("without a terminal: commis run {} -- CMD", project.name)));
        }
        let bash = if Path::new("/bin/bash").exists() { Bash::There } else { Bash::Missing };
        let within = match (&words.ps, &words.crashed) {
            (Some(process), _) => Some(self.inside_of(&project, process)?),
            (None, Some(process)) => Some(self.inside_of_crashed(&project, process, talk).await?),
            (None, None) => None,
        };
        self.one_off(&project, (What::Shell(bash), within), (input, talk)).await
    }

    async fn one_off(
        &self,
        project: &ProjectRecord,
        (what, within): (What, Option<Within>),
        (input, talk): (Input, &Talk),
    ) -> Result<Reply, Failure> {
        self.recovered(&project.name).await;
        let config = self.context.config();
        let place = self.one_offs.take(&project.name, config.run.at_once)?;
        let (project, release) = self.begun_from(project, within.as_ref())?;
        let mut task = self.one_off_task(&project, &release, (&what, &place), input.terminal());
        task.job.view.inside = within.as_ref().map(|within| within.namespace.clone());
        let wires = input.terminal().map_or(Wires::Pipes, |terminal| Wires::Terminal(*terminal.window.borrow()));
        let attached = match self.context.sandbox.attach(task, wires).await {
            Ok(attached) => attached,
            Err(NotStarted { why, status }) => {
                say(&talk.0, &format!("error: {why}")).await;
                return Ok(Reply::Ended { exit: status });
            }
        };
        let attached = match within {
            None => self.still_live(&project, release.version, attached).await?,
            Some(_) => attached,
        };
        let ears = Ears { talk, cancel: &place.cancel, grace: config.apps.stop_grace };
        let exit = converse::converse(attached, input, &ears).await;
        let stopped = place.cancel.is_cancelled();
        // Whoever waits for it to end does not wait for a client that reads slowly.
        drop(place);
        match &exit {
            Exit::OutOfMemory { .. } | Exit::NotStarted(_) => say(&talk.0, &format!("error: {exit}")).await,
            Exit::Code(_) | Exit::Signal(_) | Exit::TimedOut { .. } | Exit::Cancelled => {}
        }
        if stopped {
            return Err(Failure::new(Code::Cancelled, "ended: the server or the project is being stopped"));
        }
        Ok(Reply::Ended { exit: exit.status() })
    }

    fn begun_from(
        &self,
        project: &ProjectRecord,
        within: Option<&Within>,
    ) -> Result<(ProjectRecord, ReleaseRecord), Failure> {
        match within {
            None => self.startable(project),
            Some(within) => Ok((project.clone(), self.release_of(project, within)?)),
        }
    }

    fn one_off_task(
        &self,
        project: &ProjectRecord,
        release: &ReleaseRecord,
        (what, place): (&What, &Place),
        terminal: Option<&Terminal>,
    ) -> Task {
        let places = self.context.project_places(&project.name);
        let running = Running::live(&self.context, (project, &places), release);
        let mut env = running.environment_of(&format!("run.{}", place.index), None);
        env.extend(terminal.map(|terminal| ("TERM".to_owned(), terminal.name.clone())));
        let argv = match what {
            What::Command(words) => launch::words(words, running.profile()),
            What::Shell(bash) => {
                let prompt = launch::prompt(project.name.as_str(), &release.version.to_string(), *bash);
                launch::words(&launch::shell(&prompt, *bash), running.profile())
            }
        };
        Task {
            name: format!("{}.run.{}", project.name, place.serial),
            job: running.job(&self.context, argv, env),
            group: instances::limits(&self.context),
            deadline: None,
        }
    }

    /// The project as it is now, and the release of which something may be started beside the application.
    ///
    /// # Errors
    /// `NotFound` when nothing was deployed, `NeedsAdmin` when nobody knows what serves, `Busy` between a switch and
    /// its verdict, `NeedsAdmin` for a project that is stopped.
    pub(super) fn startable(&self, project: &ProjectRecord) -> Result<(ProjectRecord, ReleaseRecord), Failure> {
        let name = &project.name;
        let project = self.context.store.project(name)?.ok_or_else(|| no_project(name.as_str()))?;
        if project.stopped {
            let failure = Failure::new(Code::NeedsAdmin, format!("{name} is stopped"));
            return Err(failure.hint(format!("commis start {name}")));
        }
        if let Some(trouble) = project.trouble.as_ref().filter(|_| self.context.serving(&project).is_none()) {
            return Err(Failure::new(Code::NeedsAdmin, format!("{name} needs an admin: {trouble}"))
                .hint(format!("commis rescue {name}")));
        }
        let Some(version) = project.live else {
            return Err(Failure::new(Code::NotFound, format!("{name} has no release yet"))
                .hint(format!("git push {} main", self.context.remote_of(name))));
        };
        if let Some(number) = self.in_hand(name)? {
            let what = format!("deployment {number} of {name} is between its switch and its verdict");
            return Err(Failure::new(Code::Busy, what).hint("try again in a moment"));
        }
        let release = self.context.store.release(name, version)?.ok_or_else(|| no_release(name, version))?;
        Ok((project, release))
    }

    /// The deployment that has `run/` or `data/` in hand.
    pub(super) fn in_hand(&self, name: &ProjectName) -> Result<Option<DeploymentNumber>, Failure> {
        let mut unfinished = self.context.store.unfinished_deployments()?;
        unfinished.retain(|row| row.project == *name);
        Ok(between::in_hand(&unfinished).map(|row| row.number))
    }

    /// Looked at again once the program has its view: a switch in between would have given it a tree of another release.
    async fn still_live(
        &self,
        project: &ProjectRecord,
        version: ReleaseVersion,
        attached: Attached,
    ) -> Result<Attached, Failure> {
        let moved = match self.startable(project) {
            Ok((now, _)) if now.live == Some(version) => return Ok(attached),
            Ok(_) => Failure::new(Code::Busy, format!("{} was deployed just now", project.name)).hint("try again"),
            Err(failure) => failure,
        };
        attached.finish().await;
        Err(moved)
    }
}
