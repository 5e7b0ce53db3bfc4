//! A server's connection to one router: asks, and knows which answer belongs to which question. Any number of
//! questions may be open. Which questions are asked is `keeper`'s.

use super::wire::{self, Answer, Message, Order};
use crate::system::passing;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// Cheap to clone. The connection ends with the last clone.
#[derive(Clone)]
pub struct Link {
    questions: mpsc::UnboundedSender<(Order, oneshot::Sender<Reply>)>,
    gone: watch::Receiver<bool>,
}

/// An answer and the descriptors that came with it.
pub struct Reply {
    pub answer: Answer,
    pub descriptors: Vec<OwnedFd>,
}

type Open = Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;

impl Link {
    pub fn new(stream: UnixStream) -> Self {
        let (questions, asked) = mpsc::unbounded_channel();
        let (tell_gone, gone) = watch::channel(false);
        let (reading, writing) = stream.into_split();
        let open = Open::default();
        tokio::spawn(say(writing, asked, Arc::clone(&open)));
        tokio::spawn(async move {
            // A router that cannot be understood is gone.
            let _ = hear(reading, &open).await;
            tell_gone.send_replace(true);
            open.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Self { questions, gone }
    }

    /// `None`: the router is gone, and may or may not have done it.
    pub async fn ask(&self, order: Order) -> Option<Reply> {
        let (answered, answer) = oneshot::channel();
        self.questions.send((order, answered)).ok()?;
        // One that ends says no more before it stops hearing: a question may be sent that nobody will answer.
        tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = self.gone() => None,
        }
    }

    /// Ready when the router is gone.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        let _ = gone.wait_for(|gone| *gone).await;
    }

    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }
}

async fn say(
    mut writing: OwnedWriteHalf,
    mut asked: mpsc::UnboundedReceiver<(Order, oneshot::Sender<Reply>)>,
    open: Open,
) {
    let mut id = 0;
    while let Some((order, answered)) = asked.recv().await {
        id += 1;
        open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answered);
        if wire::write(&mut writing, id, order).await.is_err() {
            open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }
}

async fn hear(mut reading: OwnedReadHalf, open: &Open) -> io::Result<()> {
    while let Some(Message { id, body: answer }) = wire::read(&mut reading).await? {
        let descriptors = match &answer {
            Answer::Sockets(_) => {
                let stream = reading.as_ref();
                stream.async_io(Interest::READABLE, || passing::receive(stream)).await?
            }
            _ => Vec::new(),
        };
        let waiting = open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(waiting) = waiting {
            // Who asked may have lost patience.
            let _ = waiting.send(Reply { answer, descriptors });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_router_that_says_no_more_but_still_hears_is_gone() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours);
        tokio::io::AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
        link.gone().await;
        assert!(link.ask(Order::Hello).await.is_none());
        drop(theirs);
    }
}
