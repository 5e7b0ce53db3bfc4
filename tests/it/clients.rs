//! Who comes by ssh, with which client, under which name, and what they are told.

use super::support::world::{Ran, run};
use super::support::{Running, World};
use nix::sys::signal::Signal;
use std::process::Command;

#[test]
fn every_spelling_of_a_remote_reaches_the_same_repositories() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    blog.push_with(&[&blog.pillar_url(), "HEAD:refs/heads/other"]).succeeds();
    let base = format!("ssh://commis@127.0.0.1:{}", world.ssh);
    let own = world.path("srv").display().to_string();
    let listed = |url: &str| blog.git(&["ls-remote", url]).succeeded().stdout.clone();
    for path in ["/blog", "/blog.git", "/srv/projects/blog/git/project.git", &format!("{own}/blog/git/project.git")] {
        assert!(listed(&format!("{base}{path}")).contains("refs/heads/main"), "{path}");
    }
    for path in ["/blog/pillar", "/blog/pillar.git", "/srv/projects/blog/git/pillar.git"] {
        assert!(listed(&format!("{base}{path}")).contains("refs/heads/other"), "{path}");
    }
    let config = world.path("ssh_config");
    let key = world.path("admin");
    let text = format!(
        "Host server\n HostName 127.0.0.1\n Port {}\n IdentityFile {}\n UserKnownHostsFile {}\n",
        world.ssh,
        key.display(),
        world.path("known_hosts").display()
    );
    std::fs::write(&config, text).expect("an ssh config");
    for path in ["blog", "blog.git", "/srv/projects/blog/git/project.git"] {
        let mut command = blog.git_command(&["ls-remote", &format!("commis@server:{path}")]);
        command.env("GIT_SSH_COMMAND", format!("ssh -F {} -o BatchMode=yes", config.display()));
        let ran = run(command, "", "an scp-style remote");
        assert!(ran.succeeded().stdout.contains("refs/heads/main"), "{ran:?}");
    }
}

#[test]
fn both_repositories_are_cloned_and_fetched_with_every_version_of_the_protocol() {
    let world = World::new();
    let blog = world.project("blog").saying("one");
    blog.push("main").succeeds();
    blog.push_with(&[&blog.pillar_url(), "HEAD:refs/heads/main"]).succeeds().says("stored; it takes effect");
    let elsewhere = world.project("elsewhere");
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        for (url, name) in [(blog.url(), "code"), (blog.pillar_url(), "pillar")] {
            let to = format!("{name}{version}");
            elsewhere.git(&["-c", &protocol, "clone", "-q", &url, &to]).succeeded();
            assert_eq!(std::fs::read_to_string(elsewhere.directory.join(&to).join("page.txt")).expect("a page"), "one");
        }
    }
    elsewhere.git(&["clone", "-q", "--depth", "1", "--filter=blob:none", &blog.url(), "part"]).succeeded();
    let blog = blog.saying("two");
    blog.push("main").succeeds();
    elsewhere.git(&["-C", "code2", "fetch", "-q"]).succeeded();
    let seen = elsewhere.git(&["-C", "code2", "rev-parse", "origin/main"]).succeeded().stdout.trim().to_owned();
    assert_eq!(seen, blog.head());
}

