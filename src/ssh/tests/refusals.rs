//! Everything but one exec per channel, at a terminal or not, is refused, at once and without harm to what is allowed.

use super::world::{World, text};
use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};
use russh::{ChannelMsg, client};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

#[test]
fn a_login_alone_is_told_what_to_do_and_a_terminal_is_passed_on() {
    let world = World::new();
    let output = world.ssh(&[], &[]).output().unwrap();
    assert_eq!(text(&output.stdout), "ada Nothing\n", "{output:?}");
    let mut command = world.ssh(&["-tt"], &["seat"]);
    assert_eq!(text(&command.env("TERM", "vt52").output().unwrap().stdout), "vt52 0x0\n");
    assert_eq!(text(&world.ssh(&["-T"], &["seat"]).output().unwrap().stdout), "none\n");
}

#[test]
fn subsystems_and_forwarding_are_refused() {
    let world = World::new();
    let output = world.ssh(&["-s"], &["sftp"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let output =
        world.ssh(&["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], &["echo", "x"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), String::new()));
    let output = world.ssh(&["-W", "127.0.0.1:22"], &[]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
}

#[test]
fn a_forwarded_port_leads_nowhere() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let forward = format!("{free}:{}", world.address);
    let mut child = super::world::started(world.ssh(&["-o", "ExitOnForwardFailure=yes", "-L", &forward], &["wait"]));
    let mut through = TcpStream::connect(free).unwrap();
    // Control: the door that it points at does greet who speaks.
    let mut direct = TcpStream::connect(world.address).unwrap();
    for (socket, greeting) in [(&mut direct, "SSH-2.0-commis"), (&mut through, "")] {
        let _ = socket.write_all(b"SSH-2.0-x\r\n");
        let mut said = [0; 14];
        let count = socket.read(&mut said).unwrap_or(0);
        assert_eq!(text(&said[..count]), greeting);
    }
    super::world::signal(&mut child, nix::sys::signal::Signal::SIGTERM);
}

#[test]
fn only_the_known_key_gets_in_and_under_two_names() {
    let world = World::new();
    let refused = |key: &str, user: &str| {
        let output = world.ssh_as(key, user, &[], &["echo", "in"]).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), String::new()), "{key} {user}");
        assert!(text(&output.stderr).contains("Permission denied (publickey)"), "{output:?}");
    };
    refused("stranger", "commis");
    refused("known", "root");
    assert_eq!(*world.toy.recognised.lock().unwrap(), [""; 0], "an offer had an effect");
    let stranger = world.path("stranger");
    let both = ["-i", stranger.to_str().unwrap()];
    let output = world.ssh(&both, &["echo", "in"]).output().unwrap();
    assert_eq!(text(&output.stdout), "in\n");
    assert_eq!(world.toy.recognised.lock().unwrap().len(), 1);
}

#[test]
fn old_algorithms_find_no_partner() {
    let world = World::new();
    for options in [
        ["-o", "KexAlgorithms=diffie-hellman-group14-sha256"],
        ["-o", "Ciphers=aes128-ctr"],
        ["-o", "HostKeyAlgorithms=rsa-sha2-512"],
    ] {
        let options = ["-o", "LogLevel=INFO", options[0], options[1]];
        let output = world.ssh(&options, &["echo", "in"]).output().unwrap();
        assert!(text(&output.stderr).contains("no matching"), "{output:?}");
    }
    let options = ["-o", "KexAlgorithms=curve25519-sha256", "-c", "aes256-ctr", "-m", "hmac-sha2-256-etm@openssh.com"];
    assert!(world.ssh(&options, &["echo", "in"]).output().unwrap().status.success());
}

#[test]
fn an_rsa_key_signs_with_sha2_or_not_at_all() {
    let world = World::with_key(&["-t", "rsa", "-b", "3072"], |_| {});
    for (algorithm, said) in [("rsa-sha2-512", "in\n"), ("rsa-sha2-256", "in\n"), ("ssh-rsa", "")] {
        let option = format!("PubkeyAcceptedAlgorithms={algorithm}");
        let output = world.ssh(&["-o", &option], &["echo", "in"]).output().unwrap();
        assert_eq!(text(&output.stdout), said, "{algorithm} {output:?}");
    }
}

#[test]
fn an_ecdsa_key_gets_in() {
    let world = World::with_key(&["-t", "ecdsa", "-b", "384"], |_| {});
    assert!(world.ssh(&[], &["echo", "in"]).output().unwrap().status.success());
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &russh::keys::PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn client(world: &World) -> client::Handle<Trusting> {
    let config = Arc::new(client::Config::default());
    let mut handle = client::connect(config, world.address, Trusting).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(world.path("known"), None).unwrap()), None);
    assert!(handle.authenticate_publickey("commis", key).await.unwrap().success());
    handle
}

async fn answer(channel: &mut russh::Channel<client::Msg>) -> bool {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::Failure) => return false,
            Some(_) => {}
            None => panic!("no answer"),
        }
    }
}

#[test]
fn the_eleventh_channel_waits_until_one_has_ended() {
    let world = World::new();
    world.block_on(async {
        let client = client(&world).await;
        let mut channels = Vec::new();
        for _ in 0..10 {
            let mut channel = client.channel_open_session().await.unwrap();
            channel.exec(true, "cat").await.unwrap();
            assert!(answer(&mut channel).await);
            channels.push(channel);
        }
        assert!(client.channel_open_session().await.is_err());
        channels[0].eof().await.unwrap();
        while channels[0].wait().await.is_some_and(|message| !matches!(message, ChannelMsg::Close)) {}
        assert!(client.channel_open_session().await.is_ok());
    });
}

#[test]
fn a_channel_has_one_exec_and_nothing_else() {
    let world = World::new();
    world.block_on(async {
        let client = client(&world).await;
        let mut channel = client.channel_open_session().await.unwrap();
        channel.window_change(80, 24, 0, 0).await.unwrap();
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        assert!(answer(&mut channel).await);
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        assert!(!answer(&mut channel).await, "one terminal");
        channel.agent_forward(true).await.unwrap();
        assert!(!answer(&mut channel).await);
        channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.unwrap();
        assert!(!answer(&mut channel).await);
        for (name, value) in [("LD_PRELOAD", "/x"), ("GIT_DIR", "/"), ("GIT_PROTOCOL", "version=3"), ("PATH", "/")] {
            channel.set_env(true, name, value).await.unwrap();
            assert!(!answer(&mut channel).await, "{name}");
        }
        channel.set_env(true, "GIT_PROTOCOL", "version=1").await.unwrap();
        assert!(answer(&mut channel).await);
        channel.exec(true, "cat").await.unwrap();
        assert!(answer(&mut channel).await);
        channel.exec(true, "cat").await.unwrap();
        assert!(!answer(&mut channel).await);
    });
}

#[test]
fn a_flood_of_variables_ends_the_connection() {
    let world = World::new();
    world.block_on(async {
        let client = client(&world).await;
        let mut channel = client.channel_open_session().await.unwrap();
        for _ in 0..100 {
            channel.set_env(true, "A", "b").await.unwrap();
            assert!(!answer(&mut channel).await);
        }
        channel.set_env(true, "A", "b").await.unwrap();
        while channel.wait().await.is_some() {}
        assert!(client.is_closed());
    });
}
