//! WebSockets: after the application agreed to change the protocol, bytes go both ways unseen.

use super::instance::TunnelPass;
use futures_util::FutureExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::sync::{mpsc, watch};

/// How long each side may take to end what we end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Carries bytes both ways until one side closes, the instance is drained, or the router stops. `alive` is held meanwhile.
pub async fn run(
    client: OnUpgrade,
    application: Upgraded,
    pass: TunnelPass,
    mut closing: watch::Receiver<bool>,
    alive: mpsc::Sender<Infallible>,
) {
    {
        let mut told = pin!(async {
            tokio::select! {
                () = pass.closing() => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        });
        let client = tokio::select! {
            client = client => client.ok(),
            () = &mut told => None,
        };
        if let Some(client) = client {
            carry(TokioIo::new(client), TokioIo::new(application), told).await;
        }
    }
    drop((alive, pass));
}

/// Told to end it, we do as if the client had gone: the application says what it still has to say and closes, and the
/// client reads all of it up to an end in order, which bytes of its own that nobody read would have spoilt.
async fn carry<C, A>(client: C, application: A, told: impl Future<Output = ()>)
where
    C: AsyncRead + AsyncWrite,
    A: AsyncRead + AsyncWrite,
{
    let (mut from_client, to_client) = split(client);
    let (from_application, mut to_application) = split(application);
    let mut down = pin!(one_way(from_application, to_client).fuse());
    {
        let up = one_way(&mut from_client, &mut to_application);
        tokio::select! {
            // How a tunnel ends is between the two sides.
            _ = async { tokio::try_join!(up, &mut down) } => return,
            () = told => {}
        }
    }
    let ends = async {
        let _ = to_application.shutdown().await;
        let _ = tokio::time::timeout(LAST_WORDS, &mut down).await;
    };
    let mut nowhere = sink();
    let reads_on = copy(&mut from_client, &mut nowhere);
    let _ = tokio::join!(ends, tokio::time::timeout(LAST_WORDS, reads_on));
}

/// The end of one side is passed on to the other.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}
