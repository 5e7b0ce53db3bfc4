//! Twenty-eight ways in which an older system of this kind let its users down, each with the test that it is not so
//! here: `w01_…` to `w28_…` in `ancestor*.rs`, or an older journey that the table below names.
//!
//! This file: what was reported wrongly or not at all, and the table. Locks and races are in `ancestor_locks.rs`, half
//! rollbacks in `ancestor_rollbacks.rs`, rights and secrets in `ancestor_rights.rs`.

use super::support::rejected::{OLD, live_blog};
use super::support::{Gate, Project, World};
use std::collections::BTreeSet;
use std::path::Path;

/// Journeys that prove a point on their own, or more of it than the short test here: (number, file and test).
const ELSEWHERE: &[(u8, &str, &str)] = &[
    (1, "rejecting_builds", "the_exit_code_of_a_build_is_told_and_its_output_shown_once"),
    (2, "queueing", "what_a_build_prints_can_neither_forge_a_verdict_nor_reach_the_terminal"),
    (3, "queueing", "ctrl_c_before_the_switch_cancels"),
    (3, "queueing", "ctrl_c_after_the_switch_only_detaches"),
    (4, "editing", "phases_and_hooks_run_without_a_push_and_a_run_of_nothing_is_an_error"),
    (5, "refs", "a_pillar_push_deploys_nothing_and_the_next_deployment_uses_it"),
    // Files that must be there and are not.
    (8, "rejecting", "a_tree_without_a_recipe_is_told_what_was_looked_for"),
    (8, "rejecting", "a_tree_without_files_is_refused"),
    (9, "queueing", "a_second_push_waits_and_says_behind_whom"),
    (10, "queueing", "ten_projects_are_pushed_at_once"),
    (11, "refs", "each_ref_of_a_push_has_its_own_verdict"),
    // A time-out that killed the messenger and not the work.
    (12, "rejecting_builds", "a_build_that_takes_too_long_is_ended_with_everything_it_started"),
    (12, "job_ends", "a_timeout_kills_what_has_escaped_too"),
    // After a commit on the server the next push is deployed.
    (14, "editing", "edits_are_shown_committed_and_pulled"),
    (16, "rejecting_builds", "a_hook_that_fails_after_the_switch_puts_the_old_version_back"),
    // Services that stayed down, or under maintenance, after the code was back.
    (18, "shapes", "of_several_processes_a_bad_one_fails_the_deployment_and_all_old_ones_serve_on"),
    (18, "shapes", "an_update_that_fails_half_way_leaves_content_uploads_and_the_closed_door_as_they_were"),
    // A dump that nobody read again, put into the checkout instead.
    (19, "shapes_database", "a_migration_that_fails_after_another_one_is_undone_with_rows_tables_and_receipts"),
    (20, "editing_builds", "a_version_that_is_not_well_is_taken_back_with_its_files"),
    (21, "queueing", "the_log_is_what_the_pusher_saw_byte_for_byte_and_without_secrets"),
    (22, "editing", "a_push_that_would_lose_edits_is_refused_with_their_list"),
    (23, "rejecting_when_full", "a_push_that_would_not_fit_is_refused_before_any_work"),
    (23, "running", "as_many_releases_are_kept_as_the_configuration_says"),
    (24, "hooks", "hooks_run_in_order_each_as_its_user_in_the_tree_at_work"),
    (24, "sandboxing", "a_job_has_no_powers_and_no_way_to_any"),
    (25, "running", "run_is_exactly_the_release"),
    (26, "clients", "hostile_command_lines_start_no_program"),
    (26, "serving", "a_host_key_that_is_gone_is_an_error_and_never_a_new_one"),
    // Projects of one machine that only their user numbers kept apart.
    (28, "hooks", "scripts_see_no_repository_no_pillar_and_no_other_project"),
    (28, "sandboxing", "tmp_is_the_jobs_own"),
];

