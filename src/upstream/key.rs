//! The key with which this server fetches releases from others; only its public line is ever shown.

use crate::model::Failure;
use crate::system::own_key::{FirstStart, OwnKey};
use russh::keys::PrivateKey;
use std::path::Path;
use std::sync::Arc;

/// The key; cheap to clone. No `Debug`.
#[derive(Clone)]
pub struct Key(pub(super) Arc<PrivateKey>);

impl Key {
    /// The key in `path`, made (and durable) when there is none: a new one is nobody's danger, the other servers only
    /// have to be told of it.
    pub fn load_or_create(path: &Path) -> Result<Self, Failure> {
        let loss = "the servers that it fetches from know the old one";
        let key = OwnKey { what: "key for upstreams", path, loss }.load_or_create(FirstStart::Yes)?;
        Ok(Self(Arc::new(key)))
    }

    /// `ssh-ed25519 AAAA... commis`: what `key add` of the other server takes.
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default().trim().to_owned()
    }
}
