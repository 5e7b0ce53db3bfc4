//! From a release that claims to be one to a release on the shelf: every check, then its files under their names, then
//! its row. In `incoming/` nothing is trusted, in `releases/` everything was verified once.

use super::context::Context;
use super::promotion::{Promotion, Source};
use super::release_policy::{self, Here};
use crate::archives::signers::Signers;
use crate::archives::{self, Expect, Expected, Links, UnpackLimits, Verified, shelf};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, Failure, ProcessType, ProjectName, ReleasePart, ReleaseVersion, RollbackClass};
use crate::notify::words;
use crate::store::{ProjectRecord, ReleaseRecord, Shelved};
use crate::system::privileged::{self, Operation};
use crate::system::{clock, files, reading};
use crate::trees;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files and row of a release change together.
static SHELVING: Mutex<()> = Mutex::new(());
/// A file of signers is never longer.
const SIGNERS_MAX: u64 = 1 << 20;

/// Nothing from elsewhere is put on a shelf while this is held.
pub fn hold_still() -> MutexGuard<'static, ()> {
    SHELVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The release of the ledger that has these very bytes.
pub fn on_shelf(
    context: &Context,
    project: &ProjectName,
    promotion: &Promotion,
) -> Result<Option<ReleaseRecord>, Failure> {
    let release = context.store.release(project, promotion.version)?;
    Ok(release.filter(|release| release.sha256 == promotion.sha256))
}

/// Whether a name below `incoming/` is that of a fetch, which the next try goes on with: it has the digest of its release.
/// Uploads have names of their own and cannot be gone on with.
pub fn is_half_fetched(name: &str) -> bool {
    name.strip_suffix(".partial").is_some_and(crate::upstream::head::is_digest)
}

/// Removes what earlier promotions fetched half of, but for this release. For the holder of the project's lock: nothing
/// else is being fetched.
pub fn forget_half_fetched(places: &ProjectPlaces, sha256: &str) -> Result<(), Failure> {
    let wanted = places.incoming_release(sha256);
    let half = reading::names(&places.incoming())?.into_iter().filter(|name| is_half_fetched(name));
    half.map(|name| places.incoming().join(name))
        .filter(|path| *path != wanted)
        .try_for_each(|path| trees::remove_tree(&path))
}

/// Verifies what a promotion names, wherever it is, and shelves it. Returns its row, and what people should read.
///
/// # Errors
/// `VerifyFailed`, beginning with the check.
pub fn admit(
    context: &Context,
    project: &ProjectRecord,
    promotion: &Promotion,
) -> Result<(ReleaseRecord, String), Failure> {
    let places = context.project_places(&project.name);
    let expected = Expected {
        project: project.name.clone(),
        environment: Some(promotion.environment.clone()),
        sha256: Some(promotion.sha256.clone()),
        limits: UnpackLimits::default(),
    };
    let incoming = places.incoming_release(&promotion.sha256);
    let shelved = on_shelf(context, &project.name, promotion)?;
    let directory = if shelved.is_some() { places.releases() } else { incoming.clone() };
    let verified = verify(context, &directory.join(&promotion.file_name), &expected)
        .and_then(|verified| allows(&verified, promotion, project.live).map(|()| verified));
    let result = match (verified, shelved) {
        (Ok(verified), Some(release)) => Ok((release, verified)),
        (Ok(verified), None) => {
            shelve(context, &project.name, (&incoming, &promotion.file_name), &verified).map(|row| (row, verified))
        }
        (Err(failure), Some(_)) => return Err(failure),
        (Err(failure), None) => Err(failure),
    };
    if let Source::Upstream(..) = promotion.source {
        trees::remove_tree(&incoming)?;
    }
    let (release, verified) = result?;
    let tested =
        verified.live.map_or("never live there".to_owned(), |live| format!("live there {}", clock::rfc3339(live.at)));
    let size = words::size(verified.bytes);
    let note = format!("{} {size}, signed by {}, {tested}", promotion.file_name, verified.signer.environment);
    Ok((release, note))
}

/// All checks of the four files.
pub fn verify(context: &Context, archive: &Path, expected: &Expected) -> Result<Verified, Failure> {
    let signers = signers(context)?;
    archives::verify_release(archive, expected, &signers, clock::now())
}

