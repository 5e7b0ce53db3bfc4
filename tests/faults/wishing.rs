//! How each wish is begun, what it aims at, and what its end says of what may be true. A new way to deploy is a variant of
//! [`Wish`], an arm of [`Session::begin`] and one of the model; all experiments draw from it from then on.

use super::apps::{self, Health, Shape};
use super::checker;
use super::children::{self, Started};
use super::expected::{Outcome, State};
use super::machine;
use super::scene::{Mode, Wish};
use super::session::{PROJECT, Session};
use super::staging;
use super::standing::{self, Files};
use std::collections::HashMap;
use std::time::Duration;

/// Nothing that is asked for takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A wish on its way.
pub struct Attempt {
    pub wish: Wish,
    aim: State,
    /// Where it may stop on the way.
    between: Vec<State>,
    /// The digest of the release that is fetched for it.
    fetched: Option<String>,
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

impl Session {
    pub fn random_wish(&mut self) -> Wish {
        Wish::at_random(self.scene.mode, &mut self.chance)
    }

    /// Begins; the state that it aims at is known from what is true now.
    pub fn begin(&mut self, wish: Wish) -> Result<Attempt, String> {
        if let Wish::PushOver(health) = wish {
            // What is edited is well; the commit need not be.
            self.edit(Health::Good)?;
            return self.begin(Wish::Push(health));
        }
        if let Wish::Edit(health) = wish {
            self.edit(health)?;
        }
        let now = self.expected.certain().cloned().ok_or("nobody looked")?;
        let (aim, started) = match wish {
            Wish::Push(health) | Wish::PushOver(health) => self.begin_push(&now, health)?,
            Wish::Promote(health) | Wish::Carry(health) => {
                let commit = self.cook(health)?;
                (self.serving(&now, Some(commit)), self.begin_release(wish)?)
            }
            Wish::Rollback | Wish::RollbackWithData => self.begin_rollback(&now, wish)?,
            Wish::Edit(_) | Wish::Redeploy => (self.again(&now), self.verb(&["deploy", PROJECT])?),
            Wish::Configure | Wish::PushPillar | Wish::ConfigureAndDeploy => return self.begin_configuring(now, wish),
        };
        // What cannot work can end in no other way than refused.
        let bad = wish.health() != Health::Good;
        let aim = if bad { now } else { aim };
        Ok(Attempt { wish, aim, between: Vec::new(), fetched: self.fetched(wish)?, started })
    }

    /// What staging just cooked, when it is asked for over the network.
    fn fetched(&self, wish: Wish) -> Result<Option<String>, String> {
        match (&self.staging, wish) {
            (Some(staging), Wish::Push(_) | Wish::Promote(_)) => staging.live_sha256().map(Some),
            _ => Ok(None),
        }
    }

    fn verb(&self, words: &[&str]) -> Result<Started, String> {
        Started::new(self.machine.commis(words), "")
    }

    fn begin_push(&mut self, now: &State, health: Health) -> Result<(State, Started), String> {
        let mut options = vec!["--porcelain"];
        let commit = match self.scene.mode {
            Mode::Final => self.cook(health)?,
            Mode::Cooking => self.commit(health)?,
            Mode::Editable => {
                options.extend(["-o", "stash"]);
                self.commit(health)?
            }
        };
        let mut pushed = State { branch: Some(commit.clone()), edits: Files::new(), ..now.clone() };
        if !now.edits.is_empty() {
            pushed.kept.insert(now.edits.clone());
        }
        pushed = self.serving(&pushed, Some(commit));
        Ok((pushed, machine::push(&self.machine, &self.work, &options)?))
    }

    fn begin_rollback(&mut self, now: &State, wish: Wish) -> Result<(State, Started), String> {
        let target = checker::rollback_target(&self.machine.roots).or(now.serves.clone());
        let (mut then, mut how) = (now.clone(), "--code-only");
        if wish == Wish::RollbackWithData {
            how = "--with-data";
            then.data.ledger = checker::backed_up_ledger(self).unwrap_or_default();
        }
        Ok((self.serving(&then, target), self.verb(&["rollback", PROJECT, how])?))
    }

    fn begin_release(&self, wish: Wish) -> Result<Started, String> {
        if !matches!(wish, Wish::Carry(_)) {
            return self.verb(&["promote", PROJECT]);
        }
        let file = self.machine.path("release.tar");
        self.staging.as_ref().ok_or("no staging")?.export(&file)?;
        staging::carry(&self.machine, &file)
    }

    fn begin_configuring(&mut self, now: State, wish: Wish) -> Result<Attempt, String> {
        let value = format!("{:016x}", self.chance.next());
        let configured = State { pillar: Some(value.clone()), ..now };
        let variable = format!("SERIAL={value}");
        let (started, aim, between) = match wish {
            Wish::PushPillar => (self.push_pillar(&value)?, configured, Vec::new()),
            Wish::ConfigureAndDeploy => {
                let started = self.verb(&["config", "set", PROJECT, &variable, "--deploy"])?;
                (started, self.again(&configured), vec![configured])
            }
            _ => (self.verb(&["config", "set", PROJECT, &variable])?, configured, Vec::new()),
        };
        Ok(Attempt { wish, aim, between, fetched: None, started })
    }

