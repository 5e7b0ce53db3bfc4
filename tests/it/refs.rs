//! Pushes of one ref and of many: each has its own verdict, and only the deploy branch deploys.

use super::support::World;

#[test]
fn an_unknown_push_option_is_refused_with_a_suggestion() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    let pushed = |option: &str| blog.push_with(&["--porcelain", "-o", option, &blog.url(), "main"]);
    pushed("no-wiat").is_rejected("bad-option").says("did you mean \"no-wait\"?").says("live=none; deploy=none");
    pushed("a=1;deploy_user=root").is_rejected("bad-option").says("understood: no-wait");
    let hostile = pushed("x\x1b[2J\u{202e}y");
    hostile.is_rejected("bad-option");
    hostile.0.is_silent_about("\x1b").is_silent_about("\u{202e}");
    assert_eq!(blog.remote_ref("refs/heads/main"), None);
    pushed("no-wait").succeeds();
}

#[test]
fn each_ref_of_a_push_has_its_own_verdict() {
    let world = World::new();
    let blog = world.project("blog").saying("good");
    blog.git(&["branch", "feature"]).succeeded();
    blog.git(&["tag", "v1.0"]).succeeded();
    blog.git(&["notes", "--ref=deploys", "add", "-m", "a note"]).succeeded();
    blog.git(&["branch", "a'b"]).succeeded();
    let blog = blog.write("Procfile", "no colon\n").commit("bad");
    let pushed = blog.push_with(&["--porcelain", &blog.url(), "main", "feature", "v1.0", "refs/notes/deploys", "a'b"]);
    pushed.is_rejected("bad-config").is_rejected("refused").says("hint: stored; only main deploys here");
    assert_eq!(blog.remote_ref("refs/heads/main"), None);
    for name in ["refs/heads/feature", "refs/tags/v1.0", "refs/notes/deploys"] {
        assert!(blog.remote_ref(name).is_some(), "{name}");
    }
    assert_eq!(blog.remote_ref("refs/heads/a'b"), None);
}

#[test]
fn an_atomic_push_moves_all_refs_or_none() {
    let world = World::new();
    let blog = world.project("blog").saying("good");
    blog.git(&["branch", "feature"]).succeeded();
    let atomic = |refs: &[&str]| {
        let words: Vec<String> =
            ["--porcelain", "--atomic"].iter().map(ToString::to_string).chain([blog.url()]).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(refs.iter().copied()).collect();
        blog.push_with(&words)
    };
    atomic(&["main", "feature"]).succeeds().says("v1 is live");
    let (good, feature) = (blog.head(), blog.remote_ref("refs/heads/feature"));
    assert_eq!(feature, Some(good.clone()));
    // The deployment fails: the feature branch stays where it is, and so does a new tag.
    blog.git(&["tag", "v2"]).succeeded();
    let bad = blog.write("Procfile", "no colon\n").commit("bad");
    bad.git(&["branch", "-f", "feature"]).succeeded();
    let pushed = bad.push_with(&["--porcelain", "--atomic", &bad.url(), "main", "feature", "v2"]);
    pushed.is_rejected("bad-config").is_rejected("refused").says("another ref of this atomic push");
    assert_eq!(bad.remote_ref("refs/heads/main"), Some(good.clone()));
    assert_eq!(bad.remote_ref("refs/heads/feature"), Some(good.clone()));
    assert_eq!(bad.remote_ref("refs/tags/v2"), None);
    // A name that is not taken: nothing is deployed.
    let better = bad.saying("better");
    better.git(&["branch", "a'b"]).succeeded();
    better.push_with(&["--porcelain", "--atomic", &better.url(), "main", "a'b"]).is_rejected("refused");
    assert_eq!(better.remote_ref("refs/heads/main"), Some(good));
    assert_eq!(world.page("blog").body, "good");
    // The control: without --atomic the good ones move.
    better.push_with(&[&better.url(), "main", "v2"]).succeeds();
    assert_eq!(better.remote_ref("refs/heads/main"), Some(better.head()));
}

#[test]
fn the_deploy_branch_cannot_be_deleted_and_others_can() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push_with(&[&blog.url(), "main", "main:refs/heads/old"]).succeeds();
    blog.push_with(&["--porcelain", &blog.url(), ":refs/heads/main"]).is_rejected("refused").says("cannot be deleted");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
    blog.push_with(&[&blog.url(), ":refs/heads/old"]).succeeds().0.is_silent_about("stored");
    assert_eq!(blog.remote_ref("refs/heads/old"), None);
}

#[test]
fn a_forced_push_goes_back_in_history() {
    let world = World::new();
    let blog = world.project("blog").saying("one");
    let first = blog.head();
    blog.push("main").succeeds();
    let blog = blog.saying("two");
    blog.push("main").succeeds();
    let back = format!("{first}:refs/heads/main");
    blog.push_with(&[&blog.url(), &back]).0.failed(1).says("non-fast-forward");
    blog.push_with(&["--force", &blog.url(), &back]).succeeds().says("v2 -> v3");
    assert_eq!(world.page("blog").body, "one");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(first));
}

#[test]
fn a_first_push_to_master_deploys_and_a_clone_checks_it_out() {
    let world = World::new();
    let blog = world.project("blog").saying("on master");
    blog.push("master").succeeds().says("blog v1 is live");
    blog.git(&["clone", "-q", &blog.url(), "../copy"]).succeeded();
    assert_eq!(std::fs::read_to_string(world.path("work/copy/page.txt")).expect("a page"), "on master");
    // A later main does not take its place, now or with the push after it.
    let blog = blog.saying("on main");
    blog.push("main").succeeds().says("only master deploys here");
    let blog = blog.saying("on main again");
    blog.push("main").succeeds().says("only master deploys here");
    assert_eq!(world.page("blog").body, "on master");
    blog.push("master").succeeds().says("blog v2 is live");
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!(world.page("blog").body, "on main again");
}

