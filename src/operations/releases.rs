//! `release list|verify|pin|unpin|signer` and `retention`: a project's shelf. What travels is in `travel` and `incoming`.

use super::authorize::Action;
use super::records::{Reply, Retained, Signed, VerifiedRelease};
use super::{Input, Platform, Talk};
use crate::archives::retention::{self, Fate};
use crate::archives::signers::Signers;
use crate::archives::{self, Expect, Expected, Links, UnpackLimits};
use crate::model::{Actor, Code, Failure, ReleaseVersion};
use crate::pipeline::execute::{no_release, on_shelf, retention_policy};
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::system::{clock, reading};
use crate::verbs::ReleaseVerb;
use std::io::ErrorKind;

/// When a release goes that is not kept any longer.
const NEXT: &str = "next deployment";
/// A file of signers is never longer.
const SIGNERS_MAX: u64 = 1 << 20;

impl Platform {
    pub(super) async fn release(
        &self,
        actor: &Actor,
        verb: ReleaseVerb,
        input: Input,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        match verb {
            ReleaseVerb::Export { project, release } => {
                self.release_export(actor, (&project, release.as_deref()), talk).await
            }
            ReleaseVerb::Import { project, .. } => self.release_import(actor, &project, input).await,
            ReleaseVerb::Push { project, despite, .. } => {
                self.release_push(actor, (&project, despite), input, talk).await
            }
            ReleaseVerb::Fetch { project, release, part, from } => {
                self.release_fetch(actor, (&project, &release), (part, from), talk).await
            }
            ReleaseVerb::Head { project, release, commit } => {
                self.release_head(actor, &project, (release.as_deref(), commit.as_deref())).await
            }
            ReleaseVerb::Key => self.upstream_key(actor, talk).await,
            ReleaseVerb::List { project } => self.releases(actor, &project),
            ReleaseVerb::Verify { project, release } => {
                let (project, record) = self.kept_release(actor, Action::Read, (&project, &release))?;
                tokio::task::block_in_place(|| self.verify_kept(&project, &record))
            }
            ReleaseVerb::Pin { project, release } => self.pin(actor, (&project, &release), Pin::Keep),
            ReleaseVerb::Unpin { project, release } => self.pin(actor, (&project, &release), Pin::LetGo),
            ReleaseVerb::Signer => {
                tell_next(talk, "a line for the file that releases.signers names on the server that takes releases")
                    .await;
                Ok(self.signer())
            }
        }
    }

    /// A release by its word: `v42`, or its number.
    fn kept_release(
        &self,
        actor: &Actor,
        action: Action,
        (name, release): (&str, &str),
    ) -> Result<(ProjectRecord, ReleaseRecord), Failure> {
        let project = self.project(actor, action, name)?;
        let version = ReleaseVersion::parse(release).ok_or_else(|| {
            Failure::new(Code::Usage, format!("{}: a release is vN", release.escape_debug()))
                .hint(format!("commis release list {name}"))
        })?;
        let record =
            self.context.store.release(&project.name, version)?.ok_or_else(|| no_release(&project.name, version))?;
        Ok((project, record))
    }

    fn pin(&self, actor: &Actor, which: (&str, &str), pin: Pin) -> Result<Reply, Failure> {
        let (project, record) = self.kept_release(actor, Action::Deploy, which)?;
        let (wish, words) = match pin {
            Pin::Keep => (true, "is pinned"),
            Pin::LetGo => (false, "is not pinned"),
        };
        let changed = record.pinned != wish;
        if changed {
            self.context.store.pin_release(&project.name, record.version, wish)?;
        }
        let already = if changed { "" } else { " already" };
        Ok(Reply::Done { done: format!("{} {} {words}{already}", project.name, record.version), changed })
    }

