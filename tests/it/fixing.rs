//! Owners and modes are put right while the application does its worst: nothing outside its own trees changes.

use super::support::World;
use super::support::hashed;
use super::support::project::Project;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The kernel's own protection against hard links to other people's files, off until it is dropped.
struct Unprotected(String);

const PROTECTION: &str = "/proc/sys/fs/protected_hardlinks";

impl Unprotected {
    fn now() -> Self {
        let before = std::fs::read_to_string(PROTECTION).expect("the setting");
        std::fs::write(PROTECTION, "0").expect("the setting");
        Self(before)
    }
}

impl Drop for Unprotected {
    fn drop(&mut self) {
        let _ = std::fs::write(PROTECTION, self.0.trim());
    }
}

/// Somebody as the application's user, busy in its data.
struct Attacker(Child);

impl Attacker {
    fn start(data: &Path, victims: &Path, uid: u32) -> Self {
        let script = format!(
            "cd '{}' || exit 1\nmkdir -p d\nwhile :; do\n  mv -T d d2 2>/dev/null; ln -sT '{v}' d 2>/dev/null\n  \
             rm -f d; mv -T d2 d 2>/dev/null; mkdir -p d\n  ln -f '{v}/secret' x 2>/dev/null; ln -f '{v}/secret' d/y \
             2>/dev/null\n  rm -f x d/y; : > x; chmod 4755 x 2>/dev/null; rm -f x; done\n",
            data.display(),
            v = victims.display()
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).uid(uid).gid(uid).process_group(0).env_clear().env("PATH", "/usr/bin:/bin");
        Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash"))
    }

    fn still_at_it(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|ended| ended.is_none())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Files that nobody may change: root's, in a directory that others can enter.
fn victims(world: &World) -> PathBuf {
    let at = world.path("victims");
    std::fs::create_dir(&at).expect("a directory");
    for (name, mode) in [("secret", 0o600), ("passwd", 0o644), ("program", 0o4755)] {
        std::fs::write(at.join(name), name).expect("a file");
        std::fs::set_permissions(at.join(name), std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    at
}

fn app_user(blog: &Project<'_>) -> u32 {
    std::fs::metadata(blog.place("data")).expect("data").uid()
}

#[test]
fn an_application_that_swaps_names_and_links_victims_gains_nothing() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    let (victims, user) = (victims(&world), app_user(&blog));
    let before = hashed::tree(&victims);
    let _unprotected = Unprotected::now();
    let mut attacker = Attacker::start(&blog.place("data"), &victims, user);
    let mut blog = blog;
    for round in 0..40 {
        // What root left there is found in the middle of the race.
        let _ = std::fs::write(blog.place(&format!("data/stray-{round}")), "");
        world.commis(&["fixperms", "blog"]).succeeded();
        if round % 10 == 0 {
            blog = blog.saying(&format!("round {round}"));
            blog.push("main").succeeds();
        }
        assert_eq!(hashed::tree(&victims), before, "round {round}");
    }
    assert!(attacker.still_at_it(), "known-bad: somebody attacked all the while");
    drop(attacker);
    assert_eq!(std::fs::metadata(blog.place("data/stray-39")).expect("a file").uid(), user);
    // Hard links by themselves are enough to mislead a walk by names. What the attacker had in hand when it ended goes.
    let _ = std::fs::remove_dir_all(blog.place("data/d"));
    let _ = std::fs::remove_file(blog.place("data/x"));
    std::fs::hard_link(victims.join("secret"), blog.place("data/x")).expect("a link");
    let fixed = world.json(&["fixperms", "blog"]);
    assert_eq!(fixed["left_alone"], serde_json::json!(["data/x"]), "{fixed:#}");
    assert_eq!(hashed::tree(&victims), before);
    let by_names = Command::new("chown").arg("-R").arg(format!("{user}:{user}")).arg(blog.place("data")).status();
    assert!(by_names.is_ok_and(|status| status.success()));
    assert_ne!(hashed::tree(&victims), before, "known-bad: chown -R gives the victim away");
}

#[test]
fn everything_of_a_project_has_its_owner_and_mode_again() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    world.settle();
    let user = app_user(&blog);
    std::fs::create_dir_all(blog.place("data/up/loads")).expect("a directory of root's");
    std::fs::write(blog.place("data/up/loads/a"), "").expect("a file of root's");
    symlink("/etc/passwd", blog.place("data/link")).expect("a link");
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(blog.place(path), std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    mode("data/up/loads/a", 0o6755);
    mode("run/page.txt", 0o666);
    mode("releases", 0o777);
    mode("git", 0o777);
    chown(blog.place("run/page.txt"), Some(user), Some(user)).expect("an owner");
    chown(blog.place("git/pillar.git/HEAD"), Some(0), Some(0)).expect("an owner");
    let git = std::fs::metadata(blog.place("git")).expect("git").uid();
    world.commis(&["fixperms", "blog"]).succeeded().says("put right");
    let is = |path: &str| {
        let data = std::fs::symlink_metadata(blog.place(path)).expect("a file");
        (data.uid(), data.mode() & 0o7777)
    };
    assert_eq!([is("data/up"), is("data/up/loads/a")], [(user, 0o755), (user, 0o755)]);
    assert_eq!((is("data/link").0, std::fs::metadata("/etc/passwd").expect("a file").uid()), (user, 0));
    assert_eq!([is("run/page.txt"), is("releases"), is("git")], [(0, 0o644), (0, 0o700), (git, 0o700)]);
    assert_eq!(is("git/pillar.git/HEAD").0, git);
    assert_eq!(world.json(&["fixperms", "blog"])["changed"], 0, "what is right stays");
}

#[test]
fn a_deployment_puts_data_right_and_says_what_it_cannot() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    let victims = victims(&world);
    std::fs::write(blog.place("data/stray"), "").expect("a file of root's");
    std::fs::hard_link(victims.join("secret"), blog.place("data/x")).expect("a link");
    let before = hashed::tree(&victims);
    let blog = blog.saying("second");
    blog.push("main").succeeds().says("warning: data/x has a wrong owner");
    assert_eq!(std::fs::metadata(blog.place("data/stray")).expect("a file").uid(), app_user(&blog));
    assert_eq!(hashed::tree(&victims), before);
}
