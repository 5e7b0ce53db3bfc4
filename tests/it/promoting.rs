//! What staging cooked runs on production, to the byte: nothing is built there, and nothing of a deployment has a network.

use super::support::{Pair, Project, Ran, World};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Tells what of the network it reaches, in a file of the application's data.
const LOOKS: &str = r#"#!/usr/bin/python3
import os, socket
seen = sorted(line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line)
def reaches(make):
    try: make(); return 'yes'
    except OSError: return 'no'
def to_itself():
    here = socket.create_server(('127.0.0.1', 0)); socket.create_connection(here.getsockname(), 2)
def by_path():
    there = socket.socket(socket.AF_UNIX); there.connect(os.environ['COMMIS_DATA'] + '/socket')
machine = reaches(lambda: socket.create_connection(('127.0.0.1', int(open('port').read())), 2))
print('interfaces ' + ' '.join(seen), 'itself ' + reaches(to_itself), 'machine ' + machine, 'path ' + reaches(by_path), sep=', ')
"#;

fn with_hook<'a>(world: &'a World, name: &str) -> Project<'a> {
    let port = world.ssh.to_string();
    world.project(name).write("port", &port).script(".commis/hooks/deploy", LOOKS).saying("one")
}

/// Path and digest of every file below a directory.
fn digests(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry")) {
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            let name = path.strip_prefix(root).expect("inside").display().to_string();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                found.insert(name, format!("-> {}", std::fs::read_link(&path).expect("a link").display()));
            } else {
                found.insert(name, digest(&path));
            }
        }
    }
    found
}

fn digest(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).expect("a file")).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The archive and every file of `run/` are what staging has.
fn is_the_same(pair: &Pair, project: &str, version: &str) {
    let there = pair.archive(&pair.staging, project, version);
    let here = pair.archive(&pair.production, project, version);
    for suffix in ["", ".sha256", ".sig"] {
        let file = |path: &Path| digest(Path::new(&format!("{}{suffix}", path.display())));
        assert_eq!(file(&there), file(&here), "{suffix} of {version}");
    }
    let run = |world: &World| digests(&world.path("srv").join(project).join("run"));
    assert_eq!(run(&pair.staging), run(&pair.production));
}

