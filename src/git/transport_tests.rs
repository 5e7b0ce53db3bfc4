//! Real pushes and clones by a real client: what each ref is told, what arrives, what is refused before the hook.

use super::*;
use crate::git::scratch::{World, branch};
use crate::git::{Verdict, open};
use crate::model::CommitId;

fn verdict_lines(stdout: &str) -> Vec<&str> {
    stdout.lines().filter(|line| line.contains('\t')).collect()
}

#[tokio::test]
async fn each_ref_of_a_push_gets_its_own_verdict() {
    let world = World::new().await;
    world.ok(&["tag", "v1"]);
    world.ok(&["notes", "add", "-m", "a note"]);
    let refs = ["main", "main:dev", "v1", "refs/notes/commits", "main:refs/heads/a;id"];
    let pushed = world
        .push(&[&["--porcelain"], &refs[..]].concat(), |received| {
            let bad = |name: &str| name == "refs/heads/dev" || name.contains(';');
            let verdict = |command: &crate::git::PushCommand| match &command.name {
                Ok(name) if !bad(name.as_str()) => Verdict::Ok,
                Ok(_) => Verdict::Ng("unhealthy: /healthz 503; live=v3; deploy=7".into()),
                Err(name) => Verdict::Ng(format!("refused: {name}")),
            };
            received.commands.iter().map(verdict).collect()
        })
        .await;
    assert_eq!(pushed.code, Some(1));
    let lines = verdict_lines(&pushed.stdout);
    assert_eq!(lines.len(), 5, "{}", pushed.stdout);
    assert!(
        pushed.stdout.contains(
            "!\trefs/heads/main:refs/heads/dev\t[remote rejected] (unhealthy: /healthz 503; live=v3; deploy=7)"
        )
    );
    assert!(pushed.stdout.contains("[remote rejected] (refused: refs/heads/a;id)"), "{}", pushed.stdout);
    assert_eq!(lines.iter().filter(|line| line.starts_with('*')).count(), 3);
    assert!(pushed.stderr.contains("remote: -----> looking"), "{}", pushed.stderr);
    let objects = open(&world.repository).unwrap();
    assert!(objects.resolve(&branch("main")).unwrap().is_some());
    assert_eq!(objects.resolve(&branch("dev")).unwrap(), None);
    assert!(world.cloned("copy").join("readme").exists());
}

#[tokio::test]
async fn deletions_and_rewinds_are_ours_to_answer_too() {
    let world = World::new().await;
    let first = world.commit("second");
    world.pushed(&["main", "main:gone"]).await;
    world.ok(&["commit", "-q", "--allow-empty", "--amend", "-m", "other"]);
    let args = ["--force", "main", ":gone"];
    let pushed = world.push(&args, |received| received.all(&Verdict::Ng("refused: no".into()))).await;
    assert_eq!((pushed.code, pushed.received.unwrap().commands.len()), (Some(1), 2));
    let objects = open(&world.repository).unwrap();
    assert_eq!(objects.resolve(&branch("main")).unwrap(), Some(first.clone()));
    assert_eq!(objects.resolve(&branch("gone")).unwrap(), Some(first));
    world.pushed(&args).await;
    assert_eq!(objects.resolve(&branch("gone")).unwrap(), None);
}

#[tokio::test]
async fn objects_are_there_before_the_verdict_and_options_arrive() {
    let world = World::new().await;
    let commit = world.commit("with options");
    let objects = open(&world.repository).unwrap();
    let args = ["--atomic", "-o", "detach", "-o", "reason=a b", "main"];
    let pushed = world
        .push(&args, |received| {
            assert!(objects.has_commit(&commit));
            assert_eq!(objects.resolve(&branch("main")).unwrap(), None);
            received.all(&Verdict::Ng("build-failed: exit 1".into()))
        })
        .await;
    let received = pushed.received.unwrap();
    assert_eq!((received.options, received.atomic), (vec!["detach".to_owned(), "reason=a b".into()], true));
    assert!(objects.has_commit(&commit) && objects.resolve(&branch("main")).unwrap().is_none());
    // The same commit can be pushed again.
    world.pushed(&["main"]).await;
    assert_eq!(objects.resolve(&branch("main")).unwrap(), Some(commit));
}

#[tokio::test]
async fn megabytes_of_push_options_reach_the_refusal() {
    let world = World::new().await;
    let option = format!("pushOption = {}\n", "A".repeat(60_000));
    std::fs::write(world.client.join(".git/po"), format!("[push]\n{}", option.repeat(60))).unwrap();
    world.ok(&["config", "include.path", "po"]);
    let pushed = world
        .push(&["main"], |received| received.all(&Verdict::Ng(received.refusal.as_ref().unwrap().what.clone())))
        .await;
    assert_eq!(pushed.code, Some(1));
    assert!(pushed.stderr.contains("too many push options"), "{}", pushed.stderr);
}

#[tokio::test]
async fn a_shallow_clone_can_push_and_the_result_can_be_cloned() {
    let mut shallow = World::new().await;
    shallow.commit("second");
    let source = format!("file://{}", shallow.client.display());
    shallow.ok(&["clone", "-q", "--depth=1", &source, "../shallow"]);
    shallow.client = shallow.root().join("shallow");
    let commit = shallow.commit("third, on a cut history");
    let pushed = shallow.push(&["main"], |received| received.all(&Verdict::GitMoves)).await;
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    assert!(shallow.repository.join("synced").exists());
    let copy = shallow.cloned("copy");
    assert!(copy.join("readme").exists());
    let objects = open(&shallow.repository).unwrap();
    assert_eq!(objects.resolve(&branch("main")).unwrap(), Some(commit.clone()));
    assert!(!objects.is_ancestor(&CommitId::parse(&"1".repeat(40)).unwrap(), &commit).unwrap());
}

#[tokio::test]
async fn our_own_refs_and_too_large_pushes_never_reach_the_hook() {
    let world = World::new().await;
    let pushed = world.push(&["main:refs/commis/x"], |received| received.all(&Verdict::Ok)).await;
    assert_eq!((pushed.code, pushed.received), (Some(1), None), "{}", pushed.stderr);
    let options = ReceiveOptions {
        token: String::new(),
        hook_socket: "/x".into(),
        protocol: Some("version=2\nx".into()),
        max_push: 1000,
    };
    let command = receive_pack(&world.git, &world.repository, &options);
    assert!(command.as_std().get_args().any(|arg| arg == "receive.maxInputSize=1000"));
    assert!(command.as_std().get_envs().all(|(key, _)| key != "GIT_PROTOCOL"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_rejects_the_push() {
    let world = World::new().await;
    drop(world.listen());
    let remote = world.remote();
    let pushed = world.push(&["main"], |_| vec![]).await;
    assert_eq!(pushed.code, Some(1));
    assert!(pushed.stderr.contains("no verdict was reached"), "{} {remote}", pushed.stderr);
}
