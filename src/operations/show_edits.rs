//! What was edited in place, as people read it. Pure.

use super::columns::table;
use super::records::{Diff, EditedFile};
use crate::notify::clean_line;
use std::fmt::Write;

/// A patch, or a line for each file.
pub fn whole_diff(diff: &Diff) -> String {
    // What is edited may hold anything, also what would move a cursor.
    let line = |line: &str| {
        let kept = line.trim_end_matches([' ', '\t']);
        format!("{}{}\n", clean_line(kept.as_bytes()), line.get(kept.len()..).unwrap_or_default())
    };
    let clean = |text: &String| text.lines().map(line).collect::<String>();
    let mut out = diff.diff.as_ref().map(clean).unwrap_or_else(|| {
        let count = |lines: Option<usize>, sign: char| lines.map_or("-".to_owned(), |lines| format!("{sign}{lines}"));
        let row = |file: &EditedFile| {
            vec![file.edited.clone(), count(file.added, '+'), count(file.removed, '-'), file.path.clone()]
        };
        table(diff.files.iter().map(row).collect())
    });
    if diff.cut {
        let _ = writeln!(out, "and more: commis diff {} --stat names all of it", diff.project);
    }
    out
}