/// The numbers that a list of tests and a table prove, and the rows of the table that name no test.
fn proved(sources: &[(String, String)], elsewhere: &[(u8, &str, &str)]) -> (BTreeSet<u8>, Vec<String>) {
    let is_test = |file: &str, name: &str| {
        let declared = format!("#[test]\nfn {name}() {{");
        let in_async = format!("async fn {name}() {{");
        let text = sources.iter().find(|(stem, _)| stem == file).map(|(_, text)| text.as_str()).unwrap_or_default();
        text.contains(&declared) || (text.contains("#[tokio::test") && text.contains(&in_async))
    };
    type Row<'a> = &'a (u8, &'a str, &'a str);
    let (found, lost): (Vec<Row<'_>>, Vec<Row<'_>>) = elsewhere.iter().partition(|(_, file, name)| is_test(file, name));
    let mut numbers: BTreeSet<u8> = found.iter().map(|(number, ..)| *number).collect();
    for (_, text) in sources.iter().filter(|(stem, _)| stem.starts_with("ancestor")) {
        let names = text.split("#[test]\nfn w").skip(1);
        numbers.extend(names.filter_map(|name| name.split('_').next()?.parse::<u8>().ok()));
    }
    (numbers, lost.iter().map(|(number, file, name)| format!("{number}: {file}::{name}")).collect())
}

fn journeys() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let entries = std::fs::read_dir(directory).expect("tests/it").flatten().map(|entry| entry.path());
    let rust = entries.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    rust.map(|path| (stem(&path), std::fs::read_to_string(&path).unwrap_or_default())).collect()
}

#[test]
fn each_of_the_twenty_eight_has_a_test_that_exists() {
    let (numbers, lost) = proved(&journeys(), ELSEWHERE);
    assert_eq!(lost, Vec::<String>::new(), "the table names tests that are not there");
    let open: Vec<u8> = (1..=28).filter(|number| !numbers.contains(number)).collect();
    assert_eq!(open, Vec::<u8>::new(), "no test for these");
    // The check itself: a test that was renamed, one that is no test, a number that nobody proves.
    let sources = [("ancestor".to_owned(), "#[test]\nfn w07_x() {}\nfn w08_y() {}\n".to_owned())];
    let (numbers, lost) = proved(&sources, &[(1, "ancestor", "w08_y"), (2, "gone", "w07_x"), (3, "ancestor", "w07_x")]);
    assert_eq!(numbers, BTreeSet::from([3, 7]));
    assert_eq!(lost, ["1: ancestor::w08_y", "2: gone::w07_x"]);
}

/// There: the push exited 0, and the pusher's origin/main pointed at a commit that the server had refused.
#[test]
fn w01_a_failing_deployment_rejects_the_push_and_the_pusher_does_not_believe_it() {
    let world = World::new();
    let blog = live_blog(&world);
    let good = blog.head();
    blog.git(&["remote", "add", "origin", &blog.url()]).succeeded();
    blog.git(&["fetch", "-q", "origin"]).succeeded();
    let blog = blog.script(".commis/hooks/build", "#!/bin/sh\nexit 3\n").commit("bad");
    blog.push_with(&["--porcelain", "origin", "main"]).is_rejected("build-failed");
    let believed = blog.git(&["rev-parse", "refs/remotes/origin/main"]).succeeded().stdout.trim().to_owned();
    assert_eq!((Some(believed.clone()), believed), (blog.remote_ref("refs/heads/main"), good));
    assert_eq!(world.page("blog").body, OLD);
}

/// There: output that was not text of the right kind failed a deployment whose work was done.
#[test]
fn w02_bytes_that_are_no_text_fail_nothing() {
    let world = World::new();
    let bytes = "#!/bin/bash\nprintf 'caf\\351 \\377\\376\\000\\303\\050 end\\n'; printf 'no line end' >&2\n";
    let mut blog = world.project("blog");
    for hook in ["build", "deploy", "post_deploy"] {
        blog = blog.script(&format!(".commis/hooks/{hook}"), bytes);
    }
    let blog = blog.saying("all the same");
    blog.push("main").succeeds().says("no line end");
    assert_eq!(world.page("blog").body, "all the same");
    assert_eq!(world.json(&["show", "blog", "1"])["status"], "success");
}

/// There: Ctrl-C said "goes on in the background" with exit 0, and what failed afterwards stayed on the branch.
#[test]
fn w03_who_leaves_with_ctrl_c_is_not_told_success_and_a_failure_is_still_undone() {
    let world = World::new();
    let blog = live_blog(&world);
    let gate = Gate::new();
    let web = format!("#!/bin/bash\n{}exit 4\n", gate.bash());
    let blog = blog.script("web", &web).write("Procfile", "web: ./web\n").commit("fails late");
    let good = blog.remote_ref("refs/heads/main");
    let mut push = blog.starts_pushing_at_terminal("main");
    let waiting = gate.reached();
    push.types("\x03");
    assert_ne!(push.ended().code, 0);
    waiting.opens();
    world.settle();
    assert_eq!(world.json(&["show", "blog", "2"])["reason_code"], "rolled-back");
    assert_eq!(blog.remote_ref("refs/heads/main"), good);
    assert_eq!(world.page("blog").body, OLD);
}

