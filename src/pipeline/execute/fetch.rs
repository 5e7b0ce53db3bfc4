//! A release from elsewhere: its files come into `incoming/`, prove what they are, and go to the shelf.

use super::{Done, Execution, as_root, cancelled, missing};
use crate::model::{Because, Failure, ReleasePart};
use crate::notify::words::{self, Stage};
use crate::pipeline::promotion::Source;
use crate::pipeline::{Goal, Promotion, shelving};
use crate::system::UserIds;
use crate::system::privileged::Operation;
use crate::upstream::{Upstream, Wanted};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

impl Execution<'_> {
    /// Every file, from where an earlier try broke off. What stands on the shelf already is not fetched.
    pub(super) async fn fetch(&mut self) -> Result<Done, Failure> {
        let promotion = self.promotion()?.clone();
        let Source::Upstream(upstream, head) = &promotion.source else { return Err(missing("an upstream")) };
        if shelving::on_shelf(self.context, &self.order.project.name, &promotion)?.is_some() {
            return Ok(Done::Skipped(Because::ReleaseIsReady));
        }
        self.open_stage(Stage::Fetch, &format!("{} from {}", promotion.file_name, upstream.name));
        let incoming = self.places.incoming_release(&promotion.sha256);
        for path in [self.places.incoming(), incoming.clone()] {
            as_root(&Operation::MakeDirectory { path, owner: UserIds::of(0), mode: 0o700 })?;
        }
        shelving::forget_half_fetched(&self.places, &promotion.sha256)?;
        for part in ReleasePart::ALL {
            let path = incoming.join(format!("{}{}", promotion.file_name, part.suffix()));
            let wanted =
                Wanted { project: &self.order.project.name, sha256: &promotion.sha256, part, size: head.size(part) };
            tokio::select! {
                came = come(upstream, &wanted, &path) => came?,
                () = self.control.token().cancelled() => return Err(cancelled()),
            }
        }
        Ok(Done::Did(format!("{} from {}", words::size(head.size(ReleasePart::Archive)), upstream.name)))
    }

    /// Refuses what is not what it should be. A copy that came in and is refused is gone afterwards.
    pub(super) fn verify_release(&mut self) -> Result<Done, Failure> {
        let promotion = self.promotion()?.clone();
        let project = &self.order.project;
        let shelved = tokio::task::block_in_place(|| shelving::admit(self.context, project, &promotion));
        let (release, note) = shelved?;
        self.context.store.choose_version(&project.name, self.order.number, release.version)?;
        self.work.version = Some(release.version);
        let signer = release.signer.as_deref().unwrap_or_default();
        let shown = format!("{} {}, signed by {signer}", release.version, words::size(release.bytes));
        self.close_stage(Stage::Fetch, &shown);
        self.work.release = Some(release);
        Ok(Done::Did(note))
    }

    pub(super) fn promotion(&self) -> Result<&Promotion, Failure> {
        match &self.order.goal {
            Goal::Promotion(promotion) => Ok(promotion),
            Goal::Commit { .. } | Goal::Release(_) | Goal::Standing { .. } => Err(missing("a release from elsewhere")),
        }
    }
}

/// The whole file, durable.
async fn come(upstream: &Upstream, wanted: &Wanted<'_>, path: &Path) -> Result<(), Failure> {
    let during = |error| Failure::internal("write what comes in", &error);
    let (mut file, mut at) = open(path).map_err(during)?;
    // Only the archive is named by its digest: what stands beside it may be another one since the last try.
    if at > wanted.size || wanted.part != ReleasePart::Archive {
        file.set_len(0).map_err(during)?;
        at = 0;
    }
    upstream.fetch(wanted, &mut file, at).await?;
    tokio::task::block_in_place(|| file.sync_all()).map_err(during)
}

/// For appending, and how much is there.
fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}
