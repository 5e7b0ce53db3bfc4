//! Free ports on the loopback address. Which process gets one is decided elsewhere.
//!
//! They come from below the kernel's own range, in which any outgoing connection may sit on a port between its choice and
//! the moment its owner binds it; and by chance, so that two servers on one machine do not choose the same ones.

use crate::system::entropy;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// How many ports are remembered as given.
const REMEMBERED: usize = 512;
/// How often a port is tried before there is none.
const TRIES: usize = 4096;
/// The lowest port that is given.
const LOWEST: u16 = 10_000;
/// Where the kernel's own range begins unless it was set otherwise (`ip_local_port_range` of ip-sysctl).
const USUAL: u16 = 32_768;
static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());

/// A port of 127.0.0.1 on which nothing listens and that was not given lately. Somebody may take it before its owner
/// does; that shows as the owner's failure to start.
///
/// # Errors
/// `AddrInUse` when there is none.
pub fn free_port() -> io::Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let range = range(&std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default());
    for _ in 0..TRIES {
        let port = range.start + entropy::below(range.end - range.start)?;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.push_back(port);
            if given.len() > REMEMBERED {
                given.pop_front();
            }
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port on 127.0.0.1"))
}

/// Ports below the kernel's own range, as `/proc` tells that one; above it, when it leaves too few below.
fn range(kernels: &str) -> Range<u16> {
    let mut words = kernels.split_whitespace().map(|word| word.parse().ok());
    let (first, last) = (words.next().flatten().unwrap_or(USUAL), words.next().flatten().unwrap_or(u16::MAX));
    let (below, above) = (LOWEST..first.max(LOWEST), last..u16::MAX);
    [below, above].into_iter().find(|range| range.len() > 2 * REMEMBERED).unwrap_or(LOWEST..u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_port_is_given_twice_and_each_can_be_bound() {
        let ports: HashSet<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 200);
        let port = *ports.iter().next().unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn the_kernels_own_range_is_left_to_it() {
        assert_eq!(range("32768\t60999\n"), 10_000..32_768);
        assert_eq!(range("1024\t60999\n"), 60_999..65_535);
        assert_eq!(range("1024\t65535\n"), 10_000..65_535, "it leaves nothing");
        assert_eq!(range(""), 10_000..32_768, "it is not told");
        let kernels = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        assert!(range(&kernels).contains(&free_port().unwrap()));
    }
}
