//! Whether a new release is well: probes until it answers, something of it ends, or time is up. What then happens is the
//! pipeline's to decide.

use super::status::SetStatus;
use crate::model::{Exit, ProcessName};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between the first probes: a small application is up in tens of milliseconds, and its pusher waits.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The same while nobody listens: asking costs neither side anything then.
const FIRST_REFUSED_PAUSE: Duration = Duration::from_millis(2);
/// Longest time one probe may take.
const PROBE: Duration = Duration::from_secs(10);

/// When a release counts as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    pub kind: HealthKind,
    /// For all probes together.
    pub timeout: Duration,
    /// Longest pause between two probes; the first ones come faster.
    pub interval: Duration,
    /// Good probes in a row that are needed, at least 1.
    pub successes: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HealthKind {
    /// `GET path` with this Host on 127.0.0.1 answers 200 to 399.
    Http { port: u16, path: String, host: String },
    /// Something accepts connections on this port of 127.0.0.1.
    Port { port: u16 },
    /// Nothing to ask (no web process): nothing ends for this long.
    Alive { time: Duration },
}

/// It is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Healthy {
    pub attempts: u32,
    pub took: Duration,
    /// Of the last answer, where HTTP was asked.
    pub status: Option<u16>,
}

/// It is not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("{process}: {exit}")]
    Exited { process: ProcessName, exit: Exit },
    /// `last`: `GET /healthz 503`, `connection refused`.
    #[error("{last}, {attempts} of {attempts} bad")]
    NoAnswer { last: String, attempts: u32 },
    #[error("nothing listens on $PORT ({wanted}), but on {}", list(listening))]
    WrongPort { wanted: u16, listening: Vec<u16> },
    /// What answers there is not of this release.
    #[error("on $PORT ({port}) a process answers that is not of this release")]
    SomebodyElse { port: u16 },
    #[error("GET {path} is asked for, and there is no web process")]
    NobodyToAsk { path: String },
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Probes at once, then ever more slowly. Ends early when an instance of the set ends. `listening` is asked only when
/// nobody ever listened on the right port: the ports on which the set does listen.
pub async fn wait_healthy<F, P>(
    check: &HealthCheck,
    mut status: watch::Receiver<SetStatus>,
    listening: F,
) -> Result<Healthy, Unhealthy>
where
    F: FnOnce() -> P,
    P: Future<Output = Vec<u16>>,
{
    let mut probing = Probing { begun: Instant::now(), attempts: 0, last: Probe::Bad("no answer in time".into()) };
    let result = tokio::select! {
        biased;
        unhealthy = first_exit(&mut status) => return Err(unhealthy),
        result = tokio::time::timeout(allowed(check), probing.work(check)) => result,
    };
    match result {
        Ok(healthy) => Ok(healthy),
        Err(_) => Err(probing.give_up(check, listening).await),
    }
}

struct Probing {
    begun: Instant,
    attempts: u32,
    last: Probe,
}

/// What one probe found.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Probe {
    Good(Option<u16>),
    /// Nobody listens there.
    Refused,
    /// No good answer, in a few words.
    Bad(String),
}

impl Probing {
    async fn work(&mut self, check: &HealthCheck) -> Healthy {
        let (mut pause, mut good) = (FIRST_PAUSE.min(check.interval), 0);
        loop {
            self.attempts += 1;
            self.last = probe(&check.kind).await;
            good = if matches!(self.last, Probe::Good(_)) { good + 1 } else { 0 };
            if let (Probe::Good(status), true) = (&self.last, good >= check.successes) {
                return Healthy { attempts: self.attempts, took: self.begun.elapsed(), status: *status };
            }
            if self.last == Probe::Refused {
                // What is late by an eighth is not noticed.
                let late = (self.begun.elapsed() / 8).max(FIRST_REFUSED_PAUSE);
                tokio::time::sleep(late.min(check.interval)).await;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(check.interval);
            }
        }
    }

    async fn give_up<P: Future<Output = Vec<u16>>>(
        self,
        check: &HealthCheck,
        listening: impl FnOnce() -> P,
    ) -> Unhealthy {
        let port = match check.kind {
            HealthKind::Http { port, .. } | HealthKind::Port { port } => Some(port),
            HealthKind::Alive { .. } => None,
        };
        let last = match (self.last, port) {
            (Probe::Refused, Some(wanted)) => {
                let listening = listening().await;
                if !listening.is_empty() && !listening.contains(&wanted) {
                    return Unhealthy::WrongPort { wanted, listening };
                }
                "connection refused".to_owned()
            }
            (Probe::Refused, None) => "connection refused".to_owned(),
            (Probe::Bad(text), _) => text,
            (Probe::Good(_), _) => "not healthy often enough in a row".to_owned(),
        };
        Unhealthy::NoAnswer { last, attempts: self.attempts }
    }
}

fn allowed(check: &HealthCheck) -> Duration {
    match check.kind {
        // Being alive is not asked for, it is waited for.
        HealthKind::Alive { time } => check.timeout.max(time + PROBE),
        HealthKind::Http { .. } | HealthKind::Port { .. } => check.timeout,
    }
}

/// Ready when an instance has ended; never when none does.
async fn first_exit(status: &mut watch::Receiver<SetStatus>) -> Unhealthy {
    if let Ok(status) = status.wait_for(|status| status.first_exit().is_some()).await
        && let Some((process, exit)) = status.first_exit()
    {
        return Unhealthy::Exited { process: process.clone(), exit: exit.clone() };
    }
    std::future::pending().await
}

async fn probe(kind: &HealthKind) -> Probe {
    let asked = async {
        match kind {
            HealthKind::Alive { time } => {
                tokio::time::sleep(*time).await;
                Probe::Good(None)
            }
            HealthKind::Port { port } => match TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await {
                Ok(_) => Probe::Good(None),
                Err(error) => unreachable(&error),
            },
            HealthKind::Http { port, path, host } => get(*port, path, host).await,
        }
    };
    match kind {
        HealthKind::Alive { .. } => asked.await,
        _ => tokio::time::timeout(PROBE, asked).await.unwrap_or_else(|_| Probe::Bad("no answer in time".into())),
    }
}

async fn get(port: u16, path: &str, host: &str) -> Probe {
    let stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&error),
    };
    let request = Request::get(path).header(HOST, host).header(USER_AGENT, "commis").header(CONNECTION, "close");
    let request = match request.body(Empty::<Bytes>::new()) {
        Ok(request) => request,
        Err(error) => return Probe::Bad(format!("GET {path}: {error}")),
    };
    let answer = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer, or when `sender` is dropped at the end of patience.
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    match answer.await {
        Ok(answer) if (200..400).contains(&answer.status().as_u16()) => Probe::Good(Some(answer.status().as_u16())),
        Ok(answer) => Probe::Bad(format!("GET {path} {}", answer.status().as_u16())),
        Err(error) => Probe::Bad(format!("GET {path}: {}", crate::model::failure::chain(&error))),
    }
}

fn unreachable(error: &std::io::Error) -> Probe {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Probe::Refused,
        _ => Probe::Bad(error.to_string()),
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
