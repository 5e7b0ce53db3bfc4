//! Code and data are undone together: what a deployment did to `data/` is put back when it fails, what was written
//! meanwhile is kept beside, and a rollback takes data along when it is asked to.

use super::support::World;
use super::support::project::Project;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const PAGE: &str = "web: python3 server.py\n";

/// Everything about a tree: kind, mode, owner, time, content, and which names are one file.
fn picture(top: &Path) -> BTreeMap<String, String> {
    fn look(top: &Path, path: &Path, all: &mut BTreeMap<String, String>, twins: &mut BTreeMap<u64, String>) {
        let name = path.strip_prefix(top).expect("below").to_string_lossy().into_owned();
        let meta = fs::symlink_metadata(path).expect("an entry");
        let content = if meta.is_file() { fs::read(path).expect("a file") } else { Vec::new() };
        let twin = if meta.is_file() {
            twins.entry(meta.ino()).or_insert_with(|| name.clone()).clone()
        } else {
            String::new()
        };
        let about = (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        all.insert(name, format!("{about:?} {content:?} {:?} {twin}", fs::read_link(path).ok()));
        if meta.is_dir() {
            let mut below: Vec<_> =
                fs::read_dir(path).expect("a directory").map(|entry| entry.expect("one").path()).collect();
            below.sort();
            below.iter().for_each(|path| look(top, path, all, twins));
        }
    }
    let mut all = BTreeMap::new();
    look(top, top, &mut all, &mut BTreeMap::new());
    all
}

/// A live project whose data has something of every kind.
fn with_data(world: &World) -> Project<'_> {
    let fill = "#!/bin/sh\nset -eu\ncd \"$COMMIS_DATA\"\nmkdir -p uploads empty\necho one > uploads/a\nln uploads/a twin\n\
                ln -s uploads/a link\nchmod 600 uploads/a\nchmod 2750 empty\necho 1 > schema\ntouch -d @1000000000 schema\n";
    let blog = world.project("blog").script(".commis/hooks/post_deploy", fill).saying("old");
    blog.push("main").succeeds();
    let blog = blog.remove(".commis/hooks/post_deploy").saying("old");
    blog.push("main").succeeds();
    world.settle();
    blog
}

fn put_aside(blog: &Project<'_>, place: &str) -> String {
    fs::read_to_string(blog.place("archives").join(place)).unwrap_or_else(|error| panic!("{place}: {error}"))
}

#[test]
fn a_release_line_that_breaks_data_and_fails_has_it_put_back() {
    let world = World::new();
    let blog = with_data(&world);
    let before = picture(&blog.place("data"));
    let broken =
        "release: rm -r $COMMIS_DATA/uploads && echo 2 > $COMMIS_DATA/schema && exit 3\nweb: python3 server.py\n";
    let blog = blog.write("Procfile", broken).commit("migrates badly");
    let pushed = blog.push("main");
    pushed
        .is_rejected("release-failed")
        .says("release command: exit 3")
        .says("data/ restored")
        .says("is live with its data");
    pushed.says("archives/3.failed/data");
    assert_eq!(picture(&blog.place("data")), before);
    assert_eq!(put_aside(&blog, "3.failed/data/schema"), "2\n");
    assert!(put_aside(&blog, "3.failed/log").contains("release command"));
    assert_eq!(world.page("blog").body, "old");
    let record = world.json(&["show", "blog", "3"]);
    assert_eq!(record["data"]["state"], "restored", "{record:#}");
    assert!(record["downtime_seconds"].as_f64().is_some(), "{record:#}");
    assert!(record["discarded_writes"]["from"].as_str() < record["discarded_writes"]["to"].as_str(), "{record:#}");
    assert!(!blog.place("archives/3").exists(), "a backup that was put back is not kept");
    let blog = blog.write("Procfile", PAGE).saying("next");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "next");
}

