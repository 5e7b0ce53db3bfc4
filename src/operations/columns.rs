//! What answers are made of for people: columns and moments. Pure.

use crate::notify::clean_line;
use std::fmt::Write;

/// A time as people read it, without its thousandths.
pub fn moment(at: &str) -> String {
    let (head, rest) = at.split_once('.').unwrap_or((at, ""));
    format!("{head}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

/// A list that is empty says so.
pub fn or_empty(rows: Vec<Vec<String>>, words: &str) -> String {
    if rows.is_empty() { format!("{words}\n") } else { table(rows) }
}

/// Columns padded to their widest cell, two blanks between. Names of files may hold anything: no cell moves a cursor.
pub fn table(rows: Vec<Vec<String>>) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean_line(cell.as_bytes())).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_for_programs() {
        assert_eq!(moment("2026-11-27T22:10:11.123Z"), "2026-11-27T22:10:11Z");
        assert_eq!(moment("2026-11-27T22:10:11Z"), "2026-11-27T22:10:11Z");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(rows), "a    bb\nccc  d\n");
        assert_eq!(table(Vec::new()), "");
        assert_eq!(table(vec![vec!["a\nb\x1b]0;c\x07".into(), "d".into()]]), "a\\x0ab\\x1b]0;c\\x07  d\n");
    }
}
