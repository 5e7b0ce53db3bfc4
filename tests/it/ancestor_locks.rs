//! What happened elsewhere when two things were done at the same time, and does not happen here. The list is in
//! `ancestor.rs`.

use super::clients::wait_until;
use super::support::rejected::{OLD, live_blog};
use super::support::{Gate, Project, Running, World};

/// There: the second push overwrote what the first one would have gone back to, and the bad commit stayed.
#[test]
fn w09_a_push_that_comes_while_a_bad_one_is_deployed_does_not_change_what_is_gone_back_to() {
    let world = World::new();
    world.admit("jane", &[]);
    let blog = live_blog(&world);
    let good = blog.head();
    let gate = Gate::new();
    let blog = blog.script(".commis/hooks/build", &format!("{}exit 5\n", gate.hook())).commit("bad");
    let bad = blog.starts_pushing("main");
    let waiting = gate.reached();
    blog.git(&["reset", "-q", "--hard", &good]).succeeded();
    let jane = blog.saying("of jane").with_key("jane");
    let mut second = jane.starts_pushing("main");
    second.until("You are next (#3)");
    waiting.opens();
    bad.ended().failed(1).says("(build-failed: ");
    second.ended().succeeded();
    assert_eq!(jane.remote_ref("refs/heads/main"), Some(jane.head()));
    assert_eq!(world.page("blog").body, "of jane");
}

/// There: two pushes of the same instant saw each other and both gave up.
#[test]
fn w10_of_two_pushes_of_the_same_instant_exactly_one_is_deployed() {
    let world = World::new();
    let blog = live_blog(&world);
    let other = world.path("work/other");
    blog.git(&["clone", "-q", ".", &other.display().to_string()]).succeeded();
    for round in 0..3 {
        let copies = [&blog.directory, &other].map(|directory| {
            let copy = Project::at(&world, "blog", directory);
            copy.git(&["fetch", "-q", &copy.url(), "main"]).succeeded();
            copy.git(&["reset", "-q", "--hard", "FETCH_HEAD"]).succeeded();
            let stem = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            copy.saying(&format!("{stem} in round {round}"))
        });
        let running = [copies[0].starts_pushing("main"), copies[1].starts_pushing("main")];
        let codes = running.map(|push| push.ended().code);
        assert!(codes == [0, 1] || codes == [1, 0], "round {round}: {codes:?}");
        let winner = if codes[0] == 0 { &copies[0] } else { &copies[1] };
        assert_eq!(winner.remote_ref("refs/heads/main"), Some(winner.head()));
        assert_eq!(
            world.page("blog").body,
            std::fs::read_to_string(winner.directory.join("page.txt")).expect("a page")
        );
    }
}

/// There: a second branch in the same push, earlier in the alphabet, kept the deploy branch from being deployed.
#[test]
fn w11_a_branch_beside_the_deploy_branch_does_not_keep_it_from_being_deployed() {
    let world = World::new();
    let blog = live_blog(&world);
    blog.push("a-feature").succeeds();
    let blog = blog.saying("both");
    blog.git(&["branch", "-f", "a-feature"]).succeeded();
    blog.push_with(&["--porcelain", &blog.url(), "a-feature", "main"]).succeeds();
    for branch in ["refs/heads/a-feature", "refs/heads/main"] {
        assert_eq!(blog.remote_ref(branch), Some(blog.head()), "{branch}");
    }
    assert_eq!(world.page("blog").body, "both");
}