#[test]
fn a_hook_that_fails_after_the_switch_has_its_writes_kept_beside() {
    let world = World::new();
    let blog = with_data(&world);
    let before = picture(&blog.place("data"));
    let hook = "#!/bin/sh\necho later > \"$COMMIS_DATA/later\"\nrm \"$COMMIS_DATA/twin\"\nexit 1\n";
    let blog = blog.script(".commis/hooks/post_deploy", hook).saying("new");
    let pushed = blog.push("main");
    pushed.is_rejected("rolled-back").says("is live again").says("were discarded").says("archives/3.failed/data");
    assert_eq!(picture(&blog.place("data")), before);
    assert_eq!(put_aside(&blog, "3.failed/data/later"), "later\n");
    assert_eq!(put_aside(&blog, "3.failed/run/page.txt"), "new");
    assert_eq!(world.page("blog").body, "old");
}

#[test]
fn an_unhealthy_release_that_touched_nothing_costs_no_write() {
    let world = World::with("[health]\ntimeout = \"3s\"\n");
    let blog = with_data(&world);
    let blog = blog.write("Procfile", "web: echo more >> $COMMIS_DATA/log; sleep 60\n").commit("sick");
    let pushed = blog.push("main");
    pushed.is_rejected("rolled-back").says("is live again");
    assert_eq!(fs::read_to_string(blog.place("data/log")).expect("what was written"), "more\n");
    let record = world.json(&["show", "blog", "3"]);
    assert_eq!(record["data"]["state"], "untouched", "{record:#}");
    assert!(record["discarded_writes"].is_null() && record["downtime_seconds"].is_null(), "{record:#}");
}

#[test]
fn a_hook_that_changed_nothing_stops_nobody_and_discards_nothing() {
    let world = World::new();
    let blog = with_data(&world);
    // What was written just before it was kept would be in doubt.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let pid = || world.json(&["show", "blog"])["processes"][0]["pid"].as_u64().expect("a process");
    let before = (picture(&blog.place("data")), pid());
    let blog = blog.script(".commis/hooks/deploy", "#!/bin/sh\ncat $COMMIS_DATA/schema\nexit 1\n").saying("new");
    let pushed = blog.push("main");
    pushed
        .is_rejected("release-failed")
        .says("data is as it was")
        .is_silent_about("discarded")
        .is_silent_about("restored");
    assert_eq!((picture(&blog.place("data")), pid()), before);
    let record = world.json(&["show", "blog", "3"]);
    assert_eq!(record["data"]["state"], "untouched", "{record:#}");
    assert!(record["discarded_writes"].is_null() && record["downtime_seconds"].is_null(), "{record:#}");
    assert!(!blog.place("archives/3").exists(), "a backup of nothing new is not kept");
    // After the switch it is the same.
    let hook = "#!/bin/sh\nexit 1\n";
    let blog = blog.remove(".commis/hooks/deploy").script(".commis/hooks/post_deploy", hook).saying("new");
    blog.push("main").is_rejected("rolled-back").says("data is as it was").is_silent_about("discarded");
    assert_eq!(picture(&blog.place("data")), before.0);
    assert_eq!(world.page("blog").body, "old");
    // A dump is read again whatever data says: what it is of may lie elsewhere.
    let dump = "#!/bin/sh\necho dumped > $COMMIS_DUMPS/x\n";
    let blog = blog.script(".commis/hooks/backup", dump).script(".commis/hooks/restore", "#!/bin/sh\necho reloaded\n");
    let blog = blog.saying("with a dump");
    blog.push("main").is_rejected("rolled-back").says("reloaded").says("were discarded");
}

#[test]
fn processes_touch_data_where_the_project_says_so() {
    let world = World::with("[health]\ntimeout = \"3s\"\n");
    let blog = with_data(&world);
    let before = picture(&blog.place("data"));
    let blog = blog
        .write(".commis/project.toml", "[data]\nrollback = \"code+data\"\n")
        .write("Procfile", "web: echo more >> $COMMIS_DATA/log; sleep 60\n")
        .commit("sick");
    blog.push("main").is_rejected("rolled-back").says("were discarded");
    assert_eq!(picture(&blog.place("data")), before);
}

