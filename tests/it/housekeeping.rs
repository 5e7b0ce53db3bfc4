//! What the server does by itself, hour after hour; here every second.

use super::support::leftovers::names;
use super::support::{Gate, World};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const EVERY_SECOND: &str = "[housekeeping]\nevery = \"1s\"\n";

/// The record of a round for which this holds.
fn round(world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let round = world.json(&["status"])["housekeeping"].clone();
        if round.is_object() && holds(&round) {
            return round;
        }
        assert!(Instant::now() < until, "{what}: not within a minute; {round:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn texts(round: &Value, key: &str) -> Vec<String> {
    let texts = round[key].as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[test]
fn owners_are_put_right_old_failures_go_and_the_last_round_is_shown() {
    let world = World::with(EVERY_SECOND);
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    let blog = blog.script(".commis/hooks/post_deploy", "#!/bin/sh\nexit 1\n").commit("bad");
    blog.push("main").is_rejected("rolled-back");
    world.settle();
    let failed = blog.place("archives/2.failed");
    assert!(failed.is_dir());
    round(&world, "a round", |_| true);
    assert!(failed.is_dir(), "not old yet");
    let stray = blog.place("data/stray");
    std::fs::write(&stray, "").expect("a file of root's");
    let aged = std::process::Command::new("touch").args(["-d", "8 days ago"]).arg(&failed).status();
    assert!(aged.is_ok_and(|status| status.success()));
    round(&world, "the old failure goes", |_| !failed.exists());
    round(&world, "the owner is right", |_| std::fs::metadata(&stray).is_ok_and(|data| data.uid() != 0));
    world.commis(&["status"]).succeeded().says("housekeeping 2");
    world.commis(&["doctor"]).succeeded().says("1 projects");
    assert_eq!(world.page("blog").body, "first");
}

#[test]
fn a_busy_project_is_left_alone_until_it_is_not() {
    let world = World::with(EVERY_SECOND);
    let gate = Gate::new();
    let blog = world.project("blog").script(".commis/hooks/configure", &gate.hook()).saying("slow");
    let pushing = blog.starts_pushing("main");
    let waiting = gate.reached();
    let seen = round(&world, "blog is busy", |round| texts(round, "busy") == ["blog"]);
    assert_eq!(seen["projects"], 0, "{seen:#}");
    waiting.opens();
    pushing.ended().succeeded();
    round(&world, "blog is looked after", |round| round["projects"] == 1);
    assert_eq!(world.page("blog").body, "slow");
}

#[test]
fn data_near_its_limit_is_warned_about_in_every_place() {
    let world = World::with(EVERY_SECOND);
    let blog = world.project("blog").saying("first");
    blog.push("main").succeeds();
    std::fs::write(blog.place("data/big"), vec![1; 950_000]).expect("data");
    world.commis(&["disk", "limit", "blog", "1000000"]).succeeded();
    let seen = round(&world, "a warning", |round| !texts(round, "warnings").is_empty());
    assert!(texts(&seen, "warnings")[0].contains("blog: data takes 9"), "{seen:#}");
    world.commis(&["doctor"]).says("its limit");
    world.commis(&["disk", "blog"]).succeeded().says("warning: data takes");
    let blog = blog.saying("second");
    blog.push("main").succeeds().says("warning: data takes");
    assert_eq!(names(&blog.place("trash")), Vec::<String>::new());
}
