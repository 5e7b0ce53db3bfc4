//! Disk: measured, limited, enlarged; owners and modes put right under attack. On real file systems in files.

use super::support::World;
use super::support::project::Project;
use super::support::rejected::rejected;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in a file, mounted until it is dropped.
struct Image {
    at: PathBuf,
}

impl Image {
    /// `kind`: ext4, xfs or btrfs.
    fn mounted(kind: &str, file: &Path, megabytes: u64, at: &Path) -> Self {
        let image = std::fs::File::create(file).expect("a file");
        image.set_len(megabytes << 20).expect("its length");
        drop(image);
        done(Command::new(format!("mkfs.{kind}")).arg("-q").arg(file));
        std::fs::create_dir_all(at).expect("a mount point");
        done(Command::new("mount").args(["-o", "loop"]).arg(file).arg(at));
        Self { at: at.to_owned() }
    }

    fn size(&self) -> u64 {
        let found = nix::sys::statvfs::statvfs(&self.at).expect("statvfs");
        found.blocks() * found.fragment_size()
    }

    /// Fills it until so many megabytes are free.
    fn leave(&self, megabytes: u64) {
        let found = nix::sys::statvfs::statvfs(&self.at).expect("statvfs");
        let free = found.blocks_available() * found.fragment_size();
        let fill = free.saturating_sub(megabytes << 20);
        done(Command::new("fallocate").args(["-l", &fill.to_string()]).arg(self.at.join(format!("filling-{free}"))));
    }

    /// Takes away what filled it.
    fn give_room(&self) {
        for entry in std::fs::read_dir(&self.at).expect("the file system").flatten() {
            if entry.file_name().to_string_lossy().starts_with("filling-") {
                std::fs::remove_file(entry.path()).expect("filling");
            }
        }
        // btrfs has it for others after its next commit.
        done(Command::new("sync").arg("-f").arg(&self.at));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if umount(&self.at).is_err() {
            let _ = umount2(&self.at, MntFlags::MNT_DETACH);
        }
    }
}

fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A step of a deployment: its status and its note.
fn step(world: &World, number: u32, name: &str) -> (String, String) {
    let shown = world.json(&["show", "blog", &number.to_string()]);
    let steps = shown["steps"].as_array().expect("steps").clone();
    let found = steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {shown:#}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("note"))
}

/// A low file system grows by steps to its maximum; the application writes to it all the while.
fn grows(kind: &str) {
    let world = World::with("[storage]\nlow = \"20%\"\nstep = \"100MB\"\nmax = \"550MB\"\n");
    world.commis(&["project", "create", "blog"]).succeeded();
    let image = Image::mounted(kind, &world.path("data.img"), 400, &world.path("srv/blog/data"));
    {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        assert_eq!(step(&world, 1, "enlarge"), ("skipped".into(), "enough room".into()));
        let small = image.size();
        image.leave(30);
        let blog = blog.saying("second");
        blog.push("main").succeeds();
        let (status, note) = step(&world, 2, "enlarge");
        assert_eq!(status, "done", "{note}: {:#?}", world.commis(&["log", "blog", "2"]));
        let larger = image.size();
        assert!(larger > small + 80_000_000, "{kind}: {small} -> {larger}; {note}");
        image.leave(30);
        let blog = blog.saying("third");
        blog.push("main").succeeds();
        assert_eq!(step(&world, 3, "enlarge").0, "done");
        assert!(image.size() > larger, "up to the maximum");
        assert_eq!(std::fs::metadata(world.path("data.img")).expect("the image").len(), 550_000_000);
        image.leave(30);
        let blog = blog.saying("fourth");
        blog.push("main").succeeds().says("warning: only").says("at its maximum size");
        assert_eq!(step(&world, 4, "enlarge"), ("skipped".into(), "at its maximum size".into()));
    }
    world.settle();
    let mut world = world;
    world.stop();
    drop(image);
}

/// Whether this machine lets its root resize a mounted ext4: some containers take CAP_SYS_RESOURCE away.
fn may_resize_ext4() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    u64::from_str_radix(line.trim(), 16).expect("a number") & (1 << 24) != 0
}

#[test]
fn ext4_on_a_loop_device_grows_when_it_is_low_or_says_why_not() {
    if may_resize_ext4() {
        return grows("ext4");
    }
    let world = World::with("[storage]\nlow = \"20%\"\nstep = \"100MB\"\nmax = \"700MB\"\n");
    world.commis(&["project", "create", "blog"]).succeeded();
    let image = Image::mounted("ext4", &world.path("data.img"), 400, &world.path("srv/blog/data"));
    {
        image.leave(30);
        for number in 1..=3 {
            let blog = world.project("blog").saying(&format!("page {number}"));
            let pushed = blog.push_with(&["--porcelain", "--force", &blog.url(), "HEAD:refs/heads/main"]);
            pushed.succeeds().says("warning: data's file system was not enlarged: resize2fs");
            assert_eq!(step(&world, number, "enlarge"), ("skipped".into(), "cannot be enlarged".into()));
        }
        let bytes = std::fs::metadata(world.path("data.img")).expect("the image").len();
        assert_eq!(bytes, (400 << 20) + 100_000_000, "one step, not one each time");
    }
    world.settle();
    let mut world = world;
    world.stop();
    drop(image);
}