#[test]
fn dumps_are_reloaded_and_a_policy_of_hooks_copies_nothing() {
    let world = World::new();
    let backup = "#!/bin/sh\nset -eu\ncp \"$COMMIS_DATA/schema\" \"$COMMIS_DUMPS/schema\"\necho dumped $COMMIS_DUMPS\n";
    let restore = "#!/bin/sh\nset -eu\nif touch \"$COMMIS_DUMPS/x\" 2>/dev/null; then exit 9; fi\n\
                   cp \"$COMMIS_DUMPS/schema\" \"$COMMIS_DATA/schema\"\necho reloaded\n";
    let blog = with_data(&world)
        .script(".commis/hooks/backup", backup)
        .script(".commis/hooks/restore", restore)
        .write(".commis/project.toml", "[data]\nbackup = \"hooks\"\n")
        .write(
            "Procfile",
            "release: echo 2 > $COMMIS_DATA/schema; echo x > $COMMIS_DATA/extra; exit 1\nweb: python3 server.py\n",
        )
        .commit("hooks");
    let pushed = blog.push("main");
    pushed.is_rejected("release-failed").says("hook backup").says("reloaded");
    assert_eq!(fs::read_to_string(blog.place("data/schema")).expect("the schema"), "1\n");
    assert!(blog.place("data/extra").exists(), "nothing but the dump is put back");
    let blog = blog.write("Procfile", PAGE).saying("good");
    let pushed = blog.push("main");
    pushed.succeeds().says("hook backup 2 B");
    world.settle();
    assert_eq!(put_aside(&blog, "4/dumps/schema"), "1\n");
    assert!(!blog.place("archives/4/data").exists());
}

#[test]
fn without_a_policy_nothing_is_put_back_and_the_failure_says_so() {
    let world = World::new();
    let blog = with_data(&world)
        .write(".commis/project.toml", "[data]\nbackup = \"none\"\n")
        .write("Procfile", "release: echo 2 > $COMMIS_DATA/schema; exit 1\nweb: python3 server.py\n")
        .commit("careless");
    let pushed = blog.push("main");
    pushed.is_rejected("release-failed").says("data was not put back: the project wants no backup");
    assert_eq!(fs::read_to_string(blog.place("data/schema")).expect("the schema"), "2\n");
    assert_eq!(world.page("blog").body, "old");
}

#[test]
fn what_is_excluded_stays_through_it_all() {
    let world = World::new();
    let blog = with_data(&world)
        .write(".commis/project.toml", "[data]\nexclude = [\"cache/**\"]\n")
        .script(
            ".commis/hooks/post_deploy",
            "#!/bin/sh\nmkdir -p $COMMIS_DATA/cache && echo hot > $COMMIS_DATA/cache/a\n",
        )
        .saying("caching");
    blog.push("main").succeeds();
    let release =
        "release: echo warm >> $COMMIS_DATA/cache/a; echo 2 > $COMMIS_DATA/schema; exit 1\nweb: python3 server.py\n";
    let blog = blog.write("Procfile", release).commit("breaks");
    blog.push("main").is_rejected("release-failed");
    assert_eq!(fs::read_to_string(blog.place("data/schema")).expect("the schema"), "1\n");
    assert_eq!(fs::read_to_string(blog.place("data/cache/a")).expect("the cache"), "hot\nwarm\n");
}

