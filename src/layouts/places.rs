//! Every path of the server and of its projects, as methods. Pure: names paths, looks at nothing.
//!
//! ```text
//! <projects>/<p>/git/project.git  git/pillar.git      bare repositories (git user)
//!               /project/  /pillar/                   checkouts: code, configuration (0700)
//!               /data/                                the application's, never changed by us
//!               /build/                               work space of builds
//!               /run/                                 the live release, exactly
//!               /deploy/<UTC datetime>-<id>/          trees on their way in;  deploy/current -> ../run
//!               /releases/                            release archives
//!               /incoming/<id>.partial/               releases from elsewhere, until they are verified
//!               /archives/<id>/{run,data,dumps}       what was live before;  <id>.failed: what did not work
//!               /cache/                               caches of buildpacks
//! <projects>/.trash/<p>-<UTC datetime>/               destroyed projects, until they are purged
//! <state>   state.db, ssh_host_ed25519_key, release_ed25519_key, tools/    <logs>/<p>/42.log, app.log, task-7.log
//! <runtime> control.sock, hook.sock, <p>/             <state>/hooks/ git hooks
//! ```

use crate::model::{DeploymentNumber, ProjectName, ReleaseVersion, Repository};
use std::path::{Path, PathBuf};

/// Roots of one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    pub projects: PathBuf,
    pub state: PathBuf,
    pub runtime: PathBuf,
    pub logs: PathBuf,
}

impl Places {
    pub fn project(&self, name: &ProjectName) -> ProjectPlaces {
        ProjectPlaces {
            root: self.projects.join(name.as_str()),
            logs: self.logs.join(name.as_str()),
            runtime: self.runtime.join("projects").join(name.as_str()),
        }
    }

    pub fn database(&self) -> PathBuf {
        self.state.join("state.db")
    }

    pub fn host_key(&self) -> PathBuf {
        self.state.join("ssh_host_ed25519_key")
    }

    /// Signs the releases that are cooked here.
    pub fn release_key(&self) -> PathBuf {
        self.state.join("release_ed25519_key")
    }

    /// Our own key as a client of other servers.
    pub fn upstream_key(&self) -> PathBuf {
        self.state.join("upstream_ed25519_key")
    }

    /// Held (flock) for as long as a server runs here; never removed. Each root has its own, whatever it is shared with.
    pub fn server_locks(&self) -> [PathBuf; 3] {
        [&self.state, &self.projects, &self.runtime].map(|root| root.join("server.lock"))
    }

    /// Directory given to git as `core.hooksPath`; root's, written at each start.
    pub fn git_hooks(&self) -> PathBuf {
        self.state.join("hooks")
    }

    /// Tools that buildpacks need and that the server installs once (uv).
    pub fn tools(&self) -> PathBuf {
        self.state.join("tools")
    }

    /// Built-in buildpacks, unpacked from the binary at each start.
    pub fn buildpacks(&self) -> PathBuf {
        self.state.join("buildpacks")
    }

    /// Roots of destroyed projects, on the file system of the others; no project can have the name.
    pub fn trash(&self) -> PathBuf {
        self.projects.join(".trash")
    }

    /// `directory` is `<name>-<UTC datetime>`, made by us.
    pub fn trashed(&self, directory: &str) -> PathBuf {
        self.trash().join(directory)
    }

    /// Logs of destroyed projects.
    pub fn trashed_logs(&self, directory: &str) -> PathBuf {
        self.logs.join(".trash").join(directory)
    }

    /// Sockets of instances.
    pub fn instances(&self) -> PathBuf {
        self.runtime.join("instances")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Where the git hook reaches the server; the git user's.
    pub fn hook_socket(&self) -> PathBuf {
        self.runtime.join("hook").join("hook.sock")
    }
}

/// Paths of one project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectPlaces {
    root: PathBuf,
    logs: PathBuf,
    runtime: PathBuf,
}

impl ProjectPlaces {
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory of the layout catalogue, by its name there.
    pub fn directory(&self, name: &str) -> PathBuf {
        if name == "." { self.root.clone() } else { self.root.join(name) }
    }

    pub fn repository(&self, kind: Repository) -> PathBuf {
        self.root.join("git").join(match kind {
            Repository::Project => "project.git",
            Repository::Pillar => "pillar.git",
        })
    }

    pub fn git(&self) -> PathBuf {
        self.root.join("git")
    }

    pub fn project(&self) -> PathBuf {
        self.root.join("project")
    }

