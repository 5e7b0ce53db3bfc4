//! Two servers: one that cooks, and one in mode final that takes its releases from there, over a line that can be cut.

use super::World;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Staging and production.
pub struct Pair {
    pub production: World,
    pub staging: World,
    pub line: Cutting,
}

/// What builds, on a machine that has it.
const BUILD_TOOLS: &str = "gcc cc g++ c++ cpp ld as make npm npx pip pip3 uv cargo rustc node-gyp \
                           x86_64-linux-gnu-gcc-12 x86_64-linux-gnu-g++-12 x86_64-linux-gnu-ld";

/// Makes a machine on which nothing can be built, and on which projects are at the same place as on staging.
const MACHINE: &str = r#"set -e
own=$1 theirs=$2 tools=$3; shift 3
mkdir -p "$own/srv" "$own/empty"; : > "$own/nothing"
mount --bind "$own/srv" "$theirs/srv"
for tool in $tools; do
  for path in /usr/local/bin/$tool /usr/bin/$tool /usr/local/sbin/$tool /usr/sbin/$tool; do
    if [ -e "$path" ]; then mount --bind "$own/nothing" "$(readlink -f "$path")"; fi
  done
done
for place in /usr/lib/python3/dist-packages/pip /usr/lib/python3.*/ensurepip /usr/share/python-wheels /usr/share/nodejs/npm; do
  if [ -d "$place" ]; then mount --bind "$own/empty" "$place"; fi
done
exec "$@"
"#;

impl Pair {
    /// Production trusts staging, and staging knows its key for these projects.
    pub fn of(projects: &[&str]) -> Self {
        Self::with(projects, "")
    }

    /// With more lines in production's settings.
    pub fn with(projects: &[&str], more: &str) -> Self {
        let staging = World::new();
        let line = Cutting::to(staging.ssh);
        let key = staging.commis(&["hostkey"]).succeeded().stdout.clone();
        let key = key.split_once(' ').expect("a host key").1.trim().to_owned();
        let signers = staging.path("allowed_signers").display().to_string();
        std::fs::write(&signers, staging.commis(&["release", "signer"]).succeeded().stdout.as_bytes())
            .expect("signers");
        let srv = staging.path("srv");
        let settings = format!(
            "platform = \"prod\"\n[paths]\nprojects = \"{}\"\n[releases]\nsigners = \"{signers}\"\n[builds]\ntools = \"\"\n\
             [upstreams.staging]\nurl = \"ssh://commis@127.0.0.1:{}\"\nhost_key = \"{key}\"\n{more}",
            srv.display(),
            line.port
        );
        let production = World::inside(&settings, |own| entrance(own, staging.root.path()));
        let public = production.commis(&["release", "key"]).succeeded().stdout.clone();
        let mut words = vec!["key", "add", "production", "--only", "release:fetch"];
        projects.iter().for_each(|name| words.extend(["--project", name]));
        staging.commis_with_input(&words, &public).succeeded();
        Self { production, staging, line }
    }

    /// The four files of a release as staging has them.
    pub fn archive(&self, world: &World, project: &str, version: &str) -> PathBuf {
        let releases = world.path("srv").join(project).join("releases");
        let mut found = std::fs::read_dir(&releases).expect("releases").map(|entry| entry.expect("an entry").path());
        let is_it = |path: &PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            name.starts_with(&format!("{project}-{version}-")) && name.ends_with(".tar.zst")
        };
        found.find(is_it).unwrap_or_else(|| panic!("no archive of {version} in {}", releases.display()))
    }

    /// Where projects are on production, from outside.
    pub fn deployed(&self, project: &str) -> PathBuf {
        self.production.path("srv").join(project)
    }

    /// What production answers for a project.
    pub fn shown(&self, words: &[&str]) -> serde_json::Value {
        self.production.json(words)
    }
}

fn entrance(own: &Path, theirs: &Path) -> Vec<String> {
    let words = ["unshare", "--mount", "--propagation", "private", "/bin/bash", "-c", MACHINE, "machine"];
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.extend([own.display().to_string(), theirs.display().to_string(), BUILD_TOOLS.to_owned()]);
    words
}

/// A line to a port that breaks after so many bytes towards the client, each time it is used.
pub struct Cutting {
    pub port: u16,
    after: Arc<AtomicU64>,
    used: Arc<AtomicU64>,
}

impl Cutting {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (after, used) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
        let (limit, count) = (after.clone(), used.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let limit = limit.load(Ordering::SeqCst);
                let _ = [
                    carry(client.try_clone().expect("a stream"), server.try_clone().expect("a stream"), u64::MAX),
                    carry(server, client, limit),
                ];
            }
        });
        Self { port, after, used }
    }

    /// From now on every connection breaks after so many bytes.
    pub fn breaks_after(&self, bytes: u64) {
        self.after.store(bytes, Ordering::SeqCst);
    }

    pub fn holds(&self) {
        self.breaks_after(u64::MAX);
    }

    /// Connections that were made.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }
}

/// Carries bytes one way; at the limit both ends are closed.
fn carry(mut from: TcpStream, mut to: TcpStream, mut limit: u64) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while let Ok(got @ 1..) = from.read(&mut piece) {
            let got = limit.min(got as u64) as usize;
            limit -= got as u64;
            if to.write_all(&piece[..got]).is_err() || limit == 0 {
                break;
            }
        }
        let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
    })
}
