//! git over a door's streams: receive-pack and upload-pack as the git user, with nothing of the door's environment.

use super::Platform;
use super::authorize::{Action, authorize};
use super::push_session::PushSession;
use crate::git::at_work::AtWork;
use crate::git::pktline;
use crate::git::report::{Report, Unstored, Wording};
use crate::git::transport::{ReceiveOptions, receive_pack, upload_pack};
use crate::model::{Actor, Code, Failure, ProjectName, Remote, Repository};
use crate::notify::words;
use crate::store::ProjectRecord;
use crate::system::{entropy, files};
use std::future::Future;
use std::path::Path;
use std::process::Stdio;
use std::sync::PoisonError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};

/// What a client wants of git.
pub struct GitService {
    pub project: ProjectName,
    pub repository: Repository,
    pub direction: Direction,
    /// `version=2`, when the client asked for it.
    pub protocol: Option<String>,
}

/// Which way the objects go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To us: a push.
    Receive,
    /// From us: clone and fetch.
    Upload,
}

/// The client's streams.
pub struct GitStreams {
    pub stdin: Box<dyn AsyncRead + Unpin + Send>,
    pub stdout: Box<dyn AsyncWrite + Unpin + Send>,
    pub stderr: Box<dyn AsyncWrite + Unpin + Send>,
}

/// How a client left before the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Closed by the client: Ctrl-C.
    Closed,
    /// The connection died.
    Lost,
}

/// How a push is told that git did not take its objects.
type Words<'a> = &'a (dyn Fn(&Unstored) -> Wording + Send + Sync);

/// Exit statuses above this are those of signals.
const SIGNALLED: u32 = 128;

/// Whether the client sits at a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    Unknown,
    /// Sent the capability `quiet`: a script; leaving never cancels.
    Quiet,
    Terminal,
}

impl Platform {
    /// Serves one git command; returns its exit status.
    pub async fn serve_git(
        &self,
        actor: &Actor,
        service: GitService,
        mut streams: GitStreams,
        left: impl Future<Output = Left> + Send,
    ) -> u32 {
        let project = match self.admit(actor, &service).await {
            Ok(project) => project,
            Err(failure) => {
                let _ = streams.stdout.write_all(&error_packet(&refusal(&failure))).await;
                let _ = streams.stdout.shutdown().await;
                return 128;
            }
        };
        match service.direction {
            Direction::Receive => self.receive(actor, &service, &project, streams, left).await,
            Direction::Upload => self.upload(&service, &project, streams, left).await,
        }
    }

    /// The project, when the actor may; made on an admin's first push.
    async fn admit(&self, actor: &Actor, service: &GitService) -> Result<ProjectRecord, Failure> {
        let action = match (service.repository, service.direction) {
            (Repository::Project, Direction::Receive) => Action::Deploy,
            (Repository::Project, Direction::Upload) => Action::Read,
            (Repository::Pillar, _) => Action::Configure,
        };
        let config = self.context.config();
        let may_create = config.git.create_on_push
            && service.direction == Direction::Receive
            && authorize(actor, Action::ManageProjects, None).is_ok();
        match self.project(actor, action, service.project.as_str()) {
            Err(failure) if failure.code == Code::NotFound && may_create => {
                tracing::info!(project = %service.project, by = %actor.name, "made by its first push");
                self.make_project(actor, &service.project, (None, Remote::Git)).await
            }
            Err(failure) if failure.code == Code::NotFound && service.direction == Direction::Receive => {
                Err(failure.hint("an admin's key creates a project by pushing to it"))
            }
            Err(failure) => Err(failure),
            Ok(project) if project.remote == Remote::Nothing => {
                let name = &project.name;
                let what = format!("{name} is remote-less: it is edited on the server and has no repositories");
                Err(Failure::new(Code::Refused, what).hint(format!("commis project create {name} --with-remote")))
            }
            Ok(project) => {
                self.recovered(&project.name).await;
                self.complete(&project, service.repository).await?;
                Ok(project)
            }
        }
    }

