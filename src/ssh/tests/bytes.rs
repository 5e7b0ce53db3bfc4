//! Bytes, statuses and departures: what an exec gives and gets.

use super::world::{World, feed, signal, started, text};
use crate::ssh::Departure;
use nix::sys::signal::Signal;
use std::process::{Command, Stdio};
use std::time::Duration;

fn megabytes(count: usize) -> Vec<u8> {
    (0..count << 20).map(|at| (at * 7 + (at >> 13)) as u8).collect()
}

#[test]
fn a_command_is_served_and_its_streams_and_status_come_back() {
    let world = World::new();
    let output = world.ssh(&[], &["echo", "hello", "'a  b'"]).output().unwrap();
    assert_eq!((text(&output.stdout), output.status.code()), ("hello a  b\n".into(), Some(0)), "{output:?}");
    let output = world.ssh(&[], &["both"]).output().unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("out".into(), "err".into()));
    for status in [1, 3, 66, 128] {
        let output = world.ssh(&[], &["exit", &status.to_string()]).output().unwrap();
        assert_eq!(output.status.code(), Some(status));
    }
    assert_eq!(world.ssh(&[], &["panic"]).output().unwrap().status.code(), Some(70));
}

#[test]
fn git_is_understood_with_its_protocol() {
    let world = World::new();
    let output =
        world.ssh_as("known", "git", &["-o", "SetEnv=GIT_PROTOCOL=version=2"], &["git-upload-pack '/blog.git'"]);
    let said = text(&{ output }.output().unwrap().stdout);
    assert!(said.starts_with("ada UploadPack") && said.contains("Some(\"version=2\")"), "{said}");
    let output = world.ssh(&["-o", "SetEnv=GIT_PROTOCOL=version=2;id"], &["git-receive-pack 'blog/pillar'"]).output();
    let said = text(&output.unwrap().stdout);
    assert!(said.starts_with("ada ReceivePack") && said.contains("Pillar") && said.contains("None"), "{said}");
}

#[test]
fn git_says_which_project_there_is_not() {
    let world = World::new();
    let ssh = world.ssh(&[], &[]);
    let ssh: Vec<_> = ssh.get_args().skip(1).map(|word| word.to_string_lossy()).collect();
    let ssh = ssh[..ssh.len() - 1].join(" ");
    let output = Command::new("git")
        .args(["ls-remote", "commis@127.0.0.1:../x"])
        .env("GIT_SSH_COMMAND", ssh)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(128));
    assert_eq!(text(&output.stderr), "fatal: remote error: no project \"../x\"\n");
}

#[test]
fn twenty_megabytes_go_in_and_come_out() {
    let world = World::new();
    for (cipher, size) in [("aes256-gcm@openssh.com", 20), ("chacha20-poly1305@openssh.com", 20), ("aes256-ctr", 1)] {
        let input = megabytes(size);
        let output = feed(world.ssh(&["-c", cipher], &["cat"]), input.clone());
        assert!(output.stdout == input, "{cipher}: {} bytes, {}", output.stdout.len(), text(&output.stderr));
        assert!(output.status.success());
    }
}

#[test]
fn a_command_that_does_not_read_still_speaks() {
    let world = World::new();
    let output = feed(world.ssh(&[], &["deaf", "20000000"]), megabytes(20));
    assert_eq!((output.stdout.len(), output.status.code()), (20_000_000, Some(0)));
}

#[test]
fn a_command_that_reads_late_gets_everything() {
    let world = World::new();
    let input = megabytes(40);
    let output = feed(world.ssh(&[], &["late"]), input.clone());
    assert!(output.stdout == input, "{} bytes", output.stdout.len());
    let leftovers = std::fs::read_dir(world.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().is_ok_and(|entry| text(entry.file_name().as_encoded_bytes()).contains("spill")));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn keys_are_renegotiated_within_a_transfer() {
    let world = World::new();
    let input = megabytes(12);
    let output = feed(world.ssh(&["-o", "RekeyLimit=2M"], &["cat"]), input.clone());
    assert!(output.stdout == input, "{} bytes, {}", output.stdout.len(), text(&output.stderr));
}

#[test]
fn a_client_that_ends_has_closed() {
    let world = World::new();
    for name in [Signal::SIGTERM, Signal::SIGINT] {
        signal(&mut started(world.ssh(&[], &["wait"])), name);
        assert_eq!(world.departure(), Departure::Closed);
    }
}

#[test]
fn a_client_that_is_frozen_is_lost() {
    let world = World::with(|config| config.keepalive = Duration::from_millis(200));
    let mut ssh = world.ssh(&[], &["wait"]);
    let arguments: Vec<_> = ssh.get_args().skip(2).map(|word| word.to_owned()).collect();
    ssh = Command::new("ssh");
    ssh.args(arguments).stdin(Stdio::null());
    let mut child = started(ssh);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
    let departure = world.departure();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(departure, Departure::Lost);
}

#[test]
fn a_door_that_closes_serves_what_it_has_begun() {
    let world = World::new();
    let mut idle = world.ssh(&["-N"], &[]).stderr(Stdio::null()).spawn().unwrap();
    let mut busy = started(world.ssh(&[], &["wait"]));
    while world.toy.recognised.lock().unwrap().len() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(idle.try_wait().unwrap().is_none());
    world.close();
    assert_eq!(idle.wait().unwrap().code(), Some(255));
    assert!(std::net::TcpStream::connect(world.address).is_err());
    assert!(busy.try_wait().unwrap().is_none() && !world.is_closed());
    signal(&mut busy, Signal::SIGTERM);
    while !world.is_closed() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_end_of_input_is_not_a_departure() {
    let world = World::with(|config| config.keepalive = Duration::from_millis(100));
    // Input ends at once, the command goes on; keepalives are answered meanwhile.
    let output = world.ssh(&[], &["late"]).output().unwrap();
    assert!(output.status.success());
}
