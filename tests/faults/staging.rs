//! The server that cooks for one in mode final. No fault touches it: what is asked here is whether the other one keeps
//! its promises.

use super::checker;
use super::children::{self, Started};
use super::ground::{self, Ground, Kind};
use super::machine::{self, Machine, Roots, Start};
use super::scene::{Mode, Scene};
use super::session::PROJECT;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

pub struct Staging {
    // Goes first.
    machine: Machine,
    _ground: Ground,
}

impl Staging {
    /// Where one is needed. Before anything that is to lose its power is mounted: the processes of this one would go on
    /// using it.
    pub fn of(scene: Scene) -> Result<Option<Self>, String> {
        (scene.mode == Mode::Final).then(Self::new).transpose()
    }

    fn new() -> Result<Self, String> {
        let ground = Ground::new(Kind::Memory, "128m")?;
        let mut machine = Machine::new(ground::scratch("staging")?, Roots::below(&ground.path()), "")?;
        machine.first_start(&Start::apart())?;
        let staging = Self { machine, _ground: ground };
        staging.said(&["project", "create", PROJECT], "")?;
        Ok(staging)
    }

    fn said(&self, words: &[&str], input: &str) -> Result<String, String> {
        let ran = children::run(self.machine.commis(words), input)?;
        if ran.code == 0 { Ok(ran.out) } else { Err(format!("staging: {words:?}: {ran:?}")) }
    }

    /// What the other server's configuration says of this one.
    pub fn as_upstream(&self) -> Result<String, String> {
        let key = self.said(&["hostkey"], "")?;
        let key = key.split_once(' ').ok_or("no host key")?.1.trim().to_owned();
        let signers = self.machine.path("allowed_signers");
        std::fs::write(&signers, self.said(&["release", "signer"], "")?).map_err(|error| error.to_string())?;
        Ok(format!(
            "platform = \"prod\"\n[releases]\nsigners = {signers:?}\n\
             [upstreams.staging]\nurl = \"ssh://commis@127.0.0.1:{}\"\nhost_key = \"{key}\"\n",
            self.machine.ssh
        ))
    }

    /// From now on the server with this key may fetch.
    pub fn admit(&self, key: &str) -> Result<(), String> {
        self.said(&["key", "add", "production", "--only", "release:fetch", "--project", PROJECT], key).map(drop)
    }

    /// The working copy's commit is a release here that was live and well.
    pub fn cook(&self, work: &Path) -> Result<(), String> {
        let ran = machine::push(&self.machine, work, &["--porcelain"])?.ended(Duration::from_secs(60));
        if ran.code == 0 { Ok(()) } else { Err(format!("staging did not cook: {ran:?}")) }
    }

    /// Digest of what is live.
    pub fn live_sha256(&self) -> Result<String, String> {
        checker::live_sha256(&self.machine.roots).ok_or("staging: nothing is live".into())
    }

    /// What is live, as one file.
    pub fn export(&self, to: &Path) -> Result<(), String> {
        let file = std::fs::File::create(to).map_err(|error| error.to_string())?;
        let mut command = self.machine.commis(&["release", "export", PROJECT]);
        let status = command.stdin(Stdio::null()).stdout(file).status().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("staging does not export: {status}")) }
    }
}

/// `commis release push` of what was exported.
pub fn carry(machine: &Machine, file: &Path) -> Result<Started, String> {
    Started::new(machine.commis(&["release", "push", PROJECT, &file.display().to_string()]), "")
}
