//! Free ports on the loopback address. Which process gets one is decided elsewhere.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// How many ports are remembered as given.
const REMEMBERED: usize = 512;
static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());

/// A port of 127.0.0.1 on which nothing listens and that was not given lately. Somebody may take it before its owner
/// does; that shows as the owner's failure to start.
pub fn free_port() -> io::Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Ports that were just given may be bound again and again by the kernel: those are held until another one comes.
    let mut held = Vec::new();
    for _ in 0..=REMEMBERED {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        if !given.contains(&port) {
            given.push_back(port);
            if given.len() > REMEMBERED {
                given.pop_front();
            }
            return Ok(port);
        }
        held.push(listener);
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port on 127.0.0.1"))
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
}
