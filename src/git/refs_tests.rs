//! Transactions on a real repository: all or none, held while prepared, given back when dropped.

use super::*;
use crate::git::scratch::{World, branch};
use crate::git::{Verdict, open};

struct Two {
    world: World,
    first: CommitId,
    second: CommitId,
}

/// main is at the first of two commits; the second one's objects are there.
async fn two() -> Two {
    let world = World::new().await;
    let first = world.commit("one");
    world.pushed(&["main"]).await;
    let second = world.commit("two");
    let pushed = world.push(&["main"], |received| received.all(&Verdict::Ng("no".into()))).await;
    assert_eq!(pushed.code, Some(1));
    Two { world, first, second }
}

impl Two {
    fn at(&self, name: &str) -> Option<CommitId> {
        open(&self.world.repository).unwrap().resolve(&branch(name)).unwrap()
    }

    fn forward(&self) -> Change {
        (branch("main"), self.first.clone(), self.second.clone())
    }

    async fn update(&self, changes: &[Change]) -> Result<(), GitError> {
        update(&self.world.git, &self.world.repository, changes).await
    }
}

#[tokio::test]
async fn several_refs_move_together_or_not_at_all() {
    let two = two().await;
    let make = (branch("new"), CommitId::zero(), two.second.clone());
    let wrong = (branch("main"), two.second.clone(), two.first.clone());
    let error = two.update(&[make.clone(), wrong]).await.unwrap_err();
    assert!(error.to_string().contains("but expected"), "{error}");
    assert_eq!((two.at("main"), two.at("new")), (Some(two.first.clone()), None));
    two.update(&[make.clone(), two.forward()]).await.unwrap();
    assert_eq!((two.at("main"), two.at("new")), (Some(two.second.clone()), Some(two.second.clone())));
    assert!(two.update(&[make]).await.is_err());
    two.update(&[(branch("new"), two.second.clone(), CommitId::zero())]).await.unwrap();
    assert_eq!(two.at("new"), None);
}

#[tokio::test]
async fn a_prepared_ref_is_held_until_it_is_committed_or_dropped() {
    let two = two().await;
    let (git, repository) = (&two.world.git, &two.world.repository);
    let held = PreparedUpdate::prepare(git, repository, &[two.forward()]).await.unwrap();
    let error = two.update(&[two.forward()]).await.unwrap_err();
    assert!(error.to_string().contains("lock"), "{error}");
    drop(held);
    let lock = repository.join("refs/heads/main.lock");
    for _ in 0..500 {
        if !lock.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!lock.exists());
    assert_eq!(two.at("main"), Some(two.first.clone()));
    let held = PreparedUpdate::prepare(git, repository, &[two.forward()]).await.unwrap();
    assert_eq!(two.at("main"), Some(two.first.clone()));
    held.commit().await.unwrap();
    assert_eq!(two.at("main"), Some(two.second.clone()));
}

#[tokio::test]
async fn a_ref_never_moves_to_a_commit_that_is_not_here() {
    let two = two().await;
    let nowhere = CommitId::parse(&"1".repeat(40)).unwrap();
    assert!(two.update(&[(branch("main"), two.first.clone(), nowhere)]).await.is_err());
    assert_eq!(two.at("main"), Some(two.first.clone()));
}

#[tokio::test]
async fn what_a_crash_left_is_cleared() {
    let two = two().await;
    let repository = &two.world.repository;
    for left in ["refs/heads/main.lock", "packed-refs.lock", "objects/tmp_objdir-incoming-x/pack/tmp"] {
        let path = repository.join(left);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    assert!(two.update(&[two.forward()]).await.is_err());
    clear_left_overs(repository).unwrap();
    assert!(!repository.join("objects/tmp_objdir-incoming-x").exists());
    two.update(&[two.forward()]).await.unwrap();
    sync(repository).unwrap();
}

#[test]
fn a_ref_that_cannot_be_looked_at_is_not_said_to_be_durable() {
    let place = tempfile::tempdir().unwrap();
    let synced = || sync_refs(place.path(), &[branch("main")]);
    assert!(synced().is_ok(), "a deleted ref, and not even a directory for it");
    fs::create_dir_all(place.path().join("refs/heads")).unwrap();
    fs::write(place.path().join("refs/heads/main"), "").unwrap();
    assert!(synced().is_ok());
    fs::remove_dir_all(place.path().join("refs")).unwrap();
    fs::write(place.path().join("refs"), "no directory").unwrap();
    assert!(synced().is_err());
}

#[tokio::test]
async fn nobody_says_no_to_a_ref_that_may_have_moved() {
    let two = two().await;
    let repository = &two.world.repository;
    let no = || said("git", b"killed");
    let is_unsure = |error: GitError| matches!(error, GitError::Unsure { .. });
    assert!(!is_unsure(unless_moved(repository, &[two.forward()], no())), "it is where it was");
    two.update(&[two.forward()]).await.unwrap();
    let unsure = unless_moved(repository, &[two.forward()], no());
    assert!(unsure.to_string().starts_with("refs/heads/main may have moved"), "{unsure}");
    assert!(sync_moved(repository, &[two.forward()]).is_ok());
    // Neither can be said of a disk that does not answer.
    fs::remove_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs"), "no directory").unwrap();
    assert!(is_unsure(unless_moved(repository, &[two.forward()], no())));
    assert!(is_unsure(sync_moved(repository, &[two.forward()]).unwrap_err()));
}
