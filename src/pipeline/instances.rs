//! From a release to the processes that should run: as many instances of each process type as people asked for, else as
//! `app.json` says, else one; of `release` none.

use super::context::Context;
use super::health;
use super::launch::{self, ProcessPlace, Profile};
use super::view;
use crate::archives::Manifest;
use crate::layouts::ProjectPlaces;
use crate::model::{Failure, Mode, ProcessName, ProcessType, ReleaseVersion};
use crate::runtime::{InstanceSpec, free_port};
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::system::cgroups::GroupLimits;
use crate::system::{Job, Limits};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How many of each.
pub type Formation = BTreeMap<ProcessType, u32>;

/// What runs, and where it is.
pub struct Running<'a> {
    pub project: &'a ProjectRecord,
    pub places: &'a ProjectPlaces,
    pub version: ReleaseVersion,
    pub commit: String,
    pub mode: Mode,
    /// The project's variables.
    pub environment: Vec<(String, String)>,
    /// The tree, seen by the processes at `run/`.
    pub tree: PathBuf,
    /// Instances that run already, whose ports stay theirs.
    pub standing: Vec<(ProcessName, Option<u16>)>,
}

/// What the supervisor is to start.
///
/// # Errors
/// `BadConfig` for an `app.json` that cannot be read, `Internal`.
pub fn specs(context: &Context, running: &Running<'_>, manifest: &Manifest) -> Result<Vec<InstanceSpec>, Failure> {
    let asked = context.store.formation(&running.project.name)?;
    let declared = health::app_json(&running.tree)?.map(|app| app.formation).unwrap_or_default();
    let mut specs = Vec::new();
    for (kind, command) in kinds(manifest) {
        for index in 1..=quantity(kind, &asked, &declared) {
            specs.push(spec(context, running, (ProcessName { kind: kind.clone(), index }, command))?);
        }
    }
    Ok(specs)
}

/// How many instances of a process type run.
pub fn quantity(kind: &ProcessType, asked: &Formation, declared: &Formation) -> u32 {
    asked.get(kind).or_else(|| declared.get(kind)).copied().unwrap_or(1)
}

/// Process types that are kept running, with their commands.
pub fn kinds(manifest: &Manifest) -> impl Iterator<Item = (&ProcessType, &String)> {
    manifest.base.processes.iter().filter(|(kind, _)| !kind.is_release())
}

fn spec(
    context: &Context,
    running: &Running<'_>,
    (process, command): (ProcessName, &str),
) -> Result<InstanceSpec, Failure> {
    let port = match running.standing.iter().find(|(standing, _)| *standing == process) {
        Some((_, port)) => *port,
        None if process.kind.is_web() => {
            Some(free_port().map_err(|error| Failure::internal("find a free port", &error))?)
        }
        None => None,
    };
    Ok(InstanceSpec {
        port,
        job: running.job(
            context,
            launch::argv(command, running.profile()),
            running.environment_of(&process.to_string(), port),
        ),
        process,
        log: running.places.app_log(),
        group: limits(context),
    })
}

/// Limits of each process of an application.
pub fn limits(context: &Context) -> GroupLimits {
    let config = context.config();
    GroupLimits { memory: Some(config.apps.memory), pids: Some(config.apps.pids.into()), cpus: None }
}

impl<'a> Running<'a> {
    /// The live release, as it stands in `run/`.
    pub fn live(
        context: &Context,
        (project, places): (&'a ProjectRecord, &'a ProjectPlaces),
        release: &ReleaseRecord,
    ) -> Self {
        Self {
            project,
            places,
            version: release.version,
            commit: release.commit.clone(),
            mode: context.mode_of(project),
            environment: release.variables(),
            tree: places.run(),
            standing: Vec::new(),
        }
    }
}

impl Running<'_> {
    /// A process of the release, in its place.
    pub fn job(&self, context: &Context, argv: Vec<String>, env: Vec<(String, String)>) -> Job {
        Job {
            argv,
            env,
            directory: self.places.run(),
            user: self.project.app_user,
            view: view::app_view(&self.project.name, self.places, &self.tree, &context.exe),
            limits: Limits::default(),
            cgroups: Vec::new(),
        }
    }

    pub fn profile(&self) -> Profile {
        let scripts = self.tree.join(".profile.d").is_dir() || self.tree.join(".profile").is_file();
        if scripts { Profile::Scripts } else { Profile::Absent }
    }

    /// The whole environment of a process.
    pub fn environment_of(&self, process: &str, port: Option<u16>) -> Vec<(String, String)> {
        let place = ProcessPlace {
            project: self.project.name.as_str(),
            mode: self.mode.as_str(),
            release: self.version.to_string(),
            commit: &self.commit,
            process: process.to_owned(),
            port,
            run: &self.places.run(),
            data: &self.places.data(),
            path: view::search_path(self.places),
        };
        launch::environment(&self.environment, &place)
    }
}
