//! Every verb, as people and scripts say it: answers, `--json`, exit codes, and what happens the second time.

use super::support::{Project, World};

/// The pillar of a project, as a working copy.
fn pillar<'a>(world: &'a World, project: &str) -> Project<'a> {
    let mut pillar = world.project(&format!("{project}-pillar"));
    pillar.name = format!("{project}/pillar");
    pillar
}

#[test]
fn a_key_is_added_once_listed_and_removed() {
    let world = World::new();
    world.make_key("jane");
    let key = world.public_key("jane");
    let add = |name: &str| world.commis_with_input(&["key", "add", name], &key);
    add("jane").succeeded().says("added jane (developer) SHA256:");
    add("jane").succeeded().says("jane is there already");
    add("john").failed(1).says("this key is there already, as jane");
    world.make_key("other");
    world
        .commis_with_input(&["key", "add", "jane"], &world.public_key("other"))
        .failed(1)
        .says("another key named jane");
    let keys = world.json(&["key", "list"]);
    let names: Vec<&str> =
        keys["keys"].as_array().into_iter().flatten().filter_map(|key| key["name"].as_str()).collect();
    assert_eq!(names, ["admin", "jane"]);
    assert_eq!(world.ssh("jane", &["list"]).succeeded().code, 0);
    world.commis(&["key", "remove", "jane"]).succeeded();
    world.commis(&["key", "remove", "jane"]).failed(66).says("no key named jane");
    assert_eq!(world.ssh("jane", &["list"]).code, 255);
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    let world = World::new();
    let add = |text: &str| world.commis_with_input(&["key", "add", "x"], text);
    add("").failed(64).says("no public key on standard input");
    add("hello\n").failed(65);
    add("ssh-ed25519 AAAA x\n").failed(65);
    let private = std::fs::read_to_string(world.path("admin")).expect("the private key");
    add(&private).failed(65).says("private").is_silent_about(private.lines().nth(1).unwrap_or("?"));
    let line = world.public_key("admin");
    world.commis_with_input(&["key", "add", "../x"], &line).failed(64);
    world.commis_with_input(&["key", "add", "x", "--admin", "--project", "blog"], &line).failed(64);
}

#[test]
fn projects_are_created_once_and_destroyed_when_confirmed() {
    let world = World::new();
    world.commis(&["project", "create", "blog"]).succeeded().says("created blog; push to ssh://commis@127.0.0.1:");
    world.commis(&["project", "create", "blog"]).succeeded().says("is there already");
    for bad in ["Blog", "1blog", "a/b", "..", "x_y", "", &"a".repeat(41)] {
        world.commis(&["project", "create", bad]).failed(64);
    }
    world.project("blog").saying("x").push("main").succeeds();
    world.commis(&["project", "destroy", "blog"]).failed(64).says("--confirm blog");
    world.commis(&["project", "destroy", "blog", "--confirm", "wiki"]).failed(64);
    assert_eq!(world.page("blog").body, "x");
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).succeeded().says("destroyed blog");
    assert_eq!(world.page("blog").status, 404);
    assert!(!world.path("srv/blog").exists() && !world.path("log/blog").exists());
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).failed(66);
    // The name is free again, and nothing of the old one is found under it.
    world.commis(&["project", "create", "blog"]).succeeded();
    assert_eq!(world.json(&["show", "blog"])["live"], serde_json::Value::Null);
}

