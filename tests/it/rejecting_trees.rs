//! Commits that no ordinary git makes: hostile names, modes and links. Each is refused by name before anything is
//! written to disk.

use super::support::World;
use super::support::project::Project;
use super::support::rejected::{Before, live_blog, rejected};
use super::support::world::run;

/// One entry of a tree: mode, raw name, content.
type Hostile = (&'static str, &'static [u8], &'static [u8]);

/// Names that only a hostile or a broken client commits.
const NAMES: [Hostile; 12] = [
    ("100644", b".git", b"x"),
    ("100644", b".GIT", b"x"),
    ("100644", b"git~1", b"x"),
    ("100644", b".g\xe2\x80\x8cit", b"x"),
    ("100644", b"..", b"x"),
    ("100644", b"a/b", b"x"),
    ("100644", b"a\x1b]0;pwned\x07b", b"x"),
    ("100644", b"a\nb", b"x"),
    ("100644", b"\xff\xfe", b"x"),
    ("100644", LONG, b"x"),
    ("104755", b"setuid", b"x"),
    ("160000", b"submodule", b""),
];
const LONG: &[u8] = &[b'a'; 300];

/// Links that lead out of the tree.
const LINKS: [Hostile; 4] = [
    ("120000", b"shadow", b"/etc/shadow"),
    ("120000", b"up", b"../../../../etc"),
    ("120000", b".gitmodules", b"/etc/passwd"),
    ("120000", b".gitattributes", b"/etc/passwd"),
];

/// Odd, and nobody's business but the project's.
const HARMLESS: [Hostile; 3] =
    [("100644", b"x-rf", b"x"), ("100644", b"$(touch pwned)", b"x"), ("120000", b"inside", b"server.py")];

/// What a tree may have, but no release: it could not travel.
const UNFIT: [(Hostile, &str); 2] = [
    (("100644", b"-rf", b"x"), "-rf: path begins with `-`, which programs take for an option"),
    (("100644", b"Server.py", b"x"), "server.py: another name in its directory differs only in case or accents"),
];

/// Commits the current tree with one more entry, written byte by byte since git itself would refuse to, and moves the
/// branch there. Returns the tip before.
fn add_raw(project: &Project<'_>, (mode, name, content): Hostile) -> String {
    let tip = project.head();
    let blob = match mode {
        "160000" => tip.clone(),
        _ => hash(project, &["hash-object", "-w", "--stdin"], content),
    };
    let mut entries = std::collections::BTreeMap::new();
    for line in project.git(&["ls-tree", "HEAD"]).succeeded().stdout.lines() {
        let (facts, name) = line.split_once('\t').expect("a line of ls-tree");
        let fields: Vec<&str> = facts.split(' ').collect();
        entries.insert(name.as_bytes().to_vec(), entry(fields[0], name.as_bytes(), fields[2]));
    }
    entries.insert(name.to_vec(), entry(mode, name, &blob));
    let tree: Vec<u8> = entries.into_values().flatten().collect();
    let tree = hash(project, &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"], &tree);
    let commit = project.git(&["commit-tree", "-p", &tip, "-m", "hostile", &tree]).succeeded().stdout.trim().to_owned();
    project.git(&["update-ref", "refs/heads/main", &commit]).succeeded();
    tip
}

fn entry(mode: &str, name: &[u8], id: &str) -> Vec<u8> {
    let bytes = (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).expect("hex"));
    [mode.as_bytes(), b" ", name, b"\0"].concat().into_iter().chain(bytes).collect()
}

/// A git command that reads bytes and prints an object's name.
fn hash(project: &Project<'_>, args: &[&str], bytes: &[u8]) -> String {
    let file = project.directory.join(".git/raw");
    std::fs::write(&file, bytes).expect("raw bytes");
    let mut command = std::process::Command::new("sh");
    let words = args.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    command.args(["-c", &format!("git {words} < .git/raw")]).current_dir(&project.directory);
    run(command, "", "git hash-object").succeeded().stdout.trim().to_owned()
}

#[test]
fn names_that_no_tree_should_have_are_refused() {
    let world = World::new();
    let blog = live_blog(&world);
    for hostile in NAMES {
        let tip = add_raw(&blog, hostile);
        let before = Before::look(&world, &blog);
        let pushed = blog.push("main");
        eprintln!("{hostile:?} {:#?}", pushed.0);
        pushed.0.failed(1).says("(refused: ").says("hint: ");
        pushed.0.is_silent_about("unpacker error");
        assert!(!pushed.0.stdout.contains('\u{1b}') && !pushed.0.stderr.contains('\u{1b}'), "an escape sequence");
        // git's own check of objects stops some of them before there is a deployment.
        if !pushed.0.stdout.contains("deploy=none") {
            let _ = before.still_holds_after(&world, &blog, (&pushed, "refused"));
        }
        before.still_holds(&world, &blog);
        blog.git(&["update-ref", "refs/heads/main", &tip]).succeeded();
    }
}

#[test]
fn links_that_lead_out_of_the_tree_are_refused() {
    let world = World::new();
    let blog = live_blog(&world);
    for hostile in LINKS {
        let tip = add_raw(&blog, hostile);
        let before = Before::look(&world, &blog);
        let pushed = blog.push("main");
        pushed.0.failed(1);
        pushed.0.says("(refused: ").says("hint: ");
        if !pushed.0.stdout.contains("deploy=none") {
            let _ = before.still_holds_after(&world, &blog, (&pushed, "refused"));
        }
        before.still_holds(&world, &blog);
        blog.git(&["update-ref", "refs/heads/main", &tip]).succeeded();
    }
}

#[test]
fn odd_names_that_harm_nobody_are_taken() {
    let world = World::new();
    let blog = live_blog(&world);
    for harmless in HARMLESS {
        add_raw(&blog, harmless);
        blog.git(&["reset", "-q", "--hard"]).succeeded();
        blog.push("main").succeeds();
    }
}

#[test]
fn names_that_no_release_can_have_fail_the_build() {
    let world = World::new();
    let blog = live_blog(&world);
    for (unfit, because) in UNFIT {
        let tip = add_raw(&blog, unfit);
        rejected(&world, &blog, "build-failed").because(because).says("rename");
        blog.git(&["update-ref", "refs/heads/main", &tip]).succeeded();
    }
}

#[test]
fn a_tree_larger_than_the_limits_is_refused_by_the_limits_name() {
    let world = World::with("[trees]\nmax_files = 20\nmax_file = \"1MB\"\n");
    let mut blog = live_blog(&world).write("big.bin", &"x".repeat(1_500_000)).commit("big");
    rejected(&world, &blog, "refused").because("big.bin");
    blog = blog.remove("big.bin");
    for number in 0..30 {
        blog = blog.write(&format!("many/{number}"), "x");
    }
    let blog = blog.commit("many");
    rejected(&world, &blog, "refused").because("more than 20 files");
}

#[test]
fn hostile_ref_names_are_refused_one_by_one() {
    let world = World::new();
    let blog = live_blog(&world);
    let before = Before::look(&world, &blog);
    for name in [
        "refs/heads/-x",
        "refs/heads/$(touch${IFS}pwned)",
        "refs/heads/a;id",
        "refs/heads/a`id`",
        "refs/heads/a'b",
        "refs/heads/a|b",
        "refs/heads/a&b",
        "refs/tags/--upload-pack=x",
        "refs/commis/x",
        "HEAD",
    ] {
        let pushed = blog.push_with(&["--porcelain", &blog.url(), &format!("HEAD:{name}")]);
        assert_ne!(pushed.0.code, 0, "{:#?}", pushed.0);
        before.still_holds(&world, &blog);
    }
}

#[test]
fn push_options_beyond_measure_are_refused() {
    let world = World::new();
    let blog = live_blog(&world);
    let before = Before::look(&world, &blog);
    let option = format!("--push-option={}", "A".repeat(60_000));
    let url = blog.url();
    let mut words = vec![option.as_str(); 30];
    words.extend(["--porcelain", &url, "HEAD:refs/heads/other"]);
    let pushed = blog.push_with(&words);
    assert_ne!(pushed.0.code, 0);
    assert_eq!(blog.remote_ref("refs/heads/other"), None);
    before.still_holds(&world, &blog);
}
