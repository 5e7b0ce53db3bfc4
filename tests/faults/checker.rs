//! The heart: after a fault and a start, does everything that can be looked at keep the promises, and agree?
//!
//! It trusts nobody's word: the page is asked of the router, the branch read by git, `run/` compared with its manifest
//! byte by byte, archives hashed, the journal read with SQL. `controls.rs` breaks each of these once and must be caught.

use super::children;
use super::expected::{Data, State};
use super::machine::{Machine, Roots};
use super::remains;
use super::session::{PROJECT, Session};
use super::standing;
use commis::archives::{Manifest, compare};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;

/// For what goes on after a start or a verdict: processes coming up, tidying.
const SETTLES: Duration = Duration::from_secs(12);

/// The journal's view of the project.
#[derive(Default)]
struct Journal {
    live: Option<u32>,
    trouble: Option<String>,
    /// Of the live release.
    commit: Option<String>,
    manifest: Option<String>,
    unfinished: Vec<String>,
    /// Version and commit of deployments that say `success`.
    successes: Vec<(Option<u32>, Option<String>)>,
    /// File name and digest of releases that are kept.
    kept: Vec<(String, String)>,
    /// Deployments that ran at the same time.
    overlaps: u32,
}

/// What is true, or every promise that is broken.
pub fn check(session: &Session) -> Result<State, String> {
    let mut broken = Vec::new();
    let machine = &session.machine;
    if let Err(error) = settle(machine) {
        broken.push(error);
    }
    let mut journal = Journal::read(&machine.roots)?;
    if session.clock_jumps {
        journal.overlaps = 0;
    }
    let state = look(session, &journal)?;
    if !session.expected.allows(&state) {
        broken.push(format!("P1 P2: found {state:?}, and promised is one of {:?}", session.expected));
    }
    journal.check(session.expected.trouble_is_honest, &mut broken);
    if let Err(error) = page(session, &state) {
        broken.push(error);
    }
    // What is edited in place is part of the state, to the byte.
    if !session.is_edited() {
        run_tree(session, &journal, &mut broken);
    }
    shelf(session, &journal, &mut broken);
    if let Some(commit) = &state.branch
        && let Err(error) = objects(session, commit)
    {
        broken.push(error);
    }
    processes(machine, &journal, &mut broken);
    broken.extend(remains::of(session));
    if broken.is_empty() { Ok(state) } else { Err(broken.join("\n")) }
}

/// The state, from the journal, from git and from the disk.
fn look(session: &Session, journal: &Journal) -> Result<State, String> {
    let mut state = State {
        serves: journal.commit.clone(),
        branch: branch(session),
        data: data(&session.place("data")),
        pillar: pillar(session),
        ..State::default()
    };
    if session.is_edited() {
        let commit = state.serves.as_ref().and_then(|commit| session.commits.get(commit)).cloned();
        state.edits = standing::edits(&standing::files(&session.place("run")), &commit.unwrap_or_default());
        state.kept = standing::kept(session)?;
    }
    Ok(state)
}

/// What people see of it, and nothing else: for a moment when what could not be written down is not written down yet.
/// The next start, or the next deployment, has to make the rest right.
pub fn glance(session: &Session) -> Result<(), String> {
    settle(&session.machine)?;
    let branch = branch(session);
    let mut last = String::new();
    let good = children::until(SETTLES, || {
        let (status, body) = session.machine.page(PROJECT).unwrap_or_default();
        last = format!("{status} {body:?}, with the branch at {branch:?}");
        let is_seen = |state: &State| state.branch == branch && session.page_in(state).as_ref() == Some(&body);
        status == 200 && session.expected.allows_view(is_seen)
    });
    if good { Ok(()) } else { Err(format!("P1 P2: people see {last}, and promised is one of {:?}", session.expected)) }
}

/// Nothing is deployed or tidied any more, and nobody is about to hand anything in: a hook outlives a git that is killed.
fn settle(machine: &Machine) -> Result<(), String> {
    let mut last = String::new();
    let settled = children::until(SETTLES, || match machine.json(&["status"]) {
        Ok(status) => {
            let hooks = machine.hooks();
            last = format!("deploying {}, hooks {hooks:?}", status["deploying"]);
            status["deploying"].as_array().is_some_and(Vec::is_empty) && hooks.is_empty()
        }
        Err(error) => {
            last = error;
            false
        }
    });
    if settled { Ok(()) } else { Err(format!("still at work after {SETTLES:?}: {last}")) }
}

impl Journal {
    fn read(roots: &Roots) -> Result<Self, String> {
        let read = open(roots).and_then(|database| Self::query(&database));
        read.map_err(|error| format!("the journal: {error}"))
    }

