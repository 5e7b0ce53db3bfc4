//! The hall behind every door: what each verb does, who may, and what comes back.
//!
//! Doors hold a [`Platform`] and reach nothing past it. To add a verb: `verbs::grammar`, a file here, its arm in
//! [`Platform::perform`], its record in `records` and its text in `show`.

pub mod authorize;
pub mod outcome;
pub mod records;
mod records_disk;
mod records_edits;
mod records_processes;
mod records_tasks;
pub mod show;
mod show_disks;
mod show_edits;
mod show_processes;
mod show_rescue;
mod show_tasks;

mod already;
mod columns;
mod configure;
mod converse;
mod deploy;
mod destroy_project;
mod disk;
mod doctor;
mod domains;
mod edited;
mod fates;
mod going_on;
mod housekeeping;
mod incoming;
mod input;
mod inside;
mod keys;
mod logs;
mod look;
mod one_off;
mod one_offs;
mod processes;
mod projects;
mod promote;
mod push;
mod push_session;
mod records_key;
mod recover;
mod release_head;
mod releases;
mod remote;
mod rescue;
mod rollback;
mod serve_git;
mod sweep;
mod task_desk;
mod task_run;
mod tasks;
mod timekeeper;
mod trash;
mod travel;
mod uploads;
mod visible;

use crate::model::{Actor, Failure, ProjectName};
use crate::notify::words;
use crate::pipeline::{Context, Desk};
use crate::store::ProjectRecord;
use crate::verbs::{self, ConfigVerb, DeployWords, ProjectVerb, Verb};
use authorize::{Action, authorize, no_project};
use destroy_project::{Destroying, Keep};
pub use input::{Input, Terminal};
use one_offs::OneOffs;
pub use push_session::PushSession;
use records::Reply;
pub use recover::{Recovered, Recovery};
pub use serve_git::{Direction, GitService, GitStreams, Left};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use task_desk::TaskDesk;
use tokio::sync::{mpsc, watch};
use uploads::Uploads;

/// The server as doors see it; cheap to clone.
#[derive(Clone)]
pub struct Platform {
    pub(crate) context: Context,
    pub(crate) desk: Desk,
    pub(crate) addresses: Addresses,
    /// Pushes whose git is running, by token.
    sessions: Arc<Mutex<HashMap<String, PushSession>>>,
    uploads: Uploads,
    one_offs: OneOffs,
    task_desk: TaskDesk,
    /// Work that must end before the server may: each holds a part of it, and a drain all of it.
    tasks: Arc<tokio::sync::RwLock<()>>,
    /// Held by whoever makes or unmakes a project's directories.
    making: Arc<tokio::sync::Mutex<()>>,
    /// Projects that a start has not recovered yet.
    recovering: Arc<watch::Sender<BTreeSet<ProjectName>>>,
}

/// Where the doors really listen, and how they are known.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub ssh: SocketAddr,
    pub http: SocketAddr,
    /// `ssh-ed25519 AAAA...`
    pub host_key: String,
    pub host_key_fingerprint: String,
}

/// A verb with all that comes with it.
pub struct Request {
    pub actor: Actor,
    pub verb: Verb,
    /// What is piped in; read by verbs that take any.
    pub input: Input,
    /// Lines that are told while the verb works: a deployment's log, an application's output.
    pub talk: Talk,
}

/// Where a verb talks while it works.
#[derive(Clone)]
pub struct Talk(pub mpsc::Sender<Told>);

/// Something told on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// Lines of text: standard output.
    Out(Vec<u8>),
    /// Bytes that are no text: standard output, as they are.
    Raw(Vec<u8>),
    /// Talk: standard error.
    Err(Vec<u8>),
    /// The same as bytes that are no text.
    RawErr(Vec<u8>),
}

impl Talk {
    /// `Err(())` when nobody listens any more.
    pub async fn out(&self, bytes: Vec<u8>) -> Result<(), NobodyListens> {
        self.0.send(Told::Out(bytes)).await.map_err(|_| NobodyListens)
    }