#[test]
fn a_rollback_takes_data_along_there_and_back() {
    let world = World::new();
    let blog = with_data(&world);
    let old = picture(&blog.place("data"));
    let blog = blog
        .script(
            ".commis/hooks/upgrade",
            "#!/bin/sh\necho 2 > \"$COMMIS_DATA/schema\"\necho note > \"$COMMIS_DATA/note\"\n",
        )
        .saying("new");
    blog.push("main").succeeds();
    world.settle();
    let new = picture(&blog.place("data"));
    assert_ne!(old, new);
    let refused = world.commis(&["rollback", "blog", "v2"]);
    refused.failed(1).says("v3 may have changed data").says("--with-data takes data as it was at").says("--code-only");
    world.commis(&["rollback", "blog", "v2", "--with-data"]).succeeded().says("archives/4.left/data");
    assert_eq!(world.page("blog").body, "old");
    assert_eq!(picture(&blog.place("data")), old);
    let record = world.json(&["show", "blog", "4"]);
    assert!(record["discarded_writes"]["to"].is_string() && record["downtime_seconds"].is_f64(), "{record:#}");
    let took = |step: &serde_json::Value| step["name"] == "take";
    assert!(record["steps"].as_array().is_some_and(|steps| steps.iter().any(took)), "{record:#}");
    world.settle();
    // And back: its own backup has the data of v3.
    let blog = blog.write("README", "x").commit("same");
    world.commis(&["rollback", "blog", "v3", "--with-data"]).succeeded();
    let schema = fs::read_to_string(blog.place("data/schema")).expect("the schema");
    assert_eq!((schema.as_str(), world.page("blog").body.as_str()), ("2\n", "new"));
    world.settle();
    world.commis(&["rollback", "blog", "v2", "--code-only"]).succeeded();
    assert_eq!(fs::read_to_string(blog.place("data/schema")).expect("the schema"), "2\n");
    let releases = world.json(&["releases", "blog"]);
    let of = |name: &str| {
        releases["releases"].as_array().and_then(|all| all.iter().find(|one| one["release"] == name)).cloned()
    };
    assert_eq!(of("v3").expect("v3")["rollback"], "code+data", "{releases:#}");
    assert!(of("v3").expect("v3")["backup"]["deployment"].is_number(), "{releases:#}");
}

#[test]
fn a_release_that_forbids_it_is_left_by_force_alone() {
    let world = World::new();
    let blog =
        with_data(&world).write(".commis/project.toml", "[data]\nrollback = \"forbidden\"\n").saying("no way back");
    blog.push("main").succeeds();
    world.settle();
    world.commis(&["rollback", "blog", "v2"]).failed(1).says("rollback is forbidden").says("--force");
    world.commis(&["rollback", "blog", "v2", "--force"]).succeeded();
    assert_eq!(world.page("blog").body, "old");
}

