//! Without points in the server: dead at the Nth system call of a kind, N growing until a wish comes through; and disks
//! that say EIO or ENOSPC to the Nth call. `strace` does it to the server and to everything that it starts.

use super::apps::{Health, Shape};
use super::chance::Chance;
use super::children;
use super::expected::Outcome;
use super::kills;
use super::options::{Options, stopped};
use super::scene::{Mode, Scene, Wish};
use super::session::Session;
use super::tally::{One, Tally, Waiting};
use super::wishing::needs_admin;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Calls that change something which survives, or that start something.
const DEADLY: [&str; 18] = [
    "renameat2",
    "rename",
    "fsync",
    "fdatasync",
    "syncfs",
    "unlinkat",
    "unlink",
    "rmdir",
    "mkdirat",
    "mkdir",
    "mount",
    "pwrite64",
    "clone3",
    "symlinkat",
    "fchownat",
    "fchown",
    "fchmod",
    "openat2",
];

/// Calls by which a disk says that it cannot.
const FAILING: [(&str, &str); 7] = [
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("syncfs", "EIO"),
    ("fsync", "ENOSPC"),
    ("fdatasync", "ENOSPC"),
    ("syncfs", "ENOSPC"),
    ("pwrite64", "ENOSPC"),
];

/// strace at work on a server.
struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    fn attach(session: &Session, (call, what): (&str, &str)) -> Result<Self, String> {
        let server = session.machine.pid().ok_or("no server")?;
        let log = session.machine.path("strace.log");
        let mut command = Command::new("strace");
        // Time stamps: what came before a verdict can be told from what came after it.
        command.args(["-f", "-q", "-ttt", "-o"]).arg(&log).args(["-p", &server.to_string(), "-e"]);
        command.args([&format!("trace={call}"), "-e", &format!("inject={call}:{what}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let tracer = Self { child: child.map_err(|error| format!("strace: {error}"))?, log };
        let traced = |task: &String| {
            let status = std::fs::read_to_string(format!("/proc/{server}/task/{task}/status")).unwrap_or_default();
            !status.lines().any(|line| line.starts_with("TracerPid:") && line.ends_with("\t0"))
        };
        let tasks = PathBuf::from(format!("/proc/{server}/task"));
        let attached = children::until(Duration::from_secs(10), || children::names(&tasks).iter().all(traced));
        if attached { Ok(tracer) } else { Err("strace did not attach".into()) }
    }

    /// Lets the server go; when the injections happened, in seconds since 1970.
    fn detach(mut self) -> Vec<f64> {
        children::signal(self.child.id(), Signal::SIGINT);
        children::wait(&mut self.child, Duration::from_secs(10));
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let injected = log.lines().filter(|line| line.contains("(INJECTED)"));
        injected.filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect()
    }
}

/// What each mode does: a deployment, a way back, an undoing.
fn wishes() -> Vec<(Scene, Wish)> {
    let hooks = |mode| Scene { mode, shape: Shape::Hooks };
    let cooking = [Wish::Push(Health::Good), Wish::Rollback, Wish::Push(Health::BadPostDeploy)];
    let editable = [Wish::PushOver(Health::Good), Wish::PushOver(Health::BadPostDeploy)];
    let of_final = [Wish::Promote(Health::Good), Wish::Carry(Health::Unhealthy)];
    let with = |mode, wishes: &[Wish]| wishes.iter().map(|wish| (hooks(mode), *wish)).collect::<Vec<_>>();
    [with(Mode::Cooking, &cooking), with(Mode::Editable, &editable), with(Mode::Final, &of_final)].concat()
}

/// For each call: N = 1, 2, 3, 4, 6, 9 … until the server and the wish survive.
pub fn syscalls(options: &Options) -> Tally {
    let all = wishes().into_iter().flat_map(|(scene, wish)| DEADLY.map(|call| (scene, (call, wish)))).collect();
    each(Tally::new("syscalls", options), options, all, &|session, (call, wish)| {
        let mut runs = Vec::new();
        let mut n = 1;
        while n <= options.syscalls && !stopped() {
            let one = dies_at(session, (call, n), wish)
                .map_err(|error| format!("{:?} {wish:?}, killed at {call} number {n}: {error}", session.scene))?;
            let came_through = !one.died;
            runs.push(one);
            if came_through {
                break;
            }
            n += 1 + n / 4;
        }
        Ok(runs)
    })
}

fn dies_at(session: &mut Session, (call, n): (&str, u64), wish: Wish) -> Result<One, String> {
    if wish == Wish::Rollback {
        session.wish(Wish::Push(Health::Good))?;
        session.check()?;
    }
    let tracer = Tracer::attach(session, (call, &format!("signal=KILL:when={n}")))?;
    let attempt = session.begin(wish)?;
    let outcome = session.end(attempt)?;
    // It may die while it tidies up.
    children::until(Duration::from_millis(300), || !session.machine.is_up());
    tracer.detach();
    let disturbed = !session.machine.is_up() || outcome == Outcome::CutOff;
    let said = |error: String| format!("{outcome:?}: {error}");
    if needs_admin(&outcome) {
        // Every process dies at its own Nth call, also those of the release that was to be put back.
        session.restart().and_then(|()| session.redeploy_whatever_is()).map_err(said)?;
    } else {
        kills::recover(session).and_then(|()| session.check()).map_err(said)?;
    }
    Ok(One { outcome, died: disturbed })
}

/// What a disk refuses once, or from then on always, is never acknowledged; and what was acknowledged survives.
pub fn errors(options: &Options) -> Tally {
    let scenes = [Mode::Cooking, Mode::Editable, Mode::Final].map(|mode| Scene { mode, shape: Shape::Hooks });
    let how = FAILING.iter().flat_map(|failing| [("", *failing), ("+", *failing)]).collect::<Vec<_>>();
    let all = scenes.into_iter().flat_map(|scene| how.iter().map(move |how| (scene, *how))).collect();
    each(Tally::new("errors", options), options, all, &|session, (ever_after, (call, error))| {
        let mut runs = Vec::new();
        for n in 1..=options.errors {
            if stopped() {
                break;
            }
            let how = format!("error={error}:when={n}{ever_after}");
            let scene = session.scene;
            let said = |error: String| format!("{scene:?}: {call}:{how}: {error}");
            runs.push(fails_at(session, (call, &how)).map_err(said)?);
        }
        Ok(runs)
    })
}

fn fails_at(session: &mut Session, inject: (&str, &str)) -> Result<One, String> {
    let tracer = Tracer::attach(session, inject)?;
    let attempt = session.begin(Wish::Push(Health::Good))?;
    let outcome = session.end(attempt)?;
    let told = now();
    std::thread::sleep(Duration::from_millis(100));
    let injected = tracer.detach();
    if let Some(first) = injected.first().filter(|first| outcome == Outcome::Acknowledged && **first < told - 0.05) {
        let early = told - first;
        return Err(format!("acknowledged {early:.3} s after the disk had refused; {}", session.machine.log_tail(5)));
    }
    if outcome == Outcome::CutOff && injected.is_empty() {
        return Err("cut off although the disk refused nothing".into());
    }
    let said = |error: String| format!("{outcome:?}: {error}");
    session.restart().map_err(said)?;
    match needs_admin(&outcome) {
        // An admin is needed, and comes.
        true => session.redeploy_whatever_is().map_err(said)?,
        false => session.check().map_err(said)?,
    }
    let again = session.wish(Wish::Push(Health::Good))?;
    session.check()?;
    match again {
        Outcome::Acknowledged => Ok(One { outcome, died: false }),
        other => Err(format!("the next push, on a good disk: {other:?}")),
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map(|since| since.as_secs_f64()).unwrap_or_default()
}

/// What is done with a session, and the runs that it came to.
type Task<'a, T> = &'a (dyn Fn(&mut Session, T) -> Result<Vec<One>, String> + Sync);

/// Shares tasks among sessions in memory.
fn each<T: Copy + Send>(tally: Tally, options: &Options, all: Vec<(Scene, T)>, task: Task<'_, T>) -> Tally {
    let waiting = Waiting::new(all);
    std::thread::scope(|scope| {
        for worker in 0..options.workers {
            let (waiting, tally) = (&waiting, &tally);
            scope.spawn(move || {
                let chance = Chance::new(options.seed).fork(worker);
                let mut session = Err("none yet".to_owned());
                while let Some((scene, next)) = waiting.next() {
                    if session.as_ref().map_or(true, |session: &Session| session.scene != scene) {
                        session = Session::in_memory(scene, chance.clone());
                    }
                    let result = session.as_mut().map_err(|error| error.clone());
                    match result.and_then(|session| task(session, next)) {
                        Ok(runs) => runs.iter().for_each(|one| tally.count(one)),
                        Err(error) => {
                            tally.broke(&error, (options, session.as_ref().ok()));
                            session = Err("a new one is needed".into());
                        }
                    }
                }
            });
        }
    });
    tally
}

#[test]
fn dying_at_a_rename_or_a_sync_breaks_no_promise() {
    let mut session = Session::in_memory(Scene::cooking(Shape::Static), Chance::new(4)).unwrap();
    for (call, n) in [("renameat2", 1), ("renameat2", 2), ("syncfs", 1), ("fdatasync", 3)] {
        let one = dies_at(&mut session, (call, n), Wish::Push(Health::Good)).unwrap();
        assert!(one.died || call == "fdatasync", "{call} {n} was not reached: {one:?}");
    }
}

#[test]
fn what_a_disk_refuses_is_not_acknowledged() {
    let mut session = Session::in_memory(Scene::cooking(Shape::Static), Chance::new(4)).unwrap();
    for inject in [("syncfs", "error=EIO:when=1"), ("fdatasync", "error=EIO:when=4"), ("fsync", "error=EIO:when=1+")] {
        fails_at(&mut session, inject).unwrap_or_else(|error| panic!("{inject:?}: {error}"));
    }
}
