//! The router's side of its control socket: root's servers ask, and get an answer when what they asked is done.

use super::board::Board;
use super::certificates::Certificates;
use super::challenges::Challenges;
use super::connection::Ending;
use super::table::Table;
use super::wire::{self, Answer, Message, Order, Role, Start, Welcome};
use crate::system::passing;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex as Turn, oneshot};

/// What servers may ask about and change.
pub struct Control {
    board: Board,
    certificates: Certificates,
    challenges: Challenges,
    start: Start,
    held: Held,
    /// Given away on request, and closed when this router ends.
    sockets: Mutex<BTreeMap<Role, OwnedFd>>,
    ending: Mutex<Option<oneshot::Sender<Ending>>>,
}

/// Where this router listens.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

impl Control {
    /// Also what is ready when a server wants the end.
    pub fn new(
        (board, certificates, challenges): (Board, Certificates, Challenges),
        start: Start,
        (held, sockets): (Held, BTreeMap<Role, OwnedFd>),
    ) -> (Arc<Self>, oneshot::Receiver<Ending>) {
        let (ending, told) = oneshot::channel();
        let (sockets, ending) = (Mutex::new(sockets), Mutex::new(Some(ending)));
        (Arc::new(Self { board, certificates, challenges, start, held, sockets, ending }), told)
    }

    /// Takes connections of root for as long as the router lives.
    pub async fn receive(self: Arc<Self>, doors: UnixListener) {
        loop {
            match doors.accept().await {
                Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == 0) => {
                    tokio::spawn(Arc::clone(&self).converse(stream));
                }
                Ok(_) => tracing::warn!("a stranger at the control socket"),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    /// Answers one server until it leaves. A drain does not keep other questions waiting.
    pub async fn converse(self: Arc<Self>, stream: UnixStream) {
        let (mut reading, writing) = stream.into_split();
        let writing = Arc::new(Turn::new(writing));
        while let Ok(Some(Message { id, body: order })) = wire::read::<Order>(&mut reading).await {
            let (control, writing) = (Arc::clone(&self), Arc::clone(&writing));
            match order {
                Order::Drain { project, instances, limits } => {
                    tokio::spawn(async move {
                        let drained = control.board.drain(&project, &instances, limits).await;
                        let _ = wire::write(&mut *writing.lock().await, id, Answer::Drained(drained)).await;
                    });
                }
                Order::Sockets => {
                    if control.give_sockets(id, &mut *writing.lock().await).await.is_err() {
                        return;
                    }
                }
                order => {
                    let answer = control.obey(order);
                    if wire::write(&mut *writing.lock().await, id, answer).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn obey(&self, order: Order) -> Answer {
        match order {
            Order::Hello => return Answer::Welcome(Box::new(self.welcome())),
            Order::Retire => self.end(Ending::Politely),
            Order::End => self.end(Ending::Now),
            Order::Replace(entries) => match Table::of(entries) {
                Ok(table) => self.board.replace(table),
                Err(error) => return Answer::Refused(error.to_string()),
            },
            Order::Set(routes) => {
                if let Err(error) = self.board.set(routes) {
                    return Answer::Refused(error.to_string());
                }
            }
            Order::Maintain { project, maintenance } => {
                self.board.maintain(&project, maintenance);
            }
            Order::Remove { project } => {
                self.board.remove(&project);
            }
            Order::IsBack { project, instance } => self.board.is_back(&project, &instance),
            Order::Challenge { token, answer } => self.challenges.add(token, answer),
            Order::Certificates(texts) => self.certificates.replace(&texts),
            Order::Loads => return Answer::Loads(self.board.loads()),
            Order::Sockets | Order::Drain { .. } => return Answer::Refused("asked in the wrong place".into()),
        }
        Answer::Done
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            build: self.start.build.clone(),
            config: self.start.config.clone(),
            pid: std::process::id(),
            http: self.held.http,
            https: self.held.https,
            admin: self.held.admin,
        }
    }

    async fn give_sockets(&self, id: u64, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let given: Vec<(Role, OwnedFd)> = {
            let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.iter().map(|(role, socket)| Ok((*role, socket.try_clone()?))).collect::<io::Result<_>>()?
        };
        wire::write(to, id, Answer::Sockets(given.iter().map(|(role, _)| *role).collect())).await?;
        let borrowed: Vec<_> = given.iter().map(|(_, socket)| socket.as_fd()).collect();
        let stream = to.as_ref();
        stream.async_io(Interest::WRITABLE, || passing::send(stream, &borrowed)).await
    }

    /// The first word counts. Who comes after an end for good is refused by the kernel.
    fn end(&self, how: Ending) {
        let told = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(told) = told {
            self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let _ = told.send(how);
        }
    }
}