#[test]
fn show_list_status_and_releases_agree() {
    let world = World::new();
    let blog = world.project("blog").saying("x");
    blog.push("main").succeeds();
    world.settle();
    let show = world.json(&["show", "blog"]);
    assert_eq!((show["live"].as_str(), show["mode"].as_str()), (Some("v1"), Some("cooking")), "{show}");
    assert_eq!(show["commit"].as_str(), Some(blog.head().as_str()));
    assert_eq!(show["deployments"][0]["id"], 1);
    assert_eq!(show["processes"][0]["state"], "running");
    assert_eq!(world.json(&["list"])["projects"][0]["live"], "v1");
    assert_eq!(world.json(&["status"])["live"], 1);
    let release = world.json(&["releases", "blog"])["releases"][0].clone();
    assert_eq!((release["live"].as_bool(), release["release"].as_str()), (Some(true), Some("v1")));
    let steps = world.json(&["show", "blog", "1"])["steps"].clone();
    let ended = steps.as_array().into_iter().flatten().all(|step| step["seconds"].as_f64() >= Some(0.0));
    assert!(ended && steps.as_array().is_some_and(|steps| steps.len() > 5), "{steps}");
    for verb in [&["show", "blog"][..], &["show", "blog", "1"], &["list"]] {
        world.commis(verb).succeeded().says("blog");
        world.ssh("admin", verb).succeeded().says("blog");
    }
    world.commis(&["show", "blog", "7"]).failed(66).says("no deployment 7");
    world.commis(&["show", "blgo"]).failed(66).says("did you mean \"blog\"?");
    world.commis(&["log", "blog", "7"]).failed(66);
}

#[test]
fn the_log_of_a_deployment_is_what_the_pusher_saw() {
    let world = World::new();
    let blog = world.project("blog").saying("x");
    let pushed = blog.push("main");
    let log = world.commis(&["log", "blog", "1"]).succeeded().stdout.clone();
    for line in log.lines() {
        pushed.succeeds().says(line.trim_end());
        assert!(line.chars().count() <= 72, "{line}");
    }
    assert_eq!(world.commis(&["log", "blog", "-f"]).succeeded().stdout, log, "a log that is complete ends at once");
    assert_eq!(std::fs::read_to_string(world.path("log/blog/1.log")).unwrap_or_default(), log);
}

#[test]
fn exit_codes_are_those_that_scripts_rely_on() {
    let world = World::new();
    world.commis(&["fly"]).failed(64);
    world.commis(&["show"]).failed(64);
    world.commis(&["show", "blog"]).failed(66);
    world.commis(&["logs", "../etc"]).failed(66);
    world.commis(&["deploy", "blog"]).failed(66);
    world.commis(&["rollback", "blog"]).failed(66);
    world.commis(&["cancel", "blog"]).failed(66);
    world.ssh("admin", &["fly"]).failed(64);
    world.ssh("admin", &["show", "nobody"]).failed(66);
    world.make_key("jane");
    world.commis_with_input(&["key", "add", "jane"], &world.public_key("jane")).succeeded();
    world.ssh("jane", &["project", "create", "x"]).failed(77).says("jane may not");
    world.ssh("jane", &["key", "list"]).failed(77);
    let blog = world.project("blog").saying("x");
    blog.push("main").succeeds();
    world.commis(&["rollback", "blog", "v9"]).failed(66);
    world.commis(&["rollback", "blog", "nine"]).failed(64);
    world.commis(&["rollback", "blog"]).failed(66).says("no earlier release");
    world.commis(&["cancel", "blog"]).succeeded().says("nothing is being deployed");
    world.commis(&["config", "set", "blog", "NOVALUE"]).failed(64);
    world.commis(&["config", "set", "blog", "A-B=1"]).failed(64);
    world.commis(&["--help"]).succeeded().says("rollback");
    world.commis(&["rollback", "--help"]).succeeded().says("commis rollback blog v41");
}

#[test]
fn a_deploy_that_fails_exits_one_and_a_rolled_back_one_three() {
    let world = World::new();
    let flag = "web: test ! -e $COMMIS_DATA/broken && python3 server.py\n";
    let blog = world.project("blog").saying("x").write("Procfile", flag).commit("may break");
    blog.push("main").succeeds();
    std::fs::write(blog.place("data").join("broken"), "").expect("a file");
    world.commis(&["deploy", "blog"]).failed(3).says("blog v1").says("is live again");
    assert_eq!(world.page("blog").body, "x");
    let record = world.json(&["show", "blog", "2"]);
    assert_eq!((record["rolled_back"].as_bool(), record["reason_code"].as_str()), (Some(true), Some("rolled-back")));
    let hook = blog.script(".commis/hooks/build", "#!/bin/sh\nexit 9\n").commit("bad hook");
    hook.push("main").is_rejected("build-failed").says("exit 9");
}

