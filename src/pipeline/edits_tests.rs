//! Edits are told from products of builds, and nothing of them is overwritten that is not kept.

use super::*;

fn entry(path: &str, id: u8) -> Entry {
    Entry { path: path.into(), kind: Kind::File { executable: false }, id: ObjectId([id; 20]), size: 1 }
}

fn tree(entries: &[(&str, u8)]) -> Tree {
    let entries: Vec<Entry> = entries.iter().map(|(path, id)| entry(path, *id)).collect();
    Tree { entries, directories: Vec::new(), bytes: 0 }
}

fn difference(path: &str, how: How, id: u8) -> Difference {
    let now = match how {
        How::Removed => Now::Nothing,
        How::Added | How::Changed => Now::Read(Put::Plain, ObjectId([id; 20])),
    };
    Difference { path: path.into(), how, now }
}

fn survey(differences: &[Difference], ignores: &[(&str, &str)]) -> Survey {
    let ignores = ignores.iter().map(|(place, text)| ((*place).to_owned(), (*text).to_owned())).collect();
    Survey { differences: differences.to_vec(), ignores, unnameable: Vec::new() }
}

fn paths(edits: &[Difference]) -> Vec<&str> {
    edits.iter().map(|edit| edit.path.as_str()).collect()
}

#[test]
fn what_git_ignores_is_no_edit_and_what_it_knows_is() {
    let added = |path: &str| difference(path, How::Added, 1);
    let all = [
        added("new.css"),
        added("debug.log"),
        added("sub/debug.log"),
        added("sub/keep.log"),
        added("node_modules/a/b.js"),
        added("deep/build/x"),
        added("build/x"),
        added(".git/config"),
        difference("tracked.log", How::Changed, 2),
    ];
    let seen = survey(&all, &[("", "*.log\nnode_modules/\n/build\n# a comment\n"), ("sub", "!keep.log\n")]);
    let found = edits(&seen, &Built::default(), None);
    assert_eq!(paths(&found), ["new.css", "sub/keep.log", "deep/build/x", "tracked.log"]);
}

#[test]
fn nothing_is_seen_again_below_an_ignored_directory() {
    let seen = survey(&[difference("out/keep/x", How::Added, 1)], &[("", "out/\n"), ("out", "!keep/\n")]);
    assert_eq!(paths(&edits(&seen, &Built::default(), None)), [""; 0]);
}

#[test]
fn what_is_ignored_is_an_edit_where_a_pushed_commit_would_write_over_it() {
    let seen =
        survey(&[difference(".env", How::Added, 1), difference("a.log", How::Added, 1)], &[("", ".env\n*.log\n")]);
    let pushed = tree(&[(".env", 2), ("page", 3)]);
    let found = edits(&seen, &Built::default(), Some(&pushed));
    assert_eq!(paths(&found), [".env"]);
    assert_eq!(paths(&lost_in(found, &pushed)), [".env"]);
    assert_eq!(
        paths(&lost_in(edits(&seen, &Built::default(), Some(&tree(&[(".env", 1)]))), &tree(&[(".env", 1)]))),
        [""; 0]
    );
}

#[test]
fn a_product_of_the_build_is_no_edit_until_somebody_changes_it() {
    let after = survey(
        &[
            difference("static/app.css", How::Added, 1),
            difference("lock", How::Changed, 2),
            difference("x", How::Removed, 0),
        ],
        &[],
    );
    let left = built(&[], &after);
    assert_eq!(paths(&edits(&after, &left, None)), [""; 0]);
    let later = survey(
        &[
            difference("static/mine.css", How::Added, 1),
            difference("lock", How::Changed, 3),
            difference("x", How::Changed, 4),
        ],
        &[],
    );
    assert_eq!(paths(&edits(&later, &left, None)), ["static/mine.css", "lock", "x"]);
}

#[test]
fn an_edit_that_was_there_before_the_build_stays_one() {
    let edit = difference("index.html", How::Changed, 1);
    let after = survey(&[edit.clone(), difference("made", How::Added, 1)], &[]);
    let left = built(std::slice::from_ref(&edit), &after);
    assert_eq!(edits(&after, &left, None), [edit]);
}

#[test]
fn an_edit_that_the_commit_has_too_is_not_lost() {
    let all = vec![
        difference("same", How::Changed, 5),
        difference("other", How::Changed, 6),
        difference("gone", How::Removed, 0),
        difference("new", How::Added, 7),
    ];
    let lost = lost_in(all, &tree(&[("same", 5), ("other", 1), ("new", 8)]));
    assert_eq!(paths(&lost), ["other", "new"]);
}

#[test]
fn a_commit_writes_what_differs_and_leaves_the_rest_alone() {
    let base = tree(&[("same", 1), ("changes", 1), ("goes", 1), ("built", 1)]);
    let commit = tree(&[("same", 1), ("changes", 2), ("built", 1), ("comes", 1)]);
    let kept = difference("added", How::Added, 1);
    let seen = survey(&[difference("built", How::Changed, 9), kept.clone(), difference("product", How::Added, 1)], &[]);
    let work = applying(&base, &commit, (&seen, &[kept]));
    assert_eq!(work.remove, ["goes", "added"]);
    assert_eq!(work.write.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["changes", "built", "comes"]);
}

#[test]
fn a_refusal_names_twenty_paths_and_counts_the_rest() {
    let many: Vec<Difference> = (0..30).map(|n| difference(&format!("f{n}"), How::Added, 1)).collect();
    let failure = refuse("blog", &many);
    assert_eq!((failure.details.len(), failure.hints.len()), (21, 3));
    assert_eq!(failure.what, "30 files were edited in blog on the server and not committed");
    assert_eq!(failure.details[20], "and 10 more: commis diff blog --stat");
}
