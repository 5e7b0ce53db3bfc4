//! Releases on their way in: `release import|push`. What comes is written below `incoming/`, bounded before it is looked
//! at; it gets a name on the shelf when every check said yes, and is gone when one said no.

use super::authorize::{Action, authorize, no_project};
use super::records::Reply;
use super::{Input, Platform, Talk, promote};
use crate::archives::carton::{self, Carton, MOST_PADDING, Next};
use crate::archives::{Expected, UnpackLimits};
use crate::model::{Actor, Code, Failure, ProjectName, Remote};
use crate::pipeline::standing::may_go_back;
use crate::pipeline::{gather, shelving};
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::system::privileged::{self, Operation};
use crate::system::{UserIds, files};
use crate::trees;
use crate::verbs::Despite;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes that are read and written at a time.
const PIECE: usize = 256 << 10;
const BLOCK: usize = 512;

type Bytes = Box<dyn AsyncRead + Send + Unpin>;

impl Platform {
    pub(super) async fn release_import(&self, actor: &Actor, name: &str, input: Input) -> Result<Reply, Failure> {
        let (project, bytes) = self.project_for_release(actor, name, input.bytes()).await?;
        let before = self.context.store.releases(&project.name)?;
        let release = self.take_in(&project, bytes).await?;
        let changed = !before.iter().any(|there| there.sha256 == release.sha256);
        let what = if changed { "verified and stored" } else { "verified again, and here already:" };
        let (version, from) = (release.version, release.signer.clone().unwrap_or_default());
        let next = format!("deploy it: commis promote {name} {version}");
        Ok(Reply::Done { done: format!("{what} {version} of {name}, signed by {from}; {next}"), changed })
    }

    pub(super) async fn release_push(
        &self,
        actor: &Actor,
        (name, despite): (&str, Despite),
        input: Input,
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let (project, bytes) = self.project_for_release(actor, name, input.bytes()).await?;
        let release = self.take_in(&project, bytes).await?;
        let promotion = promote::from_shelf(&release, promote::insistence(despite), None)?;
        self.deploy_promotion(actor, project, promotion, talk).await
    }

    /// The project that a release comes in for. What would not be deployed is not taken in either: the numbers of what is
    /// cooked here and of what comes from elsewhere would meet. An admin's first release makes the project, once it has
    /// begun and says that it is one of this project.
    async fn project_for_release(
        &self,
        actor: &Actor,
        name: &str,
        mut bytes: Bytes,
    ) -> Result<(ProjectRecord, Bytes), Failure> {
        match self.project(actor, Action::PushReleases, name) {
            Err(failure)
                if failure.code == Code::NotFound && authorize(actor, Action::ManageProjects, None).is_ok() =>
            {
                let parsed = ProjectName::parse(name).ok_or_else(|| no_project(name))?;
                gather::takes_releases(&parsed, self.context.config().mode_default())?;
                let first = block(&parsed, &Carton::default(), &mut bytes).await?;
                Carton::default().take(&first, &parsed)?;
                let project = self.make_project(actor, &parsed, (None, Remote::Git)).await?;
                Ok((project, Box::new(std::io::Cursor::new(first).chain(bytes))))
            }
            known => {
                let project = known?;
                gather::takes_releases(&project.name, self.context.mode_of(&project))?;
                may_go_back(&project)?;
                Ok((project, bytes))
            }
        }
    }

    /// From a stream to a release on the shelf.
    async fn take_in(&self, project: &ProjectRecord, bytes: Bytes) -> Result<ReleaseRecord, Failure> {
        let upload = self.uploads.begin(&project.name, &self.context.project_places(&project.name))?;
        let shelved = self.receive_and_shelve(project, upload.directory(), bytes).await;
        // Also what could be made only half. What stays is found by the next deployment.
        if let Err(failure) = trees::remove_tree(upload.directory()) {
            tracing::warn!(project = %project.name, "tidying: {failure}");
        }
        shelved
    }