#[test]
fn a_rollback_brings_back_the_release_with_its_environment_even_when_the_pillar_is_broken() {
    let world = World::new();
    let serve = "web: echo \"$GREETING $(cat page.txt)\" > /tmp/index.html; cd /tmp; exec python3 -m http.server --bind 127.0.0.1 $PORT\n";
    let hook = "#!/bin/sh\necho \"deploying $COMMIS_RELEASE with $GREETING\"\n";
    let blog =
        world.project("blog").saying("one").script(".commis/hooks/deploy", hook).write("Procfile", serve).commit("1");
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["config", "set", "blog", "GREETING=hello"]).succeeded();
    blog.push("main").succeeds();
    world.commis(&["config", "set", "blog", "GREETING=goodbye"]).succeeded();
    let blog = blog.write("page.txt", "two").commit("2");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "goodbye two\n");
    let broken = pillar(&world, "blog");
    broken.git(&["pull", "-q", &broken.url(), "main"]).succeeded();
    broken.write("init.yaml", "env: [\n").commit("broken").push("main").succeeds();
    world.commis(&["deploy", "blog"]).failed(65).says("init.yaml");
    world.commis(&["rollback", "blog", "--code-only"]).succeeded().says("deploying v1 with hello");
    assert_eq!(world.page("blog").body, "hello one\n");
    assert_eq!(world.json(&["show", "blog"])["live"], "v1");
    world.commis(&["rollback", "blog", "v2", "--code-only"]).succeeded();
    assert_eq!(world.page("blog").body, "goodbye two\n");
    // A rollback moves no branch: the next push is what the developer expects.
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
}

#[test]
fn configuration_is_a_commit_in_the_pillar_and_takes_effect_with_the_next_deployment() {
    let world = World::new();
    let serve =
        "web: echo \"<$A><$B>\" > /tmp/index.html; cd /tmp; exec python3 -m http.server --bind 127.0.0.1 $PORT\n";
    let blog = world.project("blog").write("Procfile", serve).commit("first");
    blog.push("main").succeeds();
    world.commis(&["config", "set", "blog", "A=1"]).succeeded().says("takes effect with the next deployment");
    world.commis(&["config", "set", "blog", "A=1"]).succeeded().says("already so");
    assert_eq!(world.page("blog").body, "<><>\n");
    world.commis_with_input(&["config", "set", "blog", "-", "--deploy"], "B=from stdin\n").succeeded();
    assert_eq!(world.page("blog").body, "<1><from stdin>\n");
    world.commis(&["config", "show", "blog"]).succeeded().says("A").is_silent_about("from stdin");
    world.commis(&["config", "show", "blog", "--values"]).succeeded().says("B=from stdin");
    assert_eq!(world.json(&["config", "show", "blog", "--values"])["variables"][0]["value"], "1");
    world.commis(&["config", "unset", "blog", "A"]).succeeded();
    world.commis(&["config", "unset", "blog", "A"]).succeeded().says("already so");
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!(world.page("blog").body, "<><from stdin>\n");
    let pillar = pillar(&world, "blog");
    pillar.git(&["pull", "-q", &pillar.url(), "main"]).succeeded();
    pillar.git(&["log", "--format=%s by %an"]).succeeded().says("config set A").says("config unset A");
}

#[test]
fn defaults_of_the_project_lie_under_the_pillar_mappings_merge_and_lists_replace() {
    let world = World::new();
    let show = "#!/usr/bin/env python3\nimport json, os\nprint(json.dumps(json.load(open(os.environ['COMMIS_COMMON']))['pillar'], sort_keys=True))\n";
    let sample = "env:\n  A: sample\n  B: sample\nhosts: [a, b]\ndeep:\n  one: 1\n  two: 2\n";
    let blog = world.project("blog").saying("x").write("PILLAR.sample", sample).script(".commis/hooks/configure", show);
    let blog = blog.commit("defaults");
    world.commis(&["project", "create", "blog"]).succeeded();
    let given = "env:\n  B: pillar\nhosts: [c]\ndeep:\n  two: 22\n";
    pillar(&world, "blog").write("init.sls", given).commit("pillar").push("main").succeeds();
    assert_eq!(world.json(&["show", "blog"])["live"], serde_json::Value::Null, "a pillar alone deploys nothing");
    blog.push("main").succeeds().says("\"deep\": {\"one\": 1, \"two\": 22}").says("\"hosts\": [\"c\"]");
    world.commis(&["config", "show", "blog", "--values"]).succeeded().says("A=sample").says("B=pillar");
}

