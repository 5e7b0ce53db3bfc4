//! The roof: builds every room's handle, opens the doors, and closes them in reverse order. No other file knows all rooms.
//!
//! `commis serve --config FILE`: SIGTERM and SIGINT drain (running deployments end). After SIGTERM the applications go on, and
//! the next server takes them up; SIGINT ends them too. SIGHUP reads the configuration again for what starts from then on.

mod at_terminal;
mod doors;
mod reception;
mod routing;

use crate::archives::signing::SigningKey;
use crate::config::{self, ServerConfig};
use crate::git::{self, Git};
use crate::layouts::Places;
use crate::model::{Code, Failure};
use crate::operations::{Platform, outcome};
use crate::pipeline::{Context, Handles};
use crate::runtime::{RestartPolicy, Supervisor};
use crate::sandbox::Sandbox;
use crate::ssh::{self, FirstStart};
use crate::store::Store;
use crate::system::{Cgroups, UserIds, entropy, files, memory};
use crate::upstream::Key;
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// How long threads that did slow work wait for more; they hold memory meanwhile.
const HELPERS_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

const AFTER: &str = "\
When every port listens it prints:  commis: ready ssh=HOST:PORT http=HOST:PORT
When every application is started again:  commis: recovery over in N s
SIGTERM: running deployments end, then the server; applications go on, and the next server takes them up.
Ctrl-C: the same, and the applications end too. SIGHUP: read the configuration again.

Examples:
  commis config template > commis.toml
  commis serve --config commis.toml";

/// `commis serve`.
#[derive(Parser, Debug)]
#[command(name = "commis serve", bin_name = "commis serve", about = "Run the server in the foreground")]
#[command(after_help = AFTER)]
struct Serve {
    /// The configuration; COMMIS_CONFIG or /etc/commis/commis.toml when absent
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs a server until it is told to stop; returns the exit code.
pub fn run(words: Vec<String>) -> u8 {
    let options = match Serve::try_parse_from(words) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { 64 } else { 0 };
        }
    };
    memory::share_heaps(2);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.thread_keep_alive(HELPERS_WAIT).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve(options)),
        Err(error) => Err(Failure::internal("start", &error)),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => {
            let _ = std::io::stderr().write_all(crate::api::answer::failure_text(&failure).as_bytes());
            outcome::exit_code(failure.code)
        }
    }
}

async fn serve(options: Serve) -> Result<(), Failure> {
    let config = config::load(options.config.as_deref())?;
    start_own_log(&config);
    let places = places_of(&config);
    make_roots(&places)?;
    let _locks = lock_roots(&places)?;
    let store = Store::open(&places.database())?;
    let (server_id, first_start) = identity(&store)?;
    let cgroups = Arc::new(Cgroups::discover(&server_id));
    let state = State { places, store, first_start, cgroups: cgroups.clone() };
    let result = serve_from(state, config, options.config).await;
    // Also when it came to nothing: the groups were made by looking.
    cgroups.remove_tops();
    result
}

/// What a server has before its doors are open.
struct State {
    places: Places,
    store: Store,
    first_start: FirstStart,
    cgroups: Arc<Cgroups>,
}

async fn serve_from(state: State, config: ServerConfig, file: Option<PathBuf>) -> Result<(), Failure> {
    let State { places, store, first_start, cgroups } = state;
    let exe = own_program()?;
    let git = prepare_git(&config, &places, &exe).await?;
    crate::buildpacks::install(&places.buildpacks()).map_err(|e| Failure::internal("unpack the buildpacks", &e))?;
    let sandbox = Sandbox::new(exe.clone(), cgroups);
    let supervisor = supervisor(&sandbox, &config, &places).await?;
    let doors = doors::Doors {
        ssh: ssh::bind(doors::ssh_config(&config, &places), first_start).await?,
        hook: git::HookListener::bind(&places.hook_socket(), git.user)
            .map_err(|error| Failure::internal("bind the hook's socket", &error))?,
        control: crate::api::server::bind(&places.control_socket())?,
    };
    let signing = signing_key(&store, &places)?;
    store.set_meta("started", "yes")?;
    let upstream_key = Key::load_or_create(&places.upstream_key())?;
    // Last, because it stays when this server comes to nothing.
    let router = routing::start(&config, &places).await?;
    let addresses = doors.addresses(router.http());
    let (http, ssh) = (addresses.http, addresses.ssh);
    let handles = Handles { places, store, git, sandbox, supervisor, router, signing, exe, http, ssh, upstream_key };
    let platform = Platform::new(Context::new(config, handles), addresses);
    doors::serve(platform, doors, file).await
}

