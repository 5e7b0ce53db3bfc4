//! The server's own key: made once, at the first start, and never silently again, because a new key tells every
//! client that somebody is listening in. Who may log in stands in `keys`.

use crate::model::{Code, Failure};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
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

/// The ed25519 host key in `path`, in OpenSSH's format, mode 0600. Made (and durable) at the first start;
/// [`Code::ServerConfig`] when it is missing later or is not such a key.
pub fn load_or_create(path: &Path, first_start: FirstStart) -> Result<PrivateKey, Failure> {
    match std::fs::read(path) {
        Ok(text) => understand(path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => match first_start {
            FirstStart::Yes => create(path),
            FirstStart::No => Err(refusal(path, "is missing")
                .hint("put it back from a backup: clients refuse to talk to a server whose key changed")),
        },
        Err(error) => Err(refusal(path, &format!("cannot be read: {error}"))),
    }
}

/// `ssh-ed25519 AAAA...`: what goes into a known_hosts file after the host's name.
pub fn public_line(key: &PrivateKey) -> String {
    let mut public = key.public_key().clone();
    public.set_comment("");
    public.to_openssh().unwrap_or_default().trim().to_owned()
}

/// `SHA256:...`
pub fn fingerprint(key: &PrivateKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn understand(path: &Path, text: &[u8]) -> Result<PrivateKey, Failure> {
    let Ok(key) = PrivateKey::from_openssh(text) else {
        return Err(refusal(path, "is not a key in OpenSSH's format"));
    };
    if key.is_encrypted() || key.algorithm() != Algorithm::Ed25519 {
        return Err(refusal(path, "is not an ed25519 key without passphrase"));
    }
    Ok(key)
}

fn create(path: &Path) -> Result<PrivateKey, Failure> {
    let made = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519);
    let mut key = made.map_err(|error| Failure::internal("ssh host key", &error))?;
    key.set_comment("commis");
    let text = key.to_openssh(LineEnding::LF).map_err(|error| Failure::internal("ssh host key", &error))?;
    store(path, text.as_bytes()).map_err(|error| refusal(path, &format!("cannot be written: {error}")))?;
    Ok(key)
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

fn refusal(path: &Path, what: &str) -> Failure {
    Failure::new(Code::ServerConfig, format!("ssh host key {}: {what}", path.display()))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn the_host_key_is_made_once_and_read_ever_after() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ssh_host_ed25519_key");
        let made = load_or_create(&path, FirstStart::Yes).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        for first_start in [FirstStart::Yes, FirstStart::No] {
            let read = load_or_create(&path, first_start).unwrap();
            assert_eq!(public_line(&read), public_line(&made));
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        let seen = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.stdout).split(" commis").next().unwrap(), public_line(&made));
        let seen = Command::new("ssh-keygen").args(["-l", "-f"]).arg(&path).output().unwrap();
        assert!(String::from_utf8_lossy(&seen.stdout).contains(&fingerprint(&made)));
    }

    #[test]
    fn a_missing_host_key_is_an_error_after_the_first_start() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        let failure = load_or_create(&path, FirstStart::No).unwrap_err();
        assert_eq!(failure.code, Code::ServerConfig);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_key_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        std::fs::write(&path, "").unwrap();
        assert!(load_or_create(&path, FirstStart::Yes).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