    /// The line by which other servers take what is cooked here. A public key is no secret: whoever may speak may ask.
    fn signer(&self) -> Reply {
        let environment = self.context.config().environment().to_owned();
        Reply::Signer(Box::new(Signed {
            allowed_signers: self.context.signing.allowed_signers_line(&environment),
            environment,
            fingerprint: self.context.signing.fingerprint(),
        }))
    }

    fn verify_kept(&self, project: &ProjectRecord, record: &ReleaseRecord) -> Result<Reply, Failure> {
        let archive = self.context.project_places(&project.name).release(&record.file_name);
        let limits = UnpackLimits { ratio: None, ..UnpackLimits::default() };
        let expected = Expected {
            project: project.name.clone(),
            environment: None,
            sha256: Some(record.sha256.clone()),
            limits: limits.clone(),
        };
        let verified = archives::verify_release(&archive, &expected, &self.signers_of(record)?, clock::now())?;
        let links = if record.is_from_elsewhere() { Links::Portable } else { Links::AsBuilt };
        let content = archives::inspect(&archive, &Expect { sha256: verified.sha256.clone(), limits }, links)?;
        Ok(Reply::Verified(Box::new(VerifiedRelease {
            project: project.name.to_string(),
            release: record.version.to_string(),
            verified: true,
            sha256: verified.sha256,
            size: verified.bytes,
            files: content.files,
            bytes: content.bytes,
            tree_sha256: content.manifest.tree.sha256,
            environment: verified.signer.environment,
            signer: verified.signer.fingerprint,
            live_at: verified.live.map(|live| clock::rfc3339(live.at)),
        })))
    }

    /// Our own key for what was cooked here, whatever it was called then; the file's for what came from elsewhere.
    fn signers_of(&self, record: &ReleaseRecord) -> Result<Signers, Failure> {
        if !record.is_from_elsewhere() {
            return Signers::parse(&self.context.signing.allowed_signers_line("*"), "the server's own key");
        }
        let path = self.context.config().releases.signers.clone();
        match reading::read_regular(&path, SIGNERS_MAX) {
            Ok(bytes) => Signers::parse(&String::from_utf8_lossy(&bytes), &path.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Signers::default()),
            Err(error) => Err(Failure::new(Code::ServerConfig, crate::model::chain(&error))),
        }
    }

    /// What the next deployment and the calendar will do; `leaving` alone when asked.
    pub(super) fn retention(&self, actor: &Actor, name: &str, leaving: bool) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let records = self.context.store.releases(&project.name)?;
        let kept: Vec<_> = records.iter().map(|record| on_shelf(record, project.live)).collect();
        let policy = retention_policy(&self.context.config());
        let fates = retention::forecast(&kept, &policy);
        let size = |version| records.iter().find(|record| record.version == version).map_or(0, |record| record.bytes);
        let retained = fates.into_iter().map(|(version, fate)| retained(version, fate, size(version)));
        let mut retained: Vec<Retained> = retained.filter(|it| !leaving || it.goes.is_some()).collect();
        if leaving {
            retained.sort_by_key(|it| (it.goes.as_deref() != Some(NEXT), it.goes.clone()));
        }
        let total = records.iter().map(|record| record.bytes).sum();
        Ok(Reply::Retention { project: project.name.to_string(), retained, total, max_bytes: policy.max_bytes })
    }
}

/// What somebody will want next, beside an answer that is piped somewhere.
pub(super) async fn tell_next(talk: &Talk, next: &str) {
    // Whoever does not listen can do without.
    let _ = talk.err(format!("hint: {next}\n").into_bytes()).await;
}

#[derive(Clone, Copy)]
enum Pin {
    Keep,
    LetGo,
}

fn retained(version: ReleaseVersion, fate: Fate, size: u64) -> Retained {
    let (goes, because) = match fate {
        Fate::Next(leaves) => (Some(NEXT.to_owned()), leaves.words()),
        Fate::Until(month) => (Some(month.to_string()), "one a month"),
        Fate::Stays(reason) => (None, reason.words()),
    };
    Retained { release: version.to_string(), size, goes, because: because.to_owned() }
}
