//! What is pushed: tiny projects of several shapes, each commit good or bad in one way. Pure, but for writing files.

use super::scene::{Mode, Scene};
use std::path::Path;

/// What a project is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Files alone: packed straight from the commit.
    Static,
    /// With hooks in all phases and a release line.
    Hooks,
    /// A Python process.
    Web,
    /// Its release line adds to a file of `data/`, before the switch.
    Migrates,
    /// A hook does, after it.
    MigratesLate,
}

impl Shape {
    /// Whether each release that is made live adds its page to the ledger.
    pub fn writes_data(self) -> bool {
        matches!(self, Shape::Migrates | Shape::MigratesLate)
    }
}

const WRITES: &str = "cat index.html >> \"$COMMIS_DATA/ledger\"";

/// How good a commit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    Good,
    /// The build hook fails.
    BadBuild,
    /// The release line fails, before the switch.
    BadRelease,
    /// The process ends at once, after the switch.
    Unhealthy,
    /// A hook fails after the router was turned.
    BadPostDeploy,
}

impl Health {
    pub const BAD: [Health; 4] = [Health::BadBuild, Health::BadRelease, Health::Unhealthy, Health::BadPostDeploy];
}

/// What is bad, where.
const ANYWHERE: &str = "true";
/// In a release that was live and well on the server that cooked it.
const IN_MODE_FINAL: &str = "[ \"$COMMIS_MODE\" = final ]";

/// Writes a whole working tree whose page says `page`.
pub fn write(directory: &Path, (scene, health): (Scene, Health), page: &str) -> std::io::Result<()> {
    let shape = scene.shape;
    let bad = if scene.mode == Mode::Final { IN_MODE_FINAL } else { ANYWHERE };
    for name in ["Procfile", "index.html", "server.py", ".commis"] {
        let path = directory.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::write(directory.join("index.html"), page)?;
    let (hooks, release) = (shape == Shape::Hooks, health == Health::BadRelease);
    let good = if shape == Shape::Web { "python3 server.py" } else { "commis static ." };
    let web = if health == Health::Unhealthy { format!("{bad} && exit 1; {good}") } else { good.to_owned() };
    let migrates = if shape == Shape::Migrates { WRITES } else { "echo yes" };
    let line = format!(
        "release: {migrates}{}\n",
        if release { format!("; if {bad}; then exit 1; fi") } else { String::new() }
    );
    let line = if release || hooks || shape == Shape::Migrates { line } else { String::new() };
    if shape != Shape::Static || health == Health::Unhealthy || release {
        std::fs::write(directory.join("Procfile"), format!("{line}web: {web}\n"))?;
    }
    if shape == Shape::Web {
        std::fs::write(directory.join("server.py"), SERVER)?;
    }
    for name in ["pre_install", "configure", "build", "bundle", "deploy", "post_deploy", "post_install"] {
        let fails = matches!((name, health), ("build", Health::BadBuild) | ("post_deploy", Health::BadPostDeploy));
        let writes = shape == Shape::MigratesLate && name == "post_deploy";
        if hooks || fails || writes {
            let does = if writes { WRITES } else { "echo yes" };
            hook(directory, name, &if fails { format!("{does}\nif {bad}; then exit 1; fi") } else { does.into() })?;
        }
    }
    Ok(())
}

fn hook(directory: &Path, name: &str, line: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let hooks = directory.join(".commis/hooks");
    std::fs::create_dir_all(&hooks)?;
    let path = hooks.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{line}\n"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// Serves index.html on `$PORT`.
const SERVER: &str = r#"import os, socket
listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    body = open('index.html', 'rb').read()
    connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
    connection.close()
"#;
