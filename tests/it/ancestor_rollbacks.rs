//! Half rollbacks and lost work elsewhere, and what holds here instead. The list is in `ancestor.rs`.

use super::ancestor::may_break;
use super::support::leftovers::names;
use super::support::rejected::{OLD, lines_of, live_blog};
use super::support::{World, picture};

/// There: the copy was made by root and taken back by another user, who was not let in: nothing was put back.
#[test]
fn w16_what_is_put_back_is_the_same_to_the_last_byte_and_owner() {
    let world = World::new();
    let blog = live_blog(&world).script("tool", "#!/bin/sh\n").write("deep/er/file", "x").commit("more");
    blog.push("main").succeeds();
    world.settle();
    let before = picture(&blog.place("run"));
    let fails = "#!/bin/sh\ntouch $COMMIS_DATA/by-the-application\nexit 8\n";
    let blog = blog.remove("deep/er/file").script(".commis/hooks/post_deploy", fails).saying("new");
    blog.push("main").is_rejected("rolled-back");
    world.settle();
    assert_eq!(picture(&blog.place("run")), before);
    let kept = picture(&blog.place("archives/3.failed/run"));
    assert!(kept.iter().any(|line| line.starts_with("page.txt 644 0:0 ")), "{kept:?}");
}

/// There: the tree to go back to was written down once, years ago.
#[test]
fn w17_a_failure_goes_back_to_what_was_live_right_before_it() {
    let world = World::new();
    let mut blog = live_blog(&world);
    for text in ["second", "third"] {
        blog = blog.saying(text);
        blog.push("main").succeeds();
        blog = blog.write("Procfile", "web: exit 1\n").commit("bad");
        blog.push("main").is_rejected("rolled-back");
        assert_eq!(world.page("blog").body, text);
    }
    world.commis(&["rollback", "blog", "v1"]).succeeded();
    blog.push("main").is_rejected("rolled-back").says("Rolling back to v1");
    assert_eq!(world.page("blog").body, OLD);
}

/// There: what failed by hand was undone in the tree and not on the branch, so the next push brought it again.
#[test]
fn w20_a_deployment_by_hand_that_fails_changes_nothing_for_the_next_push() {
    let world = World::new();
    let blog = may_break(&world);
    let good = blog.head();
    std::fs::write(blog.place("data").join("broken"), "").expect("a file");
    world.commis(&["deploy", "blog"]).failed(3);
    std::fs::remove_file(blog.place("data").join("broken")).expect("a file");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(good));
    assert_eq!(world.json(&["show", "blog"])["live"], "v1");
    let blog = blog.write("page.txt", "next").commit("next");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "next");
}

/// There: the log lay in the tree that was put back, so its end, with the error in it, was lost.
#[test]
fn w21_the_log_of_what_was_undone_is_whole_and_lies_outside_of_what_is_put_back() {
    let world = World::new();
    let blog =
        live_blog(&world).script(".commis/hooks/post_deploy", "#!/bin/sh\necho the reason\nexit 8\n").commit("x");
    let pushed = blog.push("main");
    let seen = lines_of(pushed.is_rejected("rolled-back")).join("\n");
    let log = world.commis(&["log", "blog", "2"]).succeeded().stdout.clone();
    for text in ["the reason", "error: ", "Rolling back to v1", "is live again"] {
        assert!(log.contains(text) && seen.contains(text), "{text:?} not in {log} or {seen}");
    }
    assert!(log.lines().count() >= seen.lines().count(), "{log}\n{seen}");
    let run = picture(&blog.place("run"));
    assert!(run.iter().all(|line| !line.contains("the reason")), "{run:?}");
}

/// There: what somebody had changed on the server was overwritten by the next deployment without a word.
#[test]
fn w22_what_somebody_changed_on_the_server_is_not_lost() {
    let world = World::new();
    let blog = live_blog(&world);
    world.settle();
    std::fs::write(blog.place("run/page.txt"), "edited on the server").expect("an edit");
    let blog = blog.saying("pushed");
    blog.push("main").succeeds();
    world.settle();
    assert_eq!(world.page("blog").body, "pushed");
    let kept = std::fs::read_to_string(blog.place("archives/2/run/page.txt")).expect("what was there");
    assert_eq!(kept, "edited on the server");
}

/// There: every deployment left a full copy, and those of failures were never removed.
#[test]
fn w23_copies_of_what_was_live_do_not_pile_up() {
    let world = World::with("[releases]\nkeep = 2\n[backups]\nkeep = 1\n[archives]\nfailed_days = 0\n");
    let mut blog = live_blog(&world);
    for text in ["two", "three", "four", "five"] {
        blog = blog.saying(text);
        blog.push("main").succeeds();
        blog = blog.write("Procfile", "web: exit 1\n").commit("bad");
        blog.push("main").is_rejected("rolled-back");
    }
    world.settle();
    let kept = names(&blog.place("archives"));
    // The newest may still be looked at: what is too old goes with the next deployment.
    assert!(kept.iter().filter(|name| name.ends_with(".failed")).count() <= 2 && kept.len() <= 4, "{kept:?}");
}
