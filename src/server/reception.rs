//! Joins the ssh door to the hall: keys become actors, exec lines become git services and verbs.

use super::at_terminal::{Lines, interrupted};
use crate::api::{self, wire::Frame};
use crate::model::Actor;
use crate::model::actor::Rank;
use crate::operations::{Direction, GitService, GitStreams, Input, Left, Platform, Terminal};
use crate::ssh::{Channel, ChannelReader, Departure, PresentedKey, Reception, RepositoryPath, Request, Seat};
use crate::verbs::{self, Said, Takes, Verb};
use tokio::io::AsyncWriteExt;

/// Receives everybody who comes by ssh.
pub struct Desk {
    platform: Platform,
}

impl Desk {
    pub fn new(platform: Platform) -> Self {
        Self { platform }
    }

    async fn git(&self, actor: &Actor, service: GitService, channel: Channel) -> u32 {
        let Channel { stdin, stdout, stderr, gone, .. } = channel;
        let left = async move {
            match gone.wait().await {
                Departure::Closed => Left::Closed,
                Departure::Lost => Left::Lost,
            }
        };
        self.platform
            .serve_git(
                actor,
                service,
                GitStreams { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) },
                left,
            )
            .await
    }

    async fn verb(&self, actor: Actor, words: Vec<String>, channel: Channel) -> u32 {
        let Channel { stdin, mut stdout, mut stderr, gone, terminal, .. } = channel;
        let lines = Lines::at(terminal.as_ref());
        let invocation = match verbs::parse(words) {
            Said::Verb(invocation) => *invocation,
            Said::Help(text) => {
                let _ = stdout.write_all(&lines.of(&text)).await;
                return 0;
            }
            Said::Wrong(text) => {
                let _ = stderr.write_all(&lines.of(&text)).await;
                return 64;
            }
        };
        let Some((input, keys)) = input_of(&invocation.verb, stdin, terminal) else {
            let _ = stderr.write_all(&lines.of("error: this verb reads standard input: leave out -t\n")).await;
            return 64;
        };
        let interrupted = interrupted(keys);
        tokio::pin!(interrupted);
        let mut frames = api::answer(self.platform.clone(), actor, invocation, input);
        loop {
            let frame = tokio::select! {
                frame = frames.recv() => frame,
                _ = gone.wait() => return 255,
                () = &mut interrupted => return 130,
            };
            let written = match frame {
                Some(Frame::Out(text)) => stdout.write_all(&lines.of(&text)).await,
                Some(Frame::Err(text)) => stderr.write_all(&lines.of(&text)).await,
                Some(Frame::RawErr(bytes)) => stderr.send(bytes.into()).await,
                Some(Frame::Raw(bytes)) => stdout.send(bytes.into()).await,
                Some(Frame::Exit(code)) => return code.into(),
                None => return 70,
            };
            if written.is_err() {
                return 255;
            }
        }
    }

    async fn greet(&self, actor: &Actor, mut channel: Channel) -> u32 {
        let rank = match &actor.rank {
            Rank::Admin => "an admin key",
            Rank::Developer | Rank::Limited(_) => "a developer key",
            Rank::Bot { .. } => "a key for releases",
        };
        let text = format!(
            "You are {}, with {rank}. There is no shell here.\n  ssh ... help      what can be said\n  ssh ... list      projects\n",
            actor.name
        );
        let lines = Lines::at(channel.terminal.as_ref());
        let _ = channel.stdout.write_all(&lines.of(&text)).await;
        0
    }
}

/// What a verb reads, and the keys that are only watched for Ctrl-C. `None` when it reads what nobody can type: bytes from
/// a raw terminal are no file.
fn input_of(verb: &Verb, stdin: ChannelReader, seat: Option<Seat>) -> Option<(Input, Option<ChannelReader>)> {
    match (verbs::takes(verb), seat) {
        (Takes::Nothing, None) => Some((Input::none(), None)),
        (Takes::Nothing, Some(_)) => Some((Input::none(), Some(stdin))),
        (Takes::Text | Takes::Stream | Takes::Keys, None) => Some((Input::stream(stdin), None)),
        (Takes::Keys, Some(seat)) => Some((Input::typed(stdin, Terminal::new(&seat.name, seat.window)), None)),
        (Takes::Text | Takes::Stream, Some(_)) => None,
    }
}

impl Reception for Desk {
    async fn knows(&self, key: &PresentedKey) -> bool {
        self.platform.recognise(&key.fingerprint).is_some()
    }

    async fn recognise(&self, key: &PresentedKey) -> Option<Actor> {
        self.platform.recognise(&key.fingerprint)
    }

    async fn serve(&self, actor: Actor, request: Request, channel: Channel) -> u32 {
        let service = |path: RepositoryPath, direction, protocol| GitService {
            project: path.project,
            repository: path.kind,
            direction,
            protocol,
        };
        match request {
            Request::ReceivePack { repository, git_protocol } => {
                self.git(&actor, service(repository, Direction::Receive, git_protocol), channel).await
            }
            Request::UploadPack { repository, git_protocol } => {
                self.git(&actor, service(repository, Direction::Upload, git_protocol), channel).await
            }
            Request::Verb(words) => self.verb(actor, words, channel).await,
            Request::Nothing => self.greet(&actor, channel).await,
        }
    }
}