#[test]
fn heroku_and_dokku_spellings_work() {
    let world = World::new();
    world.commis(&["apps:create", "blog"]).succeeded();
    world.ssh("admin", &["config:set", "-a", "blog", "A=1"]).succeeded();
    world.commis(&["config:show", "blog"]).succeeded().says("A");
    world.commis(&["apps:info", "blog"]).succeeded().says("blog");
    world.commis(&["ps:report", "blog"]).succeeded().says("nothing runs");
    world.commis(&["apps"]).succeeded().says("blog");
    world.commis(&["logs", "--app=blog"]).succeeded();
    world.commis(&["apps:destroy", "blog", "--confirm", "blog"]).succeeded();
}

#[test]
fn doctor_says_what_is_there_and_the_host_key_is_a_line_for_known_hosts() {
    let world = World::new();
    let checks = world.json(&["doctor"])["checks"].clone();
    let found = |name: &str| checks.as_array().into_iter().flatten().find(|check| check["check"] == name).cloned();
    for name in ["git", "free space projects", "sandbox", "limit memory", "python3", "node", "npm", "cargo", "uv"] {
        assert!(found(name).is_some(), "{name} is not in {checks}");
    }
    for name in ["git", "sandbox", "python3"] {
        assert_eq!(found(name).expect("a check")["verdict"], "ok", "{checks}");
    }
    world.commis(&["doctor"]).succeeded().says("Python 3.");
    let line = world.commis(&["hostkey"]).succeeded().stdout.clone();
    assert!(line.starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", world.ssh)), "{line}");
}

#[test]
fn a_project_in_trouble_refuses_pushes_until_a_rescue_has_put_it_right() {
    let world = World::with("[health]\ntimeout = \"2s\"\n");
    let good = "web: test ! -e $COMMIS_DATA/broken || sleep 3600; exec python3 server.py\n";
    let blog =
        world.project("blog").saying("x").write("Procfile", "web: python3 server.py\n").write("server.py", MOODY);
    let blog = blog.write("app.json", HEALTH).write("Procfile", good).commit("moody");
    blog.push("main").succeeds();
    let blog = blog.write("Procfile", "web: touch $COMMIS_DATA/broken; exit 1\n").commit("breaks the data");
    blog.push("main").is_rejected("rollback-failed").says("ROLLBACK FAILED");
    assert!(world.json(&["show", "blog"])["trouble"].is_string());
    assert_eq!(world.json(&["status"])["need_admin"], 1);
    world.commis(&["doctor"]).succeeded().says("project blog");
    blog.push("main").is_rejected("needs-admin").says("commis rescue blog shows");
    for words in [&["deploy", "blog"][..], &["rollback", "blog"]] {
        world.commis(words).failed(75).says("needs an admin first");
    }
    std::fs::remove_file(blog.place("data").join("broken")).expect("what was broken");
    world.commis(&["rescue", "blog"]).succeeded().says("rescue blog --old");
    world.commis(&["rescue", "blog", "--old"]).succeeded();
    assert!(world.json(&["show", "blog"])["trouble"].is_null());
    assert_eq!(world.page("blog").status, 200);
}

const HEALTH: &str = r#"{ "healthchecks": { "web": [{ "type": "startup", "path": "/" }] } }"#;

/// Answers 500 as long as its data is broken.
const MOODY: &str = r#"import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(os.environ['COMMIS_DATA'] + '/broken') else 200)
        self.send_header('Content-Length', '0')
        self.end_headers()
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;

#[test]
fn every_verb_answers_in_json() {
    let world = World::new();
    let blog = world.project("blog").saying("x").write("Procfile", "web: echo hello; python3 server.py\n").commit("x");
    blog.push("main").succeeds();
    for words in [
        &["key", "list"][..],
        &["project", "create", "wiki"],
        &["project", "list"],
        &["list"],
        &["show", "blog"],
        &["show", "blog", "1"],
        &["releases", "blog"],
        &["deploy", "blog"],
        &["rollback", "blog", "v1"],
        &["cancel", "blog"],
        &["config", "set", "blog", "A=1"],
        &["config", "show", "blog"],
        &["config", "unset", "blog", "A"],
        &["config", "check"],
        &["hostkey"],
        &["doctor"],
        &["status"],
        &["task", "list", "blog"],
        &["project", "destroy", "wiki", "--confirm", "wiki"],
    ] {
        assert!(world.json(words).is_object(), "{words:?}");
    }
    for words in [&["log", "blog", "1", "--json"][..], &["logs", "blog", "--json"]] {
        let lines = world.commis(words).succeeded().stdout.clone();
        assert!(!lines.is_empty(), "{words:?}");
        for line in lines.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|v| v.is_object()), "{words:?}: {line}");
        }
    }
    let failed = world.commis(&["show", "nobody", "--json"]);
    let failure: serde_json::Value = serde_json::from_str(&failed.failed(66).stdout).expect("a failure in JSON");
    assert_eq!(failure["error"]["code"], "not-found", "{failure}");
}

