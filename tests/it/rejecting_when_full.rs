//! A full disk, met at every phase: said as such, with the old version serving and nothing half-written.

use super::support::World;
use super::support::project::Project;
use super::support::rejected::{Before, OLD, live_blog, rejected};
use nix::mount::{MsFlags, mount, umount};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A small file system in memory over a directory of a world, until it is dropped.
struct Small {
    at: PathBuf,
}

impl Small {
    fn over(at: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(at).expect("a mount point");
        let size = format!("size={megabytes}m,mode=755");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).expect("a tmpfs");
        Self { at: at.to_owned() }
    }

    /// Leaves so many bytes free.
    fn fill_all_but(&self, bytes: u64) -> Filling {
        let free = nix::sys::statvfs::statvfs(&self.at).expect("statvfs");
        let free = free.blocks_available() * free.fragment_size();
        let file = self.at.join("filling");
        let size = free.saturating_sub(bytes);
        let filled = std::process::Command::new("fallocate").args(["-l", &size.to_string()]).arg(&file).status();
        assert!(filled.is_ok_and(|status| status.success()), "fallocate");
        Filling(file)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount(&self.at);
    }
}

struct Filling(PathBuf);

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A world whose projects lie on a small file system.
fn small_world(megabytes: u32) -> (World, Small) {
    small(World::new(), megabytes)
}

fn small(mut world: World, megabytes: u32) -> (World, Small) {
    world.stop();
    let small = Small::over(&world.path("srv"), megabytes);
    world.start();
    world.learn_host_key();
    (world, small)
}

/// The world ends before its file system goes, and checks as it ends.
fn end((world, small): (World, Small)) {
    world.settle();
    let mut world = world;
    assert_eq!(world.stop(), Some(0));
    drop(small);
}

fn with_build<'a>(blog: Project<'a>, script: &str) -> Project<'a> {
    blog.script(".commis/hooks/build", script).commit("a build")
}

#[test]
fn a_push_that_would_not_fit_is_refused_before_any_work() {
    let (world, small) = small_world(200);
    {
        let blog = live_blog(&world);
        let filling = small.fill_all_but(20_000_000);
        let blog = with_build(blog, "#!/bin/sh\necho must not run\n");
        let said = rejected(&world, &blog, "disk-full");
        said.because("not enough room").says("free space").says_times("must not run", 0);
        drop(filling);
        blog.push("main").succeeds();
    }
    end((world, small));
}

#[test]
fn a_disk_that_a_build_fills_is_a_full_disk_and_not_a_bad_build() {
    let (world, small) = small_world(200);
    {
        let blog = with_build(live_blog(&world), "#!/bin/sh\ncat /dev/zero > big || exit 1\n");
        rejected(&world, &blog, "disk-full").because("hook build").because("free");
        assert_eq!(world.page("blog").body, OLD);
        let blog = with_build(blog, "#!/bin/sh\nexit 0\n");
        blog.push("main").succeeds();
    }
    end((world, small));
}

#[test]
fn a_disk_that_is_full_at_bundle_leaves_no_half_release() {
    let (world, small) = small_world(200);
    {
        // Fills more than half with what does not compress: the archive does not fit any more.
        let blog = with_build(live_blog(&world), "#!/bin/sh\nhead -c 130000000 /dev/urandom > big\n");
        rejected(&world, &blog, "disk-full").because("no space");
    }
    end((world, small));
}

#[test]
fn a_disk_that_is_full_at_unpack_leaves_no_half_tree() {
    let (world, small) = small_world(200);
    {
        // Compresses to nothing, so that the archive fits and the tree does not.
        let blog = with_build(live_blog(&world), "#!/bin/sh\nyes rice | head -c 130000000 > big\n");
        rejected(&world, &blog, "disk-full").because("no space");
    }
    end((world, small));
}

#[test]
fn a_disk_that_a_hook_fills_after_the_switch_is_rolled_back() {
    let (world, small) = small_world(200);
    {
        let blog = live_blog(&world)
            .script(
                ".commis/hooks/post_deploy",
                "#!/bin/sh\ncat /dev/zero > \"$COMMIS_DATA/big\"; rm -f \"$COMMIS_DATA/big\"; exit 1\n",
            )
            .commit("fills");
        rejected(&world, &blog, "rolled-back").because("hook post_deploy: exit 1");
    }
    end((world, small));
}

