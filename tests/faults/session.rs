//! One project's life on one machine: wishes, how they end, what may be true afterwards, and the check of it.

use super::apps::{self, Health, Shape};
use super::chance::Chance;
use super::checker;
use super::children::{self, Started};
use super::expected::{Expected, Outcome, State};
use super::ground::{self, Ground, Kind};
use super::machine::{self, Machine, Roots, Start};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Nothing that is asked for takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
pub const PROJECT: &str = "blog";

/// Something that somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Push(Health),
    /// To the release before, with `data/` as it is.
    Rollback,
    /// The same, with `data/` as it was then.
    RollbackWithData,
    Redeploy,
    /// A new configuration, which deploys nothing by itself.
    Configure,
}

/// A wish on its way.
pub struct Attempt {
    pub wish: Wish,
    aim: State,
    started: Started,
}

impl Attempt {
    pub fn is_running(&mut self) -> bool {
        self.started.is_running()
    }

    pub fn milliseconds(&self) -> u64 {
        self.started.since.elapsed().as_millis() as u64
    }
}

pub struct Session {
    pub machine: Machine,
    pub expected: Expected,
    pub shape: Shape,
    pub chance: Chance,
    /// What each commit's page says.
    pages: HashMap<String, String>,
    work: PathBuf,
    serial: u32,
    /// Milliseconds that a wish took lately.
    typical: u64,
    /// The clock jumps: times say nothing about what came first.
    pub clock_jumps: bool,
    /// What the server stands on; goes after it.
    pub ground: Option<Ground>,
    /// Roots that are elsewhere.
    pub beside: Option<PathBuf>,
}

impl Session {
    /// On a file system of this kind, with a first good release live.
    pub fn on(kind: Kind, size: &str, (shape, chance): (Shape, Chance)) -> Result<Self, String> {
        let ground = Ground::new(kind, size)?;
        let roots = Roots::below(&ground.path());
        let mut session = Self::new(roots, (shape, chance), "")?;
        session.ground = Some(ground);
        session.begin_life()?;
        Ok(session)
    }

    /// On memory: for faults that are not the disk's.
    pub fn in_memory(shape: Shape, chance: Chance) -> Result<Self, String> {
        Self::on(Kind::Memory, "512m", (shape, chance))
    }

    /// A session whose server was never started.
    pub fn new(roots: Roots, (shape, chance): (Shape, Chance), more: &str) -> Result<Self, String> {
        let machine = Machine::new(ground::scratch("machine")?, roots, more)?;
        let work = machine.path("work");
        std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
        let expected = Expected::only(State::default());
        let pages = HashMap::new();
        let session = Self {
            machine,
            expected,
            shape,
            chance,
            pages,
            work,
            serial: 0,
            typical: 500,
            clock_jumps: false,
            ground: None,
            beside: None,
        };
        session.git(&["init", "-q", "-b", "main"])?;
        Ok(session)
    }

    /// The first start, the first release, and something of the application's in `data/`.
    pub fn begin_life(&mut self) -> Result<(), String> {
        self.machine.first_start()?;
        let outcome = self.wish(Wish::Push(Health::Good))?;
        if outcome != Outcome::Acknowledged {
            return Err(format!("the first push: {outcome:?}\n{}", self.machine.log_tail(20)));
        }
        let data = self.place("data");
        let owner = std::fs::metadata(&data).map_err(|error| error.to_string())?;
        std::fs::create_dir(data.join("uploads")).map_err(|error| error.to_string())?;
        for (name, text) in [("uploads", None), ("ledger", Some("one\ntwo\n")), ("uploads/cat", Some("\0\u{1}cat"))] {
            let made = text.map_or(Ok(()), |text| std::fs::write(data.join(name), text));
            made.map_err(|error| error.to_string())?;
            use std::os::unix::fs::{MetadataExt, chown};
            chown(data.join(name), Some(owner.uid()), Some(owner.gid())).map_err(|error| error.to_string())?;
        }
        // The application's own part of surviving a power cut.
        children::done("sync", &["-f", &data.display().to_string()])?;
        let mut state = self.expected.certain().cloned().unwrap_or_default();
        state.data = checker::data(&data);
        self.expected.saw(state);
        self.check()
    }

    /// Where the server keeps something of the project.
    pub fn place(&self, name: &str) -> PathBuf {
        self.machine.roots.projects.join(PROJECT).join(name)
    }

