//! One connection, one exec, its output; then the connection is closed. The host must have the pinned key.

use super::fetch::Broken;
use super::{Upstream, plain};
use crate::model::{Code, Failure};
use russh::client::{self, AuthResult, Handle, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// From connecting to having shown our key.
const CONNECT: Duration = Duration::from_secs(20);
/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// More of what a server complains is not kept.
const COMPLAINT_MAX: usize = 16 << 10;

/// How an exec ended.
pub(super) struct Ended {
    pub code: u32,
    errors: Vec<u8>,
}

impl Ended {
    /// The first line of standard error.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.errors);
        let line = text.lines().next().unwrap_or("no reason was given");
        plain(line.strip_prefix("error: ").unwrap_or(line))
    }

    /// What the exit code says when there is no JSON.
    pub fn likely_code(&self) -> Code {
        match self.code {
            64 => Code::Usage,
            66 => Code::NotFound,
            77 => Code::Denied,
            _ => Code::Unreachable,
        }
    }
}

/// Knows the one key that the host may have.
struct Pinned {
    key: Option<PublicKey>,
}

impl Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(match (shown, &self.key) {
            (PublicKeyOrCertificate::PublicKey { key, .. }, Some(pinned)) => key.key_data() == pinned.key_data(),
            _ => false,
        })
    }
}

impl Upstream {
    /// Runs one verb there. `take` gets standard output as it comes and says whether it wants more.
    pub(super) async fn run(
        &self,
        words: &[String],
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> Result<Ended, Broken> {
        let handle = match timeout(CONNECT, self.enter()).await {
            Ok(entered) => entered?,
            Err(_) => return Err(Broken::Cut(format!("no answer within {} s", CONNECT.as_secs()))),
        };
        let ended = exec(&handle, &words.join(" "), take).await;
        // The connection ends anyway.
        let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
        ended
    }

    async fn enter(&self) -> Result<Handle<Pinned>, Broken> {
        let cut = |error: russh::Error| Broken::Cut(error.to_string());
        let config = client::Config { keepalive_interval: Some(KEEPALIVE), nodelay: true, ..client::Config::default() };
        let pinned = Pinned { key: PublicKey::from_openssh(&self.address.host_key).ok() };
        let place = (self.address.host.as_str(), self.address.port);
        let mut handle = match client::connect(Arc::new(config), place, pinned).await {
            Err(russh::Error::UnknownKey) => return Err(Broken::Refused(self.stranger())),
            other => other.map_err(cut)?,
        };
        let key = PrivateKeyWithHashAlg::new(self.key.0.clone(), None);
        match handle.authenticate_publickey(self.address.user.clone(), key).await.map_err(cut)? {
            AuthResult::Success => Ok(handle),
            // A server that refuses says what else it would take; a line that breaks here says nothing.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() => {
                Err(Broken::Cut("the connection broke off".into()))
            }
            AuthResult::Failure { .. } => Err(Broken::Refused(self.unknown())),
        }
    }

    fn stranger(&self) -> Failure {
        let what = format!("{} has another host key than [upstreams.{}] says", self.name, self.name);
        Failure::new(Code::VerifyFailed, what).hint("somebody may be in between; compare with `commis hostkey` there")
    }

    fn unknown(&self) -> Failure {
        Failure::new(Code::Denied, format!("{} does not know this server's key", self.name)).hint(format!(
            "on {}: commis key add NAME --project P --only release:fetch, with what `commis release key` prints here",
            self.name
        ))
    }
}

async fn exec(
    handle: &Handle<Pinned>,
    command: &str,
    take: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> Result<Ended, Broken> {
    let cut = |error: russh::Error| Broken::Cut(error.to_string());
    let mut channel = timeout(CONNECT, handle.channel_open_session()).await.map_err(|_| silent())?.map_err(cut)?;
    channel.exec(true, command).await.map_err(cut)?;
    channel.eof().await.map_err(cut)?;
    let (mut code, mut errors) = (None, Vec::new());
    loop {
        match timeout(SILENCE, channel.wait()).await.map_err(|_| silent())? {
            Some(ChannelMsg::Data { data }) => {
                if !take(&data) {
                    return Err(Broken::Refused(Failure::new(
                        Code::VerifyFailed,
                        "more bytes came than were announced",
                    )));
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) if errors.len() < COMPLAINT_MAX => {
                errors.extend_from_slice(&data);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => code = Some(exit_status),
            Some(ChannelMsg::Close) | None => break,
            Some(_) => {}
        }
    }
    code.map(|code| Ended { code, errors }).ok_or_else(|| Broken::Cut("the connection broke off".into()))
}

fn silent() -> Broken {
    Broken::Cut(format!("nothing was heard for {} s", SILENCE.as_secs()))
}
