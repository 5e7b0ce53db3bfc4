//! What a shim lets others know: how its instance is, and its last lines, to whoever is connected.
//! What there is to know comes from `super::instance`.

use super::instance::Order;
use super::wire::{self, Asked, Crash, Ended, Identity, Line, Report, Told};
use crate::model::Time;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

/// Lines that are kept for failure messages.
const RECENT: usize = 500;
/// Lines that are kept of a process that ended by itself.
const LAST_WORDS: usize = 40;

/// Cheap to clone; every clone tells the same listeners.
#[derive(Clone)]
pub struct Reports {
    now: Arc<watch::Sender<Report>>,
    recent: Arc<Mutex<VecDeque<Line>>>,
    crashed: Arc<Mutex<Option<Kept>>>,
}

/// What is kept of a process that ended by itself.
struct Kept {
    crash: Crash,
    /// Holds what it saw.
    _namespace: File,
}

impl Reports {
    pub fn new(first: Report) -> Self {
        Self { now: Arc::new(watch::channel(first).0), recent: Arc::default(), crashed: Arc::default() }
    }

    pub fn now(&self) -> Report {
        self.now.borrow().clone()
    }

    pub fn tell(&self, report: Report) {
        self.now.send_replace(report);
    }

    pub fn remember(&self, at: Time, text: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = recent.back().map_or(0, |last| last.number + 1);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(Line { at: at.0, number, text: text.to_owned() });
    }

    /// Keeps what a process saw for a while; what was kept of an earlier one goes.
    pub fn keep(&self, (at, exit): (Time, Ended), environment: Vec<String>, (namespace, time): (File, Duration)) {
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()).into();
        let crash = Crash { at: at.0, exit, environment, namespace: path, lines: self.last(LAST_WORDS) };
        let kept = Kept { crash: crash.clone(), _namespace: namespace };
        *self.crashed.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        let crashed = Arc::clone(&self.crashed);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let mut crashed = crashed.lock().unwrap_or_else(PoisonError::into_inner);
            if crashed.as_ref().is_some_and(|kept| kept.crash == crash) {
                *crashed = None;
            }
        });
    }

    fn crash(&self) -> Option<Crash> {
        let crashed = self.crashed.lock().unwrap_or_else(PoisonError::into_inner);
        crashed.as_ref().map(|kept| kept.crash.clone())
    }

    fn last(&self, lines: usize) -> Vec<Line> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().skip(recent.len().saturating_sub(lines)).cloned().collect()
    }
}

/// Serves everybody who connects, for as long as it is polled.
pub async fn serve(listener: UnixListener, identity: Identity, reports: Reports, orders: mpsc::UnboundedSender<Order>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Desk { identity: identity.clone(), reports: reports.clone(), orders: orders.clone() };
                tokio::spawn(desk.talk(stream));
            }
            // No descriptors, for a while.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

struct Desk {
    identity: Identity,
    reports: Reports,
    orders: mpsc::UnboundedSender<Order>,
}

impl Desk {
    async fn talk(self, stream: UnixStream) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut asked = BufReader::new(reader).lines();
        let mut now = self.reports.now.subscribe();
        writer.write_all(&wire::line(&Told::Hello(self.identity.clone()))).await?;
        let first = Told::Now(now.borrow_and_update().clone());
        writer.write_all(&wire::line(&first)).await?;
        loop {
            let told = tokio::select! {
                line = asked.next_line() => match line? {
                    Some(line) => self.answer(&line).await,
                    None => return Ok(()),
                },
                changed = now.changed() => match changed {
                    Ok(()) => Some(Told::Now(now.borrow_and_update().clone())),
                    Err(_) => return Ok(()),
                },
            };
            if let Some(told) = told {
                writer.write_all(&wire::line(&told)).await?;
            }
        }
    }

    /// What a later server asks and we do not know is not answered.
    async fn answer(&self, line: &str) -> Option<Told> {
        match serde_json::from_str(line).ok()? {
            Asked::Keep => drop(self.orders.send(Order::Keep)),
            Asked::Stop => drop(self.orders.send(Order::Stop)),
            Asked::Recent(lines) => return Some(Told::Recent(self.reports.last(lines))),
            Asked::Crashed => return Some(Told::Crashed(self.reports.crash())),
            Asked::Ports => {
                let (answer, ports) = oneshot::channel();
                let asked = self.orders.send(Order::ListeningPorts(answer));
                return Some(Told::Ports(if asked.is_ok() { ports.await.unwrap_or_default() } else { Vec::new() }));
            }
        }
        None
    }
}
