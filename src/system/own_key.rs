//! The server's own ed25519 keys, in OpenSSH's format: made once, and never silently again, because whoever trusted the old
//! one must be told. What a key is for is said by who asks for it.

use crate::model::{Code, Failure};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a missing key may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstStart {
    Yes,
    No,
}

/// One of the server's keys.
#[derive(Clone, Copy, Debug)]
pub struct OwnKey<'a> {
    /// What people call it: `ssh host key`.
    pub what: &'a str,
    pub path: &'a Path,
    /// What happens when it is another one, for whoever lost it.
    pub loss: &'a str,
}

impl OwnKey<'_> {
    /// Mode 0600. Made (and durable) at the first start; [`Code::ServerConfig`] when it is missing later or is not such
    /// a key.
    pub fn load_or_create(&self, first_start: FirstStart) -> Result<PrivateKey, Failure> {
        match std::fs::read(self.path) {
            Ok(text) => self.understand(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => match first_start {
                FirstStart::Yes => self.create(),
                FirstStart::No => {
                    Err(self.refusal("is missing").hint(format!("put it back from a backup: {}", self.loss)))
                }
            },
            Err(error) => Err(self.refusal(&format!("cannot be read: {error}"))),
        }
    }

    fn understand(&self, text: &[u8]) -> Result<PrivateKey, Failure> {
        let Ok(key) = PrivateKey::from_openssh(text) else {
            return Err(self.refusal("is not a key in OpenSSH's format"));
        };
        if key.is_encrypted() || key.algorithm() != Algorithm::Ed25519 {
            return Err(self.refusal("is not an ed25519 key without passphrase"));
        }
        Ok(key)
    }

    fn create(&self) -> Result<PrivateKey, Failure> {
        let made = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519);
        let mut key = made.map_err(|error| Failure::internal(self.what, &error))?;
        key.set_comment("commis");
        let text = key.to_openssh(LineEnding::LF).map_err(|error| Failure::internal(self.what, &error))?;
        store(self.path, text.as_bytes()).map_err(|error| self.refusal(&format!("cannot be written: {error}")))?;
        Ok(key)
    }

    fn refusal(&self, what: &str) -> Failure {
        Failure::new(Code::ServerConfig, format!("{} {}: {what}", self.what, self.path.display()))
    }
}

/// A half-written key must not be found at the next start: a temporary file, then a link that refuses to replace.
fn store(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    linked?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