#[test]
fn objects_that_do_not_fit_are_refused_by_git_and_nothing_stays() {
    let (world, small) = small_world(200);
    {
        let blog = live_blog(&world);
        let before = Before::look(&world, &blog);
        let filling = small.fill_all_but(2_000_000);
        let path = blog.directory.join("big");
        let made =
            std::process::Command::new("sh").arg("-c").arg("head -c 8000000 /dev/urandom > \"$0\"").arg(path).status();
        assert!(made.is_ok_and(|status| status.success()));
        let blog = blog.commit("big");
        let pushed = blog.push("main");
        eprintln!("{:#?}", pushed.0);
        pushed.0.failed(1).says("(disk-full: no space left").says("live=v1").says("hint: free space");
        drop(filling);
        before.still_holds(&world, &blog);
        let quarantines = super::support::leftovers::names(&blog.place("git/project.git/objects"));
        assert!(quarantines.iter().all(|name| !name.starts_with("tmp_objdir")), "{quarantines:?}");
        blog.push("main").succeeds();
    }
    end((world, small));
}

#[test]
fn a_full_disk_of_the_state_is_said_and_the_next_push_works() {
    let mut world = World::new();
    world.stop();
    let state = world.path("state");
    let kept = world.path("state-kept");
    std::fs::rename(&state, &kept).expect("the state moves");
    let small = Small::over(&state, 16);
    let copied = std::process::Command::new("cp").arg("-a").arg(kept.join(".")).arg(&state).status();
    assert!(copied.is_ok_and(|status| status.success()));
    world.start();
    world.learn_host_key();
    {
        let blog = live_blog(&world);
        let before = Before::look(&world, &blog);
        let filling = small.fill_all_but(0);
        let blog = blog.saying("new");
        let last = blog.push("main");
        eprintln!("{:#?}", last.0);
        drop(filling);
        last.0.failed(1).says("(disk-full: ").says("hint: free space");
        before.still_holds(&world, &blog);
        blog.push("main").succeeds();
        assert_eq!(world.page("blog").body, "new");
    }
    end((world, small));
}

#[test]
fn no_room_for_a_backup_is_known_before_data_is_touched() {
    let (world, small) = small_world(140);
    {
        let blog = live_blog(&world);
        world.settle();
        std::fs::write(blog.place("data/large"), vec![1; 62 << 20]).expect("data");
        let blog = blog.write("Procfile", "release: touch $COMMIS_DATA/touched\nweb: python3 server.py\n").commit("x");
        rejected(&world, &blog, "disk-full").says("not enough room");
        assert!(!blog.place("data/touched").exists());
        let archives = super::support::leftovers::names(&blog.place("archives"));
        assert_eq!(archives.iter().filter(|name| name.contains("partial")).count(), 0, "{archives:?}");
    }
    end((world, small));
}

#[test]
fn a_release_for_which_there_is_no_room_is_not_taken_in() {
    let staging = World::new();
    let blog = staging.project("blog").write("index.html", OLD).commit("one");
    blog.push("main").succeeds();
    staging.settle();
    let file = staging.path("v1.tar");
    let mut export = staging.commis_command(&["release", "export", "blog"]);
    assert!(export.stdout(File::create(&file).expect("a file")).status().expect("an end").success());
    let signers = staging.path("signers");
    std::fs::write(&signers, &staging.commis(&["release", "signer"]).succeeded().stdout).expect("signers");
    let settings = format!("platform = \"prod\"\n[releases]\nsigners = \"{}\"\n", signers.display());
    let (production, small) = small(World::with(&settings), 100);
    let push = ["release", "push", "blog", file.to_str().expect("a path")];
    production.commis(&["project", "create", "blog"]).succeeded();
    let filling = small.fill_all_but(2_000);
    production.commis(&push).failed(1).says("not enough room").says("free space on the server");
    let incoming = production.path("srv/blog/incoming");
    assert_eq!(std::fs::read_dir(incoming).map_or(0, Iterator::count), 0, "half a release is left");
    drop(filling);
    production.commis(&push).succeeded();
    assert_eq!(production.page("blog").body, OLD);
    end((production, small));
}