#[test]
fn plink_clones_and_pushes() {
    let world = World::new();
    let blog = world.project("blog").saying("by plink");
    let converted = run_in(&world, "puttygen", &["admin", "-O", "private", "-o", "admin.ppk"]);
    converted.succeeded();
    let fingerprint = world.json(&["hostkey"])["fingerprint"].as_str().expect("a fingerprint").to_owned();
    let plink = world.path("plink");
    let key = world.path("admin.ppk").display().to_string();
    // Newer git knows no options in GIT_SSH, so a script carries them.
    let script = format!("#!/bin/sh\nexec /usr/bin/plink -batch -hostkey {fingerprint} -i {key} \"$@\"\n");
    std::fs::write(&plink, script).expect("a script");
    make_executable(&plink);
    let with_plink = |args: &[&str]| {
        let mut command = blog.git_command(args);
        command.env_remove("GIT_SSH_COMMAND").env("GIT_SSH", &plink).env("GIT_SSH_VARIANT", "plink");
        run(command, "", &format!("git {} by plink", args.join(" ")))
    };
    with_plink(&["push", &blog.url(), "main"]).succeeded().says("success: blog v1 is live");
    with_plink(&["clone", "-q", &blog.url(), "../copy"]).succeeded();
    assert_eq!(world.page("blog").body, "by plink");
    let rejected = blog.write("Procfile", "no colon\n").commit("bad");
    let mut command = rejected.git_command(&["push", &rejected.url(), "main"]);
    command.env_remove("GIT_SSH_COMMAND").env("GIT_SSH", &plink).env("GIT_SSH_VARIANT", "plink");
    run(command, "", "a bad push by plink").failed(1).says("remote rejected");
}

#[test]
fn dulwich_clones_and_pushes() {
    let world = World::new();
    let blog = world.project("blog").saying("by dulwich");
    let script = "import sys\nfrom dulwich import porcelain\n\
                  porcelain.push(sys.argv[1], sys.argv[2], 'refs/heads/main:refs/heads/main')\n\
                  porcelain.clone(sys.argv[2], sys.argv[3])\n";
    let mut command = blog.git_command(&[]);
    let environment: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = Command::new("/usr/bin/python3");
    command.args(["-c", script, ".", &blog.url(), "../copy"]).current_dir(&blog.directory).env_clear();
    for (name, value) in environment {
        command.env(name, value.unwrap_or_default());
    }
    run(command, "", "dulwich").succeeded();
    assert_eq!(world.page("blog").body, "by dulwich");
    let copy = std::fs::read_to_string(world.path("work/copy/page.txt")).expect("a page");
    assert_eq!(copy, "by dulwich");
}

#[test]
fn a_shallow_clone_pushes_and_is_deployed() {
    let world = World::new();
    let blog = world.project("blog").saying("one").saying("two");
    blog.push("main").succeeds();
    let elsewhere = world.project("elsewhere");
    let url = format!("file://{}", blog.directory.display());
    elsewhere.git(&["clone", "-q", "--depth", "1", &url, "cut"]).succeeded();
    elsewhere.git(&["-C", "cut", "commit", "-q", "--allow-empty", "-m", "three"]).succeeded();
    elsewhere.git(&["-C", "cut", "push", &blog.url(), "HEAD:refs/heads/main"]).succeeded().says("v2 is live");
    let head = elsewhere.git(&["-C", "cut", "rev-parse", "HEAD"]).succeeded().stdout.trim().to_owned();
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(head));
    // To a server that has never seen what was cut off.
    elsewhere.git(&["-C", "cut", "push", &format!("{}2", blog.url()), "HEAD:refs/heads/main"]).succeeded();
    elsewhere.git(&["clone", "-q", &format!("{}2", blog.url()), "back"]).succeeded();
}

