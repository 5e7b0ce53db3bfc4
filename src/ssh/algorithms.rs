//! The protocol's choices: algorithms, times and sizes given to russh. Only public keys, no compression, strict key
//! exchange. Limits that russh does not know (strangers, grace, channels) are in `doorstep` and `session`.

use super::server::SshConfig;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac, server};
use std::borrow::Cow;
use std::time::Duration;

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// Signatures of clients; of the server's own there is only the first, because its key is ed25519.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Keepalives without an answer after which the client counts as lost.
const KEEPALIVES: usize = 4;

pub(super) fn configuration(config: &SshConfig, host_key: PrivateKey) -> server::Config {
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-commis")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // The first question of every client ("none") costs nobody time; a key that is not known costs the same
        // whatever the reason.
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: 10,
        keys: vec![host_key],
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(SIGNATURES),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        // A build may be silent for longer than any timeout; a dead peer is found by keepalives.
        inactivity_timeout: None,
        keepalive_interval: Some(config.keepalive),
        keepalive_max: KEEPALIVES,
        nodelay: true,
        ..server::Config::default()
    }
}