/// There: a misspelt phase, file or task ran nothing and was a success.
#[test]
fn w04_a_misspelt_name_of_anything_is_an_error_that_names_it() {
    let world = World::new();
    let blog = live_blog(&world);
    world.commis(&["deploy", "blog", "--olny", "build"]).failed(64).says("--olny");
    world.commis(&["deploy", "blgo"]).failed(66).says("did you mean \"blog\"?");
    world.commis(&["depoly", "blog"]).failed(64).says("depoly");
    let blog = blog.script(".commis/hooks/post_depoly", "#!/bin/sh\n").commit("a hook");
    blog.push("main").is_rejected("bad-config").says("did you mean post_deploy?");
    let blog = blog.remove(".commis/hooks/post_depoly").write(".commis/project.toml", "[helth]\npath = \"/\"\n");
    blog.commit("a section").push("main").is_rejected("bad-config").says("helth");
    assert_eq!(world.page("blog").body, OLD);
}

/// There: settings were read before the new commit was fetched, so each deployment ran with those of the one before.
#[test]
fn w05_a_deployment_runs_with_the_settings_and_the_pillar_of_its_own_moment() {
    let world = World::new();
    let page = "#!/bin/sh\necho \"$GREETING\" > page.txt\n";
    let blog = world.project("blog").script(".commis/hooks/build", page).saying("x");
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["config", "set", "blog", "GREETING=first"]).succeeded();
    blog.push("main").succeeds().says("the port answers");
    let pillar = world.project("pillar").write("init.yaml", "env:\n  GREETING: second\n");
    pillar.git(&["pull", "-q", &blog.pillar_url(), "main"]).succeeded();
    let pillar = pillar.write("config.yaml", "env: {}\n").commit("second");
    pillar.push_with(&[&blog.pillar_url(), "HEAD:refs/heads/main"]).succeeds();
    let blog = blog.write(".commis/project.toml", "[health]\npath = \"/healthz\"\n").commit("asks a page");
    blog.push("main").succeeds().says("GET /healthz 200");
    assert_eq!(world.page("blog").body, "second\n");
    let record = world.json(&["show", "blog", "2"]);
    assert_eq!((&record["commit"], &record["pillar_commit"]), (&blog.head().into(), &pillar.head().into()));
}

/// There: when owners and modes could not be set, nobody heard of it.
#[test]
fn w06_a_directory_that_cannot_be_given_to_its_user_fails_the_deployment() {
    let world = World::new();
    let blog = live_blog(&world);
    world.settle();
    std::fs::rename(blog.place("cache"), blog.place("cache.aside")).expect("cache");
    std::os::unix::fs::symlink("/etc", blog.place("cache")).expect("a link");
    let modes = super::support::picture(&blog.place("cache.aside"));
    let blog = blog.script(".commis/hooks/build", "#!/bin/sh\n").commit("builds");
    let pushed = blog.push("main");
    pushed.0.failed(1).says("cache");
    assert_eq!(world.page("blog").body, OLD);
    assert_eq!(super::support::picture(&blog.place("cache.aside")), modes);
    std::fs::remove_file(blog.place("cache")).expect("the link");
    std::fs::rename(blog.place("cache.aside"), blog.place("cache")).expect("cache");
    blog.push("main").succeeds();
}

/// There: errors on the far side did not count, and extra arguments were thrown away.
#[test]
fn w07_a_verb_from_afar_ends_with_the_code_of_what_happened() {
    let world = World::new();
    let blog = may_break(&world);
    world.ssh("admin", &["deploy", "blog"]).succeeded();
    std::fs::write(blog.place("data").join("broken"), "").expect("a file");
    world.ssh("admin", &["deploy", "blog"]).failed(3).says("is live again");
    world.ssh("admin", &["deploy", "blog", "region=france"]).failed(64).says("region=france");
    world.ssh("admin", &["deploy", "wiki"]).failed(66);
    std::fs::remove_file(blog.place("data").join("broken")).expect("a file");
}

/// A project that does not start while `data/broken` is there.
pub fn may_break(world: &World) -> Project<'_> {
    let procfile = "web: test ! -e $COMMIS_DATA/broken && exec python3 server.py\n";
    let blog = world.project("blog").saying(OLD).write("Procfile", procfile).commit("may break");
    blog.push("main").succeeds();
    blog
}