#[test]
fn data_with_something_mounted_in_it_is_put_back_in_place() {
    let world = World::new();
    let blog = with_data(&world);
    let inside = blog.place("data/share");
    fs::create_dir(&inside).expect("a mount point");
    let outside = world.path("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("file"), "outside").expect("a file");
    let before = picture(&blog.place("data"));
    let bound = nix::mount::mount(Some(&outside), &inside, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>);
    bound.expect("a bind mount");
    let release = "release: echo 2 > $COMMIS_DATA/schema; rm $COMMIS_DATA/twin; exit 1\nweb: python3 server.py\n";
    let blog = blog.write("Procfile", release).commit("breaks");
    let pushed = blog.push("main");
    let there = fs::read_to_string(inside.join("file"));
    nix::mount::umount(&inside).expect("an unmount");
    pushed.is_rejected("release-failed").says("share is a mount point").says("data/ restored");
    assert_eq!(there.expect("what is mounted stays where it is"), "outside");
    assert_eq!(picture(&blog.place("data")), before);
    assert_eq!(put_aside(&blog, "3.failed/data/schema"), "2\n");
}

#[test]
fn a_rollback_with_data_that_fails_brings_back_the_data_it_found() {
    let world = World::with("[health]\ntimeout = \"5s\"\n");
    let picky = "web: test ! -e $COMMIS_DATA/cache/poison || exit 1; exec python3 server.py\n";
    let blog = with_data(&world)
        .write(".commis/project.toml", "[data]\nexclude = [\"cache/**\"]\n")
        .write("Procfile", picky)
        .commit("picky");
    blog.push("main").succeeds();
    world.settle();
    let upgrade = "#!/bin/sh\nmkdir -p $COMMIS_DATA/cache\necho 2 > $COMMIS_DATA/schema\n";
    let blog =
        blog.write("Procfile", PAGE).script(".commis/hooks/upgrade", upgrade).write("page.txt", "new").commit("new");
    blog.push("main").succeeds();
    world.settle();
    // What is excluded stays through the rollback, and v3 does not start with it.
    fs::write(blog.place("data/cache/poison"), "").expect("a file");
    fs::write(blog.place("data/late"), "late").expect("a file");
    let before = picture(&blog.place("data"));
    world.commis(&["rollback", "blog", "v3", "--with-data"]).failed(3).says("is live again");
    assert_eq!(picture(&blog.place("data")), before);
    assert_eq!(world.page("blog").body, "new");
    let record = world.json(&["show", "blog", "5"]);
    assert_eq!(record["data"]["state"], "restored", "{record:#}");
    assert!(world.json(&["show", "blog"])["trouble"].is_null());
}

#[test]
fn what_failed_goes_before_its_days_when_the_disk_is_wanted() {
    let world = World::new();
    let blog = with_data(&world);
    let breaks = "release: echo 2 > $COMMIS_DATA/schema && exit 3\nweb: python3 server.py\n";
    blog.write("Procfile", breaks).commit("breaks").push("main").is_rejected("release-failed");
    world.settle();
    let blog = world.path("srv/blog");
    let failed = || fs::read_dir(blog.join("archives")).expect("archives").flatten().map(|one| one.file_name());
    let failed = || failed().filter(|name| name.to_string_lossy().ends_with(".failed")).count();
    assert_eq!(failed(), 1);
    world.commis(&["disk", "trim", "blog"]).succeeded().says("commis disk trim --failed");
    assert_eq!(failed(), 1, "without being asked it stays for its days");
    world.commis(&["disk", "trim", "blog", "--failed", "--dry-run"]).succeeded().says("archives/3.failed");
    assert_eq!(failed(), 1);
    world.commis(&["disk", "trim", "blog", "--failed"]).succeeded().says("archives/3.failed").says("freed");
    assert_eq!(failed(), 0);
    assert!(blog.join("archives/2").is_dir(), "a backup is no failure");
}

#[test]
fn data_that_no_copy_can_hold_does_not_close_the_way_back() {
    let world = World::new();
    let blog = with_data(&world);
    let blog = blog.saying("newer");
    blog.push("main").succeeds();
    world.settle();
    fs::create_dir_all(blog.place("data").join("d/".repeat(220))).expect("deep data");
    let live = world.json(&["show", "blog"])["live"].as_str().expect("live").to_owned();
    let refused = world.commis(&["rollback", "blog"]);
    refused.failed(1).says("has more than 200 directories").says("--code-only");
    assert_eq!(world.json(&["show", "blog"])["live"], live.as_str());
    let back = world.commis(&["rollback", "blog", "--code-only"]);
    back.succeeded().says("data is not backed up").says("is live");
    assert_eq!(world.page("blog").body, "old");
    assert!(blog.place("data").join("d/".repeat(220)).is_dir());
}

#[test]
fn a_script_that_may_change_data_does_not_run_where_no_copy_can_hold_it() {
    let world = World::new();
    let procfile = "release: echo $COMMIS_RELEASE >> $COMMIS_DATA/ledger\nweb: python3 server.py\n";
    let blog = world.project("blog").saying("old").write("Procfile", procfile).commit("migrates");
    blog.push("main").succeeds();
    let blog = blog.write("page.txt", "newer").commit("newer");
    blog.push("main").succeeds();
    world.settle();
    let ledger = || fs::read_to_string(blog.place("data/ledger")).expect("the ledger");
    assert_eq!(ledger(), "v1\nv2\n");
    fs::create_dir_all(blog.place("data").join("d/".repeat(220))).expect("deep data");
    let refused = world.commis(&["rollback", "blog", "--code-only"]);
    refused.failed(1).says("has more than 200 directories").says("its release command may change data");
    assert_eq!(ledger(), "v1\nv2\n");
    assert_eq!(world.page("blog").body, "newer");
    fs::remove_dir_all(blog.place("data/d")).expect("shallow data");
    world.commis(&["rollback", "blog", "--code-only"]).succeeded();
    assert_eq!(ledger(), "v1\nv2\nv1\n");
}