    pub fn page_of(&self, commit: &str) -> Option<&String> {
        self.pages.get(commit)
    }

    pub fn commit_of(&self, page: &str) -> Option<String> {
        self.pages.iter().find(|(_, said)| *said == page).map(|(commit, _)| commit.clone())
    }

    pub fn git(&self, args: &[&str]) -> Result<String, String> {
        let ran = children::run(self.machine.git(&self.work, args), "")?;
        if ran.code == 0 { Ok(ran.out) } else { Err(format!("git {args:?}: {ran:?}")) }
    }

    /// A new commit in the working copy; its id.
    fn commit(&mut self, health: Health) -> Result<String, String> {
        self.serial += 1;
        let page = format!("page {} of {:08x}\n", self.serial, self.chance.next() as u32);
        apps::write(&self.work, (self.shape, health), &page).map_err(|error| error.to_string())?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", &page])?;
        let commit = self.git(&["rev-parse", "HEAD"])?.trim().to_owned();
        self.pages.insert(commit.clone(), page);
        Ok(commit)
    }

    /// A wish that begins with the good will of a random user.
    pub fn random_wish(&mut self) -> Wish {
        match self.chance.below(12) {
            0..=6 => Wish::Push(Health::Good),
            7 | 8 => Wish::Push(self.chance.of(&Health::BAD)),
            9 => Wish::Rollback,
            10 => Wish::RollbackWithData,
            _ => Wish::Redeploy,
        }
    }

    /// Begins; the state that it aims at is known from what is true now.
    pub fn begin(&mut self, wish: Wish) -> Result<Attempt, String> {
        let now = self.expected.certain().cloned().ok_or("nobody looked")?;
        let (aim, started) = match wish {
            Wish::Push(health) => {
                let commit = self.commit(health)?;
                let branched = State { branch: Some(commit.clone()), ..now.clone() };
                let aim = serving(&branched, Some(commit), self);
                (aim, machine::push(&self.machine, &self.work, PROJECT)?)
            }
            Wish::Rollback => {
                let target = checker::rollback_target(&self.machine.roots);
                let aim = serving(&now, target.or(now.serves.clone()), self);
                (aim, Started::new(self.machine.commis(&["rollback", PROJECT, "--code-only"]), "")?)
            }
            Wish::RollbackWithData => {
                let target = checker::rollback_target(&self.machine.roots);
                let mut then = now.clone();
                then.data.ledger = checker::backed_up_ledger(self).unwrap_or_default();
                let aim = serving(&then, target.or(now.serves.clone()), self);
                (aim, Started::new(self.machine.commis(&["rollback", PROJECT, "--with-data"]), "")?)
            }
            Wish::Redeploy => {
                let aim = serving(&now, now.branch.clone(), self);
                (aim, Started::new(self.machine.commis(&["deploy", PROJECT]), "")?)
            }
            Wish::Configure => {
                let value = format!("SERIAL={:x}", self.chance.next());
                (now.clone(), Started::new(self.machine.commis(&["config", "set", PROJECT, &value]), "")?)
            }
        };
        // A commit that cannot work can end in no other way than refused.
        let bad = matches!(wish, Wish::Push(health) if health != Health::Good);
        Ok(Attempt { wish, aim: if bad { now } else { aim }, started })
    }

    /// Waits for the end; from here on that is what may be true.
    pub fn end(&mut self, attempt: Attempt) -> Result<Outcome, String> {
        self.end_with_words(attempt).map(|(outcome, _)| outcome)
    }

    /// Also with what was said.
    pub fn end_with_words(&mut self, attempt: Attempt) -> Result<(Outcome, String), String> {
        let Attempt { wish, aim, started } = attempt;
        let since = started.since;
        let ran = started.ended(PATIENCE);
        if ran.code == -9 {
            return Err(format!("{wish:?} took longer than {PATIENCE:?}: {ran:?}"));
        }
        let outcome = match (ran.code, refusal(&ran)) {
            (0, _) => Outcome::Acknowledged,
            (_, Some(code)) => Outcome::Refused(code),
            (_, None) => Outcome::CutOff,
        };
        if outcome == Outcome::Acknowledged && matches!(wish, Wish::Push(health) if health != Health::Good) {
            return Err(format!("{wish:?} was acknowledged: {ran:?}"));
        }
        if outcome != Outcome::CutOff {
            self.typical = (self.typical * 3 + since.elapsed().as_millis() as u64) / 4;
        }
        // P2: what was refused changed nothing, or an admin is called; who looks then finds either.
        let noted = if needs_admin(&outcome) { &Outcome::CutOff } else { &outcome };
        self.expected.note(&aim, noted);
        Ok((outcome, format!("{}{}", ran.out, ran.err)))
    }

