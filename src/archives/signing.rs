//! Signing what was cooked here: SSHSIG, as `ssh-keygen -Y sign` makes it and `ssh-keygen -Y verify` checks it, over a digest
//! that is known already. Whose signatures are believed stands in `signers`.

use crate::model::Failure;
use crate::system::own_key::{FirstStart, OwnKey};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use std::path::Path;
use std::sync::Arc;

/// What a signature is for. One made for something else is worth nothing here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Namespace {
    /// Over an archive: it was cooked by whoever has the key.
    Release,
    /// Over a line: the release was live there, and well.
    Live,
}

impl Namespace {
    pub const ALL: [Namespace; 2] = [Namespace::Release, Namespace::Live];

    pub fn as_str(self) -> &'static str {
        match self {
            Namespace::Release => "commis-release",
            Namespace::Live => "commis-live",
        }
    }
}

/// The server's signing key; cheap to clone. No `Debug`.
#[derive(Clone)]
pub struct SigningKey(Arc<PrivateKey>);

impl SigningKey {
    /// The key in `path`; made (and durable) at the first start. `ServerConfig` when it is missing later.
    pub fn load_or_create(path: &Path, first_start: FirstStart) -> Result<Self, Failure> {
        let loss = "servers that took its releases refuse those of another key";
        let key = OwnKey { what: "release signing key", path, loss }.load_or_create(first_start)?;
        Ok(Self(Arc::new(key)))
    }

    /// An armoured signature over a message of which the digest is known.
    pub fn sign(&self, namespace: Namespace, sha256: &[u8; 32]) -> Result<String, Failure> {
        let signed = self.0.sign_prehash(namespace.as_str(), HashAlg::Sha256, sha256);
        let armored = signed.and_then(|signature| signature.to_pem(LineEnding::LF));
        armored.map_err(|error| Failure::internal("sign", &error))
    }

    /// The line of an allowed_signers file that makes another server take what is signed here.
    pub fn allowed_signers_line(&self, environment: &str) -> String {
        let public = PublicKey::new(self.0.public_key().key_data().clone(), "").to_openssh().unwrap_or_default();
        let namespaces = Namespace::ALL.map(Namespace::as_str).join(",");
        format!("{environment} namespaces=\"{namespaces}\" {}", public.trim())
    }

    /// `SHA256:...`
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}
