//! What a server and the router's own process say to each other: one JSON text each, with its length before it.
//! `Hello`, `Sockets` and `Retire` never change, so that a new server can take over from an old router.

use super::board::{DrainLimits, Drained, InstanceLoad};
use super::certificates::CertificateText;
use super::settings::RouterConfig;
use super::table::{Entry, InstanceAddress, Maintenance, Routes, project};
use crate::model::ProjectName;
use crate::system::UserIds;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest text: thousands of routes with pages of their own.
const TEXT_MAX: u32 = 64 << 20;

/// What a router's process is told first, over its standard input; its sockets follow.
/// No Debug: there are keys in it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Start {
    pub config: RouterConfig,
    /// Who it becomes once it has its sockets.
    pub user: UserIds,
    pub snapshot: PathBuf,
    pub log: PathBuf,
    pub log_filter: String,
    /// Which program this is.
    pub build: String,
    pub certificates: Vec<CertificateText>,
    /// In the order in which they follow.
    pub sockets: Vec<Role>,
}

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Role {
    Control,
    Http,
    Admin,
    Https,
}

/// What a server asks. No Debug: there may be keys in it.
#[derive(Clone, Serialize, Deserialize)]
pub enum Order {
    Hello,
    /// The answer is followed by the sockets.
    Sockets,
    /// Another router has the sockets: end without anybody noticing.
    Retire,
    /// End, for good.
    End,
    Replace(Vec<Entry>),
    Set(Routes),
    Maintain {
        #[serde(with = "project")]
        project: ProjectName,
        maintenance: Maintenance,
    },
    Remove {
        #[serde(with = "project")]
        project: ProjectName,
    },
    IsBack {
        #[serde(with = "project")]
        project: ProjectName,
        instance: InstanceAddress,
    },
    Drain {
        #[serde(with = "project")]
        project: ProjectName,
        instances: Vec<InstanceAddress>,
        limits: DrainLimits,
    },
    Loads,
    Certificates(Vec<CertificateText>),
    /// What an authority will ask one of the hosts.
    Challenge {
        token: String,
        answer: String,
    },
}

/// What a router answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    Welcome(Box<Welcome>),
    Sockets(Vec<Role>),
    Done,
    Drained(Drained),
    Loads(Vec<InstanceLoad>),
    /// It could not be done.
    Refused(String),
}

/// What a router says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub build: String,
    pub config: RouterConfig,
    pub pid: u32,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

/// One text, with a number that its answer repeats.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message<T> {
    pub id: u64,
    pub body: T,
}

/// The next message; `None` at an orderly end.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message<T>>> {
    let length = match from.read_u32().await {
        Ok(length) if length <= TEXT_MAX => length,
        Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text).await?;
    Ok(Some(serde_json::from_slice(&text)?))
}

pub async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), id: u64, body: T) -> io::Result<()> {
    let text = serde_json::to_vec(&Message { id, body })?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= TEXT_MAX);
    let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_u32(length).await?;
    to.write_all(&text).await?;
    to.flush().await
}
