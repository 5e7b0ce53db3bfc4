//! Scheduled tasks: declared, refused when they cannot be understood, started in their time and by hand, and told of.
//! When something is due is decided in `src/tasks/due.rs`, where the clock is an argument.

use super::bench::lives;
use super::beside::comes_true;
use super::support::{Gate, Project, Running, World};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A project with these tasks.
fn with_tasks<'a>(world: &'a World, tasks: &str) -> Project<'a> {
    let blog = world.project("blog").saying("hello").write(".commis/project.toml", tasks).commit("tasks");
    blog.push("main").succeeds();
    world.settle();
    blog
}

fn task(name: &str, run: &str, more: &str) -> String {
    format!("[[task]]\nname = \"{name}\"\nrun = '''{run}'''\nschedule = \"@yearly\"\n{more}\n")
}

/// The last run of a task.
fn last(world: &World, name: &str) -> Value {
    let list = world.json(&["task", "list", "blog"]);
    let tasks = list["tasks"].as_array().cloned().unwrap_or_default();
    tasks.into_iter().find(|task| task["task"] == name).map_or(Value::Null, |task| task["last"].clone())
}

/// As if nobody had looked at the clock for two years.
fn forget_the_time(world: &World) {
    let database = rusqlite::Connection::open(world.path("state/state.db")).expect("the database");
    database.busy_timeout(std::time::Duration::from_secs(10)).expect("patience");
    let changed = database.execute("UPDATE task_clocks SET reckoned = reckoned - 63072000000", []).expect("an update");
    assert!(changed > 0, "there are clocks");
}

#[test]
fn a_line_that_cannot_be_understood_is_refused_before_any_work() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    let cron = |line: &str| format!("{{\"cron\": [{{\"command\": \"true\", \"schedule\": \"{line}\"}}]}}");
    let blog = blog.write("app.json", &cron("0 0 * * * *")).commit("seconds");
    let refused = blog.push("main");
    refused.is_rejected("bad-config").says("app.json: cron[0].schedule: has 6 fields and not 5; there are no seconds");
    refused.is_silent_about("[1/6]");
    let blog = blog.write("app.json", &cron("@daily")).write(".commis/project.toml", "[[task]]\nname = \"a\"\n");
    blog.commit("half a task").push("main").is_rejected("bad-config").says("task[1].schedule: is missing");
    let zone = task("cron-1", "true", "timezone = \"Europe/Nowhere\"");
    let blog = world.project("blog").write(".commis/project.toml", &zone).commit("zone");
    blog.push("main").is_rejected("bad-config").says("names no time zone: Europe/Nowhere");
    let twice = task("cron-1", "true", "");
    let blog = world.project("blog").write(".commis/project.toml", &twice).commit("twice");
    blog.push("main").is_rejected("bad-config").says("two scheduled tasks have the name cron-1");
    assert_eq!(world.json(&["task", "list", "blog"])["tasks"].as_array().map(Vec::len), Some(0), "v1 has none");
}

#[test]
fn a_task_is_run_by_hand_with_its_lines_its_exit_code_and_a_record() {
    let world = World::new();
    let run = "echo $PS in $COMMIS_RELEASE; echo loud >&2; exit 3";
    with_tasks(&world, &(task("report", run, "timezone = \"Europe/Paris\"") + &task("good", "echo fine", "")));
    let ran = world.commis(&["task", "run", "blog", "report"]);
    ran.failed(3);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("report.1 in v1\n", "loud\n"));
    world.ssh("admin", &["task", "run", "blog", "good"]).succeeded().says("fine");
    let record = last(&world, "report");
    assert_eq!(
        (&record["state"], &record["exit"], &record["cause"], &record["actor"]),
        (&"ended".into(), &3.into(), &"manual".into(), &"root".into())
    );
    let log = world.commis(&["task", "log", "blog", "report"]);
    assert!(log.succeeded().stdout.contains("report.1 in v1\n") && log.stdout.contains("loud\n"), "{log:?}");
    world.commis(&["task", "log", "blog", "report", "1", "--json"]).succeeded().says("{\"line\":\"");
    world.commis(&["task", "log", "blog", "report", "2"]).failed(66).says("no run 2 of report");
    world.commis(&["task", "run", "blog", "nothing"]).failed(66).says("no scheduled task \"nothing\"");
    let told = world.commis(&["task", "run", "blog", "report", "--json"]);
    assert!(told.failed(3).stdout.contains("\"exit\": 3"), "{told:?}");
    world.commis(&["task", "list", "blog"]).succeeded().says("@yearly Europe/Paris").says("exit 0 in").says("next ");
    world.admit("bot", &["--project", "blog", "--only", "release:fetch"]);
    world.ssh("bot", &["task", "run", "blog", "good"]).failed(77).says("may not run commands");
    assert!(world.server_log().contains("a scheduled task failed: exit 3"), "{}", world.server_log());
}

