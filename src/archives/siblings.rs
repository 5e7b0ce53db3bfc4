//! Names that some machine or some eye would take for one: `Readme` and `README`, `é` in one letter and in two. Pure. A tree
//! with such a pair is refused when it is packed and when it is unpacked, so that whatever was cooked can travel.

use crate::trees::names;
use std::borrow::Cow;
use std::collections::HashSet;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Takes the paths of one tree in the order of a walk, and remembers the names of the directories that are open.
#[derive(Default)]
pub struct Siblings {
    open: Vec<(String, HashSet<String>)>,
}

impl Siblings {
    /// `false` when the directory has a name already that reads like this one.
    pub fn admit(&mut self, path: &str) -> bool {
        let (above, name) = names::split(path);
        let leads = |open: &str| open.is_empty() || open == above || above.strip_prefix(open).is_some_and(starts_below);
        while self.open.last().is_some_and(|(open, _)| !leads(open)) {
            self.open.pop();
        }
        if self.open.last().is_none_or(|(open, _)| open != above) {
            self.open.push((above.to_owned(), HashSet::new()));
        }
        self.open.last_mut().is_none_or(|(_, names)| names.insert(folded(name).into_owned()))
    }
}

fn starts_below(rest: &str) -> bool {
    rest.starts_with('/')
}

/// What two names have in common that differ only in case or in how their letters are put together.
fn folded(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        let plain = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        return if plain { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) };
    }
    let composed: String = if is_nfc(name) { name.to_owned() } else { name.nfc().collect() };
    // Lower case may take a letter apart again.
    Cow::Owned(composed.to_lowercase().nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_refused<'a>(paths: &[&'a str]) -> Option<&'a str> {
        let mut siblings = Siblings::default();
        paths.iter().copied().find(|path| !siblings.admit(path))
    }

    #[test]
    fn names_that_read_alike_are_found_in_their_directory() {
        assert_eq!(first_refused(&["README", "Readme"]), Some("Readme"));
        assert_eq!(first_refused(&["A", "A/b", "A/b/c", "a"]), Some("a"));
        assert_eq!(first_refused(&["d", "d/caf\u{e9}", "d/cafe", "d/cafe\u{301}"]), Some("d/cafe\u{301}"));
        assert_eq!(first_refused(&["\u{c9}", "e\u{301}"]), Some("e\u{301}"));
        assert_eq!(first_refused(&["\u{212b}", "\u{e5}"]), Some("\u{e5}"), "the sign for angstrom is a letter");
    }

    #[test]
    fn the_same_name_elsewhere_is_another_name() {
        assert_eq!(first_refused(&["README", "a", "a/README", "a/b", "a/b/readme", "ab", "ab/Readme", "b"]), None);
        assert_eq!(first_refused(&["stra\u{df}e", "strasse", "\u{3c2}", "\u{3c3}", "-", "_"]), None);
    }
}
