//! One connection from accept to end: silent, then a stranger with a place and little time, then somebody. Says at
//! the end whether the client left or was lost.

use super::Reception;
use super::channel::Departure;
use super::doorstep::{Doorstep, HURRY, Place};
use super::line::{HangUp, Line};
use super::server::SshConfig;
use super::session::{Client, State};
use russh::server::{RunningSession, run_stream};
use russh::{Disconnect, Error};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// How often a slow stranger's place is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a client may take to hang up after we said goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What all connections of a door share.
pub(super) struct House<R> {
    pub(super) config: SshConfig,
    pub(super) protocol: Arc<russh::server::Config>,
    pub(super) doorstep: Arc<Doorstep>,
    pub(super) reception: Arc<R>,
    /// True once the door closes: strangers leave at once, others when nothing of theirs runs.
    pub(super) closing: watch::Receiver<bool>,
}

/// A connection that was just accepted, and how it learns that it must give way.
pub(super) struct Newcomer {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) evicted: oneshot::Receiver<()>,
}

/// A client that has proved a key.
struct Somebody<R: Reception> {
    session: RunningSession<Client<R>>,
    /// To be told how the connection ended.
    ended: watch::Sender<Option<Departure>>,
    /// The places of its channels.
    places: Arc<Semaphore>,
}

/// Serves one client until it has left.
pub(super) async fn run<R: Reception>(house: Arc<House<R>>, newcomer: Newcomer) {
    let Newcomer { socket, peer, evicted } = newcomer;
    let socket = Arc::new(socket);
    let _hang_up = HangUp(socket.clone());
    let deadline = Instant::now() + house.config.grace;
    let mut closing = house.closing.clone();
    let entering = async {
        let place = timeout_at(deadline, step_in(&house, &socket, (peer, evicted))).await.ok()??;
        authenticate(&house, (socket.clone(), peer), &place, deadline).await
    };
    let somebody = tokio::select! {
        somebody = entering => somebody,
        _ = closing.wait_for(|closing| *closing) => None,
    };
    if let Some(Somebody { session, ended, places }) = somebody {
        let departure = until_left(session, closing, places, house.config.max_channels as u32).await;
        ended.send_replace(Some(departure));
    }
}

/// Waits for the first word, then for a place.
async fn step_in<R>(
    house: &House<R>,
    socket: &TcpStream,
    (peer, evicted): (SocketAddr, oneshot::Receiver<()>),
) -> Option<Place> {
    let mut first = [0];
    tokio::select! {
        biased;
        // Not `readable`, which may be wrong.
        word = socket.peek(&mut first) => (word.ok()? > 0).then_some(())?,
        _ = evicted => return None,
    }
    house.doorstep.place(peer).await
}

async fn authenticate<R: Reception>(
    house: &House<R>,
    (socket, peer): (Arc<TcpStream>, SocketAddr),
    place: &Place,
    deadline: Instant,
) -> Option<Somebody<R>> {
    let (ended, ending) = watch::channel(None);
    let (told, entered) = oneshot::channel();
    let places = Arc::new(Semaphore::new(house.config.max_channels));
    let client = Client {
        reception: house.reception.clone(),
        peer,
        projects_root: house.config.projects_root.clone(),
        spill: house.config.host_key.parent().unwrap_or(Path::new("/tmp")).to_owned(),
        places: places.clone(),
        entered: Some(told),
        ending,
        state: State::default(),
    };
    let proving = async {
        let mut session = run_stream(house.protocol.clone(), Line::new(socket), client).await.ok()?;
        tokio::select! {
            told = entered => told.ok()?,
            _ = &mut session => return None,
        }
        Some(session)
    };
    let session = timeout_at(deadline, patient(place, proving)).await.ok()???;
    Some(Somebody { session, ended, places })
}

/// `work`, unless it takes long while others wait for the place.
async fn patient<T>(place: &Place, work: impl Future<Output = T>) -> Option<T> {
    let began = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        if let Ok(done) = timeout(LOOK, &mut work).await {
            return Some(done);
        }
        if began.elapsed() >= HURRY && place.is_wanted() {
            return None;
        }
    }
}

async fn until_left<R: Reception>(
    mut session: RunningSession<Client<R>>,
    mut closing: watch::Receiver<bool>,
    places: Arc<Semaphore>,
    channels: u32,
) -> Departure {
    let handle = session.handle();
    let idle = async {
        let _ = closing.wait_for(|closing| *closing).await;
        let something_runs = places.available_permits() < channels as usize;
        // Once all places are ours, nothing runs and nothing new begins.
        let _all = places.acquire_many(channels).await;
        something_runs
    };
    let served_to_the_end = tokio::select! {
        end = &mut session => return departure(end),
        served = idle => served,
    };
    // A goodbye on the heels of an exit status can overtake it in the client, which then reports a failure: a client
    // that was served until now may hang up by itself first.
    if served_to_the_end && let Ok(end) = timeout(GOODBYE, &mut session).await {
        return departure(end);
    }
    // A client that has gone meanwhile needs no goodbye.
    let _ = handle.disconnect(Disconnect::ByApplication, "server is stopping".into(), String::new()).await;
    timeout(GOODBYE, session).await.map_or(Departure::Lost, departure)
}

fn departure(end: Result<(), Error>) -> Departure {
    match end {
        Ok(()) | Err(Error::Disconnect | Error::HUP) => Departure::Closed,
        // The client's machine closed the connection in good order, as it does for a killed client.
        Err(Error::IO(error)) if error.kind() == ErrorKind::UnexpectedEof => Departure::Closed,
        Err(_) => Departure::Lost,
    }
}
