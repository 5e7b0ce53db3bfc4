//! Phases and hooks: in order, each as its user, with the documented environment and nothing else.

use super::support::{Project, World};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const HOOKS: [&str; 8] =
    ["pre_install", "configure", "build", "post_build", "bundle", "deploy", "post_deploy", "post_install"];

/// Says who, where and with what it runs.
const REPORT: &str = "#!/bin/bash
echo \"hook=${0##*/} uid=$(id -u) cwd=$PWD umask=$(umask)\"
env | sort | sed 's/^/env /'
";

/// A project whose every hook reports.
fn reporting<'a>(world: &'a World, name: &str) -> Project<'a> {
    let mut project = world.project(name).write("Procfile", "web: python3 -m http.server --bind 127.0.0.1 $PORT\n");
    for hook in HOOKS {
        project = project.script(&format!(".commis/hooks/{hook}"), REPORT);
    }
    project.commit("hooks")
}

/// Of each hook: its line `hook=... uid=...`, and its environment.
fn reports(log: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for line in log.lines().map(str::trim) {
        if line.starts_with("hook=") {
            found.push((line.to_owned(), BTreeMap::new()));
        } else if let (Some((_, env)), Some((name, value))) =
            (found.last_mut(), line.strip_prefix("env ").and_then(|line| line.split_once('=')))
        {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

#[test]
fn hooks_run_in_order_each_as_its_user_in_the_tree_at_work() {
    let world = World::new();
    let blog = reporting(&world, "blog");
    blog.push("main").succeeds();
    let log = world.commis(&["log", "blog", "1"]).succeeded().stdout.clone();
    let order: Vec<String> = reports(&log).iter().map(|(line, _)| line.clone()).collect();
    let run = blog.place("run").display().to_string();
    let build = owner(&blog.place("build"));
    let app = owner(&blog.place("data"));
    assert!(build != app && build != 0 && app != 0);
    for (line, hook) in order.iter().zip(HOOKS) {
        let user = if ["deploy", "post_deploy", "post_install"].contains(&hook) { app } else { build };
        assert!(line.starts_with(&format!("hook={hook} uid={user} cwd={run} ")), "{line} is not {hook}");
    }
    assert_eq!(order.len(), HOOKS.len(), "{log}");
}

fn owner(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).uid()
}

#[test]
fn hooks_know_what_is_documented_and_nothing_of_gits() {
    let world = World::new();
    let blog = reporting(&world, "blog");
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["config", "set", "blog", "GREETING=hello there"]).succeeded();
    blog.push("main").succeeds();
    let log = world.commis(&["log", "blog", "1"]).succeeded().stdout.clone();
    for ((line, env), hook) in reports(&log).iter().zip(HOOKS) {
        let get = |name: &str| env.get(name).map(String::as_str);
        assert_eq!(get("COMMIS_PROJECT"), Some("blog"), "{line}");
        assert_eq!(get("COMMIS_MODE"), Some("cooking"), "{line}");
        assert_eq!(get("COMMIS_PHASE"), Some(hook), "{line}");
        assert_eq!(get("COMMIS_DEPLOYMENT"), Some("1"), "{line}");
        let release = if ["deploy", "post_deploy", "post_install"].contains(&hook) { "v1" } else { "" };
        assert_eq!(get("COMMIS_RELEASE"), Some(release), "{line}");
        for name in ["COMMIS_BUILD", "COMMIS_RUN", "COMMIS_DATA", "COMMIS_COMMON"] {
            let value = get(name).unwrap_or_default();
            // 72 columns may cut long lines of the log.
            assert!(value.starts_with('/'), "{line}: {name}={value}");
        }
        assert!(env.keys().all(|name| !name.starts_with("GIT_")), "{line}: {env:?}");
        assert!(env.keys().all(|name| !name.starts_with("SSH_")), "{line}: {env:?}");
        assert!(get("HOME").is_some_and(|home| home != "/evil"), "{line}");
    }
}

#[test]
fn a_variable_of_the_pillar_reaches_hooks_build_and_application() {
    let world = World::new();
    let show = "#!/bin/sh\necho \"$COMMIS_PHASE sees ${#GREETING} letters\"\n";
    let blog = world
        .project("blog")
        .write(
            "Procfile",
            "web: echo \"$GREETING\" > /tmp/page; cd /tmp; python3 -m http.server --bind 127.0.0.1 $PORT\n",
        )
        .script(".commis/hooks/configure", show)
        .script(".commis/hooks/deploy", show)
        .commit("first");
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["config", "set", "blog", "GREETING=from the pillar"]).succeeded();
    blog.push("main").succeeds().says("configure sees 15 letters").says("deploy sees 15 letters");
    assert_eq!(world.get("blog.commis.test", "/page").body, "from the pillar\n");
}

#[test]
fn a_buildpack_gets_variables_as_files() {
    let world = World::new();
    let own = world
        .project("own")
        .app("inline")
        .script("bin/compile", "#!/bin/sh\nset -eu\nmkdir -p $1/site\ncp $3/GREETING $1/site/index.html\nls -l $3\n")
        .commit("env");
    world.commis(&["project", "create", "own"]).succeeded();
    world.commis_with_input(&["config", "set", "own", "-"], "GREETING=one = two\n").succeeded();
    own.push("main").succeeds();
    assert_eq!(world.page("own").body, "one = two", "no line end is added, all after the first = is the value");
}

