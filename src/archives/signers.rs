//! Whose signatures are believed: OpenSSH's allowed_signers file, read and asked. Pure. The principals of a line are names of
//! environments (`staging`), so that a key speaks for those that it is listed for and for no other.
//!
//! Of the format, comments, lists and patterns (`*`, `?`, `!`) of principals and namespaces, `valid-after` and
//! `valid-before` are understood, times in UTC. Certificates and RSA keys are refused, with the number of the line.

use super::signing::Namespace;
use crate::model::{Code, Failure, Time};
use russh::keys::ssh_key::SshSig;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PublicKey};

/// Longest signature that is looked at.
const MAX_SIGNATURE: usize = 8 << 10;

/// Everybody whose signatures are believed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signers {
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    number: usize,
    principals: Vec<String>,
    /// Empty: all.
    namespaces: Vec<String>,
    after: Option<Time>,
    before: Option<Time>,
    key: KeyData,
}

/// Who signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// The environment for which the key speaks.
    pub environment: String,
    /// `SHA256:...` of the key.
    pub fingerprint: String,
}

/// The check that a signature failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Distrust {
    #[error("signature: it cannot be read")]
    Unreadable,
    #[error("namespace: signed for \"{found}\" instead of \"{expected}\"")]
    Namespace { found: String, expected: &'static str },
    #[error("signer: unknown key {fingerprint}")]
    UnknownKey { fingerprint: String },
    #[error("signer: key {fingerprint} does not speak for {environment}")]
    OtherEnvironment { fingerprint: String, environment: String },
    #[error("signer: key {fingerprint} may not sign for \"{namespace}\"")]
    NotForNamespace { fingerprint: String, namespace: &'static str },
    #[error("signer: key {fingerprint} is not valid yet")]
    NotYetValid { fingerprint: String },
    #[error("signer: key {fingerprint} has expired")]
    Expired { fingerprint: String },
    #[error("signature: it is not of these bytes")]
    OtherBytes,
}

impl Signers {
    /// Reads a file. `ServerConfig` with its name and the number of the line.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Failure> {
        let mut lines = Vec::new();
        for (number, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            lines.push(Line::parse(number, text).map_err(|what| {
                Failure::new(Code::ServerConfig, format!("{file_name} line {number}: {what}"))
                    .hint("commis release signer prints such a line on the server that signs")
            })?);
        }
        Ok(Self { lines })
    }

    /// Who made the armoured signature over the message with this digest, speaking for `environment` at this moment.
    pub fn verify(
        &self,
        armored: &str,
        (namespace, environment): (Namespace, &str),
        sha256: &[u8; 32],
        now: Time,
    ) -> Result<Signer, Distrust> {
        if armored.len() > MAX_SIGNATURE {
            return Err(Distrust::Unreadable);
        }
        let signature = SshSig::from_pem(armored).map_err(|_| Distrust::Unreadable)?;
        if signature.namespace() != namespace.as_str() {
            let found = signature.namespace().chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(Distrust::Namespace { found, expected: namespace.as_str() });
        }
        if signature.version() != SshSig::VERSION || signature.hash_alg() != HashAlg::Sha256 {
            return Err(Distrust::Unreadable);
        }
        let key = PublicKey::new(signature.public_key().clone(), "");
        let signer = self.find(&key, (namespace, environment), now)?;
        match key.verify_prehash(namespace.as_str(), sha256, &signature) {
            Ok(()) => Ok(signer),
            Err(_) => Err(Distrust::OtherBytes),
        }
    }

    /// The first line that lets this key speak; else the check that came furthest.
    fn find(&self, key: &PublicKey, what: (Namespace, &str), now: Time) -> Result<Signer, Distrust> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let lines = self.lines.iter().filter(|line| line.key == *key.key_data());
        let mut best = (0, Distrust::UnknownKey { fingerprint: fingerprint.clone() });
        for line in lines {
            match line.judge(&fingerprint, what, now) {
                Ok(()) => return Ok(Signer { environment: what.1.to_owned(), fingerprint }),
                Err(distrust) if distrust.0 > best.0 => best = distrust,
                Err(_) => {}
            }
        }
        Err(best.1)
    }
}