    async fn upload(
        &self,
        service: &GitService,
        project: &ProjectRecord,
        streams: GitStreams,
        left: impl Future<Output = Left> + Send,
    ) -> u32 {
        let path = self.context.project_places(&project.name).repository(service.repository);
        let mut command = upload_pack(&self.context.git, &path, service.protocol.as_deref());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => pump(child, streams, (left, None), &mut Nobody).await,
            Err(error) => not_started(streams, &error).await,
        }
    }

    async fn receive(
        &self,
        actor: &Actor,
        service: &GitService,
        project: &ProjectRecord,
        streams: GitStreams,
        left: impl Future<Output = Left> + Send,
    ) -> u32 {
        let Ok((token, session)) = self.open_session(actor, service, project) else { return 128 };
        let path = self.context.project_places(&project.name).repository(service.repository);
        let options = ReceiveOptions {
            token: token.clone(),
            hook_socket: self.context.places.hook_socket(),
            protocol: service.protocol.clone(),
            max_push: self.context.config().git.max_push,
        };
        let mut command = receive_pack(&self.context.git, &path, &options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (live, repository) = (self.context.serving(project), path.clone());
        let wording = move |why: &Unstored| {
            let failure = read_only(&path).unwrap_or_else(|| unstored(why));
            let lines = failure.hints.iter().flat_map(|hint| words::verdict("hint", hint)).collect();
            Wording { reason: words::rejection(&failure, live, None), lines }
        };
        let mut sniffer = Sniffer { session, manner: Manner::Unknown, seen: Vec::new() };
        let work = AtWork::begin(&repository);
        let status = match command.spawn() {
            Ok(child) => pump(child, streams, (left, Some(&wording)), &mut sniffer).await,
            Err(error) => not_started(streams, &error).await,
        };
        if status > SIGNALLED {
            work.was_killed();
        }
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        status
    }
}

impl Platform {
    /// A push is known by a token from here until its git has ended.
    fn open_session(
        &self,
        actor: &Actor,
        service: &GitService,
        project: &ProjectRecord,
    ) -> std::io::Result<(String, PushSession)> {
        let token = entropy::hex(16)?;
        let session = PushSession::new(actor, &project.name, service.repository);
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), session.clone());
        Ok((token, session))
    }
}

async fn not_started(mut streams: GitStreams, error: &std::io::Error) -> u32 {
    tracing::error!(%error, "git could not be started");
    let _ = streams.stdout.write_all(&error_packet("git could not be started on the server; see its log")).await;
    128
}

/// The packet that git shows as one clean `fatal: remote error: ...`.
fn error_packet(text: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let _ = pktline::encode(format!("ERR {text}").as_bytes(), &mut packet);
    packet
}

fn refusal(failure: &Failure) -> String {
    let hint = failure.hints.first().map(|hint| format!(" ({hint})")).unwrap_or_default();
    match failure.code {
        Code::Internal => format!("the server has a problem: {}", failure.what),
        _ => format!("{}{hint}", failure.what),
    }
}

/// Who follows what a client does.
trait Follower {
    /// More bytes came from the client.
    fn look(&mut self, bytes: &[u8]);
    /// The client left; what is to become of git?
    fn left(&mut self, how: Left) -> Afterwards;
}

/// What becomes of git once its client has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Afterwards {
    /// Nobody needs it any more.
    End,
    /// It comes to its end by itself: without input, or with the deployment.
    Finish,
}

/// For a fetch: what nobody reads need not be made.
struct Nobody;

impl Follower for Nobody {
    fn look(&mut self, _: &[u8]) {}

    fn left(&mut self, _: Left) -> Afterwards {
        Afterwards::End
    }
}

/// Looks at the first bytes that a pusher sends.
struct Sniffer {
    session: PushSession,
    manner: Manner,
    seen: Vec<u8>,
}

impl Sniffer {
    const MOST: usize = 8 * 1024;
}

