//! What one client may say: prove a key, open a few channels, and run one exec in each, at a terminal if they wish. Everything
//! else is answered no, at once. The limits before authentication are in `connection`; what an exec line means is in `request`.

use super::channel::{Channel, ChannelReader, ChannelWriter, Departure, Gone, Seat};
use super::intake::{Intake, Queue};
use super::outlet::{self, Out};
use super::request::{self, BadRequest, Request};
use super::{PresentedKey, Reception, keys};
use crate::model::Actor;
use crate::model::Window;
use russh::keys::{Algorithm, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{ChannelId, ChannelOpenFailure, ChannelWriteHalf, Error, Pty, Sig};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// `env` requests of one connection; more end it.
const ENV_REQUESTS: u32 = 100;
/// Channels of one connection in its whole life: russh keeps a little of each.
const CHANNELS_EVER: u32 = 10_000;
/// Exit status when serving itself went wrong.
const INTERNAL: u32 = 70;

/// One client's side of the protocol.
pub(super) struct Client<R> {
    pub(super) reception: Arc<R>,
    pub(super) peer: SocketAddr,
    pub(super) projects_root: PathBuf,
    /// Where input goes that does not fit into memory.
    pub(super) spill: PathBuf,
    /// Places for channels.
    pub(super) places: Arc<Semaphore>,
    /// Told once, when the client has authenticated.
    pub(super) entered: Option<oneshot::Sender<()>>,
    /// How the connection ended.
    pub(super) ending: watch::Receiver<Option<Departure>>,
    pub(super) state: State,
}

/// What changes while the client talks.
#[derive(Default)]
pub(super) struct State {
    /// Set from a verified signature, never from an offer.
    actor: Option<Actor>,
    env_requests: u32,
    channels_ever: u32,
    /// Channels whose exec has not begun.
    open: HashMap<ChannelId, Open>,
    /// Terminals of channels, until they are closed.
    windows: HashMap<ChannelId, watch::Sender<Window>>,
}

struct Open {
    seat: Option<Seat>,
    git_protocol: Option<String>,
    client: ChannelWriteHalf<Msg>,
    input: Arc<Queue>,
    gone: Gone,
    place: OwnedSemaphorePermit,
}

impl<R: Reception> Client<R> {
    /// The key as the reception sees it, when such a user may come with such a key and signature at all.
    fn presented(user: &str, key: &PublicKey, signature: &Algorithm) -> Option<PresentedKey> {
        let welcome = matches!(user, "commis" | "git") && keys::check(key).is_ok() && keys::signs_well(signature);
        let record = welcome.then(|| keys::record(key)).flatten()?;
        Some(PresentedKey { fingerprint: record.fingerprint, algorithm: record.algorithm, blob: record.blob })
    }

    fn begin(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        let Some(actor) = self.state.actor.clone() else { return session.channel_failure(id) };
        let Some(open) = self.state.open.remove(&id) else { return session.channel_failure(id) };
        let request = request::parse(command, &self.projects_root, open.git_protocol);
        let (out, queue) = mpsc::channel(outlet::PIECES);
        let channel = Channel {
            stdin: ChannelReader(open.input),
            stdout: ChannelWriter::new(out.clone(), Out::Output),
            stderr: ChannelWriter::new(out.clone(), Out::Errors),
            gone: open.gone.clone(),
            terminal: open.seat,
            peer: self.peer,
        };
        session.channel_success(id)?;
        tokio::spawn(outlet::run(open.client, queue, open.gone, open.place));
        let serving = tokio::spawn(serve(self.reception.clone(), actor, request, channel));
        tokio::spawn(async move {
            let status = serving.await.unwrap_or(INTERNAL);
            // Fails when the client has left: then nobody asks.
            let _ = out.send(Out::Finish(status)).await;
        });
        Ok(())
    }
}

async fn serve<R: Reception>(
    reception: Arc<R>,
    actor: Actor,
    request: Result<Request, BadRequest>,
    mut channel: Channel,
) -> u32 {
    let bad = match request {
        Ok(request) => return reception.serve(actor, request, channel).await,
        Err(bad) => bad,
    };
    // A client that has left misses the refusal; that is all.
    let _ = if bad.is_git() {
        channel.stdout.write_all(&request::git_error_packet(&bad.to_string())).await
    } else {
        channel.stderr.write_all(format!("commis: {bad}\n").as_bytes()).await
    };
    bad.exit_status()
}

fn size(columns: u32, rows: u32) -> Window {
    let letters = |count| u16::try_from(count).unwrap_or(u16::MAX);
    Window { columns: letters(columns), rows: letters(rows) }
}

fn may_be_git_protocol(name: &str, value: &str) -> bool {
    name == "GIT_PROTOCOL" && matches!(value, "version=0" | "version=1" | "version=2")
}

impl<R: Reception> Handler for Client<R> {
    type Error = Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        let key = Self::presented(user, offer.public_key, offer.algorithm);
        let known = match key {
            Some(key) => self.reception.knows(&key).await,
            None => false,
        };
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        self.state.actor = match Self::presented(user, key.public_key, key.algorithm) {
            Some(key) => self.reception.recognise(&key).await,
            None => None,
        };
        Ok(if self.state.actor.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Error> {
        if let Some(entered) = self.entered.take() {
            // The connection's task may be ending already.
            let _ = entered.send(());
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.state.channels_ever += 1;
        if self.state.channels_ever > CHANNELS_EVER {
            return Err(Error::Disconnect);
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let id = channel.id();
        let (reading, client) = channel.split();
        let (news, gone) = watch::channel(None);
        let input = Arc::new(Queue::default());
        let intake = Intake::new(reading, input.clone(), self.spill.clone());
        tokio::spawn(intake.run(news, self.ending.clone()));
        self.state
            .open
            .insert(id, Open { seat: None, git_protocol: None, client, input, gone: Gone::new(gone), place });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        self.state.open.remove(&id);
        self.state.windows.remove(&id);
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        self.begin(id, command, session)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.begin(id, b"", session)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.state.env_requests += 1;
        if self.state.env_requests > ENV_REQUESTS {
            return Err(Error::Disconnect);
        }
        match self.state.open.get_mut(&id).filter(|_| may_be_git_protocol(name, value)) {
            Some(open) => {
                open.git_protocol = Some(value.to_owned());
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn pty_request(
        &mut self,
        id: ChannelId,
        name: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        match self.state.open.get_mut(&id).filter(|open| open.seat.is_none()) {
            Some(open) => {
                let (sender, window) = watch::channel(size(columns, rows));
                open.seat = Some(Seat { name: name.to_owned(), window });
                self.state.windows.insert(id, sender);
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(id)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        match self.state.windows.get(&id) {
            Some(window) => {
                window.send_replace(size(columns, rows));
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), Error> {
        session.channel_failure(id)
    }

    async fn signal(&mut self, id: ChannelId, _: Sig, session: &mut Session) -> Result<(), Error> {
        session.channel_failure(id)
    }
}