#[test]
fn a_running_deployment_is_followed_and_cancelled_and_nothing_changes() {
    let world = World::new();
    let blog = world.project("blog").saying("one");
    blog.push("main").succeeds();
    let slow = blog.script(".commis/hooks/configure", "#!/bin/sh\necho waiting\nsleep 600\n").write("page.txt", "two");
    let slow = slow.commit("slow");
    let url = slow.url();
    let mut push = slow.git_command(&["push", "--porcelain", &url, "HEAD:refs/heads/main"]);
    let push = push.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().expect("git");
    let mut follow = std::process::Command::new(env!("CARGO_BIN_EXE_commis"));
    let mut follow = follow.args(["log", "blog", "2", "-f"]).env("COMMIS_CONFIG", world.config());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while world.commis(&["log", "blog", "2"]).code != 0 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    follow = follow.stdout(std::process::Stdio::piped());
    let mut follower = follow.spawn().expect("commis log -f");
    let lines = std::io::BufReader::new(follower.stdout.take().expect("stdout"));
    let mut lines = std::io::BufRead::lines(lines).map_while(Result::ok);
    assert!(lines.any(|line| line.trim() == "waiting"));
    world.commis(&["project", "destroy", "blog", "--confirm", "blog"]).failed(75).says("being deployed");
    world.commis(&["cancel", "blog"]).succeeded().says("cancelled blog #2");
    assert!(lines.any(|line| line.contains("cancelled")), "the follower hears it and ends");
    assert!(follower.wait().is_ok_and(|status| status.success()));
    let pushed = push.wait_with_output().expect("git");
    assert_eq!(pushed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&pushed.stdout).contains("(cancelled: "), "{pushed:?}");
    assert_eq!(world.page("blog").body, "one");
    assert_eq!(world.json(&["show", "blog", "2"])["reason_code"], "cancelled");
    push_again(&world, &slow);
}

/// The queue is free again.
fn push_again(world: &World, slow: &Project<'_>) {
    std::fs::remove_file(slow.directory.join(".commis/hooks/configure")).expect("the slow hook");
    slow.git(&["commit", "-qam", "quick"]).succeeded();
    slow.push("main").succeeds();
    assert_eq!(world.page("blog").body, "two");
}

#[test]
fn secrets_travel_over_ssh_by_standard_input() {
    let world = World::new();
    world.project("blog").saying("x").push("main").succeeds();
    let mut command = std::process::Command::new("ssh");
    command.args(world.ssh_options("admin")).args(["-p", &world.ssh.to_string(), "commis@127.0.0.1"]);
    command.args(["config", "set", "blog", "-"]);
    super::support::world::run(command, "TOKEN=hush\n", "ssh config set").succeeded().is_silent_about("hush");
    world.commis(&["config", "show", "blog", "--values"]).succeeded().says("TOKEN=hush");
    assert!(!world.server_log().contains("hush"));
}
