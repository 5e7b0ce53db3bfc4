//! Of the steps alone, for a quick part; the long one goes over every point.

use super::*;

fn of_the_steps(scene: Scene, wish: Wish, fate: Fate) {
    walked(Walk { scene, wish, fate, only: "step." });
}

fn walked(walk: Walk) {
    let options = Options { workers: 1, ..Options::default() };
    let tally = Tally::new("walk", &options);
    one_walk(&tally, &options, walk);
    assert_eq!(tally.broken(), Vec::<String>::new(), "{}", tally.row());
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn no_step_of_a_push_breaks_a_promise_by_dying_before_or_after_it() {
    of_the_steps(Scene::cooking(Shape::Hooks), Wish::Push(Health::Good), Fate::Dies);
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn no_step_of_a_promotion_breaks_a_promise_by_dying_before_or_after_it() {
    let scene = Scene { mode: Mode::Final, shape: Shape::Hooks };
    of_the_steps(scene, Wish::Promote(Health::Good), Fate::Dies);
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn no_step_of_an_undoing_in_place_breaks_a_promise_by_dying_before_or_after_it() {
    let scene = Scene { mode: Mode::Editable, shape: Shape::Hooks };
    of_the_steps(scene, Wish::PushOver(Health::BadPostDeploy), Fate::Dies);
}

#[test]
#[ignore = "needs a server with points: bin/test points"]
fn no_step_of_a_push_breaks_a_promise_by_having_no_room() {
    of_the_steps(Scene::cooking(Shape::Hooks), Wish::Push(Health::Good), Fate::HasNoRoom);
}

/// The release before is gone back to by its tree, which was kept: dead before that is taken, and right after.
#[test]
#[ignore = "needs a server with points: bin/test points"]
fn no_kept_tree_is_lost_by_dying_before_or_after_it_is_taken() {
    let options = Options { workers: 1, ..Options::default() };
    let scene = Scene::cooking(Shape::Hooks);
    let walk = Walk { scene, wish: Wish::Rollback, fate: Fate::Dies, only: "step.take." };
    let found = session(&options, walk).and_then(|mut session| points(&mut session, walk));
    assert_eq!(found.map(|points| points.len()), Ok(2), "a rollback goes another way");
    walked(walk);
}