    pub async fn raw(&self, bytes: Vec<u8>) -> Result<(), NobodyListens> {
        self.0.send(Told::Raw(bytes)).await.map_err(|_| NobodyListens)
    }

    pub async fn err(&self, bytes: Vec<u8>) -> Result<(), NobodyListens> {
        self.0.send(Told::Err(bytes)).await.map_err(|_| NobodyListens)
    }

    /// What people should know beside the answer, if there is anything.
    pub async fn warn(&self, text: Option<&str>) {
        for line in text.iter().flat_map(|text| words::verdict("warning", text)) {
            // Who does not listen has the answer.
            let _ = self.err(format!("{line}\n").into_bytes()).await;
        }
    }
}

/// The listener went away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NobodyListens;

impl Platform {
    pub fn new(context: Context, addresses: Addresses) -> Self {
        let (sessions, uploads, one_offs, task_desk, tasks, making) = Default::default();
        let recovering = Arc::new(watch::channel(BTreeSet::new()).0);
        Self {
            context,
            desk: Desk::default(),
            addresses,
            sessions,
            uploads,
            one_offs,
            task_desk,
            tasks,
            making,
            recovering,
        }
    }

    /// Does what a verb says.
    ///
    /// # Errors
    /// Whatever went wrong, as people should read it; `outcome` maps it to exit codes.
    pub async fn perform(&self, request: Request) -> Result<Reply, Failure> {
        let Request { actor, verb, input, talk } = request;
        match verb {
            Verb::Key { verb } => self.key(&actor, verb, input).await,
            Verb::Project { verb: ProjectVerb::Create(words) } => self.create(&actor, &words, &talk).await,
            Verb::Project { verb: ProjectVerb::List } | Verb::List => self.list_projects(&actor),
            Verb::Project { verb: ProjectVerb::Destroy { name, confirm, now } } => {
                let keep = if now { Keep::Nothing } else { Keep::ForAWhile };
                self.destroy_project(&actor, Destroying { name: &name, confirm: confirm.as_deref(), keep }).await
            }
            Verb::Project { verb: ProjectVerb::Undestroy { name } } => self.undestroy(&actor, &name).await,
            Verb::Show { project, number } => self.show(&actor, &project, number),
            Verb::Log { project, number, follow } => self.log(&actor, &project, number, follow, &talk).await,
            Verb::Logs { project, follow, lines } => self.logs(&actor, &project, follow, lines, &talk).await,
            Verb::Run(words) => self.run_command(&actor, words, input, &talk).await,
            Verb::Shell(words) => self.shell(&actor, words, input, &talk).await,
            Verb::Task { verb } => self.task(&actor, verb, &talk).await,
            Verb::Releases { project } => self.releases(&actor, &project),
            Verb::Retention { project, next } => self.retention(&actor, &project, next),
            Verb::Deploy(words) => self.redeploy(&actor, &words, &talk).await,
            Verb::Cancel { project } => self.cancel(&actor, &project),
            Verb::Rollback(words) => self.rollback(&actor, &words, &talk).await,
            Verb::Config { verb } => self.configure(&actor, verb, input, &talk).await,
            Verb::Promote(words) => self.promote(&actor, words, input, &talk).await,
            Verb::Release { verb } => self.release(&actor, verb, input, &talk).await,
            Verb::Diff { project, stat } => self.diff(&actor, (&project, stat), &talk).await,
            Verb::Commit(words) => self.commit_edits(&actor, &words, &talk).await,
            Verb::Hostkey => Ok(self.host_key()),
            Verb::Doctor => self.doctor(&actor).await,
            Verb::Status => self.status(&actor),
            Verb::Disk { verb } => self.disk(&actor, verb).await,
            Verb::Fixperms { project } => self.fix_permissions(&actor, &project).await,
            Verb::Process(verb) => self.processes(&actor, verb).await,
            Verb::Domains { verb } => self.domains(&actor, verb),
            Verb::Maintenance { verb } => self.maintenance(&actor, verb),
            Verb::Trash => self.list_trash(&actor),
            Verb::Rescue(words) => self.rescue(&actor, &words, &talk).await,
        }
    }

