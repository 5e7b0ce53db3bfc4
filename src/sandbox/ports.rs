//! On which TCP ports given processes listen: for "listens on 5000, not on $PORT". Reads `/proc`, changes nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Ports on which one of `pids` listens, ascending.
pub fn listening(pids: &[i32]) -> Vec<u16> {
    let Some(first) = pids.first() else { return Vec::new() };
    let table = |name: &str| fs::read_to_string(format!("/proc/{first}/net/{name}")).unwrap_or_default();
    let mut sockets = parse(&table("tcp"));
    sockets.extend(parse(&table("tcp6")));
    let mut ports: Vec<u16> =
        pids.iter().flat_map(|pid| inodes(*pid)).filter_map(|inode| sockets.get(&inode).copied()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Inode to port of each listening socket of `/proc/net/tcp`.
fn parse(table: &str) -> HashMap<u64, u16> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(address.rsplit(':').next()?, 16).ok()?;
        (*state == "0A").then_some((inode.parse().ok()?, port))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

fn inodes(pid: i32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { return Vec::new() };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.flatten().filter_map(inode).collect()
}

/// The members of a process group.
pub fn process_group(leader: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| group_of(*pid) == Some(leader)).collect()
}

/// The fifth field of `/proc/PID/stat`; a name in the second may hold anything, also brackets.
fn group_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_of_this_process_is_found_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(listening(&[own]).contains(&port));
        drop(listener);
        assert!(!listening(&[own]).contains(&port));
        assert!(listening(&[]).is_empty());
    }

    #[test]
    fn a_process_is_found_in_its_group() {
        let own = i32::try_from(std::process::id()).unwrap();
        let group = group_of(own).unwrap();
        assert!(process_group(group).contains(&own));
        assert!(!process_group(i32::MAX).contains(&own));
    }
}
