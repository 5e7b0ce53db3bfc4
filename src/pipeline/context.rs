//! What a deployment works with: the handles to every room below, and which processes serve each project.

use crate::archives::signing::SigningKey;
use crate::config::ServerConfig;
use crate::git::Git;
use crate::layouts::{Places, ProjectPlaces};
use crate::model::{Mode, ProjectName, ReleaseVersion};
use crate::router::Router;
use crate::runtime::{SetId, Supervisor};
use crate::sandbox::Sandbox;
use crate::store::{ProjectRecord, Store};
use crate::upstream;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What all deployments of a server share; cheap to clone. Its [`Handles`] are reached as if they were its own.
#[derive(Clone)]
pub struct Context {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    handles: Arc<Handles>,
    live: Arc<Mutex<HashMap<ProjectName, LiveSet>>>,
}

/// The handles to the rooms below, put together once by the roof.
pub struct Handles {
    pub places: Places,
    pub store: Store,
    pub git: Git,
    pub sandbox: Sandbox,
    pub supervisor: Supervisor,
    pub router: Router,
    /// Signs what is cooked here.
    pub signing: SigningKey,
    /// This program, for views in which `commis` must be found.
    pub exe: PathBuf,
    /// Where the router listens.
    pub http: SocketAddr,
    /// Where the ssh door listens.
    pub ssh: SocketAddr,
    /// Who we are for the servers that cook.
    pub upstream_key: upstream::Key,
}

impl Deref for Context {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.handles
    }
}

/// The processes that serve a project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveSet {
    pub set: SetId,
    pub version: ReleaseVersion,
}

impl Context {
    pub fn new(config: ServerConfig, handles: Handles) -> Self {
        Self { config: Arc::new(RwLock::new(Arc::new(config))), handles: Arc::new(handles), live: Arc::default() }
    }

    /// The configuration as it is now; a deployment takes it once and keeps it.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new configuration for what starts from now on.
    pub fn reload(&self, config: ServerConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    pub fn project_places(&self, name: &ProjectName) -> ProjectPlaces {
        self.places.project(name)
    }

    pub fn mode_of(&self, project: &ProjectRecord) -> Mode {
        project.mode.unwrap_or_else(|| self.config().mode_default())
    }

    /// `blog.apps.example.com`.
    pub fn host_of(&self, project: &ProjectName) -> String {
        format!("{project}.{}", self.config().router.domain)
    }

    /// Where people find the application: the router's port is named unless it is 80.
    pub fn url_of(&self, project: &ProjectName) -> String {
        let port = self.http.port();
        let host = self.host_of(project);
        if port == 80 { format!("http://{host}") } else { format!("http://{host}:{port}") }
    }

    /// What to give to `git remote add`.
    pub fn remote_of(&self, project: &ProjectName) -> String {
        match self.ssh.port() {
            22 => format!("commis@{}:{project}", self.ssh_host()),
            port => format!("ssh://commis@{}:{port}/{project}", self.ssh_host()),
        }
    }

    /// How somebody on another machine begins a verb: `ssh -p 2222 commis@apps.example.com`.
    pub fn ssh_words(&self) -> String {
        match self.ssh.port() {
            22 => format!("ssh commis@{}", self.ssh_host()),
            port => format!("ssh -p {port} commis@{}", self.ssh_host()),
        }
    }

    fn ssh_host(&self) -> String {
        match self.ssh.ip().is_unspecified() {
            true => self.config().router.domain.clone(),
            false => self.ssh.ip().to_string(),
        }
    }

    pub fn live(&self, project: &ProjectName) -> Option<LiveSet> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(project).copied()
    }

    /// Notes which processes serve a project now; returns those that did.
    pub fn set_live(&self, project: &ProjectName, live: Option<LiveSet>) -> Option<LiveSet> {
        let mut sets = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match live {
            Some(live) => sets.insert(project.clone(), live),
            None => sets.remove(project),
        }
    }
}

impl Context {
    /// What is live, for sentences: the release and its commit.
    pub fn live_words(&self, project: &ProjectRecord) -> Option<(ReleaseVersion, String)> {
        let version = self.serving(project)?;
        let release = self.store.release(&project.name, version).ok().flatten();
        let commit = release.and_then(|release| release.commit_id());
        Some((version, commit.map_or_else(|| "?".to_owned(), |commit| commit.short().to_owned())))
    }

    /// The release that serves: not the one that should be live, where nothing of it runs until an admin has chosen.
    pub fn serving(&self, project: &ProjectRecord) -> Option<ReleaseVersion> {
        project.live.filter(|_| project.trouble.is_none() || self.live(&project.name).is_some())
    }
}
