//! Public keys of people: reading the one line that `key add` is given, and what a key must be to count at all.
//! Pure. Which keys are known, and to whom they belong, is the store's to say.

use crate::model::{Code, Failure};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};

const LIMIT: usize = 16 << 10;
/// Smaller RSA keys are within reach of people with patience.
const RSA_BITS: std::ops::RangeInclusive<u32> = 3072..=16_384;

/// A key as it is stored: no comment, no options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKeyRecord {
    /// `SHA256:...`
    pub fingerprint: String,
    /// `ssh-ed25519`, `ssh-rsa`, ...
    pub algorithm: String,
    /// The key in SSH's wire form: what two equal keys have in common.
    pub blob: Vec<u8>,
    /// `ssh-ed25519 AAAA...`
    pub comment_free_line: String,
}

/// Reads exactly one public key line. [`Code::Usage`] with what is wrong otherwise.
pub fn parse_public_key(text: &str) -> Result<PublicKeyRecord, Failure> {
    let usage = |what: &str| Failure::new(Code::Usage, format!("public key: {what}"));
    if text.len() > LIMIT {
        return Err(usage("longer than 16 kB"));
    }
    if text.contains("PRIVATE KEY") {
        return Err(usage("this is a private key").hint("give the file whose name ends in .pub, and make a new pair"));
    }
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
    if line.is_empty() {
        return Err(usage("nothing on standard input").hint("commis key add NAME < ~/.ssh/id_ed25519.pub"));
    }
    if line.contains(|letter: char| letter.is_control() && letter != '\t') {
        return Err(usage("more than one line, or a control character"));
    }
    let mut parts = line.split([' ', '\t']).filter(|part| !part.is_empty());
    let (Some(name), Some(body)) = (parts.next(), parts.next()) else {
        return Err(usage("expected `ssh-ed25519 AAAA...`"));
    };
    if matches!(name, "ssh-dss" | "ssh-dsa") {
        return Err(usage("DSA keys are not taken").hint("ssh-keygen -t ed25519"));
    }
    let Ok(key) = PublicKey::from_openssh(&format!("{name} {body}")) else {
        return Err(
            usage("not an OpenSSH public key").hint("expected `ssh-ed25519 AAAA...`, without options before it")
        );
    };
    check(&key).map_err(|reason| usage(reason).hint("ssh-keygen -t ed25519"))?;
    record(&key).ok_or_else(|| usage("cannot be written back"))
}

/// The stored form of a key that was already parsed.
pub(super) fn record(key: &PublicKey) -> Option<PublicKeyRecord> {
    let bare = PublicKey::new(key.key_data().clone(), "");
    Some(PublicKeyRecord {
        fingerprint: bare.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: bare.algorithm().as_str().to_owned(),
        blob: bare.to_bytes().ok()?,
        comment_free_line: bare.to_openssh().ok()?.trim().to_owned(),
    })
}

/// What a key must be to be somebody's: ed25519 or ECDSA, in a token or not, or a large RSA key.
pub(super) fn check(key: &PublicKey) -> Result<(), &'static str> {
    match key.key_data() {
        KeyData::Ed25519(_) | KeyData::SkEd25519(_) | KeyData::Ecdsa(_) | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        KeyData::Rsa(rsa) if RSA_BITS.contains(&rsa.key_size()) => Ok(()),
        KeyData::Rsa(_) => Err("RSA keys need 3072 to 16384 bits"),
        _ => Err("this kind of key is not taken"),
    }
}

/// Whether a signature by this algorithm counts: RSA with SHA-1 does not.
pub(super) fn signs_well(algorithm: &Algorithm) -> bool {
    !matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa | Algorithm::Other(_))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::process::Command;

    fn generated(arguments: &[&str]) -> String {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("key");
        let done = Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&file).args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        std::fs::read_to_string(file.with_extension("pub")).unwrap()
    }

    #[test]
    fn a_key_made_by_ssh_keygen_is_read_and_its_comment_dropped() {
        let kinds: [&[&str]; 4] =
            [&["-t", "ed25519"], &["-t", "ecdsa"], &["-t", "ecdsa", "-b", "521"], &["-t", "rsa", "-b", "3072"]];
        for kind in kinds {
            let line = generated(&[kind, &["-C", "$(id) `x`"]].concat());
            let key = parse_public_key(&line).unwrap();
            assert!(line.starts_with(&key.comment_free_line) && !key.comment_free_line.contains('$'));
            assert!(key.fingerprint.starts_with("SHA256:"));
            assert_eq!(parse_public_key(&key.comment_free_line).unwrap(), key);
        }
    }

    #[test]
    fn a_key_held_in_a_token_is_read() {
        let line = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo= a@b";
        assert_eq!(parse_public_key(line).unwrap().algorithm, "sk-ssh-ed25519@openssh.com");
    }

    #[test]
    fn anything_but_one_plain_strong_key_is_refused() {
        let good = generated(&["-t", "ed25519"]);
        let small = generated(&["-t", "rsa", "-b", "2048"]);
        let dss = good.replace("ssh-ed25519", "ssh-dss");
        let refused = [
            String::new(),
            "ssh-ed25519".into(),
            "hello there".into(),
            format!("command=\"id\" {good}"),
            format!("restrict {good}"),
            format!("{good}{good}"),
            format!("{}\r{good}", good.trim()),
            format!("{}\u{1b}[31m", good.trim()),
            format!("{} {}", good.trim(), "c".repeat(LIMIT)),
            good.replace("AAAA", "AAAB"),
            good.replace("ssh-ed25519", "ssh-rsa"),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA".into(),
            small,
            dss,
        ];
        for text in refused {
            let failure = parse_public_key(&text).expect_err(&text);
            assert_eq!(failure.code, Code::Usage);
            assert!(!failure.what.contains('\n'));
        }
    }
}