#[test]
fn ssh_alone_says_who_you_are_and_help_says_what_can_be_said() {
    let world = World::new();
    world.ssh("admin", &[]).succeeded().says("You are admin, with an admin key").says("help");
    world.ssh("admin", &["help"]).succeeded().says("rollback").says("logs");
    world.ssh("admin", &["fly"]).failed(64).says("fly");
    world.ssh("admin", &["show", "nothing"]).failed(66).says("no project \"nothing\"");
    world.ssh("admin", &["show", "nothing", "--json"]).failed(66).says("\"not-found\"");
    let list = world.ssh("admin", &["list", "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&list.succeeded().stdout).is_ok(), "{list:?}");
    world.ssh("admin", &["project", "create", "blog"]).succeeded().says("created blog");
    world.ssh("admin", &["config", "set", "blog", "'GREETING=two words'"]).succeeded();
    world.ssh("admin", &["config:show", "-a", "blog", "--values"]).succeeded().says("two words");
}

#[test]
fn a_key_is_added_over_ssh_and_works_at_once() {
    let world = World::new();
    world.make_key("jane");
    let command = world.ssh_command("admin", &["key", "add", "jane"]);
    run(command, &world.public_key("jane"), "key add over ssh").succeeded();
    world.ssh("jane", &[]).succeeded().says("You are jane, with a developer key");
    world.ssh("jane", &["key", "list"]).failed(77).says("may not manage keys");
    world.ssh("jane", &["project", "create", "wiki"]).failed(77);
    world.ssh("admin", &["key", "remove", "jane"]).succeeded();
    world.ssh("jane", &[]).failed(255).says("Permission denied");
}

#[test]
fn only_an_admins_push_creates_a_project_and_a_slip_is_noticed() {
    let world = World::new();
    world.admit("jane", &[]);
    let blog = world.project("blog").saying("hello").by("jane");
    blog.push("main").0.failed(128).says("no project \"blog\"").is_silent_about("Could not read");
    world.commis(&["show", "blog"]).failed(66);
    blog.with_key("admin").push("main").succeeds();
    blog.saying("again").push("main").succeeds();
    let slip = world.project("blgo").saying("x").by("jane");
    slip.push("main").0.failed(128).says("fatal: remote error: no project \"blgo\"").says("did you mean \"blog\"?");
}

#[test]
fn a_limited_key_does_not_learn_what_else_there_is() {
    let world = World::new();
    let wiki = world.project("wiki").saying("secret");
    wiki.push("main").succeeds();
    let blog = world.project("blog").saying("open");
    blog.push("main").succeeds();
    world.admit("ci", &["--project", "blog"]);
    blog.with_key("ci").saying("by ci").push("main").succeeds();
    let said = |project: &str, what: &str| {
        let url = format!("ssh://commis@127.0.0.1:{}/{project}{what}", world.ssh);
        let ran = blog.with_key("ci").git(&["ls-remote", &url]);
        ran.failed(128).stderr.replace(project, "X")
    };
    assert_eq!(said("wiki", ""), said("none", ""));
    assert_eq!(said("wiki", "/pillar"), said("none", "/pillar"));
    let shown = |project: &str| world.ssh("ci", &["show", project]).failed(66).stderr.replace(project, "X");
    assert_eq!(shown("wiki"), shown("none"));
    let pushed = |project: &str| {
        let url = format!("ssh://commis@127.0.0.1:{}/{project}", world.ssh);
        blog.with_key("ci").git(&["push", &url, "main"]).failed(128).stderr.replace(project, "X")
    };
    assert_eq!(pushed("wiki"), pushed("none"));
    world.ssh("ci", &["list"]).succeeded().is_silent_about("wiki").says("blog");
}

#[test]
fn a_key_that_nobody_knows_gets_nothing() {
    let world = World::new();
    world.make_key("stranger");
    world.project("blog").saying("hello").by("stranger").push("main").0.failed(128).says("Permission denied");
    world.ssh("stranger", &["list"]).failed(255);
}

#[test]
fn hostile_command_lines_start_no_program() {
    let mut world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    let url = blog.url();
    drop(blog);
    world.stop();
    let log = world.path("git-runs");
    let wrapper = world.path("git-wrapper");
    std::fs::write(&wrapper, format!("#!/bin/sh\necho \"$*\" >> {}\nexec /usr/bin/git \"$@\"\n", log.display()))
        .expect("a script");
    make_executable(&wrapper);
    std::fs::write(world.path("conf.d/20-git.toml"), format!("[git]\nprogram = \"{}\"\n", wrapper.display()))
        .expect("settings");
    std::fs::write(&log, "").expect("a log");
    run_in(&world, "chmod", &["666", "git-runs"]).succeeded();
    world.start();
    world.learn_host_key();
    let runs = || std::fs::read_to_string(&log).expect("a log").lines().count();
    let before = runs();
    for line in HOSTILE {
        let ran = world.ssh("admin", &[line]);
        assert!(ran.code != 0 && !ran.stdout.contains("uid="), "{line}: {ran:?}");
    }
    assert_eq!(runs(), before, "{}", std::fs::read_to_string(&log).expect("a log"));
    // The control: an honest line does start git.
    let wiki = world.project("wiki");
    wiki.git(&["ls-remote", &url.replace(&url[url.rfind(':').expect("a port")..], &format!(":{}/blog", world.ssh))])
        .succeeded();
    assert!(runs() > before);
}

#[test]
fn the_clients_environment_reaches_nobody() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    let mut command = blog.git_command(&["ls-remote", &blog.url()]);
    let ssh = format!(
        "ssh {} -o SendEnv=GIT_TRACE -o SendEnv=GIT_DIR -o SendEnv=LD_PRELOAD",
        world.ssh_options("admin").join(" ")
    );
    command.env("GIT_SSH_COMMAND", ssh).env("LD_PRELOAD", "").env("GIT_TRACE", "0");
    run(command, "", "ls-remote with an environment").succeeded().says("refs/heads/main");
}

#[test]
fn everything_but_a_command_is_refused_at_once() {
    let world = World::new();
    let ssh = |options: &[&str], words: &[&str]| {
        let mut command = Command::new("ssh");
        command.args(world.ssh_options("admin")).args(["-o", "ExitOnForwardFailure=yes"]).args(options);
        command.args(["-p", &world.ssh.to_string(), "commis@127.0.0.1"]).args(words);
        run(command, "", &format!("ssh {options:?}"))
    };
    ssh(&["-tt"], &[]).succeeded().says("There is no shell here").is_silent_about("PTY allocation request failed");
    ssh(&["-s"], &["sftp"]).failed(255).says("subsystem request failed");
    ssh(&["-N", "-R", "0:127.0.0.1:1"], &[]).failed(255).says("remote port forwarding failed");
    ssh(&["-W", "127.0.0.1:1"], &[]).failed(255).says("forwarding failed");
    ssh(&["-A", "-T"], &["list"]).succeeded();
}

#[test]
fn logs_that_nobody_follows_any_more_leave_nothing_running() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    let idle = open_files(&world);
    let followers: Vec<Running> =
        (0..5).map(|_| Running::start(world.ssh_command("admin", &["logs", "blog", "-f"]), "logs -f")).collect();
    wait_until(|| open_files(&world) > idle);
    for follower in followers {
        follower.signal(Signal::SIGTERM);
        let _ = follower.ended();
    }
    wait_until(|| open_files(&world) <= idle);
}