    pub fn wish(&mut self, wish: Wish) -> Result<Outcome, String> {
        let attempt = self.begin(wish)?;
        self.end(attempt)
    }

    /// Deploys the branch again although nobody has looked; when an admin is needed, one comes first. Then the check.
    pub fn redeploy_whatever_is(&mut self) -> Result<(), String> {
        let shown = self.machine.json(&["show", PROJECT])?;
        if let Some(trouble) = shown["trouble"].as_str() {
            let ran = self.whatever_is(&["rescue", PROJECT, "--old"], |state| state.serves.clone())?;
            checker::glance(self).map_err(|error| format!("{error}\nrescued from {trouble}: {ran:?}"))?;
        }
        let ran = self.whatever_is(&["deploy", PROJECT], |state| state.branch.clone())?;
        self.check().map_err(|error| format!("{error}\nafter {ran:?}"))
    }

    /// A verb that makes a commit live, which one depends on what is true.
    fn whatever_is(&mut self, verb: &[&str], commit: fn(&State) -> Option<String>) -> Result<children::Ran, String> {
        let ran = Started::new(self.machine.commis(verb), "")?.ended(PATIENCE);
        if ran.code == 0 {
            let (shape, pages) = (self.shape, &self.pages);
            self.expected.happened(|state| *state = served(state, commit(state), (shape, pages)));
        }
        Ok(ran)
    }

    /// Releases that are kept and were live, and the one that is.
    pub fn ledger(&self) -> Result<(Vec<u32>, u32), String> {
        let number = |release: &serde_json::Value| -> Option<u32> { release.as_str()?.strip_prefix('v')?.parse().ok() };
        let releases = self.machine.json(&["releases", PROJECT])?;
        let kept = releases["releases"].as_array().cloned().unwrap_or_default();
        let served = kept.iter().filter(|release| release["was_live"] == true);
        let live = kept.iter().find(|release| release["live"] == true).and_then(|release| number(&release["release"]));
        Ok((served.filter_map(|release| number(&release["release"])).collect(), live.ok_or("nothing is live")?))
    }

    /// The next life after whatever happened.
    pub fn restart(&mut self) -> Result<(), String> {
        self.machine.kill();
        self.machine.start(&Start::default())
    }

    /// Looks at everything; afterwards one state is certain. The error lists every broken promise.
    pub fn check(&mut self) -> Result<(), String> {
        let seen = checker::check(self)?;
        self.expected.saw(seen);
        Ok(())
    }

    pub fn typical(&self) -> u64 {
        self.typical.max(20)
    }
}

/// The verdict said that an admin is needed, which is honest then.
pub fn needs_admin(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(code) if ["rollback-failed", "needs-admin", "exit-4"].contains(&code.as_str()))
}

/// The state in which a commit was made live.
fn serving(now: &State, commit: Option<String>, session: &Session) -> State {
    served(now, commit, (session.shape, &session.pages))
}

fn served(now: &State, commit: Option<String>, (shape, pages): (Shape, &HashMap<String, String>)) -> State {
    let mut next = now.clone();
    if let Some(page) = commit.as_ref().and_then(|commit| pages.get(commit)).filter(|_| shape == Shape::Migrates) {
        next.data.ledger.push_str(page);
    }
    State { serves: commit, ..next }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            self.machine.kill_everything();
            let _ = std::fs::remove_dir_all(beside);
        }
    }
}

/// The code of a verdict: `(unhealthy: …; live=v1; deploy=3)` of git, or a verb's exit code. 69: no server answered.
fn refusal(ran: &children::Ran) -> Option<String> {
    let reason = ran.out.lines().find_map(|line| line.split_once("[remote rejected] (").map(|(_, rest)| rest));
    match reason.and_then(|reason| reason.split_once(": ")) {
        Some((code, _)) => {
            let ours = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            ours.then(|| code.to_owned())
        }
        None => (ran.out.is_empty() && !matches!(ran.code, 69 | 128 | ..1)).then(|| format!("exit-{}", ran.code)),
    }
}
