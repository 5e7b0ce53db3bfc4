//! A PostgreSQL of a test's own, Debian's: in a directory of its own, reached by a unix socket and never by a port,
//! and gone with its test.
//!
//! It stands below /run, as Debian's own socket does: projects see that directory, while /tmp is private to them.

use super::world::{Ran, run, signal, wait_at_most};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
pub struct Postgres {
    directory: tempfile::TempDir,
    server: Child,
}

/// The machine's user who owns it; PostgreSQL does not run as root.
const USER: &str = "postgres";

/// Nothing survives its test, so nothing is worth waiting for the disk.
const SETTINGS: [&str; 7] = [
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=40",
    "log_min_messages=fatal",
];

/// Its own user comes in as who he is, applications by their password.
const ACCESS: &str = "local all postgres peer\nlocal all all scram-sha-256\n";

impl Postgres {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("commis-postgres-").tempdir_in("/run").expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let owned = Command::new("chown").arg(format!("{USER}:{USER}")).arg(directory.path()).status();
        assert!(owned.is_ok_and(|status| status.success()), "no user {USER}: bin/setup --test installs PostgreSQL");
        let cluster = directory.path().join("cluster");
        let mut initdb = as_its_user("initdb");
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=peer", "-D"]).arg(&cluster);
        run(initdb, "", "initdb").succeeded();
        std::fs::write(cluster.join("pg_hba.conf"), ACCESS).expect("pg_hba.conf");
        let mut server = as_its_user("postgres");
        server.arg("-D").arg(&cluster).arg("-k").arg(directory.path());
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("postgres");
        let started = Self { directory, server };
        started.wait_until_it_answers();
        started
    }

    fn wait_until_it_answers(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.psql("postgres", "select 1").code != 0 {
            assert!(Instant::now() < until, "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A role and a database of this name; the URL for an application, password included.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("create role {name} login password 'mint-{name}'"));
        self.sql("postgres", &format!("create database {name} owner {name}"));
        format!("postgresql://{name}:mint-{name}@/{name}?host={}", self.directory.path().display())
    }

    /// The rows of an answer, columns with `|` between.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.psql(database, text).succeeded().stdout.trim_end().to_owned()
    }

    /// Everything in a database as text: tables, rows, sequences.
    pub fn content(&self, database: &str) -> String {
        let mut dump = as_its_user("pg_dump");
        dump.arg("-h").arg(self.directory.path()).arg(database);
        let dump = run(dump, "", "pg_dump").succeeded().stdout.clone();
        // What begins so has a new token in each dump.
        let lines = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn psql(&self, database: &str, text: &str) -> Ran {
        let mut psql = as_its_user("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.directory.path()).args(["-d", database]);
        run(psql, text, "psql")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The immediate way down: its files are thrown away.
        signal(self.server.id(), Signal::SIGQUIT);
        let _ = wait_at_most(&mut self.server, Duration::from_secs(20));
    }
}

/// A program of the newest PostgreSQL, as its user; the kernel ends it with its test.
fn as_its_user(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "QUIT", "--"]);
    command.arg(programs().join(program)).env_clear().env("LANG", "C.UTF-8").current_dir("/");
    command
}

/// Debian keeps the programs of each version in a directory of their own.
pub fn programs() -> PathBuf {
    let root = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(root).into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.expect("PostgreSQL, which bin/setup --test installs");
    root.join(newest.to_string()).join("bin")
}