#[test]
fn one_hook_changes_the_common_tree_and_the_next_sees_it() {
    let world = World::new();
    let hooks = world.project("hooks").app("hooks");
    hooks.push("main").succeeds();
    assert_eq!(world.page("hooks").body.trim(), "first");
    hooks.push_with(&[&hooks.url(), "HEAD:refs/heads/other"]).succeeds();
    world.commis(&["deploy", "hooks"]).succeeded();
    let written = std::fs::read_to_string(hooks.place("data").join("releases.txt")).expect("what post_deploy wrote");
    assert_eq!(written, "v1\nv2\n", "data survives deployments");
}

#[test]
fn a_common_tree_that_is_no_object_any_more_fails_the_phase() {
    let world = World::new();
    let blog =
        world.project("blog").saying("x").script(".commis/hooks/build", "#!/bin/sh\necho '[' > $COMMIS_COMMON\n");
    blog.commit("broken").push("main").is_rejected("bad-config").says("COMMIS_COMMON");
    let wiki = world.project("wiki").saying("x");
    let link = "#!/bin/sh\nrm $COMMIS_COMMON; ln -s /etc/shadow $COMMIS_COMMON\n";
    wiki.script(".commis/hooks/build", link).commit("link").push("main").is_rejected("bad-config");
}

#[test]
fn scripts_see_no_repository_no_pillar_and_no_other_project() {
    let world = World::new();
    let look = "#!/bin/bash
for place in $COMMIS_RUN/../git $COMMIS_RUN/../pillar $COMMIS_RUN/../releases $COMMIS_RUN/../archives; do
  ls $place >/dev/null 2>&1 && echo \"FOUND $place\"
done
ls -d $COMMIS_RUN/../../wiki/run/* 2>/dev/null && echo FOUND
touch $COMMIS_RUN/../x 2>/dev/null && echo FOUND
touch $COMMIS_RUN/written 2>/dev/null && echo \"$COMMIS_PHASE writes its tree\"
touch $COMMIS_DATA/written 2>/dev/null && echo \"$COMMIS_PHASE writes data\"
sudo -n true 2>/dev/null && echo FOUND
true
";
    world.project("wiki").saying("private").push("main").succeeds();
    let blog = world.project("blog").saying("x").script(".commis/hooks/configure", look);
    let pushed = blog.script(".commis/hooks/deploy", look).commit("look").push("main");
    pushed.succeeds().says("configure writes its tree").says("deploy writes data");
    let said = pushed.0.is_silent_about("FOUND").is_silent_about("configure writes data");
    said.is_silent_about("deploy writes its tree");
}

#[test]
fn an_application_writes_its_data_and_never_its_code() {
    let world = World::new();
    let blog =
        world.project("blog").write("Procfile", "web: python3 server.py\n").write("server.py", WRITES).commit("writes");
    blog.push("main").succeeds();
    let page = world.page("blog");
    assert_eq!(page.body, "code: refused, data: written, root: refused", "{page:?}");
    let run = std::fs::metadata(blog.place("run")).expect("run");
    assert_eq!((run.uid(), run.permissions().mode() & 0o022), (0, 0));
}

/// Tries to write and says how it went.
const WRITES: &str = r#"import http.server, os
def attempt(path):
    try:
        open(path, 'w').close()
        return 'written'
    except OSError:
        return 'refused'
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        env = os.environ
        text = 'code: %s, data: %s, root: %s' % (attempt('server.py'), attempt(env['COMMIS_DATA'] + '/x'), attempt('/x'))
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;

#[test]
fn hooks_alone_are_a_recipe() {
    let world = World::new();
    let page = "#!/bin/sh\nmkdir site\necho made by a hook > site/index.html\n";
    let only = world.project("only").script(".commis/hooks/build", page);
    let only = only.write("Procfile", "web: python3 -m http.server --bind 127.0.0.1 --directory site $PORT\n");
    only.commit("hooks").push("main").succeeds();
    assert_eq!(world.page("only").body, "made by a hook\n");
}

#[test]
fn the_release_line_runs_before_the_switch_and_can_stop_it() {
    let world = World::new();
    let release = "release: echo old page is $(cat $COMMIS_DATA/seen 2>/dev/null); echo done >> $COMMIS_DATA/seen\n";
    let procfile = format!("{release}web: python3 server.py\n");
    let blog = world.project("blog").saying("one").write("Procfile", &procfile).commit("release line");
    blog.push("main").succeeds().says("release command");
    assert_eq!(std::fs::read_to_string(blog.place("data").join("seen")).unwrap_or_default(), "done\n");
    let blog =
        blog.write("Procfile", "release: echo migrating; exit 3\nweb: python3 server.py\n").write("page.txt", "two");
    blog.commit("bad").push("main").is_rejected("release-failed").says("migrating");
    assert_eq!(world.page("blog").body, "one");
    let steps = world.json(&["show", "blog", "2"])["steps"].clone();
    let names: Vec<&str> = steps.as_array().into_iter().flatten().filter_map(|step| step["name"].as_str()).collect();
    assert!(names.contains(&"release-command") && !names.contains(&"exchange"), "{names:?}");
}
