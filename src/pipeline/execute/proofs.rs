//! What stands beside a release that was cooked here: its signature, where it comes from, and, once it was live and well,
//! the proof of that. Written by us, read by other servers; whatever is missing is written again.

use crate::archives::signing::Namespace;
use crate::archives::statement::{self, Live, Run, Subject};
use crate::archives::{Manifest, shelf, verify};
use crate::model::{DeploymentNumber, Failure, ProjectName, Time};
use crate::pipeline::context::Context;
use crate::store::ReleaseRecord;
use crate::system::{clock, files, reading};
use std::path::PathBuf;

/// A release that was cooked here.
pub struct About<'a> {
    pub project: &'a ProjectName,
    pub file_name: &'a str,
    /// Of the archive.
    pub sha256: &'a str,
    pub manifest: &'a Manifest,
}

impl About<'_> {
    fn archive(&self, context: &Context) -> PathBuf {
        context.project_places(self.project).release(self.file_name)
    }
}

/// Writes the signature. Not synced.
pub fn sign(context: &Context, about: &About<'_>) -> Result<(), Failure> {
    let digest = verify::bytes_of(about.sha256).ok_or_else(|| super::missing("a digest"))?;
    let armored = context.signing.sign(Namespace::Release, &digest)?;
    shelf::put_beside(&about.archive(context), verify::SIGNATURE, &armored)
}

/// Writes the statement of a release that was never live yet. Not synced.
pub fn state(context: &Context, about: &About<'_>, run: (DeploymentNumber, Time)) -> Result<(), Failure> {
    shelf::put_beside(&about.archive(context), verify::STATEMENT, &statement(about, run))
}

fn statement(about: &About<'_>, (number, finished): (DeploymentNumber, Time)) -> String {
    let subject = Subject { file_name: about.file_name, sha256: about.sha256, manifest: about.manifest };
    let run = Run {
        host: &reading::host_name(),
        invocation: format!("{}{number}", about.project),
        finished: clock::rfc3339(finished),
        ci_url: None,
    };
    statement::write(&subject, &run, None)
}

/// Proves what served and was not proved yet: all that a release that is the project's has beside it is there and durable
/// when this returns. For the holder of the project's lock.
pub fn prove(context: &Context, project: &ProjectName) -> Result<(), Failure> {
    for record in context.store.releases(project)? {
        let Some(served) = record.served.filter(|_| !record.is_from_elsewhere()) else { continue };
        // One of an older format says nothing of its environment, so no server would take it.
        let Ok(manifest) = Manifest::parse(record.manifest.as_bytes()) else { continue };
        let Some(environment) = manifest.base.environment.clone() else { continue };
        let about = About { project, file_name: &record.file_name, sha256: &record.sha256, manifest: &manifest };
        let archive = about.archive(context);
        if !shelf::beside(&archive, verify::SIGNATURE).exists() {
            sign(context, &about)?;
            files::sync_directory(&context.project_places(project).releases())?;
        }
        let path = shelf::beside(&archive, verify::STATEMENT);
        let stated = match reading::read_regular(&path, statement::MAX_STATEMENT as u64) {
            Ok(bytes) => String::from_utf8(bytes).ok().filter(|text| statement::read(text).is_ok()),
            Err(_) => None,
        };
        if record.tested_at.is_some() && stated.as_deref().is_some_and(has_proof) {
            continue;
        }
        let stated = stated.unwrap_or_else(|| statement(&about, (served, record.created_at)));
        let at = record.tested_at.unwrap_or_else(clock::now);
        let live = live(context, (&record, &manifest), (environment, at))?;
        // First what others read, then the row that says that it is there.
        files::write_durably(&path, statement::with_live(&stated, &live)?.as_bytes(), 0o644)?;
        context.store.note_tested(project, record.version, at)?;
    }
    Ok(())
}

fn has_proof(text: &str) -> bool {
    statement::read(text).is_ok_and(|stated| stated.live.is_some())
}

fn live(
    context: &Context,
    (record, manifest): (&ReleaseRecord, &Manifest),
    (environment, at): (String, Time),
) -> Result<Live, Failure> {
    let at = clock::rfc3339(at);
    let line = statement::live_line(&manifest.base, &record.sha256, &at);
    let signature = context.signing.sign(Namespace::Live, &statement::digest(&line))?;
    Ok(Live { environment, at, signature })
}

/// Name, digest and size of an archive and of what stands beside it, as far as it is there.
pub fn four_files(context: &Context, project: &ProjectName, record: &ReleaseRecord) -> Vec<(String, String, u64)> {
    let archive = context.project_places(project).release(&record.file_name);
    let mut all = vec![(record.file_name.clone(), record.sha256.clone(), record.bytes)];
    for suffix in shelf::COMPANIONS {
        let path = shelf::beside(&archive, suffix);
        if let Ok(bytes) = reading::read_regular(&path, statement::MAX_STATEMENT as u64) {
            let sha256 = crate::model::words::hex(&statement::digest(&bytes));
            all.push((format!("{}{suffix}", record.file_name), sha256, bytes.len() as u64));
        }
    }
    all
}
