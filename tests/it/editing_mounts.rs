//! `project/` is what the journal says at every start and before every deployment; what is in the way stops with a clear
//! message, and nothing behind a mount is ever lost.

use super::editing::dev;
use super::support::mounts::{bind, mounted_on, umount};
use super::support::{Project, World};
use std::fs;
use std::path::{Path, PathBuf};

/// A world with an edited blog, and where its working copy is.
fn edited() -> (World, PathBuf) {
    let world = dev();
    let directory = {
        let blog = world.project("blog").saying("first");
        blog.push("main").succeeds();
        fs::write(blog.place("project/page.txt"), "edited").expect("an edit");
        blog.directory.clone()
    };
    world.settle();
    (world, directory)
}

fn point(world: &World) -> PathBuf {
    world.path("srv/blog/project")
}

fn trouble(world: &World) -> Option<String> {
    world.page_when_up("blog");
    world.json(&["show", "blog"])["trouble"].as_str().map(str::to_owned)
}

#[test]
fn after_a_reboot_it_is_mounted_before_anything_is_served() {
    let (mut world, _) = edited();
    world.kill();
    umount(&point(&world));
    fs::remove_dir_all(world.path("rt")).expect("what a reboot empties");
    world.start();
    assert_eq!(world.page_when_up("blog").body, "edited");
    assert_eq!(mounted_on(&point(&world)).len(), 1);
    assert_eq!(
        (fs::read_to_string(point(&world).join("page.txt")).expect("a page").as_str(), trouble(&world)),
        ("edited", None)
    );
}

#[test]
fn what_is_mounted_twice_is_mounted_once() {
    let (mut world, _) = edited();
    world.stop();
    bind(&world.path("srv/blog/run"), &point(&world));
    bind(&world.path("srv/blog/run"), &point(&world));
    assert_eq!(mounted_on(&point(&world)).len(), 3);
    world.start();
    assert_eq!((world.page_when_up("blog").body.as_str(), mounted_on(&point(&world)).len()), ("edited", 1));
    // The same before a deployment, while the server lives.
    bind(&world.path("srv/blog/run"), &point(&world));
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!(mounted_on(&point(&world)).len(), 1);
    umount(&point(&world));
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!(mounted_on(&point(&world)).len(), 1);
}

#[test]
fn somebody_elses_mount_stops_deployments_until_it_is_gone() {
    let (mut world, directory) = edited();
    let outside = world.path("work/outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("precious"), "precious").expect("a file");
    world.stop();
    bind(&outside, &point(&world));
    world.start();
    assert_eq!(world.page_when_up("blog").body, "edited", "what is live is served all the same");
    assert!(trouble(&world).is_some_and(|trouble| trouble.contains("something else is mounted on")));
    Project::at(&world, "blog", &directory)
        .saying("second")
        .push("main")
        .is_rejected("needs-admin")
        .says("needs an admin");
    world.commis(&["deploy", "blog"]).failed(75).says("needs an admin");
    world.commis(&["rescue", "blog", "--accept"]).failed(1).says("something else is mounted on").says("umount");
    assert_eq!(fs::read_to_string(outside.join("precious")).expect("the file"), "precious");
    umount(&point(&world));
    world.commis(&["rescue", "blog", "--accept"]).succeeded();
    assert_eq!((trouble(&world), mounted_on(&point(&world)).len()), (None, 1));
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!(world.page("blog").body, "edited");
    // While the server lives: found before anything is done. What looks after a deployment has looked by then.
    world.settle();
    bind(&outside, &point(&world));
    world.commis(&["deploy", "blog"]).failed(1).says("something else is mounted on").says("rescue blog --accept");
    assert!(trouble(&world).is_some());
    umount(&point(&world));
    world.commis(&["rescue", "blog", "--accept"]).succeeded();
}

#[test]
fn a_link_or_files_in_the_place_are_left_alone_and_said() {
    let (mut world, _) = edited();
    let outside = world.path("work/outside");
    fs::create_dir(&outside).expect("a directory");
    world.stop();
    umount(&point(&world));
    fs::remove_dir(point(&world)).expect("the empty directory");
    std::os::unix::fs::symlink(&outside, point(&world)).expect("a link");
    world.start();
    assert!(trouble(&world).is_some_and(|trouble| trouble.contains("is a symbolic link")));
    assert_eq!(mounted_on(&outside), Vec::<String>::new());
    world.stop();
    fs::remove_file(point(&world)).expect("the link");
    fs::create_dir(point(&world)).expect("a directory");
    fs::write(point(&world).join("mine"), "mine").expect("a file");
    world.start();
    assert!(trouble(&world).is_some_and(|trouble| trouble.contains("is not empty")));
    assert_eq!(fs::read_to_string(point(&world).join("mine")).expect("the file"), "mine");
    world.stop();
    fs::remove_file(point(&world).join("mine")).expect("a removal");
    fs::remove_dir(point(&world)).expect("the directory");
    world.start();
    assert_eq!(world.page_when_up("blog").body, "edited");
    assert_eq!(mounted_on(&point(&world)).len(), 1, "a directory that is missing is made");
}

#[test]
fn a_project_in_use_is_not_destroyed_and_one_that_is_destroyed_takes_nothing_along() {
    let (world, _) = edited();
    let outside = world.path("work/outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("precious"), "precious").expect("a file");
    let destroy = || world.commis(&["project", "destroy", "blog", "--confirm", "blog"]);
    // Somebody has a file open there.
    let open = fs::File::open(point(&world).join("page.txt")).expect("a file");
    destroy().failed(75).says("is in use").says("fuser");
    drop(open);
    assert_eq!(world.page("blog").body, "edited", "nothing was stopped");
    // Data that somebody bound into the tree: a removal by names would reach it through either name.
    fs::create_dir(point(&world).join("shared")).expect("a directory");
    let inside: &Path = &world.path("srv/blog/run/shared");
    bind(&outside, inside);
    assert!(inside.join("precious").exists(), "known-bad: it can be reached");
    world.commis(&["deploy", "blog"]).failed(1).says("something is mounted on");
    destroy().succeeded();
    assert_eq!(fs::read_to_string(outside.join("precious")).expect("the file"), "precious");
    assert!(!world.path("srv/blog").exists());
    assert_eq!((mounted_on(&point(&world)), mounted_on(inside)), (Vec::new(), Vec::new()));
}

#[test]
fn a_project_that_comes_back_is_edited_where_it_was() {
    let (world, directory) = edited();
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).succeeded();
    assert_eq!(mounted_on(&point(&world)), Vec::<String>::new());
    world.commis(&["undestroy", "blog"]).succeeded().says("v1 is live again");
    assert_eq!((world.page_when_up("blog").body.as_str(), mounted_on(&point(&world)).len()), ("edited", 1));
    fs::write(point(&world).join("page.txt"), "again").expect("an edit");
    assert_eq!(world.page("blog").body, "again");
    world.commis(&["diff", "blog", "--stat"]).succeeded().says("page.txt");
    world.commis(&["fixperms", "blog"]).succeeded();
    let blog = Project::at(&world, "blog", &directory).write("page.txt", "again").commit("the same");
    blog.push("main").succeeds();
}
