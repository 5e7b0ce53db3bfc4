//! The SSH door: who comes in is known by a verified key, what they want is one exec line, and both are handed to a
//! [`Reception`]. This room knows no project, no git and no verb; `server` joins it to `operations`.
//!
//! One connection: [`server`] accepts, `doorstep` makes strangers wait, `session` answers the protocol and says no
//! to all but exec and its terminal, `intake` and `outlet` move the bytes of each [`Channel`].

pub mod channel;
pub mod host_key;
pub mod keys;
pub mod request;
pub mod server;

mod algorithms;
mod connection;
mod doorstep;
mod intake;
mod line;
mod outlet;
mod session;
mod spill;
mod words;

#[cfg(test)]
mod tests;

pub use channel::{Channel, ChannelReader, ChannelWriter, Departure, Gone, Seat};
pub use host_key::FirstStart;
pub use request::{RepositoryPath, Request};
pub use server::{Door, SshConfig, bind};

use crate::model::Actor;
use std::future::Future;

/// What the server does with people who come in by ssh.
pub trait Reception: Send + Sync + 'static {
    /// Whether a key is worth a signature. It was only shown, by anybody: this must change and record nothing.
    fn knows(&self, key: &PresentedKey) -> impl Future<Output = bool> + Send;

    /// The actor behind a key that has just signed, or `None`. Called only after the signature was verified.
    fn recognise(&self, key: &PresentedKey) -> impl Future<Output = Option<Actor>> + Send;

    /// Serves one exec request; returns the exit status. What was written before it returns reaches the client;
    /// what clones of the writers write later does not.
    fn serve(&self, actor: Actor, request: Request, channel: Channel) -> impl Future<Output = u32> + Send;
}

/// A client's public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PresentedKey {
    /// `SHA256:...`
    pub fingerprint: String,
    /// `ssh-ed25519`, `ssh-rsa`, ... (the kind of key, not of signature).
    pub algorithm: String,
    /// SSH's wire form of the public key.
    pub blob: Vec<u8>,
}