#[test]
fn one_run_of_a_task_goes_on_at_a_time_and_who_leaves_ends_it() {
    let world = World::new();
    with_tasks(
        &world,
        &(task("long", "setsid sleep 95171 & echo up; sleep 95172", "")
            + &task("slow", "sleep 95173", "timeout = \"1s\"")),
    );
    let mut going = Running::start(world.commis_command(&["task", "run", "blog", "long"]), "task run");
    going.until("up");
    world.commis(&["task", "run", "blog", "long"]).failed(75).says("long of blog runs already");
    assert_eq!(last(&world, "long")["state"], "running");
    going.signal(Signal::SIGINT);
    let _ = going.ended();
    comes_true("it was ended", || last(&world, "long")["state"] == "interrupted");
    assert!(!lives("95171") && !lives("95172"));
    world.commis(&["task", "run", "blog", "slow"]).failed(124).says("killed: ran longer than 1 s");
    assert_eq!(last(&world, "slow")["exit"], 124);
    assert!(!lives("95173"));
}

#[test]
fn a_time_that_passed_while_the_server_was_down_is_made_up_for_once_or_left_out() {
    let mut world = World::new();
    let blog = with_tasks(
        &world,
        &(task("run", "echo $PS >> $COMMIS_DATA/ran", "") + &task("skip", "true", "missed = \"skip\"")),
    );
    let ran = blog.place("data").join("ran");
    assert_eq!(last(&world, "run"), Value::Null, "a new task waits for its time");
    assert_eq!(world.stop(), Some(0));
    forget_the_time(&world);
    world.start();
    comes_true("it is made up for", || last(&world, "run")["state"] == "ended");
    let record = last(&world, "run");
    assert_eq!((&record["cause"], &record["exit"]), (&"missed".into(), &0.into()));
    let skipped = last(&world, "skip");
    assert_eq!(skipped["state"], "skipped");
    assert!(skipped["note"].as_str().is_some_and(|note| note.contains("the server was down")), "{skipped}");
    assert_eq!(world.stop(), Some(0));
    world.start();
    world.page_when_up("blog");
    world.settle();
    assert_eq!(std::fs::read_to_string(&ran).expect("a note"), "run.1\n", "once");
}

#[test]
fn what_ran_when_the_server_was_killed_is_marked_and_may_run_again() {
    let mut world = World::new();
    with_tasks(&world, &task("long", "echo up; sleep 95181", ""));
    let mut going = Running::start(world.commis_command(&["task", "run", "blog", "long"]), "task run");
    going.until("up");
    world.kill();
    going.ended().failed(69);
    world.start();
    assert!(!lives("95181"));
    let record = last(&world, "long");
    assert_eq!((&record["state"], &record["note"]), (&"interrupted".into(), &"the server ended while it ran".into()));
    world.page_when_up("blog");
    let mut again = Running::start(world.commis_command(&["task", "run", "blog", "long"]), "task run");
    again.until("up");
    assert_eq!(world.stop(), Some(0));
    again.ended().failed(130);
    world.start();
    assert_eq!(last(&world, "long")["note"], "the server was stopped");
}

#[test]
fn nothing_starts_in_a_switch_and_a_run_that_overlaps_is_ended_when_it_should_be() {
    let world = World::new();
    let tasks = task("kill", "echo up; [ -e ../data/quick ] || sleep 95191", "overlap = \"kill\"");
    let blog = with_tasks(&world, &tasks);
    let going = Running::start(world.commis_command(&["task", "run", "blog", "kill"]), "task run");
    comes_true("it sleeps", || lives("95191"));
    std::fs::write(blog.place("data").join("quick"), "").expect("a file");
    let gate = Gate::new();
    let blog = blog.script(".commis/hooks/post_deploy", &gate.hook()).commit("hook");
    let push = blog.starts_pushing("main");
    let waiting = gate.reached();
    forget_the_time(&world);
    // Any deployment makes the timekeeper look.
    world.project("wiki").saying("x").push("main").succeeds();
    assert_eq!(last(&world, "kill")["cause"], "manual", "nothing new started");
    waiting.opens();
    push.ended().succeeded();
    comes_true("the old one is ended, the new one runs", || {
        let record = last(&world, "kill");
        record["cause"] == "missed" && record["state"] == "ended"
    });
    going.ended().failed(130);
    let record = last(&world, "kill");
    assert!(record["note"].as_str().is_some_and(|note| note.starts_with("waited: ")), "{record}");
    assert!(!lives("95191"));
}

#[test]
fn a_task_comes_in_its_time() {
    let world = World::new();
    let every = task("tick", "date +%S >> ../data/ticks; echo tick", "").replace("@yearly", "* * * * *");
    let blog = with_tasks(&world, &every);
    let ticks = || std::fs::read_to_string(blog.place("data").join("ticks")).unwrap_or_default();
    // A minute is the least that cron can say.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while ticks().is_empty() && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    comes_true("it has a record", || last(&world, "tick")["state"] == "ended");
    let record = last(&world, "tick");
    assert_eq!((&record["cause"], &record["exit"]), (&"schedule".into(), &0.into()), "{record}");
    assert!(record["due_at"].as_str().is_some_and(|due| due.ends_with(":00.000Z")), "{record}");
    world.commis(&["task", "log", "blog", "tick"]).succeeded().says("tick");
}