impl Line {
    fn judge(
        &self,
        fingerprint: &str,
        (namespace, environment): (Namespace, &str),
        now: Time,
    ) -> Result<(), (u8, Distrust)> {
        let fingerprint = fingerprint.to_owned();
        if !in_list(&self.principals, environment) {
            return Err((1, Distrust::OtherEnvironment { fingerprint, environment: environment.to_owned() }));
        }
        let namespace = namespace.as_str();
        if !self.namespaces.is_empty() && !in_list(&self.namespaces, namespace) {
            return Err((2, Distrust::NotForNamespace { fingerprint, namespace }));
        }
        if self.after.is_some_and(|after| now < after) {
            return Err((3, Distrust::NotYetValid { fingerprint }));
        }
        if self.before.is_some_and(|before| now > before) {
            return Err((3, Distrust::Expired { fingerprint }));
        }
        Ok(())
    }

    fn parse(number: usize, text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut words = words.iter().map(String::as_str);
        let principals = list(words.next().unwrap_or_default());
        let mut line = Options::default();
        let mut word = words.next().ok_or("no key")?;
        if !is_key_type(word) {
            line = Options::parse(word)?;
            word = words.next().ok_or("no key")?;
        }
        let body = words.next().ok_or("no key after its type")?;
        if word.starts_with("ssh-rsa") {
            return Err("RSA keys are not taken; use ed25519".into());
        }
        let key = PublicKey::from_openssh(&format!("{word} {body}")).map_err(|_| "the key cannot be read")?;
        let Options { namespaces, after, before } = line;
        Ok(Self { number, principals, namespaces, after, before, key: key.key_data().clone() })
    }
}

#[derive(Default)]
struct Options {
    namespaces: Vec<String>,
    after: Option<Time>,
    before: Option<Time>,
}

impl Options {
    fn parse(word: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for option in split_outside_quotes(word, ',') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "namespaces" if !value.is_empty() => options.namespaces = list(value),
                "valid-after" => options.after = Some(moment(value).ok_or_else(|| not_a_time(name, value))?),
                "valid-before" => options.before = Some(moment(value).ok_or_else(|| not_a_time(name, value))?),
                "cert-authority" => return Err("certificates are not taken; list the keys themselves".into()),
                _ => return Err(format!("unknown option `{}`", option.escape_debug())),
            }
        }
        Ok(options)
    }
}

fn not_a_time(name: &str, value: &str) -> String {
    format!("{name}: should be YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, found \"{}\"", value.escape_debug())
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "sk-ssh-", "ecdsa-sha2-", "sk-ecdsa-sha2-"].iter().any(|start| word.starts_with(start))
}

/// Blanks separate, but not within quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    if text.matches('"').count() % 2 == 1 {
        return Err("a quote is not closed".into());
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a control character".into());
    }
    let text = text.replace('\t', " ");
    Ok(split_outside_quotes(&text, ' ').filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

fn split_outside_quotes(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
}

fn list(text: &str) -> Vec<String> {
    text.trim_matches('"').split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// As OpenSSH's match_pattern_list: a pattern with `!` that fits refuses.
fn in_list(patterns: &[String], text: &str) -> bool {
    let fits = |pattern: &str| fits(pattern.as_bytes(), text.as_bytes());
    let refused = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(fits);
    !refused && patterns.iter().filter(|pattern| !pattern.starts_with('!')).any(|pattern| fits(pattern))
}

/// `*` is any text, `?` any character. Remembers the last star only, so no pattern takes long.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(byte) = text.get(t) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(wanted), _) if *wanted == b'?' || wanted == byte => (p, t) = (p + 1, t + 1),
            (_, Some((back, from))) => {
                star = Some((back, from + 1));
                (p, t) = (back + 1, from + 1);
            }
            _ => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// `YYYYMMDD[HHMM[SS]][Z]`, in UTC with or without the letter.
fn moment(text: &str) -> Option<Time> {
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = format!("{digits:0<14}");
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", &whole).ok()?;
    Some(Time(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}