impl Follower for Sniffer {
    fn look(&mut self, bytes: &[u8]) {
        if self.manner != Manner::Unknown || self.seen.len() > Self::MOST {
            return;
        }
        self.seen.extend_from_slice(bytes.get(..Self::MOST.min(bytes.len())).unwrap_or(bytes));
        let Some(hello) = pktline::client_hello(&self.seen) else { return };
        self.manner = if hello.quiet { Manner::Quiet } else { Manner::Terminal };
        self.session.shallow.store(hello.shallow, std::sync::atomic::Ordering::SeqCst);
        self.seen = Vec::new();
    }

    /// git is not killed: it may be the one that has to move a ref.
    fn left(&mut self, how: Left) -> Afterwards {
        if how == Left::Closed && self.manner == Manner::Terminal {
            self.session.interrupt();
        }
        Afterwards::Finish
    }
}

/// Copies until git has ended. Never waits for a client's input once git is done.
async fn pump(
    mut child: Child,
    mut streams: GitStreams,
    (left, wording): (impl Future<Output = Left> + Send, Option<Words<'_>>),
    follower: &mut impl Follower,
) -> u32 {
    let (Some(to_git), Some(mut from_git), Some(mut errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return 128;
    };
    let group = child.id();
    let mut output = std::pin::pin!(async {
        let copy_out = async {
            match wording {
                Some(wording) => copy_report(&mut from_git, &mut streams.stdout, wording).await,
                None => copy(&mut from_git, &mut streams.stdout).await,
            }
        };
        let copy_err = copy(&mut errors, &mut streams.stderr);
        tokio::join!(copy_out, copy_err);
        child.wait().await.map_or(128, |status| exit_status(&status))
    });
    let how = {
        let input = feed(&mut streams.stdin, to_git, follower);
        tokio::select! {
            status = &mut output => return status,
            how = left => how,
            () = input => Left::Lost,
        }
    };
    if follower.left(how) == Afterwards::End {
        end_group(group);
    }
    output.await
}

/// Passes the client's bytes on. Never ends: git decides when it is done.
async fn feed(from: &mut (impl AsyncRead + Unpin), mut to_git: ChildStdin, follower: &mut impl Follower) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        follower.look(bytes);
        if to_git.write_all(bytes).await.is_err() {
            break;
        }
    }
    drop(to_git);
    std::future::pending::<()>().await;
}

/// What cannot be delivered is thrown away: git must not wait for somebody who has left.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        if to.write_all(bytes).await.is_ok() {
            let _ = to.flush().await;
        }
    }
}

/// The same for a push, whose report gets a reason where git has none.
async fn copy_report(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), wording: Words<'_>) {
    let mut report = Report::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        if to.write_all(&report.pass(bytes, wording)).await.is_ok() {
            let _ = to.flush().await;
        }
    }
    let _ = to.write_all(&report.rest()).await;
}

/// git only says that it could not create a file.
fn read_only(repository: &Path) -> Option<Failure> {
    let what = format!("the file system of {} is read-only", repository.display());
    let hint = "an admin finds out why (dmesg), and mounts it again";
    files::is_read_only(repository).then(|| Failure::new(Code::Internal, what).hint(hint))
}

/// What git itself refused to store.
fn unstored(why: &Unstored) -> Failure {
    match why {
        Unstored::Hostile(what) => Failure::new(Code::Refused, format!("git does not take these objects: {what}"))
            .hint("make the commits again without it; git fsck shows where it is"),
        Unstored::Full => Failure::new(Code::DiskFull, "no space left for the objects of this push")
            .hint("free space on the server, then push again"),
        Unstored::TooLarge => Failure::new(Code::Refused, "this push is larger than the server takes at once")
            .hint("push it in parts, or raise [git] max_push in commis.toml"),
        Unstored::Unknown => Failure::new(Code::Internal, "git could not store the objects; it said why above")
            .hint("git fsck shows whether the objects are whole"),
    }
}

fn exit_status(status: &std::process::ExitStatus) -> u32 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(128);
    u32::try_from(code).unwrap_or(128)
}

/// SIGTERM lets git remove what it had quarantined; dropping the child kills what is left.
fn end_group(group: Option<u32>) {
    let Some(pid) = group.and_then(|pid| i32::try_from(pid).ok()) else { return };
    let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
}