/// Descriptors of the server.
fn open_files(world: &World) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", world.server_pid())).expect("descriptors").count()
}

pub fn wait_until(mut true_: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !true_() {
        assert!(std::time::Instant::now() < until, "it never came true");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn run_in(world: &World, program: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(args).current_dir(world.root.path());
    run(command, "", program)
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Lines that are neither a clone, nor a push, nor a verb.
const HOSTILE: [&str; 24] = [
    "git-upload-pack '--help'",
    "git-receive-pack '-x'",
    "git upload-pack .",
    "git-upload-pack 'blog' 'blog'",
    "git-upload-pack 'blog'; id",
    "git-receive-pack '`id`'",
    "git-receive-pack \"$(id)\"",
    "git-upload-archive 'blog'",
    "git-upload-pack '../blog'",
    "git-upload-pack '/srv/x/blog.git'",
    "git-upload-pack 'blog/../blog'",
    "git-upload-pack '%2e%2e/blog'",
    "git-upload-pack 'blog.git/hooks'",
    "git-upload-pack 'BLOG'",
    "git-upload-pack 'ａ'",
    "git-shell",
    "git -c core.pager=id upload-pack 'blog'",
    "git-lfs-authenticate blog download",
    "; id",
    "$(id)",
    "show blog; id",
    "sh -c id",
    "/bin/sh",
    "show `id`",
];
