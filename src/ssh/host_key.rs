//! The server's own key: made once, at the first start, and never silently again, because a new key tells every
//! client that somebody is listening in. Who may log in stands in `keys`.

use crate::model::Failure;
use crate::system::own_key::OwnKey;
use russh::keys::{HashAlg, PrivateKey};
use std::path::Path;

pub use crate::system::own_key::FirstStart;

/// The ed25519 host key in `path`: made (and durable) at the first start; `ServerConfig` when it is missing later or is
/// not such a key.
pub fn load_or_create(path: &Path, first_start: FirstStart) -> Result<PrivateKey, Failure> {
    let loss = "clients refuse to talk to a server whose key changed";
    OwnKey { what: "ssh host key", path, loss }.load_or_create(first_start)
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

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::model::Code;
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
