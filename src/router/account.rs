//! What is counted of requests: by project for the metrics, and a line each for the access log. An account is opened
//! when a request is read and closes itself when the last byte of the answer is on its way, or nobody waits for it.

use super::access_log::{AccessLog, Line};
use super::front::InFlight;
use super::instance::Pass;
use hyper::Request;
use hyper::header::{HOST, REFERER, USER_AGENT};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper ends of the histogram's buckets, in seconds.
pub const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The requests of one project, or those of no project.
#[derive(Default)]
pub struct Counts {
    /// By the first digit of the status.
    classes: [AtomicU64; 6],
    buckets: [AtomicU64; BUCKETS.len()],
    micros: AtomicU64,
    in_flight: AtomicI64,
}

/// [`Counts`] at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Totals {
    pub classes: [u64; 6],
    /// Requests of at most so many seconds, as in [`BUCKETS`].
    pub buckets: [u64; BUCKETS.len()],
    pub seconds: f64,
    pub in_flight: i64,
}

impl Counts {
    fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, status: u16, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(class) = self.classes.get(usize::from(status / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        let bucket = BUCKETS.iter().position(|end| took.as_secs_f64() <= *end);
        if let Some(bucket) = bucket.and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn totals(&self) -> Totals {
        let mut sum = 0;
        Totals {
            classes: self.classes.each_ref().map(|class| class.load(Ordering::Relaxed)),
            buckets: self.buckets.each_ref().map(|bucket| {
                sum += bucket.load(Ordering::Relaxed);
                sum
            }),
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }
}

/// Where a router's requests are counted and written down.
#[derive(Default)]
pub struct Books {
    pub log: Option<AccessLog>,
    /// Requests for hosts that nobody has, and what was no request.
    pub nobody: Arc<Counts>,
    pub connections: AtomicI64,
}

/// One request from its head to the end of its answer.
pub struct Account {
    books: Arc<Books>,
    counts: Arc<Counts>,
    line: Option<Line>,
    began: Instant,
    status: u16,
    bytes: u64,
    _in_flight: InFlight,
}

impl Account {
    /// `in_flight` is the connection's, which goes on to its next request when this one is over.
    pub fn open<B>(books: &Arc<Books>, request: &Request<B>, client: IpAddr, in_flight: InFlight) -> Self {
        let fields = request.headers();
        let line = books.log.is_some().then(|| Line {
            at: crate::system::clock::now(),
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            status: 0,
            bytes: 0,
            referer: fields.get(REFERER).cloned(),
            agent: fields.get(USER_AGENT).cloned(),
            host: fields.get(HOST).cloned(),
            instance: None,
            took: Duration::ZERO,
        });
        books.nobody.begin();
        let (books, counts) = (Arc::clone(books), Arc::clone(&books.nobody));
        Self { books, counts, line, began: Instant::now(), status: 0, bytes: 0, _in_flight: in_flight }
    }

    /// The request is for a project.
    pub fn is_for(&mut self, counts: &Arc<Counts>) {
        counts.begin();
        let before = std::mem::replace(&mut self.counts, Arc::clone(counts));
        before.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn answered_by(&mut self, pass: &Pass, project: &str) {
        if let Some(line) = &mut self.line {
            line.instance = Some(format!("{project}/{}", pass.instance().address.name));
        }
    }

    pub fn status(&mut self, status: u16) {
        self.status = status;
    }

    pub fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        // 499, as nginx has it: the client left before there was an answer.
        let status = if self.status == 0 { 499 } else { self.status };
        self.counts.end(status, took);
        let line = self.line.take();
        if let (Some(log), Some(line)) = (&self.books.log, line) {
            log.note(Line { status, bytes: self.bytes, took, ..line });
        }
    }
}
