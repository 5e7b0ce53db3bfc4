//! Certificates as a router holds them: chosen by the name that the client asks for, exact before wildcard, replaced
//! whole while connections go on. A name that no certificate has gets none, never another project's.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A chain with its key, as PEM. No Debug: the key is a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateText {
    pub chain: String,
    pub key: KeyText,
}

/// A private key as PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyText(pub String);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("no certificate in it that can be read")]
    Chain,
    #[error("no private key in it that can be read")]
    Key,
    #[error("certificate and key cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
    #[error("the certificate names no host")]
    Nameless,
}

/// A certificate that was read, and the names it is for: `blog.example.com`, `*.example.com`.
pub struct Certificate {
    pub names: Vec<String>,
    /// In seconds since 1970.
    pub expires: i64,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    pub fn read(text: &CertificateText) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.chain.as_bytes()).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateError::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(text.key.0.as_bytes()).map_err(|_| CertificateError::Key)?;
        let leaf = chain.first().ok_or(CertificateError::Chain)?;
        let (names, expires) = (names(leaf), expires(leaf).ok_or(CertificateError::Chain)?);
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        if names.is_empty() {
            return Err(CertificateError::Nameless);
        }
        Ok(Self { names, expires, key: Arc::new(key) })
    }
}

fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let parsed = webpki::EndEntityCert::try_from(leaf);
    parsed.map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

fn expires(leaf: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// All certificates of one router. Cheap to clone; every clone sees the same ones.
#[derive(Clone, Default)]
pub struct Certificates(Arc<RwLock<HashMap<String, Shown>>>);

/// What is shown for one name.
#[derive(Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    expires: i64,
}

impl Certificates {
    /// Puts these in the place of what was there, for connections that begin from now on. What cannot be read is left
    /// out and said; of two for one name the first counts.
    pub fn replace(&self, texts: &[CertificateText]) {
        let mut named = HashMap::new();
        for text in texts {
            match Certificate::read(text) {
                Ok(Certificate { names, expires, key }) => {
                    for name in names {
                        named.entry(name).or_insert_with(|| Shown { key: Arc::clone(&key), expires });
                    }
                }
                Err(error) => tracing::error!(%error, "a certificate is left out"),
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = named;
    }

    /// What speaks TLS with these: 1.2 and 1.3, HTTP/2 where the client has it.
    pub fn tls(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Each name and when its certificate is over, in seconds since 1970; by name.
    pub fn expiries(&self) -> Vec<(String, i64)> {
        let named = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = named.iter().map(|(name, shown)| (name.clone(), shown.expires)).collect();
        all.sort();
        all
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let named = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        named.get(name).or_else(|| named.get(&wildcard()?)).map(|shown| Arc::clone(&shown.key))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(&hello.server_name()?.to_ascii_lowercase())
    }
}
