//! Whether the four files of a release from elsewhere are what they should be: digest, signature, who signed, for which
//! project and environment, where it comes from, whether it was live there. Each failure is `verify-failed` and begins with
//! the name of the check. What an archive holds is checked by reading it ([`super::inspect`], [`super::unpack()`]).

use super::manifest::{ManifestBase, is_sha256};
use super::shelf;
use super::signers::{Signer, Signers};
use super::signing::Namespace;
use super::statement::{self, Live};
use super::unpack::{self, UnpackLimits, file_sha256};
use crate::model::{Code, Failure, ProjectName, Time};
use crate::system::reading;
use crate::trees::faults::refused;
use crate::trees::{names, settle};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What stands beside an archive.
pub const CHECKSUM: &str = ".sha256";
pub const SIGNATURE: &str = ".sig";
pub const STATEMENT: &str = ".intoto.json";

const MAX_CHECKSUM: u64 = 1 << 10;
const MAX_SIGNATURE: u64 = 8 << 10;

/// What the caller knows about a release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    pub project: ProjectName,
    /// Where it was cooked and for whom the signer must speak; `None`: whatever it says of itself, if that is signed for.
    pub environment: Option<String>,
    /// Of the archive, lower-case hex.
    pub sha256: Option<String>,
    /// What the archive file may be.
    pub limits: UnpackLimits,
}

/// A release that passed, all but its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    pub base: ManifestBase,
    /// Of the archive, lower-case hex.
    pub sha256: String,
    /// Size of the archive.
    pub bytes: u64,
    pub signer: Signer,
    /// `None`: nobody says that it was ever live.
    pub live: Option<LiveProof>,
}

/// A release was live, and well, where it was cooked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveProof {
    pub environment: String,
    pub at: Time,
}

/// Checks an archive and the three files beside it.
///
/// # Errors
/// `verify-failed`, beginning with the check: digest, signature, namespace, signer, project, environment, name,
/// provenance, live proof.
pub fn verify_release(archive: &Path, expected: &Expected, signers: &Signers, now: Time) -> Result<Verified, Failure> {
    check(archive, expected, signers, now).map_err(|failure| match failure.code {
        Code::VerifyFailed => failure.detail(format!("in {}", shown(archive))),
        _ => failure,
    })
}

fn check(archive: &Path, expected: &Expected, signers: &Signers, now: Time) -> Result<Verified, Failure> {
    let (sha256, digest) = check_digest(archive, expected)?;
    let base = unpack::head(archive, &expected.limits).map_err(|failure| prefixed("archive", failure))?;
    if base.project != expected.project {
        return Err(refused(format!("project: it is a release of {}, not of {}", base.project, expected.project)));
    }
    let environment = environment_of(&base, expected)?;
    let armored = companion(archive, SIGNATURE, MAX_SIGNATURE, "signature")?;
    let signer = signers.verify(&armored, (Namespace::Release, &environment), &digest, now);
    let signer = signer.map_err(|distrust| {
        refused(distrust.to_string()).hint("releases.signers names the file of those whose releases are taken")
    })?;
    check_name(archive, &base)?;
    let stated = statement::read(&companion(archive, STATEMENT, statement::MAX_STATEMENT as u64, "provenance")?)?;
    if stated.sha256 != sha256 {
        return Err(refused("provenance: it is about another archive"));
    }
    let live = stated.live.map(|live| check_live(&live, (&base, &sha256, &environment), signers, now)).transpose()?;
    let bytes = std::fs::metadata(archive).map_err(|error| Failure::internal("verify a release", &error))?.len();
    Ok(Verified { base, sha256, bytes, signer, live })
}

/// The digest in hex and in bytes.
fn check_digest(archive: &Path, expected: &Expected) -> Result<(String, [u8; 32]), Failure> {
    let found = file_sha256(archive, &expected.limits).map_err(|failure| prefixed("digest", failure))?;
    let listed = companion(archive, CHECKSUM, MAX_CHECKSUM, "digest")?;
    let listed = listed.split_whitespace().next().unwrap_or_default();
    let asked = expected.sha256.as_deref().unwrap_or(listed);
    for wanted in [asked, listed] {
        if wanted != found {
            let wanted = if is_sha256(wanted) { wanted } else { "what cannot be read" };
            return Err(refused(format!("digest: sha256 is {found} instead of {wanted}"))
                .hint("fetch the release again; if it stays so, it is not the release that was cooked"));
        }
    }
    let digest = bytes_of(&found).ok_or_else(|| refused("digest: it cannot be read"))?;
    Ok((found, digest))
}

fn environment_of(base: &ManifestBase, expected: &Expected) -> Result<String, Failure> {
    match (&base.environment, &expected.environment) {
        (None, _) => Err(refused("environment: the release does not say where it was cooked")
            .hint("it is of an old format; cook it again")),
        (Some(found), Some(wanted)) if found != wanted => {
            Err(refused(format!("environment: cooked in {found} instead of {wanted}")))
        }
        (Some(found), _) => Ok(found.clone()),
    }
}

fn check_name(archive: &Path, base: &ManifestBase) -> Result<(), Failure> {
    let name = archive.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match shelf::parse_name(name, &base.project) {
        Some((version, commit7)) if version == base.version && commit7 == base.commit.short() => Ok(()),
        _ => Err(refused(format!("name: the archive is {} of commit {}", base.version, base.commit.short()))),
    }
}

fn check_live(
    live: &Live,
    (base, sha256, environment): (&ManifestBase, &str, &str),
    signers: &Signers,
    now: Time,
) -> Result<LiveProof, Failure> {
    if live.environment != environment {
        return Err(refused(format!("live proof: of {}, not of {environment}", live.environment.escape_debug())));
    }
    let at: jiff::Timestamp = live.at.parse().map_err(|_| refused("live proof: its time cannot be read"))?;
    let digest = statement::digest(statement::live_line(base, sha256, &live.at));
    let signed = signers.verify(&live.signature, (Namespace::Live, environment), &digest, now);
    signed.map_err(|distrust| refused(format!("live proof: {distrust}")))?;
    Ok(LiveProof { environment: environment.to_owned(), at: Time(at.as_millisecond()) })
}

fn companion(archive: &Path, suffix: &str, most: u64, check: &str) -> Result<String, Failure> {
    let path = settle::suffixed(archive, suffix);
    match reading::read_regular(&path, most) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| refused(format!("{check}: {} is not text", shown(&path)))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(refused(format!("{check}: {} is missing", shown(&path))))
        }
        Err(error) => Err(refused(format!("{check}: {}: {error}", shown(&path)))),
    }
}

fn prefixed(check: &str, failure: Failure) -> Failure {
    match failure.code {
        Code::VerifyFailed => Failure { what: format!("{check}: {}", failure.what), ..failure },
        _ => failure,
    }
}

fn shown(path: &Path) -> String {
    names::escape(path.file_name().unwrap_or_default().as_bytes())
}

/// The bytes of a sha256 in hex.
pub fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (slot, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *slot = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    is_sha256(hex).then_some(bytes)
}