    /// A commit on top of what the pillar has, pushed by git.
    fn push_pillar(&self, value: &str) -> Result<Started, String> {
        let work = self.machine.path("pillar");
        let inside = |words: &[&str]| {
            let ran = children::run(self.machine.git(&work, words), "")?;
            if ran.code == 0 { Ok(()) } else { Err(format!("git {words:?}: {ran:?}")) }
        };
        if !work.exists() {
            std::fs::create_dir(&work).map_err(|error| error.to_string())?;
            inside(&["init", "-q", "-b", "main"])?;
        }
        if checker::pillar(self).is_some() {
            let repository = self.place("git/pillar.git").display().to_string();
            inside(&["fetch", "-q", "--upload-pack", "git -c safe.directory=* upload-pack", &repository, "main"])?;
            inside(&["reset", "-q", "--hard", "FETCH_HEAD"])?;
        }
        std::fs::write(work.join("config.yaml"), format!("env:\n  SERIAL: \"{value}\"\n"))
            .map_err(|error| error.to_string())?;
        inside(&["add", "-A"])?;
        inside(&["commit", "-q", "-m", value])?;
        let url = format!("{}/pillar", self.machine.url(PROJECT));
        Started::new(self.machine.git(&work, &["push", "--porcelain", &url, "HEAD:refs/heads/main"]), "")
    }

    /// Somebody edits what stands there, and saves it. Nothing is certain before: it is what is true now.
    fn edit(&mut self, health: Health) -> Result<(), String> {
        let mut now = self.expected.certain().cloned().ok_or("nobody looked")?;
        let (place, page) = (self.place("project"), format!("edited {}", self.new_page()));
        apps::write(&place, (self.scene, health), &page).map_err(|error| error.to_string())?;
        standing::saved(&place)?;
        let commit = now.serves.as_ref().and_then(|commit| self.commits.get(commit)).cloned();
        now.edits = standing::edits(&standing::files(&place), &commit.unwrap_or_default());
        self.expected.saw(now);
        Ok(())
    }

    /// A new commit that is a release of staging's; its id.
    fn cook(&mut self, health: Health) -> Result<String, String> {
        let commit = self.commit(health)?;
        self.staging.as_ref().ok_or("no staging")?.cook(&self.work)?;
        Ok(commit)
    }

    /// The state after a deployment of what is there already.
    fn again(&self, now: &State) -> State {
        let commit = if self.scene.mode == Mode::Cooking { &now.branch } else { &now.serves };
        self.serving(now, commit.clone())
    }

    /// The state in which a commit was made live.
    fn serving(&self, now: &State, commit: Option<String>) -> State {
        served(now, commit, (self.scene.shape, &self.commits))
    }

    /// Waits for the end; from here on that is what may be true.
    pub fn end(&mut self, attempt: Attempt) -> Result<Outcome, String> {
        self.end_with_words(attempt).map(|(outcome, _)| outcome)
    }

    /// Also with what was said.
    pub fn end_with_words(&mut self, attempt: Attempt) -> Result<(Outcome, String), String> {
        let Attempt { wish, aim, between, fetched, started } = attempt;
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
        if outcome == Outcome::Acknowledged && wish.health() != Health::Good {
            return Err(format!("{wish:?} was acknowledged: {ran:?}"));
        }
        if outcome != Outcome::CutOff {
            self.lately = (self.lately * 3 + since.elapsed().as_millis() as u64) / 4;
        }
        if let Some(sha256) = fetched {
            self.halves.ended(&sha256, &outcome);
        }
        // P2: what was refused changed nothing, or the answer says that nobody knows; who looks then finds either.
        let said = format!("{}{}", ran.out, ran.err);
        let noted = if needs_admin(&outcome) || is_unsure(&said) { &Outcome::CutOff } else { &outcome };
        self.expected.note(&aim, noted);
        self.expected.may_be(&between, noted);
        Ok((outcome, said))
    }

    pub fn wish(&mut self, wish: Wish) -> Result<Outcome, String> {
        let attempt = self.begin(wish)?;
        self.end(attempt)
    }
}

/// The verdict said that an admin is needed, which is honest then.
pub fn needs_admin(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(code) if ["rollback-failed", "needs-admin", "exit-4"].contains(&code.as_str()))
}

/// The answer says that the disk did not say what it has stored.
fn is_unsure(said: &str) -> bool {
    said.contains("may have moved, and may not survive a power cut")
}

/// A state, and then a commit was made live.
pub fn served(now: &State, commit: Option<String>, (shape, commits): (Shape, &HashMap<String, Files>)) -> State {
    let mut next = now.clone();
    let page = commit.as_ref().and_then(|commit| standing::page(commits.get(commit)?));
    if let Some(page) = page.filter(|_| shape.writes_data()) {
        next.data.ledger.push_str(page);
    }
    State { serves: commit, ..next }
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