/// Whose signatures this server believes; without a file, nobody's.
fn signers(context: &Context) -> Result<Signers, Failure> {
    let path = context.config().releases.signers.clone();
    match reading::read_regular(&path, SIGNERS_MAX) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Signers::parse(&text, &path.display().to_string())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Signers::default()),
        Err(error) => Err(Failure::new(Code::ServerConfig, crate::model::chain(&error))),
    }
}

/// The release that was named, and one that may be deployed here. Pure.
fn allows(verified: &Verified, promotion: &Promotion, live: Option<ReleaseVersion>) -> Result<(), Failure> {
    let (version, commit) = (verified.base.version, &verified.base.commit);
    if (version, commit) != (promotion.version, &promotion.commit) {
        let what = format!("name: it is {version} of {}, not {}", commit.short(), promotion.version);
        return Err(Failure::new(Code::VerifyFailed, what));
    }
    let here = Here { live, same_number: None };
    Ok(release_policy::judge(verified, here, promotion.insistence)?)
}

/// Moves four verified files to the shelf, the archive last, then writes the row. After a crash in between the next
/// start finds files without a row, and removes them.
///
/// # Errors
/// `VerifyFailed` when another release has the number; also when the archive holds what none of ours does.
pub fn shelve(
    context: &Context,
    project: &ProjectName,
    (directory, file_name): (&Path, &str),
    verified: &Verified,
) -> Result<ReleaseRecord, Failure> {
    let places = context.project_places(project);
    let expect = Expect { sha256: verified.sha256.clone(), limits: UnpackLimits::default() };
    let inspected = archives::inspect(&directory.join(file_name), &expect, LINKS)?;
    let release = record(file_name, verified, inspected.manifest.to_json());
    let _one_at_a_time = hold_still();
    if let Some(there) = context.store.release(project, release.version)? {
        return match there.sha256 == release.sha256 {
            true => Ok(there),
            false => Err(other_bytes(&release, &there.sha256)),
        };
    }
    move_files(&places, directory, file_name)?;
    match context.store.shelve_release(project, &release)? {
        Shelved::New | Shelved::Again => Ok(context.store.release(project, release.version)?.unwrap_or(release)),
        Shelved::OtherBytes { sha256 } => {
            shelf::remove(&places.release(file_name))?;
            Err(other_bytes(&release, &sha256))
        }
    }
}

/// Links of a release lead where the build made them lead, such as a virtual environment's to the machine's Python. Its
/// signature was checked, and neither it nor anything here follows them.
pub const LINKS: Links = Links::Portable;

fn move_files(places: &ProjectPlaces, directory: &Path, file_name: &str) -> Result<(), Failure> {
    for part in ReleasePart::ALL {
        let name = format!("{file_name}{}", part.suffix());
        let to = places.release(&name);
        privileged::perform(&Operation::Rename { from: directory.join(name), to })?;
    }
    Ok(files::sync_directory(&places.releases())?)
}

fn record(file_name: &str, verified: &Verified, manifest: Vec<u8>) -> ReleaseRecord {
    ReleaseRecord {
        version: verified.base.version,
        commit: verified.base.commit.to_string(),
        pillar_commit: None,
        file_name: file_name.to_owned(),
        sha256: verified.sha256.clone(),
        bytes: verified.bytes,
        manifest: String::from_utf8_lossy(&manifest).into_owned(),
        environment: "{}".to_owned(),
        served: None,
        created_at: clock::now(),
        origin: verified.signer.environment.clone(),
        signer: Some(verified.signer.environment.clone()),
        tested_at: verified.live.as_ref().map(|live| live.at),
        rollback: class(verified),
        pinned: false,
    }
}

/// What is known before its tree is here: that the `release:` line may change data.
fn class(verified: &Verified) -> RollbackClass {
    match verified.base.processes.keys().any(ProcessType::is_release) {
        true => RollbackClass::CodeAndData,
        false => RollbackClass::Code,
    }
}

fn other_bytes(release: &ReleaseRecord, there: &str) -> Failure {
    release_policy::Refusal::OtherBytes { version: release.version, here: there.to_owned() }.into()
}