#[test]
fn xfs_on_a_loop_device_grows_when_it_is_low() {
    grows("xfs");
}

#[test]
fn btrfs_on_a_loop_device_grows_when_it_is_low() {
    grows("btrfs");
}

/// A world whose projects lie on a file system of their own.
fn world_on(kind: &str, megabytes: u64) -> (World, Image) {
    let mut world = World::new();
    world.stop();
    let image = Image::mounted(kind, &world.path("srv.img"), megabytes, &world.path("srv"));
    world.start();
    (world, image)
}

#[test]
fn btrfs_holds_a_limit_by_itself() {
    let (mut world, image) = world_on("btrfs", 600);
    {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        world.commis(&["disk", "limit", "blog", "20M"]).succeeded().says("held by btrfs");
        let fills = || {
            Command::new("dd")
                .args(["if=/dev/zero", "bs=1M", "count=40", "conv=fsync"])
                .arg(format!("of={}", blog.place("data/big").display()))
                .output()
                .expect("dd")
        };
        let refused = fills();
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("quota"), "{refused:?}");
        assert_eq!(world.json(&["disk", "blog"])["disks"][0]["limit"], 20_000_000);
        world.commis(&["disk", "limit", "blog", "none"]).succeeded();
        assert!(fills().status.success(), "known-bad: it was the limit");
        world.commis(&["doctor"]).says("held by btrfs");
    }
    world.settle();
    world.stop();
    drop(image);
}

#[test]
fn a_limit_that_the_file_system_does_not_hold_is_compared_before_any_work() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    world.commis(&["disk", "limit", "blog", "1M"]).succeeded().says("compared before each deployment and hourly");
    std::fs::write(blog.place("data/big"), vec![1; 2_000_000]).expect("data");
    let blog = blog.script(".commis/hooks/build", "#!/bin/sh\necho must not run\n").saying("second");
    let said = rejected(&world, &blog, "disk-full");
    said.because("its limit is 1.0 MB").says("commis disk limit blog").says_times("must not run", 0);
    // The way back stays open.
    world.commis(&["rollback", "blog", "v1"]).succeeded();
    world.commis(&["disk", "limit", "blog", "none"]).succeeded().says("no limit");
    blog.push("main").succeeds();
    for bad in ["x", "0", "-1", "1.5G"] {
        world.commis(&["disk", "limit", "--", "blog", bad]).failed(64);
    }
    world.commis(&["disk", "limit", "wiki", "1G"]).failed(66);
}

#[test]
fn a_push_for_which_there_are_no_inodes_is_refused_before_any_work() {
    let mut world = World::new();
    world.stop();
    let at = world.path("srv");
    let options = Some("size=900m,nr_inodes=2000,mode=755");
    mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), options).expect("a tmpfs");
    let small = Image { at };
    world.start();
    {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        let mut blog = blog;
        for number in 0..1_500 {
            blog = blog.write(&format!("many/{number}"), "");
        }
        let blog = blog.commit("many files");
        rejected(&world, &blog, "disk-full").because("not enough inodes").says("needs");
    }
    world.settle();
    world.stop();
    drop(small);
}

fn kinds(shown: &Value) -> Vec<(String, u64)> {
    let kinds = shown["disks"][0]["kinds"].as_array().expect("kinds").iter();
    kinds.map(|kind| (kind["kind"].as_str().unwrap().to_owned(), kind["bytes"].as_u64().unwrap())).collect()
}