/// There: whether something ran was looked for in the list of processes, by a part of a word.
#[test]
fn w13_neither_a_longer_name_nor_a_process_that_looks_like_it_makes_a_project_busy() {
    let world = World::new();
    let gate = Gate::new();
    let longer = world.project("blogger").script(".commis/hooks/build", &gate.hook()).saying("longer");
    let longer = longer.starts_pushing("main");
    let waiting = gate.reached();
    let mut looks_like_it = std::process::Command::new("bash")
        .args(["-c", "exec -a 'commis deploy blog git-receive-pack blog proc-receive' sleep 120"])
        .spawn()
        .expect("bash");
    let blog = world.project("blog").saying("shorter");
    let pushed = blog.push_with(&["--porcelain", "-o", "no-wait", &blog.url(), "main"]);
    looks_like_it.kill().expect("a signal");
    let _ = looks_like_it.wait();
    pushed.succeeds();
    assert_eq!(world.page("blog").body, "shorter");
    waiting.opens();
    longer.ended().succeeded();
}

/// There: a marker that an up-to-date push left behind made the next push deploy nothing, with exit 0.
#[test]
fn w14_no_push_leaves_something_behind_that_keeps_the_next_from_being_deployed() {
    let world = World::new();
    let blog = live_blog(&world);
    blog.push_with(&[&blog.url(), "main"]).succeeds().says("Everything up-to-date");
    let blog = blog.saying("second");
    blog.push_with(&["--dry-run", &blog.url(), "main"]).succeeds();
    blog.push_with(&["--porcelain", "-o", "no-wiat", &blog.url(), "main"]).is_rejected("bad-option");
    assert_eq!(world.page("blog").body, OLD);
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "second");
    // On the server itself, in the repository.
    let repository = blog.place("git/project.git").display().to_string();
    let there = "--receive-pack=git -c safe.directory=* receive-pack";
    blog.push_with(&["-q", there, &repository, "HEAD:refs/heads/main"]).succeeds();
    let blog = blog.saying("third");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "third");
}

/// There: what was started by hand, by the clock or by a push knew nothing of each other.
#[test]
fn w15_deployments_by_hand_and_by_push_exclude_each_other() {
    let world = World::new();
    let gate = Gate::new();
    let blog = world.project("blog").script(".commis/hooks/deploy", &gate.hook()).saying(OLD);
    let push = blog.starts_pushing("main");
    gate.reached().opens();
    push.ended().succeeded();
    let by_hand = Running::start(world.commis_command(&["deploy", "blog"]), "deploy blog");
    let waiting = gate.reached();
    let push = blog.saying("pushed").starts_pushing("main");
    wait_until(|| world.commis(&["show", "blog", "3"]).code == 0);
    let back = Running::start(world.commis_command(&["rollback", "blog", "v1", "--code-only"]), "rollback blog");
    wait_until(|| world.commis(&["show", "blog", "4"]).code == 0);
    let says = |number: &str, status: &str| assert_eq!(world.json(&["show", "blog", number])["status"], status);
    assert!(!gate.is_reached(), "two at the same time");
    ["3", "4"].iter().for_each(|number| says(number, "queued"));
    waiting.opens();
    by_hand.ended().succeeded();
    let waiting = gate.reached();
    says("4", "queued");
    waiting.opens();
    push.ended().succeeded();
    gate.reached().opens();
    back.ended().succeeded();
    assert_eq!(world.page("blog").body, OLD);
}

/// What was asked for by hand while a push waited in front would have put the older commit over the newer one.
#[test]
fn w15_a_deployment_by_hand_that_a_push_has_overtaken_is_refused() {
    let world = World::new();
    let gate = Gate::new();
    let blog = live_blog(&world).script(".commis/hooks/deploy", &gate.hook()).saying("pushed");
    let push = blog.starts_pushing("main");
    let waiting = gate.reached();
    let by_hand = Running::start(world.commis_command(&["deploy", "blog"]), "deploy blog");
    wait_until(|| world.commis(&["show", "blog", "3"]).code == 0);
    waiting.opens();
    push.ended().succeeded();
    by_hand.ended().failed(1).says("somebody pushed meanwhile");
    assert_eq!(world.json(&["show", "blog", "3"])["reason_code"], "stale");
    assert_eq!(world.page("blog").body, "pushed");
}