#[test]
fn what_staging_cooked_runs_on_production_to_the_byte_and_its_scripts_have_no_network() {
    let pair = Pair::of(&["blog"]);
    let blog = with_hook(&pair.staging, "blog");
    let staging = blog.push("main");
    // The control: on staging the very same hook reaches the machine.
    staging.succeeds().says("machine yes");
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    let socket = UnixListener::bind(pair.deployed("blog").join("data/socket")).expect("a socket");
    std::fs::set_permissions(
        pair.deployed("blog").join("data/socket"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .expect("a mode");
    let promoted = pair.production.commis(&["promote", "blog"]);
    promoted.succeeded().says("[1/6] Fetch and verify blog-v1-").says("[2/6] Unpack");
    promoted.says("interfaces lo, itself yes, machine no, path yes");
    drop(socket);
    is_the_same(&pair, "blog", "v1");
    assert_eq!(pair.production.page("blog").body, "one");
    let record = pair.shown(&["show", "blog", "1"]);
    assert_eq!((&record["trigger"], &record["mode"]), (&"promote".into(), &"final".into()), "{record}");
    assert_eq!((&record["release"], &record["commit"]), (&"v1".into(), &blog.head().into()), "{record}");
    let steps: Vec<&str> =
        record["steps"].as_array().expect("steps").iter().filter_map(|s| s["name"].as_str()).collect();
    assert!(
        steps.starts_with(&["look", "prepare-directories", "fetch", "verify-release", "enlarge", "unpack"]),
        "{steps:?}"
    );
    assert!(!steps.iter().any(|step| ["checkout", "compile", "pack"].contains(step)), "{steps:?}");
    // Going back has the hooks of the tree too, and no network either.
    let blog = blog.saying("two");
    blog.push("main").succeeds();
    pair.production.commis(&["promote", "blog"]).succeeded();
    pair.production.commis(&["rollback", "blog", "v1", "--code-only"]).succeeded();
    pair.production.commis(&["log", "blog", "3"]).succeeded().says("interfaces lo, itself yes, machine no");
    let doctor = pair.production.commis(&["doctor"]);
    doctor.says("scripts of a deployment reach a loopback of their own").says("upstream staging");
}

#[test]
fn production_goes_on_by_number_commit_and_json_and_counts_as_staging_does() {
    let pair = Pair::of(&["blog"]);
    let blog = pair.staging.project("blog").saying("one");
    blog.push("main").succeeds();
    let blog = blog.saying("two");
    blog.push("main").succeeds();
    let second = blog.head();
    let shown = pair.staging.commis(&["show", "blog", "2", "--json"]).succeeded().stdout.clone();
    let blog = blog.saying("three");
    blog.push("main").succeeds();
    let promote = |words: &[&str]| pair.production.commis(&[&["promote", "blog", "--from", "staging"], words].concat());
    promote(&["v1"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "one");
    promote(&["--commit", &second[..9]]).succeeded();
    assert_eq!(pair.production.page("blog").body, "two");
    promote(&[]).succeeded();
    assert_eq!(pair.production.page("blog").body, "three");
    is_the_same(&pair, "blog", "v3");
    let from_json = |more: &[&str]| {
        let words = [&["promote", "blog", "--release-file", "-"], more].concat();
        pair.production.commis_with_input(&words, &shown)
    };
    from_json(&[]).failed(1).says("age: v2 is older than v3, which is live");
    from_json(&["--downgrade"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "two");
    // Back and again, without the other server.
    pair.line.breaks_after(1);
    pair.production.commis(&["rollback", "blog", "v1"]).succeeded();
    assert_eq!(pair.production.page("blog").body, "one");
    pair.production.commis(&["config", "set", "blog", "GREETING=today", "--deploy"]).succeeded();
    assert_eq!(pair.shown(&["show", "blog"])["live"], "v1");
}

/// Tells what this machine could build with, and which networks it has.
const LACKS: &str = r#"#!/bin/sh
for tool in gcc cc ld make pip3 npm npx uv 'python3 -m pip' 'python3 -m ensurepip' cargo; do
  if $tool --version > /dev/null 2>&1; then found="$found ($tool)"; fi
done
echo "builds with:${found:- nothing}"
echo "interfaces:" $(tail -n +3 /proc/net/dev | cut -d: -f1)
"#;

#[test]
fn flask_and_express_deploy_on_a_machine_that_can_build_nothing() {
    let pair = Pair::of(&["flask", "express"]);
    let cooked = |name: &str| {
        let project = pair.staging.project(name).app(name).script(".commis/hooks/deploy", LACKS).commit("looks around");
        let pushed = project.push("main");
        // The control: on staging the very same hook finds what builds.
        pushed.succeeds().says("(gcc)").says("(npm)").says("(python3 -m pip)");
    };
    let is_deployed = |name: &str, ran: &Ran| {
        ran.succeeded().says("builds with: nothing").says("interfaces: lo\n");
        assert!(pair.production.page(name).body.contains("first"), "{:?}", pair.production.page(name));
        is_the_same(&pair, name, "v1");
    };
    cooked("flask");
    is_deployed("flask", &pair.production.commis(&["promote", "flask"]));
    cooked("express");
    pair.staging.settle();
    let file = pair.staging.path("express.tar");
    let mut export = pair.staging.commis_command(&["release", "export", "express"]);
    assert!(export.stdout(File::create(&file).expect("a file")).status().expect("an end").success());
    // Not even the server that cooked it can be reached.
    pair.line.breaks_after(1);
    let push = ["release", "push", "express", file.to_str().expect("a path")];
    is_deployed("express", &pair.production.commis(&push));
    // The control: this machine cannot cook what it runs.
    for app in ["express", "flask"] {
        let name = format!("lame-{app}");
        pair.production.commis(&["project", "create", &name, "--mode", "cooking"]).succeeded();
        let project = Project::at(&pair.production, &name, &pair.staging.path("work").join(app));
        project.push("main").is_rejected("build-failed");
    }
}

#[test]
fn todays_pillar_of_this_server_is_what_a_release_runs_with() {
    let pair = Pair::of(&["blog"]);
    let shows = "web: echo \"$GREETING\" > /dev/null; printf '%s %s' \"$GREETING\" \"$DEFAULT\" > $COMMIS_DATA/page; exec python3 server.py\n";
    let blog = pair.staging.project("blog").saying("one").write("Procfile", shows);
    let blog = blog.write(".commis/defaults.yaml", "env:\n  GREETING: default\n  DEFAULT: kept\n").commit("greets");
    pair.staging.commis(&["project", "create", "blog"]).succeeded();
    pair.staging.commis(&["config", "set", "blog", "GREETING=staging"]).succeeded();
    blog.push("main").succeeds();
    pair.production.commis(&["project", "create", "blog"]).succeeded();
    pair.production.commis(&["config", "set", "blog", "GREETING=production"]).succeeded();
    pair.production.commis(&["promote", "blog"]).succeeded();
    let page = |world: &World| std::fs::read_to_string(world.path("srv/blog/data/page")).expect("a page");
    assert_eq!((page(&pair.staging), page(&pair.production)), ("staging kept".into(), "production kept".into()));
    pair.production.commis(&["config", "set", "blog", "GREETING=changed", "--deploy"]).succeeded();
    assert_eq!(page(&pair.production), "changed kept");
}
