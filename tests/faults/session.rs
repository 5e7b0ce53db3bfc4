//! One project's life on one machine: what was pushed, what may be true, and the check of it. What people wish of it is
//! in `wishing`.

use super::apps::{self, Health};
use super::chance::Chance;
use super::checker;
use super::children::{self, Started};
use super::expected::{Expected, Outcome, State};
use super::ground::{self, Ground, Kind};
use super::halves::Halves;
use super::machine::{Machine, Roots, Start};
use super::scene::{Mode, Scene, Wish};
use super::staging::Staging;
use super::standing::{self, Files};
use super::wishing::{self, PATIENCE};
use std::collections::HashMap;
use std::path::PathBuf;

pub const PROJECT: &str = "blog";

pub struct Session {
    pub machine: Machine,
    pub expected: Expected,
    pub scene: Scene,
    pub chance: Chance,
    /// What each commit is.
    pub commits: HashMap<String, Files>,
    pub work: PathBuf,
    serial: u32,
    /// Milliseconds that a wish took lately.
    pub lately: u64,
    /// The clock jumps: times say nothing about what came first.
    pub clock_jumps: bool,
    /// Mode final: who cooks for it.
    pub staging: Option<Staging>,
    /// Mode final: what may have come in part.
    pub halves: Halves,
    /// What the server stands on; goes after it.
    pub ground: Option<Ground>,
    /// Roots that are elsewhere.
    pub beside: Option<PathBuf>,
}

impl Session {
    /// On a file system of this kind, with a first good release live.
    pub fn on(kind: Kind, size: &str, (scene, chance): (Scene, Chance)) -> Result<Self, String> {
        let staging = Staging::of(scene)?;
        let ground = Ground::new(kind, size)?;
        let roots = Roots::below(&ground.path());
        let mut session = Self::new(roots, staging, (scene, chance))?;
        session.ground = Some(ground);
        session.begin_life()?;
        Ok(session)
    }

    /// On memory: for faults that are not the disk's.
    pub fn in_memory(scene: Scene, chance: Chance) -> Result<Self, String> {
        Self::on(Kind::Memory, "512m", (scene, chance))
    }

    /// A session whose server was never started.
    pub fn new(roots: Roots, staging: Option<Staging>, (scene, chance): (Scene, Chance)) -> Result<Self, String> {
        let settings = match (&staging, scene.mode) {
            (Some(staging), _) => staging.as_upstream()?,
            (None, Mode::Editable) => "platform = \"dev\"\n".into(),
            (None, _) => String::new(),
        };
        let machine = Machine::new(ground::scratch("machine")?, roots, &settings)?;
        let work = machine.path("work");
        std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
        let expected = Expected::only(State::default());
        let session = Self {
            machine,
            expected,
            scene,
            chance,
            commits: HashMap::new(),
            work,
            serial: 0,
            lately: 500,
            clock_jumps: false,
            staging,
            halves: Halves::default(),
            ground: None,
            beside: None,
        };
        session.git(&["init", "-q", "-b", "main"])?;
        Ok(session)
    }

    /// The first start, the first release, and something of the application's in `data/`.
    pub fn begin_life(&mut self) -> Result<(), String> {
        self.machine.first_start(&Start::default())?;
        if let Some(staging) = &self.staging {
            let key = self.machine.verb(&["release", "key"])?;
            staging.admit(&key.out)?;
        }
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
        standing::saved(&data)?;
        let mut state = self.expected.certain().cloned().unwrap_or_default();
        state.data = checker::data(&data);
        self.expected.saw(state);
        self.check()
    }

    /// Where the server keeps something of the project.
    pub fn place(&self, name: &str) -> PathBuf {
        self.machine.roots.projects.join(PROJECT).join(name)
    }

    pub fn page_of(&self, commit: &str) -> Option<&str> {
        self.commits.get(commit).and_then(standing::page)
    }

    /// What the front page says in a state.
    pub fn page_in(&self, state: &State) -> Option<String> {
        let edited = standing::page(&state.edits);
        edited.or_else(|| self.page_of(state.serves.as_ref()?)).map(str::to_owned)
    }

    /// Whether `run/` is what people edit.
    pub fn is_edited(&self) -> bool {
        self.scene.mode == Mode::Editable
    }

    pub fn git(&self, args: &[&str]) -> Result<String, String> {
        let ran = children::run(self.machine.git(&self.work, args), "")?;
        if ran.code == 0 { Ok(ran.out) } else { Err(format!("git {args:?}: {ran:?}")) }
    }

    /// A page that nothing else says.
    pub fn new_page(&mut self) -> String {
        self.serial += 1;
        format!("page {} of {:08x}\n", self.serial, self.chance.next() as u32)
    }

    /// A new commit in the working copy; its id.
    pub fn commit(&mut self, health: Health) -> Result<String, String> {
        let page = self.new_page();
        apps::write(&self.work, (self.scene, health), &page).map_err(|error| error.to_string())?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", &page])?;
        let commit = self.git(&["rev-parse", "HEAD"])?.trim().to_owned();
        self.commits.insert(commit.clone(), standing::files(&self.work));
        Ok(commit)
    }

    /// Deploys the branch again although nobody has looked; when an admin is needed, one comes first. Then the check.
    pub fn redeploy_whatever_is(&mut self) -> Result<(), String> {
        let shown = self.machine.json(&["show", PROJECT])?;
        let mut rescued = None;
        if let Some(trouble) = shown["trouble"].as_str() {
            // What is edited in place may not have been copied yet when it went wrong.
            let copied = self.machine.json(&["rescue", PROJECT])?["choices"].to_string().contains("--old");
            let how = if copied { "--old" } else { "--accept" };
            let ran = rescued.insert(self.whatever_is(&["rescue", PROJECT, how], State::live_of)?);
            checker::glance(self).map_err(|error| format!("{error}\nrescued from {trouble}: {ran:?}"))?;
        }
        let again = if self.scene.mode == Mode::Cooking { State::branch_of } else { State::live_of };
        let ran = self.whatever_is(&["deploy", PROJECT], again)?;
        self.check().map_err(|error| format!("{error}\nafter {rescued:?}, {ran:?}"))
    }

    /// A verb that makes a commit live, which one depends on what is true.
    fn whatever_is(&mut self, verb: &[&str], commit: fn(&State) -> Option<String>) -> Result<children::Ran, String> {
        let ran = Started::new(self.machine.commis(verb), "")?.ended(PATIENCE);
        if ran.code == 0 {
            let (shape, commits) = (self.scene.shape, &self.commits);
            self.expected.happened(|state| *state = wishing::served(state, commit(state), (shape, commits)));
        }
        Ok(ran)
    }

    /// Releases that are kept and were live, and the one that is.
    pub fn ledger(&self) -> Result<(Vec<u32>, u32), String> {
        if self.is_edited() {
            // Only what is live has a row, and no archive.
            let shown = self.machine.json(&["show", PROJECT])?;
            let live = shown["live"].as_str().and_then(|live| live.strip_prefix('v')?.parse().ok());
            return live.map(|live| (vec![live], live)).ok_or("nothing is live".into());
        }
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
        self.lately.max(20)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            self.machine.kill_everything();
            ground::unmount_below(&[beside]);
            let _ = std::fs::remove_dir_all(beside);
        }
    }
}