    async fn receive_and_shelve(
        &self,
        project: &ProjectRecord,
        directory: &Path,
        bytes: Bytes,
    ) -> Result<ReleaseRecord, Failure> {
        let incoming = self.context.project_places(&project.name).incoming();
        for path in [incoming, directory.to_owned()] {
            privileged::perform(&Operation::MakeDirectory { path, owner: UserIds::of(0), mode: 0o700 })?;
        }
        let file_name = receive(&project.name, directory, bytes).await?;
        tokio::task::block_in_place(|| self.shelve_upload(project, (directory, &file_name)))
    }

    fn shelve_upload(
        &self,
        project: &ProjectRecord,
        (directory, file_name): (&Path, &str),
    ) -> Result<ReleaseRecord, Failure> {
        let expected = Expected {
            project: project.name.clone(),
            environment: None,
            sha256: None,
            limits: UnpackLimits::default(),
        };
        let verified = shelving::verify(&self.context, &directory.join(file_name), &expected)?;
        shelving::shelve(&self.context, &project.name, (directory, file_name), &verified)
    }
}

/// Writes the files of a carton, durable; returns the name of the archive.
async fn receive(project: &ProjectName, directory: &Path, mut from: Bytes) -> Result<String, Failure> {
    let mut carton = Carton::default();
    loop {
        let block = block(project, &carton, &mut from).await?;
        let Next::Part { part, size } = carton.take(&block, project)? else { break };
        let name = format!("{}{}", carton.archive().unwrap_or_default(), part.suffix());
        if files::free_bytes(directory)? < size.saturating_mul(2) {
            let what = format!("not enough room for the {size} bytes of {name}");
            return Err(Failure::new(Code::DiskFull, what).hint("free space on the server, then send it again"));
        }
        write(&directory.join(name), size, &mut from).await?;
        zeros(carton::filling(size), &mut from).await?;
    }
    let mut rest = Vec::new();
    let left = from.take(MOST_PADDING as u64 + 1).read_to_end(&mut rest).await;
    left.map_err(|error| broken_off(&error))?;
    if rest.len() > MOST_PADDING || rest.len() < BLOCK || rest.iter().any(|byte| *byte != 0) {
        return Err(Failure::new(Code::VerifyFailed, "carton: something else than zeros at its end"));
    }
    files::sync_directory(directory)?;
    Ok(carton.archive().unwrap_or_default().to_owned())
}

/// The next header, or the first block of the end.
async fn block(project: &ProjectName, carton: &Carton, from: &mut Bytes) -> Result<[u8; BLOCK], Failure> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block).await.map_err(|error| match carton.archive() {
        Some(_) => broken_off(&error),
        None => Failure::new(Code::VerifyFailed, "carton: no release came in")
            .hint(format!("it is read from standard input: commis release export {project} > FILE makes one")),
    })?;
    Ok(block)
}

async fn write(path: &PathBuf, size: u64, from: &mut Bytes) -> Result<(), Failure> {
    let unwritten = |error| Failure::from(files::FileError::new("write", path, error));
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create_new(true).mode(0o600).open(path).map_err(unwritten)?;
    let (mut left, mut piece) = (size, vec![0; PIECE]);
    while left > 0 {
        let most = left.min(PIECE as u64) as usize;
        let got = from.read(piece.get_mut(..most).unwrap_or_default()).await.map_err(|error| broken_off(&error))?;
        if got == 0 {
            return Err(broken_off(&std::io::ErrorKind::UnexpectedEof.into()));
        }
        tokio::task::block_in_place(|| file.write_all(piece.get(..got).unwrap_or_default())).map_err(unwritten)?;
        left -= got as u64;
    }
    tokio::task::block_in_place(|| file.sync_all()).map_err(unwritten)
}

async fn zeros(count: usize, from: &mut Bytes) -> Result<(), Failure> {
    let mut filling = vec![0; count];
    from.read_exact(&mut filling).await.map_err(|error| broken_off(&error))?;
    match filling.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(Failure::new(Code::VerifyFailed, "carton: something else than zeros between its files")),
    }
}

fn broken_off(error: &std::io::Error) -> Failure {
    Failure::new(Code::VerifyFailed, format!("carton: it broke off: {error}")).hint("send it again")
}