    /// The project, when it is there and the actor may.
    fn project(&self, actor: &Actor, action: Action, name: &str) -> Result<ProjectRecord, Failure> {
        let parsed = ProjectName::parse(name).ok_or_else(|| no_project(name))?;
        // A project that this actor does not see gets the very words of one that is not there.
        if !actor.sees(&parsed) {
            return Err(self.did_you_mean(actor, name));
        }
        authorize(actor, action, Some(&parsed))?;
        match self.context.store.project(&parsed)? {
            Some(project) => Ok(project),
            None => Err(self.did_you_mean(actor, name)),
        }
    }

    fn did_you_mean(&self, actor: &Actor, name: &str) -> Failure {
        let failure = no_project(name);
        let names = self.context.store.projects().unwrap_or_default();
        let near = names
            .into_iter()
            .filter(|project| actor.sees(&project.name))
            .find(|project| crate::model::words::is_near(project.name.as_str(), name));
        match near {
            Some(project) => failure.hint(format!("did you mean \"{}\"?", project.name)),
            None => failure.hint("commis list shows the projects"),
        }
    }

    fn host_key(&self) -> Reply {
        let ssh = self.addresses.ssh;
        let host = if ssh.ip().is_unspecified() { "127.0.0.1".to_owned() } else { ssh.ip().to_string() };
        let place = if ssh.port() == 22 { host } else { format!("[{host}]:{}", ssh.port()) };
        Reply::HostKey {
            known_hosts: format!("{place} {}", self.addresses.host_key),
            fingerprint: self.addresses.host_key_fingerprint.clone(),
        }
    }
}

/// All of a deployment.
fn whole(project: String) -> DeployWords {
    DeployWords { project, only: Vec::new(), step: Vec::new() }
}

/// Kept out of `perform` for its length only.
impl Platform {
    async fn configure(&self, actor: &Actor, verb: ConfigVerb, input: Input, talk: &Talk) -> Result<Reply, Failure> {
        match verb {
            ConfigVerb::Set { project, variables, deploy } => {
                let text = if verbs::reads_lines(&variables) { input.read_text().await? } else { String::new() };
                let changes = configure::assignments(&variables, &text)?;
                let reply = self.change_config(actor, &project, &changes).await?;
                if deploy { self.redeploy(actor, &whole(project), talk).await } else { Ok(reply) }
            }
            ConfigVerb::Unset { project, names, deploy } => {
                let changes: Vec<_> = names.into_iter().map(|name| (name, None)).collect();
                let reply = self.change_config(actor, &project, &changes).await?;
                if deploy { self.redeploy(actor, &whole(project), talk).await } else { Ok(reply) }
            }
            ConfigVerb::Show { project, values } => self.show_config(actor, &project, values),
            ConfigVerb::Check { .. } | ConfigVerb::Template => {
                let what = "config check and template work on the server's own files";
                Err(Failure::new(crate::model::Code::Usage, what).hint("run them on the server: commis config check"))
            }
        }
    }
}

/// Nothing is deployed while this is held.
#[must_use = "deployments begin again when it is dropped"]
pub struct Drained {
    _all: tokio::sync::OwnedRwLockWriteGuard<()>,
}

/// The server's own life.
impl Platform {
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The roof starts the router, and ends or leaves it.
    pub fn router(&self) -> &crate::router::Router {
        &self.context.router
    }

    pub fn places(&self) -> &crate::layouts::Places {
        &self.context.places
    }

    /// Takes a new configuration for what starts from now on.
    pub fn reload(&self, config: crate::config::ServerConfig) {
        self.context.reload(config);
    }

    /// Returns when no deployment runs or waits any more. From the call on, and as long as the answer is held, no
    /// other begins.
    pub async fn drain(&self) -> Drained {
        Drained { _all: self.tasks.clone().write_owned().await }
    }

    /// Ends what runs beside applications: only they outlive a server.
    pub async fn end_one_offs(&self) {
        self.one_offs.end(None).await;
        self.task_desk.end_all(None, "the server was stopped").await;
    }

    /// Stops every application.
    pub async fn stop_applications(&self) {
        self.context.supervisor.stop_all().await;
    }
}