#[test]
fn of_main_and_master_in_one_push_main_deploys() {
    let world = World::new();
    let blog = world.project("blog").saying("both");
    blog.push_with(&[&blog.url(), "main", "main:refs/heads/master"]).succeeds().says("only main deploys here");
    assert_eq!(world.json(&["show", "blog", "1"])["status"], "success");
    world.commis(&["show", "blog", "2"]).failed(66);
}

#[test]
fn a_detached_head_is_pushed_to_the_full_name() {
    let world = World::new();
    let blog = world.project("blog").saying("as a build server does");
    blog.git(&["checkout", "-q", "--detach"]).succeeded();
    blog.push_with(&[&blog.url(), "HEAD:refs/heads/main"]).succeeds();
    assert_eq!(world.page("blog").body, "as a build server does");
}

#[test]
fn a_feature_branch_alone_is_stored_and_says_what_would_deploy() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("feature").succeeds().says("hint: stored, nothing deployed: main or master deploys here");
    blog.push("feature").succeeds();
    assert_eq!(blog.remote_ref("refs/heads/feature"), Some(blog.head()));
    world.commis(&["deploy", "blog"]).failed(66).says("no commit to deploy");
    for odd in ["refs/tags/main", "refs/heads/main/x", "refs/notes/main"] {
        let _ = blog.push_with(&[&blog.url(), &format!("HEAD:{odd}")]);
    }
    world.commis(&["show", "blog", "1"]).failed(66);
}

#[test]
fn a_push_of_nothing_new_succeeds_and_deploys_nothing() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    blog.push_with(&[&blog.url(), "main"]).succeeds().says("Everything up-to-date");
    world.commis(&["show", "blog", "2"]).failed(66);
}

#[test]
fn two_hundred_refs_are_stored_in_one_push() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    for n in 0..200 {
        blog.git(&["tag", &format!("v{n}")]).succeeded();
    }
    blog.push_with(&[&blog.url(), "main", "--tags"]).succeeds().says("is live");
    let listed = blog.git(&["ls-remote", &blog.url(), "refs/tags/*"]);
    assert_eq!(listed.succeeded().stdout.lines().count(), 200);
}

#[test]
fn more_refs_than_allowed_are_refused_as_a_whole() {
    let world = World::with("[git]\nmax_refs = 3\n");
    let blog = world.project("blog").saying("hello");
    let many = |count: usize| {
        let refs: Vec<String> = (0..count).map(|n| format!("main:refs/heads/b{n}")).collect();
        let url = blog.url();
        let words: Vec<&str> = ["--porcelain", &url].into_iter().chain(refs.iter().map(String::as_str)).collect();
        blog.push_with(&words)
    };
    many(4).is_rejected("refused").says("at most 3");
    assert_eq!(blog.remote_ref("refs/heads/b0"), None);
    many(3).succeeds();
}

#[test]
fn a_pillar_push_deploys_nothing_and_the_next_deployment_uses_it() {
    let world = World::new();
    let blog = world.project("blog").write("Procfile", "web: exec python3 server.py\n").saying("x");
    let blog = blog.script(".commis/hooks/build", "#!/bin/sh\necho \"$GREETING\" > page.txt\n").commit("page");
    let pillar =
        world.project("blog-pillar").write("init.yaml", "env:\n  GREETING: from the pillar\n").commit("pillar");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "\n");
    pillar
        .push_with(&[&blog.pillar_url(), "HEAD:refs/heads/main"])
        .succeeds()
        .says("next deployment")
        .0
        .is_silent_about("-----> ");
    assert_eq!(world.page("blog").body, "\n");
    world.commis(&["show", "blog", "2"]).failed(66);
    world.commis(&["deploy", "blog"]).succeeded();
    assert_eq!(world.page("blog").body, "from the pillar\n");
}

#[test]
fn what_a_rejected_push_left_in_the_repository_does_no_harm() {
    let world = World::new();
    let blog = world.project("blog").saying("good");
    blog.push("main").succeeds();
    let good = blog.head();
    let bad = blog.write("Procfile", "no colon\n").commit("bad");
    bad.push("main").is_rejected("bad-config");
    let repository = bad.place("git/project.git").display().to_string();
    for words in [&["fsck", "--full", "--strict"][..], &["gc", "-q", "--prune=now"], &["fsck", "--full", "--strict"]] {
        let words: Vec<&str> =
            ["-c", "safe.directory=*", "--git-dir", &repository].iter().chain(words).copied().collect();
        bad.git(&words).succeeded();
    }
    assert_eq!(bad.remote_ref("refs/heads/main"), Some(good));
    bad.push("main").is_rejected("bad-config");
    bad.saying("better").push("main").succeeds();
}

#[test]
fn the_reason_of_a_rejection_is_short_and_printable() {
    let world = World::new();
    let long = format!("#!/bin/sh\necho '{}' >&2\nexit 3\n", "x".repeat(5000));
    let blog = world.project("blog").saying("x").script(".commis/hooks/build", &long).commit("b\x1b[2Jad\u{202e}");
    let pushed = blog.push("main");
    pushed.is_rejected("build-failed").says("exit 3").says("live=none; deploy=1");
    let reason = pushed.0.stdout.lines().find(|line| line.contains("build-failed")).expect("a reason").to_owned();
    assert!(reason.len() < 400 && !reason.contains(char::is_control) | reason.contains('\t'), "{reason}");
    pushed.0.is_silent_about("\x1b").is_silent_about("\u{202e}");
}
