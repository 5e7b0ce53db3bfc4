//! Trees and commits that went through a real push, read back; hostile ones that git lets through are refused here.

use super::*;
use crate::git::Verdict;
use crate::git::scratch::{World, branch};

#[tokio::test]
async fn refs_subjects_and_files_are_read_loose_and_packed() {
    let world = World::new().await;
    let first = CommitId::parse(&world.ok(&["rev-parse", "HEAD"])).unwrap();
    world.file("app/conf.toml", "a = 1");
    let second = world.commit(&format!("\n\n  a\u{1b}[31m{}", "x".repeat(100)));
    world.pushed(&["main"]).await;
    let objects = open(&world.repository).unwrap();
    let look = || {
        assert_eq!(objects.resolve(&branch("main")).unwrap(), Some(second.clone()));
        assert_eq!(objects.resolve(&branch("other")).unwrap(), None);
        assert!(objects.subject(&second).unwrap().starts_with("a\\u{1b}[31mxxx"));
        assert_eq!(objects.subject(&second).unwrap().chars().count(), 72);
        assert!(objects.is_ancestor(&first, &second).unwrap() && !objects.is_ancestor(&second, &first).unwrap());
        assert_eq!(objects.read_file(&second, "app/conf.toml", 5).unwrap().as_deref(), Some(&b"a = 1"[..]));
        assert!(objects.read_file(&second, "app/conf.toml", 4).is_err());
        for missing in ["app", "app/none", "none/none", "readme/x"] {
            assert_eq!(objects.read_file(&second, missing, 100).unwrap(), None, "{missing}");
        }
        assert!(!objects.has_commit(&CommitId::zero()));
    };
    look();
    let pack = world.git.command(Some(&world.repository), &["pack-refs", "--all"]);
    world.git.run("git pack-refs", pack).await.unwrap();
    look();
}

#[tokio::test]
async fn hostile_trees_are_refused_by_git_or_by_us() {
    let world = World::new().await;
    let blob = world.object("blob", b"x");
    let shadow = world.object("blob", b"/etc/shadow");
    let head = world.ok(&["rev-parse", "HEAD"]);
    let cases: [(&str, &[u8], &str); 14] = [
        ("100644", b".git", &blob),
        ("100644", b".GIT", &blob),
        ("100644", b"git~1", &blob),
        ("100644", b".g\xe2\x80\x8cit", &blob),
        ("100644", b"..", &blob),
        ("100644", b"a/b", &blob),
        ("120000", b".gitmodules", &shadow),
        ("120000", b"link", &shadow),
        ("100644", b"a\x1b]0;pwn\x07b", &blob),
        ("100644", b"a\nb", &blob),
        ("104755", b"suid", &blob),
        ("100644", b"\xff\xfe", &blob),
        ("100644", &[b'a'; 300], &blob),
        ("160000", b"sub", &head),
    ];
    for (index, (mode, name, id)) in cases.into_iter().enumerate() {
        let commit = world.commit_of(&[(mode, name, id)]);
        let target = format!("{commit}:refs/heads/t{index}");
        let pushed = world.push(&[&target], |received| received.all(&Verdict::Ok)).await;
        if pushed.code == Some(0) {
            let failure = open(&world.repository).unwrap().tree(&commit, &TreeLimits::default()).unwrap_err();
            assert_eq!(failure.code, Code::Refused, "{failure}");
        }
    }
    let commit = world.commit_of(&[("100644", b"$(id)", &blob), ("100644", b"-rf", &blob)]);
    world.pushed(&[&format!("{commit}:refs/heads/good")]).await;
    let tree = open(&world.repository).unwrap().tree(&commit, &TreeLimits::default()).unwrap();
    assert_eq!(tree.paths().collect::<Vec<_>>(), ["$(id)", "-rf"]);
}

#[tokio::test]
async fn a_pushed_git_bomb_is_refused_with_its_limit() {
    let world = World::new().await;
    let mut id = world.object("blob", b"x");
    for level in 0..9 {
        let mode: &[u8] = if level == 0 { b"100644" } else { b"40000" };
        let raw = hex(&id);
        let tree: Vec<u8> = (0..10).flat_map(|n| [mode, format!(" f{n}\0").as_bytes(), &raw].concat()).collect();
        id = world.object("tree", &tree);
    }
    let commit = world.commit_of(&[("40000", b"bomb", &id)]);
    world.pushed(&[&format!("{commit}:refs/heads/bomb")]).await;
    let failure = open(&world.repository).unwrap().tree(&commit, &TreeLimits::default()).unwrap_err();
    assert!(failure.what.contains("more than 200000 files and directories"), "{failure}");
}

#[tokio::test]
async fn a_repository_that_borrows_objects_is_not_read() {
    let world = World::new().await;
    std::fs::write(world.repository.join("objects/info/alternates"), "/srv/other/objects\n").unwrap();
    assert!(open(&world.repository).is_err());
    assert!(open(Path::new("/nonexistent")).is_err());
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