/// With everything that went on while no server was there.
async fn supervisor(sandbox: &Sandbox, config: &ServerConfig, places: &Places) -> Result<Supervisor, Failure> {
    let directory = places.instances();
    files::create_directory(&directory, 0o700, Some(UserIds::of(0)))?;
    let supervisor = Supervisor::new(sandbox, restart_policy(config), directory);
    supervisor.take_over().await.map_err(|error| Failure::internal("look for running instances", &error))?;
    Ok(supervisor)
}

fn places_of(config: &ServerConfig) -> Places {
    let paths = config.paths.clone();
    Places { projects: paths.projects, state: paths.state, runtime: paths.runtime, logs: paths.logs }
}

fn restart_policy(config: &ServerConfig) -> RestartPolicy {
    RestartPolicy {
        delay: config.apps.restart_delay,
        delay_max: config.apps.restart_delay_max,
        stop_grace: config.apps.stop_grace,
        keep_crashed: config.apps.keep_crashed,
    }
}

fn start_own_log(config: &ServerConfig) {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second server in one process (tests) keeps the first one's log.
    let _ = log.try_init();
}

fn make_roots(places: &Places) -> Result<(), Failure> {
    let root = Some(UserIds::of(0));
    for (path, mode) in
        [(&places.projects, 0o755), (&places.state, 0o711), (&places.runtime, 0o711), (&places.logs, 0o750)]
    {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let refused = |error: &dyn std::error::Error| {
            let what = format!("{}: {}", path.display(), crate::model::failure::chain(error));
            Failure::new(Code::ServerConfig, what).hint("commis serve runs as root, and its paths must be writable")
        };
        made.map_err(|error| refused(&error))?;
        files::create_directory(path, mode, root).map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// One server for each of these directories: two that share one would each take the other's projects for nobody's.
fn lock_roots(places: &Places) -> Result<Vec<files::FileLock>, Failure> {
    let locked = |path: PathBuf| {
        let lock =
            files::FileLock::try_lock(&path).map_err(|error| Failure::internal("keep other servers away", &error))?;
        lock.ok_or_else(|| {
            let what = format!("another server runs on {}", path.parent().unwrap_or(&path).display());
            Failure::new(Code::ServerConfig, what).hint("stop it, or give this one paths of its own")
        })
    };
    places.server_locks().into_iter().map(locked).collect()
}

/// The server's own id, and whether this state has ever been served from.
fn identity(store: &Store) -> Result<(String, FirstStart), Failure> {
    let first = match store.meta("started")? {
        Some(_) => FirstStart::No,
        None => FirstStart::Yes,
    };
    if let Some(id) = store.meta("server_id")? {
        return Ok((id, first));
    }
    let id = entropy::hex(4).map_err(|error| Failure::internal("make an id", &error))?;
    store.set_meta("server_id", &id)?;
    Ok((id, first))
}

/// Made by the first server that signs, which need not be the first that was started.
fn signing_key(store: &Store, places: &Places) -> Result<SigningKey, Failure> {
    let known = store.meta("release_key")?;
    let first_start = if known.is_some() { FirstStart::No } else { FirstStart::Yes };
    let key = SigningKey::load_or_create(&places.release_key(), first_start)?;
    if known.is_none() {
        store.set_meta("release_key", &key.fingerprint())?;
    }
    Ok(key)
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::internal("find this program", &error))
}

async fn prepare_git(config: &ServerConfig, places: &Places, exe: &std::path::Path) -> Result<Git, Failure> {
    let git =
        Git { program: config.git.program.clone(), user: UserIds::of(config.users.first), hooks: places.git_hooks() };
    let version = git.version().await.map_err(|error| {
        Failure::new(Code::ServerConfig, format!("git.program: {error}")).hint("apt-get install git")
    })?;
    if version < (2, 29, 0) {
        let what = format!("git.program: version {}.{}.{} is too old", version.0, version.1, version.2);
        return Err(Failure::new(Code::ServerConfig, what).hint("2.29 or newer is needed, for proc-receive"));
    }
    git::install::install_hooks(&git.hooks, exe, git.user)
        .map_err(|e| Failure::internal("install the git hook", &e))?;
    Ok(git)
}
