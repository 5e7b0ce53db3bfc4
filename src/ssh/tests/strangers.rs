//! People who have not proved a key: they cannot keep others out, stay, or crash the door.

use super::world::{World, text};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

fn gets_in(world: &World) {
    let output = world.ssh(&["-o", "ConnectTimeout=20"], &["echo", "in"]).output().unwrap();
    assert_eq!(text(&output.stdout), "in\n", "{output:?}");
}

#[test]
fn three_hundred_silent_sockets_keep_nobody_out() {
    let world = World::new();
    let sockets: Vec<_> = (0..300).map(|_| TcpStream::connect(world.address).unwrap()).collect();
    gets_in(&world);
    // The oldest had to go.
    let mut first = &sockets[0];
    first.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(first.read(&mut [0; 100]).unwrap_or(0), 0);
}

#[test]
fn strangers_who_talk_but_do_not_finish_keep_nobody_out() {
    let world = World::new();
    let sockets: Vec<_> = (0..20)
        .map(|_| {
            let mut socket = TcpStream::connect(world.address).unwrap();
            socket.write_all(b"SSH-2.0-slow\r\n").unwrap();
            socket
        })
        .collect();
    gets_in(&world);
    drop(sockets);
}

#[test]
fn a_stranger_is_sent_away_after_the_grace_time() {
    let world = World::with(|config| config.grace = Duration::from_millis(300));
    let mut silent = TcpStream::connect(world.address).unwrap();
    let mut talking = TcpStream::connect(world.address).unwrap();
    talking.write_all(b"SSH-2.0-slow\r\n").unwrap();
    for socket in [&mut silent, &mut talking] {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut said = Vec::new();
        // A reset is an end as well; a time-out is not.
        let end = socket.read_to_end(&mut said);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    }
}

#[test]
fn noise_ends_only_its_own_connection() {
    let world = World::new();
    let noises: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
        b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x34\0\0\0\0\0\0\0\0\0\0\0",
        &[0; 10_000],
        &[b'\n'; 100_000],
    ];
    for noise in noises {
        let mut socket = TcpStream::connect(world.address).unwrap();
        // The door may hang up in the middle.
        let _ = socket.write_all(noise);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
    gets_in(&world);
}

#[test]
fn many_logins_at_once_from_one_machine_all_get_in() {
    let world = World::new();
    let command = || world.ssh(&[], &["echo", "in"]).stdout(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..40).map(|_| command()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), "in\n", "{output:?}");
    }
}
