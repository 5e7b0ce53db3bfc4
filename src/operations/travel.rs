//! Releases on their way out: `release head|fetch|export|key`. What is given away was cooked or verified here; who takes it
//! verifies it again.

use super::authorize::{Action, authorize};
use super::records::{Artifact, ReleaseHead, Reply};
use super::{Platform, Talk};
use crate::archives::Manifest;
use crate::archives::carton::{self, END};
use crate::model::{Actor, Code, Failure, ReleasePart, ReleaseVersion};
use crate::pipeline::execute::proofs::four_files;
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::system::clock;
use crate::verbs::PartWord;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// How long a proof is waited for that is just being written.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are read and told at a time.
const PIECE: usize = 256 << 10;

impl Platform {
    pub(super) async fn release_head(
        &self,
        actor: &Actor,
        name: &str,
        (release, commit): (Option<&str>, Option<&str>),
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::FetchReleases, name)?;
        let found = match commit {
            Some(commit) => self.release_of_commit(&project, commit)?,
            None => self.named_release(&project, release)?,
        };
        let found = self.proved(&project, found).await?;
        Ok(Reply::ReleaseHead(Box::new(self.head_record(&project, &found)?)))
    }

    fn head_record(&self, project: &ProjectRecord, release: &ReleaseRecord) -> Result<ReleaseHead, Failure> {
        let manifest = Manifest::parse(release.manifest.as_bytes())?;
        Ok(ReleaseHead {
            project: project.name.to_string(),
            release: release.version.to_string(),
            commit: release.commit.clone(),
            environment: manifest.base.environment.unwrap_or_default(),
            live: project.live == Some(release.version),
            tested_at: release.tested_at.map(clock::rfc3339),
            created_at: clock::rfc3339(release.created_at),
            tree_bytes: manifest.tree.bytes,
            runs_at: self.context.project_places(&project.name).run().display().to_string(),
            artifacts: four_files(&self.context, &project.name, release)
                .into_iter()
                .map(|(name, sha256, size)| Artifact { name, sha256, size })
                .collect(),
        })
    }

    /// A release that went live just now is proved while its deployment tidies up.
    async fn proved(&self, project: &ProjectRecord, release: ReleaseRecord) -> Result<ReleaseRecord, Failure> {
        let mut changes = self.desk.changes();
        let is_pending = |release: &ReleaseRecord| {
            let serves = release.served.and_then(|number| self.desk.handle(&project.name, number));
            release.tested_at.is_none() && serves.is_some()
        };
        let mut release = release;
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        while is_pending(&release) {
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut patience => break,
            }
            release = self.named_release(project, Some(&release.sha256))?;
        }
        Ok(release)
    }

    pub(super) async fn release_fetch(
        &self,
        actor: &Actor,
        (name, release): (&str, &str),
        (part, from): (PartWord, u64),
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::FetchReleases, name)?;
        let release = self.named_release(&project, Some(release))?;
        let mut file = self.open_part(&project, &release, to_part(part))?.0;
        file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
        tell_all(file, talk).await?;
        Ok(Reply::Nothing {})
    }

    pub(super) async fn release_export(
        &self,
        actor: &Actor,
        (name, release): (&str, Option<&str>),
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::FetchReleases, name)?;
        let release = self.named_release(&project, release)?;
        let release = self.proved(&project, release).await?;
        // All are open before the first byte goes out: from here on nothing can be missing.
        let open = |part: &ReleasePart| self.open_part(&project, &release, *part).map(|opened| (*part, opened));
        let files = ReleasePart::ALL.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if files.iter().any(|(_, (_, size))| *size > carton::MOST) {
            let what = format!("{} of {name} is too large for a tar", release.version);
            return Err(Failure::new(Code::Refused, what).hint("let the other server fetch it: commis promote"));
        }
        for (part, (file, size)) in files {
            let header = carton::header(&format!("{}{}", release.file_name, part.suffix()), size);
            tell(talk, header.to_vec()).await?;
            tell_all(file.take(size), talk).await?;
            tell(talk, vec![0; carton::filling(size)]).await?;
        }
        tell(talk, vec![0; END]).await?;
        Ok(Reply::Nothing {})
    }

    fn open_part(
        &self,
        project: &ProjectRecord,
        release: &ReleaseRecord,
        part: ReleasePart,
    ) -> Result<(File, u64), Failure> {
        let name = format!("{}{}", release.file_name, part.suffix());
        let path = self.context.project_places(&project.name).release(&name);
        let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path);
        match opened.and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((size, file)) => Ok((file, size)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("{} of {} has no {}", release.version, project.name, part.as_str());
                Err(Failure::new(Code::NotFound, what)
                    .hint("it is older than signatures; deploy again for a new release"))
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    /// By number or digest; what is live when nothing is said.
    pub(super) fn named_release(&self, project: &ProjectRecord, asked: Option<&str>) -> Result<ReleaseRecord, Failure> {
        let name = &project.name;
        let Some(asked) = asked else {
            let version =
                project.live.ok_or_else(|| Failure::new(Code::NotFound, format!("{name} has no live release")))?;
            return self.context.store.release(name, version)?.ok_or_else(|| no_such(project, &version.to_string()));
        };
        let kept = self.context.store.releases(name)?;
        let version = ReleaseVersion::parse(asked);
        let is_asked = |release: &ReleaseRecord| release.sha256 == asked || Some(release.version) == version;
        kept.into_iter().find(is_asked).ok_or_else(|| no_such(project, asked))
    }

    /// The newest that was live, else the newest, of a commit that is named by seven digits or more.
    pub(super) fn release_of_commit(&self, project: &ProjectRecord, commit: &str) -> Result<ReleaseRecord, Failure> {
        let plain = commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !plain || !(7..=40).contains(&commit.len()) {
            return Err(Failure::new(Code::Usage, "a commit is named by 7 to 40 hex digits"));
        }
        let mut kept = self.context.store.releases(&project.name)?;
        kept.retain(|release| release.commit.starts_with(commit));
        let at = kept.iter().position(|release| release.tested_at.is_some()).unwrap_or(0);
        if at < kept.len() { Ok(kept.swap_remove(at)) } else { Err(no_such(project, commit)) }
    }

    pub(super) async fn upstream_key(&self, actor: &Actor, talk: &Talk) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageKeys, None)?;
        let add = "on the server that cooks: commis key add prod --project NAME --only release:fetch < this line";
        super::releases::tell_next(talk, add).await;
        Ok(Reply::Done { done: self.context.upstream_key.public_line(), changed: false })
    }
}

fn no_such(project: &ProjectRecord, asked: &str) -> Failure {
    let shown = crate::notify::clean_line(asked.as_bytes());
    Failure::new(Code::NotFound, format!("no release {shown} of {} is kept", project.name))
        .hint(format!("commis releases {}", project.name))
}

fn to_part(word: PartWord) -> ReleasePart {
    match word {
        PartWord::Archive => ReleasePart::Archive,
        PartWord::Sha256 => ReleasePart::Sha256,
        PartWord::Sig => ReleasePart::Signature,
        PartWord::Intoto => ReleasePart::Provenance,
    }
}

async fn tell_all(mut from: impl Read, talk: &Talk) -> Result<(), Failure> {
    loop {
        let mut piece = vec![0; PIECE];
        let got = tokio::task::block_in_place(|| from.read(&mut piece)).map_err(unreadable)?;
        if got == 0 {
            return Ok(());
        }
        piece.truncate(got);
        tell(talk, piece).await?;
    }
}

async fn tell(talk: &Talk, bytes: Vec<u8>) -> Result<(), Failure> {
    talk.raw(bytes).await.map_err(|_| Failure::new(Code::Cancelled, "the client has left"))
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::internal("read a release", &error)
}
