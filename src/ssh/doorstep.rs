//! Strangers: connections that have not authenticated. Who has said nothing yet costs only a socket and gives way to
//! newcomers; who talks needs a place, of which there are few per source and in all, and queues for it. So neither
//! silent sockets nor two hundred pushes at once from one machine keep anybody out. Authentication itself is in
//! `session`.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Strangers of one source that may queue; more are turned away.
const LINE: usize = 256;
/// How long a stranger has for its key exchange and key when others wait for its place.
pub(super) const HURRY: Duration = Duration::from_secs(3);

/// The waiting room of one door.
pub(super) struct Doorstep {
    most: usize,
    most_per_source: usize,
    places: Arc<Semaphore>,
    people: Mutex<People>,
}

#[derive(Default)]
struct People {
    silent: VecDeque<oneshot::Sender<()>>,
    sources: HashMap<IpAddr, Source>,
    talking: usize,
}

struct Source {
    places: Arc<Semaphore>,
    talking: usize,
}

/// A stranger's place; free again when dropped.
pub(super) struct Place {
    doorstep: Arc<Doorstep>,
    source: IpAddr,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Doorstep {
    pub(super) fn new(most: usize, most_per_source: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(most));
        Arc::new(Self { most, most_per_source, places, people: Mutex::default() })
    }

    /// A newcomer who has not said anything. Keep the receiver for as long as that is so; it speaks (or closes)
    /// when the newcomer must give way to later ones.
    pub(super) fn arrive(&self) -> oneshot::Receiver<()> {
        let (evict, evicted) = oneshot::channel();
        let mut people = self.lock();
        people.silent.retain(|other| !other.is_closed());
        people.silent.push_back(evict);
        if people.silent.len() > self.most {
            people.silent.pop_front();
        }
        evicted
    }

    /// A place for somebody who has begun to talk, when there is one. `None`: too many of this source wait already.
    pub(super) async fn place(self: &Arc<Self>, client: SocketAddr) -> Option<Place> {
        let (mut place, of_source) = self.queue(source(client.ip()))?;
        for places in [of_source, self.places.clone()] {
            place.permits.push(places.acquire_owned().await.ok()?);
        }
        Some(place)
    }

    fn queue(self: &Arc<Self>, source: IpAddr) -> Option<(Place, Arc<Semaphore>)> {
        let mut people = self.lock();
        let most = self.most_per_source;
        let entry = people
            .sources
            .entry(source)
            .or_insert_with(|| Source { places: Arc::new(Semaphore::new(most)), talking: 0 });
        if entry.talking >= most + LINE {
            return None;
        }
        entry.talking += 1;
        let places = entry.places.clone();
        people.talking += 1;
        Some((Place { doorstep: self.clone(), source, permits: Vec::new() }, places))
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether somebody waits for this place.
    pub(super) fn is_wanted(&self) -> bool {
        let people = self.doorstep.lock();
        let of_source = people.sources.get(&self.source).map_or(0, |source| source.talking);
        of_source > self.doorstep.most_per_source || people.talking > self.doorstep.most
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut people = self.doorstep.lock();
        people.talking -= 1;
        if let Some(source) = people.sources.get_mut(&self.source) {
            source.talking -= 1;
            if source.talking == 0 {
                people.sources.remove(&self.source);
            }
        }
    }
}

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[tokio::test]
    async fn the_oldest_silent_stranger_gives_way() {
        let doorstep = Doorstep::new(2, 1);
        let mut strangers: Vec<_> = (0..3).map(|_| doorstep.arrive()).collect();
        assert!(strangers[0].try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        drop(strangers.remove(0));
        drop(strangers.remove(0));
        doorstep.arrive();
        assert!(strangers[0].try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    }

    #[tokio::test]
    async fn strangers_of_one_source_queue_and_others_do_not_notice() {
        let doorstep = Doorstep::new(3, 1);
        let first = doorstep.place(client("192.0.2.1:1")).await.unwrap();
        assert!(!first.is_wanted());
        let waiting = tokio::spawn({
            let doorstep = doorstep.clone();
            async move { doorstep.place(client("192.0.2.1:2")).await }
        });
        while !first.is_wanted() {
            tokio::task::yield_now().await;
        }
        let other = doorstep.place(client("192.0.2.2:1")).await.unwrap();
        assert!(!waiting.is_finished() && !other.is_wanted());
        drop(first);
        drop((waiting.await.unwrap().unwrap(), other));
        assert!(doorstep.lock().sources.is_empty());
        assert_eq!(doorstep.lock().talking, 0);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let one = |text: &str| source(text.parse().unwrap());
        assert_eq!(one("2001:db8::1"), one("2001:db8::ffff:2"));
        assert_ne!(one("2001:db8::1"), one("2001:db8:0:1::1"));
        assert_eq!(one("::ffff:192.0.2.1"), one("192.0.2.1"));
        assert_ne!(one("192.0.2.1"), one("192.0.2.2"));
    }
}
