//! One task per exec that carries output to the client, in order, as fast as the client reads, and then says the
//! exit status and closes. It alone waits for the client's window, so that no waiter can miss it, and it gives up
//! when the client has left: russh would let it wait for ever.

use super::channel::Gone;
use bytes::Bytes;
use russh::{ChannelWriteHalf, server::Msg};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Pieces of output that wait at most.
pub(super) const PIECES: usize = 8;

/// SSH_EXTENDED_DATA_STDERR
const STDERR: u32 = 1;

/// What an exec tells its client.
pub(super) enum Out {
    Output(Bytes),
    Errors(Bytes),
    /// The last word: exit status.
    Finish(u32),
}

/// Runs until the exec has finished or the client has left. `place` is the channel's place among those that a
/// connection may have; it is free again just before the client hears of the end.
pub(super) async fn run(
    client: ChannelWriteHalf<Msg>,
    mut queue: mpsc::Receiver<Out>,
    gone: Gone,
    place: OwnedSemaphorePermit,
) {
    tokio::select! {
        _ = deliver(&client, &mut queue, place) => {}
        _ = gone.wait() => {}
    }
}

async fn deliver(
    client: &ChannelWriteHalf<Msg>,
    queue: &mut mpsc::Receiver<Out>,
    place: OwnedSemaphorePermit,
) -> Result<(), russh::Error> {
    while let Some(out) = queue.recv().await {
        match out {
            Out::Output(bytes) => client.data_bytes(bytes).await?,
            Out::Errors(bytes) => client.extended_data_bytes(STDERR, bytes).await?,
            Out::Finish(status) => {
                drop(place);
                client.exit_status(status).await?;
                client.eof().await?;
                return client.close().await;
            }
        }
    }
    Ok(())
}