#[test]
fn the_disk_is_told_by_kind_and_what_may_go_goes() {
    let world = World::new();
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    world.settle();
    std::fs::write(blog.place("data/kept"), vec![1; 500_000]).expect("data");
    std::fs::write(blog.place("cache/pip"), vec![1; 700_000]).expect("a cache");
    std::fs::create_dir_all(blog.place("archives/7.failed/run")).expect("an old failure");
    std::fs::write(blog.place("archives/7.failed/run/file"), vec![1; 300_000]).expect("an old failure");
    done(Command::new("touch").args(["-d", "8 days ago"]).arg(blog.place("archives/7.failed")));
    let shown = world.json(&["disk", "blog"]);
    let of = |kind: &str| kinds(&shown).into_iter().find(|(name, _)| name == kind).expect("the kind").1;
    assert!((500_000..600_000).contains(&of("data")), "{shown:#}");
    assert!(of("cache") >= 700_000 && of("failed") >= 300_000 && of("repositories") > 0 && of("logs") > 0, "{shown:#}");
    let sum: u64 = kinds(&shown).iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(shown["disks"][0]["bytes"], sum);
    world.commis(&["disk"]).succeeded().says("data").says("in all");
    world.commis(&["disk", "trim", "blog", "--dry-run"]).succeeded().says("would be freed").says("archives/7.failed");
    assert!(blog.place("cache/pip").exists() && blog.place("archives/7.failed").exists());
    world.admit("jane", &[]);
    world.ssh("jane", &["disk", "trim", "blog"]).failed(77);
    world.ssh("jane", &["disk", "blog"]).succeeded();
    let trimmed = world.json(&["disk", "trim", "blog"]);
    assert!(trimmed["bytes"].as_u64().is_some_and(|bytes| bytes >= 1_000_000), "{trimmed:#}");
    assert!(!blog.place("cache/pip").exists() && !blog.place("archives/7.failed").exists());
    assert!(blog.place("data/kept").exists() && blog.place("cache/home").is_dir());
    blog.saying("second").push("main").succeeds();
}

#[test]
fn a_full_disk_says_what_trimming_would_free() {
    let (mut world, image) = world_on("ext4", 400);
    {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        std::fs::write(blog.place("cache/pip"), vec![1; 30_000_000]).expect("a cache");
        image.leave(60);
        let blog: Project<'_> = blog.saying("second");
        rejected(&world, &blog, "disk-full").because("not enough room").says("commis disk trim blog frees 30 MB");
        world.commis(&["disk", "trim", "blog"]).succeeded();
        blog.push("main").succeeds();
    }
    world.settle();
    world.stop();
    drop(image);
}

#[test]
fn a_push_whose_change_of_data_could_not_be_undone_for_lack_of_room_is_refused_before_it_changes_data() {
    let (mut world, image) = world_on("ext4", 600);
    {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        std::fs::write(blog.place("data/large"), vec![7; 60_000_000]).expect("data");
        // A backup fits, and not a second copy beside it: known before any work where a hook says so.
        image.leave(180);
        let hook = "#!/bin/sh\necho 2 > $COMMIS_DATA/schema\n";
        let blog: Project<'_> = blog.script(".commis/hooks/upgrade", hook).saying("second");
        rejected(&world, &blog, "disk-full").because("not enough room below").because(", has ");
        assert!(!blog.place("data/schema").exists());
        // Of a release line it is known when it is about to run.
        let line = "web: python3 server.py\nrelease: echo 2 > $COMMIS_DATA/schema\n";
        let blog: Project<'_> =
            blog.remove(".commis/hooks/upgrade").saying("third").write("Procfile", line).commit("third");
        image.leave(135);
        rejected(&world, &blog, "disk-full").because("no room to put data back if this fails: needs ");
        assert!(!blog.place("data/schema").exists());
        let blog: Project<'_> = blog.saying("fourth");
        blog.push("main").succeeds();
    }
    world.settle();
    world.stop();
    drop(image);
}

#[test]
fn data_on_a_file_system_that_shares_blocks_is_put_back_without_being_copied() {
    for kind in ["btrfs", "xfs"] {
        let (mut world, image) = world_on(kind, 600);
        {
            let fill = "#!/bin/sh\nhead -c 90000000 /dev/urandom > $COMMIS_DATA/large\necho 1 > $COMMIS_DATA/schema\n";
            let blog = world.project("blog").script(".commis/hooks/post_deploy", fill).saying("first");
            blog.push("main").succeeds();
            world.settle();
            let large = std::fs::read(blog.place("data/large")).expect("data");
            // Less than one copy of it, and three are made.
            image.leave(120);
            let line = "web: python3 server.py\nrelease: echo 2 > $COMMIS_DATA/schema; exit 3\n";
            let blog: Project<'_> =
                blog.remove(".commis/hooks/post_deploy").saying("second").write("Procfile", line).commit("second");
            blog.push("main").is_rejected("release-failed").says("data/ restored");
            assert!(std::fs::read(blog.place("data/large")).expect("data") == large, "{kind}");
            assert_eq!(std::fs::read_to_string(blog.place("data/schema")).expect("data"), "1\n", "{kind}");
            // btrfs gives out room for its own records in large pieces.
            image.give_room();
            let blog: Project<'_> = blog.saying("third");
            blog.push("main").succeeds();
            world.settle();
            // The sums that were owed have been taken.
            let list = std::fs::read_to_string(blog.place("archives/3/data.list")).expect("a list");
            assert!(list.lines().any(|line| line.ends_with(" large")) && !list.contains(" ? "), "{kind}: {list}");
        }
        world.settle();
        world.stop();
        drop(image);
    }
}