    pub fn pillar(&self) -> PathBuf {
        self.root.join("pillar")
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub fn deploy(&self) -> PathBuf {
        self.root.join("deploy")
    }

    /// `name` is `<UTC datetime>-<id>`, made by us.
    pub fn deployed(&self, name: &str) -> PathBuf {
        self.deploy().join(name)
    }

    pub fn current(&self) -> PathBuf {
        self.deploy().join("current")
    }

    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// `releases/blog-v42-3f9c2e1.tar.zst`.
    pub fn release(&self, file_name: &str) -> PathBuf {
        self.releases().join(file_name)
    }

    /// Releases from elsewhere that are not verified yet; root's alone.
    pub fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Where the files of one such release grow. `id` is the SHA-256 of its archive, or random when that is not known.
    pub fn incoming_release(&self, id: &str) -> PathBuf {
        self.incoming().join(format!("{id}.partial"))
    }

    pub fn archives(&self) -> PathBuf {
        self.root.join("archives")
    }

    /// The run directory that deployment `number` replaced.
    pub fn archived_run(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(number.0.to_string()).join("run")
    }

    /// The last copy of data that was mounted from elsewhere when the project was destroyed.
    pub fn last_archive(&self) -> PathBuf {
        self.archives().join("destroyed")
    }

    pub fn last_archive_partial(&self) -> PathBuf {
        self.archives().join("destroyed.partial")
    }

    pub fn archived(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(number.0.to_string())
    }

    /// A backup that is being made for `number`.
    pub fn backup_partial(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(format!("{}.partial", number.0))
    }

    /// Where the directory grows that becomes `data/` when `number` puts data back.
    pub fn restoring(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(format!("{}.restore", number.0))
    }

    /// What a deployment took away from people, kept for days: `data/` of before a rollback, what was edited, `project/`.
    pub fn left(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(format!("{}.left", number.0))
    }

    /// The copy of `data/` in an archive.
    pub fn archived_data(&self, archive: &Path) -> PathBuf {
        archive.join("data")
    }

    /// The list of what that copy holds.
    pub fn inventory(&self, archive: &Path) -> PathBuf {
        archive.join("data.list")
    }

    /// What the hook `backup` wrote.
    pub fn dumps(&self, archive: &Path) -> PathBuf {
        archive.join("dumps")
    }

    /// The copy of the log of a deployment that was undone.
    pub fn failed_log(&self, number: DeploymentNumber) -> PathBuf {
        self.failed_run(number).join("log")
    }

    /// A copy on its way into the archives.
    pub fn half_archived(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(format!("{}.partial", number.0))
    }

    pub fn half_archived_run(&self, number: DeploymentNumber) -> PathBuf {
        self.half_archived(number).join("run")
    }

    /// The list of what was built that belongs to the `run/` beside it.
    pub fn archived_built_list(&self, number: DeploymentNumber) -> PathBuf {
        self.archived(number).join("built.json")
    }

    /// What an attempt to restore `run/` put aside.
    pub fn failed_in_place(&self, number: DeploymentNumber, attempt: u32) -> PathBuf {
        let name = if attempt == 0 { "run".to_owned() } else { format!("run.{attempt}") };
        self.failed_run(number).join(name)
    }

    /// What stood in `project/` of a remote-less project when deployment `number` took `run/` into use.
    pub fn archived_project(&self, number: DeploymentNumber) -> PathBuf {
        self.left(number).join("project")
    }

    /// The tree that people edited until deployment `number` took its place.
    pub fn left_run(&self, number: DeploymentNumber) -> PathBuf {
        self.left(number).join("run")
    }

    /// What the last build left in an edited `run/` besides the commit: a list of paths, root's.
    pub fn built_list(&self) -> PathBuf {
        self.root.join("built.json")
    }

    /// What did not work, kept for a look.
    pub fn failed_run(&self, number: DeploymentNumber) -> PathBuf {
        self.archives().join(format!("{}.failed", number.0))
    }

    /// Things on their way to deletion; emptied at once and at each start.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The log of one deployment: the bytes that the pusher saw.
    pub fn deployment_log(&self, number: DeploymentNumber) -> PathBuf {
        self.logs.join(format!("{}.log", number.0))
    }

    /// What run `id` of a scheduled task said.
    pub fn task_log(&self, id: u32) -> PathBuf {
        self.logs.join(format!("task-{id}.log"))
    }

    /// What the application's processes print.
    pub fn app_log(&self) -> PathBuf {
        self.logs.join("app.log")
    }

    /// Volatile files of one project: environment directory, common tree, lock.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Held (flock) by whoever deploys; never removed.
    pub fn deploy_lock(&self) -> PathBuf {
        self.runtime.join("deploy.lock")
    }

    /// Directory with one file per configuration variable, for `bin/compile`.
    pub fn env_dir(&self, number: DeploymentNumber) -> PathBuf {
        self.runtime.join(format!("{}.env", number.0))
    }

    /// Directory with the JSON file of the `common` tree of one deployment.
    pub fn common_dir(&self, number: DeploymentNumber) -> PathBuf {
        self.runtime.join(format!("{}.common", number.0))
    }
}

/// Places that exist only inside a job's view, where the project's root is covered by an empty file system.
impl ProjectPlaces {
    /// Holds `commis`, on everybody's `PATH`.
    pub fn view_bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Tools of the server for buildpacks (uv).
    pub fn view_tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// One of the server's toolchains for builds.
    pub fn view_toolchain(&self, at: usize) -> PathBuf {
        self.root.join("toolchains").join(at.to_string())
    }

    /// The buildpack at work.
    pub fn view_buildpack(&self) -> PathBuf {
        self.root.join("buildpack")
    }

    /// One file per configuration variable.
    pub fn view_env(&self) -> PathBuf {
        self.root.join("env")
    }

    /// What the hook `backup` writes and `restore` reads.
    pub fn view_dumps(&self) -> PathBuf {
        self.root.join("dumps")
    }

    /// Directory of `common.json`.
    pub fn view_common(&self) -> PathBuf {
        self.root.join("common")
    }
}

/// Name of the file that holds the common tree, in its directory.
pub const COMMON_FILE: &str = "common.json";

/// `blog-v42-3f9c2e1.tar.zst`.
pub fn release_file_name(project: &ProjectName, version: ReleaseVersion, commit7: &str) -> String {
    format!("{project}-{version}-{commit7}.tar.zst")
}