    fn query(database: &Connection) -> rusqlite::Result<Self> {
        let (live, trouble): (Option<u32>, _) =
            database.query_row("SELECT live_version, trouble FROM projects WHERE name = ?1", [PROJECT], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let release = "SELECT commit_id, manifest FROM releases WHERE project = ?1 AND version = ?2 AND pruned = 0";
        let release = database.query_row(release, (PROJECT, live), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (commit, manifest) = release.unzip();
        Ok(Self { live, trouble, commit, manifest, ..Self::lists(database)? })
    }

    fn lists(database: &Connection) -> rusqlite::Result<Self> {
        let unfinished = "SELECT number || ' ' || status FROM deployments
                          WHERE project = ?1 AND status IN ('queued', 'in_progress')";
        let successes = "SELECT version, commit_id FROM deployments WHERE project = ?1 AND status = 'success'";
        let kept = "SELECT file_name, sha256 FROM releases WHERE project = ?1 AND pruned = 0 ORDER BY version";
        let overlaps = "SELECT count(*) FROM deployments a JOIN deployments b
                        ON a.project = b.project AND a.number < b.number
                        WHERE a.project = ?1 AND b.started_at >= a.started_at AND b.started_at < a.finished_at";
        Ok(Self {
            unfinished: rows(database, unfinished, |row| row.get(0))?,
            successes: rows(database, successes, |row| Ok((row.get(0)?, row.get(1)?)))?,
            kept: rows(database, kept, |row| Ok((row.get(0)?, row.get(1)?)))?,
            overlaps: database.query_row(overlaps, [PROJECT], |row| row.get(0))?,
            ..Self::default()
        })
    }

    /// P5 and P7: the rows by themselves.
    fn check(&self, trouble_is_honest: bool, broken: &mut Vec<String>) {
        if !self.unfinished.is_empty() {
            broken.push(format!("P7: unfinished deployments that nobody works on: {:?}", self.unfinished));
        }
        if let Some(trouble) = self.trouble.as_ref().filter(|_| !trouble_is_honest) {
            broken.push(format!("P7: needs an admin without need: {trouble}"));
        }
        if self.overlaps > 0 {
            broken.push(format!("P5: {} deployments began while another one ran", self.overlaps));
        }
        let said = match (self.successes.as_slice(), self.live) {
            ([], None) => true,
            ([(version, commit)], Some(live)) => *version == Some(live) && *commit == self.commit,
            _ => false,
        };
        if !said {
            broken.push(format!(
                "P7: live is {:?} ({:?}), but the deployments that say success are {:?}",
                self.live, self.commit, self.successes
            ));
        }
    }
}

fn rows<T>(
    database: &Connection,
    query: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    database.prepare(query)?.query_map([PROJECT], read)?.collect()
}

fn open(roots: &Roots) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(roots.state.join("state.db"), flags)?;
    database.busy_timeout(Duration::from_secs(5))?;
    Ok(database)
}

/// The digest of the archive that is live.
pub fn live_sha256(roots: &Roots) -> Option<String> {
    let query =
        "SELECT sha256 FROM releases JOIN projects ON project = name AND version = live_version WHERE name = ?1";
    open(roots).ok()?.query_row(query, [PROJECT], |row| row.get(0)).optional().ok()?
}

/// The commit that a rollback without a name goes to.
pub fn rollback_target(roots: &Roots) -> Option<String> {
    let query = "SELECT commit_id FROM releases WHERE project = ?1 AND pruned = 0 AND served IS NOT NULL AND version <
                 (SELECT live_version FROM projects WHERE name = ?1) ORDER BY version DESC LIMIT 1";
    open(roots).ok()?.query_row(query, [PROJECT], |row| row.get(0)).optional().ok()?
}

/// What a rollback with data finds: the ledger as it was when the release that it goes to was replaced.
pub fn backed_up_ledger(session: &Session) -> Option<String> {
    let query =
        "SELECT min(number) FROM deployments WHERE project = ?1 AND status IN ('success', 'inactive') AND number >
                 (SELECT served FROM releases WHERE project = ?1 AND pruned = 0 AND served IS NOT NULL AND version <
                  (SELECT live_version FROM projects WHERE name = ?1) ORDER BY version DESC LIMIT 1)";
    let read = open(&session.machine.roots).and_then(|database| database.query_row(query, [PROJECT], |row| row.get(0)));
    let number: u32 = read.ok()?;
    std::fs::read_to_string(session.place(&format!("archives/{number}/data/ledger"))).ok()
}

/// The variable that people set, as the pillar has it.
pub fn pillar(session: &Session) -> Option<String> {
    let repository = session.place("git/pillar.git").display().to_string();
    let said = session.git(&["-c", "safe.directory=*", "--git-dir", &repository, "show", "main:config.yaml"]).ok()?;
    let value = said.lines().find_map(|line| line.trim().strip_prefix("SERIAL:"))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// What git says, read from the disk.
fn branch(session: &Session) -> Option<String> {
    let repository = session.place("git/project.git").display().to_string();
    let said =
        session.git(&["-c", "safe.directory=*", "--git-dir", &repository, "rev-parse", "-q", "--verify", "main"]);
    said.ok().map(|said| said.trim().to_owned())
}

/// Everything that the branch means is there and whole.
fn objects(session: &Session, commit: &str) -> Result<(), String> {
    let repository = session.place("git/project.git").display().to_string();
    let args =
        ["-c", "safe.directory=*", "--git-dir", &repository, "fsck", "--connectivity-only", "--no-dangling", commit];
    session.git(&args).map(drop).map_err(|error| format!("P1: objects of the branch are missing: {error}"))
}

/// The router answers with the page of what is live.
fn page(session: &Session, state: &State) -> Result<(), String> {
    let wanted = session.page_in(state);
    let mut last = String::new();
    let answers = children::until(SETTLES, || match session.machine.page(PROJECT) {
        Ok((status, body)) => {
            last = format!("{status} {body:?}");
            // What is up is asked once; only processes that are still starting are waited for.
            !matches!(status, 502..=504) || wanted.is_none()
        }
        Err(error) => {
            last = error;
            false
        }
    });
    match wanted {
        Some(wanted) if answers && last == format!("200 {wanted:?}") => Ok(()),
        None if !last.starts_with("200") => Ok(()),
        _ => Err(format!("P2: the page is {last}, and the journal says that {wanted:?} is live")),
    }
}

/// P4: `run/` is the live release, to the byte.
fn run_tree(session: &Session, journal: &Journal, broken: &mut Vec<String>) {
    let run = session.place("run");
    let Some(manifest) = &journal.manifest else {
        if journal.live.is_some() {
            broken.push(format!("P4: the live release v{:?} is not in the ledger", journal.live));
        } else if !children::names(&run).is_empty() {
            broken.push("P4: nothing is live, but run/ is not empty".into());
        }
        return;
    };
    match Manifest::parse(manifest.as_bytes()) {
        Err(failure) => broken.push(format!("P4: the manifest of what is live: {failure}")),
        Ok(manifest) => {
            if let Err(difference) = compare::verify_tree(&run, &manifest) {
                broken.push(format!("P4: run/ is not the release: {difference}"));
            }
        }
    }
}

/// Every release of the ledger is there with its digest, and no other.
fn shelf(session: &Session, journal: &Journal, broken: &mut Vec<String>) {
    let releases = session.place("releases");
    // What is edited in place has no archive.
    for (name, sha256) in journal.kept.iter().filter(|_| !session.is_edited()) {
        match std::fs::read(releases.join(name)).map(|bytes| hex(&Sha256::digest(bytes))) {
            Ok(found) if found == *sha256 => {}
            Ok(found) => broken.push(format!("{name}: sha256 is {found}, the ledger says {sha256}")),
            Err(error) => broken.push(format!("{name} is in the ledger, but: {error}")),
        }
        for beside in ["sha256", "sig", "intoto.json"].map(|end| format!("{name}.{end}")) {
            if !releases.join(&beside).is_file() {
                broken.push(format!("{beside} is missing beside its archive"));
            }
        }
    }
    for name in children::names(&releases) {
        let known = journal.kept.iter().any(|(kept, _)| name.strip_prefix(kept).is_some());
        if !known {
            broken.push(format!("releases/{name} is not in the ledger"));
        }
    }
}

/// Every process of the server's users belongs to what is live, and what is live runs.
fn processes(machine: &Machine, journal: &Journal, broken: &mut Vec<String>) {
    let mut last = Vec::new();
    let good = children::until(SETTLES, || {
        last.clear();
        let shown = machine.json(&["show", PROJECT]).unwrap_or_default();
        let shown = shown["processes"].as_array().cloned().unwrap_or_default();
        let pids: Vec<u64> = shown.iter().filter_map(|process| process["pid"].as_u64()).collect();
        if journal.live.is_some() && (pids.is_empty() || pids.len() != shown.len()) {
            last.push(format!("not everything that is live runs: {shown:?}"));
        }
        let own = machine.processes();
        let belongs = |pid: u32| {
            let mut at = Some(pid);
            while let Some(pid) = at {
                if pids.contains(&u64::from(pid)) {
                    return true;
                }
                at = own.iter().find(|process| process.pid == pid).map(|process| process.parent);
            }
            false
        };
        last.extend(
            own.iter().filter(|p| !belongs(p.pid)).map(|p| format!("a process is left: {} {}", p.pid, p.command)),
        );
        last.is_empty()
    });
    if !good {
        broken.append(&mut last);
    }
}

/// What is in `data/` now.
pub fn data(data: &Path) -> Data {
    use std::os::unix::fs::MetadataExt;
    let mut hash = Sha256::new();
    let ledger = data.join("ledger");
    for path in children::below(data) {
        let Ok(found) = path.symlink_metadata() else { continue };
        let name = path.strip_prefix(data).unwrap_or(&path).display().to_string();
        hash.update(format!("{name}\0{:o} {} {}\0", found.mode(), found.uid(), found.gid()));
        if found.is_file() && path != ledger {
            hash.update(std::fs::read(&path).unwrap_or_default());
        }
    }
    Data { ledger: std::fs::read_to_string(ledger).unwrap_or_default(), rest: hex(&hash.finalize()) }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
